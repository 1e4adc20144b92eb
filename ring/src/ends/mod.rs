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

pub(crate) use receiving::Batch;
pub use receiving::Consumer;
pub use sending::Producer;

use abi::ring::{End, EndState, Form, Geometry, Kind, packet};

use crate::memory::ProducerMemory;
use crate::{Error, Wait};

/// What one kind of ring does in its own way. There are three, and no others outside of this crate.
///
/// ```compile_fail,E0277
/// # use ring::{Consumer, Error, RingKind, Wait};
/// struct Mine;
///
/// impl RingKind for Mine {
///     // What is looked at, and how it is judged, is what the ends rest on.
/// #   const KIND: abi::ring::Kind = abi::ring::Kind::Slot;
/// #   type Found = ();
/// #   fn look<W: Wait>(_: &mut Consumer<Self, W>) -> Result<Option<()>, Error> {
/// #       Ok(None)
/// #   }
/// }
/// ```
pub trait RingKind: Sized + sealed::Sealed {
    /// Its number in the header.
    const KIND: Kind;

    /// What its indices are multiples of.
    const GRANULE: u32 = match Self::KIND {
        Kind::Slot | Kind::Byte => 1,
        Kind::Packet => packet::ALIGN,
    };

    /// What a consumer has found that has found something.
    type Found;

    /// The tail at which a new producer goes on, from the one that is stored; none where no honest holder left the ring
    /// as it is.
    fn resume(_memory: &ProducerMemory, stored: u32) -> Option<u32> {
        Some(stored)
    }

    /// One look for what is next. Each word of the peer is loaded once and judged as a copy.
    fn look<W: Wait>(consumer: &mut Consumer<Self, W>) -> Result<Option<Self::Found>, Error>;
}

/// What only this crate can name.
pub(crate) mod sealed {
    /// That a kind is one of the three.
    pub trait Sealed {}
}

/// Whether `index` is one that an end of such a ring can have.
fn is_whole(index: u32, geometry: Geometry) -> bool {
    index.is_multiple_of(geometry.granule())
}

/// Whether an answer of [`Wait::wait`] would be lost if what is there by then were taken instead.
pub(crate) fn is_told_once(error: Error) -> bool {
    error == Error::Cancelled && !crate::sabotaged!("cancel_lost_to_a_message")
}

/// The states of two ends that are open, the producer's in the low half.
const BOTH_OPEN: u64 = EndState::Open as u64 | (EndState::Open as u64) << 32;

/// What an end answers whose peer or which itself is not open.
#[cold]
#[inline(never)]
fn why_not_open(own: u32, peer: u32) -> Error {
    let state = EndState::from_raw(peer).unwrap_or(EndState::Poisoned);
    match state {
        EndState::Open => {}
        EndState::Draining => return Error::PeerClosed,
        EndState::Closed => return Error::PeerDied,
        EndState::Revoked => return Error::Revoked,
        EndState::Poisoned => return Error::PeerFault,
    }
    match EndState::from_raw(own).unwrap_or(EndState::Poisoned) {
        EndState::Open | EndState::Draining | EndState::Closed => Error::Closed,
        EndState::Revoked => Error::Revoked,
        EndState::Poisoned => Error::PeerFault,
    }
}

/// What either end tells of itself and of the ring.
macro_rules! answers {
    ($End:ident, own: $own:ident, peer: $peer:ident) => {
        impl<K: RingKind, W: Wait> $End<K, W> {
            /// Slots or bytes of the ring.
            pub fn capacity(&self) -> u32 {
                self.capacity
            }

            /// Longest message, in bytes; of a BYTE ring the longest piece in a row.
            pub fn max_message_bytes(&self) -> usize {
                self.max_message_bytes
            }

            /// State of the peer's end, as the kernel last told it. What the peer sent before may be left whatever it is.
            pub fn peer_state(&self) -> EndState {
                self.state(End::$peer)
            }

            /// Whether the peer's end is open. It may have closed by the time of the answer.
            pub fn is_peer_alive(&self) -> bool {
                self.peer_state() == EndState::Open
            }

            /// State of this end, as the kernel last told it.
            pub fn own_state(&self) -> EndState {
                self.state(End::$own)
            }

            fn state(&self, end: End) -> EndState {
                let raw = self.memory.state(end).load_acquire();
                EndState::from_raw(raw).unwrap_or(EndState::Poisoned)
            }

            /// The epoch of the ring, as the kernel last told it: one more whenever an end gets another holder.
            pub fn epoch(&self) -> u32 {
                self.memory.epoch()
            }

            /// Who has the barrier of the wake protocol.
            pub fn form(&self) -> Form {
                self.form
            }

            /// Its way into the kernel.
            pub fn waiter(&self) -> &W {
                &self.wait
            }
        }
    };
}

answers!(Producer, own: Producer, peer: Consumer);
answers!(Consumer, own: Consumer, peer: Producer);
