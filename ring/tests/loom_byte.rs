//! Every interleaving of both ends of a BYTE ring, with the kernel's part as a lock and a queue.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_byte`
#![cfg(loom)]

mod loom_kernel;

use abi::ring::{End, EndState, Geometry};
use loom::sync::Arc;
use loom::thread;
use loom_kernel::{Calls, FOREVER, Kernel, ends, explore};
use ring::byte::{Consumer, Producer};
use ring::memory::Owner;
use ring::{Error, Polling, Unfinished};

const CAPACITY: u32 = 8;
/// The stream goes over the end of the data, and its index over 2^32.
const START: u32 = u32::MAX - 1;

fn ring() -> (Producer<Calls>, Consumer<Calls>, Arc<Kernel>) {
    ends(&Owner::model(Geometry::byte(CAPACITY), START, 0))
}

#[test]
fn bytes_that_are_there_are_the_ones_that_were_written() {
    explore(3, || {
        let owner = Owner::model(Geometry::byte(CAPACITY), START, 0);
        let mut producer = Producer::attach(owner.producer(), Polling).unwrap();
        let mut consumer = Consumer::attach(owner.consumer(), Polling).unwrap();
        let writer = thread::spawn(move || {
            let stream: [u8; 12] = core::array::from_fn(|byte| byte as u8 + 1);
            let mut written = producer.try_write(&stream[..5]).unwrap();
            for _ in 0..2 {
                match producer.try_write(&stream[written..]) {
                    Ok(count) => written += count,
                    Err(error) => return assert_eq!(error, Error::Full),
                }
            }
        });
        let mut next = 1;
        for _ in 0..3 {
            let mut target = [0; 4];
            match consumer.try_read(&mut target) {
                Ok(count) => {
                    for byte in &target[..count] {
                        assert_eq!(*byte, next);
                        next += 1;
                    }
                }
                Err(error) => assert_eq!(error, Error::Empty),
            }
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_sleeping_reader_is_always_woken() {
    explore(4, || {
        let (mut producer, mut consumer, kernel) = ring();
        let writing = kernel.clone();
        let writer = thread::spawn(move || {
            assert_eq!(producer.try_write(b"ab"), Ok(2));
            assert_eq!(producer.try_write(b"c"), Ok(1));
            writing.finish(End::Producer);
        });
        let mut target = [0; 3];
        assert_eq!(consumer.read_exact(&mut target, FOREVER), Ok(()));
        assert_eq!(&target, b"abc");
        kernel.finish(End::Consumer);
        writer.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
    });
}

#[test]
fn a_writer_and_a_reader_always_wake_each_other() {
    explore(3, || {
        let (mut producer, mut consumer, kernel) = ring();
        let writing = kernel.clone();
        let writer = thread::spawn(move || {
            assert_eq!(producer.write_all(b"0123456789", FOREVER), Ok(()));
            writing.finish(End::Producer);
        });
        let mut target = [0; 10];
        assert_eq!(consumer.read_exact(&mut target, FOREVER), Ok(()));
        assert_eq!(&target, b"0123456789");
        kernel.finish(End::Consumer);
        writer.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
    });
}

#[test]
fn the_stream_ends_behind_its_last_byte() {
    explore(4, || {
        let (mut producer, mut consumer, kernel) = ring();
        let writer = thread::spawn(move || {
            assert_eq!(producer.try_write(b"end"), Ok(3));
            kernel.close(End::Producer, EndState::Draining);
        });
        let mut target = [0; 4];
        let answer = consumer.read_exact(&mut target, FOREVER);
        let end = Unfinished {
            done: 3,
            error: Error::PeerClosed,
        };
        assert_eq!(answer, Err(end));
        assert_eq!(&target[..3], b"end");
        writer.join().unwrap();
    });
}

#[test]
fn a_writer_is_woken_when_its_reader_is_gone() {
    explore(4, || {
        let (mut producer, consumer, kernel) = ring();
        assert_eq!(producer.try_write(&[0; CAPACITY as usize]), Ok(8));
        let closer = thread::spawn(move || {
            kernel.close(End::Consumer, EndState::Revoked);
            drop(consumer);
        });
        let answer = producer.write_all(b"x", FOREVER);
        assert_eq!(answer.map_err(|stopped| stopped.error), Err(Error::Revoked));
        closer.join().unwrap();
    });
}
