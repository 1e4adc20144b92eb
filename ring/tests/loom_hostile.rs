//! A peer that stores what it likes while the other end looks.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_hostile`
#![cfg(loom)]

use abi::ring::{End, Geometry, packet};
use loom::thread;
use ring::memory::Owner;
use ring::packet::{Consumer, Producer};
use ring::{Error, Polling};

const CAPACITY: u32 = 128;
const FAR: u32 = 1 << 30;

#[test]
fn a_tail_that_changes_between_two_looks_is_judged_by_the_one_that_is_used() {
    loom::model(|| {
        let owner = Owner::model(Geometry::packet(CAPACITY), 0, 0);
        let mut consumer = Consumer::attach(owner.consumer(), Polling).unwrap();
        let peer = thread::spawn(move || {
            owner.overwrite_index(End::Producer, packet::ALIGN);
            owner.overwrite_index(End::Producer, FAR);
        });
        for _ in 0..2 {
            match consumer.len() {
                Ok(length) => assert!(length <= packet::ALIGN, "{length} bytes in a ring"),
                Err(error) => assert_eq!(error, Error::PeerFault),
            }
        }
        peer.join().unwrap();
    });
}

#[test]
fn a_head_of_a_record_that_changes_is_judged_as_it_was_read() {
    loom::model(|| {
        let owner = Owner::model(Geometry::packet(CAPACITY), 0, 0);
        let mut consumer = Consumer::attach(owner.consumer(), Polling).unwrap();
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
fn a_head_of_the_ring_that_changes_is_judged_by_the_look_that_is_used() {
    loom::model(|| {
        let owner = Owner::model(Geometry::packet(CAPACITY), 0, 0);
        let mut producer = Producer::attach(owner.producer(), Polling).unwrap();
        for _ in 0..CAPACITY / packet::ALIGN {
            producer.try_send(0, &[]).unwrap();
        }
        let peer = thread::spawn(move || {
            owner.overwrite_index(End::Consumer, packet::ALIGN);
            owner.overwrite_index(End::Consumer, FAR);
        });
        for _ in 0..3 {
            match producer.try_send(0, &[]) {
                Ok(()) => {}
                Err(error) => assert!([Error::Full, Error::PeerFault].contains(&error)),
            }
            assert!(producer.len().unwrap_or(0) <= CAPACITY);
        }
        peer.join().unwrap();
    });
}
