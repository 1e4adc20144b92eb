//! What one end of a PACKET ring promises, seen from one thread.
#![cfg(not(loom))]

mod common;

use std::sync::atomic::Ordering;

use abi::ring::packet::{ALIGN, LINE_BYTES, LINE_FROM, extent};
use abi::ring::{CONSUMER_OFFSET, DATA_OFFSET, End, Form, Geometry, PRODUCER_OFFSET};
use common::{Backing, ENDINGS, Polled, polled_packets, sleeping_packets};
use ring::packet::{Consumer, Producer};
use ring::{Error, Polling};

const SMALL: Geometry = Geometry::packet(4096);

type Ring = Polled<Producer<Polling>, Consumer<Polling>>;

fn receive(ring: &mut Ring) -> Result<(u32, Vec<u8>), Error> {
    let mut bytes = vec![0; ring.consumer.max_message_bytes()];
    let (tag, length) = ring.consumer.try_receive(&mut bytes)?;
    bytes.truncate(length);
    Ok((tag, bytes))
}

fn message(length: usize) -> Vec<u8> {
    (0..length).map(|byte| (byte * 7 + length) as u8).collect()
}

#[test]
fn messages_of_every_length_arrive_as_they_were_sent() {
    let mut ring = polled_packets(SMALL, u32::MAX - 1999);
    let step = if cfg!(miri) { 1009 } else { 1 };
    for length in (0..=ring.producer.max_message_bytes()).step_by(step) {
        ring.producer
            .try_send(length as u32, &message(length))
            .unwrap();
        assert_eq!(
            receive(&mut ring).unwrap(),
            (length as u32, message(length))
        );
    }
}

#[test]
fn the_longest_message_fits_into_an_empty_ring_wherever_its_indices_are() {
    let step = if cfg!(miri) { 251 } else { 1 };
    for start in (0..2 * SMALL.capacity / ALIGN).step_by(step) {
        let mut ring = polled_packets(SMALL, (start * ALIGN).wrapping_sub(SMALL.capacity));
        let longest = message(ring.producer.max_message_bytes());
        assert_eq!(ring.producer.try_send(1, &longest), Ok(()));
        assert_eq!(receive(&mut ring), Ok((1, longest)));
        assert_eq!(receive(&mut ring), Err(Error::Empty));
    }
}

#[test]
fn what_can_never_fit_is_too_large_even_when_the_ring_is_full() {
    let mut ring = polled_packets(SMALL, 0);
    let longest = vec![0; ring.producer.max_message_bytes()];
    let too_long = vec![0; longest.len() + 1];
    assert_eq!(ring.producer.try_send(0, &too_long), Err(Error::TooLarge));
    ring.producer.try_send(0, &longest).unwrap();
    assert_eq!(ring.producer.try_send(0, &too_long), Err(Error::TooLarge));
    assert_eq!(
        ring.producer.send(0, &too_long, u64::MAX),
        Err(Error::TooLarge)
    );
    assert_eq!(ring.producer.try_send(0, &longest), Err(Error::Full));
    assert_eq!(ring.producer.send(0, &longest, 0), Err(Error::Full));
    assert_eq!(
        ring.producer.reserve(usize::MAX).err(),
        Some(Error::TooLarge)
    );
}

#[test]
fn messages_of_more_than_64_kib_keep_their_length() {
    let mut ring = polled_packets(Geometry::packet(1 << 18), 8);
    let long = message(65_541);
    ring.producer.try_send(5, &long).unwrap();
    assert_eq!(receive(&mut ring), Ok((5, long)));
}

#[test]
fn a_message_of_no_bytes_is_a_message() {
    let mut ring = polled_packets(SMALL, 0);
    ring.producer.try_send(7, &[]).unwrap();
    ring.producer.try_send(8, &[]).unwrap();
    assert_eq!(receive(&mut ring), Ok((7, vec![])));
    assert_eq!(ring.consumer.try_receive(&mut []), Ok((8, 0)));
    assert_eq!(receive(&mut ring), Err(Error::Empty));
    for _ in 0..SMALL.capacity / ALIGN {
        ring.producer.try_send(0, &[]).unwrap();
    }
    assert_eq!(ring.producer.try_send(0, &[]), Err(Error::Full));
}

#[test]
fn a_message_longer_than_the_buffer_stays_and_tells_its_length() {
    let mut ring = polled_packets(SMALL, 0);
    ring.producer.try_send(3, b"three").unwrap();
    assert_eq!(ring.consumer.try_receive(&mut [0; 4]), Err(Error::TooLarge));
    let peeked = ring.consumer.peek().unwrap();
    assert_eq!((peeked.tag(), peeked.len()), (3, 5));
    drop(peeked);
    assert_eq!(receive(&mut ring), Ok((3, b"three".to_vec())));
}

#[test]
fn short_messages_share_lines_and_long_ones_begin_one() {
    let mut ring = polled_packets(SMALL, 0);
    for _ in 0..4 {
        ring.producer.try_send(0, &[1; 8]).unwrap();
    }
    assert_eq!(ring.owner.index(End::Producer), LINE_BYTES);
    let mut reservation = ring.producer.reserve(LINE_FROM as usize).unwrap();
    let address = reservation.as_mut_slice().as_ptr().addr();
    assert!(address.is_multiple_of(LINE_BYTES as usize));
    reservation.commit(0);
    assert_eq!(
        ring.owner.index(End::Producer),
        LINE_BYTES + extent(LINE_BYTES, LINE_FROM)
    );
}

#[test]
fn a_reservation_is_written_in_place_and_sent_when_it_is_committed() {
    let mut ring = polled_packets(SMALL, 4096 - 16);
    ring.producer.reserve(10).unwrap().as_mut_slice().fill(1);
    assert_eq!(receive(&mut ring), Err(Error::Empty));
    let mut reservation = ring.producer.reserve(10).unwrap();
    reservation.as_mut_slice().copy_from_slice(b"0123456789");
    reservation.write(2, b"ab").unwrap();
    assert_eq!(reservation.write(9, b"ab"), Err(Error::TooLarge));
    assert_eq!(reservation.write(usize::MAX, b"ab"), Err(Error::TooLarge));
    reservation.commit(9);
    assert_eq!(receive(&mut ring), Ok((9, b"01ab456789".to_vec())));
}

#[test]
fn a_reservation_can_be_sent_shorter_than_it_was_made() {
    for reserved in [10, 300, 2000] {
        for sent in [0, 5, 255, 256, 299] {
            for start in [0, 4096 - 64, 4096 - 8, u32::MAX - 255] {
                let mut ring = polled_packets(SMALL, start);
                let mut reservation = ring.producer.reserve(reserved).unwrap();
                let bytes = message(reserved);
                reservation.as_mut_slice().copy_from_slice(&bytes);
                let answer = reservation.commit_first(4, sent);
                if sent > reserved {
                    assert_eq!(answer, Err(Error::TooLarge));
                    assert_eq!(receive(&mut ring), Err(Error::Empty));
                } else {
                    assert_eq!(answer, Ok(()));
                    assert_eq!(receive(&mut ring), Ok((4, bytes[..sent].to_vec())));
                }
            }
        }
    }
}

#[test]
fn a_peeked_message_is_received_again_until_it_is_released() {
    let mut ring = polled_packets(SMALL, 0);
    ring.producer.try_send(1, b"0123456789abcdef").unwrap();
    let message = ring.consumer.peek().unwrap();
    let mut part = [0; 9];
    message.read(3, &mut part).unwrap();
    assert_eq!(&part, b"3456789ab");
    assert_eq!(message.read(8, &mut part), Err(Error::TooLarge));
    assert_eq!(message.read(usize::MAX, &mut part), Err(Error::TooLarge));
    let mut whole = [0; 16];
    assert_eq!(message.bytes().copy_to(&mut whole), Ok(16));
    assert_eq!(&whole, b"0123456789abcdef");
    assert_eq!(message.bytes().copy_to(&mut part), Err(Error::TooLarge));
    drop(message);
    ring.consumer.peek().unwrap().release();
    assert_eq!(receive(&mut ring), Err(Error::Empty));
}

#[test]
fn a_batch_is_published_at_once_and_wakes_once() {
    let mut ring = sleeping_packets(SMALL, u32::MAX - 7);
    let mut bytes = [0; 64];
    // As if the consumer slept.
    let waits_until = ring.backing.word(CONSUMER_OFFSET + 128);
    waits_until.store(u32::MAX - 6, Ordering::Relaxed);
    let messages: [(u32, &[u8]); 3] = [(1, b"a"), (2, b""), (3, b"ccc")];
    assert_eq!(ring.producer.send_batch(messages), Ok(3));
    assert_eq!(ring.kernel.wakes_by(End::Producer), 1);
    let mut received = Vec::new();
    let count = ring.consumer.receive_batch(2, |tag, shared| {
        let length = shared.copy_to(&mut bytes).unwrap();
        received.push((tag, bytes[..length].to_vec()));
    });
    assert_eq!(count, Ok(2));
    assert_eq!(received, [(1, b"a".to_vec()), (2, vec![])]);
    assert_eq!(
        ring.consumer.receive_batch(9, |tag, _| assert_eq!(tag, 3)),
        Ok(1)
    );
    assert_eq!(
        ring.consumer.receive_batch(9, |_, _| unreachable!()),
        Err(Error::Empty)
    );
}

#[test]
fn a_batch_sends_what_fits_and_says_how_many() {
    let mut ring = polled_packets(SMALL, 0);
    let third = vec![1; 1300];
    let batch = || [(0, third.as_slice()); 5];
    assert_eq!(ring.producer.send_batch([]), Ok(0));
    assert_eq!(ring.producer.send_batch(batch()), Ok(3));
    assert_eq!(ring.producer.send_batch(batch()), Err(Error::Full));
    assert_eq!(receive(&mut ring), Ok((0, third.clone())));
    let long = vec![0; 5000];
    assert_eq!(
        ring.producer.send_batch([(0, &long[..])]),
        Err(Error::TooLarge)
    );
}

#[test]
fn what_was_sent_before_the_end_closed_is_received_first_even_from_a_full_ring() {
    for (state, answer) in ENDINGS {
        let mut ring = polled_packets(SMALL, 16);
        let mut sent = 0;
        while ring.producer.try_send(sent, b"last words").is_ok() {
            sent += 1;
        }
        ring.owner.set_state(End::Producer, state);
        assert!(!ring.consumer.is_peer_alive());
        for tag in 0..sent {
            assert_eq!(receive(&mut ring), Ok((tag, b"last words".to_vec())));
        }
        assert_eq!(receive(&mut ring), Err(answer));
        assert_eq!(ring.consumer.receive(&mut [0; 56], u64::MAX), Err(answer));
        assert!(ring.producer.try_send(0, b"x").is_err());
    }
}

#[test]
fn a_batch_that_panics_has_sent_what_it_was_given_before() {
    let mut ring = sleeping_packets(SMALL, 0);
    assert_eq!(ring.consumer.arm(), Ok(Some(1)));
    let messages = [1, 2, 3].into_iter().map(|tag| match tag {
        3 => std::panic::resume_unwind(Box::new("no third")),
        tag => (tag, b"sent".as_slice()),
    });
    let sends = std::panic::AssertUnwindSafe(|| ring.producer.send_batch(messages));
    assert!(std::panic::catch_unwind(sends).is_err());
    assert_eq!(ring.kernel.wakes_by(End::Producer), 1);
    for tag in [1, 2] {
        assert_eq!(ring.consumer.try_receive(&mut [0; 4]), Ok((tag, 4)));
    }
    assert_eq!(ring.consumer.try_receive(&mut [0; 4]), Err(Error::Empty));
}

#[test]
fn a_producer_that_waits_for_a_long_message_gets_the_head_at_each_release() {
    let mut ring = sleeping_packets(SMALL, 0);
    for _ in 0..256 {
        ring.producer.try_send(0, &[0; 8]).unwrap();
    }
    assert_eq!(ring.producer.arm(48), Ok(Some(48)));
    ring.consumer.try_receive(&mut [0; 8]).unwrap();
    assert_eq!(ring.head(), 16);
    ring.consumer.try_receive(&mut [0; 8]).unwrap();
    ring.consumer.try_receive(&mut [0; 8]).unwrap();
    assert_eq!(ring.head(), 48);
    ring.consumer.try_receive(&mut [0; 8]).unwrap();
    assert_eq!(ring.head(), 48, "it has what it waited for");
    assert_eq!(ring.producer.arm(48), Ok(None));
    ring.producer.disarm();
    assert_eq!(ring.producer.arm(5000), Err(Error::TooLarge));
}

#[test]
fn both_ends_count_bytes() {
    let mut ring = polled_packets(SMALL, 0);
    assert_eq!(ring.consumer.is_empty(), Ok(true));
    ring.producer.try_send(0, &[0; 9]).unwrap();
    assert_eq!((ring.producer.len(), ring.consumer.len()), (Ok(24), Ok(24)));
    assert_eq!(ring.producer.bytes_of_ring(9), Ok(24));
    receive(&mut ring).unwrap();
    ring.consumer.flush();
    assert_eq!(
        (ring.producer.is_empty(), ring.consumer.is_empty()),
        (Ok(true), Ok(true))
    );
}

#[test]
fn a_new_holder_goes_on_where_the_last_one_was() {
    let mut ring = polled_packets(SMALL, u32::MAX - 7);
    ring.producer.try_send(1, b"a").unwrap();
    ring.producer.try_send(2, b"b").unwrap();
    receive(&mut ring).unwrap();
    // It had not given the first back.
    ring.consumer = Consumer::attach(ring.backing.consumer_memory(), Polling).unwrap();
    assert_eq!(receive(&mut ring), Ok((1, b"a".to_vec())));
    ring.producer = Producer::attach(ring.backing.producer_memory(), Polling).unwrap();
    ring.producer.try_send(3, b"c").unwrap();
    assert_eq!(receive(&mut ring), Ok((2, b"b".to_vec())));
    assert_eq!(receive(&mut ring), Ok((3, b"c".to_vec())));
}

#[test]
fn an_end_is_attached_to_its_kind_alone_and_to_indices_that_can_be() {
    let ring = polled_packets(SMALL, 0);
    let memory = || ring.backing.producer_memory();
    assert_eq!(
        ring::slot::Producer::attach(memory(), Polling).err(),
        Some(Error::Unsupported)
    );
    assert_eq!(
        ring::byte::Producer::attach(memory(), Polling).err(),
        Some(Error::Unsupported)
    );
    for wrong in [4, 4104, u32::MAX - 7] {
        ring.backing
            .word(PRODUCER_OFFSET)
            .store(wrong, Ordering::Relaxed);
        assert_eq!(
            Producer::attach(memory(), Polling).err(),
            Some(Error::PeerFault)
        );
        let memory = ring.backing.consumer_memory();
        assert_eq!(
            Consumer::attach(memory, Polling).err(),
            Some(Error::PeerFault)
        );
    }
}

#[test]
fn a_tail_or_head_that_no_honest_peer_stores_poisons_for_good() {
    for wrong in [u32::MAX - 7, 12, 4104, 1 << 31] {
        let mut ring = polled_packets(SMALL, 0);
        ring.backing
            .word(PRODUCER_OFFSET)
            .store(wrong, Ordering::Relaxed);
        assert_eq!(receive(&mut ring), Err(Error::PeerFault));
        ring.backing
            .word(PRODUCER_OFFSET)
            .store(0, Ordering::Relaxed);
        assert_eq!(receive(&mut ring), Err(Error::PeerFault));
        assert_eq!(ring.consumer.len(), Err(Error::PeerFault));
    }
    for wrong in [u32::MAX - 7, 12, 4104, 80] {
        let mut ring = polled_packets(SMALL, 0);
        ring.producer.try_send(0, &[0; 64]).unwrap();
        ring.backing
            .word(CONSUMER_OFFSET)
            .store(wrong, Ordering::Relaxed);
        let long = vec![0; ring.producer.max_message_bytes()];
        assert_eq!(ring.producer.try_send(0, &long), Err(Error::PeerFault));
        ring.backing
            .word(CONSUMER_OFFSET)
            .store(0, Ordering::Relaxed);
        assert_eq!(ring.producer.try_send(0, b"x"), Err(Error::PeerFault));
    }
}

#[test]
fn a_malformed_record_is_a_fault_and_never_an_empty_ring() {
    for (length, tail) in [(9, 16), (u32::MAX, 4096), (4033, 4096), (300, 256), (1, 8)] {
        let mut ring = polled_packets(SMALL, 0);
        ring.backing.overwrite(DATA_OFFSET, length);
        ring.backing
            .word(PRODUCER_OFFSET)
            .store(tail, Ordering::Relaxed);
        assert_eq!(receive(&mut ring), Err(Error::PeerFault));
        assert_eq!(
            ring.consumer.receive(&mut [], u64::MAX),
            Err(Error::PeerFault)
        );
    }
}

#[test]
fn the_geometry_that_counts_is_the_private_one() {
    let mut ring = polled_packets(SMALL, 0);
    ring.backing.word(20).store(1 << 31, Ordering::Relaxed);
    ring.backing
        .word(PRODUCER_OFFSET)
        .store(1 << 20, Ordering::Relaxed);
    assert_eq!(receive(&mut ring), Err(Error::PeerFault));
}

#[test]
fn asymmetric_rings_pass_messages_and_are_known_as_such() {
    let backing = Backing::new(SMALL);
    let _owner = backing.format_as(Form::Asymmetric, 0);
    let mut producer = Producer::attach(backing.producer_memory(), Polling).unwrap();
    let mut consumer = Consumer::attach(backing.consumer_memory(), Polling).unwrap();
    assert_eq!(
        (producer.form(), consumer.form()),
        (Form::Asymmetric, Form::Asymmetric)
    );
    producer.try_send(1, b"x").unwrap();
    assert_eq!(consumer.try_receive(&mut [0; 1]), Ok((1, 1)));
}
