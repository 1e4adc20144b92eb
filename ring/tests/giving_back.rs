//! When the consumer stores its head: what it remembers of the producer's word changes nothing of it.
#![cfg(not(loom))]

mod common;

use abi::ring::{Geometry, PRODUCER_OFFSET};
use common::{cases, sleeping_ring, start};
use proptest::prelude::*;
use ring::index::is_armed;

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
