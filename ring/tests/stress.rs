//! Both ends on threads of their own.
#![cfg(not(loom))]

mod common;

use std::thread;

use abi::ring::{End, EndState, Geometry};
use common::{sleeping_bytes, sleeping_packets, sleeping_ring};
use ring::Error;

const MESSAGES: u64 = if cfg!(miri) { 60 } else { 200_000 };

fn message(number: u64) -> [u8; 16] {
    let check = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&check.to_le_bytes());
    bytes
}

fn pass_everything(geometry: Geometry, thresholds: (u32, u32)) {
    let mut ring = sleeping_ring(geometry, u32::MAX - 1000);
    ring.producer.set_wake_threshold(thresholds.0).unwrap();
    ring.consumer.set_wake_threshold(thresholds.1).unwrap();
    let kernel = ring.kernel.clone();
    let mut producer = ring.producer;
    let mut consumer = ring.consumer;
    let sender = thread::spawn(move || {
        for number in 0..MESSAGES {
            let bytes = message(number);
            producer
                .send(&bytes[..8 + (number % 9) as usize], u64::MAX)
                .unwrap();
        }
        kernel.close(End::Producer, EndState::Draining);
    });
    let mut bytes = [0; 56];
    for number in 0..MESSAGES {
        let length = consumer.receive(&mut bytes, u64::MAX).unwrap();
        assert_eq!(
            bytes[..length],
            message(number)[..8 + (number % 9) as usize]
        );
    }
    assert_eq!(
        consumer.receive(&mut bytes, u64::MAX),
        Err(Error::PeerClosed)
    );
    sender.join().unwrap();
}

#[test]
fn one_slot_passes_everything_in_order() {
    pass_everything(Geometry::slot(64, 1), (1, 1));
}

#[test]
fn a_small_ring_passes_everything_in_order() {
    pass_everything(Geometry::slot(64, 8), (1, 1));
}

#[test]
fn thresholds_lose_nothing_and_nobody_sleeps_for_ever() {
    pass_everything(Geometry::slot(64, 64), (32, 32));
}

#[test]
fn packets_of_all_lengths_pass_in_order() {
    let mut ring = sleeping_packets(Geometry::packet(4096), u32::MAX - 1007);
    ring.producer.set_wake_threshold(1024).unwrap();
    let count = if cfg!(miri) { 40 } else { 100_000u32 };
    let length = |number: u32| (number.wrapping_mul(0x9e37_79b9) >> 23) as usize;
    let kernel = ring.kernel.clone();
    let (mut producer, mut consumer) = (ring.producer, ring.consumer);
    let sender = thread::spawn(move || {
        for number in 0..count {
            let bytes = [number as u8; 512];
            producer
                .send(number, &bytes[..length(number)], u64::MAX)
                .unwrap();
        }
        kernel.close(End::Producer, EndState::Draining);
    });
    let mut bytes = [0; 512];
    for number in 0..count {
        let received = consumer.receive(&mut bytes, u64::MAX);
        assert_eq!(received, Ok((number, length(number))));
        let expected = [number as u8; 512];
        assert_eq!(bytes[..length(number)], expected[..length(number)]);
    }
    let answer = consumer.receive(&mut bytes, u64::MAX);
    assert_eq!(answer, Err(Error::PeerClosed));
    sender.join().unwrap();
}

#[test]
fn a_stream_passes_in_pieces_that_have_nothing_to_do_with_one_another() {
    let mut ring = sleeping_bytes(Geometry::byte(4096), u32::MAX - 999);
    ring.producer.set_wake_threshold(700).unwrap();
    let total = if cfg!(miri) { 6_000 } else { 8_000_000usize };
    let byte = |at: usize| (at ^ (at >> 8) ^ (at >> 16)) as u8;
    let kernel = ring.kernel.clone();
    let (mut producer, mut consumer) = (ring.producer, ring.consumer);
    let writer = thread::spawn(move || {
        let (mut written, mut piece) = (0, 1);
        while written < total {
            piece = (piece * 7 + 3) % 6007;
            let end = (written + piece).min(total);
            let bytes: Vec<u8> = (written..end).map(byte).collect();
            producer.write_all(&bytes, u64::MAX).unwrap();
            written = end;
        }
        kernel.close(End::Producer, EndState::Draining);
    });
    let (mut read, mut piece) = (0, 1);
    let mut bytes = [0; 5003];
    let end = loop {
        piece = (piece * 5 + 1) % 5003;
        match consumer.read(&mut bytes[..piece.max(1)], u64::MAX) {
            Ok(count) => {
                assert!(
                    (read..)
                        .map(byte)
                        .zip(&bytes[..count])
                        .all(|(one, other)| one == *other)
                );
                read += count;
            }
            Err(error) => break error,
        }
    };
    assert_eq!((read, end), (total, Error::PeerClosed));
    writer.join().unwrap();
}

#[test]
fn closing_wakes_both_ends() {
    let mut ring = sleeping_ring(Geometry::slot(64, 1), 0);
    let kernel = ring.kernel.clone();
    let closer = thread::spawn(move || {
        while kernel.sleeps_of(End::Consumer) == 0 {
            thread::yield_now();
        }
        kernel.close(End::Producer, EndState::Closed);
    });
    assert_eq!(
        ring.consumer.receive(&mut [0; 56], u64::MAX),
        Err(Error::PeerDied)
    );
    closer.join().unwrap();

    let mut ring = sleeping_ring(Geometry::slot(64, 1), 0);
    ring.producer.try_send(&[]).unwrap();
    let kernel = ring.kernel.clone();
    let closer = thread::spawn(move || {
        while kernel.sleeps_of(End::Producer) == 0 {
            thread::yield_now();
        }
        kernel.close(End::Consumer, EndState::Revoked);
    });
    assert_eq!(ring.producer.send(&[], u64::MAX), Err(Error::Revoked));
    closer.join().unwrap();
}
