//! A request and the sleep for its answer as one call: who is woken when, and what is told of what failed.
#![cfg(not(loom))]

mod common;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use abi::ring::{End, EndState, Geometry};
use common::{Backing, Calls, ENDINGS, Kernel};
use ring::duplex::{Deferring, Duplex};
use ring::packet::{Consumer, Producer};
use ring::{Error, Polling, Turn, Unanswered, Wait, packet};

const SMALL: Geometry = Geometry::packet(4096);

/// Sleeps of a receiver, which notes those that began with the wake of its sender.
struct Turns {
    calls: Calls,
    turns: Arc<AtomicU32>,
}

impl Wait for Turns {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), Error> {
        self.calls.wait(seen, deadline_ns)
    }

    fn wake(&self) {
        self.calls.wake();
    }
}

impl Turn<Calls> for Turns {
    fn wake_and_wait(&self, other: &Calls, seen: u32, deadline_ns: u64) -> Result<(), Error> {
        self.turns.fetch_add(1, Ordering::Relaxed);
        other.wake();
        self.wait(seen, deadline_ns)
    }
}

type Exchanging = Duplex<Producer<Deferring<Calls>>, Consumer<Turns>>;

/// A side that exchanges, over the memory of two rings; how many of its sleeps began with a wake is counted.
fn exchanging(
    there: &(Arc<Kernel>, Backing),
    back: &(Arc<Kernel>, Backing),
) -> (Exchanging, Arc<AtomicU32>) {
    let calls = |kernel: &Arc<Kernel>, end| Calls {
        kernel: kernel.clone(),
        end,
    };
    let sends = Deferring::new(calls(&there.0, End::Producer));
    let turns = Arc::<AtomicU32>::default();
    let receives = Turns {
        calls: calls(&back.0, End::Consumer),
        turns: turns.clone(),
    };
    let sender = packet::Producer::attach(there.1.producer_memory(), sends).unwrap();
    let receiver = packet::Consumer::attach(back.1.consumer_memory(), receives).unwrap();
    (Duplex::new(sender, receiver), turns)
}

/// The memory of a ring and its kernel.
fn memory() -> (Arc<Kernel>, Backing) {
    let backing = Backing::new(SMALL);
    (Kernel::new(backing.format(u32::MAX - 63)), backing)
}

#[test]
fn who_exchanges_wakes_its_peer_as_it_goes_to_sleep() {
    let (there, back) = (memory(), memory());
    let (mut one, turns) = exchanging(&there, &back);
    let (mut other, _) = exchanging(&back, &there);
    // Nobody sleeps, so nobody is woken, and the answer is there already.
    other.sender.try_send(1, b"early").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(
        one.exchange((2, b"asked"), &mut bytes, u64::MAX),
        Ok((1, 5))
    );
    assert_eq!(turns.load(Ordering::Relaxed), 0);
    assert_eq!(there.0.wakes_by(End::Producer), 0);
    // Who sleeps is woken once, by the sleep and not before.
    assert_eq!(other.receiver.receive(&mut bytes, u64::MAX), Ok((2, 5)));
    assert!(other.receiver.arm().unwrap().is_some());
    let soon = back.0.now_ns() + 1_000_000;
    let answer = one.exchange((3, b"again"), &mut bytes, soon);
    assert_eq!(answer, Err(Unanswered::Sent(Error::TimedOut)));
    assert_eq!(turns.load(Ordering::Relaxed), 1);
    assert_eq!(there.0.wakes_by(End::Producer), 1);
    // What could not be sent leaves no wake behind; what was sent before it does.
    assert!(other.receiver.arm().unwrap().is_none());
    other.receiver.try_receive(&mut bytes).unwrap();
    assert!(other.receiver.arm().unwrap().is_some());
    let failed = one.turn(
        |sender| {
            sender.try_send(4, b"part")?;
            Err(Error::Cancelled)
        },
        |_| Ok(()),
        u64::MAX,
    );
    assert_eq!(failed, Err(Unanswered::NotSent(Error::Cancelled)));
    assert_eq!(there.0.wakes_by(End::Producer), 2);
}

#[test]
fn what_was_sent_by_an_exchange_that_panics_wakes_its_peer_and_so_does_what_comes_next() {
    let (there, back) = (memory(), memory());
    let (mut one, _) = exchanging(&there, &back);
    let (mut other, _) = exchanging(&back, &there);
    assert!(other.receiver.arm().unwrap().is_some());
    let turn = || {
        let send = |sender: &mut Producer<_>| {
            sender.try_send(1, b"sent")?;
            panic!("of the caller");
        };
        one.turn(send, |_| Ok(()), u64::MAX)
    };
    assert!(catch_unwind(AssertUnwindSafe(turn)).is_err());
    assert_eq!(there.0.wakes_by(End::Producer), 1);
    assert!(other.receiver.arm().unwrap().is_none());
    other.receiver.try_receive(&mut [0; 8]).unwrap();
    assert!(other.receiver.arm().unwrap().is_some());
    one.sender.try_send(2, b"next").unwrap();
    assert_eq!(there.0.wakes_by(End::Producer), 2);
}

#[test]
fn two_that_exchange_keep_one_another_going() {
    let count = if cfg!(miri) { 20 } else { 10_000 };
    let (there, back) = (memory(), memory());
    let (mut one, _) = exchanging(&there, &back);
    let (mut other, _) = exchanging(&back, &there);
    let server = thread::spawn(move || {
        let mut bytes = [0; 4];
        let mut received = other.receiver.receive(&mut bytes, u64::MAX);
        loop {
            match received {
                Ok((tag, _)) => {
                    let answer = bytes;
                    let exchanged = other.exchange((tag + 1, &answer), &mut bytes, u64::MAX);
                    received = exchanged.map_err(Unanswered::error);
                }
                Err(error) => return error,
            }
        }
    });
    let mut bytes = [0; 4];
    for number in 0..count {
        let question = u32::to_le_bytes(number);
        let answer = one.exchange((number, &question), &mut bytes, u64::MAX);
        assert_eq!((answer, bytes), (Ok((number + 1, 4)), question));
    }
    there.0.close(End::Producer, EndState::Draining);
    assert_eq!(server.join().unwrap(), Error::PeerClosed);
}

#[test]
fn who_exchanges_is_told_whether_the_request_was_sent() {
    let mut bytes = [0; 8];
    let (there, back) = (memory(), memory());
    let (mut one, _) = exchanging(&there, &back);
    let (mut other, _) = exchanging(&back, &there);
    let soon = || there.0.now_ns() + 1_000_000;
    // Nobody answers, and then there is no room: the same deadline, of either half.
    let longest = vec![0; one.sender.max_message_bytes()];
    let unanswered = one.exchange((1, &longest), &mut bytes, soon());
    assert_eq!(unanswered, Err(Unanswered::Sent(Error::TimedOut)));
    let unsent = one.exchange((2, &longest), &mut bytes, soon());
    assert_eq!(unsent, Err(Unanswered::NotSent(Error::TimedOut)));
    let unsent = one.exchange((3, &longest), &mut bytes, 0);
    assert_eq!(unsent, Err(Unanswered::NotSent(Error::Full)));
    // What was sent came, nothing else did, and its answer is received without another request.
    let mut received = longest.clone();
    let request = other.receiver.try_receive(&mut received);
    assert_eq!(request, Ok((1, longest.len())));
    assert_eq!(other.receiver.try_receive(&mut []), Err(Error::Empty));
    other.sender.try_send(1, b"late").unwrap();
    assert_eq!(one.receiver.try_receive(&mut bytes), Ok((1, 4)));
    let too_long = vec![0; longest.len() + 1];
    let unsent = one.exchange((4, &too_long), &mut bytes, u64::MAX);
    assert_eq!(unsent, Err(Unanswered::NotSent(Error::TooLarge)));
    other.sender.try_send(5, b"a longer answer").unwrap();
    let unread = one.exchange((5, b""), &mut bytes, u64::MAX);
    assert_eq!(unread, Err(Unanswered::Sent(Error::TooLarge)));
}

#[test]
fn the_end_of_a_direction_is_told_of_the_half_that_it_ends() {
    for (state, why) in ENDINGS {
        let mut bytes = [0; 8];
        let (there, back) = (memory(), memory());
        let (mut one, _) = exchanging(&there, &back);
        back.0.close(End::Producer, state);
        let unanswered = one.exchange((1, b""), &mut bytes, u64::MAX);
        assert_eq!(unanswered, Err(Unanswered::Sent(why)));
        there.0.close(End::Consumer, state);
        let unsent = one.exchange((2, b""), &mut bytes, u64::MAX);
        assert_eq!(unsent, Err(Unanswered::NotSent(why)));
        let unsent = unsent.unwrap_err();
        assert_eq!(unsent.error(), why);
        assert_eq!(
            unsent.to_string(),
            format!("{why}, and the request was not sent")
        );
    }
}

/// Of an end whose peer acts at the moment at which it sleeps; what it wakes is counted.
struct Meanwhile<F> {
    act: F,
    wakes: Arc<AtomicU32>,
}

impl<F: Fn()> Wait for Meanwhile<F> {
    fn wait(&self, _seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        (self.act)();
        Ok(())
    }

    fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

impl<F: Fn()> Turn<Polling> for Meanwhile<F> {}

#[test]
fn who_exchanges_keeps_nothing_back_that_its_answer_needs() {
    let (there, back) = (memory(), memory());
    let answers = Producer::attach(back.1.producer_memory(), Polling).unwrap();
    let answers = RefCell::new(answers);
    let longest = vec![7; answers.borrow().max_message_bytes()];
    answers.borrow_mut().try_send(1, &[0; 200]).unwrap();
    let wakes = Arc::<AtomicU32>::default();
    let receives = Meanwhile {
        act: || answers.borrow_mut().try_send(2, &longest).unwrap(),
        wakes: wakes.clone(),
    };
    let sends = Deferring::new(Polling);
    let mut one = Duplex::new(
        Producer::attach(there.1.producer_memory(), sends).unwrap(),
        Consumer::attach(back.1.consumer_memory(), receives).unwrap(),
    );
    let mut target = longest.clone();
    assert_eq!(one.receiver.try_receive(&mut target), Ok((1, 200)));
    // The peer sleeps for room: what was received would be enough, and is too little to be given back by itself.
    let wanted = answers.borrow().bytes_of_ring(longest.len()).unwrap();
    assert!(answers.borrow_mut().arm(wanted).unwrap().is_some());
    let answer = one.exchange((1, b""), &mut target, u64::MAX);
    assert_eq!(answer, Ok((2, longest.len())));
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
}
