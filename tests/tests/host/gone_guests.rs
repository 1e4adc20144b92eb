//! Guests that are gone, and those whose hub ends as they come: nobody keeps what is not his, or pays for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::hubs::{Guest, Hub};
use crate::common::realm::Realm;
use abi::hub::PeerState;
use abi::{Error, FOREVER, GrantFlags, Handle, HubGuestEnds, Mode, Rights};
use ipc::Platform;

/// What is charged to domain 1 when it has come as far as `life` says and has ended, or given back its handles.
fn charged_after(ends: bool, life: impl Fn(&Realm, &Hub) -> Vec<Handle>) -> abi::Resources {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 2);
    let handles = life(&realm, &hub);
    if ends {
        realm.exit(1);
    } else {
        // Of what was revoked, too.
        handles
            .iter()
            .for_each(|handle| realm.drop_handle(1, *handle).unwrap());
    }
    let used = realm.used(1);
    realm.finish();
    used
}

fn all_of(guest: Guest, ends: HubGuestEnds) -> Vec<Handle> {
    vec![guest.member, ends.producer, ends.consumer, ends.table]
}

#[test]
fn a_guest_that_is_gone_is_charged_with_nothing_before_its_seat_is_recovered() {
    let lives: [fn(&Realm, &Hub) -> Vec<Handle>; 4] = [
        |realm, hub| vec![hub.reserve(realm, 1).unwrap().member],
        |realm, hub| {
            let (guest, ends) = hub.join(realm, 1);
            all_of(guest, ends)
        },
        |realm, hub| {
            let (guest, ends) = hub.join(realm, 1);
            hub.connect(realm, guest.seat).unwrap();
            guest.leave(realm).unwrap();
            all_of(guest, ends)
        },
        |realm, hub| {
            let (guest, ends) = hub.join(realm, 1);
            hub.dismiss(realm, guest.seat).unwrap();
            all_of(guest, ends)
        },
    ];
    for ends in [false, true] {
        let nobody = charged_after(ends, |_, _| Vec::new());
        for (number, life) in lives.iter().enumerate() {
            assert_eq!(charged_after(ends, life), nobody, "life {number}");
        }
    }
}

#[test]
fn a_hub_that_ends_while_a_seat_is_claimed_leaves_its_guest_everything_or_nothing() {
    // At every moment at which its table is all that the guest has locked.
    for moment in 0.. {
        let realm = Arc::new(Realm::new(2));
        let hub = Hub::new(&realm, 1);
        let guest = hub.reserve(&realm, 1).unwrap();
        let before = realm.domains[1].handle_count();
        let inside = realm.clone();
        let end = move || fake::on_cpu(0, || inside.drop_handle(0, hub.handle)).unwrap();
        let beside = Some(mm::lock::Rank::Capabilities);
        let claim = || fake::on_cpu(1, || guest.claim(&realm));
        let (claimed, ended) = fake::at_moment(moment, beside, end, claim);
        match claimed {
            Ok(ends) => {
                for handle in [ends.producer, ends.consumer, ends.table] {
                    assert!(realm.look_up(1, handle).is_ok(), "at moment {moment}");
                }
                for end in [ends.producer, ends.consumer] {
                    realm.ipc.map_ring(&realm.domains[1], end).unwrap();
                }
            }
            Err(error) => {
                let closed = matches!(error, Error::PeerClosed | Error::NotFound);
                assert!(closed, "{error:?} at moment {moment}");
                assert_eq!(realm.domains[1].handle_count(), before);
            }
        }
        Arc::into_inner(realm).unwrap().finish();
        if ended.is_none() {
            assert!(moment > 10);
            return;
        }
    }
}

#[test]
fn what_is_granted_over_a_seat_comes_back_when_it_is_cancelled_or_late() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let (guest, _) = hub.join(&realm, 1);
    let (link, _) = hub.connect(&realm, guest.seat).unwrap();
    for (from, via, to, back) in [(1, guest.member, 0, link), (0, link, 1, guest.member)] {
        let region = realm.region(from, 1);
        let offer = |deadline| {
            let (domain, flags) = (&realm.domains[from], GrantFlags::empty());
            let ipc = &realm.ipc;
            let token = ipc.grant(
                domain,
                region,
                via,
                Mode::Move,
                Rights::all(),
                flags,
                deadline,
            );
            assert_eq!(realm.look_up(from, region), Err(Error::InTransit));
            token.unwrap()
        };
        let is_back = |token| {
            let accepted = realm.ipc.accept(&realm.domains[to], token, back);
            assert_eq!(accepted, Err(Error::NotFound));
            assert!(realm.look_up(from, region).is_ok());
        };
        let token = offer(FOREVER);
        realm.cancel(from, token).unwrap();
        is_back(token);
        let end = realm.machine().now_ns() + 100;
        let token = offer(end);
        realm.wait_until(end);
        is_back(token);
        // And one that is neither is good.
        let token = offer(FOREVER);
        realm.ipc.accept(&realm.domains[to], token, back).unwrap();
    }
    realm.finish();
}

#[test]
fn no_seat_is_empty_before_a_guest_that_is_dismissed_is_out_of_reach() {
    let recovered = Arc::new(AtomicBool::new(false));
    // At every moment at which nothing is locked.
    for moment in 0.. {
        let realm = Arc::new(Realm::new(2));
        let hub = Hub::new(&realm, 1);
        let (guest, ends) = hub.join(&realm, 1);
        hub.connect(&realm, guest.seat).unwrap();
        let guests = &realm.domains[1];
        let view = realm.ipc.map_ring(guests, ends.producer).unwrap();
        realm.store(1, 1, view + 4096, 0).unwrap();
        let came = Arc::new(AtomicBool::new(false));
        let (inside, told, gone) = (realm.clone(), came.clone(), recovered.clone());
        let mut turn = 0;
        let meanwhile = move || {
            if turn == moment {
                told.store(true, Ordering::Relaxed);
                if hub.standing(&inside, 1).0 == PeerState::Goodbye {
                    fake::on_cpu(2, || hub.recover(&inside, guest.seat)).unwrap();
                    assert!(!inside.reaches(1, view), "at moment {moment}");
                    gone.store(true, Ordering::Relaxed);
                }
            }
            turn += 1;
        };
        fake::before_locks(None, meanwhile, || hub.dismiss(&realm, guest.seat)).unwrap();
        assert!(!realm.reaches(1, view), "at moment {moment}");
        Arc::into_inner(realm).unwrap().finish();
        if !came.load(Ordering::Relaxed) {
            assert!(recovered.load(Ordering::Relaxed));
            return;
        }
    }
}
