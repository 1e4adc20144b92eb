//! What changes of a region, under its lock.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use abi::{Error, Rights};
use smallvec::SmallVec;

use crate::leaf::Leaf;
use crate::reserve::Reserve;
use crate::{Frame, LEAF_PAGES, Machine, Mapping, Memory, Permit, Plan, Stale};

/// The leaf tables of a view. Most regions have one, which needs no memory of its own.
pub(crate) type Leaves = SmallVec<[Leaf; 1]>;

/// The most views that a region has.
pub(crate) const VIEWS: usize = 2;

pub(crate) type Views = [Leaves; VIEWS];

/// What changes of a region.
#[derive(Debug)]
pub(crate) struct State {
    /// The leaf tables of each view; only a ring has the second one.
    pub(crate) views: Views,
    /// Frames that belong to the region itself and are in place from its beginning to its end,
    /// whatever entries lead to them (rule S3).
    pub(crate) fixed: Vec<Frame>,
    /// The first of the frames that follow one another, all of which belong to the region.
    pub(crate) run: Option<Frame>,
    pub(crate) mappings: Vec<Arc<Mapping>>,
    /// Mappings that may write, and that may execute (S17).
    pub(super) writers: u32,
    pub(super) executors: u32,
    /// Who wants its frames to stay where they are; one entry a pin.
    pub(crate) pins: Vec<Arc<Permit>>,
    pub(crate) sealed: bool,
    /// An image whose pages can still be defined: nobody has mapped it or shares its frames.
    pub(crate) unfinished: bool,
    pub(crate) destroyed: bool,
    /// It had overcommitted, and its memory was needed (S14).
    pub(crate) lost: bool,
    /// Frames promised and not drawn yet.
    pub(crate) reserve: Reserve,
    /// Its worst case: leaf tables, and pages that may be written.
    pub(crate) claims: u64,
}

impl State {
    /// The leaf of a page, and the index of the page in it.
    pub(crate) fn leaf_of(&self, view: usize, page: u64) -> (&Leaf, usize) {
        let leaf = &self.views[view][(page / LEAF_PAGES) as usize];
        (leaf, (page % LEAF_PAGES) as usize)
    }

    /// The leaf of a page, in the view of all that can be filled.
    pub(crate) fn leaf_mut(&mut self, leaf: usize) -> &mut Leaf {
        &mut self.views[0][leaf]
    }

    /// After pages of one leaf table, and perhaps the table itself, were replaced, wherever they are
    /// mapped. A flush of one page also drops what a CPU has cached of upper levels (Intel SDM
    /// volume 3, section 4.10.4.1); the other pages of a table still lead to the same frames.
    pub(crate) fn stale_pages<M: Machine, T>(
        &self,
        memory: &Memory<M>,
        pages: Range<u64>,
        held: T,
    ) -> Stale<T> {
        let covering = || {
            let mappings = self.mappings.iter();
            mappings.filter_map(|mapping| Some((mapping.space(), mapping.address_of(pages.start)?)))
        };
        let mut rest = covering();
        let first = rest.next();
        match (first, rest.next()) {
            (Some((space, va)), None) => {
                let plan = Plan::range(va, pages.end - pages.start);
                Stale::in_space(memory, held, space, plan)
            }
            // Everybody has them at one address.
            (Some((_, va)), Some(_)) if covering().all(|(_, other)| other == va) => {
                let plan = Plan::range(va, pages.end - pages.start);
                Stale::in_spaces_range(memory, held, covering().map(|(space, _)| space), plan)
            }
            _ => {
                let spaces = self.mappings.iter().map(|mapping| mapping.space());
                Stale::in_spaces(memory, held, spaces)
            }
        }
    }

    /// `Revoked` or `NoMemory` for a region whose memory was returned.
    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        match (self.destroyed, self.lost) {
            (false, _) => Ok(()),
            (true, false) => Err(Error::Revoked),
            (true, true) => Err(Error::NoMemory),
        }
    }

    /// `Busy` if a mapping that changes from `before` to `after` would make the region writable and
    /// executable at once (I14). One mapping never is both.
    pub(crate) fn check_exclusion(&self, before: Rights, after: Rights) -> Result<(), Error> {
        let others = |count: u32, right| count > u32::from(before.contains(right));
        let clash = after.contains(Rights::WRITE) && others(self.executors, Rights::EXECUTE)
            || after.contains(Rights::EXECUTE) && others(self.writers, Rights::WRITE);
        if clash { Err(Error::Busy) } else { Ok(()) }
    }

    /// Counts that a mapping allows `after` where it allowed `before`.
    pub(crate) fn count_access(&mut self, before: Rights, after: Rights) {
        let change = |count: &mut u32, right| {
            *count = *count + u32::from(after.contains(right)) - u32::from(before.contains(right));
        };
        change(&mut self.writers, Rights::WRITE);
        change(&mut self.executors, Rights::EXECUTE);
    }
}
