//! Both directions of a link, and how each ends.
#![cfg(not(loom))]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use abi::ring::{End, EndState, Geometry, PRODUCER_OFFSET};
use common::{Backing, Calls, ENDINGS, Kernel, polled_ring, sleeping_packets};
use ring::duplex::{Deferring, Direction, Duplex};
use ring::packet::{Consumer, Producer};
use ring::{Error, Turn, Wait, packet};

const SMALL: Geometry = Geometry::packet(4096);

type Side = Duplex<Producer<Calls>, Consumer<Calls>>;

struct Link {
    one: Side,
    other: Side,
    /// Of the rings in which the one and the other send.
    kernels: [Arc<Kernel>; 2],
    _backing: [Backing; 2],
}

fn link() -> Link {
    let there = sleeping_packets(SMALL, 64);
    let back = sleeping_packets(SMALL, u32::MAX - 7);
    Link {
        one: Duplex::new(there.producer, back.consumer),
        other: Duplex::new(back.producer, there.consumer),
        kernels: [there.kernel, back.kernel],
        _backing: [there.backing, back.backing],
    }
}

#[test]
fn a_side_that_has_finished_still_receives() {
    let mut link = link();
    link.one.sender.try_send(1, b"question").unwrap();
    link.one.finish().unwrap();
    assert_eq!(link.one.sender.try_send(2, b""), Err(Error::Closed));
    assert_eq!(link.one.finish(), Err(Error::Closed));
    assert_eq!(
        (link.one.sending(), link.other.receiving()),
        (Direction::Draining, Direction::Draining)
    );
    let mut bytes = [0; 16];
    assert_eq!(
        link.other.receiver.receive(&mut bytes, u64::MAX),
        Ok((1, 8))
    );
    for _ in 0..3 {
        assert_eq!(
            link.other.receiver.receive(&mut bytes, u64::MAX),
            Err(Error::PeerClosed)
        );
    }
    assert_eq!(
        (link.one.sending(), link.other.receiving()),
        (Direction::Closed, Direction::Closed)
    );
    assert_eq!(
        (link.one.receiving(), link.other.sending()),
        (Direction::Open, Direction::Open)
    );
    link.other.sender.try_send(3, b"answer").unwrap();
    assert_eq!(link.one.receiver.receive(&mut bytes, u64::MAX), Ok((3, 6)));
    link.other.close().unwrap();
    assert_eq!(
        link.one.receiver.try_receive(&mut bytes),
        Err(Error::PeerClosed)
    );
    assert_eq!(link.one.close(), Ok(()));
}

#[test]
fn the_end_of_a_direction_needs_no_room_in_the_ring() {
    let mut link = link();
    let mut sent = 0;
    while link.one.sender.try_send(sent, b"8 bytes.").is_ok() {
        sent += 1;
    }
    assert_eq!(link.one.finish(), Ok(()));
    let mut bytes = [0; 16];
    for tag in 0..sent {
        assert_eq!(link.other.receiver.try_receive(&mut bytes), Ok((tag, 8)));
    }
    assert_eq!(
        link.other.receiver.try_receive(&mut bytes),
        Err(Error::PeerClosed)
    );
}

#[test]
fn every_way_to_end_is_told_by_another_answer_and_leaves_the_other_direction() {
    for (state, answer) in ENDINGS {
        let mut link = link();
        link.one.sender.try_send(1, b"x").unwrap();
        link.kernels[0].close(End::Producer, state);
        let mut bytes = [0; 16];
        assert_eq!(link.other.receiver.try_receive(&mut bytes), Ok((1, 1)));
        assert_eq!(link.other.receiver.try_receive(&mut bytes), Err(answer));
        link.other.sender.try_send(2, b"y").unwrap();
        assert_eq!(link.one.receiver.try_receive(&mut bytes), Ok((2, 1)));
    }
}

#[test]
fn who_wants_no_more_stops_the_sender_and_keeps_what_is_there() {
    let mut link = link();
    link.one.sender.try_send(1, b"x").unwrap();
    link.other.receiver.finish().unwrap();
    assert_eq!(link.one.sender.try_send(2, b"y"), Err(Error::PeerClosed));
    let mut bytes = [0; 16];
    assert_eq!(link.other.receiver.try_receive(&mut bytes), Ok((1, 1)));
    assert_eq!(
        link.other.receiver.try_receive(&mut bytes),
        Err(Error::Closed)
    );
}

#[test]
fn a_direction_is_closed_no_sooner_than_all_that_was_sent_is_received() {
    let slots = Geometry::slot(64, 4);
    let (there, back) = (polled_ring(slots, 0), polled_ring(slots, u32::MAX));
    let mut producer = there.producer;
    let mut link = Duplex::new(back.producer, there.consumer);
    assert_eq!(link.receiving(), Direction::Open);
    producer.try_send(b"last words").unwrap();
    assert_eq!(link.receiving(), Direction::Open);
    // It died after the word of the slot and before the tail.
    let tail = there.backing.word(PRODUCER_OFFSET);
    tail.store(0, Ordering::Relaxed);
    there.owner.set_state(End::Producer, EndState::Closed);
    assert_eq!(link.receiving(), Direction::Draining);
    assert_eq!(link.receiver.try_receive(&mut [0; 56]), Ok(10));
    assert_eq!(link.receiving(), Direction::Closed);
    assert_eq!(
        link.receiver.try_receive(&mut [0; 56]),
        Err(Error::PeerDied)
    );
}

#[test]
fn who_was_caught_is_told_so() {
    let mut ring = sleeping_packets(SMALL, 0);
    assert_eq!(ring.consumer.accuse(), Err(Error::Invalid));
    ring.backing.overwrite(abi::ring::PRODUCER_OFFSET, 12);
    assert_eq!(ring.consumer.try_receive(&mut []), Err(Error::PeerFault));
    assert_eq!(ring.consumer.accuse(), Ok(()));
    assert_eq!(ring.producer.try_send(0, b""), Err(Error::PeerFault));
    assert_eq!(ring.producer.accuse(), Err(Error::Invalid));
}

#[test]
fn questions_and_answers_pass_in_both_directions_at_once_until_both_have_finished() {
    let count = if cfg!(miri) { 20 } else { 20_000 };
    let link = link();
    let (one, mut other) = (link.one, link.other);
    let server = thread::spawn(move || {
        let mut bytes = [0; 600];
        loop {
            match other.receiver.receive(&mut bytes, u64::MAX) {
                Ok((tag, length)) => {
                    let answer = &bytes[..length];
                    other.sender.send(tag + 1, answer, u64::MAX).unwrap();
                }
                Err(error) => {
                    assert_eq!(error, Error::PeerClosed);
                    return other.finish();
                }
            }
        }
    });
    let (mut asks, mut hears) = one.split();
    let asker = thread::spawn(move || {
        for number in 0..count {
            let question = [number as u8; 600];
            let length = number as usize % 600;
            asks.send(number, &question[..length], u64::MAX).unwrap();
        }
        asks.finish()
    });
    let mut bytes = [0; 600];
    for number in 0..count {
        let length = number as usize % 600;
        assert_eq!(
            hears.receive(&mut bytes, u64::MAX),
            Ok((number + 1, length))
        );
        assert!(bytes[..length].iter().all(|byte| *byte == number as u8));
    }
    assert_eq!(hears.receive(&mut bytes, u64::MAX), Err(Error::PeerClosed));
    assert_eq!(asker.join().unwrap(), Ok(()));
    assert_eq!(server.join().unwrap(), Ok(()));
}

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
    assert_eq!(answer, Err(Error::TimedOut));
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
    assert_eq!(failed, Err(Error::Cancelled));
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
                    received = other.exchange((tag + 1, &answer), &mut bytes, u64::MAX);
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
