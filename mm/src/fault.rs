//! Page faults: what happens when a page is touched that is not there, or not so.
//!
//! A page that nobody has touched shows the one zero frame to readers and gets a frame of its own at
//! the first write. A write to what a snapshot shares takes, in this order, a leaf table and a frame
//! of its own; the last owner gets write access back without a copy. Whatever was replaced is left
//! only when no CPU can reach it any more, and only then does the writer go on.

mod own_leaf;

use abi::{Error, Rights};

use crate::leaf::{Page, owned_flags};
use crate::region::State;
use crate::reserve::Dry;
use crate::{
    AddressSpace, Budget, Entry, EntryFlags, Frame, FrameState, LEAF_PAGES, Machine, Memory, Region,
};

pub(crate) use self::own_leaf::edited_pages;

/// What a page has to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To be read: the zero frame will do.
    Read,
    /// To be there before it is touched: an entry that leads to the zero frame or nowhere gets a
    /// frame, what is shared stays shared.
    Present,
    /// To be written by a program.
    Write,
    /// To be written while an image is made, whatever its page allows.
    Load,
}

/// What has to happen, without the region lock, before a step can be taken.
enum Blocked {
    Failed(Error),
    /// A promise was drawn; a zeroed frame is wanted.
    Zeroed,
    Dry(Dry),
}

impl From<Error> for Blocked {
    fn from(error: Error) -> Blocked {
        Blocked::Failed(error)
    }
}

impl From<Dry> for Blocked {
    fn from(dry: Dry) -> Blocked {
        Blocked::Dry(dry)
    }
}

impl<M: Machine> Memory<M> {
    /// Resolves an access to `va` (READ, WRITE or EXECUTE) in a space, and returns when the access
    /// will work. Any error means that the program did wrong, but for `NoMemory`: the region had
    /// overcommitted and is lost.
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
        let need = if access.contains(Rights::WRITE) {
            Need::Write
        } else {
            Need::Read
        };
        let entry = self.resolve(region, mapping.view(), page, need, |entry| {
            region.count_fault();
            entry
        })?;
        if access.contains(Rights::EXECUTE) && entry.has(EntryFlags::NO_EXECUTE) {
            return Err(Error::Denied);
        }
        // A translation that allowed less may be cached here; others find out for themselves.
        self.machine.flush_page(va);
        Ok(())
    }

    /// Makes a page good for what is needed and calls `then` with its entry while the region lock
    /// keeps it so. Frames are zeroed without the lock.
    ///
    /// `Range`: a hole; `Denied`, `Sealed`: it may not be written; `Revoked`: the region is gone;
    /// `NoMemory`: it had overcommitted and is lost.
    pub(crate) fn resolve<R>(
        &self,
        region: &Region,
        view: usize,
        page: u64,
        need: Need,
        then: impl FnOnce(Entry) -> R,
    ) -> Result<R, Error> {
        let mut supply = None;
        loop {
            let mut state = region.lock();
            let step = self.step(region, &mut state, view, page, need, &mut supply);
            let blocked = match step {
                Ok(entry) => {
                    let result = then(entry);
                    self.put_back(&mut state, supply);
                    return Ok(result);
                }
                Err(blocked) => blocked,
            };
            let waits = matches!(blocked, Blocked::Dry(_));
            if !(waits && crate::sabotaged!("page_before_table")) {
                // Who waits holds nothing that another could wait for.
                self.put_back(&mut state, supply.take());
            }
            if let Blocked::Failed(error) = blocked {
                return Err(error);
            }
            drop(state);
            match blocked {
                // A promise is always kept.
                Blocked::Zeroed => {
                    supply = Some(self.take_page(region.node()).ok_or(Error::NoMemory)?)
                }
                Blocked::Dry(dry) => self.find_memory(region, dry),
                Blocked::Failed(_) => {}
            }
        }
    }

    /// Does what an empty purse calls for, so that drawing on it again is worth the try. No region is
    /// locked.
    pub(crate) fn find_memory(&self, region: &Region, dry: Dry) {
        match dry {
            Dry::Contended => self.machine.relax(),
            Dry::Lose(victim) => self.end_region(&victim, true),
            Dry::Lost => self.end_region(region, true),
        }
    }

    /// Takes everything that is there already, or all that is missing at once.
    fn step(
        &self,
        region: &Region,
        state: &mut State,
        view: usize,
        page: u64,
        need: Need,
        supply: &mut Option<Frame>,
    ) -> Result<Entry, Blocked> {
        state.check_alive()?;
        let entry = self.load_page(state, view, page);
        if !region.is_lazy() {
            return fixed(entry, need).map_err(Blocked::Failed);
        }
        if !entry.has(EntryFlags::FILL) {
            return Err(Error::Range.into());
        }
        let zero = self.is_zero(entry);
        let owns_frame = entry.is_present() && !zero;
        let may_write = entry.has(EntryFlags::MAY_WRITE);
        match need {
            Need::Write if !may_write => return Err(Error::Denied.into()),
            Need::Write if state.sealed && !crate::sabotaged!("seal_ignored_by_the_kernel") => {
                return Err(Error::Sealed.into());
            }
            Need::Load | Need::Present if owns_frame => return Ok(entry),
            Need::Read if entry.is_present() => return Ok(entry),
            Need::Present if !may_write => return self.show_zero(state, page, entry),
            Need::Read => return self.show_zero(state, page, entry),
            _ => {}
        }
        if !owns_frame && supply.is_none() {
            // Whoever fills a frame needs nothing more then, and so never waits for another who
            // does the same.
            if !crate::sabotaged!("page_before_table") {
                self.own_leaf(region, state, page)?;
            }
            state.reserve.draw(&self.machine)?;
            return Err(Blocked::Zeroed);
        }
        self.give_own(region, state, page, entry, supply)
    }

    /// Lets an empty page be read. Right for every owner of a shared leaf table, one of whom may do
    /// the same at this moment.
    fn show_zero(&self, state: &State, page: u64, entry: Entry) -> Result<Entry, Blocked> {
        let (leaf, index) = state.leaf_of(0, page);
        // A large leaf has no empty page.
        let table = leaf.table().ok_or(Error::Range)?;
        let flags = EntryFlags::USER_PRESENT | (entry.flags() & EntryFlags::KEPT);
        let shown = Entry::new(self.zero, flags);
        if self.machine.compare_exchange(table, index, entry, shown) || entry == shown {
            Ok(shown)
        } else {
            Err(Blocked::Dry(Dry::Contended))
        }
    }

    /// Gives a region a frame of its own for a page, in a leaf table of its own, and write access if
    /// the page may have it.
    fn give_own(
        &self,
        region: &Region,
        state: &mut State,
        page: u64,
        entry: Entry,
        supply: &mut Option<Frame>,
    ) -> Result<Entry, Blocked> {
        let number = (page / LEAF_PAGES) as usize;
        let leaf = &state.views[0][number];
        let shared_leaf = state.reserve.is_family() && !self.owns(leaf);
        let old = entry.frame().filter(|frame| *frame != self.zero);
        // A frame that only a large leaf of this region leads to needs a table, but no copy.
        let elsewhere = self.is_shared(leaf);
        let shared_frame = old.filter(|frame| elsewhere || self.machine.meta(*frame).owners() > 1);

        let count = u64::from(shared_leaf) + u64::from(shared_frame.is_some());
        if count > 0 {
            state.reserve.draw_for_copy(&self.machine, count)?;
        }
        let table = match shared_leaf {
            true => Some(self.take_drawn(state, region.node(), count)?),
            false => None,
        };
        let copy = match shared_frame {
            Some(_) => match self.take_drawn(state, region.node(), 1) {
                Ok(copy) => Some(copy),
                Err(dry) => {
                    self.put_back_free(state, table);
                    return Err(dry.into());
                }
            },
            None => None,
        };

        // Nothing fails from here on.
        let leaf = table.map(|table| self.replace_leaf(state, number, table));
        if leaf.is_none() && state.reserve.is_family() {
            self.refresh_attachments(state, number);
        }
        let flags = owned_flags(entry.flags());
        let frame = match (old, copy) {
            (Some(old), Some(copy)) => {
                let meta = self.machine.meta(copy);
                meta.transition(FrameState::Free, FrameState::Region);
                meta.set_owners(1);
                self.machine.copy(old, copy);
                copy
            }
            (Some(old), None) => old,
            (None, _) => {
                state.leaf_mut(number).present += 1;
                // The step was blocked until there was one.
                supply.take().ok_or(Error::NoMemory)?
            }
        };
        let owned = Entry::new(frame, flags);
        if let Some(table) = state.views[0][number].table() {
            let index = (page % LEAF_PAGES) as usize;
            self.machine.store(table, index, owned);
        }

        if leaf.is_some() || copy.is_some() || self.is_zero(entry) {
            let replaced = shared_frame.map(Page::from_edge);
            let replaced = if crate::sabotaged!("owner_dropped_before_ack") {
                replaced.and_then(|page| self.drop_early(page))
            } else {
                replaced
            };
            let edited = edited_pages(region, page..page + 1, leaf.is_some());
            let stale = state.stale_pages(self, edited, (leaf, replaced));
            let (leaf, replaced) = stale.wait(self);
            if let Some(page) = replaced {
                self.release_page(page, || state.reserve.put_back(&self.machine, false));
            }
            if let Some(leaf) = leaf {
                self.leave_cloned(state, leaf);
            }
        }
        Ok(owned)
    }

    fn drop_early(&self, page: Page) -> Option<Page> {
        self.leave_page(page);
        None
    }

    /// A frame to copy into, in state free.
    pub(crate) fn draw_copy(&self, state: &mut State, node: Option<usize>) -> Result<Frame, Dry> {
        state.reserve.draw_for_copy(&self.machine, 1)?;
        self.take_drawn(state, node, 1)
    }

    /// Takes one of `drawn` frames that were drawn. A promise is always kept; if not, all go back.
    fn take_drawn(&self, state: &mut State, node: Option<usize>, drawn: u64) -> Result<Frame, Dry> {
        self.machine
            .allocate(node, Budget::Reserved)
            .ok_or_else(|| {
                for _ in 0..drawn {
                    state.reserve.put_back(&self.machine, false);
                }
                Dry::Contended
            })
    }

    fn put_back_free(&self, state: &mut State, frame: Option<Frame>) {
        if let Some(frame) = frame {
            let budget = state.reserve.put_back(&self.machine, state.destroyed);
            self.machine.free(frame, budget);
        }
    }

    /// Gives a zeroed frame back that turned out not to be needed.
    fn put_back(&self, state: &mut State, supply: Option<Frame>) {
        if let Some(frame) = supply {
            let meta = self.machine.meta(frame);
            meta.set_owners(0);
            meta.transition(FrameState::Region, FrameState::Free);
            self.put_back_free(state, Some(frame));
        }
    }
}

/// What a page of fixed frames allows is what its entry says.
fn fixed(entry: Entry, need: Need) -> Result<Entry, Error> {
    match need {
        _ if !entry.is_present() => Err(Error::Range),
        Need::Write if !entry.has(EntryFlags::WRITABLE) => Err(Error::Denied),
        _ => Ok(entry),
    }
}
