//! Rings as objects: two views with their rights, sleeping and waking, and how an end ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::hubs::Hub;
use crate::common::realm::Realm;
use crate::common::ring_pair::{GEOMETRY, Pair, meanwhile};
use abi::ring::{
    CONSUMER_OFFSET, DATA_OFFSET, End, EndState, Form, Geometry, HEADER_OFFSET, Kind, MAGIC,
    PRODUCER_OFFSET,
};
use abi::{Error, Events, FOREVER, GrantFlags, Handle, HubGeometry, Mode, Rights, RingShape};
use fake::{Access, FakeTask};

#[test]
fn each_end_can_write_what_is_its_own_and_nothing_else() {
    let pair = Pair::new();
    let views = [pair.map(0, pair.producer), pair.map(1, pair.consumer)];
    let data = DATA_OFFSET as u64..GEOMETRY.view_bytes();
    for (cpu, base) in views.into_iter().enumerate() {
        let writes = |at: u64| {
            let page = pair.realm.machine();
            assert!(page.translate(cpu, base + at, Access::Execute).is_err());
            let read = page.translate(cpu, base + at, Access::Read).unwrap();
            let written = page.translate(cpu, base + at, Access::Write);
            assert!(written.is_err() || written == Ok(read));
            written.is_ok()
        };
        assert!(!writes(HEADER_OFFSET as u64));
        assert_eq!(writes(PRODUCER_OFFSET as u64), cpu == 0);
        assert_eq!(writes(CONSUMER_OFFSET as u64), cpu == 1);
        for at in data.clone().step_by(4096) {
            assert_eq!(writes(at), cpu == 0);
        }
        let behind = base + GEOMETRY.view_bytes();
        assert_eq!(pair.realm.load(cpu, cpu, behind), Err(Error::Range));
        let stored = pair.realm.store(cpu, cpu, base, 1);
        assert_eq!(stored, Err(Error::Denied));
    }
    pair.realm.finish();
}

#[test]
fn both_ends_see_one_memory_in_which_the_data_follows_itself() {
    let pair = Pair::new();
    let (out, back) = (pair.map(0, pair.producer), pair.map(1, pair.consumer));
    let header = pair.realm.load(1, 1, back).unwrap();
    assert_eq!(header as u32, MAGIC);
    let shape = pair.realm.load(0, 0, out + 16).unwrap();
    let expected = u64::from(GEOMETRY.slot_size) | u64::from(GEOMETRY.capacity) << 32;
    assert_eq!(shape, expected);
    for position in 0..GEOMETRY.capacity {
        let at = DATA_OFFSET as u64 + GEOMETRY.slot_offset(position);
        let expected = Ok(GEOMETRY.initial_word(0, position));
        for at in [at, at + GEOMETRY.data_bytes()] {
            assert_eq!(pair.realm.load(0, 0, out + at), expected);
            assert_eq!(pair.realm.load(1, 1, back + at), expected);
        }
        pair.realm.store(0, 0, out + at, position.into()).unwrap();
        let lap = back + at + GEOMETRY.data_bytes();
        assert_eq!(pair.realm.load(1, 1, lap), Ok(position.into()));
    }
    let head = CONSUMER_OFFSET as u64;
    pair.realm.store(1, 1, back + head, 5).unwrap();
    assert_eq!(pair.realm.load(0, 0, out + head), Ok(5));
    pair.realm.finish();
}

#[test]
fn an_end_is_mapped_once_and_again_after_it_was_unmapped() {
    let pair = Pair::new();
    let va = pair.map(0, pair.producer);
    let domain = &pair.realm.domains[0];
    let again = pair.realm.ipc.map_ring(domain, pair.producer);
    assert_eq!(again, Err(Error::Exists));
    pair.realm.unmap(0, va).unwrap();
    let va = pair.map(0, pair.producer);
    let protected = pair.realm.ipc.protect(domain, va, Rights::READ);
    assert_eq!(protected, Err(Error::Unsupported));
    pair.realm.finish();
}

#[test]
fn of_two_threads_that_map_an_end_at_once_one_does() {
    for moment in 0.. {
        let pair = Pair::new();
        let (ipc, domain) = (pair.realm.ipc.clone(), pair.realm.domains[0].clone());
        let producer = pair.producer;
        let other = move || ipc.map_ring(&domain, producer);
        let domain = &pair.realm.domains[0];
        let map = || pair.realm.ipc.map_ring(domain, producer);
        let (by_one, by_other) = fake::at_moment(moment, None, other, map);
        let Some(by_other) = by_other else {
            assert!(moment > 1, "it is looked up, and then mapped");
            break;
        };
        let both = [by_one, by_other];
        let done = both.iter().filter(|mapped| mapped.is_ok()).count();
        assert_eq!(done, 1, "{both:?} at moment {moment}");
        assert!(both.contains(&Err(Error::Exists)));
        assert_eq!(domain.space().mapping_count(), 1);
        pair.realm.finish();
    }
}

#[test]
fn an_end_has_one_holder() {
    let pair = Pair::new();
    let derived = pair.realm.derive(0, pair.producer, Rights::all());
    assert_eq!(derived, Err(Error::Denied));
    let shared = pair
        .realm
        .grant(0, pair.producer, 1, Mode::Share, Rights::all());
    assert_eq!(shared, Err(Error::Denied));
    pair.realm.finish();
}

#[test]
fn a_wait_that_is_over_does_not_sleep() {
    let pair = Pair::new();
    let out = pair.map(0, pair.producer);
    assert_eq!(pair.wait(1, 0, FOREVER), Ok(()));
    assert_eq!(pair.wait(1, 1, 0), Err(Error::WouldBlock));
    assert_eq!(pair.wait(1, 1, 100), Err(Error::TimedOut));
    let tail = out + PRODUCER_OFFSET as u64;
    pair.realm.store(0, 0, tail, 2).unwrap();
    assert_eq!(pair.wait(1, 2, FOREVER), Ok(()));
    assert_eq!(pair.wait(1, 3, 0), Err(Error::WouldBlock));
    // Whatever the peer writes, waiting ends somehow.
    pair.realm.store(0, 0, tail, u64::MAX).unwrap();
    assert_eq!(pair.wait(1, 3, 100), Err(Error::TimedOut));
    pair.realm.finish();
}

/// Compares what the kernel says of both ends of a ring, each in a domain of its own that runs on the CPU of its number, with
/// what follows from their indices.
fn check_levels(realm: &Realm, geometry: Geometry, ends: [(usize, Handle); 2]) {
    let map = |(domain, end): (usize, Handle)| {
        let domain = &realm.domains[domain];
        realm.ipc.map_ring(domain, end).unwrap()
    };
    let [producer, consumer] = ends;
    let tail = (producer.0, map(producer) + PRODUCER_OFFSET as u64);
    let head = (consumer.0, map(consumer) + CONSUMER_OFFSET as u64);
    let says = |(sent, received): (u32, u32)| {
        for ((domain, at), index) in [(tail, sent), (head, received)] {
            realm.store(domain, domain, at, index.into()).unwrap();
        }
        [(producer, Events::WRITABLE), (consumer, Events::READABLE)].map(
            |((domain, end), event)| {
                let domain = &realm.domains[domain];
                realm.ipc.wait_object(domain, end, event, 0).is_ok()
            },
        )
    };
    let (capacity, one) = (geometry.capacity, geometry.granule());
    // Whether there is room, and whether a message. What can't be is for the peer to accuse.
    let (room, both, message) = ([true, false], [true, true], [false, true]);
    // A slot is received before its producer has come from it to its tail; all else is there when the tail tells of it.
    let ahead = match geometry.kind {
        Kind::Slot => room,
        Kind::Byte | Kind::Packet => message,
    };
    let at = [
        ((0, 0), room),
        ((one, 0), both),
        ((capacity, 0), message),
        ((capacity, capacity + one), ahead),
        ((0u32.wrapping_sub(one), 0), ahead),
        ((capacity, capacity + 2 * one), message),
        ((capacity + one, 0), message),
        ((capacity, capacity), room),
    ];
    // Also where the indices wrap, between the two or with both.
    for first in [0, capacity, one].map(|before_wrap| 0u32.wrapping_sub(before_wrap)) {
        for ((sent, received), expected) in at {
            let indices = (first.wrapping_add(sent), first.wrapping_add(received));
            assert_eq!(says(indices), expected, "{geometry:?} at {indices:?}");
        }
    }
}

#[test]
fn what_was_received_before_the_tail_told_of_it_is_not_there() {
    for geometry in [GEOMETRY, Geometry::byte(8192), Geometry::packet(4096)] {
        let pair = Pair::of(RingShape {
            form: Form::Symmetric,
            ..geometry.into()
        });
        check_levels(
            &pair.realm,
            geometry,
            [(0, pair.producer), (1, pair.consumer)],
        );
        pair.realm.finish();
    }
}

#[test]
fn the_rings_of_a_hub_say_what_is_there_as_others_do() {
    for geometry in [
        HubGeometry::slot(1, 64, 8, 16),
        HubGeometry::byte(1, 4096, 8192),
        HubGeometry::packet(1, 8192, 4096),
    ] {
        let realm = Realm::new(2);
        let (to_host, to_guest) = geometry.decode().unwrap();
        let hub = Hub::of(&realm, geometry);
        let (guest, theirs) = hub.join(&realm, 1);
        let (_, ours) = hub.connect(&realm, guest.seat).unwrap();
        for (ring, ends) in [
            (to_host, [(1, theirs.producer), (0, ours.consumer)]),
            (to_guest, [(0, ours.producer), (1, theirs.consumer)]),
        ] {
            check_levels(&realm, ring.geometry, ends);
        }
        realm.finish();
    }
}

#[test]
fn a_wake_just_before_the_sleep_is_not_lost() {
    let pair = Pair::new();
    let (domain, producer) = (pair.realm.domains[0].clone(), pair.producer);
    meanwhile(&pair, move |ipc| ipc.wake_ring(&domain, producer).unwrap());
    for _ in 0..3 {
        let waited = fake::on_cpu(1, || pair.wait(1, 1, FOREVER));
        assert_eq!(waited, Ok(()));
    }
    pair.realm.machine().clear_hooks();
    // Each was used up.
    assert_eq!(pair.wait(1, 1, 100), Err(Error::TimedOut));
    pair.realm.finish();
}

#[test]
fn a_sleeping_thread_is_woken_by_another() {
    let pair = Pair::new();
    let asleep = Arc::new(AtomicUsize::new(0));
    let count = asleep.clone();
    pair.realm.machine().set_before_park(move |_| {
        count.fetch_add(1, Ordering::Release);
    });
    let (ipc, consumer) = (&pair.realm.ipc, pair.consumer);
    let (sender, receiver) = (&pair.realm.domains[0], &pair.realm.domains[1]);
    std::thread::scope(|scope| {
        let wait = move || ipc.wait_ring(receiver, consumer, 1, FOREVER);
        let waiter = scope.spawn(move || fake::on_cpu(1, wait));
        while asleep.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        let second = fake::on_cpu(2, wait);
        assert_eq!(second, Err(Error::Busy));
        ipc.wake_ring(sender, pair.producer).unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    pair.realm.finish();
}

#[test]
fn closing_an_end_wakes_the_other_and_says_closed() {
    for by_exit in [false, true] {
        let pair = Pair::new();
        let back = pair.map(1, pair.consumer);
        assert_eq!(pair.state(1, back, End::Producer), Some(EndState::Open));
        let (domain, producer) = (pair.realm.domains[0].clone(), pair.producer);
        if by_exit {
            let realm = &pair.realm;
            fake::enter(realm.memory(), 0, None);
            meanwhile(&pair, move |ipc| ipc.clear_domain(&domain));
        } else {
            meanwhile(&pair, move |ipc| {
                ipc.drop_capability(&domain, producer).unwrap();
            });
        }
        let waited = fake::on_cpu(1, || pair.wait(1, 1, FOREVER));
        assert_eq!(waited, Ok(()));
        pair.realm.machine().clear_hooks();
        assert_eq!(pair.state(1, back, End::Producer), Some(EndState::Closed));
        assert_eq!(pair.state(1, back, End::Consumer), Some(EndState::Open));
        assert_eq!(pair.wait(1, 1, FOREVER), Ok(()));
        pair.realm.finish();
    }
}

#[test]
fn a_task_that_has_to_end_sleeps_no_more() {
    let pair = Pair::new();
    std::thread::scope(|scope| {
        let pair = &pair;
        let waiter = scope.spawn(move || {
            FakeTask::current().end();
            fake::on_cpu(1, || pair.wait(1, 1, FOREVER))
        });
        assert_eq!(waiter.join().unwrap(), Err(Error::Interrupted));
    });
    assert_eq!(pair.wait(1, 1, 0), Err(Error::WouldBlock));
    pair.realm.finish();
}

#[test]
fn a_moved_end_takes_its_memory_along_and_is_the_peer_from_then_on() {
    let pair = Pair::new();
    let (realm, all) = (&pair.realm, Rights::all());
    let out = pair.map(0, pair.producer);
    realm.store(0, 0, out + DATA_OFFSET as u64, 77).unwrap();
    let token = realm.grant(0, pair.producer, 2, Mode::Move, all).unwrap();
    assert!(!realm.reaches(0, out));
    // Taken back, it is not mapped but works.
    realm.cancel(0, token).unwrap();
    let out = pair.map(0, pair.producer);
    assert_eq!(realm.load(0, 0, out + DATA_OFFSET as u64), Ok(77));
    let moved = realm.give(0, pair.producer, 2, Mode::Move);
    assert!(!realm.reaches(0, out));
    let out = pair.map(2, moved);
    assert_eq!(realm.load(2, 2, out + DATA_OFFSET as u64), Ok(77));

    // What is granted by the other end now reaches the new holder, and only that.
    let consumer = &realm.domains[1];
    let region = realm.region(1, 1);
    let grant = realm.ipc.grant(
        consumer,
        region,
        pair.consumer,
        Mode::Share,
        all,
        GrantFlags::empty(),
        abi::FOREVER,
    );
    assert_eq!(realm.accept(0, grant.unwrap(), 1), Err(Error::NotFound));
    let accepted = realm.ipc.accept(&realm.domains[2], grant.unwrap(), moved);
    assert!(accepted.is_ok());
    pair.realm.finish();
}

#[test]
fn the_memory_of_a_ring_is_returned_with_its_second_end() {
    for first in [0, 1] {
        let pair = Pair::new();
        let views = [pair.map(0, pair.producer), pair.map(1, pair.consumer)];
        let ends = [pair.producer, pair.consumer];
        let realm = &pair.realm;
        let pages = fake::counts(realm.memory()).pages;
        assert_eq!(pages, 3 + GEOMETRY.data_pages());
        let objects = realm.ipc.object_count();
        realm.drop_handle(first, ends[first]).unwrap();
        assert!(!realm.reaches(first, views[first]));
        assert_eq!(fake::counts(realm.memory()).pages, pages);
        let second = 1 - first;
        assert!(realm.load(second, second, views[second]).is_ok());
        realm.drop_handle(second, ends[second]).unwrap();
        assert!(!realm.reaches(second, views[second]));
        assert_eq!(fake::counts(realm.memory()).pages, 0);
        assert_eq!(realm.ipc.object_count(), objects - 2);
        realm.audit(&[]);
        pair.realm.finish();
    }
}

#[test]
fn an_end_whose_holder_is_gone_with_its_token_unused_is_closed() {
    let pair = Pair::new();
    let back = pair.map(1, pair.consumer);
    let all = Rights::all();
    let token = pair.realm.grant(0, pair.producer, 2, Mode::Move, all);
    pair.realm.exit(0);
    assert_eq!(pair.state(1, back, End::Producer), Some(EndState::Open));
    pair.realm.exit(2);
    assert_eq!(pair.state(1, back, End::Producer), Some(EndState::Closed));
    assert!(token.is_ok());
    pair.realm.finish();
}
