//! What the ends of all kinds have in common: indices and how they are checked, states, sleeping and waking, poison.
//!
//! A kind adds where its records lie and how the consumer learns of one ([`RingKind`]): a SLOT ring by the slot itself,
//! the others by the tail.
//!
//! Order of a publish: payload, tail or slot word (Release), fence, look whether the consumer's `waits_until` was
//! crossed. Order of going to sleep: `waits_until`, fence, last look, kernel. The other direction mirrors it. In the
//! asymmetric form both fences are the compiler's alone, and the barrier is what [`crate::Wait::wait`] brings.

mod closing;
mod receiving;
mod sending;

pub use receiving::Consumer;
pub use sending::Producer;

use abi::ring::{EndState, Geometry, Kind, packet};

use crate::memory::ProducerMemory;
use crate::{Error, Wait};

/// What one kind of ring does in its own way. There are three, and no others outside of this crate.
pub trait RingKind: Sized {
    /// Its number in the header.
    const KIND: Kind;

    /// What its indices are multiples of.
    const GRANULE: u32 = match Self::KIND {
        Kind::Slot | Kind::Byte => 1,
        Kind::Packet => packet::ALIGN,
    };

    /// What a consumer has found that has found something.
    type Found;

    /// The tail at which a new producer goes on, from the one that is stored.
    fn resume(_memory: &ProducerMemory, stored: u32) -> u32 {
        stored
    }

    /// One look for what is next. Each word of the peer is loaded once and judged as a copy.
    fn look<W: Wait>(consumer: &mut Consumer<Self, W>) -> Result<Option<Self::Found>, Error>;
}

/// Whether `index` is one that an end of such a ring can have.
fn is_whole(index: u32, geometry: Geometry) -> bool {
    index.is_multiple_of(geometry.granule())
}

/// What an end that finds nothing to do answers, from the raw states of both ends; `Ok` if both are open.
#[inline]
fn answer_for_states(own: u32, peer: u32) -> Result<(), Error> {
    const OPEN: u32 = EndState::Open as u32;
    match (own, peer) {
        (OPEN, OPEN) => Ok(()),
        _ => why_not_open(own, peer),
    }
}

#[cold]
fn why_not_open(own: u32, peer: u32) -> Result<(), Error> {
    match EndState::from_raw(peer) {
        Some(EndState::Open) => {}
        Some(EndState::Draining) => return Err(Error::PeerClosed),
        Some(EndState::Closed) => return Err(Error::PeerDied),
        Some(EndState::Revoked) => return Err(Error::Revoked),
        Some(EndState::Poisoned) | None => return Err(Error::PeerFault),
    }
    match EndState::from_raw(own) {
        Some(EndState::Open) => Ok(()),
        Some(EndState::Draining | EndState::Closed) => Err(Error::Closed),
        Some(EndState::Revoked) => Err(Error::Revoked),
        Some(EndState::Poisoned) | None => Err(Error::PeerFault),
    }
}
