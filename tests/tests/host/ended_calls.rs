//! Calls that end without an answer: whoever called is told why, once, and has again what was not taken.

use std::sync::Arc;

use crate::common::calls::{ROOMY, call, call_words, reply, serve};
use crate::common::messages::{End, Ends, asleep};
use crate::common::realm::Realm;
use abi::{Error, Handle, HandleTransfer, Mode, Rights};

const ALL: Rights = Rights::all();

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
