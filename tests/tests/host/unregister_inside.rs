//! Handles are registered and let go by entries of a ring: among the operations that use them, by the
//! thread of the ring itself, and waiting for what only that thread can end.

use crate::common;
use std::sync::Arc;

use crate::common::ports::{notification, signal as ring_bell};
use crate::common::realm::Realm;
use crate::common::registered::{
    bits, knows, register, register_entry, settle, unregister, unregister_entry, wait_by,
};
use crate::common::submissions::{
    LINK, REGISTERED, Submissions, cancel, nop, polled, serve, signal,
};
use abi::submission::{MAX_CHAIN, RESTING, Registered, Submission};
use abi::{Error, FOREVER, Handle, Rights};

/// One batch that registers a handle in a slot, uses it by the number that it will have, and lets it go.
fn batch(bell: Handle, id: Registered) -> [Submission; 4] {
    [
        register_entry(10, bell, id.slot().into()).with(LINK),
        signal(11, Handle::from_bits(id.bits()), 2).with(REGISTERED | LINK),
        unregister_entry(12, id, FOREVER).with(LINK),
        signal(13, bell, 4),
    ]
}

#[test]
fn a_batch_registers_a_handle_uses_it_and_lets_it_go() {
    let realm = Realm::new(1);
    realm.ipc.set_slots(&realm.domains[0], 8, 2).unwrap();
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let bell = notification(&realm, 0);
    let mut id = Registered::new(1, 1);
    for _ in 0..5 {
        let done = ring.run(&realm, &batch(bell, id));
        let wanted = [(10, Ok(id.bits())), (11, Ok(0)), (12, Ok(0)), (13, Ok(0))];
        assert_eq!(done, wanted);
        assert_eq!(bits(&realm, bell), Ok(6));
        assert!(!knows(&realm, &mut ring, id));
        id = id.next().unwrap();
    }
    // A wrong guess ends the chain, and what was registered stays.
    let done = ring.run(&realm, &batch(bell, id.next().unwrap()));
    let cancelled = Err(Error::Cancelled);
    let wanted = [
        (10, Ok(id.bits())),
        (11, Err(Error::NotFound)),
        (12, cancelled),
        (13, cancelled),
    ];
    assert_eq!(done, wanted);
    assert!(knows(&realm, &mut ring, id));
    realm.finish();
}

#[test]
fn an_entry_is_refused_as_its_call_is() {
    let realm = Realm::new(1);
    realm.ipc.set_slots(&realm.domains[0], 3, 2).unwrap();
    let mut ring = Submissions::new(&realm, 0, 16, 16);
    let bell = notification(&realm, 0);
    let far = Registered::new(7, 1);
    let done = ring.run(
        &realm,
        &[
            register_entry(0, bell, u64::MAX),
            register_entry(1, bell, u64::MAX),
            register_entry(2, bell, 2),
            register_entry(3, bell, 1),
            register_entry(4, bell, 1),
            register_entry(5, Handle::NONE, 0),
            unregister_entry(6, far, 0),
            unregister_entry(7, far, FOREVER),
            Submission::new(abi::submission::Operation::Unregister, 8, [5; 6]),
            unregister_entry(9, Registered::new(1, 1), 0).with(REGISTERED),
            unregister_entry(10, Registered::new(1, 1), 0),
            unregister_entry(11, Registered::new(1, 1), FOREVER),
        ],
    );
    let outcomes: Vec<_> = done.into_iter().map(|done| done.1).collect();
    let wanted = [
        Ok(Registered::new(2, 1).bits()),
        Err(Error::Limit),
        Err(Error::Range),
        Ok(Registered::new(1, 1).bits()),
        Err(Error::Exists),
        Err(Error::BadHandle),
        Err(Error::NotFound),
        Err(Error::NotFound),
        Err(Error::NotFound),
        Err(Error::Invalid),
        Ok(0),
        Err(Error::NotFound),
    ];
    assert_eq!(outcomes, wanted);
    realm.finish();
}

/// The thread that serves a ring is asked to let go what operations of the same ring use, and goes on with what
/// comes after: so those can end, and with them the wait.
#[test]
fn the_thread_of_a_ring_never_sleeps_for_what_only_it_can_end() {
    let realm = Arc::new(Realm::new(1));
    realm.ipc.set_slots(&realm.domains[0], 8, 1).unwrap();
    let mut ring = polled(&realm);
    let (bell, after) = (notification(&realm, 0), notification(&realm, 0));
    let (thread, task) = serve(&realm, &ring);
    let mut id = Registered::new(0, 1);
    for _ in 0..20 {
        for entry in [
            register_entry(1, bell, 0),
            wait_by(id, FOREVER),
            unregister_entry(3, id, FOREVER).with(LINK),
            signal(4, after, 8),
            nop(5),
        ] {
            ring.push(&realm, entry);
        }
        assert_eq!(ring.enter(&realm, 0, 0, 0), Ok(0));
        task.until_sleeping();
        // It rests, and does not wait somewhere for one of its entries.
        assert_eq!(ring.notes(&realm) & RESTING, RESTING);
        assert_eq!(ring.reap(&realm), [(1, Ok(id.bits())), (5, Ok(0))]);
        ring_bell(&realm, 0, bell);
        task.until_sleeping();
        let wanted = [(2, Ok(1)), (3, Ok(0)), (4, Ok(0))];
        assert_eq!(ring.reap(&realm), wanted);
        assert_eq!(bits(&realm, after), Ok(8));
        id = id.next().unwrap();
    }
    // What ends it comes behind it in the same batch.
    for entry in [
        register_entry(1, bell, 0),
        wait_by(id, FOREVER),
        unregister_entry(3, id, FOREVER),
        cancel(4, 2),
    ] {
        ring.push(&realm, entry);
    }
    assert_eq!(ring.enter(&realm, 0, 0, 0), Ok(0));
    task.until_sleeping();
    let wanted = [
        (1, Ok(id.bits())),
        (2, Err(Error::Cancelled)),
        (4, Ok(1)),
        (3, Ok(0)),
    ];
    assert_eq!(ring.reap(&realm), wanted);
    realm.drop_handle(0, ring.handle).unwrap();
    thread.join().unwrap();
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn who_waits_in_one_ring_is_told_by_the_last_use_in_another() {
    let realm = Realm::new(1);
    let mut rings = [(); 3].map(|()| Submissions::new(&realm, 0, 8, 8));
    let bell = notification(&realm, 0);
    let id = register(&realm, bell).unwrap();
    for ring in &mut rings[..2] {
        assert_eq!(ring.run(&realm, &[wait_by(id, FOREVER)]), []);
    }
    let [first, second, third] = &mut rings;
    let chain = [
        unregister_entry(5, id, FOREVER).with(LINK),
        signal(6, bell, 4),
    ];
    assert_eq!(third.run(&realm, &chain), []);
    // Nobody else may, and nothing new begins.
    assert_eq!(unregister(&realm, id, FOREVER), Err(Error::Busy));
    let busy = third.run(&realm, &[unregister_entry(7, id, FOREVER)]);
    assert_eq!(busy, [(7, Err(Error::Busy))]);
    assert!(!knows(&realm, first, id));
    assert_eq!(first.run(&realm, &[cancel(8, 2)]).len(), 2);
    assert_eq!(settle(&realm, third), []);
    assert_eq!(second.run(&realm, &[cancel(8, 2)]).len(), 2);
    assert!(third.says_due(&realm));
    assert_eq!(third.enter(&realm, 0, 2, FOREVER), Ok(0));
    assert_eq!(third.reap(&realm), [(5, Ok(0)), (6, Ok(0))]);
    assert_eq!(unregister(&realm, id, 0), Err(Error::NotFound));
    assert_eq!(bits(&realm, bell), Ok(4));
    realm.finish();
}

/// What ends the wait of a ring for a handle to be let go, and what its entry says then, if somebody still
/// can see it.
type End = (fn(&Realm, &mut Submissions), Option<Error>);

#[test]
fn whoever_gives_up_leaves_the_handle_as_it_was() {
    let ends: [End; 3] = [
        (
            |realm, _| {
                realm.machine().advance_ns(1000);
                realm.ipc.expire_timers(0, usize::MAX);
            },
            Some(Error::TimedOut),
        ),
        (
            |realm, ring| {
                ring.push(realm, cancel(6, 5));
                assert_eq!(ring.enter(realm, 1, 0, 0), Ok(1));
            },
            Some(Error::Cancelled),
        ),
        (
            |realm, ring| realm.drop_handle(0, ring.handle).unwrap(),
            None,
        ),
    ];
    for (end, why) in ends {
        let realm = Realm::new(1);
        let mut rings = [(); 2].map(|()| Submissions::new(&realm, 0, 8, 8));
        let [user, ring] = &mut rings;
        let bell = notification(&realm, 0);
        let id = register(&realm, bell).unwrap();
        for ring in [&mut *user, ring] {
            assert_eq!(ring.run(&realm, &[wait_by(id, FOREVER)]), []);
        }
        let chain = [unregister_entry(5, id, 500).with(LINK), signal(7, bell, 4)];
        assert_eq!(ring.run(&realm, &chain), []);
        assert!(!knows(&realm, user, id));
        end(&realm, ring);
        if let Some(why) = why {
            let done = settle(&realm, ring);
            let ended: Vec<_> = done.iter().filter(|done| done.0 != 6).collect();
            assert_eq!(ended, [&(5, Err(why)), &(7, Err(Error::Cancelled))]);
        }
        assert_eq!(user.run(&realm, &[cancel(6, 2)]).len(), 2);
        assert!(knows(&realm, user, id), "it is as it was");
        if why.is_some() {
            assert_eq!(bits(&realm, bell), Ok(1));
            let busy = user.run(&realm, &[unregister_entry(5, id, 0)]);
            assert_eq!(busy, [(5, Err(Error::Busy))]);
            assert_eq!(ring.run(&realm, &[cancel(6, 2)]).len(), 2);
        }
        assert_eq!(
            user.run(&realm, &[unregister_entry(5, id, FOREVER)]),
            [(5, Ok(0))]
        );
        realm.finish();
    }
}

#[test]
fn what_can_not_wait_for_want_of_quota_leaves_the_handle_as_it_was() {
    let realm = Realm::with_quotas(&[abi::Resources {
        frames: 1 << 30,
        tables: 1 << 30,
        bytes: 1 << 30,
    }]);
    let mut ring = Submissions::new(&realm, 0, 64, 64);
    let bell = notification(&realm, 0);
    let id = register(&realm, bell).unwrap();
    assert_eq!(ring.run(&realm, &[wait_by(id, FOREVER)]), []);
    let mut chain = vec![unregister_entry(1, id, FOREVER).with(LINK)];
    chain.extend((0..MAX_CHAIN as u64 - 2).map(|_| nop(3).with(LINK)));
    chain.push(nop(4));
    let hog = common::messages::poor(&realm, 0);
    let done = ring.run(&realm, &chain);
    drop(hog);
    assert_eq!(done[0], (1, Err(Error::Quota)));
    let rest = &done[1..];
    assert_eq!(rest.len(), MAX_CHAIN - 1);
    assert!(
        rest.iter()
            .all(|(_, outcome)| *outcome == Err(Error::Cancelled))
    );
    assert!(knows(&realm, &mut ring, id));
    realm.finish();
}

#[test]
fn the_end_of_a_capability_ends_the_wait_for_its_handle_to_be_let_go() {
    let realm = Realm::new(1);
    let mut rings = [(); 2].map(|()| Submissions::new(&realm, 0, 8, 8));
    let bell = notification(&realm, 0);
    for inside in [true, false] {
        let derived = realm.derive(0, bell, Rights::all()).unwrap();
        let id = register(&realm, derived).unwrap();
        let [ring, other] = &mut rings;
        let user = if inside { &mut *ring } else { &mut *other };
        assert_eq!(user.run(&realm, &[wait_by(id, FOREVER)]), []);
        assert_eq!(ring.run(&realm, &[unregister_entry(5, id, FOREVER)]), []);
        realm.revoke(0, bell).unwrap();
        let mut done = settle(&realm, ring);
        if !inside {
            assert_eq!(done, [(5, Err(Error::Revoked))]);
            done = settle(&realm, other);
        }
        assert_eq!(done[0], (2, Err(Error::Revoked)));
        let next = register(&realm, bell).unwrap();
        assert_eq!(next, id.next().unwrap());
        assert_eq!(unregister(&realm, next, 0), Ok(()));
    }
    realm.finish();
}

#[test]
fn a_ring_that_comes_while_a_handle_retires_knows_it_when_that_is_given_up() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let bell = notification(&realm, 0);
    let id = register(&realm, bell).unwrap();
    let entries = [wait_by(id, FOREVER), unregister_entry(5, id, FOREVER)];
    assert_eq!(ring.run(&realm, &entries), []);
    let mut later = Submissions::new(&realm, 0, 8, 8);
    assert!(!knows(&realm, &mut later, id));
    assert_eq!(ring.run(&realm, &[cancel(6, 5)]).len(), 2);
    assert!(knows(&realm, &mut later, id));
    realm.finish();
}

/// As many chains as are given, each of which cancels the first entry of the next if it goes on; and one entry that
/// makes all of them go on at once.
fn chains_that_cancel_one_another(count: u64) {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 1024, 1024);
    let bell = notification(&realm, 0);
    let ids: Vec<_> = (0..count)
        .map(|_| register(&realm, bell).unwrap())
        .collect();
    let waits: Vec<_> = ids.iter().map(|id| wait_by(*id, FOREVER)).collect();
    assert_eq!(ring.run(&realm, &waits), []);
    let chains: Vec<_> = (1000..)
        .zip(&ids)
        .flat_map(|(number, id)| {
            let unregister = unregister_entry(number, *id, FOREVER).with(LINK);
            [unregister, cancel(5000 + number, number + 1)]
        })
        .collect();
    assert_eq!(ring.run(&realm, &chains), []);
    // What has let its handle go by now can't be cancelled any more.
    let done = ring.run(&realm, &[cancel(3, 2), cancel(4, 1000)]);
    assert_eq!(done.len() as u64, count + 2);
    assert_eq!(
        done[done.len() - 2..],
        [(3, Ok(count)), (4, Err(Error::NotFound))]
    );
    let wanted = (1000..1000 + count).map(|number| (number, Ok(0)));
    let cancels = (6000..6000 + count).map(|number| (number, Err(Error::NotFound)));
    assert_eq!(
        settle(&realm, &mut ring),
        wanted.chain(cancels).collect::<Vec<_>>()
    );
    realm.finish();
}

#[test]
fn no_chain_runs_within_an_entry_that_cancels_its_beginning() {
    chains_that_cancel_one_another(3);
    // With one in another, they would need more.
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let thread = small.spawn(|| chains_that_cancel_one_another(256));
    thread.unwrap().join().unwrap();
}
