//! Ports: what was bound is told once for each time that it happened, or as long as it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::ports::{
    EDGE, LEVEL, NOTHING, ONCE, SIGNALED, bind, clear, notification, packet, poll, port, signal,
    take,
};
use crate::common::realm::Realm;
use crate::common::submissions::Submissions;
use crate::common::waiting::asleep;
use abi::submission::{Operation, Submission};
use abi::{Error, Events, FOREVER, Handle, Mode, PortPacket, Rights};
use fake::FakeMachine;
use ipc::Platform;

#[test]
fn a_level_binding_tells_as_long_as_the_event_holds() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    bind(&realm, 0, port, object, LEVEL, 7).unwrap();
    assert_eq!(poll(&realm, port), NOTHING);
    signal(&realm, 0, object);
    signal(&realm, 0, object);
    assert_eq!(poll(&realm, port), Ok(vec![packet(7, 2)]));
    assert_eq!(poll(&realm, port), Ok(vec![packet(7, 1)]));
    clear(&realm, 0, object);
    assert_eq!(poll(&realm, port), NOTHING);
    signal(&realm, 0, object);
    assert_eq!(poll(&realm, port), Ok(vec![packet(7, 1)]));
    realm.finish();
}

#[test]
fn an_edge_binding_tells_each_time_and_not_as_long_as_the_event_holds() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    bind(&realm, 0, port, object, EDGE, 7).unwrap();
    for times in [1, 3] {
        (0..times).for_each(|_| signal(&realm, 0, object));
        assert_eq!(poll(&realm, port), Ok(vec![packet(7, times)]));
        assert_eq!(poll(&realm, port), NOTHING);
    }
    realm.finish();
}

#[test]
fn what_holds_when_it_is_bound_is_told() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    signal(&realm, 0, object);
    bind(&realm, 0, port, object, LEVEL, 1).unwrap();
    bind(&realm, 0, port, object, EDGE, 2).unwrap();
    assert_eq!(poll(&realm, port), Ok(vec![packet(1, 1), packet(2, 1)]));
    realm.finish();
}

#[test]
fn a_binding_for_once_is_gone_when_it_has_told() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    for flags in [ONCE, ONCE | EDGE] {
        let before = realm.counts();
        bind(&realm, 0, port, object, flags, 7).unwrap();
        signal(&realm, 0, object);
        assert_eq!(poll(&realm, port), Ok(vec![packet(7, 1)]));
        assert_eq!(poll(&realm, port), NOTHING);
        assert_eq!(
            realm.ipc.unbind_port(&realm.domains[0], port, 7),
            Err(Error::NotFound)
        );
        clear(&realm, 0, object);
        assert_eq!(realm.counts(), before);
    }
    realm.finish();
}

#[test]
fn a_level_binding_for_once_whose_event_is_over_waits_for_the_next() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    bind(&realm, 0, port, object, ONCE, 7).unwrap();
    signal(&realm, 0, object);
    clear(&realm, 0, object);
    assert_eq!(poll(&realm, port), NOTHING);
    signal(&realm, 0, object);
    assert_eq!(poll(&realm, port), Ok(vec![packet(7, 1)]));
    realm.finish();
}

#[test]
fn what_can_not_be_bound_is_refused_and_leaves_nothing() {
    let realm = Realm::new(2);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    let region = realm.region(0, 1);
    let waits = realm.derive(0, object, Rights::SIGNAL).unwrap();
    let manages = realm.derive(0, port, Rights::WAIT).unwrap();
    let before = realm.counts();
    let bind = |port, object, events| {
        let domain = &realm.domains[0];
        realm.ipc.bind_port(domain, port, object, events, EDGE, 1)
    };
    assert_eq!(bind(port, port, SIGNALED), Err(Error::Unsupported));
    assert_eq!(bind(port, manages, SIGNALED), Err(Error::Unsupported));
    assert_eq!(bind(port, object, Events::empty()), Err(Error::Invalid));
    assert_eq!(bind(port, object, Events::ENDED), Err(Error::Unsupported));
    assert_eq!(bind(port, waits, SIGNALED), Err(Error::Denied));
    assert_eq!(bind(port, region, SIGNALED), Err(Error::Denied));
    assert_eq!(bind(manages, object, SIGNALED), Err(Error::Denied));
    assert_eq!(bind(object, object, SIGNALED), Err(Error::WrongKind));
    assert_eq!(bind(port, Handle::NONE, SIGNALED), Err(Error::BadHandle));
    assert_eq!(
        take(&realm, 0, port, 0, 0),
        Err(Error::Invalid),
        "no room for a packet"
    );
    assert_eq!(realm.counts(), before);
    realm.finish();
}

#[test]
fn packets_come_in_the_order_in_which_they_were_told_and_no_more_than_asked_for() {
    let realm = Realm::new(1);
    let port = port(&realm, 0);
    let objects: Vec<_> = (0..40)
        .map(|key| {
            let object = notification(&realm, 0);
            bind(&realm, 0, port, object, EDGE, key).unwrap();
            object
        })
        .collect();
    let order: Vec<u64> = (0..40).map(|step| step * 27 % 40).collect();
    for key in &order {
        signal(&realm, 0, objects[*key as usize]);
    }
    let expected: Vec<_> = order.iter().map(|key| packet(*key, 1)).collect();
    assert_eq!(take(&realm, 0, port, 3, 0).unwrap(), expected[..3]);
    assert_eq!(take(&realm, 0, port, 33, 0).unwrap(), expected[3..36]);
    assert_eq!(take(&realm, 0, port, 33, 0).unwrap(), expected[36..]);
    realm.finish();
}

#[test]
fn a_level_binding_does_not_keep_others_from_being_told() {
    let realm = Realm::new(1);
    let (port, first, second) = (
        port(&realm, 0),
        notification(&realm, 0),
        notification(&realm, 0),
    );
    bind(&realm, 0, port, first, LEVEL, 1).unwrap();
    bind(&realm, 0, port, second, LEVEL, 2).unwrap();
    signal(&realm, 0, first);
    signal(&realm, 0, second);
    for key in [1, 2, 1, 2] {
        assert_eq!(take(&realm, 0, port, 1, 0), Ok(vec![packet(key, 1)]));
    }
    realm.finish();
}

#[test]
fn what_can_not_be_delivered_stays_as_it_was() {
    let realm = Realm::new(1);
    let port = port(&realm, 0);
    for (key, flags) in [(1, LEVEL), (2, EDGE), (3, ONCE), (4, ONCE | EDGE)] {
        let object = notification(&realm, 0);
        bind(&realm, 0, port, object, flags, key).unwrap();
        signal(&realm, 0, object);
    }
    let refused = realm
        .ipc
        .wait_port(&realm.domains[0], port, 64, FOREVER, |_, packets| {
            assert_eq!(packets.len(), 4);
            Err(Error::Fault)
        });
    assert_eq!(refused, Err(Error::Fault));
    let all: Vec<_> = (1..=4).map(|key| packet(key, 1)).collect();
    assert_eq!(poll(&realm, port), Ok(all));
    assert_eq!(poll(&realm, port), Ok(vec![packet(1, 1)]));
    realm.finish();
}

#[test]
fn what_happens_while_a_packet_is_delivered_is_told_next() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    bind(&realm, 0, port, object, EDGE, 7).unwrap();
    signal(&realm, 0, object);
    let deliver = |_, packets: &[PortPacket]| {
        assert_eq!(packets, [packet(7, 1)]);
        signal(&realm, 0, object);
        // It is this one's until it has been delivered.
        assert_eq!(poll(&realm, port), NOTHING);
        signal(&realm, 0, object);
        Ok(())
    };
    let domain = &realm.domains[0];
    assert_eq!(realm.ipc.wait_port(domain, port, 1, 0, deliver), Ok(1));
    assert_eq!(poll(&realm, port), Ok(vec![packet(7, 2)]));
    realm.finish();
}

#[test]
fn who_sleeps_at_a_port_is_woken_by_what_happens() {
    let realm = Arc::new(Realm::new(2));
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    let theirs = realm.give(0, object, 1, Mode::Share);
    bind(&realm, 0, port, object, EDGE, 7).unwrap();
    let sleeper = asleep(&realm, move |realm| take(realm, 0, port, 64, FOREVER));
    signal(&realm, 1, theirs);
    assert_eq!(sleeper.join().unwrap(), Ok(vec![packet(7, 1)]));
    assert_eq!(take(&realm, 0, port, 64, 1), Err(Error::TimedOut));
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn the_end_of_a_process_and_its_stopped_threads_are_told() {
    let realm = Realm::new(2);
    let port = port(&realm, 0);
    let (domain, process) = (&realm.domains[0], &realm.processes[1]);
    let events = Events::ENDED | Events::FAULTED;
    realm
        .ipc
        .bind_port(domain, port, realm.via[0][1], events, LEVEL, 9)
        .unwrap();
    let told = |events: Events, value| {
        let expected = PortPacket {
            key: 9,
            value,
            events: events.bits(),
            count: 1,
        };
        assert_eq!(poll(&realm, port), Ok(vec![expected]));
    };
    process.set_stopped(&realm.ipc, 44);
    told(Events::FAULTED, 44);
    process.set_stopped(&realm.ipc, 0);
    assert_eq!(poll(&realm, port), NOTHING);
    process.set_ended(&realm.ipc);
    told(Events::ENDED, 0);
    realm.finish();
}

#[test]
fn faults_are_told_to_nobody_who_could_not_have_the_process_go_on() {
    let realm = Realm::new(2);
    let port = port(&realm, 0);
    let (domain, process) = (&realm.domains[0], &realm.processes[1]);
    let bind = |object, events, flags| realm.ipc.bind_port(domain, port, object, events, flags, 9);
    let watching = realm.derive(0, realm.via[0][1], Rights::WAIT).unwrap();
    let both = Events::ENDED | Events::FAULTED;
    assert_eq!(bind(watching, both, LEVEL), Err(Error::Denied));
    assert_eq!(bind(watching, Events::ENDED, ONCE), Ok(()));
    realm.ipc.unbind_port(domain, port, 9).unwrap();
    // Whoever is told once would not be told of it when it is to go on.
    let managing = realm.derive(0, realm.via[0][1], Rights::all()).unwrap();
    assert_eq!(bind(managing, both, ONCE), Err(Error::Unsupported));
    assert_eq!(bind(managing, both, LEVEL), Ok(()));
    let is_watched = || FakeMachine::process_events(process).is_watched(Events::FAULTED);
    assert!(is_watched());
    realm.reduce(0, managing, !Rights::MANAGE).unwrap();
    // An entry may wait for it, as a thread may, and has nobody wait for what it does then.
    let mut ring = Submissions::new(&realm, 0, 2, 2);
    let faulted = u64::from(Events::FAULTED.bits());
    let arguments = [watching.bits(), faulted, FOREVER, 0, 0, 0];
    ring.push(&realm, Submission::new(Operation::Wait, 1, arguments));
    assert_eq!(ring.enter(&realm, 1, 0, 0), Ok(1));
    assert!(!is_watched());
    process.set_stopped(&realm.ipc, 44);
    assert_eq!(poll(&realm, port), NOTHING);
    process.set_stopped(&realm.ipc, 0);
    realm.finish();
}

#[test]
fn no_edge_is_lost_while_bindings_come_and_go() {
    const TIMES: u64 = 300;
    let realm = Arc::new(Realm::new(2));
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    let theirs = realm.give(0, object, 1, Mode::Share);
    bind(&realm, 0, port, object, EDGE, 1).unwrap();
    let told = Arc::new(AtomicU64::new(0));
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let (realm, told) = (realm.clone(), told.clone());
            std::thread::spawn(move || {
                while told.load(Ordering::Relaxed) < TIMES {
                    for packet in take(&realm, 0, port, 2, FOREVER).unwrap() {
                        if packet.key == 1 {
                            told.fetch_add(packet.count.into(), Ordering::Relaxed);
                        }
                    }
                }
            })
        })
        .collect();
    let other = realm.clone();
    let binder = std::thread::spawn(move || {
        for _ in 0..TIMES {
            bind(&other, 0, port, object, EDGE, 2).unwrap();
            other.ipc.unbind_port(&other.domains[0], port, 2).unwrap();
        }
    });
    for _ in 0..TIMES {
        signal(&realm, 1, theirs);
    }
    binder.join().unwrap();
    // Whoever sleeps when everything was told has to look once more.
    while takers.iter().any(|taker| !taker.is_finished()) {
        signal(&realm, 1, theirs);
    }
    takers.into_iter().for_each(|taker| taker.join().unwrap());
    assert!(told.load(Ordering::Relaxed) >= TIMES);
    Arc::into_inner(realm).unwrap().finish();
}
