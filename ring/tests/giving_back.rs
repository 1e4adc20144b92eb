//! When the consumer stores its head, whatever it remembers of the producer's word, and that nothing is believed for which
//! that leaves no room.
#![cfg(not(loom))]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use abi::ring::{DATA_OFFSET, Geometry, PRODUCER_OFFSET, sequence};
use common::{Polled, cases, polled_bytes, polled_packets, polled_ring, sleeping_ring, start};
use proptest::prelude::*;
use ring::index::is_armed;
use ring::{Error, packet};

/// Where in a view the head is that the producer waits for.
const WAITS_UNTIL: usize = PRODUCER_OFFSET + 128;

#[derive(Clone, Debug)]
enum Step {
    Send,
    Receive,
    Flush,
    /// The producer's word: so far ahead of the head that it was told, or behind.
    Wait(i32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Send),
        4 => Just(Step::Receive),
        1 => Just(Step::Flush),
        1 => (-3..25i32).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(cases(1000, 1))]

    #[test]
    fn the_head_is_stored_exactly_when_a_quarter_is_owed_or_waited_for(
        start in start(40),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let geometry = Geometry::slot(64, 16);
        let mut ring = sleeping_ring(geometry, start);
        let (mut tail, mut head, mut told, mut word) = (start, start, start, start);
        for step in steps {
            match step {
                Step::Send => {
                    let room = tail.wrapping_sub(told) < geometry.capacity;
                    prop_assert_eq!(ring.producer.try_send(&[]).is_ok(), room);
                    tail = tail.wrapping_add(room.into());
                }
                Step::Receive if head == tail => {
                    prop_assert!(ring.consumer.try_receive(&mut []).is_err());
                    told = head;
                }
                Step::Receive => {
                    prop_assert_eq!(ring.consumer.try_receive(&mut []), Ok(0));
                    head = head.wrapping_add(1);
                    let owed = head.wrapping_sub(told);
                    if owed >= geometry.capacity / 4 || is_armed(word, told, geometry.capacity) {
                        told = head;
                    }
                }
                Step::Flush => {
                    ring.consumer.flush();
                    told = head;
                }
                Step::Wait(ahead) => {
                    word = told.wrapping_add_signed(ahead);
                    ring.backing.overwrite(WAITS_UNTIL, word);
                }
            }
            prop_assert_eq!(ring.head(), told);
        }
    }
}

const SLOTS: Geometry = Geometry::slot(64, 8);
const BYTES: u32 = 4096;

#[test]
fn a_batch_is_at_most_a_ring_of_messages_however_fast_others_come() {
    for start in [0, u32::MAX - 10] {
        let Polled {
            mut producer,
            mut consumer,
            owner: _owner,
            backing: _backing,
        } = polled_ring(SLOTS, start);
        for _ in 0..3 {
            producer.try_send(b"first").unwrap();
            let batch = consumer.receive_batch(usize::MAX, |_| _ = producer.try_send(b"later"));
            assert_eq!(batch, Ok(8));
        }
        assert_eq!(consumer.try_receive(&mut []), Err(Error::Empty));
    }
    let mut ring = polled_packets(Geometry::packet(BYTES), 8);
    let producer = &mut ring.producer;
    for _ in 0..3 {
        producer.try_send(0, &[]).unwrap();
        let batch = ring.consumer.receive_batch(usize::MAX, |_, _| {
            _ = producer.try_send(1, &[]);
        });
        assert_eq!(batch, Ok(BYTES as usize / 8));
    }
    assert_eq!(ring.consumer.try_receive(&mut []), Err(Error::Empty));
}

#[test]
fn a_batch_ends_at_the_first_message_that_an_honest_producer_has_no_room_for() {
    let publish = |ring: &common::Backing, index: u32| {
        let slot = DATA_OFFSET + SLOTS.slot_offset(index % SLOTS.capacity) as usize;
        ring.overwrite(slot + 4, 0);
        ring.overwrite(slot, sequence(index));
    };
    for held_back in [0, 1] {
        let mut ring = polled_ring(SLOTS, 0);
        for index in 0..held_back {
            publish(&ring.backing, index);
            assert_eq!(ring.consumer.try_receive(&mut []), Ok(0));
        }
        // It is always one ahead, and gives up in the end, so that a batch without end is seen and not waited for.
        let mut next = held_back;
        publish(&ring.backing, next);
        let batch = ring.consumer.receive_batch(usize::MAX, |_| {
            next += 1;
            if next < 4 * SLOTS.capacity {
                publish(&ring.backing, next);
            }
        });
        assert_eq!(batch, Ok((SLOTS.capacity - held_back) as usize));
        assert_eq!(ring.consumer.try_receive(&mut []), Err(Error::PeerFault));
    }
    let mut ring = polled_packets(Geometry::packet(BYTES), 0);
    let mut tail = 8;
    ring.backing.overwrite(PRODUCER_OFFSET, tail);
    let batch = ring.consumer.receive_batch(usize::MAX, |_, _| {
        tail = (tail + 8).min(4 * BYTES);
        ring.backing.overwrite(PRODUCER_OFFSET, tail);
    });
    assert_eq!(batch, Ok(BYTES as usize / 8));
    assert_eq!(ring.consumer.try_receive(&mut []), Err(Error::PeerFault));
}

/// Has a consumer receive something that it does not give back, moves the tail as far as an honest producer can, or
/// one too far, and asks the consumer.
macro_rules! believes {
    ($ring:expr, $send:expr, $receive:expr, $tail:expr, $ask:expr) => {{
        let mut ring = $ring;
        $send(&mut ring.producer);
        $receive(&mut ring.consumer);
        ring.backing.overwrite(PRODUCER_OFFSET, $tail);
        $ask(&mut ring.consumer)
    }};
}

#[test]
fn no_tail_is_believed_that_is_a_ring_ahead_of_what_was_received_and_not_of_what_was_given_back() {
    type Packets = packet::Consumer<ring::Polling>;
    for too_far in [0, 1] {
        let answer = |there| match too_far {
            0 => Ok(there),
            _ => Err(Error::PeerFault),
        };
        let count = believes!(
            polled_ring(SLOTS, 0),
            |producer: &mut ring::slot::Producer<_>| producer.try_send(&[]).unwrap(),
            |consumer: &mut ring::slot::Consumer<_>| consumer.try_receive(&mut []).unwrap(),
            SLOTS.capacity + too_far,
            |consumer: &mut ring::slot::Consumer<_>| consumer.len()
        );
        assert_eq!(count, answer(SLOTS.capacity - 1));
        let passed = |ask: fn(&mut Packets) -> Result<u32, Error>| {
            believes!(
                polled_packets(Geometry::packet(BYTES), 0),
                |producer: &mut packet::Producer<_>| producer.try_send(0, &[]).unwrap(),
                |consumer: &mut Packets| consumer.try_receive(&mut []).unwrap(),
                BYTES + 8 * too_far,
                ask
            )
        };
        assert_eq!(passed(|consumer| consumer.len()), answer(BYTES - 8));
        // By the short way, and by the one that judges.
        let received =
            |consumer: &mut Packets| consumer.try_receive(&mut []).map(|(_, there)| there as u32);
        assert_eq!(passed(received), answer(0));
        assert_eq!(passed(|consumer| consumer.peek().map(|_| 0)), answer(0));
        let read = believes!(
            polled_bytes(Geometry::byte(BYTES), 0),
            |producer: &mut ring::byte::Producer<_>| producer.try_write(b"x").unwrap(),
            |consumer: &mut ring::byte::Consumer<_>| consumer.try_read(&mut [0]).unwrap(),
            BYTES + too_far,
            |consumer: &mut ring::byte::Consumer<_>| consumer.try_read(&mut [0; 5])
        );
        assert_eq!(read, answer(5).map(|there| there as usize));
    }
}

#[test]
fn a_batch_that_panics_gives_back_what_was_received_before() {
    let mut ring = polled_ring(SLOTS, 0);
    for _ in 0..SLOTS.capacity {
        ring.producer.try_send(&[]).unwrap();
    }
    let mut left = 5;
    let batch = || {
        ring.consumer.receive_batch(usize::MAX, |_| {
            left -= 1;
            assert!(left > 0, "of the caller");
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(batch)).is_err());
    assert_eq!(ring.producer.len(), Ok(SLOTS.capacity - 4));
    assert_eq!(ring.consumer.len(), Ok(SLOTS.capacity - 4));
}
