//! Registered handles are let go: what is in use stays until it is not, whoever lets it go and from where.

use crate::common;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::ports::notification;
use crate::common::realm::Realm;
use crate::common::registered::{by, knows, register, unregister, wait_by};
use crate::common::submissions::{Submissions, cancel};
use abi::submission::Registered;
use abi::{Error, FOREVER, Handle, Mode, Rights, Token};
use fake::FakeTask;

#[test]
fn what_is_in_use_is_let_go_when_it_is_not() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let bell = notification(&realm, 0);
    let id = register(&realm, bell).unwrap();
    assert_eq!(ring.run(&realm, &[wait_by(id, FOREVER)]), []);
    assert_eq!(unregister(&realm, id, 0), Err(Error::Busy));
    assert!(knows(&realm, &mut ring, id), "it is as it was");
    assert_eq!(ring.enter(&realm, 0, 1, 0), Ok(0));
    assert_eq!(ring.reap(&realm), [(2, Ok(1))]);
    // A time at which it is in use still.
    assert_eq!(ring.run(&realm, &[wait_by(id, FOREVER)]), []);
    assert_eq!(unregister(&realm, id, 5), Err(Error::TimedOut));
    assert!(knows(&realm, &mut ring, id), "it is as it was");
    assert_eq!(ring.enter(&realm, 0, 1, 0), Ok(0));
    ring.reap(&realm);
    assert_eq!(ring.run(&realm, &[wait_by(id, FOREVER)]), []);
    let waiting = common::waiting::asleep(&realm, move |realm| unregister(realm, id, FOREVER));
    assert_eq!(unregister(&realm, id, FOREVER), Err(Error::Busy));
    assert!(!knows(&realm, &mut ring, id), "nothing new begins");
    assert_eq!(ring.run(&realm, &[cancel(3, 2)]).len(), 2);
    assert_eq!(waiting.join().unwrap(), Ok(()));
    assert_eq!(unregister(&realm, id, 0), Err(Error::NotFound));
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn who_waits_for_what_is_in_use_can_be_told_to_end() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let bell = notification(&realm, 0);
    let id = register(&realm, bell).unwrap();
    assert_eq!(ring.run(&realm, &[wait_by(id, FOREVER)]), []);
    let end: [fn(&Realm, &FakeTask); 2] = [
        |_, task| task.end(),
        |realm, task| realm.ipc.cancel_wait(task).unwrap(),
    ];
    for (end, why) in end.into_iter().zip([Error::Interrupted, Error::Cancelled]) {
        let (waiting, task) =
            common::waiting::waiting(&realm, move |realm| unregister(realm, id, FOREVER));
        task.until_asleep();
        end(&realm, &task);
        assert_eq!(waiting.join().unwrap(), Err(why));
    }
    assert_eq!(unregister(&realm, id, 0), Err(Error::Busy));
    assert_eq!(ring.run(&realm, &[cancel(3, 2)]).len(), 2);
    assert_eq!(unregister(&realm, id, 0), Ok(()));
    Arc::into_inner(realm).unwrap().finish();
}

/// What ends a capability of domain 0, which is derived from another.
type End = fn(&Realm, Handle, Handle);

#[test]
fn the_end_of_a_capability_lets_go_what_was_registered_by_it() {
    let ends: [End; 3] = [
        |realm, _, handle| realm.drop_handle(0, handle).unwrap(),
        |realm, above, _| _ = realm.revoke(0, above).unwrap(),
        |realm, _, handle| _ = realm.revoke_itself(0, handle).unwrap(),
    ];
    for end in ends {
        let realm = Realm::new(1);
        let mut ring = Submissions::new(&realm, 0, 4, 4);
        let bell = notification(&realm, 0);
        let derived = realm.derive(0, bell, Rights::all()).unwrap();
        let (id, other) = (
            register(&realm, derived).unwrap(),
            register(&realm, bell).unwrap(),
        );
        end(&realm, bell, derived);
        assert_eq!(unregister(&realm, id, 0), Err(Error::NotFound));
        assert!(!knows(&realm, &mut ring, id));
        assert!(knows(&realm, &mut ring, other));
        assert_eq!(register(&realm, bell).unwrap().slot(), id.slot());
        realm.finish();
    }
}

/// Builds with debug assertions, as this one, stop at who looks at more slots than its object has registered.
#[test]
fn the_end_of_a_capability_costs_what_its_object_has_registered() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let (bell, other) = (notification(&realm, 0), notification(&realm, 0));
    for round in 0..3 {
        let derived = realm.derive(0, bell, Rights::all()).unwrap();
        let (mut ended, mut kept, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..70 {
            ended.push(register(&realm, derived).unwrap());
            others.push(register(&realm, other).unwrap());
            kept.push(register(&realm, bell).unwrap());
            others.push(register(&realm, other).unwrap());
        }
        // Lists with holes, of which each round makes others: the first, the last, and those in the middle.
        for from in [&mut ended, &mut kept, &mut others] {
            for at in [0, 20, 20, 35 + round] {
                assert_eq!(unregister(&realm, from.remove(at), 0), Ok(()));
            }
            assert_eq!(unregister(&realm, from.pop().unwrap(), 0), Ok(()));
        }
        match round {
            0 => realm.drop_handle(0, derived).unwrap(),
            1 => _ = realm.revoke(0, bell).unwrap(),
            _ => _ = realm.revoke_itself(0, derived).unwrap(),
        }
        assert!(ended.iter().all(|id| !knows(&realm, &mut ring, *id)));
        for id in kept.into_iter().chain(others) {
            assert!(knows(&realm, &mut ring, id));
            assert_eq!(unregister(&realm, id, 0), Ok(()));
        }
    }
    let last = [(); 3].map(|()| register(&realm, other).unwrap());
    realm.drop_handle(0, other).unwrap();
    assert!(last.iter().all(|id| !knows(&realm, &mut ring, *id)));
    realm.finish();
}

#[test]
fn the_end_of_a_capability_in_use_lets_it_go_with_the_last_use() {
    let realm = Realm::new(1);
    let mut rings = [
        Submissions::new(&realm, 0, 4, 4),
        Submissions::new(&realm, 0, 4, 4),
    ];
    let bell = notification(&realm, 0);
    let derived = realm.derive(0, bell, Rights::all()).unwrap();
    let id = register(&realm, derived).unwrap();
    for ring in &mut rings {
        assert_eq!(ring.run(&realm, &[wait_by(id, FOREVER)]), []);
    }
    realm.revoke(0, bell).unwrap();
    for ring in &mut rings {
        let next = register(&realm, bell).unwrap();
        assert_ne!(next.slot(), id.slot(), "it is in use");
        unregister(&realm, next, 0).unwrap();
        let done = ring.run(&realm, &[by(id, 1)]);
        assert_eq!(done, [(2, Err(Error::Revoked)), (1, Err(Error::NotFound))]);
    }
    let slots = [(); 2].map(|()| register(&realm, bell).unwrap().slot());
    assert!(slots.contains(&id.slot()));
    realm.finish();
}

#[test]
fn a_capability_that_moves_away_is_of_no_use_here() {
    let realm = Realm::new(2);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let bell = notification(&realm, 0);
    let id = register(&realm, bell).unwrap();
    let token = realm.grant(0, bell, 1, Mode::Move, Rights::all()).unwrap();
    assert_eq!(ring.run(&realm, &[by(id, 1)]), [(1, Err(Error::InTransit))]);
    realm.cancel(0, token).unwrap();
    assert_eq!(ring.run(&realm, &[by(id, 1)]), [(1, Ok(0))]);
    let moved = realm.give(0, bell, 1, Mode::Move);
    assert_eq!(ring.run(&realm, &[by(id, 1)]), [(1, Err(Error::BadHandle))]);
    realm.drop_handle(1, moved).unwrap();
    assert_eq!(unregister(&realm, id, 0), Err(Error::NotFound));
    realm.finish();
}

#[test]
fn who_lets_a_handle_go_waits_for_its_users_wherever_its_capability_is() {
    let becomes: [fn(&Realm, Token); 3] = [
        |_, _| (),
        |realm, token| _ = realm.accept(1, token, 0).unwrap(),
        |realm, token| realm.cancel(0, token).unwrap(),
    ];
    let ways = |becomes| [true, false].map(|before| (becomes, before));
    for (becomes, before) in becomes.into_iter().flat_map(ways) {
        let realm = Arc::new(Realm::new(2));
        let mut ring = Submissions::new(&realm, 0, 4, 4);
        let bell = notification(&realm, 0);
        let id = register(&realm, bell).unwrap();
        assert_eq!(ring.run(&realm, &[wait_by(id, FOREVER)]), []);
        let token = realm.grant(0, bell, 1, Mode::Move, Rights::all()).unwrap();
        assert_eq!(unregister(&realm, id, 5), Err(Error::TimedOut));
        if before {
            becomes(&realm, token);
        }
        let waiting = common::waiting::asleep(&realm, move |realm| unregister(realm, id, FOREVER));
        if !before {
            becomes(&realm, token);
        }
        assert!(!waiting.is_finished(), "its wait was not looked at yet");
        assert_eq!(ring.enter(&realm, 0, 0, 0), Ok(0));
        assert_eq!(waiting.join().unwrap(), Ok(()));
        assert!(matches!(ring.reap(&realm)[..], [(2, Err(_))]));
        Arc::into_inner(realm).unwrap().finish();
    }
}

/// Registers the bell of a domain, and begins to move it to another at a moment of that. The answer, and whether that
/// moment came.
fn registered_while_it_moves(moment: u32) -> (Result<Registered, Error>, bool) {
    let realm = Arc::new(Realm::new(2));
    let bell = notification(&realm, 0);
    let (inside, turns) = (realm.clone(), Arc::new(AtomicU32::new(0)));
    let count = turns.clone();
    let meanwhile = move || {
        if count.fetch_add(1, Ordering::Relaxed) == moment {
            let moved = inside.grant(0, bell, 1, Mode::Move, Rights::all());
            moved.unwrap();
        }
    };
    let answer = fake::before_locks(None, meanwhile, || register(&realm, bell));
    if answer.is_err() {
        // Under the number that it would have had.
        let guess = Registered::new(0, 1);
        assert_eq!(unregister(&realm, guess, 0), Err(Error::NotFound));
        let other = notification(&realm, 0);
        assert_eq!(register(&realm, other).unwrap().slot(), 0);
    }
    Arc::into_inner(realm).unwrap().finish();
    (answer, moment < turns.load(Ordering::Relaxed))
}

#[test]
fn what_begins_to_move_while_it_is_registered_is_registered_or_not() {
    let mut answers = Vec::new();
    for moment in 0.. {
        let (answer, came) = registered_while_it_moves(moment);
        answers.push(answer);
        if !came {
            break;
        }
    }
    assert!(answers.contains(&Err(Error::InTransit)));
    assert!(answers.last().is_some_and(Result::is_ok));
}

#[test]
fn a_process_that_ends_lets_go_what_its_operations_use() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let bell = notification(&realm, 0);
    let id = register(&realm, bell).unwrap();
    let waiting = [wait_by(id, FOREVER), wait_by(id, 1 << 40)];
    assert_eq!(ring.run(&realm, &waiting), []);
    realm.finish();
}

#[test]
fn of_a_process_that_ends_nothing_stays_at_what_it_had_registered_and_lost() {
    // What it has registered and used is its own, or ended before it.
    for lost in [false, true] {
        let mut realm = Realm::new(2);
        let bell = notification(&realm, 1);
        let given = realm.give(1, bell, 0, Mode::Share);
        let mut ring = Submissions::new(&realm, 0, 4, 4);
        let id = register(&realm, given).unwrap();
        assert_eq!(ring.run(&realm, &[wait_by(id, FOREVER)]), []);
        if lost {
            realm.drop_handle(0, given).unwrap();
        }
        realm.exit(0);
        // Who pays for its registrar is there as long as that is.
        let account = Arc::downgrade(realm.domains[0].account());
        realm.domains[0] = realm.domains[1].clone();
        assert_eq!(account.strong_count(), 0, "lost before: {lost}");
        realm.finish();
    }
}
