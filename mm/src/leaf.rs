//! Edges that are owned: from a region to a leaf, and from a leaf table to a frame.
//!
//! One rule makes copy-on-write: an edge is writable only if its target has one owner. A count
//! rises only under the lock of a region that already owns the target, and falls only after the
//! acknowledgement (S2), so "one" is stable for whoever holds the lock of that owner. A shared leaf
//! table is edited in two ways only, both atomic: clear W, and put the zero frame into an empty
//! entry (S1).

use abi::Error;

use crate::region::State;
use crate::{Budget, Entry, EntryFlags, Frame, FrameState, LEAF_PAGES, Machine, Memory};

/// What a region holds for 2 MiB of it: a leaf table, or a large leaf, which is one run of 512 frames
/// that a single entry of a directory maps. It can't be copied: whoever has it lowers its count once.
///
/// The frames of a large leaf are owned by it, one edge each. When somebody has taken a leaf table
/// over the same frames, it is *counted*: its frames may have more owners, so it never becomes
/// writable again, and its last owner takes a table too before it writes (S12).
#[derive(Debug)]
pub(crate) struct Leaf {
    /// The table, or the first frame of the run.
    frame: Frame,
    large: bool,
    /// Pages that are present in it, the zero frame apart.
    pub(crate) present: u16,
}

static_assertions::assert_not_impl_any!(Leaf: Clone, Copy);

impl Leaf {
    /// Whether it is a large leaf.
    pub(crate) fn is_large(&self) -> bool {
        self.large
    }

    /// The table, or the first frame of the run.
    pub(crate) fn first_frame(&self) -> Frame {
        self.frame
    }

    /// The table; nothing for a large leaf.
    pub(crate) fn table(&self) -> Option<Frame> {
        (!self.large).then_some(self.frame)
    }

    /// The entry of a page directory that attaches it with these flags.
    pub(crate) fn attachment(&self, flags: EntryFlags) -> Entry {
        let mut flags = flags;
        if self.large {
            flags |= EntryFlags::LARGE;
            flags.set(EntryFlags::DIRTY, flags.contains(EntryFlags::WRITABLE));
        }
        Entry::new(self.frame, flags)
    }

    /// The frames of a large leaf.
    fn frames(&self) -> impl Iterator<Item = Frame> + use<> {
        let first = self.frame.number();
        (first..first + LEAF_PAGES).map(Frame::from_number)
    }
}

/// 2^9 frames are a large leaf.
const LARGE_ORDER: u32 = 9;

/// Runs of fewer frames than 2^4 are not worth asking the allocator for: what a CPU keeps is nearer.
const LEAST_RUN: u32 = 4;

/// Frames that follow one another and are to be freed alike, by number.
struct Run {
    begin: u64,
    end: u64,
    budget: Budget,
}

/// A page of anonymous memory that was not touched yet. Whether it is executed is for the mapping to
/// say: there may be a capability that allows it.
pub(crate) const EMPTY: EntryFlags = EntryFlags::FILL.union(EntryFlags::MAY_WRITE);

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
    /// Whether a region that holds the leaf may write through it: it is the only owner, and no frame
    /// of a large leaf can have another.
    pub(crate) fn owns(&self, leaf: &Leaf) -> bool {
        let meta = self.machine.meta(leaf.frame);
        if leaf.large {
            meta.leaf_owners() == 1 && !meta.is_counted()
        } else {
            meta.owners() == 1
        }
    }

    /// Whether another region has the same leaf.
    pub(crate) fn is_shared(&self, leaf: &Leaf) -> bool {
        let meta = self.machine.meta(leaf.frame);
        match leaf.large {
            true => meta.leaf_owners() > 1,
            false => meta.owners() > 1,
        }
    }

    /// Whether an entry leads to the zero frame, which has no owners and may never be written.
    pub(crate) fn is_zero(&self, entry: Entry) -> bool {
        entry.frame() == Some(self.zero)
    }

    /// The entry of a page of a leaf; one that says the same for a large leaf.
    pub(crate) fn entry_in(&self, leaf: &Leaf, index: usize) -> Entry {
        if !leaf.large {
            return self.machine.load(leaf.frame, index);
        }
        let frame = Frame::from_number(leaf.frame.number() + index as u64);
        Entry::new(frame, owned_flags(EMPTY)).read_only()
    }

    /// The entry of a page of a region.
    pub(crate) fn load_page(&self, state: &State, view: usize, page: u64) -> Entry {
        let (leaf, index) = state.leaf_of(view, page);
        self.entry_in(leaf, index)
    }

    /// Writes the entry of a page. The pages of a large leaf have none.
    pub(crate) fn store_page(&self, state: &State, view: usize, page: u64, entry: Entry) {
        let (leaf, index) = state.leaf_of(view, page);
        debug_assert!(!leaf.large);
        self.machine.store(leaf.frame, index, entry);
    }

    /// A leaf table full of holes, on a promise.
    pub(crate) fn new_leaf(&self) -> Result<Leaf, Error> {
        let table = self.allocate_table(Budget::Reserved)?;
        self.machine.meta(table).set_owners(1);
        Ok(Leaf {
            frame: table,
            large: false,
            present: 0,
        })
    }

    /// A large leaf of zeroed frames, on a promise of 512; `None` when memory is too scattered.
    pub(crate) fn new_large_leaf(&self, node: Option<usize>) -> Option<Leaf> {
        let first = self
            .machine
            .allocate_run(LARGE_ORDER, node, Budget::Reserved)?;
        let leaf = Leaf {
            frame: first,
            large: true,
            present: LEAF_PAGES as u16,
        };
        for frame in leaf.frames() {
            self.begin_page(frame);
        }
        self.machine.meta(first).set_leaf_owners(1);
        Some(leaf)
    }

    /// One more edge to the same leaf, under the lock of a region that has one.
    pub(crate) fn share_leaf(&self, leaf: &Leaf) -> Leaf {
        let meta = self.machine.meta(leaf.frame);
        if leaf.large {
            meta.add_leaf_owner();
        } else {
            meta.add_owner();
        }
        Leaf { ..*leaf }
    }

    /// Makes a table of the caller's own out of a leaf: each frame has one owner more and can be
    /// written through neither. That needs no flush, since a shared leaf is reached through read-only
    /// entries. The count of the old one falls later, when it is left.
    pub(crate) fn clone_leaf(&self, leaf: &Leaf, table: Frame) -> Leaf {
        let meta = self.machine.meta(table);
        meta.transition(FrameState::Free, FrameState::Table);
        meta.set_owners(1);
        if leaf.large {
            self.machine.meta(leaf.frame).set_counted(true);
            for (index, frame) in leaf.frames().enumerate() {
                self.machine.meta(frame).add_owner();
                let entry = Entry::new(frame, owned_flags(EMPTY)).read_only();
                self.machine.store(table, index, entry);
            }
        } else {
            self.count_and_protect(leaf.frame);
            self.machine.copy(leaf.frame, table);
        }
        Leaf {
            frame: table,
            large: false,
            ..*leaf
        }
    }

    /// Adds an owner to every frame of a shared leaf table and clears W in it. Meanwhile another owner
    /// may put the zero frame into an empty entry, which a plain store of what was read before would
    /// lose. What a write in a shared table of full pages costs is mostly this: eight entries a turn,
    /// and the zero frame, whose count means nothing, like any other.
    fn count_and_protect(&self, table: Frame) {
        const TURN: usize = 8;
        for turn in 0..LEAF_PAGES as usize / TURN {
            for step in 0..TURN {
                let index = turn * TURN + step;
                let entry = self.machine.load(table, index);
                if let Some(frame) = entry.frame_of_present() {
                    self.machine.meta(frame).add_owner();
                    if !crate::sabotaged!("plain_store_in_shared_table") {
                        self.machine.clear_writable(table, index);
                    }
                }
                if crate::sabotaged!("plain_store_in_shared_table") {
                    self.machine.store(table, index, entry.read_only());
                }
            }
        }
    }

    /// Gives an edge to a leaf table up, after the acknowledgement; the last owner takes the frames
    /// along unless they are `fixed`. Returns how many frames that count in a reserve were freed, all
    /// of them as promises.
    pub(crate) fn leave_leaf(&self, leaf: Leaf, fixed: bool) -> u64 {
        let meta = self.machine.meta(leaf.frame);
        if leaf.large {
            return match meta.remove_leaf_owner() {
                true => self.end_large_leaf(&leaf),
                false => 0,
            };
        }
        if !meta.remove_owner() && !crate::sabotaged!("shared_leaf_freed") {
            return 0;
        }
        let mut freed = 1;
        let mut run = Run {
            begin: 0,
            end: 0,
            budget: Budget::Open,
        };
        let mut left = if fixed { 0 } else { leaf.present };
        for index in 0..LEAF_PAGES as usize {
            // Behind the last page that is present nothing is to be left.
            if left == 0 && !cfg!(debug_assertions) {
                break;
            }
            let entry = self.machine.load(leaf.frame, index);
            let Some(frame) = entry.frame().filter(|frame| !fixed && *frame != self.zero) else {
                continue;
            };
            debug_assert!(left > 0, "a leaf table has more pages than it counts");
            left -= 1;
            if !self.machine.meta(frame).remove_owner() {
                continue;
            }
            let counts = entry.has(EntryFlags::MAY_WRITE);
            freed += u64::from(counts);
            let budget = if counts {
                Budget::Reserved
            } else {
                Budget::Open
            };
            run = self.free_in_runs(run, frame, budget);
        }
        self.free_run_of(run);
        self.free_table(leaf.frame, Budget::Reserved);
        freed
    }

    /// Frees a frame with those that follow it in memory: one step of a pass over a table. What is
    /// left of the run is free at the end of the pass.
    fn free_in_runs(&self, run: Run, frame: Frame, budget: Budget) -> Run {
        self.machine
            .meta(frame)
            .transition(FrameState::Region, FrameState::Free);
        let number = frame.number();
        if run.end == number && run.budget == budget {
            return Run {
                end: number + 1,
                ..run
            };
        }
        self.free_run_of(run);
        Run {
            begin: number,
            end: number + 1,
            budget,
        }
    }

    /// Frees frames that follow one another, in blocks as large as they have.
    fn free_run_of(&self, run: Run) {
        let mut number = run.begin;
        while number < run.end {
            let first = Frame::from_number(number);
            let aligned = number.trailing_zeros().min(LARGE_ORDER);
            let order = (run.end - number).ilog2().min(aligned);
            if order < LEAST_RUN {
                self.machine.free(first, run.budget);
                number += 1;
            } else {
                self.machine.free_run(first, order, run.budget);
                number += 1 << order;
            }
        }
    }

    /// Takes `count` frames, or as many as 1, that follow one another, on a promise; returns the
    /// first and how many. Their content is arbitrary.
    pub(crate) fn take_frames(&self, count: u64, node: Option<usize>) -> Option<(Frame, u64)> {
        let order = count.ilog2().min(LARGE_ORDER);
        if order >= LEAST_RUN
            && let Some(first) = self.machine.allocate_run(order, node, Budget::Reserved)
        {
            return Some((first, 1 << order));
        }
        let first = self.machine.allocate(node, Budget::Reserved)?;
        Some((first, 1))
    }

    /// What the last owner of a large leaf does with its frames: a run again, if nobody has a table
    /// over them.
    fn end_large_leaf(&self, leaf: &Leaf) -> u64 {
        if self.machine.meta(leaf.frame).is_counted() {
            self.machine.meta(leaf.frame).set_counted(false);
            let gone = leaf
                .frames()
                .filter(|frame| self.release_page(Page(*frame), || Budget::Reserved));
            return gone.count() as u64;
        }
        for frame in leaf.frames() {
            let meta = self.machine.meta(frame);
            meta.set_owners(0);
            meta.transition(FrameState::Region, FrameState::Free);
        }
        self.machine
            .free_run(leaf.frame, LARGE_ORDER, Budget::Reserved);
        LEAF_PAGES
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

    /// Draws a zeroed frame on a promise (I15), which nobody else knows.
    pub(crate) fn take_page(&self, node: Option<usize>) -> Option<Frame> {
        let frame = self.machine.allocate(node, Budget::Reserved)?;
        self.begin_page(frame);
        Some(frame)
    }

    /// Makes a frame that was taken a page with one owner, full of zeros.
    pub(crate) fn begin_page(&self, frame: Frame) {
        let meta = self.machine.meta(frame);
        meta.transition(FrameState::Free, FrameState::Region);
        meta.set_owners(1);
        if !crate::sabotaged!("zeroing_skipped") {
            self.machine.zero(frame);
        }
    }
}
