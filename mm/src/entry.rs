//! Page-table entries as the CPU reads them (Intel SDM volume 3, section 4.5), plus the bits that
//! only software reads.

use abi::CachePolicy;
use bitflags::bitflags;

use crate::Frame;

bitflags! {
    /// The flags of an entry, at any level.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct EntryFlags: u64 {
        /// The CPU may use the entry.
        const PRESENT = 1 << 0;
        /// Writing is allowed, if every level above allows it too.
        const WRITABLE = 1 << 1;
        /// Ring 3 may use it.
        const USER = 1 << 2;
        /// The lowest bit of the cache policy.
        const WRITE_THROUGH = 1 << 3;
        /// The middle bit of the cache policy.
        const NO_CACHE = 1 << 4;
        /// Set so that the CPU never has to write it.
        const ACCESSED = 1 << 5;
        /// Set so that the CPU never has to write it.
        const DIRTY = 1 << 6;
        /// In a page directory: the entry maps 2 MiB itself.
        const LARGE = 1 << 7;
        /// The highest bit of the cache policy, in the entry of a 4 KiB page. In that of a larger
        /// one it is bit 12, and this bit says that the page is larger.
        const ATTRIBUTE = 1 << 7;
        /// Software: an empty entry may be filled at the first touch. Without it an empty entry is
        /// a hole, and touching it is a fault.
        const FILL = 1 << 9;
        /// Software: the region lets its page be written. W is set only where this is.
        const MAY_WRITE = 1 << 10;
        /// Instructions are not fetched through it.
        const NO_EXECUTE = 1 << 63;
    }
}

impl EntryFlags {
    /// What every entry that translates user addresses has.
    pub const USER_PRESENT: EntryFlags = EntryFlags::PRESENT
        .union(EntryFlags::USER)
        .union(EntryFlags::ACCESSED);

    /// The bits that choose among the eight policies of IA32_PAT.
    pub const CACHE: EntryFlags = EntryFlags::WRITE_THROUGH
        .union(EntryFlags::NO_CACHE)
        .union(EntryFlags::ATTRIBUTE);

    /// How the entry of a 4 KiB page says its cache policy: the number of the entry of IA32_PAT, of
    /// which 0 to 3 are as at reset and 4 is write-combining (SDM volume 3, section 12.12).
    pub fn cached(policy: CachePolicy) -> EntryFlags {
        if crate::sabotaged!("policy_not_in_entry") {
            return EntryFlags::empty();
        }
        match policy {
            CachePolicy::WriteBack => EntryFlags::empty(),
            CachePolicy::WriteThrough => EntryFlags::WRITE_THROUGH,
            CachePolicy::Uncached => EntryFlags::WRITE_THROUGH.union(EntryFlags::NO_CACHE),
            CachePolicy::WriteCombining => EntryFlags::ATTRIBUTE,
        }
    }

    /// What a leaf keeps while it is empty.
    pub const KEPT: EntryFlags = EntryFlags::FILL
        .union(EntryFlags::MAY_WRITE)
        .union(EntryFlags::NO_EXECUTE);
}

/// Where the frame number stands in an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// One entry: flags, and the frame that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Entry(u64);

impl Entry {
    /// Leads nowhere and may not be filled.
    pub const HOLE: Entry = Entry(0);

    /// Leads to `frame`.
    pub const fn new(frame: Frame, flags: EntryFlags) -> Entry {
        Entry(frame.address() | flags.bits())
    }

    /// An entry that leads nowhere but keeps flags.
    pub const fn empty(flags: EntryFlags) -> Entry {
        Entry(flags.bits())
    }

    /// The entry of these bits, as the CPU reads them.
    pub const fn from_bits(bits: u64) -> Entry {
        Entry(bits)
    }

    /// The bits, as the CPU reads them.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Its flags.
    pub const fn flags(self) -> EntryFlags {
        EntryFlags::from_bits_truncate(self.0)
    }

    /// The frame that it leads to, if it is present.
    pub const fn frame(self) -> Option<Frame> {
        if self.is_present() {
            Some(Frame::containing(self.0 & ADDRESS))
        } else {
            None
        }
    }

    /// The frame of an entry of a leaf table. Those lead to a frame if, and only if, they are
    /// present, so that there is one thing to test.
    #[inline]
    pub(crate) const fn frame_of_present(self) -> Option<Frame> {
        match self.0 & ADDRESS {
            0 => None,
            address => Some(Frame::containing(address)),
        }
    }

    /// Whether the CPU may use it.
    pub const fn is_present(self) -> bool {
        self.0 & EntryFlags::PRESENT.bits() != 0
    }

    /// The same without W. What keeps MAY_WRITE can have it again.
    pub const fn read_only(self) -> Entry {
        Entry(self.0 & !EntryFlags::WRITABLE.bits())
    }

    /// Whether it has all of these flags.
    pub const fn has(self, flags: EntryFlags) -> bool {
        self.0 & flags.bits() == flags.bits()
    }
}
