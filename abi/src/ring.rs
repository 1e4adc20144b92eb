//! The memory of a ring, byte by byte: what the kernel fills and both ends rely on.
//!
//! A view is four parts in a row, each with its own rights in each end's page tables:
//!
//! | offset | page | written by | contents |
//! |---|---|---|---|
//! | 0 | H | kernel | [`Header`] |
//! | 4096 | P | producer | [`IndexPage`]: the tail, and the head the producer waits for |
//! | 8192 | C | consumer | [`IndexPage`]: the head, and the tail the consumer waits for |
//! | 12288 | D | producer | the data, and then the same data once more |
//!
//! Indices are free-running `u32`; all is little-endian.

use core::mem::offset_of;

use static_assertions::const_assert_eq;

mod geometry;
pub mod packet;

pub use geometry::{Geometry, GeometryError};

/// Bytes in a page of a ring.
pub const PAGE_BYTES: usize = 4096;
/// Bytes between two words that must not share a cache line, nor a pair of lines fetched together.
pub const LINE_PAIR_BYTES: usize = 128;
/// Offset of the [`Header`] in a view, in bytes.
pub const HEADER_OFFSET: usize = 0;
/// Offset of the producer's [`IndexPage`] in a view, in bytes.
pub const PRODUCER_OFFSET: usize = PAGE_BYTES;
/// Offset of the consumer's [`IndexPage`] in a view, in bytes.
pub const CONSUMER_OFFSET: usize = 2 * PAGE_BYTES;
/// Offset of the data in a view, in bytes.
pub const DATA_OFFSET: usize = 3 * PAGE_BYTES;

/// First word of a complete header: "HORG" in memory.
pub const MAGIC: u32 = u32::from_le_bytes(*b"HORG");
/// Version of the layout in this module.
pub const VERSION: u32 = 1;

/// Largest capacity: slots of a SLOT ring, bytes of the other kinds.
pub const MAX_CAPACITY: u32 = 1 << 31;
/// A slot's size is a multiple of this many bytes, so that no two slots share a cache line.
pub const SLOT_ALIGN: u32 = 64;
/// Largest slot, in bytes.
pub const MAX_SLOT_BYTES: u32 = 64 * 1024;
/// Bytes of a slot before its payload: the word `sequence:32 | length:32`.
pub const SLOT_HEAD_BYTES: usize = 8;

/// How a ring carries its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kind {
    /// Fixed slots, each published by its own sequence number.
    Slot = 1,
    /// A stream of bytes, published by the tail.
    Byte = 2,
    /// Records of any length, published by the tail.
    Packet = 3,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            1 => Some(Self::Slot),
            2 => Some(Self::Byte),
            3 => Some(Self::Packet),
            _ => None,
        }
    }
}

/// Who pays for the full barrier between publishing and looking for a sleeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Form {
    /// Both sides execute a fence.
    Symmetric = 1,
    /// The kernel executes it for the publisher when the other side goes to sleep.
    Asymmetric = 2,
}

impl Form {
    /// The form with this number, if there is one.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            1 => Some(Self::Symmetric),
            2 => Some(Self::Asymmetric),
            _ => None,
        }
    }
}

/// One of the two ends of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum End {
    /// The end that sends.
    Producer = 0,
    /// The end that receives.
    Consumer = 1,
}

impl End {
    /// The other end.
    pub const fn peer(self) -> Self {
        match self {
            Self::Producer => Self::Consumer,
            Self::Consumer => Self::Producer,
        }
    }
}

/// State of one end, as the kernel writes it into the header.
///
/// An end only moves towards larger numbers within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum EndState {
    /// In use.
    Open = 1,
    /// Closed in order by its holder; what was sent before can still be received. It stays so whatever becomes of the
    /// holder.
    Draining = 2,
    /// Its holder is gone; what was sent before can still be received.
    Closed = 3,
    /// The authority behind it was taken away.
    Revoked = 4,
    /// Its holder found that the peer broke the protocol, and believes nothing more of it.
    Poisoned = 5,
}

impl EndState {
    /// The state with this number, if there is one.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            1 => Some(Self::Open),
            2 => Some(Self::Draining),
            3 => Some(Self::Closed),
            4 => Some(Self::Revoked),
            5 => Some(Self::Poisoned),
            _ => None,
        }
    }

    /// Whether an end in this state can come to another one. How it ended is told once, but that it was faulty counts after
    /// an orderly close, too: what is drained then can still be found to be nonsense.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Open => !matches!(next, Self::Open),
            Self::Draining => matches!(next, Self::Poisoned),
            Self::Closed | Self::Revoked | Self::Poisoned => false,
        }
    }
}

/// Page H. The kernel writes it, with [`Header::magic`] last; both ends read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`] once everything else is there.
    pub magic: u32,
    /// [`VERSION`].
    pub version: u32,
    /// A [`Kind`].
    pub kind: u32,
    /// A [`Form`].
    pub form: u32,
    /// [`Geometry::slot_size`].
    pub slot_size: u32,
    /// [`Geometry::capacity`].
    pub capacity: u32,
    /// The index at which both ends began in this epoch.
    pub start: u32,
    /// One more each time that an end got another holder, and after each reset; accessed atomically.
    pub epoch: u32,
    /// Zero.
    pub reserved: [u32; 24],
    /// An [`EndState`], accessed atomically.
    pub producer_state: u32,
    /// An [`EndState`], accessed atomically.
    pub consumer_state: u32,
    /// Zero.
    pub reserved_after: [u32; 30],
}

impl Header {
    /// The header of a ring whose ends are open and begin at `start`.
    ///
    /// The geometry is not checked here.
    pub const fn new(geometry: Geometry, form: Form, start: u32, epoch: u32) -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            kind: geometry.kind as u32,
            form: form as u32,
            slot_size: geometry.slot_size,
            capacity: geometry.capacity,
            start,
            epoch,
            reserved: [0; 24],
            producer_state: EndState::Open as u32,
            consumer_state: EndState::Open as u32,
            reserved_after: [0; 30],
        }
    }

    /// Offset in page H, in bytes, and value of each word that is in use, in the order in which they are to be stored: the
    /// magic comes last.
    pub const fn words(&self) -> [(usize, u32); 10] {
        [
            (offset_of!(Self, version), self.version),
            (offset_of!(Self, kind), self.kind),
            (offset_of!(Self, form), self.form),
            (offset_of!(Self, slot_size), self.slot_size),
            (offset_of!(Self, capacity), self.capacity),
            (offset_of!(Self, start), self.start),
            (offset_of!(Self, epoch), self.epoch),
            (offset_of!(Self, producer_state), self.producer_state),
            (offset_of!(Self, consumer_state), self.consumer_state),
            (offset_of!(Self, magic), self.magic),
        ]
    }

    /// Offset in page H of the state word of `end`, in bytes.
    pub const fn state_offset(end: End) -> usize {
        match end {
            End::Producer => offset_of!(Self, producer_state),
            End::Consumer => offset_of!(Self, consumer_state),
        }
    }
}

/// Page P or C: what one end tells the other. All words are accessed atomically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct IndexPage {
    /// The tail (page P: all before it is published) or the head (page C: all before it is released).
    pub index: u32,
    /// Zero.
    pub reserved: [u32; 31],
    /// The index of the peer that this end wants to be woken for. Armed only while it is ahead of the peer's index.
    pub waits_until: u32,
    /// Zero.
    pub reserved_after: [u32; 31],
}

impl IndexPage {
    /// The page of an end that begins at `start` and waits for nothing.
    pub const fn new(start: u32) -> Self {
        Self {
            index: start,
            reserved: [0; 31],
            waits_until: start,
            reserved_after: [0; 31],
        }
    }

    /// Offset in a view of the page that `end` writes, in bytes.
    pub const fn offset(end: End) -> usize {
        match end {
            End::Producer => PRODUCER_OFFSET,
            End::Consumer => CONSUMER_OFFSET,
        }
    }
}

const_assert_eq!(size_of::<Header>(), 256);
const_assert_eq!(offset_of!(Header, magic), 0);
const_assert_eq!(offset_of!(Header, capacity), 20);
const_assert_eq!(offset_of!(Header, epoch), 28);
const_assert_eq!(offset_of!(Header, producer_state), LINE_PAIR_BYTES);
const_assert_eq!(offset_of!(Header, consumer_state), LINE_PAIR_BYTES + 4);
const_assert_eq!(size_of::<IndexPage>(), 2 * LINE_PAIR_BYTES);
const_assert_eq!(offset_of!(IndexPage, index), 0);
const_assert_eq!(offset_of!(IndexPage, waits_until), LINE_PAIR_BYTES);

/// The sequence that publishes index `index`.
pub const fn sequence(index: u32) -> u32 {
    index.wrapping_add(1)
}

/// The first word of a slot: `sequence:32 | length:32`, the sequence in the low half.
pub const fn slot_word(sequence: u32, length: u32) -> u64 {
    sequence as u64 | (length as u64) << 32
}

/// The sequence in a slot's first word.
pub const fn word_sequence(word: u64) -> u32 {
    word as u32
}

/// The length in a slot's first word, in bytes. It is the producer's word: bound it before use.
pub const fn word_length(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::EndState::{self, Closed, Draining, Open, Poisoned, Revoked};

    #[test]
    fn an_end_ends_once_but_can_be_found_faulty_after_an_orderly_close() {
        const ALL: [EndState; 5] = [Open, Draining, Closed, Revoked, Poisoned];
        let pairs = ALL.into_iter().flat_map(|from| ALL.map(|to| (from, to)));
        let possible = pairs.filter(|(from, to)| from.may_become(*to));
        let expected = [
            (Open, Draining),
            (Open, Closed),
            (Open, Revoked),
            (Open, Poisoned),
            (Draining, Poisoned),
        ];
        assert!(possible.eq(expected));
    }
}
