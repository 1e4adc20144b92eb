//! A wait that is cancelled while what it waited for comes: neither is lost.
#![cfg(not(loom))]

mod common;

use std::cell::RefCell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use abi::ring::Geometry;
use common::Backing;
use ring::asynchronous::{Receiver, Sender, WaitAsTask};
use ring::duplex::{Deferring, Duplex};
use ring::slot::{Consumer, Producer};
use ring::{Error, Gather, Polling, Turn, Unanswered, Wait, mpsc};

/// Of which one message takes all.
const ONE: Geometry = Geometry::slot(64, 1);

/// A kernel in which what is waited for comes at the moment at which the wait is cancelled.
struct Meanwhile<F>(RefCell<F>);

impl<F: FnMut()> Wait for Meanwhile<F> {
    fn wait(&self, _seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        (self.0.borrow_mut())();
        Err(Error::Cancelled)
    }

    fn wake(&self) {}
}

impl<F: FnMut()> Turn<Polling> for Meanwhile<F> {}

impl<F: FnMut()> WaitAsTask for Meanwhile<F> {
    fn poll_wait(&self, seen: u32, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Wait::wait(self, seen, u64::MAX))
    }
}

/// A ring whose consumer waits while `b"now"` is sent.
fn sent_meanwhile(check: impl FnOnce(Consumer<Meanwhile<&mut dyn FnMut()>>)) {
    let backing = Backing::new(ONE);
    let _owner = backing.format(0);
    let mut producer = Producer::attach(backing.producer_memory(), Polling).unwrap();
    let mut send = || producer.try_send(b"now").unwrap();
    let wait = Meanwhile(RefCell::new(&mut send as &mut dyn FnMut()));
    check(Consumer::attach(backing.consumer_memory(), wait).unwrap());
}

/// A full ring whose producer waits while its message is received.
fn received_meanwhile(check: impl FnOnce(Producer<Meanwhile<&mut dyn FnMut()>>)) {
    let backing = Backing::new(ONE);
    let _owner = backing.format(0);
    let mut consumer = Consumer::attach(backing.consumer_memory(), Polling).unwrap();
    let mut receive = || assert_eq!(consumer.try_receive(&mut [0; 56]), Ok(5));
    let wait = Meanwhile(RefCell::new(&mut receive as &mut dyn FnMut()));
    let mut producer = Producer::attach(backing.producer_memory(), wait).unwrap();
    producer.try_send(b"first").unwrap();
    check(producer);
}

#[test]
fn a_cancelled_wait_says_so_and_leaves_what_came_meanwhile_to_the_next_call() {
    sent_meanwhile(|mut consumer| {
        let mut bytes = [0; 56];
        let received = consumer.receive(&mut bytes, u64::MAX);
        assert_eq!(received, Err(Error::Cancelled));
        assert_eq!(consumer.receive(&mut bytes, u64::MAX), Ok(3));
        assert_eq!(bytes[..3], *b"now");
    });
    received_meanwhile(|mut producer| {
        assert_eq!(producer.send(b"second", u64::MAX), Err(Error::Cancelled));
        assert_eq!(producer.send(b"second", u64::MAX), Ok(()));
    });
}

#[test]
fn a_cancelled_exchange_says_so_and_leaves_what_came_meanwhile_to_the_next_call() {
    sent_meanwhile(|consumer| {
        let there = Backing::new(ONE);
        let _owner = there.format(0);
        let sender = Producer::attach(there.producer_memory(), Deferring::new(Polling)).unwrap();
        let mut side = Duplex::new(sender, consumer);
        let mut bytes = [0; 56];
        let answer = side.exchange(b"asked", &mut bytes, u64::MAX);
        assert_eq!(answer, Err(Unanswered::Sent(Error::Cancelled)));
        assert_eq!(side.receiver.try_receive(&mut bytes), Ok(3));
    });
}

#[test]
fn a_cancelled_task_is_told_so_and_finds_what_came_meanwhile_after_it() {
    let mut context = Context::from_waker(Waker::noop());
    sent_meanwhile(|consumer| {
        let mut receiver = Receiver::new(consumer);
        for answer in [Err(Error::Cancelled), Ok(3)] {
            let mut bytes = [0; 56];
            let receive = pin!(receiver.receive(&mut bytes));
            assert_eq!(receive.poll(&mut context), Poll::Ready(answer));
        }
    });
    received_meanwhile(|producer| {
        let mut sender = Sender::new(producer);
        for answer in [Err(Error::Cancelled), Ok(())] {
            let send = pin!(sender.send(b"second"));
            assert_eq!(send.poll(&mut context), Poll::Ready(answer));
        }
    });
}

/// Where one gathers to whom a message is sent at the moment at which the wait is cancelled.
impl<F: FnMut()> Gather for Meanwhile<F> {
    fn wait(&self, _deadline_ns: u64) -> Result<(), Error> {
        Wait::wait(self, 0, u64::MAX)
    }
}

#[test]
fn who_gathers_and_is_cancelled_is_told_so_and_finds_what_came_meanwhile_after_it() {
    let backing = Backing::new(ONE);
    let _owner = backing.format(0);
    let mut producer = Producer::attach(backing.producer_memory(), Polling).unwrap();
    let consumer = Consumer::attach(backing.consumer_memory(), Polling).unwrap();
    let gather = Meanwhile(RefCell::new(|| producer.try_send(b"now").unwrap()));
    let mut receiver = mpsc::Receiver::new([Some(consumer)], gather).unwrap();
    assert_eq!(receiver.next(u64::MAX).err(), Some(Error::Cancelled));
    assert!(matches!(
        receiver.next(u64::MAX),
        Ok(mpsc::Next::Ready { place: 0, .. })
    ));
}

/// The same on Linux, where both come from other threads at any moment.
#[cfg(all(feature = "std", target_os = "linux"))]
#[test]
fn of_a_message_and_a_cancel_at_the_same_moment_each_is_told() {
    use std::sync::Barrier;
    use std::thread;
    use std::time::Duration;

    const ROUNDS: u32 = 2000;

    let (producer, consumer) = ring::linux::pair(ONE).unwrap();
    let canceller = consumer.canceller();
    let (mut producer, mut consumer) = (producer.slot().unwrap(), consumer.slot().unwrap());
    let round_begins = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                round_begins.wait();
                for _ in 0..round % 128 {
                    std::hint::spin_loop();
                }
                match round % 2 {
                    0 => {
                        producer.try_send(b"now").unwrap();
                        canceller.cancel();
                    }
                    _ => {
                        canceller.cancel();
                        producer.try_send(b"now").unwrap();
                    }
                }
            }
        });
        for round in 0..ROUNDS {
            round_begins.wait();
            // Two answers, in any order, and no third.
            let mut answers = [(); 2].map(|()| {
                let soon_ns = ring::linux::deadline_in(Duration::from_secs(30));
                consumer.receive(&mut [0; 56], soon_ns)
            });
            answers.sort_by_key(Result::is_err);
            assert_eq!(answers, [Ok(3), Err(Error::Cancelled)], "in round {round}");
        }
    });
}
