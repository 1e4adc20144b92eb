//! A SLOT ring against a queue, and against a peer that writes anything anywhere.
#![cfg(not(loom))]

mod common;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use abi::ring::{
    CONSUMER_OFFSET, DATA_OFFSET, End, Geometry, HEADER_OFFSET, Header, PRODUCER_OFFSET,
};
use common::{cases, polled_ring, start};
use proptest::prelude::*;
use ring::Error;

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    Batch(Vec<Vec<u8>>),
    Reserve(usize, usize),
    Receive,
    Peek,
    Flush,
    Count,
    Overwrite { word: usize, value: u32 },
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..70)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => bytes().prop_map(Step::Send),
        1 => prop::collection::vec(bytes(), 0..5).prop_map(Step::Batch),
        1 => (0usize..70, 0usize..70).prop_map(|(reserved, used)| Step::Reserve(reserved, used)),
        4 => Just(Step::Receive),
        1 => Just(Step::Peek),
        1 => Just(Step::Flush),
        1 => Just(Step::Count),
    ]
}

fn hostile_step() -> impl Strategy<Value = Step> {
    let near = prop_oneof![
        any::<u32>(),
        0u32..40,
        (0u32..40).prop_map(|below| u32::MAX - below)
    ];
    prop_oneof![
        2 => step(),
        1 => (any::<usize>(), near).prop_map(|(word, value)| Step::Overwrite { word, value }),
    ]
}

fn geometry() -> impl Strategy<Value = Geometry> {
    (prop::sample::select(vec![64, 128]), 0u32..5)
        .prop_map(|(size, shift)| Geometry::slot(size, 1 << shift))
}

proptest! {
    #![proptest_config(cases(2000, 2))]

    #[test]
    fn a_ring_is_a_bounded_queue(geometry in geometry(), start in start(40), steps in prop::collection::vec(step(), 1..200)) {
        let mut ring = polled_ring(geometry, start);
        let mut model = VecDeque::new();
        let most = geometry.max_message_bytes();
        // The producer learns of free slots late, so `Full` is checked against what it can know.
        for step in steps {
            match step {
                Step::Send(bytes) => match ring.producer.try_send(&bytes) {
                    Ok(()) => model.push_back(bytes),
                    Err(Error::TooLarge) => prop_assert!(bytes.len() > most),
                    Err(error) => {
                        prop_assert_eq!(error, Error::Full);
                        let told = ring.owner.index(End::Producer).wrapping_sub(ring.owner.index(End::Consumer));
                        prop_assert_eq!(told, geometry.capacity);
                    }
                },
                Step::Batch(batch) => {
                    let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
                    if let Ok(sent) = ring.producer.send_batch(&slices) {
                        model.extend(batch.into_iter().take(sent));
                    }
                }
                Step::Reserve(reserved, used) => {
                    if let Ok(mut reservation) = ring.producer.reserve(reserved) {
                        reservation.as_mut_slice().fill(used as u8);
                        if reservation.commit(used).is_ok() {
                            model.push_back(vec![used as u8; used]);
                        }
                    }
                }
                Step::Receive => {
                    let mut bytes = vec![0; most];
                    let received = ring.consumer.try_receive(&mut bytes).map(|length| bytes[..length].to_vec());
                    prop_assert_eq!(received, model.pop_front().ok_or(Error::Empty));
                }
                Step::Peek => match ring.consumer.peek() {
                    Ok(message) => prop_assert_eq!(Some(message.len()), model.front().map(Vec::len)),
                    Err(error) => prop_assert_eq!((error, model.len()), (Error::Empty, 0)),
                },
                Step::Flush => ring.consumer.flush(),
                Step::Count => prop_assert_eq!(ring.consumer.len(), Ok(model.len() as u32)),
                Step::Overwrite { .. } => unreachable!("only a hostile peer does"),
            }
            let free = geometry.capacity as usize - model.len();
            prop_assert!(ring.producer.len().unwrap() as usize >= geometry.capacity as usize - free);
        }
    }

    #[test]
    fn whatever_the_peer_writes_is_answered(geometry in geometry(), start in start(40), steps in prop::collection::vec(hostile_step(), 1..200)) {
        let mut ring = polled_ring(geometry, start);
        let most = geometry.max_message_bytes();
        let mut words = vec![
            HEADER_OFFSET + Header::state_offset(End::Producer),
            HEADER_OFFSET + Header::state_offset(End::Consumer),
            PRODUCER_OFFSET,
            PRODUCER_OFFSET + 128,
            CONSUMER_OFFSET,
            CONSUMER_OFFSET + 128,
        ];
        for position in 0..geometry.capacity {
            let slot = DATA_OFFSET + geometry.slot_offset(position) as usize;
            words.extend([slot, slot + 4, slot + 8]);
        }
        let (mut producer_poisoned, mut consumer_poisoned) = (false, false);
        for step in steps {
            match step {
                Step::Send(bytes) => _ = ring.producer.try_send(&bytes),
                Step::Batch(batch) => {
                    let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
                    _ = ring.producer.send_batch(&slices);
                }
                Step::Reserve(reserved, used) => {
                    if let Ok(mut reservation) = ring.producer.reserve(reserved) {
                        prop_assert_eq!(reservation.as_mut_slice().len(), reserved);
                        _ = reservation.commit(used);
                    }
                }
                Step::Receive => {
                    let mut bytes = vec![0; most];
                    if let Ok(length) = ring.consumer.try_receive(&mut bytes) {
                        prop_assert!(length <= most);
                    }
                }
                Step::Peek => {
                    if let Ok(message) = ring.consumer.peek() {
                        prop_assert!(message.len() <= most);
                        let mut bytes = vec![0; message.len()];
                        prop_assert_eq!(message.read(0, &mut bytes), Ok(()));
                    }
                }
                Step::Flush => ring.consumer.flush(),
                Step::Count => {
                    let (sent, there) = (ring.producer.len(), ring.consumer.len());
                    prop_assert!(sent.unwrap_or(0) <= geometry.capacity);
                    prop_assert!(there.unwrap_or(0) <= geometry.capacity);
                    // Only a peer's word makes counting fail, and then for good.
                    prop_assert!(sent.is_err() || !producer_poisoned);
                    prop_assert!(there.is_err() || !consumer_poisoned);
                    (producer_poisoned, consumer_poisoned) = (sent.is_err(), there.is_err());
                    if producer_poisoned {
                        prop_assert_eq!(ring.producer.try_send(&[]), Err(Error::PeerFault));
                    }
                    if consumer_poisoned {
                        prop_assert_eq!(ring.consumer.try_receive(&mut []), Err(Error::PeerFault));
                    }
                }
                Step::Overwrite { word, value } => {
                    ring.backing.overwrite(words[word % words.len()], value);
                }
            }
        }
    }
}

#[test]
fn a_head_that_goes_back_or_ahead_of_the_tail_poisons_the_producer_for_good() {
    for wrong in [99, 105, 0, u32::MAX] {
        let mut ring = polled_ring(Geometry::slot(64, 4), 100);
        let head = ring.backing.word(CONSUMER_OFFSET);
        for _ in 0..4 {
            ring.producer.try_send(&[]).unwrap();
        }
        head.store(wrong, Ordering::Relaxed);
        assert_eq!(ring.producer.try_send(&[]), Err(Error::PeerFault));
        head.store(104, Ordering::Relaxed);
        assert_eq!(ring.producer.try_send(&[]), Err(Error::PeerFault));
        assert_eq!(ring.producer.len(), Err(Error::PeerFault));
    }
}

#[test]
fn a_sequence_of_neither_lap_or_a_length_beyond_the_slot_poisons_the_consumer_for_good() {
    for (sequence, length) in [(102, 0), (98, 0), (0, 0), (101, 57), (101, u32::MAX)] {
        let mut ring = polled_ring(Geometry::slot(64, 4), 100);
        ring.backing.overwrite(DATA_OFFSET + 4, length);
        ring.backing.overwrite(DATA_OFFSET, sequence);
        assert_eq!(
            ring.consumer.try_receive(&mut [0; 56]),
            Err(Error::PeerFault)
        );
        ring.backing.overwrite(DATA_OFFSET, 97);
        assert_eq!(
            ring.consumer.try_receive(&mut [0; 56]),
            Err(Error::PeerFault)
        );
        assert_eq!(ring.consumer.len(), Err(Error::PeerFault));
    }
}
