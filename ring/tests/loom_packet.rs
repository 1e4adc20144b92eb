//! Every interleaving of both ends of a PACKET ring, with the kernel's part as a lock and a queue.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_packet`
#![cfg(loom)]

mod loom_kernel;

use abi::ring::{End, EndState, Geometry};
use loom::sync::Arc;
use loom::thread;
use loom_kernel::{Calls, FOREVER, Kernel, bytes, ends, everything_arrives, explore};
use ring::Error;
use ring::memory::Owner;
use ring::packet::{Consumer, Packet, Producer};

/// Messages of up to 64 bytes, or eight empty ones.
const CAPACITY: u32 = 128;
/// Two of them do not fit at once.
const LONG: usize = 60;
/// The record that begins here goes over the end of the data, and the index behind it over 2^32.
const START: u32 = u32::MAX - 15;

fn ring() -> (Producer<Calls>, Consumer<Calls>, Arc<Kernel>) {
    ends(&Owner::model(Geometry::packet(CAPACITY), START, 0))
}

#[test]
fn a_published_message_has_its_tag_and_its_bytes() {
    explore(3, || {
        // Room for two; the model has no longest message that small.
        let owner = Owner::model(Geometry::packet(32), START, 0);
        everything_arrives::<Packet>(
            &owner,
            1,
            |producer, number| producer.try_send(number as u32, &[]),
            |consumer, number| {
                let (tag, length) = consumer.try_receive(&mut [])?;
                assert_eq!((tag.into(), length), (number, 0));
                Ok(())
            },
        );
    });
}

#[test]
fn a_sleeping_consumer_is_always_woken() {
    explore(4, || {
        let (mut producer, mut consumer, kernel) = ring();
        let sending = kernel.clone();
        let sender = thread::spawn(move || {
            producer.try_send(0, &bytes(0)).unwrap();
            producer.try_send(1, &bytes(1)).unwrap();
            sending.finish(End::Producer);
        });
        for number in 0..2 {
            let mut target = [0; 8];
            let received = consumer.receive(&mut target, FOREVER);
            assert_eq!(received, Ok((number, 8)));
            assert_eq!(target, bytes(number.into()));
        }
        kernel.finish(End::Consumer);
        sender.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
    });
}

#[test]
fn a_sleeping_producer_is_always_woken() {
    explore(3, || {
        let (mut producer, mut consumer, kernel) = ring();
        producer.try_send(0, &[0; LONG]).unwrap();
        let sending = kernel.clone();
        let sender = thread::spawn(move || {
            producer.send(1, &[1; LONG], FOREVER).unwrap();
            producer.send(2, &[], FOREVER).unwrap();
            sending.finish(End::Producer);
        });
        let mut target = [0; LONG];
        assert_eq!(consumer.try_receive(&mut target), Ok((0, LONG)));
        kernel.finish(End::Consumer);
        sender.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
        assert_eq!(consumer.try_receive(&mut target), Ok((1, LONG)));
        assert_eq!(target, [1; LONG]);
    });
}

#[test]
fn two_sleepers_always_wake_each_other() {
    explore(3, || {
        let (mut producer, mut consumer, kernel) = ring();
        let sending = kernel.clone();
        let sender = thread::spawn(move || {
            for tag in 0..2 {
                producer.send(tag, &[tag as u8; LONG], FOREVER).unwrap();
            }
            sending.finish(End::Producer);
        });
        for tag in 0..2 {
            let mut target = [9; LONG];
            assert_eq!(consumer.receive(&mut target, FOREVER), Ok((tag, LONG)));
            assert_eq!(target, [tag as u8; LONG]);
        }
        kernel.finish(End::Consumer);
        sender.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
    });
}

#[test]
fn a_batch_is_there_at_once_and_wakes_a_sleeping_consumer() {
    explore(4, || {
        let (mut producer, mut consumer, kernel) = ring();
        let sending = kernel.clone();
        let sender = thread::spawn(move || {
            let (one, two) = (bytes(0), bytes(1));
            let batch: [(u32, &[u8]); 2] = [(0, &one), (1, &two)];
            assert_eq!(producer.send_batch(batch), Ok(2));
            sending.finish(End::Producer);
        });
        consumer.wait_for_message(FOREVER).unwrap();
        let mut target = [0; 8];
        let mut expected = 0;
        let received = consumer.receive_batch(9, |tag, message| {
            message.copy_to(&mut target).unwrap();
            assert_eq!((tag, target), (expected, bytes(expected.into())));
            expected += 1;
        });
        assert_eq!(received, Ok(2), "one publication");
        kernel.finish(End::Consumer);
        sender.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
    });
}

#[test]
fn what_was_sent_before_the_close_is_received_before_its_answer() {
    explore(4, || {
        let (mut producer, mut consumer, kernel) = ring();
        let sender = thread::spawn(move || {
            producer.try_send(3, &bytes(0)).unwrap();
            kernel.close(End::Producer, EndState::Draining);
        });
        let mut target = [0; 8];
        assert_eq!(consumer.receive(&mut target, FOREVER), Ok((3, 8)));
        assert_eq!(target, bytes(0));
        let answer = consumer.receive(&mut target, FOREVER);
        assert_eq!(answer, Err(Error::PeerClosed));
        sender.join().unwrap();
    });
}

#[test]
fn a_send_that_races_with_the_close_of_its_peer_is_sent_or_refused() {
    explore(4, || {
        let (mut producer, consumer, kernel) = ring();
        producer.try_send(0, &[0; LONG]).unwrap();
        let closer = thread::spawn(move || {
            kernel.close(End::Consumer, EndState::Closed);
            drop(consumer);
        });
        let answer = producer.try_send(1, &[]);
        assert!([Ok(()), Err(Error::PeerDied)].contains(&answer));
        let answer = producer.send(2, &[0; LONG], FOREVER);
        assert_eq!(answer, Err(Error::PeerDied));
        closer.join().unwrap();
    });
}
