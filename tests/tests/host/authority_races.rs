//! What others do with a capability while it is being revoked, and what revokes meet in the middle of
//! other calls: when revoke returns nothing works, whoever was where (I5).

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use crate::common::messages::Ends;
use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::{Error, Handle, HandleTransfer, Mode, RevokeFlags, Rights, SnapshotFlags, Token};
use mm::lock::Rank;

const ALL: Rights = Rights::all();

/// Domain 1 has a capability below one of domain 0, mapped on CPU 1, and a token for another below it.
struct Family {
    realm: Realm,
    top: Handle,
    child: Handle,
    va: u64,
    /// Domain 1 has offered it to domain 2.
    token: Token,
}

impl Family {
    fn new() -> Arc<Family> {
        let realm = Realm::new(3);
        let top = realm.region(0, 3);
        let child = realm.give(0, top, 1, Mode::Share);
        let va = realm.map(1, child, WRITE);
        realm.store(1, 1, va, 7).unwrap();
        let token = realm.grant(1, child, 2, Mode::Share, READ).unwrap();
        Arc::new(Family {
            realm,
            top,
            child,
            va,
            token,
        })
    }

    fn finish(self: Arc<Family>) {
        self.realm.machine().clear_hooks();
        let family = Arc::into_inner(self).expect("nobody else has it");
        family.realm.finish();
    }
}

type Deed = (&'static str, fn(&Family) -> Result<(), Error>, Error);

/// What the holder of a capability may try, and what it is told while that is being revoked.
const DEEDS: &[Deed] = &[
    (
        "derive",
        |f| f.realm.derive(1, f.child, ALL).map(drop),
        Error::Revoked,
    ),
    (
        "share",
        |f| f.realm.grant(1, f.child, 0, Mode::Share, ALL).map(drop),
        Error::Revoked,
    ),
    (
        "move",
        |f| f.realm.grant(1, f.child, 0, Mode::Move, ALL).map(drop),
        Error::Revoked,
    ),
    (
        "copy",
        |f| {
            f.realm
                .grant(1, f.child, 0, Mode::CopyOnWrite, ALL)
                .map(drop)
        },
        Error::Revoked,
    ),
    (
        "map",
        |f| f.realm.try_map(1, f.child, READ).map(drop),
        Error::Revoked,
    ),
    (
        "snapshot",
        |f| {
            let (domain, flags) = (&f.realm.domains[1], SnapshotFlags::empty());
            let made = f.realm.ipc.snapshot_region(domain, f.child, 0, 0, flags);
            made.map(drop)
        },
        Error::Revoked,
    ),
    (
        "pin",
        |f| f.realm.ipc.pin_region(&f.realm.domains[1], f.child),
        Error::Revoked,
    ),
    (
        "revoke",
        |f| f.realm.revoke(1, f.child).map(drop),
        Error::Revoked,
    ),
    (
        "accept",
        |f| f.realm.accept(2, f.token, 1).map(drop),
        Error::NotFound,
    ),
];

#[test]
fn nothing_can_be_done_by_a_capability_from_the_moment_at_which_its_revoke_waits() {
    for (name, deed, error) in DEEDS {
        for itself in [false, true] {
            let family = Family::new();
            let told = Arc::new(Mutex::new(None));
            let (inside, answer) = (family.clone(), told.clone());
            family.realm.machine().set_while_waiting(move |_| {
                // The other CPU has no lock of this one's.
                let done = || fake::on_cpu(1, || deed(&inside));
                let elsewhere = || std::thread::scope(|scope| scope.spawn(done).join().unwrap());
                answer.lock().unwrap().get_or_insert_with(elsewhere);
            });
            let revoked = if itself {
                let (domain, flags) = (&family.realm.domains[0], RevokeFlags::ITSELF);
                family.realm.ipc.revoke(domain, family.top, flags)
            } else {
                family.realm.revoke(0, family.top)
            };
            assert_eq!(revoked, Ok(2 + u64::from(itself)), "{name}");
            family.realm.machine().clear_hooks();
            assert_eq!(told.lock().unwrap().take(), Some(Err(*error)), "{name}");
            is_gone(&family);
            family.finish();
        }
    }
}

/// Nothing of what was below the top works.
fn is_gone(family: &Family) {
    let realm = &family.realm;
    assert_eq!(realm.look_up(1, family.child), Err(Error::Revoked));
    assert_eq!(realm.accept(2, family.token, 1), Err(Error::NotFound));
    assert!(
        !realm.reaches(1, family.va),
        "CPU 1 reaches what was revoked"
    );
    assert!(realm.load(1, 1, family.va).is_err());
}

#[test]
fn whoever_ends_while_its_capability_is_revoked_leaves_nothing() {
    for first in [0, 1] {
        let family = Family::new();
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let (family, barrier) = (&family, &barrier);
            scope.spawn(move || {
                fake::on_cpu(1, || {
                    barrier.wait();
                    family.realm.exit(1);
                });
            });
            scope.spawn(move || {
                fake::on_cpu(first, || {
                    barrier.wait();
                    let _ = family.realm.revoke(0, family.top);
                });
            });
        });
        assert_eq!(
            family.realm.accept(2, family.token, 1),
            Err(Error::NotFound)
        );
        family.finish();
    }
}

/// Domain 1 moves something to itself, and it is revoked at a moment of its arrival. What arrives, if the revoke came
/// in between.
fn arrives_revoked(moment: usize, arrive: Arrival) -> Option<Result<Handle, Error>> {
    let realm = Rc::new(Realm::new(2));
    let top = realm.region(0, 1);
    // Else what is below it can't be moved.
    realm.reduce(0, top, !Rights::ACCESS).unwrap();
    let old = realm.give(0, top, 1, Mode::Share);
    let arrival = arrive(&realm, old);
    let inside = realm.clone();
    let revoke = move || fake::on_cpu(2, || inside.revoke(0, top));
    // Who revokes needs no lock of the table where it arrives.
    let arrive = || fake::on_cpu(1, || arrival(&realm));
    let (arrived, revoked) = fake::at_moment(moment, Some(Rank::Places), revoke, arrive);
    let told = realm.look_up(1, old).unwrap_err();
    match (arrived, revoked) {
        (Ok(new), revoked) => {
            let is_gone = realm.look_up(1, new) == Err(Error::Revoked);
            assert_eq!((told, is_gone), (Error::BadHandle, revoked.is_some()));
        }
        (Err(_), Some(revoked)) => assert_eq!((told, revoked), (Error::Revoked, Ok(1))),
        (Err(error), None) => panic!("{error:?} without a revoke"),
    }
    let realm = Rc::into_inner(realm).expect("nobody else has it");
    realm.finish();
    revoked.map(|_| arrived)
}

/// Has something moved by its holder to itself, but for the last step.
type Arrival = fn(&Realm, Handle) -> Box<dyn FnOnce(&Realm) -> Result<Handle, Error>>;

#[test]
fn of_what_was_moved_to_oneself_and_revoked_on_the_way_the_old_handle_tells_so() {
    let by_token: Arrival = |realm, old| {
        let token = realm.grant(1, old, 1, Mode::Move, ALL).unwrap();
        Box::new(move |realm| realm.accept(1, token, 1))
    };
    let by_message: Arrival = |realm, old| {
        let ends = Ends::of(realm, 1, 1);
        let moved = [HandleTransfer::new(old, Mode::Move, ALL)];
        ends.here.send(realm, b"", &moved).unwrap();
        Box::new(move |realm| match ends.there.receive(realm)?.handles[..] {
            [Handle::NONE] => Err(Error::Revoked),
            [new] => Ok(new),
            _ => unreachable!("one was sent"),
        })
    };
    for arrive in [by_token, by_message] {
        let moments: Vec<_> = (0..).map_while(|at| arrives_revoked(at, arrive)).collect();
        let revoked = moments.iter().filter(|arrived| arrived.is_err());
        // Before it is taken, before it is looked at, and when its old place is held.
        assert!(revoked.count() >= 3, "{moments:?}");
    }
}
