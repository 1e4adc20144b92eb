//! Making regions: anonymous memory, stacks, and what every kind is built of.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::AtomicU64;

use abi::limits::{MAX_REGION, PAGE_SIZE};
use abi::{Error, RegionKind, Resources};

use super::{Region, State, Views};
use crate::charged::worst_case;
use crate::leaf::{EMPTY, owned_flags};
use crate::lock::{Lock, Rank};
use crate::reserve::Reserve;
use crate::{Account, Charge, Entry, EntryFlags, Frame, LEAF_PAGES, Machine, Memory};

/// How [`Memory::create_region`] makes a region.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionOptions {
    /// The NUMA node that frames come from while it has any.
    pub node: Option<usize>,
    /// Fill every page now.
    pub commit: bool,
    /// A mapping may execute its pages.
    pub execute: bool,
    /// One mapping may write while another executes.
    pub jit: bool,
    /// Promise nothing. Not with `commit`.
    pub overcommit: bool,
}

impl<M: Machine> Memory<M> {
    /// A region of zeroed memory, filled at the first touch, or now. `account` pays for its worst
    /// case, overcommitted or not.
    ///
    /// `Invalid`: no bytes; `TooLarge`: more than [`MAX_REGION`]; `Quota`: the account does not
    /// cover its worst case; `NoMemory`: the machine does not have it. Nothing was taken then.
    pub fn create_region(
        &self,
        account: &Arc<Account>,
        len: u64,
        options: RegionOptions,
    ) -> Result<Arc<Region>, Error> {
        let pages = pages_for(len)?;
        let promised = if options.overcommit { 0 } else { pages };
        let kind = RegionKind::Anonymous;
        // The pages of a large leaf have no flags of their own.
        let large = options.commit && !options.execute;
        let mut region = self.build_leaves(account, kind, len, 1, promised, options.node, large)?;
        let rest = Resources::frames(pages - promised);
        if let Err(error) = region.charge.get_mut().extend(rest) {
            self.destroy_region(&region);
            return Err(error);
        }
        region.jit = options.jit;
        let mut empty = EMPTY;
        empty.set(EntryFlags::NO_EXECUTE, !options.execute);
        if options.commit {
            self.fill_all(&mut region, owned_flags(empty))?;
            return Ok(crate::shared(region));
        }
        self.allow_filling(&mut region, 0..pages, empty);
        if !options.overcommit {
            return Ok(crate::shared(region));
        }
        let koid = region.koid;
        let state = region.state_mut();
        let family = state.reserve.family(koid, state.claims);
        if family.prepare().is_err() {
            self.destroy_region(&region);
            return Err(Error::NoMemory);
        }
        state.reserve = Reserve::Family {
            family: family.clone(),
            overcommitted: true,
        };
        // What its snapshots need that do not overcommit.
        state.claims += pages;
        let region = crate::shared(region);
        family.leave_claims(&region);
        Ok(region)
    }

    /// Fills the pages of a region that nobody knows yet, where no large leaf has them.
    fn fill_all(&self, region: &mut Region, flags: EntryFlags) -> Result<(), Error> {
        let (pages, node) = (region.pages, region.node);
        let State { views, reserve, .. } = region.state_mut();
        for (number, leaf) in views[0].iter_mut().enumerate() {
            let Some(table) = leaf.table() else { continue };
            let count = (pages - number as u64 * LEAF_PAGES).min(LEAF_PAGES);
            let mut done = 0;
            while done < count {
                // A promise is always kept.
                let taken = self.take_frames(count - done, node);
                let (first, run) = taken.ok_or(Error::NoMemory)?;
                for frame in (first.number()..first.number() + run).map(Frame::from_number) {
                    self.begin_page(frame);
                    self.machine
                        .store(table, done as usize, Entry::new(frame, flags));
                    done += 1;
                }
            }
            leaf.present = count as u16;
            reserve.take(count);
        }
        Ok(())
    }

    /// A region of one leaf table for a stack: its upper `pages` pages are zeroed memory, filled at
    /// the first touch, and those below are holes, so that running over the end is a fault.
    pub fn create_stack_region(
        &self,
        account: &Arc<Account>,
        pages: u64,
    ) -> Result<Arc<Region>, Error> {
        let holes = LEAF_PAGES.checked_sub(pages).ok_or(Error::TooLarge)?;
        let len = LEAF_PAGES * PAGE_SIZE;
        let mut region = self.build(account, RegionKind::Anonymous, len, 1, pages, None)?;
        self.allow_filling(&mut region, holes..LEAF_PAGES, EMPTY);
        Ok(crate::shared(region))
    }

    /// Makes pages of a new region ones that are zeroed memory at their first touch.
    fn allow_filling(&self, region: &mut Region, pages: Range<u64>, empty: EntryFlags) {
        let state = region.state_mut();
        for page in pages {
            self.store_page(state, 0, page, Entry::empty(empty));
        }
    }

    /// A region whose entries are all holes, with its leaf tables, and `frames` frames promised. All
    /// of it is charged to `account` first.
    pub(crate) fn build(
        &self,
        account: &Arc<Account>,
        kind: RegionKind,
        len: u64,
        view_count: usize,
        frames: u64,
        node: Option<usize>,
    ) -> Result<Region, Error> {
        self.build_leaves(account, kind, len, view_count, frames, node, false)
    }

    /// The same, with `large` leaves where 2 MiB are asked for and there in one piece. The table that
    /// such a leaf may need one day is promised with the rest.
    #[allow(clippy::too_many_arguments)] // The parts.
    fn build_leaves(
        &self,
        account: &Arc<Account>,
        kind: RegionKind,
        len: u64,
        view_count: usize,
        frames: u64,
        node: Option<usize>,
        large: bool,
    ) -> Result<Region, Error> {
        let pages = pages_for(len)?;
        let leaves = pages.div_ceil(LEAF_PAGES) as usize;
        let tables = (leaves * view_count) as u64;
        let charge = account.charge(worst_case(kind, tables, frames))?;
        let mut views = Views::default();
        for view in &mut views[..view_count] {
            let room = view.try_reserve_exact(leaves);
            room.map_err(|_| Error::NoMemory)?;
        }
        let claims = tables + frames;
        if !self.machine.reserve(claims) {
            return Err(Error::NoMemory);
        }
        let mut promised = claims;
        for view in &mut views[..view_count] {
            for number in 0..leaves as u64 {
                let full = pages - number * LEAF_PAGES >= LEAF_PAGES;
                let leaf = match large && full {
                    true => self.new_large_leaf(node),
                    false => None,
                };
                promised -= if leaf.is_some() { LEAF_PAGES } else { 1 };
                view.push(match leaf {
                    Some(leaf) => leaf,
                    None => self.new_leaf()?,
                });
            }
        }
        let reserve = Reserve::Own { promised };
        Ok(self.assemble(charge, kind, len, node, views, reserve, claims))
    }

    /// A region of these parts, which only the caller knows.
    #[allow(clippy::too_many_arguments)] // The parts.
    pub(crate) fn assemble(
        &self,
        charge: Charge,
        kind: RegionKind,
        len: u64,
        node: Option<usize>,
        views: Views,
        reserve: Reserve,
        claims: u64,
    ) -> Region {
        Region {
            koid: self.next_koid(),
            kind,
            len,
            pages: len.div_ceil(PAGE_SIZE),
            node,
            jit: false,
            faults: AtomicU64::new(0),
            state: Lock::new(
                Rank::Region,
                State {
                    views,
                    fixed: Vec::new(),
                    run: None,
                    mappings: Vec::new(),
                    writers: 0,
                    executors: 0,
                    pins: Vec::new(),
                    sealed: false,
                    unfinished: false,
                    destroyed: false,
                    lost: false,
                    reserve,
                    claims,
                },
            ),
            charge: Lock::new(Rank::Account, charge),
        }
    }
}

/// The pages that `len` bytes take.
pub(crate) fn pages_for(len: u64) -> Result<u64, Error> {
    match len {
        0 => Err(Error::Invalid),
        len if len > MAX_REGION => Err(Error::TooLarge),
        len => Ok(len.div_ceil(PAGE_SIZE)),
    }
}
