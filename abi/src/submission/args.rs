//! What makes a submission ring and what tells about one, and the numbers of registered handles.

use static_assertions::const_assert_eq;

use super::{MAX_COMPLETIONS, MAX_ENTRIES, SubmissionRingFlags};
use crate::{Error, limits};

/// What `sub_create` makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SubmissionArgs {
    /// Entries: a power of two up to [`MAX_ENTRIES`].
    pub entries: u32,
    /// Completions: a power of two, at least as many as entries and up to [`MAX_COMPLETIONS`]; 0 stands for
    /// twice as many.
    pub completions: u32,
    /// [`SubmissionRingFlags`].
    pub flags: u32,
    /// With POLL: for how many microseconds nothing comes before the thread sleeps, at most
    /// [`MAX_IDLE_US`](limits::MAX_IDLE_US). Else 0.
    pub idle_us: u32,
    /// With POLL: the CPUs that the thread may run on; 0 stands for all of the process. Else 0.
    pub cpus: u64,
    /// The index of the first entry and of the first completion; they wrap at 2^32.
    pub start: u32,
    /// 0.
    pub reserved: u32,
}

/// What a [`SubmissionArgs`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmissionGeometry {
    /// Entries, a power of two.
    pub entries: u32,
    /// Completions, a power of two.
    pub completions: u32,
    /// The first index of both.
    pub start: u32,
}

impl SubmissionArgs {
    /// A ring without a thread of its own.
    pub const fn new(entries: u32, completions: u32) -> SubmissionArgs {
        SubmissionArgs {
            entries,
            completions,
            flags: 0,
            idle_us: 0,
            cpus: 0,
            start: 0,
            reserved: 0,
        }
    }

    /// What it asks for. `Invalid`: sizes that are no powers of two or contradict one another, unknown
    /// flags, reserved fields; `TooLarge`: more than there can be.
    pub fn decode(&self) -> Result<(SubmissionGeometry, SubmissionRingFlags), Error> {
        let flags = SubmissionRingFlags::from_bits(self.flags).ok_or(Error::Invalid)?;
        let polls = flags.contains(SubmissionRingFlags::POLL);
        if self.reserved != 0 || !polls && (self.idle_us != 0 || self.cpus != 0) {
            return Err(Error::Invalid);
        }
        let completions = match self.completions {
            0 => self.entries.saturating_mul(2),
            completions => completions,
        };
        if self.entries > MAX_ENTRIES
            || completions > MAX_COMPLETIONS
            || self.idle_us > limits::MAX_IDLE_US
        {
            return Err(Error::TooLarge);
        }
        let powers = self.entries.is_power_of_two() && completions.is_power_of_two();
        if !powers || completions < self.entries {
            return Err(Error::Invalid);
        }
        let geometry = SubmissionGeometry {
            entries: self.entries,
            completions,
            start: self.start,
        };
        Ok((geometry, flags))
    }
}

const_assert_eq!(size_of::<SubmissionArgs>(), 32);

/// Where `sub_map` has mapped a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SubmissionViews {
    /// The header page of the submissions.
    pub submissions: u64,
    /// The header page of the completions.
    pub completions: u64,
}

const_assert_eq!(size_of::<SubmissionViews>(), 16);

/// Facts about a submission ring, from `sub_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SubmissionInfo {
    /// Its entries.
    pub entries: u32,
    /// Its completions.
    pub completions: u32,
    /// [`SubmissionRingFlags`].
    pub flags: u32,
    /// Operations that wait at this moment.
    pub pending: u32,
    /// Entries that were taken.
    pub taken: u64,
    /// Completions that were posted.
    pub posted: u64,
}

const_assert_eq!(size_of::<SubmissionInfo>(), 32);

/// A handle that is registered with the rings of a process: `slot:16 | generation:16`, least significant
/// field first. A generation is never 0, and a slot whose generations are used up is not used again, so
/// none is ever valid twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Registered(u32);

impl Registered {
    /// The one with these fields.
    pub const fn new(slot: u16, generation: u16) -> Registered {
        Registered(slot as u32 | (generation as u32) << 16)
    }

    /// What the handle that is registered next in this slot will be: the first of a slot has generation 1,
    /// and each that is registered there another. `None`: the slot is used up.
    pub const fn next(self) -> Option<Registered> {
        match self.generation().checked_add(1) {
            Some(generation) => Some(Registered::new(self.slot(), generation)),
            None => None,
        }
    }

    /// Any number as one; `None` for a number that no kernel issued.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Option<Registered> {
        if bits > u32::MAX as u64 || bits >> 16 == 0 {
            return None;
        }
        Some(Registered(bits as u32))
    }

    /// The number.
    pub const fn bits(self) -> u64 {
        self.0 as u64
    }

    /// Its place in the tables.
    #[inline(always)]
    pub const fn slot(self) -> u16 {
        self.0 as u16
    }

    /// Which tenant of the slot.
    #[inline(always)]
    pub const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }
}
