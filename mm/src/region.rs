//! Regions: vectors of leaf tables, and the frames behind them.
//!
//! A region is promised its worst case when it is made: its leaf tables, and a frame for each page.
//! Filling a page later draws on that promise and can't fail for memory. Lock rank: region.

mod create;
mod state;

use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Error, RegionKind, Rights};

use crate::charged::release_memory;
use crate::leaf::Page;
use crate::lock::{Guard, Lock};
use crate::{Charge, Frame, LEAF_PAGES, Machine, Memory, Stale};

pub use create::RegionOptions;
pub(crate) use create::pages_for;
pub(crate) use state::{Leaves, State, Views};

/// Memory that can be mapped and handed over.
#[derive(Debug)]
pub struct Region {
    koid: u64,
    kind: RegionKind,
    len: u64,
    pages: u64,
    node: Option<usize>,
    jit: bool,
    /// Written under the lock of the state.
    faults: AtomicU64,
    state: Lock<State>,
    /// Its worst case until it ends, and its record until that is gone.
    pub(crate) charge: Lock<Charge>,
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

    /// Faults of programs that were resolved by filling a page, copying it or giving write access back,
    /// or turned out to be resolved.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Counts one. Only with the state locked, so nobody comes in between.
    #[inline(always)]
    pub(crate) fn count_fault(&self) {
        let count = self.faults.load(Ordering::Relaxed);
        self.faults.store(count + 1, Ordering::Relaxed);
    }

    /// Pages that are present, those that show the zero frame apart.
    pub fn present_pages(&self) -> u64 {
        let state = self.state.lock();
        match state.fixed.len() as u64 {
            0 => state
                .views
                .iter()
                .flatten()
                .map(|leaf| u64::from(leaf.present))
                .sum(),
            fixed => fixed,
        }
    }

    /// Frames that are promised to it and not drawn yet. Regions that share memory since a snapshot
    /// have one promise, which each of them tells.
    pub fn reserved_frames(&self) -> u64 {
        self.state.lock().reserve.promised()
    }

    /// The number of the region that it descends from by snapshots, its own if by none. Regions of
    /// one family share one promise.
    pub fn family(&self) -> u64 {
        self.state.lock().reserve.family_koid().unwrap_or(self.koid)
    }

    /// The physical address at which its memory begins, if all of it is in one piece.
    pub fn physical_address(&self) -> Option<u64> {
        self.state.lock().run.map(Frame::address)
    }

    /// How many pins it has.
    pub fn pin_count(&self) -> u32 {
        self.state.lock().pins.len() as u32
    }

    /// Whether its frames have to stay where they are.
    pub fn is_pinned(&self) -> bool {
        !self.state.lock().pins.is_empty()
    }

    /// Whether its memory was returned; a region that had overcommitted loses it when a copy needs
    /// memory that is not there.
    pub fn is_lost(&self) -> bool {
        self.state.lock().lost
    }

    /// Mappings over all spaces.
    pub fn mapping_count(&self) -> usize {
        self.state.lock().mappings.len()
    }

    /// The frames of a ring: H, P, C, then the data; or of what the kernel writes. They stay where they are until the region is
    /// destroyed.
    pub fn fixed_frame(&self, index: usize) -> Option<Frame> {
        self.state.lock().fixed.get(index).copied()
    }

    /// Whether all its pages allow the same, so that a mapping as a whole can be protected.
    pub(crate) fn has_uniform_access(&self) -> bool {
        matches!(
            self.kind,
            RegionKind::Anonymous
                | RegionKind::Initrd
                | RegionKind::Device
                | RegionKind::Contiguous
        )
    }

    /// `Invalid` for a mapping that could write what it executes (I14).
    pub(crate) fn check_access(&self, access: Rights) -> Result<(), Error> {
        match self.has_uniform_access() && access.contains(Rights::WRITE | Rights::EXECUTE) {
            true => Err(Error::Invalid),
            false => Ok(()),
        }
    }

    /// Whether no two of its mappings may write and execute it. The pages of an image decide for
    /// themselves.
    pub(crate) fn excludes_write_and_execute(&self) -> bool {
        self.kind != RegionKind::Image && !self.jit
    }

    /// Whether its pages are filled and copied on demand. All others have fixed frames (S3).
    pub(crate) fn is_lazy(&self) -> bool {
        matches!(self.kind, RegionKind::Anonymous | RegionKind::Image)
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
    /// Every leaf that a region holds, by its first frame, and whether it is a large one. For audits.
    pub fn for_each_leaf(&self, region: &Region, mut each: impl FnMut(Frame, bool)) {
        let state = region.lock();
        for leaf in state.views.iter().flatten() {
            each(leaf.first_frame(), leaf.is_large());
        }
    }

    /// How many of its leaves are large, and how many another region has, or has had, too.
    pub fn large_and_shared_leaves(&self, region: &Region) -> (u64, u64) {
        let state = region.lock();
        let leaves = || state.views.iter().flatten();
        let large = leaves().filter(|leaf| leaf.is_large()).count();
        let shared = leaves().filter(|leaf| !self.owns(leaf)).count();
        (large as u64, shared as u64)
    }

    /// Unmaps a region everywhere, waits until no CPU can reach it, and returns its memory.
    /// Of two who do it at once, neither comes back while a CPU can reach it.
    pub fn destroy_region(&self, region: &Region) {
        self.end_region(region, false);
    }

    /// The same; `lost` says why it is gone.
    pub(crate) fn end_region(&self, region: &Region, lost: bool) {
        let mut state = region.lock();
        if state.destroyed {
            // What was lost has kept its mappings.
            if !lost {
                self.detach_locked(region, state, |_| true);
            }
            return;
        }
        state.destroyed = true;
        state.lost = lost;
        if lost {
            self.empty_attachments(&state);
        } else {
            state = self.detach_locked(region, state, |_| true).1;
        }
        let owned = (
            core::mem::take(&mut state.views),
            core::mem::take(&mut state.fixed),
            state.run.take(),
        );
        let spaces = state.mappings.iter().map(|mapping| mapping.space());
        let (views, fixed, run) = Stale::in_spaces(self, owned, spaces).wait(self);
        state.pins.clear();
        drop(state);

        let mut freed = 0;
        for leaf in views.into_iter().flatten() {
            freed += self.leave_leaf(leaf, !region.is_lazy());
        }
        let run = run.map_or(0, Frame::number);
        let run = (run..).take(if run == 0 { 0 } else { region.pages as usize });
        for frame in fixed.into_iter().chain(run.map(Frame::from_number)) {
            self.leave_page(Page::from_edge(frame));
        }
        let mut state = region.lock();
        let claims = state.claims;
        state.reserve.end(&self.machine, region, claims, freed);
        release_memory(&mut region.charge.lock());
        if region.kind == RegionKind::Device {
            drop(state);
            self.devices.release(region);
        }
    }
}
