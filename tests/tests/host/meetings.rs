//! Calls of words that meet their server: how they end before they are answered, and that the next one
//! is answered all the same.

use std::sync::mpsc;

use crate::common::again;
use crate::common::messages::{End, Ends};
use crate::common::ports::{notification, signal};
use crate::common::realm::Realm;
use abi::{Error, FOREVER, Handle, Mode, RevokeFlags, Rights, Words};
use fake::FakeTask;

const ALL: Rights = Rights::all();

/// No call to answer.
const NONE: Words = Words {
    words: [0; 4],
    reply: Handle::NONE,
    badge: 0,
};

fn serve(realm: &Realm, end: End, call: &Words) -> Result<Words, Error> {
    let domain = &realm.domains[end.domain];
    let served = again::serve_words(&realm.ipc, domain, end.handle, call);
    if served.is_err() {
        realm.ipc.end_task(&FakeTask::current());
    }
    served
}

fn call(realm: &Realm, end: End, word: u64) -> Result<u64, Error> {
    let domain = &realm.domains[end.domain];
    let words = [word, 0, 0, 0];
    let answer = again::call_words(&realm.ipc, domain, end.handle, words);
    answer.map(|words| words[0])
}

/// Calls to be answered, once and so often that the right to reply is lent; to meet the server and be ended
/// by `end` before it answers; and, by the capability above, to be answered. Returns what the one that was
/// ended came to.
fn ended_by(end: impl Fn(&Realm, End, End, FakeTask)) -> Result<u64, Error> {
    let [ended, also] = [1, 4].map(|answered| ended_after(answered, &end));
    assert_eq!(ended, also, "by a loan");
    ended
}

fn ended_after(answered: u64, end: impl Fn(&Realm, End, End, FakeTask)) -> Result<u64, Error> {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let below = End::new(0, realm.derive(0, ends.here.handle, ALL).unwrap());
    let (received, is_received) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let ended = std::thread::scope(|scope| {
        let server = scope.spawn({
            let realm = &realm;
            move || {
                let mut second = serve(realm, ends.there, &NONE)?;
                for _ in 0..answered {
                    second = serve(realm, ends.there, &second)?;
                }
                received.send(()).unwrap();
                goes_on.recv().unwrap();
                // Nobody waits for this answer.
                let third = serve(realm, ends.there, &second)?;
                assert_eq!(third.words[0], 3);
                serve(realm, ends.there, &third)
            }
        });
        let (name, named) = mpsc::channel();
        let caller = scope.spawn({
            let realm = &realm;
            move || {
                name.send(FakeTask::current()).unwrap();
                for word in 0..answered {
                    assert_eq!(call(realm, below, word), Ok(word));
                }
                let ended = call(realm, below, 2);
                assert_eq!(call(realm, ends.here, 3), Ok(3));
                realm.ipc.end_task(&FakeTask::current());
                ended
            }
        });
        is_received.recv().unwrap();
        end(&realm, ends.here, below, named.recv().unwrap());
        go_on.send(()).unwrap();
        let ended = caller.join().unwrap();
        ends.here.drop(&realm);
        let _ = realm.ipc.drop_capability(&realm.domains[0], below.handle);
        assert_eq!(server.join().unwrap(), Err(Error::PeerClosed));
        ended
    });
    realm.finish();
    ended
}

#[test]
fn a_call_ends_when_its_capability_is_revoked() {
    let ended = ended_by(|realm, end, _, _| {
        let flags = RevokeFlags::empty();
        let revoked = realm.ipc.revoke(&realm.domains[0], end.handle, flags);
        assert_eq!(revoked, Ok(1));
    });
    assert_eq!(ended, Err(Error::Revoked));
}

#[test]
fn a_call_ends_when_its_capability_is_dropped() {
    let ended = ended_by(|realm, _, below, _| below.drop(realm));
    assert_eq!(ended, Err(Error::Cancelled));
}

#[test]
fn a_call_ends_when_its_capability_allows_no_calls_any_more() {
    let ended = ended_by(|realm, _, below, _| {
        let rights = ALL - Rights::SEND;
        realm
            .ipc
            .reduce(&realm.domains[0], below.handle, rights)
            .unwrap();
    });
    assert_eq!(ended, Err(Error::Denied));
}

#[test]
fn a_call_ends_when_it_is_cancelled() {
    let ended = ended_by(|realm, _, _, task| realm.ipc.cancel_wait(&task).unwrap());
    assert_eq!(ended, Err(Error::Cancelled));
}

/// Takes a capability of an end away, which was derived from another.
type TakeAway = fn(&Realm, End, End);

#[test]
fn who_serves_is_told_what_becomes_of_its_capability() {
    let cases: [(TakeAway, Error); 4] = [
        (
            |realm, end, _| {
                let flags = RevokeFlags::empty();
                let revoked = realm.ipc.revoke(&realm.domains[1], end.handle, flags);
                assert_eq!(revoked, Ok(1));
            },
            Error::Revoked,
        ),
        (|realm, _, below| below.drop(realm), Error::Cancelled),
        (
            |realm, _, below| {
                let rights = ALL - Rights::RECEIVE;
                let domain = &realm.domains[1];
                realm.ipc.reduce(domain, below.handle, rights).unwrap();
            },
            Error::Denied,
        ),
        (
            |realm, _, below| {
                let moved = realm.give(1, below.handle, 0, Mode::Move);
                End::new(0, moved).drop(realm);
            },
            Error::Cancelled,
        ),
    ];
    for (take_away, told) in cases {
        let realm = Realm::new(2);
        let ends = Ends::between(&realm, 0, 1, 2);
        let below = End::new(1, realm.derive(1, ends.there.handle, ALL).unwrap());
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let first = serve(&realm, below, &NONE)?;
                serve(&realm, below, &first)
            });
            // The answer comes when the server waits for the next call.
            assert_eq!(call(&realm, ends.here, 1), Ok(1));
            take_away(&realm, ends.there, below);
            assert_eq!(server.join().unwrap(), Err(told));
        });
        realm.ipc.end_task(&FakeTask::current());
        realm.finish();
    }
}

/// Serves until the other end is gone, beginning with the answer of a call.
fn serve_all(realm: &Realm, end: End, mut call: Words) -> Error {
    loop {
        match serve(realm, end, &call) {
            Ok(next) => call = next,
            Err(error) => return error,
        }
    }
}

/// Drops a capability of an end, and does something in the middle of that: when the handle is gone, and
/// those who meet by it have not been told yet.
fn in_the_middle_of_a_drop(realm: &Realm, end: End, then: impl FnOnce()) {
    let domain = &realm.domains[end.domain];
    let is_gone = || realm.ipc.capability_info(domain, end.handle).is_err();
    std::thread::scope(|scope| {
        let (reach, reached) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        // Whenever it holds no lock, until somebody has looked at the right moment.
        let meanwhile = move || {
            if reach.send(()).is_ok() {
                let _ = goes_on.recv();
            }
        };
        let dropper = scope.spawn(|| fake::before_locks(None, meanwhile, || end.drop(realm)));
        reached.recv().unwrap();
        while !is_gone() {
            go_on.send(()).unwrap();
            reached.recv().unwrap();
        }
        drop(reached);
        then();
        go_on.send(()).unwrap();
        dropper.join().unwrap();
    });
}

#[test]
fn who_served_and_waits_elsewhere_is_not_taken_for_who_serves() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let bits = notification(&realm, 1);
    for calls in [false, true] {
        let below = End::new(1, realm.derive(1, ends.there.handle, ALL).unwrap());
        std::thread::scope(|scope| {
            let (name, named) = mpsc::channel();
            let (leave, left) = mpsc::channel();
            let server = scope.spawn({
                let realm = &realm;
                move || {
                    name.send(FakeTask::current()).unwrap();
                    let first = serve(realm, below, &NONE).unwrap();
                    assert_eq!(serve(realm, below, &first), Err(Error::Cancelled));
                    leave.send(()).unwrap();
                    let domain = &realm.domains[1];
                    realm.ipc.wait_notification(domain, bits, FOREVER)
                }
            });
            // The answer comes when the server waits for the next call.
            assert_eq!(call(&realm, ends.here, 7), Ok(7));
            let task = named.recv().unwrap();
            task.until_sleeping();
            in_the_middle_of_a_drop(&realm, below, || {
                realm.ipc.cancel_wait(&task).unwrap();
                left.recv().unwrap();
                task.until_sleeping();
                if calls {
                    let other = scope.spawn(|| serve(&realm, ends.there, &NONE));
                    let answer = scope.spawn(|| {
                        let answer = call(&realm, ends.here, 8);
                        realm.ipc.end_task(&FakeTask::current());
                        answer
                    });
                    let called = other.join().unwrap().unwrap();
                    assert_eq!(called.words[0], 8);
                    let domain = &realm.domains[1];
                    let answered = realm.ipc.reply_words(domain, called.reply, [9; 4]);
                    assert_eq!(answered, Ok(()));
                    assert_eq!(answer.join().unwrap(), Ok(9));
                }
            });
            signal(&realm, 1, bits);
            assert_eq!(server.join().unwrap(), Ok(1));
        });
    }
    realm.ipc.end_task(&FakeTask::current());
    realm.finish();
}

#[test]
fn who_called_and_was_not_told_yet_that_its_capability_is_gone_is_answered_by_another() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let below = End::new(0, realm.derive(0, ends.here.handle, ALL).unwrap());
    std::thread::scope(|scope| {
        let (received, is_received) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let server = scope.spawn({
            let realm = &realm;
            move || {
                let first = serve(realm, ends.there, &NONE).unwrap();
                let second = serve(realm, ends.there, &first).unwrap();
                received.send(()).unwrap();
                goes_on.recv().unwrap();
                // Nobody waits for this answer.
                let third = serve(realm, ends.there, &second).unwrap();
                assert_eq!(third.words[0], 3);
                serve_all(realm, ends.there, third)
            }
        });
        let (name, named) = mpsc::channel();
        let (leave, left) = mpsc::channel();
        let caller = scope.spawn({
            let realm = &realm;
            move || {
                name.send(FakeTask::current()).unwrap();
                assert_eq!(call(realm, below, 1), Ok(1));
                assert_eq!(call(realm, below, 2), Err(Error::Cancelled));
                leave.send(()).unwrap();
                let answered = call(realm, ends.here, 3);
                realm.ipc.end_task(&FakeTask::current());
                answered
            }
        });
        let task = named.recv().unwrap();
        is_received.recv().unwrap();
        in_the_middle_of_a_drop(&realm, below, || {
            realm.ipc.cancel_wait(&task).unwrap();
            left.recv().unwrap();
            go_on.send(()).unwrap();
            assert_eq!(caller.join().unwrap(), Ok(3));
        });
        assert_eq!(call(&realm, ends.here, 4), Ok(4));
        ends.here.drop(&realm);
        assert_eq!(server.join().unwrap(), Error::PeerClosed);
    });
    realm.ipc.end_task(&FakeTask::current());
    realm.finish();
}
