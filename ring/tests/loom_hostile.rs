//! A peer that stores what it likes while the other end looks: each word of it is read once, and that is the one that counts.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_hostile`
#![cfg(loom)]

use abi::ring::{End, Geometry, packet, sequence, slot_word};
use loom::thread;
use ring::byte::Byte;
use ring::memory::Owner;
use ring::packet::Packet;
use ring::slot::Slot;
use ring::{Consumer, Error, Polling, Producer, RingKind};

const CAPACITY: u32 = 128;
const FAR: u32 = 1 << 30;

fn model(geometry: Geometry) -> Owner {
    Owner::model(geometry, 0, 1)
}

/// The peer tells of as much as can be, and then of what can't be.
fn tail_changes<K: RingKind>(geometry: Geometry, one: u32) {
    loom::model(move || {
        let owner = model(geometry);
        let mut consumer = Consumer::<K, _>::attach(owner.consumer(), Polling).unwrap();
        let peer = thread::spawn(move || {
            owner.overwrite_index(End::Producer, one);
            owner.overwrite_index(End::Producer, FAR);
        });
        for _ in 0..2 {
            match consumer.len() {
                Ok(length) => assert!(length <= one, "{length} in a ring of {geometry:?}"),
                Err(error) => assert_eq!(error, Error::PeerFault),
            }
        }
        peer.join().unwrap();
    });
}

#[test]
fn a_tail_that_changes_between_two_looks_is_judged_by_the_one_that_is_used() {
    tail_changes::<Packet>(Geometry::packet(CAPACITY), packet::ALIGN);
}

#[test]
fn a_tail_of_bytes_that_changes_is_judged_by_the_look_that_is_used() {
    tail_changes::<Byte>(Geometry::byte(CAPACITY), 1);
}

#[test]
fn a_tail_of_slots_that_changes_is_judged_by_the_look_that_is_used() {
    tail_changes::<Slot>(Geometry::slot(64, 4), 1);
}

#[test]
fn a_head_of_a_record_that_changes_is_judged_as_it_was_read() {
    loom::model(|| {
        let owner = model(Geometry::packet(CAPACITY));
        let mut consumer = Consumer::<Packet, _>::attach(owner.consumer(), Polling).unwrap();
        owner.overwrite_word(0, packet::head(8, 1));
        owner.overwrite_index(End::Producer, 16);
        let peer = thread::spawn(move || {
            owner.overwrite_word(0, packet::head(u32::MAX, 2));
            owner.overwrite_word(0, packet::head(0, 3));
        });
        let mut target = [0; CAPACITY as usize];
        match consumer.try_receive(&mut target) {
            Ok(received) => assert!([(1, 8), (3, 0)].contains(&received), "{received:?}"),
            Err(error) => assert_eq!(error, Error::PeerFault),
        }
        peer.join().unwrap();
    });
}

#[test]
fn a_word_of_a_slot_that_changes_is_judged_as_it_was_read() {
    loom::model(|| {
        let owner = model(Geometry::slot(64, 1));
        let mut consumer = Consumer::<Slot, _>::attach(owner.consumer(), Polling).unwrap();
        let peer = thread::spawn(move || {
            owner.overwrite_word(0, slot_word(sequence(0), 8));
            owner.overwrite_word(0, slot_word(sequence(0), u32::MAX));
        });
        match consumer.try_receive(&mut [0; 16]) {
            Ok(length) => assert_eq!(length, 8),
            Err(error) => assert!([Error::Empty, Error::PeerFault].contains(&error), "{error}"),
        }
        peer.join().unwrap();
    });
}

/// A ring is filled, by messages of `one` each, and then the peer tells of a head that can be and of one that can't.
fn head_changes<K: RingKind>(
    geometry: Geometry,
    one: u32,
    send: impl Fn(&mut Producer<K, Polling>) -> Result<(), Error> + Send + Sync + 'static,
) {
    loom::model(move || {
        let owner = model(geometry);
        let mut producer = Producer::<K, _>::attach(owner.producer(), Polling).unwrap();
        for _ in 0..geometry.capacity / one {
            send(&mut producer).unwrap();
        }
        let peer = thread::spawn(move || {
            owner.overwrite_index(End::Consumer, one);
            owner.overwrite_index(End::Consumer, FAR);
        });
        for _ in 0..3 {
            match send(&mut producer) {
                Ok(()) => {}
                Err(error) => assert!([Error::Full, Error::PeerFault].contains(&error), "{error}"),
            }
            assert!(producer.len().unwrap_or(0) <= geometry.capacity);
        }
        peer.join().unwrap();
    });
}

#[test]
fn a_head_of_the_ring_that_changes_is_judged_by_the_look_that_is_used() {
    head_changes::<Packet>(Geometry::packet(CAPACITY), packet::ALIGN, |producer| {
        producer.try_send(0, &[])
    });
}

#[test]
fn a_head_of_bytes_that_changes_is_judged_by_the_look_that_is_used() {
    head_changes::<Byte>(Geometry::byte(16), 8, |producer| {
        producer.try_write(&[0; 8]).map(drop)
    });
}

#[test]
fn a_head_of_slots_that_changes_is_judged_by_the_look_that_is_used() {
    head_changes::<Slot>(Geometry::slot(64, 2), 1, |producer| producer.try_send(&[]));
}
