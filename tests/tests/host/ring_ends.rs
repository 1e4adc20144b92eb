//! What becomes of the ends of rings: each way to end is told apart, and an end that moves goes on.

use crate::common::ports;
use crate::common::realm::Realm;
use crate::common::ring_pair::{GEOMETRY, Pair, meanwhile};
use abi::ring::{CONSUMER_OFFSET, DATA_OFFSET, End, EndState, Form, Geometry, PRODUCER_OFFSET};
use abi::{Error, Events, FOREVER, Mode, Resources, RingClose, RingGeometry, RingInfo, RingShape};

/// Closes an end of a domain.
fn close(pair: &Pair, domain: usize, how: RingClose) {
    let end = [pair.producer, pair.consumer][domain];
    let domain = &pair.realm.domains[domain];
    pair.realm.ipc.close_ring(domain, end, how).unwrap();
}

#[test]
fn an_end_that_is_closed_in_order_stays_so_whatever_becomes_of_its_holder() {
    for by_exit in [false, true] {
        let pair = Pair::new();
        let back = pair.map(1, pair.consumer);
        close(&pair, 0, RingClose::Orderly);
        let draining = Some(EndState::Draining);
        assert_eq!(pair.state(1, back, End::Producer), draining);
        assert_eq!(pair.state(1, back, End::Consumer), Some(EndState::Open));
        // Its handle is there, and closing it again changes nothing.
        close(&pair, 0, RingClose::Orderly);
        assert_eq!(pair.wait(0, 1, FOREVER), Ok(()));
        match by_exit {
            false => pair.realm.drop_handle(0, pair.producer).unwrap(),
            true => pair.realm.exit(0),
        }
        assert_eq!(pair.state(1, back, End::Producer), draining);
        let info = pair.info(1, pair.consumer);
        assert_eq!(info.producer_state, EndState::Draining as u32);
        pair.realm.finish();
    }
}

#[test]
fn closing_wakes_whoever_sleeps_at_either_end() {
    for sleeper in [0, 1] {
        for closer in [0, 1] {
            for how in [RingClose::Orderly, RingClose::Faulty] {
                let pair = Pair::new();
                let end = [pair.producer, pair.consumer][closer];
                let domain = pair.realm.domains[closer].clone();
                meanwhile(&pair, move |ipc| {
                    ipc.close_ring(&domain, end, how).unwrap();
                });
                let waited = fake::on_cpu(1, || pair.wait(sleeper, 1, FOREVER));
                assert_eq!(waited, Ok(()), "{sleeper} {closer} {how:?}");
                pair.realm.machine().clear_hooks();
                pair.realm.finish();
            }
        }
    }
}

#[test]
fn a_peer_that_broke_the_protocol_is_told_so() {
    let pair = Pair::new();
    let out = pair.map(0, pair.producer);
    close(&pair, 1, RingClose::Orderly);
    // After an orderly close, too: the end was still to be drained.
    close(&pair, 1, RingClose::Faulty);
    let poisoned = Some(EndState::Poisoned);
    assert_eq!(pair.state(0, out, End::Consumer), poisoned);
    close(&pair, 1, RingClose::Orderly);
    assert_eq!(pair.state(0, out, End::Consumer), poisoned);
    pair.realm.exit(1);
    assert_eq!(pair.state(0, out, End::Consumer), poisoned);
    assert_eq!(pair.state(0, out, End::Producer), Some(EndState::Open));
    pair.realm.finish();
}

/// What ends the producing end.
type Ending = fn(&Pair);

#[test]
fn every_way_to_end_is_told_by_another_state() {
    let ends: [(Ending, EndState); 4] = [
        (
            |pair| close(pair, 0, RingClose::Orderly),
            EndState::Draining,
        ),
        (|pair| pair.realm.exit(0), EndState::Closed),
        (
            |pair| _ = pair.realm.revoke_itself(0, pair.producer),
            EndState::Revoked,
        ),
        (|pair| close(pair, 0, RingClose::Faulty), EndState::Poisoned),
    ];
    for (end, told) in ends {
        let pair = Pair::new();
        let back = pair.map(1, pair.consumer);
        let domain = &pair.realm.domains[1];
        let closed = |deadline| {
            let ipc = &pair.realm.ipc;
            ipc.wait_object(domain, pair.consumer, Events::PEER_CLOSED, deadline)
        };
        assert_eq!(closed(0), Err(Error::WouldBlock));
        end(&pair);
        assert_eq!(pair.state(1, back, End::Producer), Some(told));
        assert_eq!(closed(0), Ok(Events::PEER_CLOSED));
        assert_eq!(pair.wait(1, 1, FOREVER), Ok(()));
        pair.realm.finish();
    }
}

#[test]
fn another_holder_is_another_epoch() {
    let pair = Pair::new();
    let back = pair.map(1, pair.consumer);
    // The consumer was given away once.
    assert_eq!(pair.epoch(1, back), 2);
    let all = abi::Rights::all();
    let token = pair.realm.grant(0, pair.producer, 2, Mode::Move, all);
    assert_eq!(pair.epoch(1, back), 2, "nobody else has it yet");
    let moved = pair.realm.accept(2, token.unwrap(), 0).unwrap();
    assert_eq!(pair.epoch(1, back), 3);
    assert_eq!(pair.info(2, moved).epoch, 3);
    // One that is taken back has the holder that it had.
    let token = pair.realm.grant(2, moved, 0, Mode::Move, all).unwrap();
    pair.realm.cancel(2, token).unwrap();
    assert_eq!(pair.epoch(1, back), 3);
    pair.realm.finish();
}

#[test]
fn who_sleeps_while_the_other_end_moves_looks_again() {
    for mover in [0, 1] {
        let pair = Pair::new();
        let domains = pair.realm.domains.clone();
        let end = [pair.producer, pair.consumer][mover];
        let via = pair.realm.via.clone();
        meanwhile(&pair, move |ipc| {
            let flags = abi::GrantFlags::empty();
            let all = abi::Rights::all();
            let to = via[mover][2];
            let token = ipc.grant(&domains[mover], end, to, Mode::Move, all, flags, FOREVER);
            let token = token.unwrap();
            ipc.accept(&domains[2], token, via[2][mover]).unwrap();
        });
        let sleeper = 1 - mover;
        let waited = fake::on_cpu(1, || pair.wait(sleeper, 1, FOREVER));
        assert_eq!(waited, Ok(()), "{mover}");
        pair.realm.machine().clear_hooks();
        pair.realm.finish();
    }
}

#[test]
fn who_waits_at_a_port_while_the_other_end_moves_is_told() {
    for mover in [End::Producer, End::Consumer] {
        let pair = Pair::of(RingShape {
            form: Form::Symmetric,
            ..GEOMETRY.into()
        });
        let realm = &pair.realm;
        let capacity = GEOMETRY.capacity.into();
        let [tail, head] = [
            (0, pair.map(0, pair.producer) + PRODUCER_OFFSET as u64),
            (1, pair.map(1, pair.consumer) + CONSUMER_OFFSET as u64),
        ];
        let store = |(domain, at): (usize, u64), index: u64| {
            realm.store(domain, domain, at, index).unwrap();
        };
        // Its holder publishes, or releases, and does not come to waking anybody.
        let (from, moved, its, index) = match mover {
            End::Producer => (0, pair.producer, tail, 1),
            End::Consumer => (1, pair.consumer, head, capacity),
        };
        let (waits, end, event) = match mover {
            End::Producer => (1, pair.consumer, Events::READABLE),
            End::Consumer => (0, pair.producer, Events::WRITABLE),
        };
        if mover == End::Consumer {
            store(tail, capacity);
        }
        let port = ports::port(realm, waits);
        let domain = &realm.domains[waits];
        let bound = realm
            .ipc
            .bind_port(domain, port, end, event, ports::EDGE, 7);
        assert_eq!(bound, Ok(()));
        store(its, index);
        assert_eq!(
            ports::take(realm, waits, port, 1, 0),
            Err(Error::WouldBlock)
        );
        realm.give(from, moved, 2, Mode::Move);
        let told = ports::take(realm, waits, port, 1, 0).expect("it is told");
        assert!(Events::from_bits_retain(told[0].events).contains(event));
        pair.realm.finish();
    }
}

#[test]
fn every_kind_and_form_is_laid_out_as_it_was_asked_for() {
    let shapes = [
        RingGeometry::slot(64, 128),
        RingGeometry::slot(4096, 4).starting_at(u32::MAX - 1),
        RingGeometry::byte(8192).starting_at(u32::MAX),
        RingGeometry::packet(4096).starting_at(u32::MAX - 7),
    ];
    for shape in shapes {
        for form in [Form::Symmetric, Form::Asymmetric] {
            let shape = shape.with_form(form);
            let pair = Pair::of(shape.decode().unwrap());
            let facts = RingInfo {
                geometry: shape,
                epoch: 2,
                end: End::Consumer as u32,
                producer_state: EndState::Open as u32,
                consumer_state: EndState::Open as u32,
                tail: shape.start,
                head: shape.start,
            };
            assert_eq!(pair.info(1, pair.consumer), facts);
            let (out, back) = (pair.map(0, pair.producer), pair.map(1, pair.consumer));
            let kind_and_form = pair.realm.load(1, 1, back + 8).unwrap();
            let kind = shape.decode().unwrap().geometry.kind;
            assert_eq!(kind_and_form, kind as u64 | (form as u64) << 32);
            assert_eq!(pair.wait(1, shape.start, FOREVER), Ok(()));
            let next = shape.start.wrapping_add(1);
            assert_eq!(pair.wait(1, next, 0), Err(Error::WouldBlock));
            let tail = out + PRODUCER_OFFSET as u64;
            pair.realm.store(0, 0, tail, next.into()).unwrap();
            assert_eq!(pair.wait(1, next, FOREVER), Ok(()));
            assert_eq!(pair.info(0, pair.producer).tail, next);
            first_words(&pair, back, shape);
            pair.realm.finish();
        }
    }
}

/// Slots begin one lap behind, from wherever the ring begins; the other kinds begin empty.
fn first_words(pair: &Pair, view: u64, shape: RingGeometry) {
    let geometry = shape.decode().unwrap().geometry;
    let data = view + DATA_OFFSET as u64;
    if geometry.slot_size == 0 {
        assert_eq!(pair.realm.load(1, 1, data), Ok(0));
        let again = data + geometry.data_bytes();
        assert_eq!(pair.realm.load(1, 1, again), Ok(0));
    }
    for position in 0..geometry
        .capacity
        .min(u32::from(geometry.slot_size != 0) * 128)
    {
        let word = pair.realm.load(1, 1, data + geometry.slot_offset(position));
        assert_eq!(word, Ok(geometry.initial_word(shape.start, position)));
    }
}

#[test]
fn a_ring_beyond_the_quota_is_refused_and_leaves_nothing() {
    let quota = Resources {
        frames: 64,
        tables: 1 << 20,
        bytes: 1 << 30,
    };
    let realm = Realm::with_quotas(&[quota]);
    let before = (realm.used(0), realm.counts());
    for pages in [64, 128, 4096] {
        let geometry = RingGeometry::byte(pages * 4096).decode().unwrap().geometry;
        let made = realm.ipc.create_ring(&realm.domains[0], geometry);
        assert_eq!(made, Err(Error::Quota), "{pages} pages");
        assert_eq!((realm.used(0), realm.counts()), before);
    }
    let small = RingGeometry::byte(32 * 4096).decode().unwrap().geometry;
    assert!(realm.ipc.create_ring(&realm.domains[0], small).is_ok());
    realm.finish();
}

#[test]
fn a_ring_larger_than_memory_is_refused_and_leaves_nothing() {
    let pair = Pair::new();
    let (realm, before) = (&pair.realm, pair.realm.counts());
    for geometry in [
        Geometry::slot(65536, 1 << 31),
        RingGeometry::byte(1 << 31).decode().unwrap().geometry,
        RingGeometry::packet(1 << 31).decode().unwrap().geometry,
    ] {
        let made = realm.ipc.create_ring(&realm.domains[0], geometry);
        assert!(
            matches!(made, Err(Error::TooLarge | Error::NoMemory)),
            "{made:?}"
        );
    }
    assert_eq!(realm.counts(), before);
    assert_eq!(GEOMETRY.data_pages(), 2);
    pair.realm.finish();
}
