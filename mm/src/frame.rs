//! Frames: 4 KiB of physical memory, and what is known of each.
//!
//! Keeps I1: a frame is in exactly one state, and every change of state names the one before.

use core::sync::atomic::{AtomicU32, Ordering};

use abi::limits::PAGE_SIZE;

/// 4 KiB of physical memory, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(u64);

impl Frame {
    /// The frame of this number.
    pub const fn from_number(number: u64) -> Frame {
        Frame(number)
    }

    /// The frame that holds a physical address.
    pub const fn containing(address: u64) -> Frame {
        Frame(address / PAGE_SIZE)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Its physical address.
    pub const fn address(self) -> u64 {
        self.0 * PAGE_SIZE
    }
}

/// What a frame is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FrameState {
    /// Not memory that the allocator manages: boot took it, or there is none.
    Reserved = 0,
    /// Free.
    Free = 1,
    /// A page table.
    Table = 2,
    /// Memory of the kernel itself.
    Kernel = 3,
    /// A page of a region.
    Region = 4,
}

impl FrameState {
    fn from_raw(raw: u32) -> FrameState {
        match raw {
            1 => FrameState::Free,
            2 => FrameState::Table,
            3 => FrameState::Kernel,
            4 => FrameState::Region,
            _ => FrameState::Reserved,
        }
    }
}

/// What is known of a frame.
#[derive(Debug, Default)]
pub struct FrameMeta {
    state: AtomicU32,
    owners: AtomicU32,
    /// The next free frame, as its number + 1.
    pub(crate) next: AtomicU32,
}

impl FrameMeta {
    /// A frame that the allocator does not manage.
    pub const fn new() -> FrameMeta {
        FrameMeta {
            state: AtomicU32::new(FrameState::Reserved as u32),
            owners: AtomicU32::new(0),
            next: AtomicU32::new(0),
        }
    }

    /// Its state.
    pub fn state(&self) -> FrameState {
        FrameState::from_raw(self.state.load(Ordering::Relaxed))
    }

    /// Changes the state from the one that it must have.
    ///
    /// # Panics
    /// When it has another: two owners believe that the frame is theirs, and going on would
    /// corrupt memory.
    pub fn transition(&self, from: FrameState, to: FrameState) {
        let before = self.state.swap(to as u32, Ordering::Relaxed);
        assert!(
            before == from as u32,
            "a frame went from {:?} to {to:?} as if it had been {from:?}",
            FrameState::from_raw(before),
        );
    }

    /// How many leaf tables hold the frame, or how many regions hold the leaf table.
    pub fn owners(&self) -> u32 {
        // SYNC(frame.owners): pairs with the Release of `remove_owner`; who reads 1 sees all that
        // the others did with the frame.
        self.owners.load(Ordering::Acquire)
    }

    /// Sets the count of a frame that only the caller knows.
    pub fn set_owners(&self, owners: u32) {
        self.owners.store(owners, Ordering::Relaxed);
    }

    /// One more owner. Only who owns it already may let another in.
    pub fn add_owner(&self) {
        self.owners.fetch_add(1, Ordering::Relaxed);
    }

    /// One owner less; true for the last. Only after the shootdown that took the frame from its
    /// owner was acknowledged (rule S2).
    pub fn remove_owner(&self) -> bool {
        // SYNC(frame.owners)
        self.owners.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
