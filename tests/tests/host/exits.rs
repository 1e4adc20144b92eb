//! How a domain ends: what it held is returned, and what was on its way finds its place (I11).

use crate::common;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::ring::Geometry;
use abi::{Error, Handle, MapFlags, Mode, RegionFlags, Rights, Token};

const ALL: Rights = Rights::all();

#[test]
fn a_receiver_that_exits_leaves_the_sender_what_it_did_not_accept() {
    let realm = Realm::new(2);
    let (moved, shared) = (realm.region(0, 1), realm.region(0, 1));
    realm.grant(0, moved, 1, Mode::Move, READ).unwrap();
    realm.grant(0, shared, 1, Mode::Share, READ).unwrap();
    realm.exit(1);
    assert_eq!(realm.look_up(0, moved), Ok(Rights::REGION));
    realm.map(0, moved, WRITE);
    let domain = &realm.domains[0];
    let info = realm.ipc.capability_info(domain, shared).unwrap();
    assert_eq!(info.descendants, 0);
    for mode in [Mode::Move, Mode::Share] {
        let late = realm.grant(0, shared, 1, mode, READ);
        assert_eq!(late, Err(Error::PeerClosed));
    }
    assert_eq!(realm.look_up(0, shared), Ok(Rights::REGION));
    realm.finish();
}

#[test]
fn a_receiver_that_exits_during_the_move_leaves_it_with_the_sender() {
    let realm = Realm::new(3);
    let (mine, _) = realm.region_cached_on_two();
    let (ipc, receiver) = (Arc::downgrade(&realm.ipc), realm.domains[1].clone());
    let once = AtomicU32::new(0);
    realm.machine().set_while_waiting(move |_| {
        if once.fetch_add(1, Ordering::Relaxed) == 0 {
            fake::on_cpu(1, || ipc.upgrade().unwrap().clear_domain(&receiver));
        }
    });
    let granted = realm.grant(0, mine, 1, Mode::Move, ALL);
    realm.machine().clear_hooks();
    assert_eq!(granted, Err(Error::PeerClosed));
    assert_eq!(realm.look_up(0, mine), Ok(Rights::REGION));
    let va = realm.map(0, mine, WRITE);
    assert_eq!(realm.load(0, 0, va), Ok(5));
    realm.finish();
}

#[test]
fn a_token_outlives_its_sender() {
    for mode in [Mode::Move, Mode::Share] {
        let realm = Realm::new(2);
        let mine = realm.region(0, 1);
        let va = realm.map(0, mine, WRITE);
        realm.store(0, 0, va, 8).unwrap();
        let token = realm.grant(0, mine, 1, mode, ALL).unwrap();
        realm.exit(0);
        let theirs = realm.accept(1, token, 0).unwrap();
        let va = realm.map(1, theirs, WRITE);
        assert_eq!(realm.load(1, 1, va), Ok(8));
        realm.finish();
    }
}

/// A way in which what an ended process had granted ceases to be charged above it.
type WayOut = (&'static str, fn(&Realm, &Granted));

/// Domain 1 had granted to domain 2, until a time, and has ended.
struct Granted {
    token: Token,
    /// What domain 0 has of what was granted, if it is shared.
    above: Option<Handle>,
}

const UNTIL: u64 = 1_000;

const WAYS_OUT: &[WayOut] = &[
    ("its addressee accepts", |realm, granted| {
        let theirs = realm.accept(2, granted.token, 1).unwrap();
        realm.drop_handle(2, theirs).unwrap();
    }),
    ("its addressee ends", |realm, _| realm.exit(2)),
    ("its time is over", |realm, _| realm.wait_until(UNTIL)),
    ("it is revoked from above", |realm, granted| {
        realm.revoke(0, granted.above.unwrap()).unwrap();
    }),
];

#[test]
fn what_an_ended_process_had_granted_is_charged_above_it_until_it_is_taken_late_or_revoked() {
    for (way, out) in WAYS_OUT {
        for mode in [Mode::Move, Mode::Share] {
            let is_above = *way == "it is revoked from above";
            if is_above && mode == Mode::Move {
                // Nobody is above the first capability, with which memory moves.
                continue;
            }
            let realm = Realm::new(4);
            // What is charged for a domain that has ended as long as it is known.
            realm.exit(3);
            let alone = realm.used(3);
            let above = is_above.then(|| realm.region(0, 1));
            let mine = match above {
                Some(above) => realm.give(0, above, 1, Mode::Share),
                None => realm.region(1, 1),
            };
            let token = realm.grant_until(1, mine, 2, mode, ALL, UNTIL).unwrap();
            realm.exit(1);
            assert_ne!(realm.used(1), alone, "{way}, {mode:?}");
            // Nobody else can take it back.
            for other in [0, 2] {
                assert_eq!(realm.cancel(other, token), Err(Error::NotFound));
            }
            out(&realm, &Granted { token, above });
            assert_eq!(realm.used(1), alone, "{way}, {mode:?}");
            assert!(realm.accept(2, token, 1).is_err(), "{way}, {mode:?}");
            realm.finish();
        }
    }
}

#[test]
fn what_neither_side_lives_to_have_is_returned() {
    for mode in [Mode::Move, Mode::Share] {
        let realm = Realm::new(2);
        let mine = realm.region(0, 1);
        realm.grant(0, mine, 1, mode, ALL).unwrap();
        realm.exit(0);
        realm.exit(1);
        assert_eq!(realm.ipc.object_count(), 0);
        realm.finish();
    }
}

#[test]
fn an_exit_returns_all_that_a_domain_held() {
    let realm = Realm::new(3);
    let kept = realm.region(1, 2);
    let region = realm.region_of(1, kept);
    let before = realm.counts();
    for turn in 0..3 {
        let domain = realm
            .ipc
            .create_domain(realm.ipc.memory().account(), common::BASE)
            .unwrap();
        let ipc = &realm.ipc;
        let flags = RegionFlags::empty();
        let create = |pages: u64| ipc.create_region(&domain, pages * 4096, flags, None);
        let mapped = create(3).unwrap();
        let map = |h| ipc.map(&domain, h, 0, 0, 0, WRITE, MapFlags::empty());
        let va = map(mapped).unwrap();
        fake::enter(realm.memory(), 3, Some(domain.space()));
        fake::on_cpu(3, || {
            fake::store(realm.memory(), domain.space(), va, turn).unwrap();
        });
        ipc.drop_capability(&domain, mapped).unwrap();
        let shared = create(2).unwrap();
        ipc.derive(&domain, shared, READ).unwrap();
        ipc.create_ring(&domain, Geometry::slot(64, 8)).unwrap();
        fake::enter(realm.memory(), 3, None);
        ipc.clear_domain(&domain);
        realm.memory().destroy_space(domain.space());
        let weak = Arc::downgrade(&domain);
        drop(domain);
        assert!(weak.upgrade().is_none(), "the domain is still referred to");
        assert_eq!(realm.counts(), before);
    }
    realm.audit(&[region]);
    realm.finish();
}

/// Each thread is the CPU and the program of one domain. They share, move, use and take away at the
/// same time, and end while others still offer them something.
#[test]
fn nothing_is_lost_when_domains_hand_over_revoke_and_end_at_the_same_time() {
    const DOMAINS: usize = 4;
    for seed in 0..4 {
        let realm = Realm::new(DOMAINS);
        let offers: Vec<Mutex<Vec<(usize, Token)>>> =
            (0..DOMAINS).map(|_| Mutex::default()).collect();
        let barrier = Barrier::new(DOMAINS);
        std::thread::scope(|scope| {
            for me in 0..DOMAINS {
                let (realm, offers, barrier) = (&realm, &offers, &barrier);
                let work = move || {
                    let mut random = fastrand::Rng::with_seed(seed * 100 + me as u64);
                    let mut held = Vec::new();
                    barrier.wait();
                    for turn in 0..150 {
                        let handle = realm.region(me, 2);
                        let va = realm.map(me, handle, WRITE);
                        realm.store(me, me, va, turn).unwrap();
                        held.push(handle);
                        let handle = held[random.usize(..held.len())];
                        let to = random.usize(..DOMAINS);
                        let mode = if random.bool() {
                            Mode::Move
                        } else {
                            Mode::Share
                        };
                        if let Ok(token) = realm.grant(me, handle, to, mode, ALL) {
                            offers[to].lock().unwrap().push((me, token));
                        }
                        let offered = offers[me].lock().unwrap().pop();
                        if let Some((from, token)) = offered
                            && let Ok(handle) = realm.accept(me, token, from)
                        {
                            // It may be revoked before, between and after.
                            if let Ok(va) = realm.try_map(me, handle, WRITE) {
                                let _ = realm.store(me, me, va, turn);
                                let _ = realm.load(me, me, va);
                            }
                            held.push(handle);
                        }
                        let handle = held[random.usize(..held.len())];
                        let _ = match random.u8(..4) {
                            0 => realm.revoke(me, handle).map(drop),
                            1 => realm.drop_handle(me, handle),
                            2 => realm.ipc.destroy_region(&realm.domains[me], handle),
                            _ => realm.derive(me, handle, READ).map(drop),
                        };
                    }
                    if me % 2 == 0 {
                        realm.exit(me);
                    }
                };
                scope.spawn(move || fake::on_cpu(me, work));
            }
        });
        realm.finish();
    }
}
