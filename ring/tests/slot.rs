//! What one end of a SLOT ring promises, seen from one thread.
#![cfg(not(loom))]

mod common;

use std::cell::Cell;
use std::sync::atomic::Ordering;

use abi::ring::{CONSUMER_OFFSET, DATA_OFFSET, End, EndState, Geometry, PRODUCER_OFFSET};
use common::{Backing, ENDINGS, PolledRing, polled_ring, sleeping_ring};
use ring::slot::{Consumer, Producer};
use ring::{Error, Polling, Wait};

const SMALL: Geometry = Geometry::slot(64, 4);

fn receive(ring: &mut PolledRing) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; ring.consumer.max_message_bytes()];
    let length = ring.consumer.try_receive(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

#[test]
fn messages_of_every_length_arrive_as_they_were_sent() {
    let mut ring = polled_ring(Geometry::slot(192, 4), u32::MAX - 20);
    for length in 0..=ring.producer.max_message_bytes() {
        let sent: Vec<u8> = (0..length).map(|byte| (byte * 7 + length) as u8).collect();
        ring.producer.try_send(&sent).unwrap();
        assert_eq!(receive(&mut ring).unwrap(), sent);
    }
}

#[test]
fn what_can_never_fit_is_too_large_even_when_the_ring_is_full() {
    let mut ring = polled_ring(SMALL, 0);
    for _ in 0..4 {
        ring.producer.try_send(&[]).unwrap();
    }
    assert_eq!(ring.producer.try_send(&[0; 57]), Err(Error::TooLarge));
    assert_eq!(ring.producer.try_send(&[0; 56]), Err(Error::Full));
    assert_eq!(ring.producer.send(&[], 0), Err(Error::Full));
}

#[test]
fn a_message_longer_than_the_buffer_stays_in_the_ring() {
    let mut ring = polled_ring(SMALL, 0);
    ring.producer.try_send(b"three").unwrap();
    assert_eq!(ring.consumer.try_receive(&mut [0; 4]), Err(Error::TooLarge));
    assert_eq!(receive(&mut ring).unwrap(), b"three");
    assert_eq!(ring.consumer.receive(&mut [], 0), Err(Error::Empty));
}

#[test]
fn a_reservation_that_is_dropped_sends_nothing() {
    let mut ring = polled_ring(SMALL, 0);
    ring.producer.reserve(10).unwrap().as_mut_slice().fill(1);
    assert_eq!(receive(&mut ring), Err(Error::Empty));
    let mut reservation = ring.producer.reserve(10).unwrap();
    reservation.as_mut_slice().copy_from_slice(b"0123456789");
    reservation.write(2, b"ab").unwrap();
    assert_eq!(reservation.write(9, b"ab"), Err(Error::TooLarge));
    assert_eq!(reservation.write(usize::MAX, b"ab"), Err(Error::TooLarge));
    reservation.commit(5).unwrap();
    assert_eq!(receive(&mut ring).unwrap(), b"01ab4");
    assert_eq!(
        ring.producer.reserve(3).unwrap().commit(4),
        Err(Error::TooLarge)
    );
    assert_eq!(receive(&mut ring), Err(Error::Empty));
}

#[test]
fn a_peeked_message_is_received_again_until_it_is_released() {
    let mut ring = polled_ring(SMALL, 0);
    ring.producer.try_send(b"0123456789abcdef").unwrap();
    let message = ring.consumer.peek().unwrap();
    assert_eq!(message.len(), 16);
    let mut part = [0; 9];
    message.read(3, &mut part).unwrap();
    assert_eq!(&part, b"3456789ab");
    assert_eq!(message.read(8, &mut part), Err(Error::TooLarge));
    assert_eq!(message.read(usize::MAX, &mut part), Err(Error::TooLarge));
    drop(message);
    ring.consumer.peek().unwrap().release();
    assert_eq!(receive(&mut ring), Err(Error::Empty));
}

#[test]
fn a_batch_sends_what_fits_and_says_how_many() {
    let mut ring = polled_ring(SMALL, u32::MAX - 1);
    let messages: [&[u8]; 6] = [b"a", b"", b"c", b"d", b"e", b"f"];
    assert_eq!(ring.producer.send_batch(&[]), Ok(0));
    assert_eq!(ring.producer.send_batch(&messages), Ok(4));
    assert_eq!(ring.producer.send_batch(&messages), Err(Error::Full));
    for message in &messages[..4] {
        assert_eq!(&receive(&mut ring).unwrap(), message);
    }
    let long = [0; 57];
    assert_eq!(ring.producer.send_batch(&[b"x", &long, b"y"]), Ok(1));
    assert_eq!(ring.producer.send_batch(&[&long]), Err(Error::TooLarge));
}

#[test]
fn a_batch_looks_once_whether_somebody_sleeps() {
    let mut ring = sleeping_ring(Geometry::slot(64, 8), 0);
    let timed_out = ring
        .consumer
        .receive(&mut [0; 56], ring.kernel.now_ns() + 1_000_000);
    assert_eq!(timed_out, Err(Error::TimedOut));
    assert_eq!(ring.producer.send_batch(&[b"a", b"b", b"c"]), Ok(3));
    assert_eq!(
        ring.kernel.wakes_by(End::Producer),
        0,
        "nobody sleeps any more"
    );
    // As if the consumer slept until three more were there.
    let waits_until = ring.backing.word(CONSUMER_OFFSET + 128);
    waits_until.store(6, Ordering::Relaxed);
    assert_eq!(ring.producer.send_batch(&[b"d", b"e"]), Ok(2));
    assert_eq!(
        ring.kernel.wakes_by(End::Producer),
        0,
        "its threshold is not reached"
    );
    assert_eq!(ring.producer.send_batch(&[b"f", b"g"]), Ok(2));
    assert_eq!(ring.kernel.wakes_by(End::Producer), 1);
}

#[test]
fn the_head_goes_back_when_a_quarter_is_free_and_when_the_ring_is_empty() {
    let mut ring = polled_ring(Geometry::slot(64, 16), 100);
    for _ in 0..16 {
        ring.producer.try_send(&[]).unwrap();
    }
    for _ in 0..3 {
        receive(&mut ring).unwrap();
    }
    assert_eq!(ring.owner.index(End::Consumer), 100);
    receive(&mut ring).unwrap();
    assert_eq!(ring.owner.index(End::Consumer), 104);
    receive(&mut ring).unwrap();
    ring.consumer.flush();
    assert_eq!(ring.owner.index(End::Consumer), 105);
    while receive(&mut ring).is_ok() {}
    assert_eq!(ring.owner.index(End::Consumer), 116);
}

#[test]
fn a_waiting_producer_gets_the_head_at_each_release() {
    let mut ring = sleeping_ring(Geometry::slot(64, 16), 0);
    for _ in 0..16 {
        ring.producer.try_send(&[]).unwrap();
    }
    ring.backing
        .word(PRODUCER_OFFSET + 128)
        .store(2, Ordering::Relaxed);
    ring.consumer.try_receive(&mut []).unwrap();
    assert_eq!(ring.head(), 1);
    ring.consumer.try_receive(&mut []).unwrap();
    assert_eq!(ring.head(), 2);
    ring.consumer.try_receive(&mut []).unwrap();
    assert_eq!(ring.head(), 2, "it has what it waited for");
}

#[test]
fn both_ends_count_what_is_there() {
    let mut ring = polled_ring(SMALL, u32::MAX);
    assert_eq!(ring.consumer.is_empty(), Ok(true));
    ring.producer.send_batch(&[b"a", b"b", b"c"]).unwrap();
    assert_eq!((ring.producer.len(), ring.consumer.len()), (Ok(3), Ok(3)));
    receive(&mut ring).unwrap();
    assert_eq!((ring.producer.len(), ring.consumer.len()), (Ok(2), Ok(2)));
    assert_eq!((ring.producer.capacity(), ring.consumer.capacity()), (4, 4));
}

#[test]
fn what_was_sent_before_the_end_closed_is_received_first() {
    for (state, answer) in ENDINGS {
        let mut ring = polled_ring(SMALL, 0);
        ring.producer.try_send(b"last words").unwrap();
        ring.owner.set_state(End::Producer, state);
        assert!(!ring.consumer.is_peer_alive());
        assert_eq!(ring.consumer.peer_state(), state);
        assert_eq!(receive(&mut ring).unwrap(), b"last words");
        assert_eq!(receive(&mut ring), Err(answer));
        assert_eq!(ring.consumer.receive(&mut [0; 56], u64::MAX), Err(answer));
    }
}

#[test]
fn nothing_is_sent_to_an_end_that_is_not_open() {
    for (state, theirs, own) in [
        (EndState::Draining, Error::PeerClosed, Error::Closed),
        (EndState::Closed, Error::PeerDied, Error::Closed),
        (EndState::Revoked, Error::Revoked, Error::Revoked),
        (EndState::Poisoned, Error::PeerFault, Error::PeerFault),
    ] {
        let mut ring = polled_ring(SMALL, 0);
        ring.owner.set_state(End::Consumer, state);
        assert_eq!(ring.producer.try_send(b"x"), Err(theirs));
        assert_eq!(ring.producer.send(b"x", u64::MAX), Err(theirs));
        assert_eq!(receive(&mut ring), Err(own));
        let mut ring = polled_ring(SMALL, 0);
        ring.owner.set_state(End::Producer, state);
        assert_eq!(ring.producer.try_send(b"x"), Err(own));
    }
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let mut ring = sleeping_ring(SMALL, 0);
    let deadline_ns = ring.kernel.now_ns() + 2_000_000;
    assert_eq!(
        ring.consumer.receive(&mut [0; 56], deadline_ns),
        Err(Error::TimedOut)
    );
    assert!(ring.kernel.now_ns() >= deadline_ns);
    for _ in 0..4 {
        ring.producer.send(&[], u64::MAX).unwrap();
    }
    let deadline_ns = ring.kernel.now_ns() + 2_000_000;
    assert_eq!(ring.producer.send(&[], deadline_ns), Err(Error::TimedOut));
    assert_eq!(ring.kernel.sleeps_of(End::Producer), 1);
}

#[test]
fn thresholds_beyond_half_of_the_ring_are_refused() {
    let mut ring = polled_ring(SMALL, 0);
    assert_eq!(ring.producer.set_wake_threshold(0), Err(Error::Invalid));
    assert_eq!(ring.producer.set_wake_threshold(3), Err(Error::Invalid));
    assert_eq!(ring.producer.set_wake_threshold(2), Ok(()));
    assert_eq!(ring.consumer.set_wake_threshold(3), Err(Error::Invalid));
    assert_eq!(ring.consumer.set_wake_threshold(2), Ok(()));
}

#[test]
fn a_new_holder_goes_on_where_the_last_one_was() {
    let mut ring = polled_ring(SMALL, u32::MAX - 1);
    ring.producer.send_batch(&[b"a", b"b", b"c"]).unwrap();
    receive(&mut ring).unwrap();
    ring.consumer = Consumer::attach(ring.backing.consumer_memory(), Polling).unwrap();
    assert_eq!(receive(&mut ring).unwrap(), b"b");
    // The holder died after it had published "c", before it could store the tail.
    let tail = ring.owner.index(End::Producer);
    ring.backing
        .word(PRODUCER_OFFSET)
        .store(tail.wrapping_sub(1), Ordering::Relaxed);
    ring.producer = Producer::attach(ring.backing.producer_memory(), Polling).unwrap();
    assert_eq!(ring.owner.index(End::Producer), tail);
    ring.producer.try_send(b"d").unwrap();
    assert_eq!(receive(&mut ring).unwrap(), b"c");
    assert_eq!(receive(&mut ring).unwrap(), b"d");
}

#[test]
fn a_ring_in_which_the_last_holder_planted_a_message_has_no_new_one() {
    // A word that no honest holder leaves: by the index of its slot, from the tail on, which sequence it has and which length.
    let planted = [
        ("the message after the next", 1, 2, 9),
        ("the last of the lap", 3, 4, 0),
        ("one of the lap after", 2, 7, 0),
        ("of no lap", 0, -1, 0),
        ("what was sent without a sequence", -1, -4, 1),
        ("what was sent too long", -1, 0, 57),
    ];
    for (what, place, sequence, length) in planted {
        let mut ring = polled_ring(SMALL, u32::MAX - 1);
        ring.producer.send_batch(&[b"a", b"b", b"c"]).unwrap();
        receive(&mut ring).unwrap();
        let tail = ring.owner.index(End::Producer);
        let slot = tail.wrapping_add_signed(place) % 4;
        let word = DATA_OFFSET + slot as usize * 64;
        ring.backing
            .overwrite(word, tail.wrapping_add_signed(sequence));
        ring.backing.overwrite(word + 4, length);
        let attached = Producer::attach(ring.backing.producer_memory(), Polling);
        assert_eq!(attached.err(), Some(Error::PeerFault), "{what}");
    }
}

#[test]
fn a_producer_never_waits_for_what_a_sleeping_consumer_keeps() {
    let mut ring = sleeping_ring(Geometry::slot(64, 8), 0);
    ring.consumer.set_wake_threshold(4).unwrap();
    // It sleeps at the empty ring until there are four; the producer sends three.
    assert_eq!(ring.consumer.arm(), Ok(Some(4)));
    ring.producer.send_batch(&[b"a", b"b", b"c"]).unwrap();
    assert_eq!(ring.kernel.wakes_by(End::Producer), 0);
    assert_eq!(ring.producer.arm(5), Err(Error::TooLarge));
    assert_eq!(ring.producer.arm(8), Err(Error::TooLarge));
    assert_eq!(ring.producer.arm(4), Ok(None), "there is room");
    assert_eq!(ring.producer.try_send(b"d"), Ok(()));
    assert_eq!(ring.kernel.wakes_by(End::Producer), 1);
}

#[test]
fn an_end_is_not_attached_to_memory_of_another_shape() {
    let ring = polled_ring(SMALL, 0);
    for (offset, answer) in [
        (0, Error::Invalid),
        (4, Error::Invalid),
        (8, Error::Invalid),
        (16, Error::Invalid),
        (20, Error::Invalid),
    ] {
        let kept = ring.backing.word(offset).fetch_add(1, Ordering::Relaxed);
        assert_eq!(
            Producer::attach(ring.backing.producer_memory(), Polling).err(),
            Some(answer)
        );
        assert_eq!(
            Consumer::attach(ring.backing.consumer_memory(), Polling).err(),
            Some(answer)
        );
        ring.backing.word(offset).store(kept, Ordering::Relaxed);
    }
    ring.backing.word(12).store(3, Ordering::Relaxed);
    assert_eq!(
        Producer::attach(ring.backing.producer_memory(), Polling).err(),
        Some(Error::Invalid)
    );
    ring.backing.word(12).store(1, Ordering::Relaxed);
    ring.backing
        .word(CONSUMER_OFFSET)
        .store(1, Ordering::Relaxed);
    assert_eq!(
        Producer::attach(ring.backing.producer_memory(), Polling).err(),
        Some(Error::PeerFault)
    );
}

/// A kernel that has whoever wants to sleep look again at once, as for an index that has come so far.
struct AlwaysOver(Cell<u32>);

impl Wait for AlwaysOver {
    fn wait(&self, _seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        self.0.set(self.0.get() + 1);
        match self.0.get() {
            1000.. => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }

    fn wake(&self) {}
}

#[test]
fn a_tail_that_tells_of_what_is_not_there_ends_no_sleep_but_the_ring() {
    // As far as honest producers come, and further.
    for (tail, start) in [(1, 0), (4, 0), (5, 0), (1 << 31, 0), (0, u32::MAX), (7, 3)] {
        let backing = Backing::new(SMALL);
        let _owner = backing.format(start);
        let kernel = AlwaysOver(Cell::default());
        let mut consumer = Consumer::attach(backing.consumer_memory(), &kernel).unwrap();
        backing.overwrite(PRODUCER_OFFSET, tail);
        let received = consumer.receive(&mut [0; 56], u64::MAX);
        assert_eq!(received, Err(Error::PeerFault), "{tail} after {start}");
        assert_eq!(consumer.try_receive(&mut [0; 56]), Err(Error::PeerFault));
        assert!(kernel.0.get() <= 1);
    }
    // Who is only woken again and again goes on.
    let backing = Backing::new(SMALL);
    let _owner = backing.format(0);
    let kernel = AlwaysOver(Cell::default());
    let mut consumer = Consumer::attach(backing.consumer_memory(), &kernel).unwrap();
    let received = consumer.receive(&mut [0; 56], u64::MAX);
    assert_eq!(received, Err(Error::Interrupted));
    let mut producer = Producer::attach(backing.producer_memory(), Polling).unwrap();
    producer.try_send(b"x").unwrap();
    assert_eq!(consumer.receive(&mut [0; 56], u64::MAX), Ok(1));
}
