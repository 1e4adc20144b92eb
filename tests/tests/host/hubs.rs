//! Hubs as objects: seats are reserved, claimed and left, and everybody reads in one table how they stand.

use std::sync::Arc;

use crate::common::READ;
use crate::common::hubs::{Hub, geometry};
use crate::common::realm::Realm;
use crate::common::waiting::asleep;
use abi::hub::{MAX_GUESTS, PeerState, guests_of};
use abi::{Error, FOREVER, HubHandles, HubSeat, Mode, Rights};
use fake::{Access, Config};

#[test]
fn a_seat_goes_from_empty_to_reserved_to_attached_to_goodbye_to_empty_in_the_next_tenancy() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 3);
    assert_eq!(guests_of(hub.word(&realm, 0)), 3);
    assert_eq!(hub.standing(&realm, 1), (PeerState::Empty, 0));
    for epoch in 0..3 {
        let guest = hub.reserve(&realm, 1).unwrap();
        assert_eq!(guest.seat, HubSeat { peer: 1, epoch });
        assert_eq!(hub.standing(&realm, 1), (PeerState::Reserved, epoch));
        guest.claim(&realm).unwrap();
        assert_eq!(hub.standing(&realm, 1), (PeerState::Attached, epoch));
        assert_eq!(hub.recover(&realm, guest.seat), Err(Error::Busy));
        guest.leave(&realm).unwrap();
        assert_eq!(guest.leave(&realm), Err(Error::NotFound));
        assert_eq!(hub.standing(&realm, 1), (PeerState::Goodbye, epoch));
        hub.recover(&realm, guest.seat).unwrap();
        assert_eq!(hub.standing(&realm, 1), (PeerState::Empty, epoch + 1));
        assert_eq!(hub.recover(&realm, guest.seat), Err(Error::NotFound));
        assert_eq!(realm.look_up(1, guest.member), Err(Error::Revoked));
    }
    realm.finish();
}

#[test]
fn the_table_can_be_read_by_the_host_and_by_guests_and_written_by_nobody() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let (_, ends) = hub.join(&realm, 1);
    let there = realm.map(1, ends.table, READ);
    assert_eq!(realm.load(1, 1, there + 8), Ok(hub.word(&realm, 1)));
    for (domain, va) in [(0, hub.table), (1, there)] {
        let written = realm.machine().translate(domain, va, Access::Write);
        assert!(written.is_err());
        assert!(realm.store(domain, domain, va + 8, 0).is_err());
    }
    let writing = realm.try_map(1, ends.table, READ | Rights::WRITE);
    assert_eq!(writing, Err(Error::Denied));
    let derived = realm.derive(1, ends.table, READ);
    assert_eq!(derived, Err(Error::Denied));
    realm.finish();
}

#[test]
fn every_seat_is_found_and_then_the_hub_is_full() {
    let config = Config {
        frames: 12_000,
        ..Config::default()
    };
    let realm = Realm::of(1, config);
    let hub = Hub::new(&realm, MAX_GUESTS);
    let guests: Vec<_> = (1..=MAX_GUESTS)
        .map(|peer| {
            let guest = hub.reserve(&realm, 0).unwrap();
            assert_eq!(guest.seat.peer, peer);
            guest
        })
        .collect();
    assert_eq!(hub.reserve(&realm, 0).err(), Some(Error::Full));
    // One that was given up is nobody's before it is recovered.
    let given_up = guests[99];
    realm.drop_handle(0, given_up.member).unwrap();
    assert_eq!(hub.reserve(&realm, 0).err(), Some(Error::Full));
    hub.recover(&realm, given_up.seat).unwrap();
    let next = hub.reserve(&realm, 0).unwrap();
    assert_eq!(
        next.seat,
        HubSeat {
            peer: 100,
            epoch: 1
        }
    );
    realm.finish();
}

#[test]
fn many_that_join_at_once_get_a_seat_each() {
    let realm = Realm::of(
        1,
        Config {
            frames: 6_000,
            cpus: 4,
            ..Config::default()
        },
    );
    let hub = Hub::new(&realm, 60);
    let (ipc, host) = (&realm.ipc, &realm.domains[0]);
    let mut peers: Vec<u32> = std::thread::scope(|scope| {
        let join = |cpu| {
            scope.spawn(move || {
                fake::on_cpu(cpu, || {
                    let reserve = |_| ipc.reserve_seat(host, hub.handle).unwrap().1.peer;
                    (0..15).map(reserve).collect::<Vec<_>>()
                })
            })
        };
        let joining = [0, 1, 2, 3].map(join);
        joining
            .into_iter()
            .flat_map(|who| who.join().unwrap())
            .collect()
    });
    peers.sort_unstable();
    assert_eq!(peers, (1..=60).collect::<Vec<_>>());
    realm.finish();
}

#[test]
fn a_seat_is_claimed_once_and_only_in_the_tenancy_that_was_told() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let guest = hub.reserve(&realm, 1).unwrap();
    assert_eq!(guest.claim_in(&realm, 1), Err(Error::NotFound));
    assert_eq!(hub.standing(&realm, 1), (PeerState::Reserved, 0));
    guest.claim(&realm).unwrap();
    assert_eq!(guest.claim(&realm), Err(Error::Exists));
    guest.leave(&realm).unwrap();
    assert_eq!(guest.claim(&realm), Err(Error::NotFound));
    realm.finish();
}

#[test]
fn what_is_said_of_one_tenancy_never_falls_on_the_next() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let (first, _) = hub.join(&realm, 1);
    first.leave(&realm).unwrap();
    hub.recover(&realm, first.seat).unwrap();
    let (second, _) = hub.join(&realm, 1);
    assert_eq!(hub.dismiss(&realm, first.seat), Err(Error::NotFound));
    assert_eq!(hub.recover(&realm, first.seat), Err(Error::NotFound));
    assert_eq!(hub.connect(&realm, first.seat).err(), Some(Error::NotFound));
    assert_eq!(hub.standing(&realm, 1), (PeerState::Attached, 1));
    for peer in [2, 255, 256, u32::MAX] {
        let nobody = HubSeat { peer, epoch: 0 };
        assert_eq!(hub.dismiss(&realm, nobody), Err(Error::NotFound));
        assert_eq!(hub.recover(&realm, nobody), Err(Error::NotFound));
    }
    hub.connect(&realm, second.seat).unwrap();
    assert_eq!(hub.connect(&realm, second.seat).err(), Some(Error::Exists));
    // That it was tried again has not dismissed the guest.
    assert_eq!(hub.standing(&realm, 1), (PeerState::Attached, 1));
    realm.finish();
}

#[test]
fn who_may_join_may_do_nothing_else_and_joins_by_itself() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 2);
    let token = realm.grant(0, hub.handle, 1, Mode::Share, Rights::SEND);
    let door = realm.accept(1, token.unwrap(), 0).unwrap();
    let (ipc, guest) = (&realm.ipc, &realm.domains[1]);
    let (member, seat) = ipc.reserve_seat(guest, door).unwrap();
    assert_eq!(seat.peer, 1);
    ipc.claim_seat(guest, member, seat.epoch).unwrap();
    assert_eq!(ipc.wait_hub(guest, door, 0), Err(Error::Denied));
    let connected = ipc.connect_guest(guest, door, 1, 0);
    assert_eq!(connected.err(), Some(Error::Denied));
    assert_eq!(ipc.dismiss_guest(guest, door, 1, 0), Err(Error::Denied));
    // Nor does somebody else get the host's ends who may manage the hub.
    let token = realm.grant(0, hub.handle, 1, Mode::Share, Rights::MANAGE);
    let managed = realm.accept(1, token.unwrap(), 0).unwrap();
    let connected = ipc.connect_guest(guest, managed, 1, 0);
    assert_eq!(connected.err(), Some(Error::Denied));
    // And the host is always the same.
    let moved = realm.grant(0, hub.handle, 1, Mode::Move, Rights::all());
    assert_eq!(moved, Err(Error::Denied));
    realm.finish();
}

#[test]
fn a_hub_that_can_not_be_is_refused_and_leaves_nothing() {
    let realm = Realm::new(1);
    let before = realm.counts();
    for bad in abi::impossible::HUBS {
        let made = realm.ipc.create_hub(&realm.domains[0], *bad);
        assert_eq!(made.err(), Some(Error::Invalid), "{bad:?}");
    }
    assert_eq!(realm.counts(), before);
    realm.finish();
}

#[test]
fn everything_of_a_hub_is_returned_with_it() {
    let realm = Realm::new(2);
    let before = realm.counts();
    let HubHandles { hub, table } = realm
        .ipc
        .create_hub(&realm.domains[0], geometry(3))
        .unwrap();
    let host = &realm.domains[0];
    let (member, seat) = realm.ipc.reserve_seat(host, hub).unwrap();
    let ends = realm.ipc.claim_seat(host, member, seat.epoch).unwrap();
    let (link, rings) = realm.ipc.connect_guest(host, hub, 1, 0).unwrap();
    for handle in [
        ends.producer,
        ends.consumer,
        ends.table,
        link,
        rings.producer,
        rings.consumer,
        table,
        hub,
        member,
    ] {
        realm.drop_handle(0, handle).unwrap();
    }
    assert_eq!(realm.counts(), before);
    realm.finish();
}

#[test]
fn what_a_guest_kept_of_the_table_ends_with_its_tenancy() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let (guest, ends) = hub.join(&realm, 1);
    let seen = realm.map(1, ends.table, READ);
    realm.drop_handle(1, ends.table).unwrap();
    assert!(realm.load(1, 1, seen).is_ok());
    hub.dismiss(&realm, guest.seat).unwrap();
    hub.recover(&realm, guest.seat).unwrap();
    assert!(realm.load(1, 1, seen).is_err());
    realm.finish();
}

#[test]
fn the_host_pays_for_the_rings_and_each_for_what_it_has() {
    let plenty = abi::Resources {
        frames: 1 << 20,
        tables: 1 << 20,
        bytes: 1 << 30,
    };
    let realm = Realm::with_quotas(&[plenty; 2]);
    let hub = Hub::new(&realm, 2);
    let (host, guest) = (realm.used(0), realm.used(1));
    let reserved = hub.reserve(&realm, 1).unwrap();
    let rings = 2 * (3 + 1);
    assert_eq!(realm.used(0).frames - host.frames, rings);
    assert_eq!(realm.used(1).frames, guest.frames);
    let before = realm.used(0).bytes;
    reserved.claim(&realm).unwrap();
    let ends = 2 * (abi::cost::OBJECT + abi::cost::CAPABILITY);
    assert_eq!(before - realm.used(0).bytes, ends);
    // Whose quota ends, who is the one that is told; nothing is left half.
    let free = plenty.frames - realm.used(0).frames;
    let hog = realm.domains[0]
        .account()
        .charge(abi::Resources::frames(free - rings + 1))
        .unwrap();
    let counts = realm.counts();
    let refused = hub.reserve(&realm, 1);
    assert_eq!(refused.err(), Some(Error::Quota));
    assert_eq!(realm.counts(), counts);
    assert_eq!(hub.standing(&realm, 2), (PeerState::Empty, 0));
    drop(hog);
    assert_eq!(hub.reserve(&realm, 1).unwrap().seat.epoch, 0);
    realm.finish();
}

#[test]
fn a_guest_that_can_not_pay_changes_nothing_however_often_it_tries() {
    let plenty = abi::Resources {
        frames: 1 << 20,
        tables: 1 << 20,
        bytes: 1 << 30,
    };
    let realm = Arc::new(Realm::with_quotas(&[plenty; 2]));
    let hub = Hub::new(&realm, 1);
    let door = realm.give(0, hub.handle, 1, Mode::Share);
    assert!(hub.told(&realm).is_empty());
    let account = realm.domains[1].account();
    let free = plenty.bytes - realm.used(1).bytes;
    let hog = account.charge(abi::Resources::bytes(free)).unwrap();
    let host = asleep(&realm, move |realm| hub.wait(realm, FOREVER));
    let (before, counts) = (realm.used(0), realm.counts());
    for _ in 0..10 {
        let inside = realm.clone();
        // Nor does the host pay for anything meanwhile.
        let meanwhile = move || {
            assert_eq!(inside.used(0), before);
            assert_eq!(hub.standing(&inside, 1), (PeerState::Empty, 0));
        };
        let reserve = || realm.ipc.reserve_seat(&realm.domains[1], door);
        let refused = fake::before_locks(None, meanwhile, || fake::on_cpu(1, reserve));
        assert_eq!(refused.err(), Some(Error::Quota));
        assert_eq!(realm.counts(), counts);
    }
    assert!(!host.is_finished());
    drop(hog);
    let guest = realm.ipc.reserve_seat(&realm.domains[1], door);
    let (member, seat) = guest.unwrap();
    assert_eq!(seat, HubSeat { peer: 1, epoch: 0 });
    realm.drop_handle(1, member).unwrap();
    let told = host.join().unwrap().unwrap();
    assert_eq!(told.iter().collect::<Vec<_>>(), [1]);
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn no_seat_can_be_had_before_the_rings_of_the_last_tenancy_are_out_of_reach() {
    let realm = Arc::new(Realm::new(2));
    let hub = Hub::new(&realm, 1);
    let (guest, _) = hub.join(&realm, 1);
    let (_, rings) = hub.connect(&realm, guest.seat).unwrap();
    realm.run_also_on_3(0);
    let view = realm
        .ipc
        .map_ring(&realm.domains[0], rings.producer)
        .unwrap();
    for cpu in [0, 3] {
        realm.store(cpu, 0, view + 4096, 0).unwrap();
    }
    guest.leave(&realm).unwrap();
    let weak = Arc::downgrade(&realm);
    realm.machine().set_while_waiting(move |_| {
        let realm = weak.upgrade().unwrap();
        fake::on_cpu(1, || {
            assert_eq!(hub.standing(&realm, 1), (PeerState::Goodbye, 0));
            assert_eq!(hub.reserve(&realm, 0).err(), Some(Error::Full));
        });
    });
    hub.recover(&realm, guest.seat).unwrap();
    realm.machine().clear_hooks();
    assert!(!realm.reaches(0, view) && !realm.reaches(3, view));
    hub.reserve(&realm, 1).unwrap();
    Arc::into_inner(realm).unwrap().finish();
}
