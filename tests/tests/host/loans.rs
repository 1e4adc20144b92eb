//! Rights to reply that are lent to who answers the same task again and again: whatever looks at such a
//! right, or needs it elsewhere, finds what it would find if nothing were lent.

use std::sync::mpsc;

use crate::common::lent::{NONE, Pair, Worker, call, info, reply};
use crate::common::messages::End;
use crate::common::realm::Realm;
use abi::{Error, Handle, Mode, Rights, Words, cost};
use fake::FakeTask;

const ALL: Rights = Rights::all();

#[test]
fn a_call_is_answered_once_by_its_own_name_alone() {
    let owned = Realm::new(2);
    let realm = &owned;
    std::thread::scope(|scope| {
        let mut pair = Pair::lent(scope, realm);
        let next = pair.next_name();
        for name in pair.names.iter().copied().chain([next]) {
            assert_eq!(info(realm, name), Err(Error::BadHandle));
            assert_eq!(reply(realm, 1, name), Err(Error::BadHandle));
            assert_eq!(realm.drop_handle(1, name), Err(Error::BadHandle));
        }
        let answer = pair.call(9);
        let call = pair.received();
        assert_eq!(call.reply, next, "by the loan");
        for name in pair.names.iter().copied().filter(|&name| name != next) {
            assert_eq!(info(realm, name), Err(Error::BadHandle));
            assert_eq!(reply(realm, 1, name), Err(Error::BadHandle));
        }
        pair.serve(call);
        assert_eq!(answer.recv().unwrap(), Ok(9));
        assert_eq!(reply(realm, 1, next), Err(Error::BadHandle));
        pair.meet_often();
        pair.finish();
    });
    owned.finish();
}

/// Does something with the right to reply to a call that came by a loan; what the caller gets.
type Deed = fn(&Realm, Handle) -> Result<u64, Error>;

#[test]
fn what_is_lent_is_a_right_to_reply_as_any() {
    let deeds: [Deed; 5] = [
        |realm, right| {
            assert!(info(realm, right).is_ok());
            reply(realm, 1, right).map(|()| 77)
        },
        |realm, right| {
            realm.drop_handle(1, right).unwrap();
            Err(Error::PeerClosed)
        },
        |realm, right| {
            let moved = realm.give(1, right, 0, Mode::Move);
            assert_eq!(reply(realm, 1, right), Err(Error::BadHandle));
            reply(realm, 0, moved).map(|()| 77)
        },
        |realm, right| {
            realm
                .reduce(1, right, Rights::SEND | Rights::INSPECT)
                .unwrap();
            reply(realm, 1, right).map(|()| 77)
        },
        |realm, right| {
            realm.reduce(1, right, Rights::INSPECT).unwrap();
            assert_eq!(reply(realm, 1, right), Err(Error::Denied));
            realm.drop_handle(1, right).unwrap();
            Err(Error::PeerClosed)
        },
    ];
    for deed in deeds {
        let owned = Realm::new(2);
        let realm = &owned;
        std::thread::scope(|scope| {
            let mut pair = Pair::lent(scope, realm);
            let (answer, call) = (pair.call(9), pair.received());
            let told = deed(realm, call.reply);
            assert_eq!(answer.recv().unwrap(), told);
            assert_eq!(reply(realm, 1, call.reply), Err(Error::BadHandle));
            let used = serve_now(realm, pair.ends.there, call);
            assert_eq!(used, Err(Error::BadHandle));
            pair.serve(NONE);
            pair.meet_often();
            pair.finish();
        });
        owned.finish();
    }
}

/// Serves where that is refused at once.
fn serve_now(realm: &Realm, end: End, call: Words) -> Result<Words, Error> {
    let domain = &realm.domains[end.domain];
    let served = realm
        .ipc
        .serve_words(domain, end.handle, call.reply, call.words);
    realm.ipc.end_task(&FakeTask::current());
    served
}

#[test]
fn who_was_looked_at_is_answered_where_it_was_met() {
    let owned = Realm::new(2);
    let realm = &owned;
    std::thread::scope(|scope| {
        let mut pair = Pair::lent(scope, realm);
        for word in 10..15 {
            let (answer, call) = (pair.call(word), pair.received());
            assert!(info(realm, call.reply).is_ok());
            pair.serve(call);
            assert_eq!(answer.recv().unwrap(), Ok(word));
        }
        pair.finish();
    });
    owned.finish();
}

#[test]
fn a_right_goes_where_its_task_calls_and_the_places_that_had_it_stand_for_nothing() {
    let owned = Realm::new(3);
    let realm = &owned;
    std::thread::scope(|scope| {
        let mut pairs = [1, 2].map(|domain| Pair::lent_to(scope, realm, domain));
        let places = pairs.each_ref().map(|pair| pair.next_name().index());
        assert_eq!(places[0], places[1], "so that a name leads to both");
        // The caller of the first pair calls both servers.
        for often in [1, 4, 4, 1, 1, 3] {
            for at in [0, 1] {
                for _ in 0..often {
                    let end = pairs[at].ends.here;
                    let answer = pairs[0].caller.ask(move || call(realm, end, 20));
                    let received = pairs[at].received();
                    let domain = pairs[1 - at].domain;
                    for name in [received.reply, pairs[1 - at].next_name()] {
                        assert_eq!(reply(realm, domain, name), Err(Error::BadHandle));
                    }
                    pairs[at].serve(received);
                    assert_eq!(answer.recv().unwrap(), Ok(20));
                }
            }
            if often == 1 {
                pairs[1].meet_often();
            }
        }
        for pair in pairs {
            pair.finish();
        }
    });
    owned.finish();
}

#[test]
fn who_ends_pays_for_no_right_that_it_lent_though_its_server_sleeps() {
    let owned = Realm::new(2);
    let realm = &owned;
    std::thread::scope(|scope| {
        let mut pair = Pair::lent(scope, realm);
        let before = realm.used(0);
        let next = Worker::new(scope, realm);
        let left = std::mem::replace(&mut pair.caller, next);
        let (ended, end) = mpsc::channel();
        left.ask(|| realm.ipc.end_task(&FakeTask::current()))
            .recv()
            .unwrap();
        left.ask(move || ended.send(())).recv().unwrap().unwrap();
        end.recv().unwrap();
        assert_eq!(before.bytes - realm.used(0).bytes, cost::REPLY);
        assert_eq!(info(realm, pair.next_name()), Err(Error::BadHandle));
        pair.meet_often();
        pair.finish();
    });
    owned.finish();
}

#[test]
fn a_server_that_is_woken_otherwise_gives_back_what_it_was_lent() {
    /// Wakes the server; what it is told.
    type Wake = fn(&Realm, &Pair<'_>) -> Result<u64, Error>;
    let wakes: [Wake; 4] = [
        |realm, pair| {
            realm.ipc.cancel_wait(&pair.server.task).unwrap();
            Err(Error::Cancelled)
        },
        |realm, pair| {
            pair.ends.here.send(realm, &[5; 32], &[]).unwrap();
            Ok(0x0505_0505_0505_0505)
        },
        |realm, pair| {
            // Another calls, and gives up when it has been received.
            let end = pair.ends.here;
            std::thread::scope(|scope| {
                let answer = scope.spawn(move || {
                    let answer = call(realm, end, 6);
                    realm.ipc.end_task(&FakeTask::current());
                    answer
                });
                let call = pair.served.recv().unwrap().unwrap();
                reply(realm, 1, call.reply).unwrap();
                assert_eq!(answer.join().unwrap(), Ok(77));
            });
            Ok(6)
        },
        |realm, pair| {
            // It looks whether it may go on, and waits again.
            let rights = ALL - Rights::DUPLICATE;
            realm.reduce(1, pair.ends.there.handle, rights).unwrap();
            pair.server.task.until_sleeping();
            realm.ipc.cancel_wait(&pair.server.task).unwrap();
            Err(Error::Cancelled)
        },
    ];
    for (index, wake) in wakes.into_iter().enumerate() {
        let owned = Realm::new(2);
        let realm = &owned;
        std::thread::scope(|scope| {
            let mut pair = Pair::lent(scope, realm);
            let told = wake(realm, &pair);
            if index != 2 {
                let got = pair.served.recv().unwrap();
                assert_eq!(got.map(|got| got.words[0]), told);
            }
            pair.serve(NONE);
            pair.meet_often();
            pair.meet_often();
            pair.finish();
        });
        owned.finish();
    }
}

#[test]
fn a_process_that_ends_with_a_call_by_a_loan_answers_that_it_is_gone() {
    let owned = Realm::new(2);
    let realm = &owned;
    std::thread::scope(|scope| {
        let mut pair = Pair::lent(scope, realm);
        let (answer, _call) = (pair.call(9), pair.received());
        realm.exit(1);
        assert_eq!(answer.recv().unwrap(), Err(Error::PeerClosed));
        pair.ends.here.drop(realm);
    });
    owned.finish();
}
