//! Every interleaving of both ends of a SLOT ring, with the kernel's part as a lock and a queue.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_slot`
#![cfg(loom)]

use abi::ring::{End, EndState, Geometry};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use ring::memory::Owner;
use ring::slot::{Consumer, Producer};
use ring::{Error, Polling, Wait, index};

const FOREVER: u64 = u64::MAX;

fn explore(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}

#[derive(Default)]
struct Queue {
    /// What each end sleeps for.
    asleep: [Option<u32>; 2],
    lost_wakeups: u32,
}

/// `ring_wait`, `ring_wake` and `ring_close`, and an eye on sleepers that were forgotten.
struct Kernel {
    owner: Owner,
    queue: Mutex<Queue>,
    woken: [Condvar; 2],
}

struct Calls {
    kernel: Arc<Kernel>,
    end: End,
}

impl Kernel {
    fn close(&self, end: End, state: EndState) {
        let mut queue = self.queue.lock().unwrap();
        self.owner.set_state(end, state);
        queue.asleep = [None; 2];
        self.woken.iter().for_each(Condvar::notify_all);
    }

    /// `end` does nothing more, so a peer that still sleeps for something that is there was forgotten.
    ///
    /// It is counted and woken: loom would call it a deadlock too, but not survive its own report of it.
    fn rests(&self, queue: &mut Queue, end: End) {
        let peer = end.peer() as usize;
        if queue.asleep[peer].is_some_and(|seen| index::has_reached(self.owner.index(end), seen)) {
            queue.lost_wakeups += 1;
            queue.asleep[peer] = None;
            self.woken[peer].notify_all();
        }
    }

    fn finish(&self, end: End) {
        self.rests(&mut self.queue.lock().unwrap(), end);
    }

    fn assert_no_wakeup_was_lost(&self) {
        let lost = self.queue.lock().unwrap().lost_wakeups;
        assert_eq!(lost, 0, "wakeups were lost");
    }
}

impl Wait for Calls {
    fn wait(&self, seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        let owner = &self.kernel.owner;
        let me = self.end as usize;
        let mut queue = self.kernel.queue.lock().unwrap();
        self.kernel.rests(&mut queue, self.end);
        let peer = self.end.peer();
        if index::wait_is_over(owner.state(peer), owner.index(peer), seen) {
            return Ok(());
        }
        queue.asleep[me] = Some(seen);
        while queue.asleep[me].is_some() {
            queue = self.kernel.woken[me].wait(queue).unwrap();
        }
        Ok(())
    }

    fn wake(&self) {
        let peer = self.end.peer() as usize;
        self.kernel.queue.lock().unwrap().asleep[peer] = None;
        self.kernel.woken[peer].notify_all();
    }
}

fn ring(capacity: u32, start: u32) -> (Producer<Calls>, Consumer<Calls>, Arc<Kernel>) {
    let owner = Owner::model(Geometry::slot(64, capacity), start, 1);
    let kernel = Arc::new(Kernel {
        owner: owner.clone(),
        queue: Mutex::new(Queue::default()),
        woken: [Condvar::new(), Condvar::new()],
    });
    let calls = |end| Calls {
        kernel: kernel.clone(),
        end,
    };
    let producer = Producer::attach(owner.producer(), calls(End::Producer)).unwrap();
    let consumer = Consumer::attach(owner.consumer(), calls(End::Consumer)).unwrap();
    (producer, consumer, kernel)
}

fn bytes(number: u64) -> [u8; 8] {
    (number ^ 0x5a5a_5a5a_5a5a_5a5a).to_ne_bytes()
}

#[test]
fn a_published_message_has_its_bytes() {
    explore(4, || {
        let owner = Owner::model(Geometry::slot(64, 1), u32::MAX, 1);
        let mut producer = Producer::attach(owner.producer(), Polling).unwrap();
        let mut consumer = Consumer::attach(owner.consumer(), Polling).unwrap();
        let sender = thread::spawn(move || {
            let mut sent = 0;
            for _ in 0..3 {
                match producer.try_send(&bytes(sent)) {
                    Ok(()) => sent += 1,
                    Err(error) => assert_eq!(error, Error::Full),
                }
            }
            sent
        });
        let mut received = 0;
        let mut receive = |consumer: &mut Consumer<Polling>| {
            let mut target = [0; 8];
            match consumer.try_receive(&mut target) {
                Ok(length) => {
                    assert_eq!(target[..length], bytes(received));
                    received += 1;
                    true
                }
                Err(error) => {
                    assert_eq!(error, Error::Empty);
                    false
                }
            }
        };
        receive(&mut consumer);
        receive(&mut consumer);
        let sent = sender.join().unwrap();
        while receive(&mut consumer) {}
        assert_eq!(received, sent);
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
