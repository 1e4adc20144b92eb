//! What a port is told of, and not told any more: after its binding was taken back, its object or its
//! authority is gone, nothing is told, and nothing is left.

use std::sync::Arc;

use crate::common::ports::{
    EDGE, LEVEL, NOTHING, ONCE, bind, clear, notification, packet, poll, port, signal, take,
};
use crate::common::realm::Realm;
use crate::common::waiting::asleep;
use abi::limits::{MAX_BINDINGS, MAX_SHARED_WATCHES, MAX_WATCHES};
use abi::{Error, Events, FOREVER, Handle, Mode, Resources, Rights, cost};

#[test]
fn a_binding_that_is_taken_back_tells_nothing_any_more_and_costs_nothing() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    let before = realm.counts();
    bind(&realm, 0, port, object, EDGE, 7).unwrap();
    let paid = Resources::bytes(cost::BINDING);
    assert_eq!(realm.used(0).bytes - before.2[0].1.bytes, paid.bytes);
    assert_eq!(bind(&realm, 0, port, object, EDGE, 7), Err(Error::Exists));
    signal(&realm, 0, object);
    let unbind = || realm.ipc.unbind_port(&realm.domains[0], port, 7);
    unbind().unwrap();
    assert_eq!(unbind(), Err(Error::NotFound));
    assert_eq!(poll(&realm, port), NOTHING);
    assert_eq!(realm.counts(), before);
    bind(&realm, 0, port, object, EDGE, 7).unwrap();
    assert_eq!(poll(&realm, port), Ok(vec![packet(7, 1)]));
    realm.finish();
}

#[test]
fn a_binding_taken_back_while_its_packet_is_delivered_does_not_come_back() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    for outcome in [Ok(()), Err(Error::Fault)] {
        bind(&realm, 0, port, object, LEVEL, 7).unwrap();
        signal(&realm, 0, object);
        let domain = &realm.domains[0];
        let taken = realm.ipc.wait_port(domain, port, 1, 0, |_, _| {
            realm.ipc.unbind_port(domain, port, 7).unwrap();
            outcome
        });
        assert_eq!(taken, outcome.map(|()| 1));
        assert_eq!(poll(&realm, port), NOTHING);
    }
    realm.finish();
}

#[test]
fn an_object_that_ends_takes_its_bindings_and_their_packets_along() {
    let realm = Realm::new(1);
    let port = port(&realm, 0);
    let before = realm.counts();
    for flags in [LEVEL, EDGE, ONCE] {
        let object = notification(&realm, 0);
        bind(&realm, 0, port, object, flags, 7).unwrap();
        signal(&realm, 0, object);
        realm.drop_handle(0, object).unwrap();
        assert_eq!(realm.counts(), before);
        assert_eq!(poll(&realm, port), NOTHING);
    }
    realm.finish();
}

#[test]
fn a_binding_ends_with_the_capability_that_it_was_made_by() {
    let realm = Realm::new(2);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    let before = realm.counts();
    let ends: [&dyn Fn(Handle); 3] = [
        &|_| _ = realm.revoke(0, object).unwrap(),
        &|handle| realm.drop_handle(0, handle).unwrap(),
        &|handle| {
            let given = realm.give(0, handle, 1, Mode::Move);
            realm.drop_handle(1, given).unwrap();
        },
    ];
    for end in ends {
        let below = realm.derive(0, object, Rights::all()).unwrap();
        bind(&realm, 0, port, below, EDGE, 7).unwrap();
        signal(&realm, 0, object);
        end(below);
        assert_eq!(poll(&realm, port), NOTHING);
        signal(&realm, 0, object);
        assert_eq!(poll(&realm, port), NOTHING);
        clear(&realm, 0, object);
        let _ = realm.drop_handle(0, below);
        assert_eq!(realm.counts(), before);
    }
    realm.finish();
}

#[test]
fn no_binding_is_left_behind_when_others_are_taken_back_meanwhile() {
    let realm = Realm::new(2);
    let (port, process) = (port(&realm, 0), realm.via[0][1]);
    let below = realm.derive(0, process, Rights::all()).unwrap();
    let bind = |object, key| {
        let domain = &realm.domains[0];
        realm
            .ipc
            .bind_port(domain, port, object, Events::FAULTED, EDGE, key)
    };
    (0..4).for_each(|key| bind(process, key).unwrap());
    (4..12).for_each(|key| bind(below, key).unwrap());
    // Each that leaves has one of the others taken back, whose place in the list goes to the last.
    let (ipc, domain) = (Arc::downgrade(&realm.ipc), realm.domains[0].clone());
    let mut others = 0..4;
    realm.machine().set_after_watcher_left(move |_| {
        if let Some(key) = others.next() {
            let ipc = ipc.upgrade().unwrap();
            ipc.unbind_port(&domain, port, key).unwrap();
        }
    });
    realm.drop_handle(0, below).unwrap();
    realm.machine().clear_hooks();
    let left: Vec<u64> = (0..12)
        .filter(|key| bind(process, *key) == Err(Error::Exists))
        .collect();
    assert_eq!(left, [0; 0]);
    realm.finish();
}

#[test]
fn who_may_wait_for_an_object_leaves_room_for_who_has_its_first_capability() {
    let realm = Realm::new(2);
    let object = notification(&realm, 0);
    let theirs = realm.give(0, object, 1, Mode::Share);
    let ports = [0, 1].map(|domain| port(&realm, domain));
    let bind = |domain: usize, object, key| bind(&realm, domain, ports[domain], object, EDGE, key);
    let shared = MAX_SHARED_WATCHES as u64;
    (0..shared).for_each(|key| bind(1, theirs, key).unwrap());
    assert_eq!(bind(1, theirs, shared), Err(Error::Limit));
    let own = (MAX_WATCHES - MAX_SHARED_WATCHES) as u64;
    (0..own).for_each(|key| bind(0, object, key).unwrap());
    assert_eq!(bind(0, object, own), Err(Error::Limit));
    realm.finish();
}

#[test]
fn an_object_has_so_many_bindings_of_all_ports_and_no_more() {
    let realm = Realm::new(1);
    let object = notification(&realm, 0);
    let ports = [(); 2].map(|()| port(&realm, 0));
    let before = realm.counts();
    let bind = |port: usize, key| bind(&realm, 0, ports[port], object, EDGE, key);
    for key in 0..MAX_WATCHES as u64 {
        bind(key as usize % 2, key).unwrap();
    }
    assert_eq!(bind(0, u64::MAX), Err(Error::Limit));
    signal(&realm, 0, object);
    for (at, port) in ports.into_iter().enumerate() {
        let packets: Vec<_> = (0..MAX_WATCHES / 2)
            .map(|key| packet((2 * key + at) as u64, 1))
            .collect();
        let mut told = take(&realm, 0, port, MAX_WATCHES, 0).unwrap();
        told.sort_unstable_by_key(|packet| packet.key);
        assert_eq!(told, packets);
    }
    let unbind = |port: usize, key| realm.ipc.unbind_port(&realm.domains[0], ports[port], key);
    unbind(0, 0).unwrap();
    bind(1, u64::MAX).unwrap();
    unbind(1, u64::MAX).unwrap();
    (1..MAX_WATCHES as u64).for_each(|key| unbind(key as usize % 2, key).unwrap());
    clear(&realm, 0, object);
    assert_eq!(realm.counts(), before);
    realm.finish();
}

#[test]
fn a_port_that_ends_leaves_what_it_was_told_of_alone() {
    let realm = Realm::new(1);
    let object = notification(&realm, 0);
    let before = realm.counts();
    let gone = port(&realm, 0);
    for (key, flags) in [(1, LEVEL), (2, EDGE), (3, ONCE)] {
        bind(&realm, 0, gone, object, flags, key).unwrap();
    }
    signal(&realm, 0, object);
    realm.drop_handle(0, gone).unwrap();
    signal(&realm, 0, object);
    clear(&realm, 0, object);
    assert_eq!(realm.counts(), before);
    realm.finish();
}

#[test]
fn a_revoke_ends_the_waits_at_a_port_and_passes_what_they_were_woken_for_on() {
    let realm = Arc::new(Realm::new(2));
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    bind(&realm, 0, port, object, EDGE, 7).unwrap();
    let theirs = realm.give(0, port, 1, Mode::Share);
    let ends = asleep(&realm, move |realm| take(realm, 1, theirs, 1, FOREVER));
    let stays = asleep(&realm, move |realm| take(realm, 0, port, 1, FOREVER));
    assert_eq!(realm.revoke(0, port), Ok(1));
    assert_eq!(ends.join().unwrap(), Err(Error::Revoked));
    signal(&realm, 0, object);
    assert_eq!(stays.join().unwrap(), Ok(vec![packet(7, 1)]));
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn bindings_run_out_at_the_limit_and_at_the_quota() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    let before = realm.counts();
    for key in 0..MAX_BINDINGS as u64 {
        bind(&realm, 0, port, object, EDGE, key).unwrap();
    }
    assert_eq!(
        bind(&realm, 0, port, object, EDGE, u64::MAX),
        Err(Error::Limit)
    );
    signal(&realm, 0, object);
    let mut told = 0;
    while let Ok(packets) = poll(&realm, port) {
        told += packets.len();
    }
    assert_eq!(told, MAX_BINDINGS);
    for key in 0..MAX_BINDINGS as u64 {
        realm.ipc.unbind_port(&realm.domains[0], port, key).unwrap();
    }
    assert_eq!(realm.counts(), before);
    realm.finish();

    let room = cost::SPACE + 8 * (cost::OBJECT + cost::CAPABILITY);
    let realm = Realm::with_quotas(&[Resources::bytes(room)]);
    let (port, object) = (self::port(&realm, 0), notification(&realm, 0));
    let before = realm.counts();
    let made = (0..)
        .find(|key| bind(&realm, 0, port, object, EDGE, *key) == Err(Error::Quota))
        .unwrap();
    for key in 0..made {
        realm.ipc.unbind_port(&realm.domains[0], port, key).unwrap();
    }
    assert_eq!(realm.counts(), before);
    realm.finish();
}
