//! Every interleaving, up to a bound on preemptions, of a task that calls with words and one that
//! serves, with a revoke of what the call goes through: each call gets its own answer or the reason why
//! not, and nobody sleeps for ever.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ipc --release --test loom_meeting`
#![cfg(loom)]

#[allow(dead_code, reason = "each model uses a part of it")]
mod loom_platform;

use std::sync::Arc;

use abi::{ChannelEnds, Error, FOREVER, Handle, Rights, Words};
use ipc::Platform;
use loom_platform::{Realm, current, explore, spawn};

fn channel(realm: &Realm) -> ChannelEnds {
    realm.ipc.create_channel(&realm.domain, 1).unwrap()
}

/// Answers calls with their first word and one more, and how many there were, until the other end
/// is gone.
fn serve(realm: &Realm, end: Handle) -> u64 {
    let (mut reply, mut answer, mut calls) = (Handle::NONE, [0; 4], 0);
    let error = loop {
        match serve_next(realm, end, reply, answer) {
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

/// Answers and serves on as a kernel does: by halves where the two have met.
fn serve_next(realm: &Realm, end: Handle, reply: Handle, answer: [u64; 4]) -> Result<Words, Error> {
    let (ipc, domain, by) = (&realm.ipc, &realm.domain, (end, reply));
    match ipc.answer_again(domain, by, || answer, |_, caller| Some(caller.clone())) {
        Some(caller) => {
            ipc.platform().unpark_and_park(&caller, FOREVER);
            ipc.answered_again(domain, by)
        }
        None => ipc.serve_words(domain, end, reply, answer),
    }
}

/// The same of a call.
fn call(realm: &Realm, end: Handle, word: u64) -> Result<u64, Error> {
    let (ipc, domain, words) = (&realm.ipc, &realm.domain, [word, 0, 0, 0]);
    let begun = ipc.call_again(domain, end, || words, |_, server| Some(server.clone()));
    let answer = match begun {
        Some(server) => {
            ipc.platform().unpark_and_park(&server, FOREVER);
            ipc.called_again(domain, end, FOREVER)
        }
        None => ipc.call_words(domain, end, words, FOREVER),
    };
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

/// What comes before a call, through the end that it goes through; and how many calls that is.
type WarmUp = fn(&Realm, Handle) -> u64;

/// Calls once.
fn once(realm: &Realm, end: Handle) -> u64 {
    assert_eq!(call(realm, end, 1), Ok(2));
    1
}

/// Calls so often that the right to reply is lent to who serves.
fn until_lent(realm: &Realm, end: Handle) -> u64 {
    for word in 1..3 {
        assert_eq!(call(realm, end, word), Ok(word + 1));
    }
    2
}

fn each_gets_its_own_answer(bound: usize, warm_up: WarmUp) {
    explore(bound, move || {
        with_server(|realm, end| {
            let before = warm_up(realm, end);
            assert_eq!(call(realm, end, 4), Ok(5));
            assert_eq!(call(realm, end, 8), Ok(9));
            before + 2
        });
    });
}

fn a_revoked_one_is_answered_or_revoked(warm_up: WarmUp) {
    explore(2, move || {
        with_server(|realm, end| {
            let below = realm.ipc.derive(&realm.domain, end, Rights::all()).unwrap();
            warm_up(realm, below);
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

#[test]
fn each_call_gets_its_own_answer_whether_its_server_waits_or_comes_later() {
    each_gets_its_own_answer(3, |_, _| 0);
}

#[test]
fn calls_by_a_loan_get_their_own_answers() {
    each_gets_its_own_answer(2, until_lent);
}

#[test]
fn a_call_whose_capability_is_revoked_is_answered_or_revoked_and_the_next_one_is_answered() {
    a_revoked_one_is_answered_or_revoked(once);
}

#[test]
fn a_call_by_a_loan_whose_capability_is_revoked_is_answered_or_revoked() {
    a_revoked_one_is_answered_or_revoked(until_lent);
}

/// Has a call by a loan answered while another thread of the server does something with the right to reply,
/// which says whether it used the right up.
fn answered_while(does: fn(&Realm, Handle) -> bool, otherwise: Result<u64, Error>) {
    explore(2, move || {
        let realm = Realm::new();
        let ends = channel(&realm);
        let shared = realm.clone();
        let server = spawn(&realm, move |realm| {
            let (mut reply, mut words) = (Handle::NONE, [0; 4]);
            let serve = |reply, words| {
                let served = serve_next(realm, ends.second, reply, words);
                served.map(|call| (call.reply, [call.words[0] + 1, 0, 0, 0]))
            };
            for _ in 0..3 {
                (reply, words) = serve(reply, words).unwrap();
            }
            let other = spawn(&shared, move |realm| does(realm, reply));
            let served = serve(reply, words);
            let used = other.join().unwrap();
            match served {
                Err(Error::BadHandle) => assert!(used),
                // The caller is answered, and leaves.
                served => assert_eq!((served, used), (Err(Error::PeerClosed), false)),
            }
            drop_end(realm, ends.second);
            realm.ipc.end_task(&current());
            used
        });
        until_lent(&realm, ends.first);
        let answer = call(&realm, ends.first, 4);
        drop_end(&realm, ends.first);
        realm.ipc.end_task(&current());
        let used = server.join().unwrap();
        assert_eq!(answer, if used { otherwise } else { Ok(5) });
    });
}

#[test]
fn a_call_by_a_loan_is_answered_though_its_right_is_looked_at() {
    let look = |realm: &Realm, right| {
        let _ = realm.ipc.capability_info(&realm.domain, right);
        false
    };
    answered_while(look, Ok(5));
}

#[test]
fn a_call_by_a_loan_is_answered_or_its_right_is_dropped() {
    let drop = |realm: &Realm, right| realm.ipc.drop_capability(&realm.domain, right).is_ok();
    answered_while(drop, Err(Error::PeerClosed));
}

#[test]
fn a_call_by_a_loan_is_answered_once() {
    let reply = |realm: &Realm, right| {
        let replied = realm.ipc.reply_words(&realm.domain, right, [77; 4]);
        replied.is_ok()
    };
    answered_while(reply, Ok(77));
}
