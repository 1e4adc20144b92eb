//! Regions: vectors of leaf tables, and the frames behind them.
//!
//! A region reserves its worst case when it is made: a frame for each page and its leaf tables.
//! Filling a page later draws on that promise and can't fail for memory. Lock rank: region.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use abi::limits::{MAX_REGION, PAGE_SIZE};
use abi::{Error, RegionKind};

use crate::lock::{Guard, Lock, Rank};
use crate::{Budget, Entry, EntryFlags, Frame, FrameState, LEAF_PAGES, Machine, Mapping, Memory};

/// The view of a ring region for the producing end.
pub const RING_PRODUCER_VIEW: usize = 0;
/// The view of a ring region for the consuming end.
pub const RING_CONSUMER_VIEW: usize = 1;

/// A hardware page table that a region owns. It can't be copied: whoever has it may free it.
#[derive(Debug)]
pub(crate) struct LeafTable(Frame);

/// Memory that can be mapped and handed over.
#[derive(Debug)]
pub struct Region {
    koid: u64,
    kind: RegionKind,
    len: u64,
    pages: u64,
    node: Option<usize>,
    state: Lock<State>,
}

/// What changes of a region.
#[derive(Debug)]
pub(crate) struct State {
    /// The leaf tables of each view; only a ring has more than one view.
    views: Vec<Vec<LeafTable>>,
    /// Frames that belong to the region itself and are in place from its beginning to its end,
    /// whatever entries lead to them (rule S3).
    fixed: Vec<Frame>,
    pub(crate) mappings: Vec<Arc<Mapping>>,
    pub(crate) sealed: bool,
    /// An image whose pages can still be defined: nobody has mapped it or shares its frames.
    pub(crate) unfinished: bool,
    pub(crate) destroyed: bool,
    /// Frames promised and not drawn yet.
    pub(crate) reserved: u64,
    /// Pages that were filled.
    pub(crate) present: u64,
}

impl State {
    /// The frame of a leaf table.
    pub(crate) fn leaf(&self, view: usize, leaf: usize) -> Frame {
        self.views[view][leaf].0
    }

    /// Where the entry of a page stands: in which table, and at which index.
    pub(crate) fn entry_of(&self, view: usize, page: u64) -> (Frame, usize) {
        (
            self.leaf(view, (page / LEAF_PAGES) as usize),
            (page % LEAF_PAGES) as usize,
        )
    }
}

impl Region {
    /// Its number.
    pub fn koid(&self) -> u64 {
        self.koid
    }

    /// What it is made of.
    pub fn kind(&self) -> RegionKind {
        self.kind
    }

    /// Its length in bytes, as it was asked for.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes. No region is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its pages.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The leaf tables of one view.
    pub fn leaf_count(&self) -> usize {
        self.pages.div_ceil(LEAF_PAGES) as usize
    }

    /// Whether nobody can write it any more, or ever could.
    pub fn is_sealed(&self) -> bool {
        self.state.lock().sealed
    }

    /// Pages that are present.
    pub fn present_pages(&self) -> u64 {
        self.state.lock().present
    }

    /// Frames that are promised to it and not drawn yet.
    pub fn reserved_frames(&self) -> u64 {
        self.state.lock().reserved
    }

    /// Mappings over all spaces.
    pub fn mapping_count(&self) -> usize {
        self.state.lock().mappings.len()
    }

    /// The frames of a ring: H, P, C, then the data. They stay where they are until the region is
    /// destroyed.
    pub fn fixed_frame(&self, index: usize) -> Option<Frame> {
        self.state.lock().fixed.get(index).copied()
    }

    /// The frame of a leaf table, for whoever audits them; `None` when there is no such table.
    pub fn leaf_table(&self, view: usize, leaf: usize) -> Option<Frame> {
        let state = self.state.lock();
        state.views.get(view)?.get(leaf).map(|table| table.0)
    }

    /// Whether all its pages allow the same, so that a mapping as a whole can be protected and
    /// sealed.
    pub(crate) fn has_uniform_access(&self) -> bool {
        matches!(self.kind, RegionKind::Anonymous | RegionKind::Initrd)
    }

    pub(crate) fn node(&self) -> Option<usize> {
        self.node
    }

    pub(crate) fn lock(&self) -> Guard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.state.get_mut()
    }
}

impl<M: Machine> Memory<M> {
    /// A region of zeroed memory, filled at the first touch; `commit` fills it now. Frames come
    /// from `node` while it has any.
    ///
    /// `Invalid`: no bytes; `TooLarge`: more than [`MAX_REGION`]; `NoMemory`: its worst case is
    /// not there, and nothing was taken.
    pub fn create_region(
        &self,
        len: u64,
        node: Option<usize>,
        commit: bool,
    ) -> Result<Arc<Region>, Error> {
        let pages = pages_for(len)?;
        let mut region = self.build(RegionKind::Anonymous, len, 1, pages, node)?;
        self.allow_filling(&mut region, 0..pages);
        let region = Arc::new(region);
        if commit {
            for page in 0..pages {
                self.fill(&region, page)?;
            }
        }
        Ok(region)
    }

    /// A region of one leaf table for a stack: its upper `pages` pages are zeroed memory, filled at
    /// the first touch, and those below are holes, so that running over the end is a fault.
    pub fn create_stack_region(&self, pages: u64) -> Result<Arc<Region>, Error> {
        let holes = LEAF_PAGES.checked_sub(pages).ok_or(Error::TooLarge)?;
        let len = LEAF_PAGES * PAGE_SIZE;
        let mut region = self.build(RegionKind::Anonymous, len, 1, pages, None)?;
        self.allow_filling(&mut region, holes..LEAF_PAGES);
        Ok(Arc::new(region))
    }

    /// Makes pages of a new region ones that are zeroed memory at their first touch.
    fn allow_filling(&self, region: &mut Region, pages: Range<u64>) {
        let state = region.state_mut();
        let empty = EntryFlags::FILL | EntryFlags::MAY_WRITE | EntryFlags::NO_EXECUTE;
        for page in pages {
            let (table, index) = state.entry_of(0, page);
            self.machine.store(table, index, Entry::empty(empty));
        }
    }

    /// The region of a ring with `data_pages` pages of data: pages H, P and C, then the data twice
    /// in a row, in two views. Each end may write its own index page, the producer also the data,
    /// nobody the header.
    ///
    /// `TooLarge`, `NoMemory`: as for [`create_region`](Memory::create_region).
    pub fn create_ring_region(&self, data_pages: u64) -> Result<Arc<Region>, Error> {
        let frames = data_pages.checked_add(3).ok_or(Error::TooLarge)?;
        let pages = data_pages
            .checked_mul(2)
            .and_then(|pages| pages.checked_add(3))
            .ok_or(Error::TooLarge)?;
        let len = pages.checked_mul(PAGE_SIZE).ok_or(Error::TooLarge)?;
        pages_for(len)?;
        let mut region = self.build(RegionKind::Ring, len, 2, frames, None)?;
        if region
            .state_mut()
            .fixed
            .try_reserve_exact(frames as usize)
            .is_err()
        {
            self.destroy_region(&region);
            return Err(Error::NoMemory);
        }
        for _ in 0..frames {
            let Some(frame) = self.take_page(None) else {
                self.destroy_region(&region);
                return Err(Error::NoMemory);
            };
            let state = region.state_mut();
            state.reserved -= 1;
            state.present += 1;
            state.fixed.push(frame);
        }
        let state = region.state_mut();
        for page in 0..pages {
            let frame = match page {
                0..3 => state.fixed[page as usize],
                _ => state.fixed[3 + ((page - 3) % data_pages) as usize],
            };
            for (view, writable) in [
                (RING_PRODUCER_VIEW, page == 1 || page >= 3),
                (RING_CONSUMER_VIEW, page == 2),
            ] {
                let mut flags = EntryFlags::USER_PRESENT | EntryFlags::NO_EXECUTE;
                if writable {
                    flags |= EntryFlags::WRITABLE | EntryFlags::MAY_WRITE | EntryFlags::DIRTY;
                }
                let (table, index) = state.entry_of(view, page);
                self.machine.store(table, index, Entry::new(frame, flags));
            }
        }
        Ok(Arc::new(region))
    }

    /// A region over the frames that boot put the initrd into, beginning with `first`: `len` bytes
    /// that nobody can write. The frames are never freed.
    pub fn create_initrd_region(&self, first: Frame, len: u64) -> Result<Arc<Region>, Error> {
        let pages = pages_for(len)?;
        let mut region = self.build(RegionKind::Initrd, len, 1, 0, None)?;
        let state = region.state_mut();
        state.sealed = true;
        state.present = pages;
        for page in 0..pages {
            let (table, index) = state.entry_of(0, page);
            let frame = Frame::from_number(first.number() + page);
            let flags = EntryFlags::USER_PRESENT | EntryFlags::NO_EXECUTE;
            self.machine.store(table, index, Entry::new(frame, flags));
        }
        Ok(Arc::new(region))
    }

    /// Unmaps a region everywhere, waits until no CPU can reach it, and returns its memory.
    /// Of two who do it at once, neither comes back while a CPU can reach it.
    pub fn destroy_region(&self, region: &Region) {
        let (views, fixed, reserved) = {
            let mut state = region.lock();
            if state.destroyed {
                return;
            }
            state.destroyed = true;
            self.detach_locked(&mut state, |_| true);
            (
                core::mem::take(&mut state.views),
                core::mem::take(&mut state.fixed),
                core::mem::take(&mut state.reserved),
            )
        };
        for leaf in views.into_iter().flatten() {
            self.free_leaf(leaf, region.kind);
        }
        for frame in fixed {
            self.leave_page(frame);
        }
        self.machine.unreserve(reserved);
    }

    /// A region whose entries are all holes, with its leaf tables, and `frames` frames promised.
    pub(crate) fn build(
        &self,
        kind: RegionKind,
        len: u64,
        view_count: usize,
        frames: u64,
        node: Option<usize>,
    ) -> Result<Region, Error> {
        let pages = pages_for(len)?;
        let leaves = pages.div_ceil(LEAF_PAGES) as usize;
        let tables = (leaves * view_count) as u64;
        if !self.machine.reserve(tables + frames) {
            return Err(Error::NoMemory);
        }
        let mut views = Vec::new();
        let mut missing = tables;
        let made = (|| {
            views.try_reserve_exact(view_count)?;
            for _ in 0..view_count {
                let mut view = Vec::new();
                view.try_reserve_exact(leaves)?;
                views.push(view);
            }
            Ok::<(), alloc::collections::TryReserveError>(())
        })()
        .is_ok();
        if made {
            for view in &mut views {
                for _ in 0..leaves {
                    let Ok(table) = self.allocate_table(Budget::Reserved) else {
                        break;
                    };
                    self.machine.meta(table).set_owners(1);
                    view.push(LeafTable(table));
                    missing -= 1;
                }
            }
        }
        if missing > 0 {
            for leaf in views.into_iter().flatten() {
                self.free_leaf(leaf, kind);
            }
            self.machine.unreserve(missing + frames);
            return Err(Error::NoMemory);
        }
        Ok(Region {
            koid: self.next_koid(),
            kind,
            len,
            pages,
            node,
            state: Lock::new(
                Rank::Region,
                State {
                    views,
                    fixed: Vec::new(),
                    mappings: Vec::new(),
                    sealed: false,
                    unfinished: false,
                    destroyed: false,
                    reserved: frames,
                    present: 0,
                },
            ),
        })
    }

    /// Draws a zeroed frame on a promise (I15); `None` only if the promise was none.
    pub(crate) fn take_page(&self, node: Option<usize>) -> Option<Frame> {
        let frame = self.machine.allocate(node, Budget::Reserved)?;
        let meta = self.machine.meta(frame);
        meta.transition(FrameState::Free, FrameState::Region);
        meta.set_owners(1);
        self.machine.zero(frame);
        Some(frame)
    }

    /// Lowers the count of a page's frame and frees it after its last owner. Only after the
    /// acknowledgement (S2).
    pub(crate) fn leave_page(&self, frame: Frame) {
        let meta = self.machine.meta(frame);
        if meta.remove_owner() {
            meta.transition(FrameState::Region, FrameState::Free);
            self.machine.free(frame, Budget::Open);
        }
    }

    fn free_leaf(&self, leaf: LeafTable, kind: RegionKind) {
        let LeafTable(table) = leaf;
        if matches!(kind, RegionKind::Anonymous | RegionKind::Image) {
            for index in 0..LEAF_PAGES as usize {
                if let Some(frame) = self.machine.load(table, index).frame() {
                    self.leave_page(frame);
                }
            }
        }
        if self.machine.meta(table).remove_owner() {
            self.free_table(table);
        }
    }
}

/// The pages that `len` bytes take.
fn pages_for(len: u64) -> Result<u64, Error> {
    match len {
        0 => Err(Error::Invalid),
        len if len > MAX_REGION => Err(Error::TooLarge),
        len => Ok(len.div_ceil(PAGE_SIZE)),
    }
}
