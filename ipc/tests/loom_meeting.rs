//! Every interleaving, up to a bound on preemptions, of a task that calls with words and one that
//! serves, with a revoke of what the call goes through: each call gets its own answer or the reason why
//! not, and nobody sleeps for ever.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ipc --release --test loom_meeting`
#![cfg(loom)]

#[allow(dead_code, reason = "each model uses a part of it")]
mod loom_platform;

use std::sync::Arc;

use abi::{ChannelEnds, Error, FOREVER, Handle, Rights};
use loom_platform::{Realm, current, explore, spawn};

fn channel(realm: &Realm) -> ChannelEnds {
    realm.ipc.create_channel(&realm.domain, 1).unwrap()
}

/// Answers calls with their first word and one more, and how many there were, until the other end
/// is gone.
fn serve(realm: &Realm, end: Handle) -> u64 {
    let (mut reply, mut answer, mut calls) = (Handle::NONE, [0; 4], 0);
    let error = loop {
        match realm.ipc.serve_words(&realm.domain, end, reply, answer) {
            Ok(call) => {
                calls += 1;
                (reply, answer) = (call.reply, [call.words[0] + 1, calls, 0, 0]);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::PeerClosed);
    realm.ipc.end_task(&current());
    calls
}

fn call(realm: &Realm, end: Handle, word: u64) -> Result<u64, Error> {
    let words = [word, 0, 0, 0];
    let answer = realm.ipc.call_words(&realm.domain, end, words, FOREVER);
    answer.map(|words| words[0])
}

fn drop_end(realm: &Realm, end: Handle) {
    realm.ipc.drop_capability(&realm.domain, end).unwrap();
}

/// Runs calls through one end, which are as many as the server at the other end got.
fn with_server(calls: impl Fn(&Arc<Realm>, Handle) -> u64) {
    let realm = Realm::new();
    let ends = channel(&realm);
    let server = spawn(&realm, move |realm| serve(realm, ends.second));
    let made = calls(&realm, ends.first);
    drop_end(&realm, ends.first);
    realm.ipc.end_task(&current());
    assert_eq!(server.join().unwrap(), made);
}

#[test]
fn each_call_gets_its_own_answer_whether_its_server_waits_or_comes_later() {
    explore(3, || {
        with_server(|realm, end| {
            assert_eq!(call(realm, end, 4), Ok(5));
            assert_eq!(call(realm, end, 8), Ok(9));
            2
        });
    });
}

#[test]
fn a_call_whose_capability_is_revoked_is_answered_or_revoked_and_the_next_one_is_answered() {
    explore(2, || {
        with_server(|realm, end| {
            assert_eq!(call(realm, end, 1), Ok(2));
            let below = realm.ipc.derive(&realm.domain, end, Rights::all()).unwrap();
            let revoker = spawn(realm, move |realm| realm.revoke(end));
            let answered = call(realm, below, 4);
            revoker.join().unwrap();
            assert!(
                matches!(answered, Ok(5) | Err(Error::Revoked)),
                "{answered:?}"
            );
            // One that was taken back before it was received has reached nobody.
            let words = [8, 0, 0, 0];
            let last = realm.ipc.call_words(&realm.domain, end, words, FOREVER);
            let [last, calls, ..] = last.unwrap();
            assert_eq!(last, 9);
            calls
        });
    });
}
