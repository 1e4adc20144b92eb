//! CopyOnWrite: a snapshot of a region, taken at once.
//!
//! A snapshot is a copy of the vector of leaf tables. Both sides reach them through read-only entries
//! from then on, and whoever writes first takes a copy. The lock of the source is held from the first
//! read-only entry to the last acknowledgement, so nobody gets write access back in between, and each
//! side reads the bytes of that instant until it writes itself (I7).

use alloc::sync::Arc;
use core::ops::Range;

use abi::limits::LEAF_SIZE;
use abi::{Error, RegionKind, Rights};

use crate::charged::worst_case;
use crate::mapping::leaf_range;
use crate::region::Leaves;
use crate::reserve::Reserve;
use crate::{Account, LEAF_PAGES, Machine, Memory, Region, Stale};

impl<M: Machine> Memory<M> {
    /// A region that has the bytes that `len` bytes of `source` from `offset` on have at this
    /// instant, in units of 2 MiB; a length of 0, or one that reaches the end, stands for the rest.
    /// The cost does not grow with the pages, only with the leaf tables.
    ///
    /// It is promised its worst case, so that no later write on either side fails for memory. With
    /// `overcommit` it is promised nothing: copies come from free memory, and when there is none, the
    /// snapshot loses its memory, never the source (rule S14).
    ///
    /// `account` pays for all of its pages and leaf tables, shared and overcommitted or not.
    ///
    /// `Quota`: the account does not cover that; `Align`, `Range`: the part; `Unsupported`: the frames are fixed, or
    /// it is an image; `Pinned`; `Busy`: it is not finished; `Revoked`: it is gone; `NoMemory`.
    pub fn snapshot(
        &self,
        account: &Arc<Account>,
        source: &Region,
        offset: u64,
        len: u64,
        overcommit: bool,
    ) -> Result<Arc<Region>, Error> {
        if source.kind() != RegionKind::Anonymous {
            return Err(Error::Unsupported);
        }
        let leaves = leaf_range(source, offset, len)?;
        let covered = leaves.len() as u64 * LEAF_SIZE;
        self.snapshot_leaves(
            account,
            source,
            leaves,
            covered.min(source.len() - offset),
            overcommit,
        )
    }

    /// The same for any region whose pages can be shared.
    pub(crate) fn snapshot_leaves(
        &self,
        account: &Arc<Account>,
        source: &Region,
        leaves: Range<usize>,
        len: u64,
        overcommit: bool,
    ) -> Result<Arc<Region>, Error> {
        let mut view = Leaves::new();
        let room = view.try_reserve_exact(leaves.len());
        room.map_err(|_| Error::NoMemory)?;

        let mut state = source.lock();
        state.check_alive()?;
        if state.unfinished {
            return Err(Error::Busy);
        }
        if !state.pins.is_empty() {
            return Err(Error::Pinned);
        }
        let tables = leaves.len() as u64;
        let (claims, pages) = if leaves.len() == source.leaf_count() {
            (state.claims, source.charge.lock().amount().frames)
        } else {
            let pages = pages_in(source, &leaves);
            (tables + pages, pages)
        };
        let charge = account.charge(worst_case(source.kind(), tables, pages))?;
        let all = state.claims;
        let family = state.reserve.family(source.koid(), all);
        if overcommit {
            family.prepare()?;
        } else if !self.machine.reserve(claims) {
            return Err(Error::NoMemory);
        }

        // Nothing fails from here on.
        if !overcommit {
            family.join(claims);
        }
        for leaf in &state.views[0][leaves.clone()] {
            view.push(self.share_leaf(leaf));
        }
        let writers = || {
            let covering = state.mappings.iter().filter(|mapping| {
                let attached = mapping.leaves();
                attached.start < leaves.end && leaves.start < attached.end
            });
            covering.filter(|mapping| mapping.access().contains(Rights::WRITE))
        };
        for mapping in writers() {
            let attached = mapping.leaves();
            let both = attached.start.max(leaves.start)..attached.end.min(leaves.end);
            self.attach_shared(&state, mapping, both);
        }
        let stale = Stale::in_spaces(self, (), writers().map(|mapping| mapping.space()));
        if crate::sabotaged!("snapshot_before_ack") {
            core::mem::forget(stale);
        } else {
            stale.wait(self);
        }

        let joining = overcommit.then(|| family.clone());
        let reserve = Reserve::Family {
            family,
            overcommitted: overcommit,
        };
        let snapshot = crate::shared(self.assemble(
            charge,
            source.kind(),
            len,
            source.node(),
            [view, Leaves::new()],
            reserve,
            claims,
        ));
        if let Some(family) = joining {
            family.join_overcommitted(&snapshot);
        }
        Ok(snapshot)
    }
}

/// The pages of some leaves of a region without holes.
fn pages_in(region: &Region, leaves: &Range<usize>) -> u64 {
    let end = (leaves.end as u64 * LEAF_PAGES).min(region.pages());
    end - leaves.start as u64 * LEAF_PAGES
}
