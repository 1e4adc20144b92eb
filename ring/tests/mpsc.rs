//! Many producers and one consumer.
#![cfg(not(loom))]

mod common;

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use abi::ring::{DATA_OFFSET, End, EndState, Form, Geometry};
use common::{Backing, Polled, polled_packets, polled_ring};
use ring::mpsc::{Next, Receiver};
use ring::{Error, Gather, Polling, Wait, packet};

const SMALL: Geometry = Geometry::packet(4096);

/// Where nobody sleeps.
struct Nowhere;

impl Gather for Nowhere {
    fn wait(&self, _deadline_ns: u64) -> Result<(), Error> {
        Err(Error::TimedOut)
    }
}

type Ring = Polled<packet::Producer<Polling>, packet::Consumer<Polling>>;

/// What is next: whose, and the tag of the message or how it ended.
fn next<K: AsMut<[Option<packet::Consumer<W>>]>, W: Wait, G: Gather>(
    receiver: &mut Receiver<packet::Packet, W, K, G>,
) -> Result<(usize, Result<u32, Error>), Error> {
    Ok(match receiver.next(u64::MAX)? {
        Next::Ready { place, consumer } => {
            let message = consumer.peek()?;
            let tag = message.tag();
            message.release();
            (place, Ok(tag))
        }
        Next::Ended { place, why, .. } => (place, Err(why)),
    })
}

#[test]
fn producers_are_served_in_turn_however_busy_one_is() {
    let mut rings: Vec<Ring> = (0..3).map(|_| polled_packets(SMALL, 0)).collect();
    for tag in 0..4 {
        rings[0].producer.try_send(tag, b"busy").unwrap();
    }
    rings[1].producer.try_send(10, b"").unwrap();
    rings[2].producer.try_send(20, b"").unwrap();
    rings[2].producer.try_send(21, b"").unwrap();
    let (mut producers, mut backing) = (Vec::new(), Vec::new());
    let mut places = Vec::new();
    for ring in rings {
        producers.push(ring.producer);
        places.push(Some(ring.consumer));
        backing.push(ring.backing);
    }
    let mut receiver = Receiver::new(places, Nowhere).unwrap();
    let expected = [(0, 0), (1, 10), (2, 20), (0, 1), (2, 21), (0, 2), (0, 3)];
    for (place, tag) in expected {
        assert_eq!(next(&mut receiver), Ok((place, Ok(tag))));
    }
    assert_eq!(next(&mut receiver), Err(Error::TimedOut));
    assert_eq!(receiver.try_next().err(), Some(Error::Empty));
}

#[test]
fn a_message_that_is_left_costs_its_sender_the_turn_and_nobody_else() {
    let (mut one, mut other) = (polled_packets(SMALL, 0), polled_packets(SMALL, 0));
    one.producer.try_send(1, &[0; 100]).unwrap();
    other.producer.try_send(2, &[]).unwrap();
    let places = [Some(one.consumer), Some(other.consumer)];
    let mut receiver = Receiver::new(places, Nowhere).unwrap();
    for expected in [0, 1, 0, 1] {
        match receiver.try_next() {
            Ok(Next::Ready { place, .. }) => assert_eq!(place, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_full_ring_stops_its_own_sender_and_no_other() {
    let (mut one, mut other) = (polled_packets(SMALL, 0), polled_packets(SMALL, 0));
    let places = [Some(one.consumer), Some(other.consumer)];
    let mut receiver = Receiver::new(places, Nowhere).unwrap();
    while one.producer.try_send(1, &[0; 1000]).is_ok() {}
    // What the first has sent is left where it is, as by a receiver that can't pass it on.
    for round in 0..20 {
        assert_eq!(one.producer.try_send(1, &[0; 1000]), Err(Error::Full));
        other.producer.try_send(round, &[0; 1000]).unwrap();
        for _ in 0..2 {
            if let Next::Ready { place: 1, consumer } = receiver.try_next().unwrap() {
                assert_eq!(consumer.try_receive(&mut [0; 1000]), Ok((round, 1000)));
            }
        }
        assert_eq!(receiver.member(1).unwrap().is_empty(), Ok(true));
    }
    receiver.member(0).unwrap().peek().unwrap().release();
    receiver.member(0).unwrap().flush();
    assert_eq!(one.producer.try_send(1, &[0; 1000]), Ok(()));
}

#[test]
fn a_producer_that_ends_is_told_once_after_its_last_message_and_blocks_nobody() {
    for (state, why) in [
        (EndState::Draining, Error::PeerClosed),
        (EndState::Closed, Error::PeerDied),
        (EndState::Revoked, Error::Revoked),
        (EndState::Poisoned, Error::PeerFault),
    ] {
        let (mut one, mut other) = (polled_packets(SMALL, 0), polled_packets(SMALL, 0));
        one.producer.try_send(1, b"whole").unwrap();
        // In the middle of a message.
        let mut reservation = one.producer.reserve(20).unwrap();
        reservation.as_mut_slice().fill(0xff);
        drop(reservation);
        one.owner.set_state(End::Producer, state);
        let places = [Some(one.consumer), Some(other.consumer)];
        let mut receiver = Receiver::new(places, Nowhere).unwrap();
        other.producer.try_send(2, b"").unwrap();
        assert_eq!(next(&mut receiver), Ok((0, Ok(1))));
        assert_eq!(next(&mut receiver), Ok((1, Ok(2))));
        assert_eq!(next(&mut receiver), Ok((0, Err(why))));
        assert_eq!(receiver.members(), 1);
        other.producer.try_send(3, b"").unwrap();
        assert_eq!(next(&mut receiver), Ok((1, Ok(3))));
        assert_eq!(receiver.try_next().err(), Some(Error::Empty));
    }
}

#[test]
fn a_producer_that_writes_nonsense_ends_alone() {
    let (one, mut other) = (polled_packets(SMALL, 0), polled_packets(SMALL, 0));
    one.backing.overwrite(DATA_OFFSET, u32::MAX);
    one.backing.overwrite(abi::ring::PRODUCER_OFFSET, 64);
    other.producer.try_send(2, b"").unwrap();
    let places = [Some(one.consumer), Some(other.consumer)];
    let mut receiver = Receiver::new(places, Nowhere).unwrap();
    assert_eq!(next(&mut receiver), Ok((0, Err(Error::PeerFault))));
    assert_eq!(next(&mut receiver), Ok((1, Ok(2))));
}

#[test]
fn a_dead_producer_in_the_middle_of_a_slot_blocks_nobody() {
    let (mut one, mut other) = (
        polled_ring(Geometry::slot(64, 4), 0),
        polled_ring(Geometry::slot(64, 4), 9),
    );
    one.producer.reserve(9).unwrap().write(0, b"half").unwrap();
    one.owner.set_state(End::Producer, EndState::Closed);
    other.producer.try_send(b"x").unwrap();
    let places = [Some(one.consumer), Some(other.consumer)];
    let mut receiver = Receiver::new(places, Nowhere).unwrap();
    assert!(matches!(
        receiver.try_next(),
        Ok(Next::Ended {
            place: 0,
            why: Error::PeerDied,
            ..
        })
    ));
    assert!(matches!(
        receiver.try_next(),
        Ok(Next::Ready { place: 1, .. })
    ));
}

#[test]
fn members_come_and_go() {
    let (one, mut other) = (polled_packets(SMALL, 0), polled_packets(SMALL, 0));
    let mut receiver = Receiver::new([None, None], Nowhere).unwrap();
    assert_eq!(receiver.try_next().err(), Some(Error::Empty));
    assert_eq!(receiver.next(u64::MAX).err(), Some(Error::TimedOut));
    assert_eq!(receiver.join(one.consumer).map_err(|_| ()), Ok(0));
    assert_eq!(receiver.join(other.consumer).map_err(|_| ()), Ok(1));
    let third = polled_packets(SMALL, 0);
    let (third_consumer, error) = receiver.join(third.consumer).err().unwrap();
    assert_eq!(error, Error::Full);
    assert!(receiver.leave(0).is_some());
    assert!(receiver.leave(0).is_none() && receiver.leave(7).is_none());
    assert_eq!(receiver.join(third_consumer).map_err(|_| ()), Ok(0));
    other.producer.try_send(5, b"").unwrap();
    assert_eq!(receiver.member(1).unwrap().len(), Ok(8));
    assert_eq!(next(&mut receiver), Ok((1, Ok(5))));
}

#[test]
fn asymmetric_members_need_a_barrier() {
    let backing = Backing::new(SMALL);
    let _owner = backing.format_as(Form::Asymmetric, 0);
    let attach = || packet::Consumer::attach(backing.consumer_memory(), Polling).unwrap();
    let mut receiver = Receiver::new([None], Nowhere).unwrap();
    let refused = receiver.join(attach()).err().unwrap();
    assert_eq!(refused.1, Error::Unsupported);
    let refused = Receiver::new([Some(refused.0)], Nowhere).err();
    assert_eq!(refused, Some(Error::Unsupported));
}

/// A bell that any producer rings.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
    started: Option<Instant>,
}

impl Gather for Bell {
    fn wait(&self, deadline_ns: u64) -> Result<(), Error> {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            let passed = self
                .started
                .map_or(0, |started| started.elapsed().as_nanos() as u64);
            let left = Duration::from_nanos(deadline_ns.saturating_sub(passed));
            if left.is_zero() {
                return Err(Error::TimedOut);
            }
            rung = self.changed.wait_timeout(rung, left).unwrap().0;
        }
        *rung = false;
        Ok(())
    }
}

struct Rings(Arc<Bell>);

impl Wait for Rings {
    fn wait(&self, _seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        thread::yield_now();
        Ok(())
    }

    fn wake(&self) {
        *self.0.rung.lock().unwrap() = true;
        self.0.changed.notify_all();
    }
}

#[test]
fn a_receiver_that_sleeps_for_all_is_woken_by_any() {
    const SENDERS: usize = 4;
    let count = if cfg!(miri) { 10 } else { 5_000 };
    let bell = Arc::new(Bell {
        started: Some(Instant::now()),
        ..Bell::default()
    });
    let mut receiver = Receiver::new([const { None }; SENDERS], &*bell).unwrap();
    let (mut threads, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..SENDERS {
        let backing = Backing::new(SMALL);
        let owner = backing.format(u32::MAX - 63);
        let consumer = packet::Consumer::attach(backing.consumer_memory(), Rings(bell.clone()));
        receiver.join(consumer.unwrap()).map_err(|_| ()).unwrap();
        let producer = packet::Producer::attach(backing.producer_memory(), Rings(bell.clone()));
        let mut producer = producer.unwrap();
        let bell = bell.clone();
        threads.push(thread::spawn(move || {
            for number in 0..count {
                producer.send(number, &[7; 40], u64::MAX).unwrap();
                if number % 100 == 0 {
                    thread::yield_now();
                }
            }
            owner.set_state(End::Producer, EndState::Draining);
            Rings(bell).wake();
        }));
        kept.push(backing);
    }
    let mut received = [0; SENDERS];
    while receiver.members() > 0 {
        match next(&mut receiver) {
            Ok((place, Ok(tag))) => {
                assert_eq!(tag, received[place]);
                received[place] += 1;
            }
            Ok((place, Err(why))) => {
                assert_eq!((received[place], why), (count, Error::PeerClosed));
            }
            // The bell rang for what was there already.
            Err(error) => assert_eq!(error, Error::Empty),
        }
    }
    for sender in threads {
        sender.join().unwrap();
    }
}
