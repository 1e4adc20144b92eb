//! Frames: 4 KiB of physical memory, and what is known of each.
//!
//! Keeps I1: a frame is in exactly one state, and every change of state names the one before.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use abi::limits::PAGE_SIZE;
use static_assertions::const_assert_eq;

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
#[repr(u8)]
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
    #[inline]
    fn from_raw(raw: u8) -> FrameState {
        match raw {
            1 => FrameState::Free,
            2 => FrameState::Table,
            3 => FrameState::Kernel,
            4 => FrameState::Region,
            _ => FrameState::Reserved,
        }
    }
}

/// What is known of a frame: 16 bytes, all zeros for one that the allocator does not manage.
#[derive(Debug, Default)]
pub struct FrameMeta {
    state: AtomicU8,
    /// The NUMA node; written once, when the allocator takes the frame over.
    node: AtomicU8,
    /// Where in the allocator the frame is; see `pool::place`.
    pub(crate) place: AtomicU8,
    flags: AtomicU8,
    owners: AtomicU32,
    /// In the allocator: the next frame of its list, as its number + 1. Outside of it: the owners
    /// of the leaf of 2 MiB that begins here.
    pub(crate) next: AtomicU32,
    /// In the allocator: the frame before it in its list, as its number + 1.
    pub(crate) previous: AtomicU32,
}

const_assert_eq!(size_of::<FrameMeta>(), 16);

/// The leaf of 2 MiB that begins at the frame is counted as one.
const COUNTED: u8 = 1 << 0;
/// The frame holds nothing but poison.
const POISONED: u8 = 1 << 1;

impl FrameMeta {
    /// A frame that the allocator does not manage.
    pub const fn new() -> FrameMeta {
        FrameMeta {
            state: AtomicU8::new(FrameState::Reserved as u8),
            node: AtomicU8::new(0),
            place: AtomicU8::new(0),
            flags: AtomicU8::new(0),
            owners: AtomicU32::new(0),
            next: AtomicU32::new(0),
            previous: AtomicU32::new(0),
        }
    }

    /// The NUMA node that the frame belongs to; 0 for one that the allocator does not manage.
    #[inline]
    pub fn node(&self) -> usize {
        self.node.load(Ordering::Relaxed).into()
    }

    #[inline]
    pub(crate) fn is_of(&self, node: usize) -> bool {
        self.node.load(Ordering::Relaxed) == node as u8
    }

    #[inline]
    pub(crate) fn set_node(&self, node: usize) {
        self.node.store(node as u8, Ordering::Relaxed);
    }

    /// Its state.
    #[inline]
    pub fn state(&self) -> FrameState {
        FrameState::from_raw(self.state.load(Ordering::Relaxed))
    }

    /// Changes the state from the one that it must have.
    ///
    /// # Panics
    /// When it has another: two owners believe that the frame is theirs, and going on would
    /// corrupt memory.
    #[inline]
    pub fn transition(&self, from: FrameState, to: FrameState) {
        let before = self.state.swap(to as u8, Ordering::Relaxed);
        if before != from as u8 {
            wrong_state(before, from, to);
        }
    }

    /// How many leaf tables hold the frame, or how many regions hold the leaf table.
    #[inline]
    pub fn owners(&self) -> u32 {
        // SYNC(frame.owners): pairs with the Release of `remove_owner`; who reads 1 sees all that
        // the others did with the frame.
        self.owners.load(Ordering::Acquire)
    }

    /// Sets the count of a frame that only the caller knows.
    #[inline]
    pub fn set_owners(&self, owners: u32) {
        self.owners.store(owners, Ordering::Relaxed);
    }

    /// One more owner. Only who owns it already may let another in.
    #[inline]
    pub fn add_owner(&self) {
        self.owners.fetch_add(1, Ordering::Relaxed);
    }

    /// One owner less; true for the last. Only after the shootdown that took the frame from its
    /// owner was acknowledged (rule S2).
    #[inline]
    pub fn remove_owner(&self) -> bool {
        // SYNC(frame.owners)
        self.owners.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// How many owners hold the leaf of 2 MiB that begins at this frame. Means nothing for any
    /// other frame: the allocator uses the same bytes, and leaves 0 in the head of a run.
    #[inline]
    pub fn leaf_owners(&self) -> u32 {
        // SYNC(frame.leaf_owners): as for `owners`.
        self.next.load(Ordering::Acquire)
    }

    /// Sets the count of a leaf of 2 MiB that only the caller knows.
    #[inline]
    pub fn set_leaf_owners(&self, owners: u32) {
        self.next.store(owners, Ordering::Relaxed);
    }

    /// One more owner of the leaf of 2 MiB. Only who owns it already may let another in.
    #[inline]
    pub fn add_leaf_owner(&self) {
        self.next.fetch_add(1, Ordering::Relaxed);
    }

    /// One owner of the leaf of 2 MiB less; true for the last. Only after the shootdown that took
    /// the leaf from its owner was acknowledged (rule S2).
    #[inline]
    pub fn remove_leaf_owner(&self) -> bool {
        // SYNC(frame.leaf_owners)
        self.next.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether the leaf of 2 MiB that begins at this frame is counted as one. No frame in
    /// the allocator is: [`free_run`](crate::Frames::free_run) takes the flag away, and who frees
    /// the leaf frame by frame does so first.
    #[inline]
    pub fn is_counted(&self) -> bool {
        self.flags.load(Ordering::Acquire) & COUNTED != 0
    }

    /// Says whether the leaf of 2 MiB that begins at this frame is counted as one.
    #[inline]
    pub fn set_counted(&self, counted: bool) {
        self.set_flag(COUNTED, counted, Ordering::Release);
    }

    /// Notes whether the frame holds nothing but poison, and answers what was noted before.
    #[inline]
    pub(crate) fn set_poisoned(&self, poisoned: bool) -> bool {
        self.set_flag(POISONED, poisoned, Ordering::Relaxed)
    }

    #[inline]
    fn set_flag(&self, flag: u8, on: bool, order: Ordering) -> bool {
        let before = if on {
            self.flags.fetch_or(flag, order)
        } else {
            self.flags.fetch_and(!flag, order)
        };
        before & flag != 0
    }
}

#[cold]
fn wrong_state(before: u8, from: FrameState, to: FrameState) -> ! {
    let before = FrameState::from_raw(before);
    panic!("a frame went from {before:?} to {to:?} as if it had been {from:?}");
}
