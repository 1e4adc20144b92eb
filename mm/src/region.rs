//! Regions: vectors of leaf tables, and the frames behind them.
//!
//! A region is promised its worst case when it is made: its leaf tables, and a frame for each page.
//! Filling a page later draws on that promise and can't fail for memory. Lock rank: region.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use abi::limits::{MAX_REGION, PAGE_SIZE};
use abi::{Error, RegionKind, Resources, Rights};

use crate::charged::{release_memory, worst_case};
use crate::leaf::{EMPTY, Leaf, Page, owned_flags};
use crate::lock::{Guard, Lock, Rank};
use crate::reserve::Reserve;
use crate::{
    Account, Charge, Entry, EntryFlags, Frame, LEAF_PAGES, Machine, Mapping, Memory, Permit, Plan,
    Stale,
};

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

/// Memory that can be mapped and handed over.
#[derive(Debug)]
pub struct Region {
    koid: u64,
    kind: RegionKind,
    len: u64,
    pages: u64,
    node: Option<usize>,
    jit: bool,
    state: Lock<State>,
}

/// What changes of a region.
#[derive(Debug)]
pub(crate) struct State {
    /// The leaf tables of each view; only a ring has more than one view.
    pub(crate) views: Vec<Vec<Leaf>>,
    /// Frames that belong to the region itself and are in place from its beginning to its end,
    /// whatever entries lead to them (rule S3).
    pub(crate) fixed: Vec<Frame>,
    /// The first of the frames that follow one another, all of which belong to the region.
    pub(crate) run: Option<Frame>,
    pub(crate) mappings: Vec<Arc<Mapping>>,
    /// Mappings that may write, and that may execute (S17).
    writers: u32,
    executors: u32,
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
    /// Its worst case until it ends, and its record until that is gone.
    pub(crate) charge: Charge,
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
    pub(crate) fn stale_pages<T>(&self, pages: Range<u64>, held: T) -> Stale<T> {
        let covering = || {
            let mappings = self.mappings.iter();
            mappings.filter_map(|mapping| Some((mapping.space(), mapping.address_of(pages.start)?)))
        };
        let mut rest = covering();
        let first = rest.next();
        match (first, rest.next()) {
            (Some((space, va)), None) => {
                Stale::in_space(held, space, Plan::range(va, pages.end - pages.start))
            }
            // Everybody has them at one address.
            (Some((_, va)), Some(_)) if covering().all(|(_, other)| other == va) => {
                let plan = Plan::range(va, pages.end - pages.start);
                Stale::in_spaces_range(held, covering().map(|(space, _)| space), plan)
            }
            _ => Stale::in_spaces(held, self.mappings.iter().map(|mapping| mapping.space())),
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

    /// The frames of a ring: H, P, C, then the data. They stay where they are until the region is
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
        if let Err(error) = region.state_mut().charge.extend(rest) {
            self.destroy_region(&region);
            return Err(error);
        }
        region.jit = options.jit;
        let mut empty = EMPTY;
        empty.set(EntryFlags::NO_EXECUTE, !options.execute);
        if options.commit {
            self.fill_all(&mut region, owned_flags(empty))?;
            return Ok(Arc::new(region));
        }
        self.allow_filling(&mut region, 0..pages, empty);
        if !options.overcommit {
            return Ok(Arc::new(region));
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
        let region = Arc::new(region);
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
        Ok(Arc::new(region))
    }

    /// Makes pages of a new region ones that are zeroed memory at their first touch.
    fn allow_filling(&self, region: &mut Region, pages: Range<u64>, empty: EntryFlags) {
        let state = region.state_mut();
        for page in pages {
            self.store_page(state, 0, page, Entry::empty(empty));
        }
    }

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
                self.detach_locked(&mut state, |_| true);
            }
            return;
        }
        state.destroyed = true;
        state.lost = lost;
        if lost {
            self.empty_attachments(&state);
        } else {
            self.clear_attachments(&mut state, |_| true);
        }
        let owned = (
            core::mem::take(&mut state.views),
            core::mem::take(&mut state.fixed),
            state.run.take(),
        );
        let spaces = state.mappings.iter().map(|mapping| mapping.space());
        let (views, fixed, run) = Stale::in_spaces(owned, spaces).wait(self);
        self.bury_detached(&mut state);
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
        release_memory(&mut state.charge);
        if region.kind == RegionKind::Device {
            drop(state);
            self.devices.release(region);
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
        let mut views = room_for(view_count)?;
        for _ in 0..view_count {
            views.push(room_for(leaves)?);
        }
        let claims = tables + frames;
        if !self.machine.reserve(claims) {
            return Err(Error::NoMemory);
        }
        let mut promised = claims;
        for view in &mut views {
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
        views: Vec<Vec<Leaf>>,
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
                    charge,
                },
            ),
        }
    }
}

/// An empty vector with room for so many.
pub(crate) fn room_for<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut vector = Vec::new();
    let room = vector.try_reserve_exact(count);
    room.map(|()| vector).map_err(|_| Error::NoMemory)
}

/// The pages that `len` bytes take.
pub(crate) fn pages_for(len: u64) -> Result<u64, Error> {
    match len {
        0 => Err(Error::Invalid),
        len if len > MAX_REGION => Err(Error::TooLarge),
        len => Ok(len.div_ceil(PAGE_SIZE)),
    }
}
