//! PACKET and BYTE rings against plain queues.
#![cfg(not(loom))]

mod common;

use std::collections::VecDeque;

use abi::ring::{End, Geometry, packet};
use common::{cases, polled_bytes, polled_packets, start};
use proptest::prelude::*;
use ring::Error;

/// What is done, with a length in bytes.
#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Batch(Vec<usize>),
    Reserve { reserved: usize, used: usize },
    Receive(usize),
    ReceiveBatch(usize),
    Peek(usize),
    Flush,
    Attach,
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0usize..80, 2 => 200usize..600, 1 => 0usize..5000]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => length().prop_map(Step::Send),
        1 => prop::collection::vec(length(), 0..5).prop_map(Step::Batch),
        2 => (length(), length()).prop_map(|(reserved, used)| Step::Reserve { reserved, used }),
        4 => length().prop_map(Step::Receive),
        1 => (0usize..9).prop_map(Step::ReceiveBatch),
        1 => length().prop_map(Step::Peek),
        1 => Just(Step::Flush),
        1 => Just(Step::Attach),
    ]
}

fn geometry() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![4096, 8192])
}

fn bytes(length: usize, step: usize) -> Vec<u8> {
    (0..length)
        .map(|byte| (byte * 31 + step * 7) as u8)
        .collect()
}

proptest! {
    #![proptest_config(cases(1000, 1))]

    #[test]
    fn a_packet_ring_is_a_queue_of_messages(capacity in geometry(), start in start(9000), steps in prop::collection::vec(step(), 1..if cfg!(miri) { 30 } else { 150 })) {
        let start = start / packet::ALIGN * packet::ALIGN;
        let mut ring = polled_packets(Geometry::packet(capacity), start);
        let mut queue: VecDeque<(u32, Vec<u8>)> = VecDeque::new();
        let most = ring.producer.max_message_bytes();
        for (number, step) in steps.into_iter().enumerate() {
            let tag = number as u32;
            match step {
                Step::Send(length) => match ring.producer.try_send(tag, &bytes(length, number)) {
                    Ok(()) => queue.push_back((tag, bytes(length, number))),
                    Err(Error::TooLarge) => prop_assert!(length > most),
                    Err(error) => {
                        prop_assert_eq!(error, Error::Full);
                        // It is full as far as the producer has been told.
                        let told = ring.owner.index(End::Producer).wrapping_sub(ring.owner.index(End::Consumer));
                        prop_assert!(told + ring.producer.bytes_of_ring(length).unwrap() > capacity);
                    }
                },
                Step::Batch(lengths) => {
                    let batch: Vec<Vec<u8>> = lengths.iter().map(|length| bytes(*length, number)).collect();
                    // Those that fit, as far as the producer has been told of room; or why the first does not.
                    let mut at = ring.owner.index(End::Producer);
                    let beyond = ring.owner.index(End::Consumer).wrapping_add(capacity);
                    let mut fitting = Ok(0);
                    for (number, length) in lengths.into_iter().enumerate() {
                        let extent = packet::extent(at, length as u32);
                        let answer = match length > most {
                            true => Err(Error::TooLarge),
                            false if extent > beyond.wrapping_sub(at) => Err(Error::Full),
                            false => Ok(number + 1),
                        };
                        if answer.is_ok() || number == 0 {
                            fitting = answer;
                        }
                        if answer.is_err() {
                            break;
                        }
                        at = at.wrapping_add(extent);
                    }
                    let messages = batch.iter().map(|bytes| (tag, bytes.as_slice()));
                    let sent = ring.producer.send_batch(messages);
                    prop_assert_eq!(sent, fitting);
                    if let Ok(sent) = sent {
                        queue.extend(batch.into_iter().take(sent).map(|bytes| (tag, bytes)));
                    }
                }
                Step::Reserve { reserved, used } => {
                    if let Ok(mut reservation) = ring.producer.reserve(reserved) {
                        reservation.as_mut_slice().copy_from_slice(&bytes(reserved, number));
                        match reservation.commit_first(tag, used) {
                            Ok(()) => queue.push_back((tag, bytes(reserved, number)[..used].to_vec())),
                            Err(error) => prop_assert!(error == Error::TooLarge && used > reserved),
                        }
                    }
                }
                Step::Receive(room) => {
                    let mut target = vec![0; room];
                    match ring.consumer.try_receive(&mut target) {
                        Ok((tag, length)) => prop_assert_eq!(Some((tag, target[..length].to_vec())), queue.pop_front()),
                        Err(Error::TooLarge) => prop_assert!(queue.front().is_some_and(|(_, bytes)| bytes.len() > room)),
                        Err(error) => prop_assert_eq!((error, queue.len()), (Error::Empty, 0)),
                    }
                }
                Step::ReceiveBatch(most) => {
                    let mut received = Vec::new();
                    let answer = ring.consumer.receive_batch(most, |tag, shared| {
                        let mut target = vec![0; shared.len()];
                        shared.copy_to(&mut target).unwrap();
                        received.push((tag, target));
                    });
                    let expected: Vec<_> = queue.drain(..most.min(queue.len())).collect();
                    prop_assert_eq!(answer.unwrap_or(0), expected.len());
                    prop_assert_eq!(received, expected);
                }
                Step::Peek(_) => match ring.consumer.peek() {
                    Ok(message) => prop_assert_eq!(Some((message.tag(), message.len())), queue.front().map(|(tag, bytes)| (*tag, bytes.len()))),
                    Err(error) => prop_assert_eq!((error, queue.len()), (Error::Empty, 0)),
                },
                Step::Flush => ring.consumer.flush(),
                Step::Attach => {
                    ring.consumer.flush();
                    ring.producer = ring::packet::Producer::attach(ring.backing.producer_memory(), ring::Polling).unwrap();
                    ring.consumer = ring::packet::Consumer::attach(ring.backing.consumer_memory(), ring::Polling).unwrap();
                }
            }
            prop_assert_eq!(ring.consumer.is_empty(), Ok(queue.is_empty()));
        }
        while let Some(expected) = queue.pop_front() {
            let mut target = vec![0; most];
            let (tag, length) = ring.consumer.try_receive(&mut target).unwrap();
            prop_assert_eq!((tag, target[..length].to_vec()), expected);
        }
        // An empty ring has room for anything that can be, wherever it stands.
        prop_assert_eq!(ring.consumer.try_receive(&mut []), Err(Error::Empty));
        prop_assert_eq!(ring.producer.try_send(0, &vec![1; most]), Ok(()));
    }

    #[test]
    fn a_byte_ring_is_a_queue_of_bytes(capacity in geometry(), start in start(9000), steps in prop::collection::vec(step(), 1..if cfg!(miri) { 30 } else { 150 })) {
        let mut ring = polled_bytes(Geometry::byte(capacity), start);
        let mut queue: VecDeque<u8> = VecDeque::new();
        for (number, step) in steps.into_iter().enumerate() {
            let told = ring.owner.index(End::Producer).wrapping_sub(ring.owner.index(End::Consumer));
            let free = (capacity - told) as usize;
            match step {
                Step::Send(length) => match ring.producer.try_write(&bytes(length, number)) {
                    Ok(written) => {
                        prop_assert_eq!(written, length.min(free));
                        queue.extend(&bytes(length, number)[..written]);
                    }
                    Err(error) => prop_assert_eq!((error, free), (Error::Full, 0)),
                },
                Step::Batch(lengths) => {
                    let all: Vec<u8> = lengths.iter().flat_map(|length| bytes(*length, number)).collect();
                    let written = match ring.producer.write_all(&all, 0) {
                        Ok(()) => all.len(),
                        Err(stopped) => {
                            prop_assert_eq!(stopped.error, Error::Full);
                            stopped.done
                        }
                    };
                    prop_assert_eq!(written, all.len().min(free));
                    queue.extend(&all[..written]);
                }
                Step::Reserve { reserved, used } => match ring.producer.reserve(reserved) {
                    Ok(mut reservation) => {
                        prop_assert!(reserved <= free);
                        reservation.as_mut_slice().copy_from_slice(&bytes(reserved, number));
                        if reservation.commit(used).is_ok() {
                            queue.extend(&bytes(reserved, number)[..used]);
                        }
                    }
                    Err(Error::TooLarge) => prop_assert!(reserved > capacity as usize),
                    Err(error) => prop_assert!(error == Error::Full && reserved > free),
                },
                Step::Receive(room) => {
                    let mut target = vec![0; room];
                    match ring.consumer.try_read(&mut target) {
                        Ok(read) => {
                            prop_assert_eq!(read, room.min(queue.len()));
                            prop_assert!(queue.drain(..read).eq(target[..read].iter().copied()));
                        }
                        Err(error) => prop_assert_eq!((error, queue.len()), (Error::Empty, 0)),
                    }
                }
                Step::ReceiveBatch(most) | Step::Peek(most) => match ring.consumer.peek(most) {
                    Ok(chunk) => {
                        let length = chunk.len();
                        prop_assert_eq!(length, most.min(queue.len()));
                        let mut target = vec![0; length];
                        chunk.bytes().copy_to(&mut target).unwrap();
                        prop_assert!(queue.iter().take(length).eq(&target));
                        chunk.release(length / 2).unwrap();
                        queue.drain(..length / 2);
                    }
                    Err(error) => prop_assert_eq!((error, queue.len()), (Error::Empty, 0)),
                },
                Step::Flush => ring.consumer.flush(),
                Step::Attach => {
                    ring.consumer.flush();
                    ring.producer = ring::byte::Producer::attach(ring.backing.producer_memory(), ring::Polling).unwrap();
                    ring.consumer = ring::byte::Consumer::attach(ring.backing.consumer_memory(), ring::Polling).unwrap();
                }
            }
            prop_assert_eq!(ring.consumer.len(), Ok(queue.len() as u32));
        }
    }
}
