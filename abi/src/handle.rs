//! Handles and tokens: the two numbers that stand for authority.

use core::fmt;

use static_assertions::const_assert;

use crate::Mode;

/// What kind of object a handle or token refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ObjectKind {
    /// Memory that can be mapped and handed over.
    Region = 1,
    /// A parsed program, ready to be spawned.
    Image = 2,
    /// One side of a ring.
    RingEnd = 3,
    /// A process.
    Process = 4,
    /// A range of physical addresses that devices answer.
    Resource = 5,
    /// Bits that are signalled and waited for.
    Notification = 6,
    /// Where a thread waits for many objects.
    Port = 7,
    /// One side of a channel.
    ChannelEnd = 8,
    /// The right to answer one call.
    Reply = 9,
    /// Sets bits of a notification at a time.
    Timer = 10,
    /// Sets bits of a notification when a device asks for it.
    Interrupt = 11,
    /// A thread.
    Thread = 12,
    /// What guests join, from the side of its host.
    Hub = 13,
    /// A guest's seat at a hub, or the host's link to who has it.
    HubMember = 14,
    /// Entries by which a program asks for many calls at once.
    SubmissionRing = 15,
}

impl ObjectKind {
    /// The kind of this number.
    pub const fn from_code(code: u8) -> Option<ObjectKind> {
        match code {
            1 => Some(ObjectKind::Region),
            2 => Some(ObjectKind::Image),
            3 => Some(ObjectKind::RingEnd),
            4 => Some(ObjectKind::Process),
            5 => Some(ObjectKind::Resource),
            6 => Some(ObjectKind::Notification),
            7 => Some(ObjectKind::Port),
            8 => Some(ObjectKind::ChannelEnd),
            9 => Some(ObjectKind::Reply),
            10 => Some(ObjectKind::Timer),
            11 => Some(ObjectKind::Interrupt),
            12 => Some(ObjectKind::Thread),
            13 => Some(ObjectKind::Hub),
            14 => Some(ObjectKind::HubMember),
            15 => Some(ObjectKind::SubmissionRing),
            _ => None,
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::Region => "region",
            ObjectKind::Image => "image",
            ObjectKind::RingEnd => "ring-end",
            ObjectKind::Process => "process",
            ObjectKind::Resource => "resource",
            ObjectKind::Notification => "notification",
            ObjectKind::Port => "port",
            ObjectKind::ChannelEnd => "channel-end",
            ObjectKind::Reply => "reply",
            ObjectKind::Timer => "timer",
            ObjectKind::Interrupt => "interrupt",
            ObjectKind::Thread => "thread",
            ObjectKind::Hub => "hub",
            ObjectKind::HubMember => "hub-member",
            ObjectKind::SubmissionRing => "submission-ring",
        })
    }
}

// A kind must fit the four bits of a token.
const_assert!((ObjectKind::SubmissionRing as u8) < 16);

/// A capability of the process that holds it: `index:24 | generation:32 | kind:8`, least
/// significant field first.
///
/// It is an index into a table of that process and worth nothing to any other. A dropped handle
/// never becomes valid again: the generation of its slot moves on, and a slot whose generation
/// would wrap is retired. 0 is never valid, and bit 63 is never set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Handle(u64);

impl Handle {
    /// The handle that names nothing.
    pub const NONE: Handle = Handle(0);

    /// The handle with these fields; `index` counts in its low 24 bits.
    pub const fn new(index: u32, generation: u32, kind: ObjectKind) -> Handle {
        Handle((index & 0xff_ffff) as u64 | (generation as u64) << 24 | (kind as u64) << 56)
    }

    /// Any number as a handle. Whether it is a good one shows when it is used.
    pub const fn from_bits(bits: u64) -> Handle {
        Handle(bits)
    }

    /// The number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The slot in the table of its process.
    pub const fn index(self) -> u32 {
        self.0 as u32 & 0xff_ffff
    }

    /// Which tenant of the slot.
    pub const fn generation(self) -> u32 {
        (self.0 >> 24) as u32
    }

    /// What it says it refers to; `None` for a number that no kernel issued.
    pub const fn kind(self) -> Option<ObjectKind> {
        ObjectKind::from_code((self.0 >> 56) as u8)
    }
}

/// `kind#index.generation`, `none`, or a number that is no handle.
impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Some(kind) => write!(f, "{kind}#{}.{}", self.index(), self.generation()),
            None if self.0 == 0 => f.write_str("none"),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

/// What a grant returns: `index:24 | generation:32 | kind:4 | mode:4`, least significant field
/// first.
///
/// It may travel in any message, since it is worthless to anyone but its addressee: `accept`
/// checks grantor, addressee, generation and state, and works once. Bit 63 is never set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Token(u64);

impl Token {
    /// The token with these fields; `index` counts in its low 24 bits.
    pub const fn new(index: u32, generation: u32, kind: ObjectKind, mode: Mode) -> Token {
        Token(
            (index & 0xff_ffff) as u64
                | (generation as u64) << 24
                | (kind as u64) << 56
                | (mode as u64) << 60,
        )
    }

    /// Any number as a token. Whether it is a good one shows when it is used.
    pub const fn from_bits(bits: u64) -> Token {
        Token(bits)
    }

    /// The number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The slot in the kernel's table of pending grants.
    pub const fn index(self) -> u32 {
        self.0 as u32 & 0xff_ffff
    }

    /// Which tenant of the slot.
    pub const fn generation(self) -> u32 {
        (self.0 >> 24) as u32
    }
}

/// `token#index.generation`.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token#{}.{}", self.index(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_fields_survive_the_round_trip() {
        let handle = Handle::new(0xff_ffff, 0xdead_beef, ObjectKind::RingEnd);
        assert_eq!(handle.index(), 0xff_ffff);
        assert_eq!(handle.generation(), 0xdead_beef);
        assert_eq!(handle.kind(), Some(ObjectKind::RingEnd));
        assert_eq!(handle.bits(), 0x03de_adbe_efff_ffff);
    }

    #[test]
    fn token_fields_survive_the_round_trip_and_bit_63_stays_clear() {
        let token = Token::new(7, u32::MAX, ObjectKind::Region, Mode::CopyOnWrite);
        assert_eq!((token.index(), token.generation()), (7, u32::MAX));
        assert_eq!(token.bits() >> 63, 0);
    }
}
