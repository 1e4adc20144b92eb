//! Layout of submission rings: entries by which a program asks, completions by which it is answered, and
//! the pages that both are in.
//!
//! A submission ring is two rings over memory of the kernel. Each is mapped like the end of a ring:
//! pages H, P and C (see [`ring`](crate::ring)), then the data, twice in a row. Of the *submissions* the
//! program is the producer: it writes P and the entries, the kernel writes C. Of the *completions* it is
//! the consumer: it can write page C, its head, and nothing else.
//!
//! An entry is taken when a cell can be kept for its completion; where there is none it stays in the ring, with those
//! behind it, until the program has moved the head of the completions on. A ring with a thread is served without
//! entering it, until the thread rests, which it says by [`RESTING`] in the notes of the header of the submissions. So a
//! program, after each of the following, executes a full fence (`mfence`, or a locked instruction), loads the notes, and
//! enters the ring, be it with nothing to submit, if RESTING is among them:
//!
//! - it has stored the tail of the submissions;
//! - it has stored the head of the completions, and the head of the submissions is not the tail that it stored last:
//!   entries may have been left for want of cells. Where the two are equal, none was, and it needs neither fence nor look.
//!
//! An entry is a system call with its arguments, so there is nothing here of what each does: see the
//! table. Reserved fields and flags are zero on write and checked on read.

mod args;
#[cfg(test)]
mod tests;

use core::mem::offset_of;

use bitflags::bitflags;
use static_assertions::const_assert_eq;

use crate::{Error, decode, encode};

pub use args::{Registered, SubmissionArgs, SubmissionGeometry, SubmissionInfo, SubmissionViews};

/// First word of both headers, once everything else is in place: `SUBM`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"SUBM");

/// Version of this layout.
pub const VERSION: u32 = 1;

/// Entries of a ring at most.
pub const MAX_ENTRIES: u32 = 4096;

/// Completions of a ring at most.
pub const MAX_COMPLETIONS: u32 = 2 * MAX_ENTRIES;

/// Entries that can be linked to one another.
pub const MAX_CHAIN: usize = 32;

/// Bytes of an entry.
pub const ENTRY_BYTES: u32 = 64;

/// Bytes of a completion.
pub const COMPLETION_BYTES: u32 = 32;

bitflags! {
    /// How an entry is served.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    #[repr(transparent)]
    pub struct SubmissionFlags: u16 {
        /// The next entry begins when this one has succeeded. When it fails, the rest of the chain
        /// completes with `Cancelled`.
        const LINK = 1 << 0;
        /// No completion is posted if it succeeds.
        const SKIP_SUCCESS = 1 << 1;
        /// The first argument is a [`Registered`] handle.
        const REGISTERED = 1 << 2;
        /// The third argument is a [`Registered`] handle: the source of a copy.
        const REGISTERED_SOURCE = 1 << 3;
    }
}

bitflags! {
    /// How a submission ring works.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    #[repr(transparent)]
    pub struct SubmissionRingFlags: u32 {
        /// A thread of the kernel serves it, until nothing has come for a while.
        const POLL = 1 << 0;
    }
}

/// What an entry can ask for: the system call of this number, by its arguments, or one of those at the
/// end, which make sense in a ring alone. Calls that wait do not hold up the ring: they complete later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Operation {
    /// Nothing.
    Nop = 0,
    /// `region_snapshot`.
    Snapshot = 27,
    /// `map`.
    Map = 30,
    /// `unmap`.
    Unmap = 31,
    /// `cap_derive`.
    Derive = 40,
    /// `cap_drop`.
    Drop = 41,
    /// `grant`.
    Grant = 50,
    /// `accept`.
    Accept = 51,
    /// `ring_wake`.
    RingWake = 63,
    /// `channel_send`. Its message is read when it is served, and again when there is room or the rate of its end
    /// allows one more.
    Send = 71,
    /// `signal`.
    Signal = 81,
    /// `notify_wait`.
    NotifyWait = 82,
    /// `object_wait`. Waiting for a submission ring is `Unsupported`.
    Wait = 83,
    /// `sub_register`. Entries behind it may use its number, which is known before where it asks for a
    /// reserved slot: see [`Registered::next`].
    Register = 112,
    /// `sub_unregister`. It waits in the ring, where the operations go on that it waits for.
    Unregister = 113,
    /// `region_copy`. All of it: it goes on in pieces.
    Copy = 116,
    /// Completes with 0 at the absolute time in the first argument.
    Timeout = 1024,
    /// Ends the operations of this ring that wait under the number in the first argument, which
    /// complete with `Cancelled`; returns how many. `NotFound`: none does, or it is done by now and
    /// completes so.
    Cancel = 1025,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 18] = [
        Operation::Nop,
        Operation::Snapshot,
        Operation::Map,
        Operation::Unmap,
        Operation::Derive,
        Operation::Drop,
        Operation::Grant,
        Operation::Accept,
        Operation::RingWake,
        Operation::Send,
        Operation::Signal,
        Operation::NotifyWait,
        Operation::Wait,
        Operation::Register,
        Operation::Unregister,
        Operation::Copy,
        Operation::Timeout,
        Operation::Cancel,
    ];

    /// The operation of this number.
    #[inline(always)]
    pub const fn from_code(code: u16) -> Option<Operation> {
        Some(match code {
            0 => Operation::Nop,
            27 => Operation::Snapshot,
            30 => Operation::Map,
            31 => Operation::Unmap,
            40 => Operation::Derive,
            41 => Operation::Drop,
            50 => Operation::Grant,
            51 => Operation::Accept,
            63 => Operation::RingWake,
            71 => Operation::Send,
            81 => Operation::Signal,
            82 => Operation::NotifyWait,
            83 => Operation::Wait,
            112 => Operation::Register,
            113 => Operation::Unregister,
            116 => Operation::Copy,
            1024 => Operation::Timeout,
            1025 => Operation::Cancel,
            _ => return None,
        })
    }

    /// The number of its events in a trace: that of its call, or for what makes sense in a ring alone one from
    /// 250 on.
    pub const fn event_number(self) -> u8 {
        match self {
            Operation::Timeout => 250,
            Operation::Cancel => 251,
            operation => operation as u8,
        }
    }

    /// The operation whose events have this number.
    pub fn from_event_number(number: u8) -> Option<Operation> {
        let is_of = |operation: &Operation| operation.event_number() == number;
        Operation::ALL.into_iter().find(is_of)
    }

    /// Its name in lines of a trace, and those of its arguments, where it is no system call.
    pub const fn name_in_rings(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Operation::Timeout => Some(("timeout", &["deadline"])),
            Operation::Cancel => Some(("cancel_entries", &["user_data"])),
            _ => None,
        }
    }

    /// Whether its first argument is a handle.
    pub const fn begins_with_handle(self) -> bool {
        !matches!(
            self,
            Operation::Nop
                | Operation::Unmap
                | Operation::Accept
                | Operation::Unregister
                | Operation::Timeout
                | Operation::Cancel
        )
    }

    /// Which of its arguments is a deadline, if it may wait.
    pub const fn deadline_argument(self) -> Option<usize> {
        match self {
            Operation::NotifyWait | Operation::Unregister => Some(1),
            Operation::Send | Operation::Wait => Some(2),
            Operation::Timeout => Some(0),
            _ => None,
        }
    }
}

/// An entry: what a program asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Submission {
    /// An [`Operation`].
    pub operation: u16,
    /// [`SubmissionFlags`].
    pub flags: u16,
    /// 0.
    pub reserved: u32,
    /// What its completion has.
    pub user_data: u64,
    /// As in the registers of the call; 0 where it has none.
    pub arguments: [u64; 6],
}

impl Submission {
    /// An entry for an operation.
    pub const fn new(operation: Operation, user_data: u64, arguments: [u64; 6]) -> Submission {
        Submission {
            operation: operation as u16,
            flags: 0,
            reserved: 0,
            user_data,
            arguments,
        }
    }

    /// The same entry with these flags.
    #[must_use]
    pub const fn with(self, flags: SubmissionFlags) -> Submission {
        Submission {
            flags: flags.bits(),
            ..self
        }
    }

    /// The entry in these bytes, of which nothing is known.
    #[inline(always)]
    pub fn from_bytes(bytes: &[u8; ENTRY_BYTES as usize]) -> Submission {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * at..8 * at + 8]);
            u64::from_le_bytes(word)
        };
        let head = word(0);
        Submission {
            operation: head as u16,
            flags: (head >> 16) as u16,
            reserved: (head >> 32) as u32,
            user_data: word(1),
            arguments: [word(2), word(3), word(4), word(5), word(6), word(7)],
        }
    }

    /// Its words, in the order in which they are in memory.
    #[inline(always)]
    pub const fn to_words(self) -> [u64; 8] {
        let [a, b, c, d, e, f] = self.arguments;
        let head = self.operation as u64 | (self.flags as u64) << 16 | (self.reserved as u64) << 32;
        [head, self.user_data, a, b, c, d, e, f]
    }

    /// Its operation and flags. `Unsupported`: no such operation; `Invalid`: an unknown flag, a
    /// reserved field, or a registered handle where the operation takes none.
    #[inline(always)]
    pub const fn decode(&self) -> Result<(Operation, SubmissionFlags), Error> {
        let Some(flags) = SubmissionFlags::from_bits(self.flags) else {
            return Err(Error::Invalid);
        };
        if self.reserved != 0 {
            return Err(Error::Invalid);
        }
        let Some(operation) = Operation::from_code(self.operation) else {
            return Err(Error::Unsupported);
        };
        let first = flags.contains(SubmissionFlags::REGISTERED) && !operation.begins_with_handle();
        let source = flags.contains(SubmissionFlags::REGISTERED_SOURCE)
            && !matches!(operation, Operation::Copy);
        if first || source {
            return Err(Error::Invalid);
        }
        Ok((operation, flags))
    }
}

const_assert_eq!(size_of::<Submission>(), ENTRY_BYTES as usize);
const_assert_eq!(offset_of!(Submission, flags), 2);
const_assert_eq!(offset_of!(Submission, user_data), 8);
const_assert_eq!(offset_of!(Submission, arguments), 16);

/// A completion: what became of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Completion {
    /// That of the entry.
    pub user_data: u64,
    /// As in `rax` after a call.
    pub result: u64,
    /// The [`Operation`] that the entry named.
    pub operation: u32,
    /// 0.
    pub reserved: u32,
    /// 0.
    pub reserved_after: u64,
}

impl Completion {
    /// The completion of an entry.
    #[inline(always)]
    pub fn new(entry: &Submission, outcome: Result<u64, Error>) -> Completion {
        Completion {
            user_data: entry.user_data,
            result: encode(outcome),
            operation: entry.operation.into(),
            reserved: 0,
            reserved_after: 0,
        }
    }

    /// What the operation returned.
    #[inline(always)]
    pub fn outcome(&self) -> Result<u64, Error> {
        decode(self.result)
    }

    /// Its bytes.
    #[inline(always)]
    pub fn to_bytes(self) -> [u8; COMPLETION_BYTES as usize] {
        let mut bytes = [0; COMPLETION_BYTES as usize];
        bytes[..8].copy_from_slice(&self.user_data.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.result.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.operation.to_le_bytes());
        bytes
    }
}

const_assert_eq!(size_of::<Completion>(), COMPLETION_BYTES as usize);
const_assert_eq!(offset_of!(Completion, result), 8);
const_assert_eq!(offset_of!(Completion, operation), 16);

/// An operation that has waited is to be completed by whoever enters the ring next.
pub const DUE: u32 = 1 << 0;

/// The thread of the ring sleeps, or is about to: whoever publishes entries enters the ring to wake it, and so does who
/// gives cells of completions back while entries are left in the ring. Both look behind a full fence.
pub const RESTING: u32 = 1 << 1;

/// Page H of either ring. The kernel writes it, with the magic last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SubmissionHeader {
    /// [`MAGIC`] once everything else is there.
    pub magic: u32,
    /// [`VERSION`].
    pub version: u32,
    /// Bytes of an entry or a completion.
    pub entry_size: u32,
    /// Entries or completions that there is room for.
    pub capacity: u32,
    /// Zero.
    pub reserved: [u32; 12],
    /// In the header of the submissions: [`DUE`] and [`RESTING`]. Accessed atomically.
    pub notes: u32,
    /// Zero.
    pub reserved_after: [u32; 15],
}

const_assert_eq!(size_of::<SubmissionHeader>(), 128);
const_assert_eq!(offset_of!(SubmissionHeader, notes), 64);
