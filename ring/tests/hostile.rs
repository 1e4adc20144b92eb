//! A peer that writes anything, anywhere that it may, at any moment.
#![cfg(not(loom))]

mod common;
mod corpus;
mod hostile_peer;
mod script;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use abi::ring::{
    CONSUMER_OFFSET, DATA_OFFSET, End, Geometry, HEADER_OFFSET, Header, Kind, PRODUCER_OFFSET,
    packet,
};
use common::{Backing, cases, polled_bytes, polled_packets, polled_ring};
use proptest::prelude::*;
use ring::Error;

proptest! {
    #![proptest_config(cases(1500, 4))]

    #[test]
    fn whatever_the_script_of_a_hostile_peer_is_it_is_answered(script in prop::collection::vec(any::<u8>(), 0..600)) {
        hostile_peer::play(&script);
    }
}

#[test]
#[cfg_attr(miri, ignore = "it reads files")]
fn every_script_that_was_kept_is_answered() {
    corpus::play_all("hostile_peer", hostile_peer::play);
}

/// Writes lies from a table into words of a ring until told to stop.
struct Liar {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Backing>,
}

impl Liar {
    fn start(backing: Backing, lies: impl Fn(u32) -> (usize, u32) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut step = 1u32;
            while !stopped.load(Ordering::Relaxed) {
                step = step.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (offset, value) = lies(step >> 8);
                backing.overwrite(offset, value);
            }
            backing
        });
        Self { stop, thread }
    }

    fn stop(self) -> Backing {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

const LOOKS: usize = if cfg!(miri) { 30 } else { 20_000 };

#[test]
fn a_consumer_survives_a_producer_that_writes_while_it_looks() {
    let geometry = Geometry::packet(4096);
    for round in 0..if cfg!(miri) { 1 } else { 20 } {
        let mut ring = polled_packets(geometry, 0);
        let liar = Liar::start(ring.backing, move |random| match random % 3 {
            // Mostly what an honest one could write, so that the consumer gets on.
            0 => (PRODUCER_OFFSET, 8 * (random / 3 % (64 + round))),
            1 => (DATA_OFFSET + 8 * (random as usize / 3 % 512), random % 40),
            _ => (DATA_OFFSET + 4 + 8 * (random as usize / 3 % 512), random),
        });
        let mut target = [0; 4096];
        for _ in 0..LOOKS / 20 {
            match ring.consumer.try_receive(&mut target) {
                Ok((_, length)) => assert!(length <= packet::max_payload(4096) as usize),
                Err(error) => {
                    assert!([Error::Empty, Error::PeerFault].contains(&error), "{error}");
                }
            }
        }
        liar.stop();
    }
}

#[test]
fn a_consumer_of_slots_survives_a_producer_that_writes_while_it_looks() {
    let mut ring = polled_ring(Geometry::slot(64, 4), 0);
    let liar = Liar::start(ring.backing, |random| {
        let slot = DATA_OFFSET + 64 * (random as usize % 4);
        match random % 7 {
            0 => (slot + 4, random % 70),
            _ => (slot, random / 7 % 9),
        }
    });
    let mut target = [0; 64];
    for _ in 0..LOOKS {
        match ring.consumer.try_receive(&mut target) {
            Ok(length) => assert!(length <= 56),
            Err(error) => assert!([Error::Empty, Error::PeerFault].contains(&error), "{error}"),
        }
    }
    liar.stop();
}

#[test]
fn a_reader_survives_a_writer_that_moves_its_tail_at_will() {
    let mut ring = polled_bytes(Geometry::byte(4096), 0);
    let liar = Liar::start(ring.backing, |random| (PRODUCER_OFFSET, random % 5000));
    let mut target = [0; 5000];
    for _ in 0..LOOKS {
        match ring.consumer.try_read(&mut target) {
            Ok(length) => assert!((1..=4096).contains(&length)),
            Err(error) => assert!([Error::Empty, Error::PeerFault].contains(&error), "{error}"),
        }
    }
    liar.stop();
}

#[test]
fn a_producer_survives_a_consumer_that_moves_its_head_at_will() {
    let mut ring = polled_packets(Geometry::packet(4096), 0);
    let liar = Liar::start(ring.backing, |random| match random % 2 {
        0 => (CONSUMER_OFFSET, random / 2 % 6000 / 8 * 8),
        _ => (CONSUMER_OFFSET + 128, random),
    });
    for length in 0..LOOKS {
        match ring.producer.try_send(0, &[1; 300][..length % 300]) {
            Ok(()) => {}
            Err(error) => assert!([Error::Full, Error::PeerFault].contains(&error), "{error}"),
        }
        assert!(ring.producer.len().unwrap_or(0) <= 4096);
    }
    liar.stop();
}

#[test]
fn a_header_that_changes_while_the_ring_is_used_changes_no_message() {
    let geometries = [
        Geometry::slot(576, 4),
        Geometry::packet(4096),
        Geometry::byte(4096),
    ];
    let words = size_of::<Header>() / 4;
    let states = [End::Producer, End::Consumer].map(|end| Header::state_offset(end) / 4);
    let values: &[u32] = match cfg!(miri) {
        true => &[5],
        false => &[0, 1, 2, 5, 4096, 1 << 31, u32::MAX],
    };
    for geometry in geometries {
        for word in (0..words).filter(|word| !cfg!(miri) || *word < 9 || states.contains(word)) {
            for &value in values {
                let offset = HEADER_OFFSET + 4 * word;
                let told = format!("{value} at {offset} of {geometry:?}");
                let passed = pass_across(geometry, offset, value);
                match passed {
                    Ok(()) => {}
                    // What an end is said to be is all that an end believes.
                    Err(error) => assert!(
                        states.contains(&word) && error != Error::Full && error != Error::TooLarge,
                        "{error} after {told}"
                    ),
                }
            }
        }
    }
}

/// Fills the ring and empties it before and after a word was written, with whatever came of it. There is as much room as
/// before, and a tail that tells of more is no more believed than before.
fn pass_across(geometry: Geometry, offset: usize, value: u32) -> Result<(), Error> {
    let mut target = [0; 512];
    macro_rules! pass {
        ($ring:ident, $send:expr, $receive:expr) => {{
            let mut laps = [0; 3];
            for (lap, sent) in (0u8..).zip(&mut laps) {
                let message = |number: u8| [16 * lap + number; 512];
                loop {
                    if (lap, *sent) == (1, 2) {
                        $ring.backing.overwrite(offset, value);
                    }
                    match $send(&mut $ring.producer, &message(*sent)[..]) {
                        Ok(()) => *sent += 1,
                        Err(Error::Full) => break,
                        Err(error) => return Err(error),
                    }
                }
                for number in 0..*sent {
                    let length: usize = $receive(&mut $ring.consumer, &mut target[..])?;
                    assert_eq!(target[..length], message(number));
                }
                match $receive(&mut $ring.consumer, &mut target[..]) {
                    Err(Error::Empty) => {}
                    other => return other.map(drop),
                }
            }
            assert!(
                laps == [laps[0]; 3] && laps[0] > 3,
                "{laps:?} with {value} at {offset}"
            );
            let tail = $ring.owner.index(End::Producer);
            let beyond = tail.wrapping_add(geometry.capacity + 8);
            $ring.backing.overwrite(PRODUCER_OFFSET, beyond);
            let wanted = match geometry.kind {
                // What is there is told by the slots.
                Kind::Slot => Error::Empty,
                Kind::Packet | Kind::Byte => Error::PeerFault,
            };
            assert_eq!($receive(&mut $ring.consumer, &mut target[..]), Err(wanted));
            Ok(())
        }};
    }
    match geometry.kind {
        Kind::Slot => {
            let mut ring = polled_ring(geometry, u32::MAX - 9);
            pass!(
                ring,
                ring::slot::Producer::try_send,
                ring::slot::Consumer::try_receive
            )
        }
        Kind::Packet => {
            let mut ring = polled_packets(geometry, u32::MAX - 63);
            pass!(
                ring,
                |producer: &mut packet_end::Producer, bytes| producer.try_send(1, bytes),
                |consumer: &mut packet_end::Consumer, target| consumer
                    .try_receive(target)
                    .map(|(_, length)| length)
            )
        }
        Kind::Byte => {
            let mut ring = polled_bytes(geometry, u32::MAX - 9);
            pass!(
                ring,
                |producer: &mut byte_end::Producer, bytes: &[u8]| producer
                    .try_write(bytes)
                    .map(drop),
                ring::byte::Consumer::try_read
            )
        }
    }
}

mod packet_end {
    pub type Producer = ring::packet::Producer<ring::Polling>;
    pub type Consumer = ring::packet::Consumer<ring::Polling>;
}

mod byte_end {
    pub type Producer = ring::byte::Producer<ring::Polling>;
}
