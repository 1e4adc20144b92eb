//! Every interleaving of both ends of a SLOT ring, with the kernel's part as a lock and a queue.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_slot`
#![cfg(loom)]

mod loom_kernel;

use abi::ring::{End, EndState, Geometry};
use loom::sync::Arc;
use loom::thread;
use loom_kernel::{Calls, FOREVER, Kernel, bytes, ends, everything_arrives, explore};
use ring::Error;
use ring::memory::Owner;
use ring::slot::{Consumer, Producer, Slot};

fn ring(capacity: u32, start: u32) -> (Producer<Calls>, Consumer<Calls>, Arc<Kernel>) {
    ends(&Owner::model(Geometry::slot(64, capacity), start, 1))
}

#[test]
fn a_published_message_has_its_bytes() {
    explore(4, || {
        let owner = Owner::model(Geometry::slot(64, 1), u32::MAX, 1);
        everything_arrives::<Slot>(
            &owner,
            0,
            |producer, number| producer.try_send(&bytes(number)),
            |consumer, number| {
                let mut target = [0; 8];
                let length = consumer.try_receive(&mut target)?;
                assert_eq!(target[..length], bytes(number));
                Ok(())
            },
        );
    });
}

#[test]
fn a_sleeping_consumer_is_always_woken() {
    explore(4, || {
        let (mut producer, mut consumer, kernel) = ring(2, u32::MAX);
        let sending = kernel.clone();
        let sender = thread::spawn(move || {
            producer.try_send(&bytes(0)).unwrap();
            producer.try_send(&bytes(1)).unwrap();
            sending.finish(End::Producer);
        });
        for number in 0..2 {
            let mut target = [0; 8];
            assert_eq!(consumer.receive(&mut target, FOREVER), Ok(8));
            assert_eq!(target, bytes(number));
        }
        kernel.finish(End::Consumer);
        sender.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
    });
}

#[test]
fn a_sleeping_producer_is_always_woken() {
    explore(4, || {
        let (mut producer, mut consumer, kernel) = ring(2, u32::MAX - 1);
        producer.try_send(&bytes(0)).unwrap();
        producer.try_send(&bytes(1)).unwrap();
        let sending = kernel.clone();
        let sender = thread::spawn(move || {
            producer.send(&bytes(2), FOREVER).unwrap();
            producer.send(&bytes(3), FOREVER).unwrap();
            sending.finish(End::Producer);
        });
        for number in 0..2 {
            let mut target = [0; 8];
            assert_eq!(consumer.try_receive(&mut target), Ok(8));
            assert_eq!(target, bytes(number));
        }
        kernel.finish(End::Consumer);
        sender.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
        assert_eq!(consumer.len(), Ok(2));
    });
}

#[test]
fn two_sleepers_always_wake_each_other() {
    explore(3, || {
        let (mut producer, mut consumer, kernel) = ring(1, u32::MAX);
        let sending = kernel.clone();
        let sender = thread::spawn(move || {
            for number in 0..3 {
                producer.send(&bytes(number), FOREVER).unwrap();
            }
            sending.finish(End::Producer);
        });
        for number in 0..3 {
            let mut target = [0; 8];
            assert_eq!(consumer.receive(&mut target, FOREVER), Ok(8));
            assert_eq!(target, bytes(number));
        }
        kernel.finish(End::Consumer);
        sender.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
    });
}

#[test]
fn a_head_that_is_held_back_reaches_a_sleeping_producer() {
    explore(3, || {
        // A quarter is two slots, so the first release is kept back unless the producer already waits.
        let (mut producer, mut consumer, kernel) = ring(8, u32::MAX - 3);
        for number in 0..8 {
            producer.try_send(&bytes(number)).unwrap();
        }
        for number in 0..6 {
            let mut target = [0; 8];
            assert_eq!(consumer.try_receive(&mut target), Ok(8));
            assert_eq!(target, bytes(number));
        }
        for number in 8..14 {
            producer.try_send(&bytes(number)).unwrap();
        }
        let sending = kernel.clone();
        let sender = thread::spawn(move || {
            producer.send(&bytes(14), FOREVER).unwrap();
            sending.finish(End::Producer);
        });
        let mut target = [0; 8];
        assert_eq!(consumer.try_receive(&mut target), Ok(8));
        consumer.flush();
        kernel.finish(End::Consumer);
        sender.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
        assert_eq!(consumer.len(), Ok(8));
    });
}

#[test]
fn a_threshold_of_two_is_met_by_one_message_at_a_time() {
    explore(3, || {
        let (mut producer, mut consumer, kernel) = ring(4, u32::MAX);
        consumer.set_wake_threshold(2).unwrap();
        let sending = kernel.clone();
        let sender = thread::spawn(move || {
            producer.try_send(&bytes(0)).unwrap();
            producer.try_send(&bytes(1)).unwrap();
            sending.finish(End::Producer);
            // The consumer may have taken the first at once; then the second alone does not meet its threshold.
            sending.close(End::Producer, EndState::Draining);
        });
        for number in 0..2 {
            let mut target = [0; 8];
            assert_eq!(consumer.receive(&mut target, FOREVER), Ok(8));
            assert_eq!(target, bytes(number));
        }
        kernel.finish(End::Consumer);
        sender.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
    });
}

#[test]
fn what_was_sent_before_the_close_is_received_before_its_answer() {
    explore(4, || {
        let (mut producer, mut consumer, kernel) = ring(2, 0);
        let sender = thread::spawn(move || {
            producer.try_send(&bytes(0)).unwrap();
            kernel.close(End::Producer, EndState::Draining);
        });
        let mut target = [0; 8];
        assert_eq!(consumer.receive(&mut target, FOREVER), Ok(8));
        assert_eq!(target, bytes(0));
        assert_eq!(
            consumer.receive(&mut target, FOREVER),
            Err(Error::PeerClosed)
        );
        sender.join().unwrap();
    });
}

#[test]
fn a_consumer_that_closes_wakes_the_sending_producer() {
    explore(4, || {
        let (mut producer, consumer, kernel) = ring(1, 0);
        producer.try_send(&bytes(0)).unwrap();
        let closer = thread::spawn(move || {
            kernel.close(End::Consumer, EndState::Closed);
            drop(consumer);
        });
        assert_eq!(producer.send(&bytes(1), FOREVER), Err(Error::PeerDied));
        closer.join().unwrap();
    });
}

#[test]
fn a_batch_wakes_a_sleeping_consumer() {
    explore(4, || {
        let (mut producer, mut consumer, kernel) = ring(2, u32::MAX);
        let sending = kernel.clone();
        let sender = thread::spawn(move || {
            assert_eq!(producer.send_batch(&[&bytes(0), &bytes(1)]), Ok(2));
            sending.finish(End::Producer);
        });
        let mut received = 0;
        while received < 2 {
            consumer.wait_for_message(FOREVER).unwrap();
            let mut target = [0; 8];
            let batch = consumer.receive_batch(2, |message| {
                message.copy_to(&mut target).unwrap();
                assert_eq!(target, bytes(received));
                received += 1;
            });
            assert!(batch.unwrap() > 0);
        }
        kernel.finish(End::Consumer);
        sender.join().unwrap();
        kernel.assert_no_wakeup_was_lost();
    });
}

#[test]
fn a_poisoned_end_stays_so_and_its_peer_is_woken() {
    explore(3, || {
        let (mut producer, consumer, kernel) = ring(1, 0);
        producer.try_send(&bytes(0)).unwrap();
        let accuser = thread::spawn(move || {
            kernel.close(End::Consumer, EndState::Poisoned);
            drop(consumer);
        });
        for _ in 0..2 {
            let answer = producer.send(&bytes(1), FOREVER);
            assert_eq!(answer, Err(Error::PeerFault));
        }
        accuser.join().unwrap();
    });
}
