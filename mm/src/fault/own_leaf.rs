//! A leaf table of its own for a region that shares one: copied, put in its place in every mapping, and
//! the shared one left when no CPU walks it any more.

use core::ops::Range;

use crate::leaf::Leaf;
use crate::region::State;
use crate::reserve::Dry;
use crate::{Entry, Frame, LEAF_PAGES, Machine, Memory, Region, Stale};

impl<M: Machine> Memory<M> {
    /// Gives a region a leaf table of its own for a page, if it shares one.
    pub(super) fn own_leaf(
        &self,
        region: &Region,
        state: &mut State,
        page: u64,
    ) -> Result<(), Dry> {
        let number = (page / LEAF_PAGES) as usize;
        if !state.reserve.is_family() || self.owns(&state.views[0][number]) {
            return Ok(());
        }
        let table = self.draw_copy(state, region.node())?;
        let shared = self.replace_leaf(state, number, table);
        let edited = edited_pages(region, page..page + 1, true);
        let leaf = state.stale_pages(self, edited, shared).wait(self);
        self.leave_cloned(state, leaf);
        Ok(())
    }

    /// Puts a copy in the place of a shared leaf table, and returns what has to be left after the
    /// acknowledgement.
    pub(crate) fn replace_leaf(&self, state: &mut State, number: usize, table: Frame) -> Leaf {
        let leaf = &state.views[0][number];
        if leaf.is_large() {
            self.retire_large(state, number);
        }
        let own = self.clone_leaf(&state.views[0][number], table);
        let shared = core::mem::replace(state.leaf_mut(number), own);
        self.refresh_attachments(state, number);
        shared
    }

    /// Takes a large leaf out of every mapping, so that no CPU ever has one address cached in two
    /// sizes (Intel SDM volume 3, section 4.10.2.3). Who touches it meanwhile waits for the lock.
    fn retire_large(&self, state: &State, number: usize) {
        let covering = || state.mappings.iter().filter(|m| m.covers(number));
        for mapping in covering() {
            self.write_attachments(mapping, number..number + 1, |_| Entry::HOLE);
        }
        if !crate::sabotaged!("split_without_flush") {
            Stale::in_spaces(self, (), covering().map(|mapping| mapping.space())).wait(self);
        }
    }

    /// Leaves a leaf table that was cloned, after the acknowledgement. All others may have done so
    /// too: then it goes, and what the clones did not take along goes with it.
    pub(crate) fn leave_cloned(&self, state: &mut State, leaf: Leaf) {
        let freed = self.leave_leaf(leaf, false);
        state.reserve.note_freed(&self.machine, freed);
    }

    /// Writes the entries that lead to a leaf as they have to be now, in every mapping.
    pub(super) fn refresh_attachments(&self, state: &State, leaf: usize) {
        let covering = state.mappings.iter().filter(|m| m.covers(leaf));
        let some = if crate::sabotaged!("cow_retargets_one_mapping") {
            1
        } else {
            usize::MAX
        };
        for mapping in covering.take(some) {
            self.attach(state, mapping, leaf..leaf + 1);
        }
    }
}

/// What CPUs may have cached otherwise than it is after an edit of pages of one leaf table. If that is
/// a clone, any page: until they acknowledge they walk the old one, in which another owner may have
/// put the zero frame into an entry that is empty in the clone.
pub(crate) fn edited_pages(region: &Region, pages: Range<u64>, cloned: bool) -> Range<u64> {
    if !cloned || crate::sabotaged!("clone_flushed_by_page") {
        return pages;
    }
    let first = pages.start / LEAF_PAGES * LEAF_PAGES;
    first..region.pages().min(first + LEAF_PAGES)
}
