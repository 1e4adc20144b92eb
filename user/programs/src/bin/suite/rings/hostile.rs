//! What the MMU and the checks of a ring hold against a peer that breaks its protocol.

use alloc::string::ToString;

use abi::ring::{CONSUMER_OFFSET, DATA_OFFSET, End, EndState, Header, PRODUCER_OFFSET};
use rt::{Handle, Mode, Process};

use super::{ALL, start};
use crate::Case;
use crate::calls::{cap_drop, poke_u32, ring_map, small_ring};
use crate::check::{PAGE_FAULT, WRITE, eventually, faults, succeeds};

/// The word of an index page that says for what its owner waits.
const WAITS_UNTIL: u64 = 128;

/// A child that writes a word of its view, where it must not.
fn may_not_write(case: &Case, end: fn() -> (Handle, Handle), offset: u64) {
    let (theirs, mine) = end();
    let status = faults(&writer(case, theirs, offset), PAGE_FAULT);
    same!(status.error_code & WRITE, WRITE, "the kind of access");
    done!(cap_drop(mine), "dropping");
}

/// And where it may.
fn may_write(case: &Case, end: fn() -> (Handle, Handle), offset: u64) {
    let (theirs, mine) = end();
    succeeds(&writer(case, theirs, offset));
    done!(cap_drop(mine), "dropping");
}

fn writer(case: &Case, end: Handle, offset: u64) -> Process {
    let child = case.child("write_view").arg(&offset.to_string());
    start(child.handle(end, Mode::Move, ALL))
}

fn swapped() -> (Handle, Handle) {
    let (producer, consumer) = small_ring();
    (consumer, producer)
}

/// Words of the header besides the first: the capacity, the epoch, and the states of both ends.
const HEADER: [usize; 4] = [
    core::mem::offset_of!(Header, capacity),
    core::mem::offset_of!(Header, epoch),
    Header::state_offset(End::Producer),
    Header::state_offset(End::Consumer),
];

pub fn producer_pages(case: &Case) {
    may_not_write(case, small_ring, 0);
    for offset in HEADER {
        may_not_write(case, small_ring, offset as u64 & !7);
    }
    may_not_write(case, small_ring, CONSUMER_OFFSET as u64);
    may_write(case, small_ring, PRODUCER_OFFSET as u64);
    may_write(case, small_ring, DATA_OFFSET as u64);
}

pub fn consumer_pages(case: &Case) {
    may_not_write(case, swapped, 0);
    for offset in HEADER {
        may_not_write(case, swapped, offset as u64 & !7);
    }
    may_not_write(case, swapped, PRODUCER_OFFSET as u64);
    may_not_write(case, swapped, DATA_OFFSET as u64);
    may_not_write(case, swapped, DATA_OFFSET as u64 + 4096);
    may_write(case, swapped, CONSUMER_OFFSET as u64);
}

/// Starts a child that writes a word into its view of a ring, where it may.
fn liar(case: &Case, end: Handle, offset: u64, word: u64) -> Process {
    start(
        case.child("lie")
            .arg(&offset.to_string())
            .arg(&word.to_string())
            .handle(end, Mode::Move, ALL),
    )
}

pub fn hostile_producer(case: &Case) {
    // What to write where: a sequence of laps ahead, a length past the slot, a tail out of reach.
    let lies = [
        (DATA_OFFSET as u64, 5 | 56 << 32),
        (DATA_OFFSET as u64, 1 | 57 << 32),
        (DATA_OFFSET as u64, 1 | 0xffff_ffff << 32),
        (DATA_OFFSET as u64, u64::MAX),
        (PRODUCER_OFFSET as u64, 17),
        (PRODUCER_OFFSET as u64, u32::MAX as u64 - 1),
    ];
    for (offset, word) in lies {
        let (to, from) = small_ring();
        // Before the first lie: an end that finds one when it opens is refused there.
        let mut receiver = done!(rt::open_receiver(from), "opening an end");
        let child = liar(case, to, offset, word);
        eventually("the lie", || receiver.peer_state() != EndState::Open);
        succeeds(&child);
        let mut target = [0; 56];
        let answer = receiver.try_receive(&mut target);
        let answer = match answer {
            Err(ring::Error::PeerDied | ring::Error::Empty) => receiver.len().map(|_| 0),
            other => other,
        };
        refused!(
            answer,
            ring::Error::PeerFault,
            "the word {word:#x} at {offset:#x}"
        );
        refused!(
            receiver.try_receive(&mut target),
            ring::Error::PeerFault,
            "once more after the word {word:#x}"
        );
    }
}

pub fn hostile_consumer(case: &Case) {
    for head in [1u32, 100, 1 << 31, u32::MAX - 1] {
        let (to, from) = small_ring();
        let mut sender = done!(rt::open_sender(to), "opening an end");
        let child = liar(case, from, CONSUMER_OFFSET as u64, head.into());
        succeeds(&child);
        refused!(
            sender.len(),
            ring::Error::PeerFault,
            "a head of {head} before the first message"
        );
        refused!(
            sender.try_send(b"x"),
            ring::Error::PeerFault,
            "sending after a head of {head}"
        );
    }
    // What a peer says it waits for costs a wake at most.
    let (to, from) = small_ring();
    let view = done!(ring_map(from), "mapping an end");
    let mut sender = done!(rt::open_sender(to), "opening an end");
    for lie in 0..16u32 {
        poke_u32(
            view + CONSUMER_OFFSET as u64 + WAITS_UNTIL,
            lie.wrapping_mul(0x1111_1111),
        );
        done!(sender.try_send(b"x"), "sending to a peer that lies");
    }
    refused!(sender.try_send(b"x"), ring::Error::Full, "a full ring");
}
