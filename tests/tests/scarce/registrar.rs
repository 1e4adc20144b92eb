//! Registered handles: every ring knows one or none, and numbers are never valid twice.

use crate::common;
use crate::heap;
use std::collections::BTreeMap;

use crate::common::ports::notification;
use crate::common::realm::Realm;
use crate::common::registered::{
    bits, by, knows, register, register_entry, unregister, unregister_entry,
};
use crate::common::submissions::Submissions;
use abi::limits::{MAX_REGISTERED, MAX_SUBMISSION_RINGS};
use abi::submission::{Registered, SubmissionArgs};
use abi::{Error, Handle, cost};
use proptest::prelude::*;

#[test]
fn every_ring_of_a_process_knows_a_handle_those_to_come_included() {
    let realm = Realm::new(2);
    let mut rings = vec![
        Submissions::new(&realm, 0, 4, 4),
        Submissions::new(&realm, 0, 4, 4),
    ];
    let bell = notification(&realm, 0);
    let id = register(&realm, bell).unwrap();
    rings.push(Submissions::new(&realm, 0, 4, 4));
    for ring in &mut rings {
        assert_eq!(ring.run(&realm, &[by(id, 3)]), [(1, Ok(0))]);
        assert_eq!(bits(&realm, bell), Ok(3));
    }
    // Another process has a registrar of its own.
    let mut foreign = Submissions::new(&realm, 1, 4, 4);
    assert!(!knows(&realm, &mut foreign, id));
    assert_eq!(unregister(&realm, id, 0), Ok(()));
    for ring in &mut rings {
        assert!(!knows(&realm, ring, id));
    }
    realm.finish();
}

#[test]
fn a_number_that_was_let_go_is_never_its_successor() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let (first, second) = (notification(&realm, 0), notification(&realm, 0));
    let stale = register(&realm, first).unwrap();
    unregister(&realm, stale, 0).unwrap();
    let id = register(&realm, second).unwrap();
    assert_eq!(id.slot(), stale.slot());
    assert_ne!(id, stale);
    assert_eq!(unregister(&realm, stale, 0), Err(Error::NotFound));
    assert!(!knows(&realm, &mut ring, stale));
    assert!(knows(&realm, &mut ring, id));
    for number in [
        Registered::new(5, 1),
        Registered::new(0, 1),
        Registered::new(u16::MAX, 9),
    ] {
        assert!(number == stale || !knows(&realm, &mut ring, number));
        assert_eq!(unregister(&realm, number, 0), Err(Error::NotFound));
    }
    realm.finish();
}

#[test]
fn a_slot_whose_generations_are_used_up_is_not_used_again() {
    let realm = Realm::new(1);
    let bell = notification(&realm, 0);
    let mut last = Registered::new(0, 1);
    for generation in 1..=u16::MAX {
        last = register(&realm, bell).unwrap();
        assert_eq!((last.slot(), last.generation()), (0, generation));
        unregister(&realm, last, 0).unwrap();
    }
    assert_eq!(register(&realm, bell).unwrap().slot(), 1);
    assert_eq!(unregister(&realm, last, 0), Err(Error::NotFound));
    realm.finish();
}

#[test]
fn reserved_slots_are_taken_only_by_who_asks_for_one() {
    let realm = Realm::new(1);
    let domain = &realm.domains[0];
    for (count, reserved) in [(0, 0), (4, 5), (1 << 17, 0), (u64::MAX, 1)] {
        let set = realm.ipc.set_slots(domain, count, reserved);
        assert_eq!(set, Err(Error::Invalid), "{count}, {reserved}");
    }
    realm.ipc.set_slots(domain, 4, 2).unwrap();
    assert_eq!(realm.ipc.set_slots(domain, 4, 2), Err(Error::Exists));
    let bell = notification(&realm, 0);
    let slot = |wanted| {
        let id = realm.ipc.register(domain, bell, wanted);
        id.map(Registered::slot)
    };
    assert_eq!((slot(None), slot(None)), (Ok(2), Ok(3)));
    assert_eq!(slot(None), Err(Error::Limit));
    assert_eq!((slot(Some(1)), slot(Some(0))), (Ok(1), Ok(0)));
    assert_eq!(slot(Some(0)), Err(Error::Exists));
    for far in [2, 4, 1 << 16, u64::MAX - 1] {
        assert_eq!(slot(Some(far)), Err(Error::Range));
    }
    unregister(&realm, Registered::new(1, 1), 0).unwrap();
    assert_eq!(slot(None), Err(Error::Limit));
    assert_eq!(slot(Some(1)), Ok(1));
    realm.finish();
}

#[test]
fn a_region_more_than_there_are_slots_is_refused() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let region = realm.region(0, 1);
    let bell = notification(&realm, 0);
    for slot in 0..MAX_REGISTERED - 1 {
        assert_eq!(usize::from(register(&realm, region).unwrap().slot()), slot);
    }
    let last = register(&realm, bell).unwrap();
    assert_eq!(register(&realm, region), Err(Error::Limit));
    assert!(knows(&realm, &mut ring, last));
    let later = Submissions::new(&realm, 0, 4, 4);
    let mut rings = [ring, later];
    assert!(rings.iter_mut().all(|ring| knows(&realm, ring, last)));
    // All of them end with the capability.
    realm.drop_handle(0, region).unwrap();
    assert!(register(&realm, bell).is_ok());
    assert!(knows(&realm, &mut rings[0], last));
    realm.finish();
}

#[test]
fn there_are_so_many_rings_and_no_more() {
    let realm = Realm::new(1);
    let args = SubmissionArgs::new(1, 1);
    let make = || realm.ipc.create_submission_ring(&realm.domains[0], &args);
    let rings: Vec<_> = (0..MAX_SUBMISSION_RINGS).map(|_| make().unwrap()).collect();
    let before = realm.counts();
    assert_eq!(make(), Err(Error::Limit));
    assert_eq!(realm.counts(), before);
    realm.drop_handle(0, rings[3]).unwrap();
    assert!(make().is_ok());
    realm.finish();
}

/// After a ring has refused for want of quota, no ring knows the handle, and the slot is as good as before.
#[test]
fn when_one_ring_refuses_no_ring_knows_a_handle() {
    let realm = Realm::with_quotas(&[abi::Resources {
        frames: 1 << 30,
        tables: 1 << 30,
        bytes: 1 << 30,
    }]);
    let mut rings: Vec<_> = (0..4).map(|_| Submissions::new(&realm, 0, 4, 4)).collect();
    let bell = notification(&realm, 0);
    for block in 0..3 {
        let first = 64 * block;
        for slot in first..first + 64 {
            // The first one of a block makes the registrar and every ring grow.
            if slot == first {
                for enough in 0..rings.len() as u64 {
                    let before = realm.counts();
                    let mut hog = common::messages::poor(&realm, 0);
                    let more = cost::REGISTRAR + enough * cost::REGISTERED;
                    hog.release(abi::Resources::bytes(more));
                    assert_eq!(register(&realm, bell), Err(Error::Quota), "{enough}");
                    drop(hog);
                    assert_eq!(realm.counts(), before);
                    let id = Registered::new(slot as u16, 1);
                    assert!(rings.iter_mut().all(|ring| !knows(&realm, ring, id)));
                }
            }
            let id = register(&realm, bell).expect("nothing is left of those that failed");
            assert_eq!(id, Registered::new(slot as u16, 1));
        }
    }
    realm.finish();
}

/// The same of slots that a process chooses, for which every ring takes one block, however far they are: of quota, and of
/// memory.
#[test]
fn when_one_ring_refuses_a_reserved_slot_nothing_is_left_of_it_in_the_others() {
    let roomy = abi::Resources {
        frames: 1 << 30,
        tables: 1 << 30,
        bytes: 1 << 30,
    };
    let realm = Realm::with_quotas(&[roomy]);
    let domain = &realm.domains[0];
    let mut rings: Vec<_> = (0..8).map(|_| Submissions::new(&realm, 0, 4, 4)).collect();
    let bell = notification(&realm, 0);
    let most = MAX_REGISTERED as u64;
    realm.ipc.set_slots(domain, most, most).unwrap();
    for slot in [most - 1, 0, 70, 40_000, most - 2] {
        let id = Registered::new(slot as u16, 1);
        let register = || realm.ipc.register(domain, bell, Some(slot));
        let shares_block = slot == most - 2;
        for enough in (0..rings.len() as u64).filter(|_| !shares_block) {
            let before = realm.counts();
            let mut hog = common::messages::poor(&realm, 0);
            hog.release(abi::Resources::bytes(enough * cost::REGISTERED));
            assert_eq!(register(), Err(Error::Quota), "{enough}");
            drop(hog);
            assert_eq!(realm.counts(), before);
            assert!(rings.iter_mut().all(|ring| !knows(&realm, ring, id)));
        }
        for turn in 0.. {
            let before = realm.counts();
            let (made, failed) = failing(Some(turn), register);
            let Err(error) = made else {
                assert!(!failed && (turn > 0 || shares_block));
                assert_eq!(made, Ok(id));
                break;
            };
            assert_eq!((error, failed), (Error::NoMemory, true));
            assert_eq!(realm.counts(), before);
        }
        assert!(rings.iter_mut().all(|ring| knows(&realm, ring, id)));
    }
    realm.finish();
}

/// From where it does that.
#[derive(Clone, Copy, Debug)]
enum From {
    Call,
    Entry,
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![Just(From::Call), Just(From::Entry)]
}

/// Slots that are taken only by who asks for one: some blocks of them.
const RESERVED: u64 = 3 * 64;

/// What a process does with its registrar.
#[derive(Clone, Debug)]
enum Act {
    Register {
        handle: usize,
        /// A reserved one, or any other.
        slot: Option<u64>,
        fails_after: Option<u64>,
        from: From,
    },
    Unregister {
        which: usize,
        from: From,
    },
    Drop {
        handle: usize,
    },
    NewRing {
        fails_after: Option<u64>,
    },
    EndRing {
        which: usize,
    },
    Stale {
        which: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let fails = || prop::option::weighted(0.5, 0u64..6);
    let slot = prop::option::weighted(0.4, (0..RESERVED).prop_map(|slot| slot / 8 * 8));
    prop_oneof![
        8 => (0..4usize, slot, fails(), from()).prop_map(|(handle, slot, fails_after, from)| {
            Act::Register { handle, slot, fails_after, from }
        }),
        3 => (any::<usize>(), from()).prop_map(|(which, from)| Act::Unregister { which, from }),
        1 => (0..4usize).prop_map(|handle| Act::Drop { handle }),
        1 => fails().prop_map(|fails_after| Act::NewRing { fails_after }),
        1 => any::<usize>().prop_map(|which| Act::EndRing { which }),
        2 => any::<usize>().prop_map(|which| Act::Stale { which }),
    ]
}

/// Calls with failures among what may fail; whether one did.
fn failing<T>(fails_after: Option<u64>, call: impl FnOnce() -> T) -> (T, bool) {
    let Some(calls) = fails_after else {
        return (call(), false);
    };
    heap::fail_after(calls);
    let done = call();
    (done, heap::stop_failing())
}

/// Registers by an entry, of which nothing fails but what it asks for.
fn register_inside(
    realm: &Realm,
    ring: &mut Submissions,
    handle: Handle,
    slot: Option<u64>,
    fails_after: Option<u64>,
) -> (Result<Registered, Error>, bool) {
    ring.push(realm, register_entry(1, handle, slot.unwrap_or(u64::MAX)));
    let (entered, failed) = failing(fails_after, || ring.enter(realm, 1, 0, 0));
    assert_eq!(entered, Ok(1));
    let [(1, outcome)] = ring.reap(realm)[..] else {
        panic!("one completion");
    };
    let id = outcome.map(|id| Registered::from_bits(id).expect("a number"));
    (id, failed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against a map from numbers to handles, with rings that come, go and refuse: every ring knows what is
    /// in the map, and nothing else, at every moment; who is refused is charged nothing.
    #[test]
    fn every_ring_knows_what_is_registered_and_nothing_else(
        filled in 58..66usize,
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let realm = Realm::new(1);
        realm.ipc.set_slots(&realm.domains[0], MAX_REGISTERED as u64, RESERVED).unwrap();
        let mut rings = vec![Submissions::new(&realm, 0, 4, 4), Submissions::new(&realm, 0, 4, 4)];
        let mut bells: Vec<_> = (0..4).map(|_| notification(&realm, 0)).collect();
        let mut live = BTreeMap::new();
        let mut stale = Vec::new();
        // Near the end of a block, so that every ring has to grow soon.
        for _ in 0..filled {
            live.insert(register(&realm, bells[0]).unwrap().bits(), 0);
        }
        for act in acts {
            match act {
                Act::Register { handle, slot, fails_after, from } => {
                    let bell = bells[handle];
                    let before = realm.counts();
                    let (id, failed) = match from {
                        From::Call => failing(fails_after, || {
                            realm.ipc.register(&realm.domains[0], bell, slot)
                        }),
                        From::Entry => {
                            register_inside(&realm, &mut rings[0], bell, slot, fails_after)
                        }
                    };
                    let is_taken = |slot| {
                        let numbers = live.keys().filter_map(|id| Registered::from_bits(*id));
                        numbers.map(Registered::slot).any(|taken| u64::from(taken) == slot)
                    };
                    match id {
                        Ok(id) => {
                            prop_assert!(!failed);
                            prop_assert!(!stale.contains(&id.bits()), "{id:?} was valid before");
                            prop_assert_eq!(live.insert(id.bits(), handle), None);
                        }
                        Err(error) => {
                            let exists = !failed && slot.is_some_and(is_taken);
                            let why = if exists { Error::Exists } else { Error::NoMemory };
                            prop_assert!(failed || exists);
                            prop_assert_eq!(error, why);
                            prop_assert_eq!(realm.counts(), before);
                        }
                    }
                }
                Act::Unregister { which, from } if !live.is_empty() => {
                    let id = *live.keys().nth(which % live.len()).unwrap();
                    let number = Registered::from_bits(id).unwrap();
                    match from {
                        From::Call => prop_assert_eq!(unregister(&realm, number, 0), Ok(())),
                        From::Entry => {
                            let done = rings[0].run(&realm, &[unregister_entry(1, number, 0)]);
                            prop_assert_eq!(done, [(1, Ok(0))]);
                        }
                    }
                    live.remove(&id);
                    stale.push(id);
                }
                Act::Drop { handle } => {
                    realm.drop_handle(0, bells[handle]).unwrap();
                    bells[handle] = notification(&realm, 0);
                    stale.extend(live.iter().filter(|(_, of)| **of == handle).map(|(id, _)| *id));
                    live.retain(|_, of| *of != handle);
                }
                Act::NewRing { fails_after } => {
                    let args = SubmissionArgs::new(4, 4);
                    let (made, failed) = failing(fails_after, || {
                        realm.ipc.create_submission_ring(&realm.domains[0], &args)
                    });
                    prop_assert_eq!(made.is_err(), failed);
                    if let Ok(handle) = made {
                        realm.drop_handle(0, handle).unwrap();
                        rings.push(Submissions::new(&realm, 0, 4, 4));
                    }
                }
                Act::EndRing { which } if rings.len() > 1 => {
                    let ring = rings.swap_remove(which % rings.len());
                    realm.drop_handle(0, ring.handle).unwrap();
                }
                Act::Stale { which } if !stale.is_empty() => {
                    let number = Registered::from_bits(stale[which % stale.len()]).unwrap();
                    prop_assert_eq!(unregister(&realm, number, 0), Err(Error::NotFound));
                }
                _ => {}
            }
            for ring in &mut rings {
                for id in live.keys().rev().take(6) {
                    prop_assert!(knows(&realm, ring, Registered::from_bits(*id).unwrap()));
                }
                for id in stale.iter().rev().take(3) {
                    prop_assert!(!knows(&realm, ring, Registered::from_bits(*id).unwrap()));
                }
            }
        }
        realm.finish();
    }
}
