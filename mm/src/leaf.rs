//! Edges that are owned: from a region to a leaf table, and from a leaf table to a frame.
//!
//! One rule makes copy-on-write: an edge is writable only if its target has one owner. A count
//! rises only under the lock of a region that already owns the target, and falls only after the
//! acknowledgement (S2), so "one" is stable for whoever holds the lock of that owner. A shared leaf
//! table is edited in two ways only, both atomic: clear W, and put the zero frame into an empty
//! entry (S1).

use crate::{Budget, Entry, EntryFlags, Frame, FrameState, LEAF_PAGES, Machine, Memory};

/// A leaf table that a region holds. It can't be copied: whoever has it lowers its count once.
#[derive(Debug)]
pub(crate) struct Leaf {
    table: Frame,
    /// Pages that are present in it, the zero frame apart.
    pub(crate) present: u16,
}

impl Leaf {
    /// A table that only the caller knows.
    pub(crate) fn new(table: Frame, present: u16) -> Leaf {
        Leaf { table, present }
    }

    /// The table.
    pub(crate) fn table(&self) -> Frame {
        self.table
    }
}

/// A frame that was taken out of the entry which owned it. It can't be copied either.
#[derive(Debug)]
pub(crate) struct Page(Frame);

impl Page {
    /// The owner edge of an entry that is about to be overwritten, or of a frame that was just drawn.
    pub(crate) fn from_edge(frame: Frame) -> Page {
        Page(frame)
    }
}

/// The flags of an entry that leads to a frame with one owner, given what the entry keeps.
pub(crate) fn owned_flags(kept: EntryFlags) -> EntryFlags {
    let flags = EntryFlags::USER_PRESENT | (kept & EntryFlags::KEPT);
    if kept.contains(EntryFlags::MAY_WRITE) {
        flags | EntryFlags::WRITABLE | EntryFlags::DIRTY
    } else {
        flags
    }
}

impl<M: Machine> Memory<M> {
    /// Whether a region that holds the leaf table is its only owner.
    pub(crate) fn owns(&self, leaf: &Leaf) -> bool {
        self.machine.meta(leaf.table).owners() == 1
    }

    /// Whether an entry leads to the zero frame, which has no owners and may never be written.
    pub(crate) fn is_zero(&self, entry: Entry) -> bool {
        entry.frame() == Some(self.zero)
    }

    /// One more edge to the same leaf table, under the lock of a region that has one.
    pub(crate) fn share_leaf(&self, leaf: &Leaf) -> Leaf {
        self.machine.meta(leaf.table).add_owner();
        Leaf { ..*leaf }
    }

    /// Copies a shared leaf table into one of the caller's own: each frame has one owner more and
    /// can be written through neither. That needs no flush, since a shared table is reached through
    /// read-only entries. The count of the shared one falls later, when it is left.
    pub(crate) fn clone_leaf(&self, leaf: &Leaf, table: Frame) -> Leaf {
        let meta = self.machine.meta(table);
        meta.transition(FrameState::Free, FrameState::Table);
        meta.set_owners(1);
        for index in 0..LEAF_PAGES as usize {
            let entry = self.machine.load(leaf.table, index);
            if let Some(frame) = entry.frame()
                && frame != self.zero
            {
                self.machine.meta(frame).add_owner();
            }
            self.take_write(leaf.table, index, entry);
            self.machine.store(table, index, entry.read_only());
        }
        Leaf { table, ..*leaf }
    }

    /// Clears W in a shared leaf table. Meanwhile another owner may put the zero frame into an empty
    /// entry, which a plain store of what was read before would lose.
    fn take_write(&self, table: Frame, index: usize, entry: Entry) {
        if cfg!(sabotage = "plain_store_in_shared_table") {
            self.machine.store(table, index, entry.read_only());
        } else if entry.has(EntryFlags::WRITABLE) {
            self.machine.clear_writable(table, index);
        }
    }

    /// Gives an edge to a leaf table up, after the acknowledgement; the last owner takes the frames
    /// along unless they are `fixed`. Returns how many frames that count in a reserve were freed, all
    /// of them with `budget`.
    pub(crate) fn leave_leaf(&self, leaf: Leaf, fixed: bool, budget: Budget) -> u64 {
        let Leaf { table, .. } = leaf;
        let last = self.machine.meta(table).remove_owner();
        if !last && !cfg!(sabotage = "shared_leaf_freed") {
            return 0;
        }
        let mut freed = 1;
        for index in 0..LEAF_PAGES as usize {
            if fixed {
                break;
            }
            let entry = self.machine.load(table, index);
            let Some(frame) = entry.frame().filter(|frame| *frame != self.zero) else {
                continue;
            };
            let counts = entry.has(EntryFlags::MAY_WRITE);
            let budget = if counts { budget } else { Budget::Open };
            let gone = self.release_page(Page(frame), || budget);
            freed += u64::from(gone && counts);
        }
        self.free_table(table, budget);
        freed
    }

    /// Gives an edge to a frame up, after the acknowledgement; its last owner frees it.
    pub(crate) fn leave_page(&self, page: Page) {
        self.release_page(page, || Budget::Open);
    }

    /// The same; `budget` is asked for by the last owner only, and true returned to it.
    pub(crate) fn release_page(&self, page: Page, budget: impl FnOnce() -> Budget) -> bool {
        let Page(frame) = page;
        let meta = self.machine.meta(frame);
        let last = meta.remove_owner();
        if last {
            meta.transition(FrameState::Region, FrameState::Free);
            self.machine.free(frame, budget());
        }
        last
    }

    /// Takes a frame on a promise; nobody else knows it, and its content is arbitrary.
    pub(crate) fn take_frame(&self, node: Option<usize>) -> Option<Frame> {
        let frame = self.machine.allocate(node, Budget::Reserved)?;
        let meta = self.machine.meta(frame);
        meta.transition(FrameState::Free, FrameState::Region);
        meta.set_owners(1);
        Some(frame)
    }

    /// The same, filled with zeros (I15).
    pub(crate) fn take_page(&self, node: Option<usize>) -> Option<Frame> {
        let frame = self.take_frame(node)?;
        if !cfg!(sabotage = "zeroing_skipped") {
            self.machine.zero(frame);
        }
        Some(frame)
    }
}
