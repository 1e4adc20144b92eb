//! Page faults: what happens when a page is touched that is not there, or not so.

use abi::{Error, Rights};

use crate::{AddressSpace, Budget, Entry, EntryFlags, FrameState, Machine, Memory, Region};

impl<M: Machine> Memory<M> {
    /// Resolves an access to `va` (READ, WRITE or EXECUTE) in a space: fills the page if it may be
    /// filled, and returns when the access will work. Any error means that the program did wrong.
    ///
    /// `NotFound`: nothing is mapped there; `Revoked`: not any more; `Denied`: not for this access;
    /// `Range`: a hole.
    pub fn fault(&self, space: &AddressSpace, va: u64, access: Rights) -> Result<(), Error> {
        let mapping = space.find(va).ok_or(Error::NotFound)?;
        if !mapping.is_attached() {
            return Err(Error::Revoked);
        }
        if !mapping.access().contains(access) {
            return Err(Error::Denied);
        }
        let region = mapping.region();
        let page = mapping.page_of(va);
        if page >= region.pages() {
            return Err(Error::Range);
        }
        let entry = self.fill_view(region, mapping.view(), page)?;
        let allowed = (!access.contains(Rights::WRITE) || entry.has(EntryFlags::WRITABLE))
            && (!access.contains(Rights::EXECUTE) || !entry.has(EntryFlags::NO_EXECUTE));
        if !allowed {
            return Err(Error::Denied);
        }
        // A translation that allowed less may be cached here; others find out for themselves.
        self.machine.flush_page(va);
        Ok(())
    }

    /// Makes sure that a page is present in the first view.
    pub(crate) fn fill(&self, region: &Region, page: u64) -> Result<Entry, Error> {
        self.fill_view(region, 0, page)
    }

    /// Makes sure that a page is present and returns its entry. `Range`: a hole; `Revoked`: the
    /// region is gone. The frame is drawn and zeroed without the region lock; of two CPUs that
    /// fill one page, the later finds it done and gives its frame back.
    fn fill_view(&self, region: &Region, view: usize, page: u64) -> Result<Entry, Error> {
        loop {
            {
                let mut state = region.lock();
                if state.destroyed {
                    return Err(Error::Revoked);
                }
                let (table, index) = state.entry_of(view, page);
                let entry = self.machine.load(table, index);
                if entry.is_present() {
                    return Ok(entry);
                }
                if !entry.has(EntryFlags::FILL) {
                    return Err(Error::Range);
                }
                if state.reserved == 0 {
                    // The last promise is in the hands of a CPU that is filling this very page.
                    drop(state);
                    self.machine.relax();
                    continue;
                }
                state.reserved -= 1;
            }
            let Some(frame) = self.take_page(region.node()) else {
                region.lock().reserved += 1;
                return Err(Error::NoMemory);
            };
            let mut state = region.lock();
            if state.destroyed {
                drop(state);
                self.leave_page(frame);
                return Err(Error::Revoked);
            }
            let (table, index) = state.entry_of(view, page);
            let entry = self.machine.load(table, index);
            if entry.is_present() {
                state.reserved += 1;
                let meta = self.machine.meta(frame);
                meta.set_owners(0);
                meta.transition(FrameState::Region, FrameState::Free);
                self.machine.free(frame, Budget::Reserved);
                return Ok(entry);
            }
            let mut flags = EntryFlags::USER_PRESENT | (entry.flags() & EntryFlags::KEPT);
            if entry.has(EntryFlags::MAY_WRITE) {
                flags |= EntryFlags::WRITABLE | EntryFlags::DIRTY;
            }
            let filled = Entry::new(frame, flags);
            self.machine.store(table, index, filled);
            state.present += 1;
            return Ok(filled);
        }
    }
}
