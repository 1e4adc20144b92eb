//! The memory of a trace: what `trace_start` returns, word by word.
//!
//! | offset | written by | contents |
//! |---|---|---|
//! | 0 | kernel, the magic last | [`Header`] |
//! | 4,096 | each CPU its own line | how many events it has recorded, a [`LINE_BYTES`] apart |
//! | 8,192 | each CPU its own ring | `slots` events of [`SLOT_BYTES`] for each CPU in turn |
//!
//! Event number *i* of a CPU is in slot *i* mod `slots` of its ring until a later one takes the place.
//! A slot is eight words: the first is stored last, and is 0 while the others change. All is
//! little-endian, and nobody but the kernel can write any of it.

use core::mem::offset_of;

use static_assertions::const_assert_eq;

use crate::limits::{MAX_CPUS, PAGE_SIZE};

/// First word of a complete header: "HOTRACE1" in memory.
pub const MAGIC: u64 = u64::from_le_bytes(*b"HOTRACE1");

/// Bytes of a slot: a cache line.
pub const SLOT_BYTES: usize = 64;
/// Words of a slot.
pub const SLOT_WORDS: usize = SLOT_BYTES / 8;
/// Bytes between the counts of two CPUs.
pub const LINE_BYTES: usize = 64;

/// Offset of the count of the first CPU.
pub const COUNTS_OFFSET: usize = PAGE_SIZE as usize;
/// Offset of the first slot of the first CPU.
pub const SLOTS_OFFSET: usize = 2 * PAGE_SIZE as usize;

const_assert_eq!(MAX_CPUS * LINE_BYTES, PAGE_SIZE as usize);

/// The fewest slots of a CPU: a page of them.
pub const MIN_SLOTS: u32 = (PAGE_SIZE as usize / SLOT_BYTES) as u32;
/// The most slots of a CPU.
pub const MAX_SLOTS: u32 = 65_536;

/// Whether a trace is still being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Events come.
    Recording = 1,
    /// No more will come; what was recorded stays.
    Ended = 2,
}

/// The first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`], written last.
    pub magic: u64,
    /// CPUs: so many rings there are.
    pub cpus: u32,
    /// Slots of each ring, a power of two.
    pub slots: u32,
    /// When the trace began, in ns of the monotonic clock.
    pub started_ns: u64,
    /// The number of a [`State`].
    pub state: u32,
    /// 0.
    pub reserved: u32,
}

const_assert_eq!(size_of::<Header>(), 32);
const_assert_eq!(offset_of!(Header, started_ns), 16);
const_assert_eq!(offset_of!(Header, state), 24);

/// Bytes of a trace with so many CPUs and slots.
pub const fn len(cpus: usize, slots: u32) -> usize {
    SLOTS_OFFSET + cpus * slots as usize * SLOT_BYTES
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $code:literal $name:ident;)*) => {
        /// What an event is about, and what its arguments are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum EventKind { $($(#[doc = $doc])+ $name = $code,)* }

        impl EventKind {
            /// Every kind, by number.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$name),*];

            /// The kind of this number.
            pub const fn from_code(code: u8) -> Option<EventKind> {
                match code { $($code => Some(EventKind::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// A system call begins; `number` is its number, the arguments are those of the call.
    1 Enter;
    /// A system call answers: `rax`, and for a call that returns words the first five registers of them.
    2 Leave;
    /// A page fault was looked at: the address, the error code (Intel SDM volume 3, 4.7), when it came, and
    /// 1 if the program could go on.
    3 Fault;
    /// A CPU goes on with another thread: its number, that of the one before, and how that one stands: a
    /// [`Left`]. The number of an idle CPU's thread is 0.
    4 Switch;
    /// A thread that slept can go on: its number, its CPU, and why: a [`Woken`].
    5 Wake;
    /// A thread is there: its number, that of its process, then the name of the process in four words,
    /// filled up with zeros.
    6 Thread;
    /// A thread has ended: its number.
    7 End;
    /// An object was offered: its number, the token, and the number of the [`Mode`](crate::Mode).
    8 Grant;
    /// An offer was accepted: the number of the object, and the token.
    9 Accept;
    /// Capabilities that others may have had were taken away: the number of the object, how many, and why: a
    /// [`Cause`]. Told by the thread that took them away; at a deadline that is whichever runs on that CPU.
    10 Revoke;
    /// Other CPUs were asked to forget translations: a bit for each.
    11 Shootdown;
    /// An interrupt was taken: its vector is the number.
    12 Interrupt;
    /// An entry of a submission ring is tried, or completed without: refused, or ended while it waited. `number` is
    /// [`Operation::event_number`], 255 where no operation has the number that it asked for; the arguments are those of
    /// its call, handles in the place of registered numbers if it was tried. One that has to wait is tried again.
    ///
    /// [`Operation::event_number`]: crate::submission::Operation::event_number
    13 Entry;
    /// The entry of the last [`Entry`](EventKind::Entry) of its thread is completed: its outcome as in `rax`, and its
    /// `user_data`; `number` as there.
    14 Completion;
    /// A program took another exception than a page fault: the vector (Intel SDM volume 3, table 6-1) is the number;
    /// the instruction that the program would go on at, and the error code, 0 where there is none.
    15 Exception;
}

/// How the thread stands that a CPU has switched away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Left {
    /// It could go on.
    Ready = 0,
    /// It sleeps.
    Asleep = 1,
    /// It has ended.
    Ended = 2,
}

/// Why a thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Woken {
    /// The thread of the event, or what a device told its CPU, ended the wait.
    Unparked = 0,
    /// The deadline has passed.
    TimedOut = 1,
    /// It has to end.
    Ending = 2,
    /// It begins.
    Started = 3,
}

/// Why capabilities were taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Cause {
    /// `cap_revoke`.
    Revoked = 0,
    /// The region was destroyed.
    Destroyed = 1,
    /// A deadline has passed.
    Lapsed = 2,
    /// What is above them was moved with `REVOKE_OTHERS`.
    Moved = 3,
    /// They belonged to a guest of a hub, whose tenancy has ended.
    Vacated = 4,
}

impl Cause {
    /// Every reason, by number.
    pub const ALL: [Cause; 5] = [
        Cause::Revoked,
        Cause::Destroyed,
        Cause::Lapsed,
        Cause::Moved,
        Cause::Vacated,
    ];

    /// The reason of this number.
    pub fn from_code(code: u64) -> Option<Cause> {
        Cause::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

/// Arguments of an event.
pub const ARGUMENTS: usize = 6;

/// Nanoseconds that an event can tell apart from a later one: the time wraps after three days.
pub const TIME_MASK: u64 = (1 << 48) - 1;

/// What a CPU did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in ns of the monotonic clock, [`TIME_MASK`] of them.
    pub time_ns: u64,
    /// The thread that ran: the lower half of its number; 0 is an idle CPU.
    pub thread: u32,
    /// The number of an [`EventKind`].
    pub kind: u8,
    /// As the kind says, else 0.
    pub number: u8,
    /// As the kind says, else 0.
    pub arguments: [u64; ARGUMENTS],
}

impl Event {
    /// The event as words of a slot; the upper half of the first is the thread, its lower half is for
    /// whoever publishes it.
    pub const fn encode(&self) -> [u64; SLOT_WORDS] {
        let [a, b, c, d, e, f] = self.arguments;
        let time = self.time_ns & TIME_MASK;
        [
            (self.thread as u64) << 32,
            time | (self.kind as u64) << 48 | (self.number as u64) << 56,
            a,
            b,
            c,
            d,
            e,
            f,
        ]
    }

    /// The event of these words.
    pub const fn decode(words: [u64; SLOT_WORDS]) -> Event {
        let [head, what, a, b, c, d, e, f] = words;
        Event {
            time_ns: what & TIME_MASK,
            thread: (head >> 32) as u32,
            kind: (what >> 48) as u8,
            number: (what >> 56) as u8,
            arguments: [a, b, c, d, e, f],
        }
    }
}

/// The lower half of a slot's first word while it holds event `index` of its CPU. Never 0.
pub const fn sequence(index: u64) -> u32 {
    (index as u32) << 1 | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_its_slot() {
        let event = Event {
            time_ns: 0x1234_5678_9abc,
            thread: 0xffff_fffe,
            kind: EventKind::Leave as u8,
            number: 98,
            arguments: [1, u64::MAX, 3, 4, 5, 1 << 63],
        };
        assert_eq!(Event::decode(event.encode()), event);
        assert_eq!(event.encode()[0] as u32, 0);
    }

    #[test]
    fn every_kind_has_its_number() {
        for (index, &kind) in EventKind::ALL.iter().enumerate() {
            assert_eq!(kind as usize, index + 1);
            assert_eq!(EventKind::from_code(kind as u8), Some(kind));
        }
        for (code, why) in (0..).zip(Cause::ALL) {
            assert_eq!((Cause::from_code(code), why as u64), (Some(why), code));
        }
        assert_eq!(Cause::from_code(Cause::ALL.len() as u64), None);
        assert_eq!(EventKind::from_code(0), None);
    }

    #[test]
    fn no_sequence_is_that_of_a_slot_being_written() {
        for index in [0, 1, u64::from(u32::MAX), u64::MAX, 1 << 31] {
            assert_ne!(sequence(index), 0);
        }
    }
}
