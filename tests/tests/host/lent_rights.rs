//! What a right to reply that was lent allows, whom a late look at it reaches, and who pays for it when it ends.

use std::sync::mpsc::{self, Receiver, Sender};

use crate::common::lent::{NONE, Pair, Worker, call};
use crate::common::messages::End;
use crate::common::realm::Realm;
use abi::{Error, Handle, Mode, Rights, cost};
use fake::FakeTask;

const LESS: Rights = Rights::SEND;

fn rights(realm: &Realm, domain: usize, right: Handle) -> Rights {
    Rights::from_bits_retain(realm.info(domain, right).rights)
}

/// Has the caller of a pair call elsewhere.
fn call_at(pair: &Pair<'_>, end: End) -> Receiver<Result<u64, Error>> {
    let realm = pair.realm;
    pair.caller.ask(move || call(realm, end, 20))
}

/// Has the task that calls in a pair end, and another take its place.
fn end_caller(pair: &Pair<'_>) {
    let realm = pair.realm;
    let ended = pair.caller.ask(|| realm.ipc.end_task(&FakeTask::current()));
    ended.recv().unwrap();
}

#[test]
fn a_right_that_a_server_reduced_is_whole_at_its_next_call() {
    let owned = Realm::new(2);
    let realm = &owned;
    std::thread::scope(|scope| {
        let mut pair = Pair::lent(scope, realm);
        for word in 10..13 {
            let (answer, call) = (pair.call(word), pair.received());
            assert_eq!(rights(realm, 1, call.reply), Rights::REPLY);
            realm.reduce(1, call.reply, LESS).unwrap();
            pair.serve(call);
            assert_eq!(answer.recv().unwrap(), Ok(word));
        }
        pair.meet_often();
        pair.finish();
    });
    owned.finish();
}

#[test]
fn a_right_that_a_server_reduced_is_whole_at_another() {
    let owned = Realm::new(3);
    let realm = &owned;
    std::thread::scope(|scope| {
        let mut pairs = [1, 2].map(|domain| Pair::lent_to(scope, realm, domain));
        let (answer, received) = (pairs[0].call(9), pairs[0].received());
        realm.reduce(1, received.reply, LESS).unwrap();
        pairs[0].serve(received);
        assert_eq!(answer.recv().unwrap(), Ok(9));
        let answer = call_at(&pairs[0], pairs[1].ends.here);
        let received = pairs[1].received();
        assert_eq!(rights(realm, 2, received.reply), Rights::REPLY);
        pairs[1].serve(received);
        assert_eq!(answer.recv().unwrap(), Ok(20));
        pairs.into_iter().for_each(Pair::finish);
    });
    owned.finish();
}

/// Does something with the right to answer a call that is named by its handle.
type Look = fn(&Realm, Handle) -> Result<(), Error>;

/// What happens at the moments of a look at which it holds no lock.
struct Moments {
    reached: Receiver<()>,
    go_on: Sender<()>,
}

impl Moments {
    /// Those of a look, and what that does at them.
    fn new() -> (Moments, impl FnMut() + Send + 'static) {
        let (reach, reached) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let meanwhile = move || {
            if reach.send(()).is_ok() {
                let _ = goes_on.recv();
            }
        };
        (Moments { reached, go_on }, meanwhile)
    }

    /// Whether there are so many more.
    fn pass(&self, count: usize) -> bool {
        let pass = || self.reached.recv().is_ok() && self.go_on.send(()).is_ok();
        (0..count).all(|_| pass()) && self.reached.recv().is_ok()
    }
}

/// Answers a call at a moment of a look at its right, and has the next one come. Whether there is such a
/// moment, and what the look is told.
fn look_while_answered(look: Look, moment: usize) -> (bool, Result<(), Error>) {
    let owned = Realm::new(2);
    let realm = &owned;
    let seen = std::thread::scope(|scope| {
        let mut pair = Pair::lent(scope, realm);
        let (answer, call) = (pair.call(9), pair.received());
        let (moments, meanwhile) = Moments::new();
        let looks =
            scope.spawn(move || fake::before_locks(None, meanwhile, || look(realm, call.reply)));
        let is_reached = moments.pass(moment);
        pair.serve(call);
        assert_eq!(answer.recv().unwrap(), Ok(9));
        let (answer, next) = (pair.call(10), pair.received());
        drop(moments);
        let told = looks.join().unwrap();
        assert_eq!(
            rights(realm, 1, next.reply),
            Rights::REPLY,
            "moment {moment}"
        );
        pair.serve(next);
        assert_eq!(answer.recv().unwrap(), Ok(10));
        pair.finish();
        (is_reached, told)
    });
    owned.finish();
    seen
}

#[test]
fn a_look_that_comes_late_finds_no_later_call() {
    let reduce: Look = |realm, right| realm.reduce(1, right, LESS);
    let info: Look = |realm, right| {
        let domain = &realm.domains[1];
        realm.ipc.capability_info(domain, right).map(drop)
    };
    for look in [reduce, info] {
        let told = (0..).map(|moment| look_while_answered(look, moment));
        let told: Vec<_> = told.take_while(|(is_reached, _)| *is_reached).collect();
        assert_eq!(told[0].1, Err(Error::BadHandle));
    }
    // It is told of one moment.
    assert_eq!(look_while_answered(info, 1), (false, Ok(())));
}

#[test]
fn nobody_pays_for_a_right_that_ended_elsewhere_while_a_server_sleeps_that_had_it() {
    let owned = Realm::new(3);
    let realm = &owned;
    std::thread::scope(|scope| {
        let mut pairs = [1, 2].map(|domain| Pair::lent_to(scope, realm, domain));
        let before = realm.used(0);
        let answer = call_at(&pairs[0], pairs[1].ends.here);
        let received = pairs[1].received();
        realm.drop_handle(2, received.reply).unwrap();
        assert_eq!(answer.recv().unwrap(), Err(Error::PeerClosed));
        assert_eq!(before.bytes - realm.used(0).bytes, cost::REPLY);
        end_caller(&pairs[0]);
        pairs[0].caller = Worker::new(scope, realm);
        assert_eq!(before.bytes - realm.used(0).bytes, cost::REPLY);
        pairs[1].serve(NONE);
        pairs[1].meet_often();
        pairs.into_iter().for_each(Pair::finish);
    });
    owned.finish();
}

/// What a process is charged when it has ended, and the servers sleep that it called; and how many handles it
/// has then. The right may have ended elsewhere before.
fn left_by_a_process(elsewhere: bool) -> (u64, usize) {
    let owned = Realm::new(3);
    let realm = &owned;
    let mut left = (0, 0);
    std::thread::scope(|scope| {
        let mut pairs = [1, 2].map(|domain| Pair::lent_to(scope, realm, domain));
        let give = |pair: &Pair<'_>| realm.give(0, pair.ends.here.handle, 2, Mode::Share);
        let kept = pairs.each_ref().map(give);
        if elsewhere {
            let answer = call_at(&pairs[0], pairs[1].ends.here);
            let received = pairs[1].received();
            realm.drop_handle(2, received.reply).unwrap();
            assert_eq!(answer.recv().unwrap(), Err(Error::PeerClosed));
            pairs[1].serve(NONE);
        }
        pairs.iter().for_each(end_caller);
        realm.exit(0);
        left = (realm.used(0).bytes, realm.domains[0].handle_count());
        for (pair, kept) in pairs.into_iter().zip(kept) {
            assert!(pair.served.try_recv().is_err(), "it sleeps");
            realm.drop_handle(2, kept).unwrap();
            assert_eq!(pair.served.recv().unwrap(), Err(Error::PeerClosed));
            pair.ends.there.drop(realm);
        }
    });
    owned.finish();
    left
}

#[test]
fn a_process_that_has_ended_pays_for_nothing_that_a_server_keeps() {
    assert_eq!(left_by_a_process(false), left_by_a_process(true));
}

#[test]
fn a_server_that_ends_with_what_it_is_lent_has_no_handle() {
    let owned = Realm::new(2);
    let realm = &owned;
    std::thread::scope(|scope| {
        let pair = Pair::lent(scope, realm);
        realm.exit(1);
        assert!(pair.served.recv().unwrap().is_err());
        assert_eq!(realm.domains[1].handle_count(), 0);
        pair.ends.here.drop(realm);
    });
    owned.finish();
}
