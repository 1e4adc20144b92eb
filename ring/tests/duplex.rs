//! Both directions of a link, and how each ends.
#![cfg(not(loom))]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use abi::ring::{CONSUMER_OFFSET, End, EndState, Geometry, PRODUCER_OFFSET};
use common::{Backing, Calls, ENDINGS, Kernel, polled_ring, sleeping_packets};
use ring::Error;
use ring::duplex::{Direction, Duplex};
use ring::packet::{Consumer, Producer};

const SMALL: Geometry = Geometry::packet(4096);

type Side = Duplex<Producer<Calls>, Consumer<Calls>>;

struct Link {
    one: Side,
    other: Side,
    /// Of the rings in which the one and the other send.
    kernels: [Arc<Kernel>; 2],
    backing: [Backing; 2],
}

fn link() -> Link {
    let there = sleeping_packets(SMALL, 64);
    let back = sleeping_packets(SMALL, u32::MAX - 7);
    Link {
        one: Duplex::new(there.producer, back.consumer),
        other: Duplex::new(back.producer, there.consumer),
        kernels: [there.kernel, back.kernel],
        backing: [there.backing, back.backing],
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

/// What either side says of the direction in which `one` sends.
fn both(link: &mut Link) -> [Direction; 2] {
    [link.one.sending(), link.other.receiving()]
}

#[test]
fn both_sides_say_the_same_of_a_direction_whoever_ends_it() {
    use Direction::{Closed, Draining, Open};
    let mut ends = vec![(End::Consumer, EndState::Draining)];
    ends.extend(ENDINGS.map(|(state, _)| (End::Producer, state)));
    for (end, state) in ends {
        let mut link = link();
        assert_eq!(both(&mut link), [Open; 2]);
        link.one.sender.try_send(1, b"x").unwrap();
        assert_eq!(both(&mut link), [Open; 2]);
        link.kernels[0].close(end, state);
        assert_eq!(both(&mut link), [Draining; 2], "{state:?} of {end:?}");
        link.other.receiver.try_receive(&mut [0; 16]).unwrap();
        // As soon as it has looked for more in vain, it has given everything back.
        assert_eq!(link.other.receiving(), Closed);
        assert_eq!(both(&mut link), [Closed; 2], "{state:?} of {end:?}");
    }
}

#[test]
fn what_was_sent_to_who_is_gone_drains_no_more() {
    for state in [EndState::Closed, EndState::Revoked, EndState::Poisoned] {
        let mut link = link();
        link.one.sender.try_send(1, b"x").unwrap();
        link.kernels[0].close(End::Consumer, state);
        assert_eq!(link.one.sending(), Direction::Closed);
    }
}

#[test]
fn a_direction_is_closed_for_who_does_not_believe_its_peer() {
    let mut link = link();
    link.one.sender.try_send(1, b"x").unwrap();
    // Heads that nobody can have, at ends that are open.
    link.backing[0].overwrite(CONSUMER_OFFSET, 12);
    link.backing[1].overwrite(PRODUCER_OFFSET, 12);
    assert_eq!(link.one.sending(), Direction::Closed);
    assert_eq!(link.one.receiving(), Direction::Closed);
    assert_eq!(link.one.sender.try_send(1, b"x"), Err(Error::PeerFault));
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
