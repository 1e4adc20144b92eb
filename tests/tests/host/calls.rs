//! Calls and replies: each is answered once, by whoever has the right, with what was given.

use crate::common::calls::{ROOMY, answer_and_receive, call, call_words, reply, serve};
use crate::common::messages::{End, Ends, asleep};
use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::{DeriveArgs, DeriveFlags, Error, Handle, HandleTransfer, Mode, Rights};
use fake::FakeTask;
use ipc::{Fit, Outgoing};

const ALL: Rights = Rights::all();

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
        let itself = End::new(1, first.reply);
        let wrong = serve(&realm, &itself, first.reply, [7; 4]);
        assert_eq!(wrong.err(), Some(Error::WrongKind));
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
fn what_is_made_while_a_server_waits_takes_no_place_that_is_kept() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let made = std::thread::scope(|scope| {
        let (realm, ends) = (&realm, &ends);
        let first = asleep(scope, realm, || call_words(realm, &ends.here, [1; 4]));
        let right = serve(realm, &ends.there, Handle::NONE, [0; 4])
            .unwrap()
            .reply;
        let server = asleep(scope, realm, move || {
            let next = serve(realm, &ends.there, right, [2; 4]).unwrap();
            let domain = &realm.domains[1];
            let told = realm.ipc.reply_words(domain, next.reply, [4; 4]);
            (next.words, told)
        });
        assert_eq!(first.join().unwrap(), Ok([2; 4]));
        let made: Vec<_> = (0..70)
            .map(|_| realm.ipc.create_notification(&realm.domains[1]).unwrap())
            .collect();
        assert_eq!(call_words(realm, &ends.here, [3; 4]), Ok([4; 4]));
        assert_eq!(server.join().unwrap(), ([3; 4], Ok(())));
        made
    });
    for handle in made {
        realm.info(1, handle);
        realm.drop_handle(1, handle).unwrap();
    }
    realm.finish();
}

#[test]
fn a_server_answers_and_serves_on_by_an_end_for_one_use() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    let args = DeriveArgs {
        flags: DeriveFlags::ONE_SHOT.bits(),
        ..DeriveArgs::new(ALL)
    };
    let once = End::new(1, realm.derive_with(1, ends.there.handle, args).unwrap());
    std::thread::scope(|scope| {
        let caller = asleep(scope, &realm, || call_words(&realm, &ends.here, [1; 4]));
        let first = serve(&realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
        ends.here.send(&realm, &[7; 32], &[]).unwrap();
        let next = serve(&realm, &once, first.reply, [2; 4]);
        realm.ipc.settle(&realm.domains[1], true);
        assert_eq!(next.unwrap().words, [0x0707_0707_0707_0707; 4]);
        assert_eq!(caller.join().unwrap(), Ok([2; 4]));
    });
    let gone = serve(&realm, &once, Handle::NONE, [0; 4]);
    assert_eq!(gone.err(), Some(Error::BadHandle));
    realm.finish();
}

#[test]
fn what_one_server_takes_from_a_right_to_reply_the_next_one_has() {
    let realm = Realm::new(2);
    let ends = Ends::between(&realm, 0, 1, 2);
    std::thread::scope(|scope| {
        let (here, realm) = (ends.here, &realm);
        let caller = asleep(scope, realm, move || {
            let answers = [1, 2].map(|word| call_words(realm, &here, [word; 4]));
            realm.ipc.end_task(&FakeTask::current());
            answers
        });
        let first = serve(realm, &ends.there, Handle::NONE, [0; 4]).unwrap();
        realm.reduce(1, first.reply, Rights::SEND).unwrap();
        let next = serve(realm, &ends.there, first.reply, [3; 4]).unwrap();
        let rights = realm.info(1, next.reply).rights;
        assert_eq!(rights, Rights::REPLY.bits());
        realm
            .ipc
            .reply_words(&realm.domains[1], next.reply, [4; 4])
            .unwrap();
        assert_eq!(caller.join().unwrap(), [Ok([3; 4]), Ok([4; 4])]);
        realm.ipc.end_task(&FakeTask::current());
    });
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
            // Neither while the next call waits for its answer, nor when nobody does.
            let no_more = |used: &[Handle]| {
                for old in used {
                    assert_eq!(reply(&realm, 1, *old, &[9; 32]), Err(Error::BadHandle));
                }
            };
            no_more(&used);
            assert_eq!(reply(&realm, 1, got.reply, &[number as u8; 32]), Ok(()));
            used.push(got.reply);
            no_more(&used);
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
fn four_words_are_no_answer_for_who_takes_less() {
    const WORDS: [u64; 4] = [1, 2, 3, 4];
    let ways: [fn(&Realm, &Ends, Handle); 4] = [
        |realm, _, right| {
            let told = realm.ipc.reply_words(&realm.domains[1], right, WORDS);
            assert_eq!(told, Err(Error::TooLarge));
        },
        // Where nothing is in the way, where somebody serves, and where there is nothing to serve.
        |realm, ends, right| {
            std::thread::scope(|scope| {
                let server = asleep(scope, realm, || serve(realm, &ends.there, right, WORDS));
                ends.here.send(realm, &[7; 32], &[]).unwrap();
                assert!(server.join().unwrap().is_ok());
            });
        },
        |realm, ends, right| {
            std::thread::scope(|scope| {
                let serving = |right| move || serve(realm, &ends.there, right, WORDS);
                let servers =
                    [Handle::NONE, right].map(|right| asleep(scope, realm, serving(right)));
                for _ in 0..2 {
                    ends.here.send(realm, &[7; 32], &[]).unwrap();
                }
                assert!(servers.map(|server| server.join().unwrap().is_ok()) == [true; 2]);
            });
        },
        |realm, ends, right| {
            ends.here.send(realm, b"no words", &[]).unwrap();
            let next = serve(realm, &ends.there, right, WORDS);
            assert_eq!(next, Err(Error::TooLarge));
            ends.there.receive(realm).unwrap();
        },
    ];
    let small = [0, 31].map(|bytes| Fit::Message { bytes, handles: 4 });
    for (way, fit) in ways.iter().flat_map(|way| small.map(|fit| (way, fit))) {
        let realm = Realm::new(2);
        let ends = Ends::between(&realm, 0, 1, 4);
        std::thread::scope(|scope| {
            let caller = asleep(scope, &realm, || call(&realm, &ends.here, b"", &[], fit));
            let got = ends.there.receive(&realm).unwrap();
            way(&realm, &ends, got.reply);
            assert_eq!(caller.join().unwrap(), Err(Error::TooLarge));
            assert_eq!(reply(&realm, 1, got.reply, b""), Err(Error::BadHandle));
        });
        realm.finish();
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
