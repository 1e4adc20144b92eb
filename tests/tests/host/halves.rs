//! Calls in words by halves: who met meets again without waiting for anybody; where that can't be, nothing was
//! done, and the call is made at length.

use std::thread::Scope;

use crate::common::again::{begin_answer, begin_call};
use crate::common::lent::{Pair, Worker};
use crate::common::messages::End;
use crate::common::realm::Realm;
use abi::{Error, FOREVER, Handle, Mode, Rights};
use fake::FakeTask;
use ipc::Platform;

const WORDS: [u64; 4] = [5, 6, 7, 8];
const ANSWER: [u64; 4] = [9, 10, 11, 12];

/// Does something with a pair that has met often.
fn with_pair<R>(f: impl for<'s> FnOnce(&'s Scope<'s, '_>, &mut Pair<'s>) -> R) -> R {
    let owned = Realm::new(2);
    let came = std::thread::scope(|scope| {
        let mut pair = Pair::lent(scope, &owned);
        let came = f(scope, &mut pair);
        pair.finish();
        came
    });
    owned.finish();
    came
}

/// Has a task of domain 0 begin a call, and returns who is to go on.
fn begin<'s>(realm: &'s Realm, caller: &Worker<'s>, end: End) -> Option<FakeTask> {
    let begun = caller.ask(move || begin_call(&realm.ipc, &realm.domains[0], end.handle, WORDS));
    begun.recv().unwrap()
}

/// Finishes a call that has begun, and answers it by halves.
fn finish(pair: &mut Pair<'_>, server: FakeTask) {
    let (realm, here, there) = (pair.realm, pair.ends.here, pair.ends.there);
    let answer = pair.caller.ask(move || {
        realm.ipc.platform().unpark_and_park(&server, FOREVER);
        realm
            .ipc
            .called_again(&realm.domains[0], here.handle, FOREVER)
    });
    let call = pair.received();
    assert_eq!(call.words, WORDS);
    let by = (there.handle, call.reply);
    let begun = pair
        .server
        .ask(move || begin_answer(&realm.ipc, &realm.domains[1], by, ANSWER));
    let caller = begun.recv().unwrap().expect("nothing is in the way");
    pair.served = pair.server.ask(move || {
        realm.ipc.platform().unpark_and_park(&caller, FOREVER);
        realm.ipc.answered_again(&realm.domains[1], by)
    });
    assert_eq!(answer.recv().unwrap(), Ok(ANSWER));
    pair.server.task.until_sleeping();
}

#[test]
fn who_met_meets_again_by_halves_and_at_length() {
    with_pair(|_, pair| {
        for _ in 0..3 {
            let server = begin(pair.realm, &pair.caller, pair.ends.here);
            finish(pair, server.expect("nothing is in the way"));
            pair.meet(1);
        }
    });
}

#[test]
fn another_task_or_another_capability_has_not_met() {
    with_pair(|scope, pair| {
        let (realm, here) = (pair.realm, pair.ends.here);
        let other = Worker::new(scope, realm);
        assert!(begin(realm, &other, here).is_none());
        let below = End::new(0, realm.derive(0, here.handle, Rights::all()).unwrap());
        assert!(begin(realm, &pair.caller, below).is_none());
        below.drop(realm);
        pair.meet(1);
    });
}

#[test]
fn who_may_not_call_any_more_begins_nothing() {
    with_pair(|_, pair| {
        let (realm, here) = (pair.realm, pair.ends.here);
        realm
            .reduce(0, here.handle, Rights::all() - Rights::SEND)
            .unwrap();
        assert!(begin(realm, &pair.caller, here).is_none());
        assert_eq!(pair.call(1).recv().unwrap(), Err(Error::Denied));
    });
}

/// The same handle but for its generation.
fn of_generation(handle: Handle, generation: u32) -> Handle {
    let kind = handle.kind().unwrap();
    Handle::new(handle.index(), generation, kind)
}

#[test]
fn an_end_by_another_name_begins_nothing() {
    with_pair(|_, pair| {
        let realm = pair.realm;
        let other = |end: Handle| of_generation(end, end.generation() + 1);
        let here = End::new(0, other(pair.ends.here.handle));
        assert!(begin(realm, &pair.caller, here).is_none());
        let answer = pair.call(1);
        let call = pair.received();
        let by = (other(pair.ends.there.handle), call.reply);
        let begun = pair
            .server
            .ask(move || begin_answer(&realm.ipc, &realm.domains[1], by, ANSWER));
        assert!(begun.recv().unwrap().is_none());
        pair.serve(call);
        assert_eq!(answer.recv().unwrap(), Ok(1));
    });
}

#[test]
fn an_answer_by_another_name_or_process_begins_nothing() {
    with_pair(|_, pair| {
        let (realm, there) = (pair.realm, pair.ends.there);
        let also = realm.give(1, there.handle, 0, Mode::Share);
        for word in 0..3 {
            let answer = pair.call(word);
            let call = pair.received();
            let (name, generation) = (call.reply, call.reply.generation());
            let others = [generation - 1, generation + 1, generation ^ 1 << 31, 0];
            let others = others.map(|generation| of_generation(name, generation));
            let others = others.into_iter().chain([there.handle, Handle::NONE]);
            let others = others.map(|other| (1, there.handle, other));
            for (domain, end, reply) in others.chain([(0, also, name)]) {
                let begun = pair.server.ask(move || {
                    begin_answer(&realm.ipc, &realm.domains[domain], (end, reply), ANSWER)
                });
                assert!(begun.recv().unwrap().is_none(), "{reply:?} of {domain}");
            }
            pair.serve(call);
            assert_eq!(answer.recv().unwrap(), Ok(word));
        }
        realm.drop_handle(0, also).unwrap();
    });
}

#[test]
fn nothing_is_done_of_who_does_not_fit() {
    with_pair(|_, pair| {
        let (realm, here) = (pair.realm, pair.ends.here);
        let refused = pair.caller.ask(move || {
            let words = || -> [u64; 4] { unreachable!("nothing is handed over") };
            let domain = &realm.domains[0];
            let fits = |_: &FakeTask, _: &FakeTask| None::<()>;
            realm.ipc.call_again(domain, here.handle, words, fits)
        });
        assert_eq!(refused.recv().unwrap(), None);
        pair.meet(1);
        let answer = pair.call(2);
        let call = pair.received();
        let by = (pair.ends.there.handle, call.reply);
        let refused = pair.server.ask(move || {
            let words = || -> [u64; 4] { unreachable!("nothing is answered") };
            let fits = |_: &FakeTask, _: &FakeTask| None::<()>;
            realm.ipc.answer_again(&realm.domains[1], by, words, fits)
        });
        assert_eq!(refused.recv().unwrap(), None);
        pair.serve(call);
        assert_eq!(answer.recv().unwrap(), Ok(2));
        pair.meet(3);
    });
}

#[test]
fn what_is_in_use_is_not_waited_for() {
    with_pair(|_, pair| {
        let (realm, here, there) = (pair.realm, pair.ends.here, pair.ends.there);
        let begun = pair.caller.ask(move || {
            let domain = &realm.domains[0];
            // The place of the handle, and the end where they meet, are in use.
            let meanwhile = |_: &FakeTask, server: &FakeTask| {
                std::thread::scope(|scope| {
                    let by_place = || begin_call(&realm.ipc, domain, here.handle, WORDS).is_none();
                    let server = &realm.domains[1];
                    let by = (there.handle, abi::Handle::NONE);
                    let by_end = move || begin_answer(&realm.ipc, server, by, WORDS).is_none();
                    let tried = [scope.spawn(by_place), scope.spawn(by_end)];
                    assert!(tried.map(|tried| tried.join().unwrap()) == [true; 2]);
                });
                Some(server.clone())
            };
            realm
                .ipc
                .call_again(domain, here.handle, || WORDS, meanwhile)
        });
        let server = begun.recv().unwrap();
        finish(pair, server.expect("nothing is in the way"));
    });
}

#[test]
fn what_ends_a_call_between_its_halves_is_told_by_the_second() {
    with_pair(|_, pair| {
        let (realm, here) = (pair.realm, pair.ends.here);
        let server = begin(realm, &pair.caller, here).expect("nothing is in the way");
        realm.ipc.cancel_wait(&pair.caller.task).unwrap();
        let called = pair.caller.ask(move || {
            realm.ipc.platform().unpark_and_park(&server, FOREVER);
            realm
                .ipc
                .called_again(&realm.domains[0], here.handle, FOREVER)
        });
        assert_eq!(called.recv().unwrap(), Err(Error::Cancelled));
        let call = pair.received();
        assert_eq!(call.words, WORDS);
        pair.serve(call);
        pair.meet_often();
    });
}
