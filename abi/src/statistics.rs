//! The memory of the statistics: a region of pages that the kernel counts in and programs can only read.
//!
//! | offset | contents |
//! |---|---|
//! | 0 | [`Header`] |
//! | 4,096 | [`CpuStatistics`] of each CPU in turn |
//!
//! Every count is of what has happened since boot, never goes back, and is there the moment that it
//! happened. Each CPU counts for itself; whoever reads adds up, and others go on meanwhile.

use core::mem::offset_of;

use static_assertions::const_assert_eq;

use crate::Syscall;
use crate::limits::{MAX_CPUS, PAGE_SIZE};

/// First word of the header: "HOSTATS1" in memory.
pub const MAGIC: u64 = u64::from_le_bytes(*b"HOSTATS1");

/// Calls that are told apart; the last place counts the numbers that are none.
pub const CALLS: usize = 128;

/// Offset of the first CPU's counts.
pub const CPUS_OFFSET: usize = PAGE_SIZE as usize;

/// Bytes of a message of four words.
const HANDED_LEN: u64 = 32;

/// Bytes of the whole.
pub const LEN: usize = CPUS_OFFSET + MAX_CPUS * size_of::<CpuStatistics>();

const_assert_eq!(LEN % PAGE_SIZE as usize, 0);

/// The first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// CPUs that run: so many of those that follow count.
    pub cpus: u64,
    /// Bytes of [`CpuStatistics`].
    pub stride: u64,
}

const_assert_eq!(size_of::<Header>(), 24);

/// What one CPU has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CpuStatistics {
    /// System calls that began, by their number, but for those of `at_once`.
    pub calls: [u64; CALLS],
    /// System calls that were refused, and entries of submission rings whose operation was tried and came to nothing, by the
    /// number of the [`Error`](crate::Error).
    pub refusals: [u64; 32],
    /// Faults of programs: page faults, and all other exceptions.
    pub faults: u64,
    /// Interrupts: of the timer, of devices, and requests of other CPUs to forget translations.
    pub interrupts: u64,
    /// Times that it went over to another thread, but for those of `at_once`.
    pub switches: u64,
    /// Sleeping threads that its threads made ready, but for those of `at_once`.
    pub wakes: u64,
    /// Sleeping threads whose deadline came.
    pub timeouts: u64,
    /// Times that it asked other CPUs to forget translations.
    pub shootdowns: u64,
    /// Messages that went through objects, as each [`ObjectInfo`](crate::ObjectInfo) counts them, but for
    /// those of `handed` and `at_once`.
    pub messages: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// Waits that began at objects, but for those of `handed` and `at_once`.
    pub waits: u64,
    /// Calls and answers of four words that went straight from one thread to another: each is a message
    /// of 32 bytes, and a wait of who sent it.
    pub handed: u64,
    /// Times that objects were handed over, by the number of the [`Mode`](crate::Mode): when they arrive, and by
    /// CopyOnWrite once, though it counts at [two objects](crate::ObjectInfo::transfers).
    pub transfers: [u64; 3],
    /// The same by who [met before](Syscall::ChannelServeWords) and lives on one CPU: each is a system call, too, of
    /// [`ChannelCallWords`](Syscall::ChannelCallWords) the first and of the other the second, and a switch and a
    /// wake.
    pub at_once: [u64; 2],
    /// 0.
    pub reserved: [u64; 81],
}

const_assert_eq!(size_of::<CpuStatistics>(), 2048);
const_assert_eq!(offset_of!(CpuStatistics, refusals), 1024);
const_assert_eq!(offset_of!(CpuStatistics, faults), 1280);
const_assert_eq!(offset_of!(CpuStatistics, shootdowns), 1320);
const_assert_eq!(offset_of!(CpuStatistics, transfers), 1360);
const_assert_eq!(offset_of!(CpuStatistics, at_once), 1384);

impl CpuStatistics {
    /// Words of it.
    pub const WORDS: usize = size_of::<CpuStatistics>() / 8;

    /// The counts in so many words.
    pub fn from_words(words: &[u64; CpuStatistics::WORDS]) -> CpuStatistics {
        let word = |offset: usize| words[offset / 8];
        let run = |offset: usize, index: usize| words[offset / 8 + index];
        CpuStatistics {
            calls: core::array::from_fn(|index| run(offset_of!(CpuStatistics, calls), index)),
            refusals: core::array::from_fn(|index| run(offset_of!(CpuStatistics, refusals), index)),
            faults: word(offset_of!(CpuStatistics, faults)),
            interrupts: word(offset_of!(CpuStatistics, interrupts)),
            switches: word(offset_of!(CpuStatistics, switches)),
            wakes: word(offset_of!(CpuStatistics, wakes)),
            timeouts: word(offset_of!(CpuStatistics, timeouts)),
            shootdowns: word(offset_of!(CpuStatistics, shootdowns)),
            messages: word(offset_of!(CpuStatistics, messages)),
            bytes: word(offset_of!(CpuStatistics, bytes)),
            waits: word(offset_of!(CpuStatistics, waits)),
            handed: word(offset_of!(CpuStatistics, handed)),
            transfers: core::array::from_fn(|mode| run(offset_of!(CpuStatistics, transfers), mode)),
            at_once: core::array::from_fn(|call| run(offset_of!(CpuStatistics, at_once), call)),
            reserved: core::array::from_fn(|index| run(offset_of!(CpuStatistics, reserved), index)),
        }
    }

    /// All system calls.
    pub fn syscalls(&self) -> u64 {
        self.calls.iter().chain(&self.at_once).sum()
    }

    /// All system calls that began, by their number.
    pub fn all_calls(&self) -> [u64; CALLS] {
        let mut calls = self.calls;
        calls[Syscall::ChannelCallWords as usize] += self.at_once[0];
        calls[Syscall::ChannelServeWords as usize] += self.at_once[1];
        calls
    }

    /// Times that it went over to another thread.
    pub fn all_switches(&self) -> u64 {
        self.switches + self.all_at_once()
    }

    /// Sleeping threads that its threads made ready.
    pub fn all_wakes(&self) -> u64 {
        self.wakes + self.all_at_once()
    }

    /// Calls and answers of four words that went straight from one thread to another.
    pub fn all_handed(&self) -> u64 {
        self.handed + self.all_at_once()
    }

    fn all_at_once(&self) -> u64 {
        self.at_once.iter().sum()
    }

    /// All messages.
    pub fn all_messages(&self) -> u64 {
        self.messages + self.all_handed()
    }

    /// Bytes of all messages.
    pub fn all_bytes(&self) -> u64 {
        self.bytes + HANDED_LEN * self.all_handed()
    }

    /// All waits that began at objects.
    pub fn all_waits(&self) -> u64 {
        self.waits + self.all_handed()
    }

    /// All refusals.
    pub fn refused(&self) -> u64 {
        self.refusals.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, SYSCALLS};

    #[test]
    fn every_call_and_every_error_has_a_place() {
        let unknown = CALLS as u64 - 1;
        assert!(SYSCALLS.iter().all(|call| call.number < unknown));
        assert!(Error::ALL.iter().all(|&error| (error as usize) < 32));
    }

    #[test]
    fn each_word_is_where_the_layout_says() {
        let words = core::array::from_fn(|index| index as u64);
        let counts = CpuStatistics::from_words(&words);
        assert_eq!((counts.calls[127], counts.refusals[0]), (127, 128));
        assert_eq!((counts.faults, counts.shootdowns), (160, 165));
        assert_eq!((counts.messages, counts.handed), (166, 169));
        assert_eq!(
            (counts.transfers, counts.reserved[80]),
            ([170, 171, 172], 255)
        );
        assert_eq!(counts.at_once, [173, 174]);
        let handed = 169 + 173 + 174;
        assert_eq!(counts.all_handed(), handed);
        assert_eq!(counts.all_messages(), 166 + handed);
        assert_eq!(counts.all_bytes(), 167 + 32 * handed);
        assert_eq!(counts.all_waits(), 168 + handed);
        assert_eq!(
            (counts.all_switches(), counts.all_wakes()),
            (162 + 173 + 174, 163 + 173 + 174)
        );
        let more: u64 = (0..)
            .zip(counts.all_calls())
            .map(|(number, all)| all - number)
            .sum();
        assert_eq!(more, 173 + 174);
        let call = Syscall::ChannelCallWords as usize;
        assert_eq!(counts.all_calls()[call], call as u64 + 173);
    }
}
