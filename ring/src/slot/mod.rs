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

use abi::ring::{Geometry, Kind, SLOT_HEAD_BYTES, sequence, word_length, word_sequence};

use crate::ends::RingKind;
use crate::memory::ProducerMemory;
use crate::{Error, Wait};

/// The sending end of a SLOT ring.
pub type Producer<W> = crate::Producer<Slot, W>;
/// The receiving end of a SLOT ring.
pub type Consumer<W> = crate::Consumer<Slot, W>;

/// The kind of these rings.
#[derive(Debug)]
pub enum Slot {}

/// Where in the data the payload of the slot of `index` begins; the index is reduced, so that any is in range.
#[inline]
fn payload(geometry: Geometry, index: u32) -> usize {
    geometry.slot_offset(index & (geometry.capacity - 1)) as usize + SLOT_HEAD_BYTES
}

impl RingKind for Slot {
    const KIND: Kind = Kind::Slot;

    /// The length of the next message, bounded.
    type Found = usize;

    fn resume(memory: &ProducerMemory, stored: u32) -> u32 {
        // The last holder may have died between the slot word and the tail.
        match word_sequence(memory.slot_word(stored).load(Ordering::Acquire)) {
            published if published == sequence(stored) => stored.wrapping_add(1),
            _ => stored,
        }
    }

    #[inline(always)]
    fn look<W: Wait>(consumer: &mut Consumer<W>) -> Result<Option<usize>, Error> {
        if consumer.poisoned {
            return Err(Error::PeerFault);
        }
        // SYNC(ring.publish): who sees the sequence sees the payload.
        let word = consumer.memory.slot_word(consumer.head).load_acquire();
        let expected = sequence(consumer.head);
        let found = word_sequence(word);
        if found == expected {
            let length = word_length(word) as usize;
            if length > consumer.max_message_bytes && !crate::sabotaged!("length_not_bounded") {
                return Err(consumer.poison());
            }
            return Ok(Some(length));
        }
        if found == expected.wrapping_sub(consumer.capacity) {
            return Ok(None);
        }
        Err(consumer.poison())
    }
}
