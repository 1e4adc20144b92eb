//! Revoke: everything below a capability is gone when it returns, whatever else goes on (I5).

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::{Error, GrantFlags, Handle, Mode, Rights, RingGeometry, SnapshotFlags};
use fake::Config;

const ALL: Rights = Rights::all();

#[test]
fn revoke_takes_the_capability_itself_if_asked_to() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let middle = realm.derive(0, region, ALL).unwrap();
    let below = realm.give(0, middle, 1, Mode::Share);
    let mapped = realm.map(1, below, WRITE);
    realm.store(1, 1, mapped, 1).unwrap();
    assert_eq!(realm.revoke_itself(0, middle), Ok(2));
    assert_eq!(realm.look_up(0, middle), Err(Error::Revoked));
    assert_eq!(realm.look_up(1, below), Err(Error::Revoked));
    assert!(!realm.reaches(1, mapped));
    assert!(realm.look_up(0, region).is_ok());
    assert_eq!(realm.info(0, region).descendants, 0);
    // With the first one, the object is gone.
    let objects = realm.ipc.object_count();
    assert_eq!(realm.revoke_itself(0, region), Ok(1));
    assert_eq!(realm.ipc.object_count(), objects - 1);
    assert_eq!(realm.look_up(0, region), Err(Error::Revoked));
    realm.drop_handle(0, region).unwrap();
    realm.finish();
}

#[test]
fn a_region_is_taken_from_a_hundred_holders_and_reused_at_once() {
    let realm = Realm::of(
        101,
        Config {
            frames: 4096,
            ..Config::default()
        },
    );
    let region = realm.region(0, 2);
    let mine = realm.map(0, region, WRITE);
    let holders: Vec<(Handle, u64)> = (1..101)
        .map(|holder| {
            let theirs = realm.give(0, region, holder, Mode::Share);
            (theirs, realm.map(holder, theirs, WRITE))
        })
        .collect();
    // Those that have a CPU have the page in its TLB.
    for cpu in 1..realm.machine().config().cpus {
        realm
            .store(cpu, cpu, holders[cpu - 1].1, cpu as u64)
            .unwrap();
    }
    assert_eq!(realm.revoke(0, region), Ok(100));
    realm.store(0, 0, mine, 77).unwrap();
    for (index, (theirs, mapped)) in holders.iter().enumerate() {
        let holder = index + 1;
        assert_eq!(realm.look_up(holder, *theirs), Err(Error::Revoked));
        if holder < realm.machine().config().cpus {
            assert!(!realm.reaches(holder, *mapped), "holder {holder}");
            assert!(realm.load(holder, holder, *mapped).is_err());
        }
    }
    let again = realm.give(0, region, 1, Mode::Share);
    assert_eq!(realm.load(1, 1, realm.map(1, again, READ)), Ok(77));
    realm.finish();
}

#[test]
fn every_mapping_and_every_level_is_gone() {
    let realm = Realm::new(3);
    let region = realm.region(0, 1);
    let mut chain = vec![region];
    for _ in 0..5 {
        chain.push(realm.derive(0, *chain.last().unwrap(), ALL).unwrap());
    }
    let theirs = realm.give(0, chain[5], 1, Mode::Share);
    let further = realm.give(1, theirs, 2, Mode::Share);
    let mapped: Vec<u64> = (0..3).map(|_| realm.map(2, further, WRITE)).collect();
    for va in &mapped {
        realm.store(2, 2, *va, 1).unwrap();
    }
    assert_eq!(realm.revoke(0, chain[1]), Ok(6));
    for handle in &chain[2..] {
        assert_eq!(realm.look_up(0, *handle), Err(Error::Revoked));
    }
    assert_eq!(realm.look_up(1, theirs), Err(Error::Revoked));
    assert_eq!(realm.look_up(2, further), Err(Error::Revoked));
    for va in &mapped {
        assert!(!realm.reaches(2, *va));
        assert_eq!(realm.unmap(2, *va).err(), None);
    }
    realm.finish();
}

#[test]
fn a_revoke_is_one_round_for_all_its_spaces_and_mappings() {
    const EACH: usize = 3;
    let realm = Realm::new(3);
    let region = realm.region(0, 1);
    let holders = [
        realm.derive(0, region, ALL).unwrap(),
        realm.give(0, region, 1, Mode::Share),
        realm.give(0, region, 2, Mode::Share),
    ];
    let mut mapped = holders.map(|_| [0; EACH]);
    for (holder, places) in mapped.iter_mut().enumerate() {
        for va in places {
            *va = realm.map(holder, holders[holder], WRITE);
            realm.store(holder, holder, *va, 1).unwrap();
        }
    }
    let rounds = realm.memory().shootdowns();
    let kicks = [0, 1, 2, 3].map(|cpu| realm.machine().kicks(cpu));
    assert_eq!(realm.revoke(0, region), Ok(3));
    assert_eq!(realm.memory().shootdowns(), rounds + 1);
    let now = [0, 1, 2, 3].map(|cpu| realm.machine().kicks(cpu));
    assert_eq!([0, 1, 2, 3].map(|cpu| now[cpu] - kicks[cpu]), [0, 1, 1, 0]);
    for (holder, places) in mapped.iter().enumerate() {
        assert!(places.iter().all(|va| !realm.reaches(holder, *va)));
    }
    realm.finish();
}

#[test]
fn tokens_of_what_was_revoked_are_not_found_and_count_no_more() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let middle = realm.derive(0, region, ALL).unwrap();
    let tokens: Vec<_> = (0..5)
        .map(|_| realm.grant(0, middle, 1, Mode::Share, ALL).unwrap())
        .collect();
    let pending = realm.used(0);
    assert_eq!(realm.revoke(0, middle), Ok(5));
    let returned = pending.bytes - realm.used(0).bytes;
    assert_eq!(returned, 5 * abi::cost::CAPABILITY);
    for token in tokens {
        assert_eq!(realm.cancel(0, token), Err(Error::NotFound));
        assert_eq!(realm.accept(1, token, 0), Err(Error::NotFound));
    }
    realm.finish();
}

#[test]
fn a_second_revoke_does_not_return_before_the_first_has_taken_away() {
    let realm = Arc::new(Realm::new(2));
    let region = realm.region(0, 1);
    let middle = realm.derive(0, region, ALL).unwrap();
    let theirs = realm.give(0, middle, 1, Mode::Share);
    let mapped = realm.map(1, theirs, WRITE);
    realm.store(1, 1, mapped, 1).unwrap();
    let (tell, told) = mpsc::channel();
    let second: Arc<Mutex<Option<thread::JoinHandle<()>>>> = Arc::default();
    {
        let (second, weak) = (second.clone(), Arc::downgrade(&realm));
        // The first has marked all, and CPU 1 has not acknowledged.
        realm.machine().set_while_waiting(move |_| {
            let mut second = second.lock().unwrap();
            let Some(realm) = weak.upgrade().filter(|_| second.is_none()) else {
                return;
            };
            let (tell, (done, finished)) = (tell.clone(), mpsc::channel());
            *second = Some(thread::spawn(move || {
                fake::on_cpu(2, || {
                    // Nothing is left to be killed, but one may still reach it.
                    assert_eq!(realm.revoke(0, middle), Ok(0));
                    tell.send(realm.reaches(1, mapped)).unwrap();
                    let _ = done.send(());
                });
            }));
            // Time enough to come back too early.
            let _ = finished.recv_timeout(Duration::from_millis(300));
        });
    }
    assert_eq!(realm.revoke(0, middle), Ok(1));
    realm.machine().clear_hooks();
    let second = second.lock().unwrap().take().expect("the first waited");
    second.join().unwrap();
    assert_eq!(told.recv(), Ok(false), "the second returned too early");
    let Ok(realm) = Arc::try_unwrap(realm) else {
        panic!("a hook still refers to the realm")
    };
    realm.finish();
}

#[test]
fn the_peer_of_a_revoked_ring_end_is_told_that_it_was_revoked() {
    let realm = Realm::new(2);
    let geometry = RingGeometry::slot(64, 8).decode().unwrap();
    let (producer, consumer) = realm.ipc.create_ring(&realm.domains[0], geometry).unwrap();
    let consumer = realm.give(0, consumer, 1, Mode::Move);
    let header = realm.ipc.map_ring(&realm.domains[1], consumer).unwrap();
    let mine = realm.ipc.map_ring(&realm.domains[0], producer).unwrap();
    assert_eq!(realm.revoke_itself(0, producer), Ok(1));
    assert!(!realm.reaches(0, mine));
    let at = abi::ring::Header::state_offset(abi::ring::End::Producer) as u64;
    let word = realm.load(1, 1, header + (at & !7)).unwrap();
    let state = (word >> (8 * (at & 7))) as u32;
    assert_eq!(state, abi::ring::EndState::Revoked as u32);
    realm.drop_handle(1, consumer).unwrap();
    realm.finish();
}

/// A name, and what a CPU does with a handle while another revokes it.
type Race = (&'static str, fn(&Realm, usize, Handle));

/// What others do to what is being revoked.
const RACES: &[Race] = &[
    ("derive", |realm, by, handle| {
        while let Ok(derived) = realm.derive(by, handle, ALL) {
            let _ = realm.drop_handle(by, derived);
        }
    }),
    ("map", |realm, by, handle| {
        while let Ok(va) = realm.try_map(by, handle, WRITE) {
            let _ = realm.store(by, by, va, 1);
            let _ = realm.unmap(by, va);
        }
    }),
    ("grant", |realm, by, handle| {
        while let Ok(token) = realm.grant(by, handle, 3 - by, Mode::Share, ALL) {
            let _ = realm.accept(3 - by, token, by);
        }
    }),
    ("move", |realm, by, handle| {
        let to_itself = || realm.grant(by, handle, by, Mode::Move, ALL);
        while let Ok(token) = to_itself() {
            if realm.cancel(by, token).is_err() {
                break;
            }
        }
    }),
    ("snapshot", |realm, by, handle| {
        let domain = &realm.domains[by];
        let copy = || {
            realm
                .ipc
                .snapshot_region(domain, handle, 0, 0, SnapshotFlags::empty())
        };
        while let Ok(copy) = copy() {
            let _ = realm.drop_handle(by, copy);
        }
    }),
    ("drop", |realm, by, handle| {
        let _ = realm.drop_handle(by, handle);
    }),
    (
        "reduce",
        |realm, by, handle| {
            while realm.reduce(by, handle, ALL).is_ok() {}
        },
    ),
];

#[test]
fn nothing_below_survives_a_revoke_that_races_with_its_use() {
    for (name, race) in RACES {
        for _ in 0..20 {
            let realm = Realm::new(3);
            let region = realm.region(0, 1);
            let theirs = realm.give(0, region, 1, Mode::Share);
            let second = realm.give(0, region, 2, Mode::Share);
            thread::scope(|scope| {
                for (by, handle) in [(1, theirs), (2, second)] {
                    let realm = &realm;
                    scope.spawn(move || fake::on_cpu(by, || race(realm, by, handle)));
                }
                fake::on_cpu(0, || {
                    thread::yield_now();
                    assert!(realm.revoke(0, region).is_ok(), "{name}");
                    // From here on nothing is there, and nothing comes.
                    assert_eq!(realm.info(0, region).descendants, 0, "{name}");
                    assert_eq!(realm.region_of(0, region).mapping_count(), 0, "{name}");
                });
            });
            assert_eq!(realm.info(0, region).descendants, 0, "{name}");
            assert_eq!(realm.region_of(0, region).mapping_count(), 0, "{name}");
            realm.finish();
        }
    }
}

#[test]
fn a_move_that_revokes_takes_no_ancestor() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let middle = realm.derive(0, region, ALL).unwrap();
    let below = realm.derive(0, middle, ALL).unwrap();
    let via = realm.via[0][1];
    let flags = GrantFlags::REVOKE_OTHERS;
    let moved = |handle| {
        let from = &realm.domains[0];
        let all = Rights::all();
        realm
            .ipc
            .grant(from, handle, via, Mode::Move, all, flags, abi::FOREVER)
    };
    assert_eq!(moved(middle), Err(Error::Shared));
    assert!(realm.look_up(0, region).is_ok() && realm.look_up(0, below).is_ok());
    let token = moved(region).unwrap();
    assert_eq!(realm.look_up(0, middle), Err(Error::Revoked));
    assert_eq!(realm.look_up(0, below), Err(Error::Revoked));
    assert!(realm.accept(1, token, 0).is_ok());
    realm.finish();
}

#[test]
fn a_move_that_would_revoke_its_own_way_is_refused_and_leaves_all_as_it_was() {
    let realm = Realm::new(2);
    let top = realm.via[0][1];
    let below = realm.derive(0, top, Rights::all()).unwrap();
    let moved = |handle, via| {
        let (from, flags) = (&realm.domains[0], GrantFlags::REVOKE_OTHERS);
        let (ipc, all) = (&realm.ipc, Rights::all());
        ipc.grant(from, handle, via, Mode::Move, all, flags, abi::FOREVER)
    };
    assert_eq!(moved(top, below), Err(Error::Invalid));
    assert!(realm.look_up(0, top).is_ok() && realm.look_up(0, below).is_ok());
    // What is above stays.
    let token = moved(below, top).unwrap();
    assert!(realm.look_up(0, top).is_ok());
    realm.cancel(0, token).unwrap();
    realm.finish();
}
