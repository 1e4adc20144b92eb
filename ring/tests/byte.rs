//! What one end of a BYTE ring promises, seen from one thread.
#![cfg(not(loom))]

mod common;

use std::sync::atomic::Ordering;

use abi::ring::{CONSUMER_OFFSET, End, Geometry, PRODUCER_OFFSET};
use common::{ENDINGS, polled_bytes, sleeping_bytes};
use ring::byte::{Consumer, Producer};
use ring::{Error, Polling, Unfinished};

const SMALL: Geometry = Geometry::byte(4096);

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|byte| (byte * 31 + byte / 256) as u8)
        .collect()
}

#[test]
fn bytes_arrive_in_order_in_pieces_of_every_size() {
    let mut ring = polled_bytes(SMALL, u32::MAX - 777);
    let steps = if cfg!(miri) { 40 } else { 3000 };
    let stream = pattern(1 << 16);
    let (mut written, mut read) = (0, 0);
    for step in 0..steps {
        let wanted = step * 7 % 1500;
        let from = written % 60_000;
        if let Ok(count) = ring.producer.try_write(&stream[from..from + wanted]) {
            written += count;
        }
        if written % 60_000 < from {
            break;
        }
        let mut target = vec![0; step * 11 % 1300];
        if let Ok(count) = ring.consumer.try_read(&mut target) {
            let from = read % 60_000;
            assert_eq!(target[..count], stream[from..from + count]);
            read += count;
        }
    }
    assert!(read > 4096);
}

#[test]
fn the_whole_capacity_can_be_reserved_wherever_the_indices_are() {
    let step = if cfg!(miri) { 2049 } else { 1 };
    for start in (0..2 * SMALL.capacity).step_by(step) {
        let mut ring = polled_bytes(SMALL, start.wrapping_sub(SMALL.capacity));
        let mut reservation = ring.producer.reserve(4096).unwrap();
        reservation.as_mut_slice().copy_from_slice(&pattern(4096));
        reservation.commit(4096).unwrap();
        assert_eq!(ring.producer.try_write(b"x"), Err(Error::Full));
        let chunk = ring.consumer.peek(usize::MAX).unwrap();
        assert_eq!(chunk.len(), 4096);
        let mut bytes = vec![0; 4096];
        chunk.bytes().copy_to(&mut bytes).unwrap();
        assert_eq!(bytes, pattern(4096));
        chunk.release(4096).unwrap();
        assert_eq!(ring.consumer.try_read(&mut bytes), Err(Error::Empty));
        assert_eq!(
            ring.owner.index(End::Consumer),
            ring.owner.index(End::Producer)
        );
    }
}

#[test]
fn what_can_never_fit_is_too_large() {
    let mut ring = polled_bytes(SMALL, 0);
    assert_eq!(ring.producer.reserve(4097).err(), Some(Error::TooLarge));
    assert_eq!(
        ring.producer.reserve(usize::MAX).err(),
        Some(Error::TooLarge)
    );
    assert_eq!(
        ring.producer.wait_for_space(4097, u64::MAX),
        Err(Error::TooLarge)
    );
    assert_eq!(ring.producer.try_write(&[0; 5000]), Ok(4096));
    assert_eq!(ring.producer.reserve(4097).err(), Some(Error::TooLarge));
    assert_eq!(ring.producer.reserve(1).err(), Some(Error::Full));
}

#[test]
fn part_of_what_was_reserved_or_peeked_can_be_committed_or_released() {
    let mut ring = polled_bytes(SMALL, 4090);
    let mut reservation = ring.producer.reserve(100).unwrap();
    reservation.write(0, b"0123456789").unwrap();
    assert_eq!(reservation.write(99, b"ab"), Err(Error::TooLarge));
    reservation.commit(10).unwrap();
    assert_eq!(
        ring.producer.reserve(5).unwrap().commit(6),
        Err(Error::TooLarge)
    );
    let chunk = ring.consumer.peek(4).unwrap();
    assert_eq!(chunk.len(), 4);
    assert_eq!(chunk.release(5), Err(Error::TooLarge));
    let chunk = ring.consumer.peek(8).unwrap();
    let mut bytes = [0; 8];
    chunk.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"01234567");
    chunk.release(3).unwrap();
    assert_eq!(ring.consumer.try_read(&mut bytes), Ok(7));
    assert_eq!(&bytes[..7], b"3456789");
    assert!(ring.consumer.peek(0).unwrap().is_empty());
    assert_eq!(ring.consumer.peek(1).err(), Some(Error::Empty));
}

#[test]
fn nothing_is_read_or_written_of_no_bytes() {
    let mut ring = polled_bytes(SMALL, 0);
    assert_eq!(ring.producer.try_write(&[]), Ok(0));
    assert_eq!(ring.consumer.try_read(&mut []), Ok(0));
    assert_eq!(ring.consumer.try_read(&mut [0]), Err(Error::Empty));
    assert_eq!(ring.producer.write_all(&[], u64::MAX), Ok(()));
    assert_eq!(ring.consumer.read_exact(&mut [], u64::MAX), Ok(()));
}

#[test]
fn how_far_it_came_is_told_with_the_error() {
    let mut ring = polled_bytes(SMALL, 0);
    let stopped = ring.producer.write_all(&[1; 5000], 0);
    assert_eq!(
        stopped,
        Err(Unfinished {
            done: 4096,
            error: Error::Full
        })
    );
    let stopped = ring.consumer.read_exact(&mut [0; 5000], 0);
    assert_eq!(
        stopped,
        Err(Unfinished {
            done: 4096,
            error: Error::Empty
        })
    );
}

#[test]
fn the_stream_ends_when_all_of_it_was_read() {
    for (state, answer) in ENDINGS {
        let mut ring = polled_bytes(SMALL, 0);
        // Full: the end of the stream needs no room.
        assert_eq!(ring.producer.try_write(&pattern(4096)), Ok(4096));
        ring.owner.set_state(End::Producer, state);
        let mut bytes = [0; 4000];
        assert_eq!(ring.consumer.read(&mut bytes, u64::MAX), Ok(4000));
        let stopped = ring.consumer.read_exact(&mut bytes, u64::MAX);
        assert_eq!(
            stopped,
            Err(Unfinished {
                done: 96,
                error: answer
            })
        );
        assert_eq!(ring.consumer.try_read(&mut bytes), Err(answer));
        assert!(ring.producer.try_write(&[1]).is_err());
    }
}

#[test]
fn a_reader_whose_end_is_closed_stops_the_writer() {
    for (state, answer) in ENDINGS {
        let mut ring = polled_bytes(SMALL, 0);
        ring.owner.set_state(End::Consumer, state);
        assert_eq!(ring.producer.try_write(b"x"), Err(answer));
        assert_eq!(ring.producer.try_write(&[]), Err(answer));
        let stopped = ring.producer.write_all(b"x", u64::MAX);
        assert_eq!(
            stopped,
            Err(Unfinished {
                done: 0,
                error: answer
            })
        );
    }
}

#[test]
fn the_head_goes_back_when_a_quarter_is_free_and_when_the_ring_is_empty() {
    let mut ring = polled_bytes(SMALL, 0);
    ring.producer.try_write(&[0; 4000]).unwrap();
    ring.consumer.try_read(&mut [0; 1023]).unwrap();
    assert_eq!(ring.owner.index(End::Consumer), 0);
    ring.consumer.try_read(&mut [0; 1]).unwrap();
    assert_eq!(ring.owner.index(End::Consumer), 1024);
    ring.consumer.try_read(&mut [0; 10]).unwrap();
    ring.consumer.flush();
    assert_eq!(ring.owner.index(End::Consumer), 1034);
    ring.consumer.try_read(&mut [0; 100]).unwrap();
    assert_eq!(ring.consumer.try_read(&mut [0; 4096]), Ok(2866));
    assert_eq!(ring.consumer.try_read(&mut [0; 1]), Err(Error::Empty));
    assert_eq!(ring.owner.index(End::Consumer), 4000);
}

#[test]
fn a_threshold_delays_the_wake_of_the_writer() {
    let mut ring = sleeping_bytes(SMALL, 0);
    assert_eq!(ring.producer.set_wake_threshold(0), Err(Error::Invalid));
    assert_eq!(ring.producer.set_wake_threshold(4097), Err(Error::Invalid));
    ring.producer.set_wake_threshold(2000).unwrap();
    ring.producer.try_write(&[0; 4096]).unwrap();
    assert_eq!(ring.producer.arm(1), Ok(Some(2000)));
    ring.consumer.try_read(&mut [0; 1999]).unwrap();
    assert_eq!(ring.kernel.wakes_by(End::Consumer), 0);
    ring.consumer.try_read(&mut [0; 1]).unwrap();
    assert_eq!(ring.kernel.wakes_by(End::Consumer), 1);
}

#[test]
fn who_waits_for_no_room_at_all_waits_for_a_byte() {
    let mut ring = sleeping_bytes(SMALL, 0);
    assert_eq!(ring.producer.arm(0), Ok(None));
    ring.producer.disarm();
    ring.producer.try_write(&[0; 4096]).unwrap();
    assert_eq!(ring.producer.arm(0), Ok(Some(1)));
    ring.consumer.try_read(&mut [0; 1]).unwrap();
    assert_eq!(ring.kernel.wakes_by(End::Consumer), 1);
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let mut ring = sleeping_bytes(SMALL, 0);
    let deadline_ns = ring.kernel.now_ns() + 2_000_000;
    assert_eq!(
        ring.consumer.read(&mut [0; 5], deadline_ns),
        Err(Error::TimedOut)
    );
    let stopped = ring
        .producer
        .write_all(&[0; 4097], ring.kernel.now_ns() + 2_000_000);
    assert_eq!(
        stopped,
        Err(Unfinished {
            done: 4096,
            error: Error::TimedOut
        })
    );
    assert_eq!(ring.kernel.sleeps_of(End::Producer), 1);
}

#[test]
fn a_new_holder_goes_on_where_the_last_one_was() {
    let mut ring = polled_bytes(SMALL, u32::MAX - 3);
    ring.producer.try_write(b"abcdef").unwrap();
    ring.consumer.try_read(&mut [0; 2]).unwrap();
    ring.consumer.flush();
    ring.consumer = Consumer::attach(ring.backing.consumer_memory(), Polling).unwrap();
    ring.producer = Producer::attach(ring.backing.producer_memory(), Polling).unwrap();
    ring.producer.try_write(b"gh").unwrap();
    let mut bytes = [0; 10];
    assert_eq!(ring.consumer.try_read(&mut bytes), Ok(6));
    assert_eq!(&bytes[..6], b"cdefgh");
}

#[test]
fn a_tail_or_head_that_no_honest_peer_stores_poisons_for_good() {
    for wrong in [u32::MAX, 4097, 1 << 31] {
        let mut ring = polled_bytes(SMALL, 0);
        ring.backing
            .word(PRODUCER_OFFSET)
            .store(wrong, Ordering::Relaxed);
        assert_eq!(ring.consumer.try_read(&mut [0]), Err(Error::PeerFault));
        ring.backing
            .word(PRODUCER_OFFSET)
            .store(1, Ordering::Relaxed);
        assert_eq!(ring.consumer.try_read(&mut [0]), Err(Error::PeerFault));
        ring.producer.try_write(&[0; 4096]).unwrap();
        ring.backing
            .word(CONSUMER_OFFSET)
            .store(wrong, Ordering::Relaxed);
        assert_eq!(ring.producer.try_write(&[0]), Err(Error::PeerFault));
        ring.backing
            .word(CONSUMER_OFFSET)
            .store(1, Ordering::Relaxed);
        assert_eq!(ring.producer.try_write(&[0]), Err(Error::PeerFault));
    }
    // A tail that goes back.
    let mut ring = polled_bytes(SMALL, 0);
    ring.producer.try_write(&[0; 10]).unwrap();
    assert_eq!(ring.consumer.len(), Ok(10));
    ring.backing
        .word(PRODUCER_OFFSET)
        .store(9, Ordering::Relaxed);
    assert_eq!(ring.consumer.len(), Err(Error::PeerFault));
}
