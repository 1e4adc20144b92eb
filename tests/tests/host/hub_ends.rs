//! Hubs whose guests or host leave, die, hang or are dismissed; and how the host sleeps meanwhile.

use crate::common;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::hubs::{Guest, Hub, accept, geometry, publish, share};
use crate::common::realm::Realm;
use crate::common::waiting::asleep;
use abi::hub::{PeerState, host_beat};
use abi::ring::{End, EndState, Header};
use abi::{Error, Events, FOREVER, Handle, HubGeometry, HubSignal, Mode};

/// A way in which a guest goes.
type Way = (&'static str, fn(&Realm, &Hub, &Guest));

const WAYS: [Way; 5] = [
    ("leaves", |realm, _, guest| guest.leave(realm).unwrap()),
    ("dies", |realm, _, guest| realm.exit(guest.domain)),
    ("drops its membership", |realm, _, guest| {
        realm.drop_handle(guest.domain, guest.member).unwrap();
    }),
    ("is revoked", |realm, _, guest| {
        realm.revoke_itself(guest.domain, guest.member).unwrap();
    }),
    ("is dismissed", |realm, hub, guest| {
        hub.dismiss(realm, guest.seat).unwrap();
    }),
];

#[test]
fn a_guest_that_is_gone_is_told_of_and_what_it_sent_can_be_received() {
    for (how, go) in WAYS {
        let realm = Realm::new(3);
        let hub = Hub::new(&realm, 2);
        let (guest, ends) = hub.join(&realm, 1);
        let (other, _) = hub.join(&realm, 2);
        let (_, rings) = hub.connect(&realm, guest.seat).unwrap();
        let there = publish(&realm, 1, ends.producer, 3);
        let here = realm.ipc.map_ring(&realm.domains[0], rings.consumer);
        assert_eq!(hub.told(&realm), [1, 2], "{how}");
        go(&realm, &hub, &guest);
        assert_eq!(hub.told(&realm), [1], "{how}");
        assert_eq!(hub.standing(&realm, 1), (PeerState::Goodbye, 0), "{how}");
        assert_eq!(hub.standing(&realm, 2), (PeerState::Attached, 0), "{how}");
        assert!(!realm.reaches(1, there), "{how}");
        let tail = realm.load(0, 0, here.unwrap() + 4096);
        assert_eq!(tail, Ok(3), "{how}");
        assert!(guest.signal(&realm, HubSignal::Beat).is_err());
        hub.recover(&realm, guest.seat).unwrap();
        assert_eq!(realm.look_up(0, rings.consumer), Err(Error::Revoked));
        assert_eq!(hub.standing(&realm, 1), (PeerState::Empty, 1), "{how}");
        assert!(other.signal(&realm, HubSignal::Work).is_ok(), "{how}");
        realm.finish();
    }
}

#[test]
fn a_link_that_is_dropped_leaves_the_guest_with_closed_rings_until_it_is_dismissed() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let (guest, ends) = hub.join(&realm, 1);
    let (link, rings) = hub.connect(&realm, guest.seat).unwrap();
    let view = realm.ipc.map_ring(&realm.domains[1], ends.consumer);
    for handle in [link, rings.producer, rings.consumer] {
        realm.drop_handle(0, handle).unwrap();
    }
    assert_eq!(hub.standing(&realm, 1), (PeerState::Attached, 0));
    assert_eq!(host_state(&realm, view.unwrap()), Some(EndState::Closed));
    assert_eq!(hub.connect(&realm, guest.seat).err(), Some(Error::Exists));
    hub.dismiss(&realm, guest.seat).unwrap();
    for handle in [guest.member, ends.producer, ends.consumer] {
        assert_eq!(realm.look_up(1, handle), Err(Error::Revoked));
    }
    hub.recover(&realm, guest.seat).unwrap();
    realm.finish();
}

/// What a guest reads of the state of the host's producing end.
fn host_state(realm: &Realm, view: u64) -> Option<EndState> {
    let at = view + Header::state_offset(End::Producer) as u64;
    EndState::from_raw(realm.load(1, 1, at).unwrap() as u32)
}

#[test]
fn the_goodbye_of_the_host_reaches_every_guest_those_that_sleep_too() {
    let realm = Arc::new(Realm::new(3));
    let hub = Hub::new(&realm, 3);
    let (guest, ends) = hub.join(&realm, 1);
    let (_, second) = hub.join(&realm, 2);
    hub.connect(&realm, guest.seat).unwrap();
    let sleeper = |domain: usize, end: Handle| {
        asleep(&realm, move |realm| {
            let domain = &realm.domains[domain];
            realm.ipc.wait_ring(domain, end, 1, FOREVER)
        })
    };
    let sleepers = [sleeper(1, ends.consumer), sleeper(2, second.consumer)];
    let watcher = asleep(&realm, move |realm| {
        let domain = &realm.domains[1];
        let events = Events::PEER_CLOSED;
        realm.ipc.wait_object(domain, guest.member, events, FOREVER)
    });
    hub.goodbye(&realm);
    let all = || sleepers.iter().all(JoinHandle::is_finished) && watcher.is_finished();
    let soon = Instant::now() + Duration::from_secs(10);
    while !all() {
        assert!(Instant::now() < soon, "a guest sleeps on");
        std::thread::yield_now();
    }
    for sleeper in sleepers {
        assert_eq!(sleeper.join().unwrap(), Ok(()));
    }
    assert_eq!(watcher.join().unwrap(), Ok(Events::PEER_CLOSED));
    let view = realm.ipc.map_ring(&realm.domains[1], ends.consumer);
    assert_eq!(host_state(&realm, view.unwrap()), Some(EndState::Draining));
    assert_eq!(hub.standing(&realm, 1), (PeerState::Attached, 0));
    assert_eq!(hub.word(&realm, 0) as u8, PeerState::Goodbye as u8);
    // Nobody joins any more, who is there leaves, and the host recovers its seat.
    assert_eq!(hub.reserve(&realm, 1).err(), Some(Error::PeerClosed));
    guest.signal(&realm, HubSignal::Beat).unwrap();
    guest.leave(&realm).unwrap();
    hub.recover(&realm, guest.seat).unwrap();
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_seat_that_was_reserved_before_the_goodbye_is_not_claimed_after_it() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let guest = hub.reserve(&realm, 1).unwrap();
    let before = realm.counts();
    hub.goodbye(&realm);
    assert_eq!(guest.claim(&realm), Err(Error::PeerClosed));
    assert_eq!(realm.counts(), before);
    realm.finish();
}

#[test]
fn the_death_of_the_host_reaches_every_guest_and_leaves_nothing_of_it() {
    for drops in [false, true] {
        let realm = Realm::new(2);
        let hub = Hub::new(&realm, 3);
        let (guest, ends) = hub.join(&realm, 1);
        hub.connect(&realm, guest.seat).unwrap();
        let waiting = hub.reserve(&realm, 1).unwrap();
        let view = realm.ipc.map_ring(&realm.domains[1], ends.consumer);
        let table = realm.map(1, ends.table, common::READ);
        match drops {
            true => realm.drop_handle(0, hub.handle).unwrap(),
            false => realm.exit(0),
        }
        let state = host_state(&realm, view.unwrap());
        assert_eq!(state, Some(EndState::Closed));
        // It can still be read what has become of the host.
        assert_eq!(
            realm.load(1, 1, table).unwrap() as u8,
            PeerState::Goodbye as u8
        );
        let signalled = guest.signal(&realm, HubSignal::Work);
        assert_eq!(signalled, Err(Error::PeerClosed));
        assert_eq!(waiting.claim(&realm), Err(Error::PeerClosed));
        let region = realm.region(1, 1);
        let granted = share(&realm, 1, guest.member, region);
        assert_eq!(granted, Err(Error::PeerClosed));
        realm.finish();
    }
}

#[test]
fn the_host_goes_although_others_can_still_join() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let door = realm.give(0, hub.handle, 1, Mode::Share);
    realm.drop_handle(0, hub.handle).unwrap();
    let joined = realm.ipc.reserve_seat(&realm.domains[1], door);
    assert_eq!(joined.err(), Some(Error::PeerClosed));
    let waited = realm.ipc.wait_hub(&realm.domains[1], door, FOREVER);
    assert_eq!(waited.err(), Some(Error::PeerClosed));
    realm.finish();
}

#[test]
fn a_host_sleeps_once_for_all_guests_and_none_signals_while_it_is_awake() {
    let realm = Arc::new(Realm::new(3));
    let hub = Hub::new(&realm, 3);
    let (first, _) = hub.join(&realm, 1);
    let (_, ends) = hub.join(&realm, 2);
    assert_eq!(hub.told(&realm), [1, 2]);
    assert_eq!(hub.beat(&realm, 0), host_beat(false, 0));
    let waits = |deadline| move |realm: &Realm| hub.wait(realm, deadline);
    let host = asleep(&realm, waits(FOREVER));
    assert_eq!(hub.beat(&realm, 0), host_beat(true, 0));
    first.signal(&realm, HubSignal::Beat).unwrap();
    assert_eq!(hub.beat(&realm, 0), host_beat(true, 0));
    first.signal(&realm, HubSignal::Work).unwrap();
    let told = host.join().unwrap().unwrap();
    assert_eq!(told.iter().collect::<Vec<_>>(), [1]);
    assert_eq!(hub.beat(&realm, 0), host_beat(false, 0));
    // What was published is found without a signal, until it is received.
    publish(&realm, 2, ends.producer, 1);
    assert_eq!(hub.told(&realm), [2]);
    assert_eq!(hub.told(&realm), [2]);
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_signal_just_before_the_host_sleeps_is_not_lost() {
    let realm = Arc::new(Realm::new(2));
    let hub = Hub::new(&realm, 1);
    let (guest, _) = hub.join(&realm, 1);
    hub.told(&realm);
    let weak = Arc::downgrade(&realm);
    realm.machine().set_before_park(move |_| {
        let realm = weak.upgrade().unwrap();
        fake::on_cpu(1, || guest.signal(&realm, HubSignal::Work).unwrap());
    });
    for _ in 0..3 {
        let told = fake::on_cpu(0, || hub.wait(&realm, FOREVER)).unwrap();
        assert_eq!(told.iter().collect::<Vec<_>>(), [1]);
    }
    realm.machine().clear_hooks();
    assert_eq!(hub.wait(&realm, 100).err(), Some(Error::TimedOut));
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn what_a_guest_sends_while_the_host_says_that_it_sleeps_is_seen_by_one_of_them() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let (guest, ends) = hub.join(&realm, 1);
    hub.told(&realm);
    let view = publish(&realm, 1, ends.producer, 0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (realm, hub, stop) = (&realm, &hub, &stop);
        let host = scope.spawn(move || {
            fake::on_cpu(0, || {
                loop {
                    hub.wait(realm, FOREVER).unwrap();
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                }
            })
        });
        for _ in 0..200 {
            realm.store(1, 1, view + 4096, 1).unwrap();
            std::sync::atomic::fence(Ordering::SeqCst);
            if hub.beat(realm, 0) & 1 != 0 {
                fake::on_cpu(1, || guest.signal(realm, HubSignal::Work).unwrap());
            }
            realm.store(1, 1, view + 4096, 0).unwrap();
        }
        stop.store(true, Ordering::Release);
        fake::on_cpu(1, || guest.signal(realm, HubSignal::Work).unwrap());
        host.join().unwrap();
    });
    realm.finish();
}

#[test]
fn a_heartbeat_is_stamped_when_a_guest_attaches_and_whenever_it_signals() {
    let realm = Realm::new(2);
    let made = HubGeometry {
        heartbeat_ns: 1000,
        ..geometry(1)
    };
    let made = realm.ipc.create_hub(&realm.domains[0], made).unwrap();
    let hub = Hub {
        handle: made.hub,
        table: realm.map(0, made.table, common::READ),
    };
    assert_eq!(hub.beat(&realm, 0), host_beat(false, 1000));
    realm.machine().advance_ns(5_000);
    let (guest, _) = hub.join(&realm, 1);
    let overdue = |realm: &Realm| {
        let now = ipc::Platform::now_ns(realm.machine());
        abi::hub::is_overdue(hub.beat(realm, 1), now, 1000)
    };
    assert!(!overdue(&realm));
    realm.machine().advance_ns(3_000);
    assert!(overdue(&realm));
    for signal in [HubSignal::Beat, HubSignal::Work] {
        realm.machine().advance_ns(3_000);
        guest.signal(&realm, signal).unwrap();
        assert!(!overdue(&realm));
    }
    guest.leave(&realm).unwrap();
    hub.recover(&realm, guest.seat).unwrap();
    assert_eq!(hub.beat(&realm, 1), 0);
    realm.finish();
}

#[test]
fn a_grant_over_a_membership_reaches_the_host_and_over_a_link_the_guest() {
    let realm = Realm::new(3);
    let hub = Hub::new(&realm, 2);
    let (guest, _) = hub.join(&realm, 1);
    let (other, _) = hub.join(&realm, 2);
    let (link, _) = hub.connect(&realm, guest.seat).unwrap();
    let (wrong, _) = hub.connect(&realm, other.seat).unwrap();
    let up = share(&realm, 1, guest.member, realm.region(1, 1)).unwrap();
    // Only whom it is for, and only from there (S15).
    let stolen = accept(&realm, 2, other.member, up);
    assert_eq!(stolen, Err(Error::NotFound));
    assert_eq!(accept(&realm, 0, wrong, up), Err(Error::NotFound));
    assert!(accept(&realm, 0, link, up).is_ok());
    assert_eq!(accept(&realm, 0, link, up), Err(Error::NotFound));
    let down = share(&realm, 0, link, realm.region(0, 1)).unwrap();
    let stolen = accept(&realm, 2, other.member, down);
    assert_eq!(stolen, Err(Error::NotFound));
    assert!(accept(&realm, 1, guest.member, down).is_ok());
    // The guest is who has the membership now.
    let given = realm.give(1, guest.member, 2, Mode::Move);
    let down = share(&realm, 0, link, realm.region(0, 1)).unwrap();
    assert!(accept(&realm, 2, given, down).is_ok());
    let late = realm.region(2, 1);
    hub.dismiss(&realm, guest.seat).unwrap();
    assert_eq!(share(&realm, 2, given, late), Err(Error::Revoked));
    let gone = share(&realm, 0, link, realm.region(0, 1));
    assert_eq!(gone, Err(Error::PeerClosed));
    realm.finish();
}

#[test]
fn nobody_is_granted_anything_over_a_seat_that_was_not_claimed() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let guest = hub.reserve(&realm, 1).unwrap();
    let (link, _) = hub.connect(&realm, guest.seat).unwrap();
    let region = realm.region(0, 1);
    assert_eq!(share(&realm, 0, link, region), Err(Error::PeerClosed));
    let token = share(&realm, 1, guest.member, realm.region(1, 1)).unwrap();
    assert!(accept(&realm, 0, link, token).is_ok());
    realm.finish();
}
