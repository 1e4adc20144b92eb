//! SLOT rings: fixed slots, each published by its own sequence number.
//!
//! The slot of index `i` is published when its first word holds sequence `i + 1`; until then it holds that of a lap
//! before. A consumer that polls therefore touches one cache line a message, and the head goes back to the producer
//! seldom: when a quarter of the ring is free, when the ring is found empty, and while the producer waits for it.

mod consumer;
mod producer;

pub use consumer::Message;
pub use producer::Reservation;

use core::sync::atomic::Ordering;

use abi::ring::{
    Geometry, Kind, SLOT_ALIGN, SLOT_HEAD_BYTES, sequence, slot_word, word_length, word_sequence,
};

use crate::ends::RingKind;
use crate::ends::sealed::Sealed;
use crate::memory::ProducerMemory;
use crate::{Error, Wait};

/// The sending end of a SLOT ring.
pub type Producer<W> = crate::Producer<Slot, W>;
/// The receiving end of a SLOT ring.
pub type Consumer<W> = crate::Consumer<Slot, W>;

/// The kind of these rings.
#[derive(Debug)]
pub enum Slot {}

/// No slot is so small that a message of so many bytes is too long.
const SHORT: usize = SLOT_ALIGN as usize - SLOT_HEAD_BYTES;

/// The word that publishes a message at an index.
#[inline(always)]
fn word(index: u32, length: usize) -> u64 {
    // At most `MAX_SLOT_BYTES`, so it fits.
    slot_word(sequence(index), length as u32)
}

/// Where in the data the payload of the slot of `index` begins; the index is reduced, so that any is in range.
#[inline]
fn payload(geometry: Geometry, index: u32) -> usize {
    geometry.slot_offset(index & (geometry.capacity - 1)) as usize + SLOT_HEAD_BYTES
}

impl Sealed for Slot {}

impl RingKind for Slot {
    const KIND: Kind = Kind::Slot;

    /// The length of the next message, bounded.
    type Found = usize;

    fn resume(memory: &ProducerMemory, stored: u32) -> Option<u32> {
        let Geometry { capacity, .. } = memory.geometry();
        let longest = memory.geometry().max_message_bytes();
        let word = |index| memory.slot_word(index).load(Ordering::Acquire);
        // The last holder may have died between the slot word and the tail.
        let tail = match word_sequence(word(stored)) {
            published if published == sequence(stored) => stored.wrapping_add(1),
            _ => stored,
        };
        // Each slot was last published for the lap that ends at the tail, whatever the consumer says to have received. One
        // that is published for the lap to come would be received, in its turn, as if this holder had sent it.
        let mut lap = (1..=capacity).map(|back| tail.wrapping_sub(back));
        let whole = lap.all(|index| {
            let word = word(index);
            word_sequence(word) == sequence(index) && word_length(word) as usize <= longest
        });
        (whole || crate::sabotaged!("planted_slots_taken_over")).then_some(tail)
    }

    #[inline(always)]
    fn look<W: Wait>(consumer: &mut Consumer<W>) -> Result<Option<usize>, Error> {
        let word = consumer.memory.slot(consumer.head).word();
        judge(consumer, word)
    }
}

/// What the word at the head says: the length of a message, or that there is none.
#[inline(always)]
fn judge<W: Wait>(consumer: &mut Consumer<W>, word: u64) -> Result<Option<usize>, Error> {
    let expected = sequence(consumer.head);
    // The length if the sequence is the one that is expected; otherwise more than any length.
    let length = word.wrapping_sub(expected.into()).rotate_right(32);
    if length < consumer.lengths {
        return Ok(Some(match crate::sabotaged!("slot_word_read_twice") {
            true => word_length(consumer.memory.slot(consumer.head).word()) as usize,
            false => length as usize,
        }));
    }
    if consumer.poisoned {
        return Err(Error::PeerFault);
    }
    match word_sequence(word) {
        found if found == expected.wrapping_sub(consumer.capacity) => Ok(None),
        found if found == expected && crate::sabotaged!("length_not_bounded") => {
            Ok(Some(word_length(word) as usize))
        }
        _ => Err(consumer.poison()),
    }
}
