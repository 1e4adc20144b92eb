//! Calls and replies: answered once, by whoever has the right, or told that they will not be.

mod common;

use std::sync::Arc;

use abi::{Error, FOREVER, Handle, HandleTransfer, Mode, Rights};
use common::messages::{End, Ends, asleep};
use common::realm::Realm;
use common::{READ, WRITE};
use ipc::{Fit, Outgoing};

const ALL: Rights = Rights::all();
const ROOMY: Fit = Fit::Message {
    bytes: 256,
    handles: 4,
};

/// What a call came to: the bytes and the handles.
type Answer = Result<(Vec<u8>, Vec<Handle>), Error>;

fn call(realm: &Realm, end: &End, bytes: &[u8], transfers: &[HandleTransfer], fit: Fit) -> Answer {
    let mut shown = Vec::new();
    let domain = &realm.domains[end.domain];
    let message = Outgoing { bytes, transfers };
    let got = realm
        .ipc
        .call(domain, end.handle, message, fit, FOREVER, |preview| {
            shown = preview.bytes.to_vec();
            Ok(())
        })?;
    Ok((shown, got.handles[..got.handles_len].to_vec()))
}

fn reply(realm: &Realm, by: usize, right: Handle, bytes: &[u8]) -> Result<(), Error> {
    let message = Outgoing {
        bytes,
        transfers: &[],
    };
    realm.ipc.reply(&realm.domains[by], right, message)
}

fn call_words(realm: &Realm, end: &End, words: [u64; 4]) -> Result<[u64; 4], Error> {
    let domain = &realm.domains[end.domain];
    realm.ipc.call_words(domain, end.handle, words, FOREVER)
}

fn serve(realm: &Realm, end: &End, right: Handle, words: [u64; 4]) -> Result<abi::Words, Error> {
    let domain = &realm.domains[end.domain];
    realm.ipc.serve_words(domain, end.handle, right, words)
}

/// Answers a call and takes the next message at once.
fn answer_and_receive(
    realm: &Realm,
    end: &End,
    right: Handle,
    (bytes, transfers): (&[u8], &[HandleTransfer]),
) -> Result<(Vec<u8>, ipc::Received), Error> {
    let mut shown = Vec::new();
    let domain = &realm.domains[end.domain];
    let answer = Outgoing { bytes, transfers };
    let next = realm
        .ipc
        .serve(domain, end.handle, right, &answer, 0, |preview| {
            shown = preview.bytes.to_vec();
            Ok(())
        })?;
    Ok((shown, next))
}

#[test]
fn a_server_answers_and_takes_the_next_message_in_one_call() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let region = realm.region(1, 1);
    let moved = [HandleTransfer::new(region, Mode::Move, ALL)];
    std::thread::scope(|scope| {
        let caller = asleep(scope, &realm, || {
            call(&realm, &ends.here, b"one", &[], ROOMY)
        });
        let none = (&b"not given"[..], &[][..]);
        let first = answer_and_receive(&realm, &ends.there, Handle::NONE, none).unwrap();
        assert_eq!(first.0, b"one");
        ends.here.send(&realm, b"two", &[]).unwrap();
        // What can't be given leaves everything as it is, the right too.
        let twice = (&b"back"[..], &[moved[0], moved[0]][..]);
        let refused = answer_and_receive(&realm, &ends.there, first.1.reply, twice);
        assert_eq!(refused.err(), Some(Error::Overlap));
        let given = (&b"back"[..], &moved[..]);
        let next = answer_and_receive(&realm, &ends.there, first.1.reply, given).unwrap();
        assert_eq!(
            (next.0.as_slice(), next.1.reply),
            (&b"two"[..], Handle::NONE)
        );
        let (bytes, handles) = caller.join().unwrap().unwrap();
        assert_eq!((bytes.as_slice(), handles.len()), (&b"back"[..], 1));
        let used = answer_and_receive(&realm, &ends.there, first.1.reply, none);
        assert_eq!(used.err(), Some(Error::BadHandle));
    });
    realm.finish();
}

#[test]
fn a_server_that_names_a_wrong_end_has_not_answered() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let elsewhere = Ends::between(&realm, 0, 1, 2);
    elsewhere.there.drop(&realm);
    let taken = std::thread::scope(|scope| {
        let caller = asleep(scope, &realm, || call_words(&realm, &ends.here, [1; 4]));
        let first = serve(&realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
        for _ in 0..2 {
            let wrong = serve(&realm, &elsewhere.there, first.reply, [7; 4]);
            assert_eq!(wrong.err(), Some(Error::BadHandle));
        }
        let answer = (&b"7"[..], &[][..]);
        let wrong = answer_and_receive(&realm, &elsewhere.there, first.reply, answer);
        assert_eq!(wrong.err(), Some(Error::BadHandle));
        let domain = &realm.domains[1];
        realm.ipc.reply_words(domain, first.reply, [2; 4]).unwrap();
        caller.join().unwrap()
    });
    assert_eq!(taken, Ok([2; 4]));
    realm.finish();
}

#[test]
fn an_answer_that_nobody_takes_does_not_keep_a_server_from_the_next_message() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let region = realm.region(1, 1);
    let moved = [HandleTransfer::new(region, Mode::Move, ALL)];
    for transfers in [&[][..], &moved[..]] {
        let mut right = Handle::NONE;
        std::thread::scope(|scope| {
            let caller = asleep(scope, &realm, || {
                call(
                    &realm,
                    &ends.here,
                    b"small",
                    &[],
                    Fit::Message {
                        bytes: 1,
                        handles: 0,
                    },
                )
            });
            right = ends.there.receive(&realm).unwrap().reply;
            ends.here.send(&realm, b"next", &[]).unwrap();
            let answer = (&b"too large"[..], transfers);
            let next = answer_and_receive(&realm, &ends.there, right, answer);
            match transfers {
                [] => assert_eq!(next.unwrap().0, b"next"),
                // It is told, since what it carried is still here.
                _ => assert_eq!(next.err(), Some(Error::TooLarge)),
            }
            assert_eq!(caller.join().unwrap().err(), Some(Error::TooLarge));
        });
        assert_eq!(reply(&realm, 1, right, b""), Err(Error::BadHandle));
    }
    assert!(realm.look_up(1, region).is_ok());
    assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"next");
    realm.finish();
}

#[test]
fn a_call_in_bytes_is_answered_in_bytes_and_capabilities() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let region = realm.region(0, 1);
    let moved = [HandleTransfer::new(region, Mode::Move, ALL)];
    std::thread::scope(|scope| {
        let caller = asleep(scope, &realm, || {
            call(&realm, &ends.here, b"here", &moved, ROOMY)
        });
        let got = ends.there.receive(&realm).unwrap();
        assert_eq!(got.bytes, b"here");
        let va = realm.map(1, got.handles[0], WRITE);
        realm.store(1, 1, va, 77).unwrap();
        let back = [HandleTransfer::new(got.handles[0], Mode::Move, ALL)];
        let message = Outgoing {
            bytes: b"and back",
            transfers: &back,
        };
        assert_eq!(
            realm.ipc.reply(&realm.domains[1], got.reply, message),
            Ok(())
        );
        let (bytes, handles) = caller.join().unwrap().unwrap();
        assert_eq!((bytes.as_slice(), handles.len()), (&b"and back"[..], 1));
        let va = realm.map(0, handles[0], READ);
        assert_eq!(realm.load(0, 0, va), Ok(77));
    });
    realm.finish();
}

#[test]
fn a_right_to_reply_works_once() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let mut used = Vec::new();
    std::thread::scope(|scope| {
        let caller = asleep(scope, &realm, || {
            (0..3)
                .map(|number| call_words(&realm, &ends.here, [number; 4]))
                .collect::<Vec<_>>()
        });
        for number in 0..3 {
            let got = serve(&realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
            assert_eq!(got.words, [number; 4]);
            assert_eq!(reply(&realm, 1, got.reply, &[number as u8; 32]), Ok(()));
            used.push(got.reply);
            for old in &used {
                assert_eq!(reply(&realm, 1, *old, &[9; 32]), Err(Error::BadHandle));
            }
        }
        let answers = caller.join().unwrap();
        let expected: Vec<_> = (0..3_u8)
            .map(|number| Ok([u64::from_le_bytes([number; 8]); 4]))
            .collect();
        assert_eq!(answers, expected);
    });
    realm.finish();
}

#[test]
fn words_and_a_message_of_32_bytes_are_the_same() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let bytes: Vec<u8> = [1_u64, 2, 3, 4]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    ends.here.send(&realm, &bytes, &[]).unwrap();
    let got = serve(&realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
    assert_eq!((got.words, got.reply), ([1, 2, 3, 4], Handle::NONE));
    std::thread::scope(|scope| {
        let caller = asleep(scope, &realm, || {
            call_words(&realm, &ends.here, [4, 3, 2, 1])
        });
        let got = ends.there.receive(&realm).unwrap();
        assert_eq!(got.bytes[..8], 4_u64.to_le_bytes());
        assert_eq!(reply(&realm, 1, got.reply, &bytes), Ok(()));
        assert_eq!(caller.join().unwrap(), Ok([1, 2, 3, 4]));
    });
    realm.finish();
}

#[test]
fn a_server_that_waits_is_handed_words_and_leaves_others_in_the_queue() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    std::thread::scope(|scope| {
        let server = asleep(scope, &realm, || {
            serve(&realm, &ends.there, Handle::NONE, [0; 4])
        });
        ends.here.send(&realm, &[1; 32], &[]).unwrap();
        assert_eq!(
            server.join().unwrap().unwrap().words,
            [0x0101_0101_0101_0101; 4]
        );
        let server = asleep(scope, &realm, || {
            serve(&realm, &ends.there, Handle::NONE, [0; 4])
        });
        ends.here.send(&realm, b"not words", &[]).unwrap();
        assert_eq!(server.join().unwrap(), Err(Error::TooLarge));
    });
    assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"not words");
    realm.finish();
}

#[test]
fn a_right_that_is_dropped_or_ends_with_its_holder_ends_the_call() {
    for how in 0..4 {
        let realm = Realm::new(3);
        let ends = Ends::between(&realm, 0, 1, 2);
        std::thread::scope(|scope| {
            let caller = asleep(scope, &realm, || call_words(&realm, &ends.here, [1; 4]));
            match how {
                // Never received.
                0 => realm.exit(1),
                _ => {
                    let got = serve(&realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
                    match how {
                        1 => realm.drop_handle(1, got.reply).unwrap(),
                        2 => realm.exit(1),
                        _ => {
                            // Moved on, and lost there.
                            let moved = realm.give(1, got.reply, 2, Mode::Move);
                            realm.drop_handle(2, moved).unwrap();
                        }
                    }
                }
            }
            assert_eq!(caller.join().unwrap(), Err(Error::PeerClosed), "{how}");
        });
        realm.finish();
    }
}

#[test]
fn a_right_to_reply_can_be_moved_and_then_answers() {
    let realm = Realm::new(3);
    let ends = Ends::between(&realm, 0, 1, 2);
    std::thread::scope(|scope| {
        let caller = asleep(scope, &realm, || {
            (0..2)
                .map(|_| call_words(&realm, &ends.here, [1; 4]))
                .collect::<Vec<_>>()
        });
        for _ in 0..2 {
            let got = serve(&realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
            assert_eq!(realm.derive(1, got.reply, ALL), Err(Error::Denied));
            let moved = realm.give(1, got.reply, 2, Mode::Move);
            assert_eq!(reply(&realm, 1, got.reply, &[5; 32]), Err(Error::BadHandle));
            assert_eq!(reply(&realm, 2, moved, &[5; 32]), Ok(()));
        }
        assert!(caller.join().unwrap().iter().all(Result::is_ok));
    });
    realm.finish();
}

#[test]
fn an_answer_to_a_caller_that_gave_up_is_cancelled_and_never_answers_another_call() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 4);
    std::thread::scope(|scope| {
        let realm = &realm;
        let ends = &ends;
        let (tell, told) = std::sync::mpsc::channel();
        let caller = asleep(scope, realm, move || {
            tell.send(fake::FakeTask::current()).unwrap();
            let first = call_words(realm, &ends.here, [1; 4]);
            (first, call_words(realm, &ends.here, [2; 4]))
        });
        let stale = serve(realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
        realm.ipc.cancel_wait(&told.recv().unwrap()).unwrap();
        let fresh = serve(realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
        assert_eq!(fresh.words, [2; 4]);
        assert_eq!(
            reply(realm, 1, stale.reply, &[7; 32]),
            Err(Error::Cancelled)
        );
        assert_eq!(
            reply(realm, 1, stale.reply, &[7; 32]),
            Err(Error::BadHandle)
        );
        assert_eq!(reply(realm, 1, fresh.reply, &[8; 32]), Ok(()));
        let (first, second) = caller.join().unwrap();
        assert_eq!(first, Err(Error::Cancelled));
        assert_eq!(second, Ok([0x0808_0808_0808_0808; 4]));
    });
    realm.finish();
}

#[test]
fn a_call_that_nobody_received_is_taken_back_with_all_that_it_carried() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 4);
    let region = realm.region(0, 1);
    let moved = [HandleTransfer::new(region, Mode::Move, ALL)];
    ends.here.send(&realm, b"before", &[]).unwrap();
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let (realm, ends, moved) = (&realm, &ends, &moved);
        let caller = asleep(scope, realm, move || {
            tell.send(fake::FakeTask::current()).unwrap();
            call(realm, &ends.here, b"call", moved, ROOMY)
        });
        ends.here.send(realm, b"after", &[]).unwrap();
        realm.ipc.cancel_wait(&told.recv().unwrap()).unwrap();
        assert_eq!(caller.join().unwrap(), Err(Error::Cancelled));
    });
    assert!(realm.look_up(0, region).is_ok());
    assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"before");
    assert_eq!(ends.there.receive(&realm).unwrap().bytes, b"after");
    assert_eq!(ends.there.receive(&realm).err(), Some(Error::WouldBlock));
    realm.finish();
}

#[test]
fn an_answer_that_does_not_fit_is_told_to_both() {
    let small = Fit::Message {
        bytes: 8,
        handles: 0,
    };
    for fit in [small, Fit::Words] {
        let realm = Realm::new(2);
        let ends = Ends::between(&realm, 0, 1, 2);
        let region = realm.region(1, 1);
        std::thread::scope(|scope| {
            let caller = asleep(scope, &realm, || match fit {
                Fit::Words => call_words(&realm, &ends.here, [1; 4]).map(|_| ()),
                fit => call(&realm, &ends.here, b"", &[], fit).map(|_| ()),
            });
            let got = ends.there.receive(&realm).unwrap();
            let message = Outgoing {
                bytes: b"nine byte",
                transfers: &[HandleTransfer::new(region, Mode::Move, ALL)],
            };
            let told = realm.ipc.reply(&realm.domains[1], got.reply, message);
            assert_eq!(told, Err(Error::TooLarge));
            assert_eq!(caller.join().unwrap(), Err(Error::TooLarge));
            assert!(realm.look_up(1, region).is_ok());
            assert_eq!(reply(&realm, 1, got.reply, b""), Err(Error::BadHandle));
        });
        realm.finish();
    }
}

#[test]
fn a_revoke_ends_the_calls_made_through_what_it_takes() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let derived = End::new(0, realm.derive(0, ends.here.handle, ALL).unwrap());
    std::thread::scope(|scope| {
        let caller = asleep(scope, &realm, || call_words(&realm, &derived, [1; 4]));
        let got = serve(&realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
        assert_eq!(realm.revoke(0, ends.here.handle), Ok(1));
        assert_eq!(caller.join().unwrap(), Err(Error::Revoked));
        assert_eq!(reply(&realm, 1, got.reply, &[1; 32]), Err(Error::Cancelled));
    });
    realm.finish();
}

#[test]
fn answers_and_ends_that_race_complete_each_call_once() {
    for round in 0..300 {
        let realm = Arc::new(Realm::new(2));
        let ends = Ends::between(&realm, 0, 1, 2);
        std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let (realm, ends) = (&*realm, &ends);
            let caller = asleep(scope, realm, move || {
                tell.send(fake::FakeTask::current()).unwrap();
                call_words(realm, &ends.here, [1; 4])
            });
            let got = serve(realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
            let task = told.recv().unwrap();
            let cancels = scope.spawn(move || realm.ipc.cancel_wait(&task));
            let answers = scope.spawn(move || match round % 2 {
                0 => reply(realm, 1, got.reply, &[2; 32]),
                _ => realm.drop_handle(1, got.reply),
            });
            let (cancelled, answered) = (cancels.join().unwrap(), answers.join().unwrap());
            match caller.join().unwrap() {
                Ok(_) => assert!(round % 2 == 0 && answered.is_ok() && cancelled.is_err()),
                Err(Error::PeerClosed) => assert!(round % 2 == 1 && cancelled.is_err()),
                Err(error) => {
                    assert_eq!((error, cancelled), (Error::Cancelled, Ok(())));
                    assert!(round % 2 == 1 || answered == Err(Error::Cancelled));
                }
            }
        });
        Arc::into_inner(realm).unwrap().finish();
    }
}

#[test]
fn many_callers_each_get_their_own_answers() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 3);
    std::thread::scope(|scope| {
        let (realm, ends) = (&realm, &ends);
        for _ in 0..2 {
            scope.spawn(move || {
                let (mut right, mut words) = (Handle::NONE, [0; 4]);
                while let Ok(next) = serve(realm, &ends.there, right, words) {
                    if next.words[0] == u64::MAX {
                        reply(realm, 1, next.reply, &[0; 32]).unwrap();
                        break;
                    }
                    (right, words) = (next.reply, next.words.map(|word| word + 1));
                }
                realm.ipc.end_task(&fake::FakeTask::current());
            });
        }
        let callers: Vec<_> = (0..4_u64)
            .map(|caller| {
                scope.spawn(move || {
                    for number in 0..200 {
                        let words = [caller, number, caller * number, 7];
                        let answer = call_words(realm, &ends.here, words);
                        assert_eq!(answer, Ok(words.map(|word| word + 1)));
                    }
                    realm.ipc.end_task(&fake::FakeTask::current());
                })
            })
            .collect();
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
        for _ in 0..2 {
            assert!(call_words(realm, &ends.here, [u64::MAX; 4]).is_ok());
        }
    });
    realm.finish();
}
