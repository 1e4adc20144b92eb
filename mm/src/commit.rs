//! Pages ahead of time, pages given back, and pages that stay where they are.

use alloc::sync::Arc;
use core::array;
use core::ops::Range;

use abi::limits::{MAX_PINS, PAGE_SIZE};
use abi::{Error, RegionKind, Rights};

use crate::fault::{Need, edited_pages};
use crate::leaf::Page;
use crate::lock::Guard;
use crate::region::State;
use crate::reserve::Dry;
use crate::{Entry, EntryFlags, LEAF_PAGES, Machine, Memory, Permit, Region};

/// Pages that are filled in one step, or given back with one shootdown. Leaf tables are a multiple of it.
const BATCH: u64 = 32;

impl<M: Machine> Memory<M> {
    /// Makes pages of a region present, so that touching them takes no fault for want of a frame.
    /// What a snapshot shares stays shared. In units of pages; a length of 0 stands for the rest.
    ///
    /// `Align`, `Range`: the part; `Unsupported`: an image; `Revoked`: it is gone; `NoMemory`: it had
    /// overcommitted and is lost.
    pub fn commit(&self, region: &Region, offset: u64, len: u64) -> Result<(), Error> {
        self.commit_in_steps(region, offset, len, |step| step())
    }

    /// The same in steps of some pages, each of which `hold` takes or refuses.
    pub fn commit_in_steps(
        &self,
        region: &Region,
        offset: u64,
        len: u64,
        hold: impl Fn(&mut dyn FnMut() -> Result<(), Error>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut pages = page_range(region, offset, len)?;
        match region.kind() {
            RegionKind::Anonymous => {
                while !pages.is_empty() {
                    let end = pages.end.min((pages.start / BATCH + 1) * BATCH);
                    hold(&mut || self.need_all(region, pages.start..end, Need::Present))?;
                    pages.start = end;
                }
                Ok(())
            }
            RegionKind::Image => Err(Error::Unsupported),
            // Fixed frames are there from the beginning.
            _ => hold(&mut || region.lock().check_alive()),
        }
    }

    /// Gives the frames of pages back to the promise of the region: they read as zeros again. No CPU
    /// can reach the frames when it returns.
    ///
    /// `Align`, `Range`: the part; `Unsupported`: anything but anonymous memory; `Sealed`; `Pinned`;
    /// `Revoked`: it is gone; `NoMemory`: it had overcommitted and is lost.
    pub fn decommit(&self, region: &Region, offset: u64, len: u64) -> Result<(), Error> {
        self.decommit_if(region, offset, len, || Ok(()))
    }

    /// The same in the name of a permit: pages while that is live and allows WRITE, and none after who revoked it
    /// has had the region. `Revoked`, `Denied`: it does not any more.
    pub fn decommit_by(
        &self,
        region: &Region,
        permit: &Permit,
        offset: u64,
        len: u64,
    ) -> Result<(), Error> {
        self.decommit_if(region, offset, len, || permit.check(Rights::WRITE))
    }

    fn decommit_if(
        &self,
        region: &Region,
        offset: u64,
        len: u64,
        allowed: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let pages = page_range(region, offset, len)?;
        if region.kind() != RegionKind::Anonymous {
            return Err(Error::Unsupported);
        }
        let mut first = pages.start;
        while first < pages.end {
            let end = pages.end.min((first / BATCH + 1) * BATCH);
            let mut state = region.lock();
            if !crate::sabotaged!("decommit_asks_nobody") {
                allowed()?;
            }
            state.check_alive()?;
            if state.sealed {
                return Err(Error::Sealed);
            }
            if !state.pins.is_empty() {
                return Err(Error::Pinned);
            }
            match self.empty_pages(region, &mut state, first..end) {
                Ok(()) => first = end,
                Err(dry) => {
                    drop(state);
                    self.find_memory(region, dry);
                }
            }
        }
        Ok(())
    }

    /// Keeps the frames of a region where they are until `permit` gives them up: nothing can be copied, moved or
    /// decommitted meanwhile. To be followed by [`fill_pinned`](Memory::fill_pinned).
    ///
    /// `Unsupported`: an image, or a region that overcommits; `Revoked`: the region or the authority
    /// is gone; `Limit`: it has [`MAX_PINS`]; `NoMemory`.
    pub fn pin(&self, region: &Region, permit: &Arc<Permit>) -> Result<(), Error> {
        if region.kind() == RegionKind::Image {
            return Err(Error::Unsupported);
        }
        let mut state = region.lock();
        state.check_alive()?;
        if !permit.is_live() {
            return Err(Error::Revoked);
        }
        // It may lose its memory at any time.
        if state.reserve.is_overcommitted() {
            return Err(Error::Unsupported);
        }
        if state.pins.len() >= MAX_PINS {
            return Err(Error::Limit);
        }
        state.pins.try_reserve(1).map_err(|_| Error::NoMemory)?;
        state.pins.push(permit.clone());
        Ok(())
    }

    /// Has all frames of a part of a region present that was pinned. When it fails, the pin is to be taken back.
    ///
    /// `Revoked`: the region is gone; `NoMemory`.
    pub fn fill_pinned(&self, region: &Region, offset: u64, len: u64) -> Result<(), Error> {
        let pages = page_range(region, offset, len)?;
        if !region.is_lazy() {
            return Ok(());
        }
        // With the pin in place nobody shares anything any more. What is sealed is never copied.
        let sealed = region.lock().sealed;
        let need = if sealed { Need::Present } else { Need::Write };
        match self.need_all(region, pages.clone(), need) {
            // Sealed meanwhile.
            Err(Error::Sealed) => self.need_all(region, pages, Need::Present),
            kept => kept,
        }
    }

    /// Takes one pin of `permit` back. `NotFound`: it has none.
    pub fn unpin(&self, region: &Region, permit: &Arc<Permit>) -> Result<(), Error> {
        let mut state = region.lock();
        let place = state.pins.iter().position(|pin| Arc::ptr_eq(pin, permit));
        state.pins.swap_remove(place.ok_or(Error::NotFound)?);
        state.unpin(|_| true);
        Ok(())
    }

    /// Takes every pin back whose permit `over` names. It is asked with the region locked.
    pub fn unpin_all(&self, region: &Region, mut over: impl FnMut(&Arc<Permit>) -> bool) {
        region.lock().unpin(|permit| !over(permit));
    }

    fn need_all(&self, region: &Region, pages: Range<u64>, need: Need) -> Result<(), Error> {
        for page in pages {
            match self.resolve(region, 0, page, need, |_| ()) {
                // The guard of a stack.
                Ok(()) | Err(Error::Range) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes pages of one leaf table out, waits, and leaves their frames.
    fn empty_pages(
        &self,
        region: &Region,
        state: &mut Guard<'_, State>,
        pages: Range<u64>,
    ) -> Result<(), Dry> {
        let number = (pages.start / LEAF_PAGES) as usize;
        let is_empty = |page| !self.load_page(state, 0, page).is_present();
        if pages.clone().all(is_empty) {
            return Ok(());
        }
        let leaf = &state.views[0][number];
        let shared = match leaf.is_large() || state.reserve.is_family() && !self.owns(leaf) {
            true => {
                let table = self.draw_copy(state, region.node())?;
                Some(self.replace_leaf(state, number, table))
            }
            false => None,
        };
        let mut taken: [Option<Page>; BATCH as usize] = array::from_fn(|_| None);
        for (page, slot) in pages.clone().zip(&mut taken) {
            let entry = self.load_page(state, 0, page);
            let kept = Entry::empty(entry.flags() & EntryFlags::KEPT);
            self.store_page(state, 0, page, kept);
            if let Some(frame) = entry.frame().filter(|_| !self.is_zero(entry)) {
                state.leaf_mut(number).present -= 1;
                *slot = Some(Page::from_edge(frame));
            }
        }
        if crate::sabotaged!("frame_freed_before_ack") {
            for page in taken.iter_mut().filter_map(Option::take) {
                self.release_page(page, || state.reserve.put_back(&self.machine, false));
            }
        }
        let edited = edited_pages(region, pages, shared.is_some());
        let stale = state.stale_pages(self, edited, (shared, taken));
        let (shared, taken) = stale.wait(self);
        for page in taken.into_iter().flatten() {
            self.release_page(page, || state.reserve.put_back(&self.machine, false));
        }
        if let Some(leaf) = shared {
            self.leave_cloned(state, leaf);
        }
        Ok(())
    }
}

/// The pages that `len` bytes from `offset` on are; a length of 0 stands for the rest.
fn page_range(region: &Region, offset: u64, len: u64) -> Result<Range<u64>, Error> {
    let end = region.pages() * PAGE_SIZE;
    let until = match len {
        0 => end,
        len => offset.checked_add(len).ok_or(Error::Range)?,
    };
    if offset >= end || until > end {
        return Err(Error::Range);
    }
    if !offset.is_multiple_of(PAGE_SIZE)
        || !until.is_multiple_of(PAGE_SIZE) && until != region.len()
    {
        return Err(Error::Align);
    }
    Ok(offset / PAGE_SIZE..until.div_ceil(PAGE_SIZE))
}
