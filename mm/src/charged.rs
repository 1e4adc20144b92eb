//! What a region is charged for, and to whom.
//!
//! A region counts for every page and every leaf table that it may come to hold, from its creation
//! to its end, also for what it shares with others or has overcommitted: whoever of them is left
//! holds it. So what accounts are charged with is never less than what is taken.

use alloc::sync::Arc;

use abi::{Error, RegionKind, Resources, cost};

use crate::leaf::Leaf;
use crate::{Account, Charge, Frame, Region};

const _: () = {
    // With the heads of its vectors; the other half is for the ring over it.
    assert!(size_of::<Region>() as u64 + 128 <= cost::REGION / 2);
    assert!(size_of::<Leaf>() as u64 <= cost::LEAF_TABLE);
    assert!(size_of::<Frame>() as u64 <= cost::RING_PAGE);
};

/// What a region of so many leaf tables and pages is charged for.
pub(crate) fn worst_case(kind: RegionKind, tables: u64, frames: u64) -> Resources {
    let pages = match kind {
        RegionKind::Ring => cost::RING + frames * cost::RING_PAGE,
        RegionKind::Kernel => frames * cost::TRACE_PAGE,
        _ => 0,
    };
    Resources {
        frames,
        tables,
        bytes: cost::REGION + tables * cost::LEAF_TABLE + pages,
    }
}

/// Returns what a region was charged for but its record, which is there until nobody refers to it.
pub(crate) fn release_memory(charge: &mut Charge) {
    charge.release(Resources {
        bytes: 0,
        ..Resources::ALL
    });
}

impl Region {
    /// Who pays for it, and what.
    pub fn charged(&self) -> (Arc<Account>, Resources) {
        let charge = self.charge.lock();
        (charge.account().clone(), charge.amount())
    }

    /// Makes another account pay for it; see [`Charge::hand_over`].
    #[inline]
    pub fn hand_over_charge(&self, payer: &Arc<Account>) -> Result<Option<Arc<Account>>, Error> {
        self.charge.lock().hand_over(payer)
    }

    /// Undoes that; see [`Charge::hand_back`].
    pub fn hand_back_charge(&self, payer: &Arc<Account>, to: &Arc<Account>) {
        self.charge.lock().hand_back(payer, to);
    }
}
