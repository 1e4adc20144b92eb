//! Regions whose frames are fixed (rule S3): rings, contiguous memory, what the kernel tells, and the
//! initrd.
//!
//! Their tables are built once and never shared, cloned or retargeted; what a page allows is a
//! constant of the view.

use alloc::sync::Arc;

use abi::limits::PAGE_SIZE;
use abi::{Error, RegionKind};

use crate::leaf::owned_flags;
use crate::region::pages_for;
use crate::{Account, Budget, Entry, EntryFlags, Frame, LEAF_PAGES, Machine, Memory, Region};

/// The view of a ring region for the producing end.
pub const RING_PRODUCER_VIEW: usize = 0;
/// The view of a ring region for the consuming end.
pub const RING_CONSUMER_VIEW: usize = 1;

impl<M: Machine> Memory<M> {
    /// The region of a ring with `data_pages` pages of data: pages H, P and C, then the data twice
    /// in a row, in two views. Each end may write its own index page, the producer also the data,
    /// nobody the header.
    ///
    /// `TooLarge`, `Quota`, `NoMemory`: as for [`create_region`](Memory::create_region).
    pub fn create_ring_region(
        &self,
        account: &Arc<Account>,
        data_pages: u64,
    ) -> Result<Arc<Region>, Error> {
        let frames = data_pages.checked_add(3).ok_or(Error::TooLarge)?;
        let pages = data_pages
            .checked_mul(2)
            .and_then(|pages| pages.checked_add(3))
            .ok_or(Error::TooLarge)?;
        let len = pages.checked_mul(PAGE_SIZE).ok_or(Error::TooLarge)?;
        pages_for(len)?;
        let mut region = self.build(account, RegionKind::Ring, len, 2, frames, None)?;
        self.fix_frames(&mut region, frames)?;
        let state = region.state_mut();
        for page in 0..pages {
            let frame = match page {
                0..3 => state.fixed[page as usize],
                _ => state.fixed[3 + ((page - 3) % data_pages) as usize],
            };
            for (view, writable) in [
                (RING_PRODUCER_VIEW, page == 1 || page >= 3),
                (RING_CONSUMER_VIEW, page == 2),
            ] {
                let mut flags = EntryFlags::USER_PRESENT | EntryFlags::NO_EXECUTE;
                if writable {
                    flags |= EntryFlags::WRITABLE | EntryFlags::MAY_WRITE | EntryFlags::DIRTY;
                }
                self.store_page(state, view, page, Entry::new(frame, flags));
            }
        }
        Ok(crate::shared(region))
    }

    /// A region of `pages` pages that the kernel writes (see [`Region::fixed_frame`]) and every mapping can
    /// only read.
    ///
    /// `TooLarge`, `Quota`, `NoMemory`: as for [`create_region`](Memory::create_region).
    pub fn create_kernel_region(
        &self,
        account: &Arc<Account>,
        pages: u64,
    ) -> Result<Arc<Region>, Error> {
        let len = pages.checked_mul(PAGE_SIZE).ok_or(Error::TooLarge)?;
        pages_for(len)?;
        let mut region = self.build(account, RegionKind::Kernel, len, 1, pages, None)?;
        self.fix_frames(&mut region, pages)?;
        let state = region.state_mut();
        for page in 0..pages {
            let flags = EntryFlags::USER_PRESENT | EntryFlags::NO_EXECUTE;
            let frame = state.fixed[page as usize];
            self.store_page(state, 0, page, Entry::new(frame, flags));
        }
        Ok(crate::shared(region))
    }

    /// Gives a new region its frames, which were promised to it. It is gone when this fails.
    fn fix_frames(&self, region: &mut Region, frames: u64) -> Result<(), Error> {
        let room = region.state_mut().fixed.try_reserve_exact(frames as usize);
        if room.is_err() {
            self.destroy_region(region);
            return Err(Error::NoMemory);
        }
        for _ in 0..frames {
            let Some(frame) = self.take_page(None) else {
                self.destroy_region(region);
                return Err(Error::NoMemory);
            };
            let state = region.state_mut();
            state.reserve.take(1);
            state.fixed.push(frame);
        }
        Ok(())
    }

    /// A region of `len` bytes of zeroed memory whose frames follow one another, for devices that read
    /// and write memory by themselves. Frames come from `node` if it has a run that is long enough.
    ///
    /// `Invalid`, `TooLarge`: as for [`create_region`](Memory::create_region); `Quota`: the account does not
    /// cover it; `NoMemory`: no free run
    /// is long enough, however much is free, and nothing was taken.
    pub fn create_contiguous_region(
        &self,
        account: &Arc<Account>,
        len: u64,
        node: Option<usize>,
    ) -> Result<Arc<Region>, Error> {
        let pages = pages_for(len)?;
        let mut region = self.build(account, RegionKind::Contiguous, len, 1, pages, node)?;
        let Some(first) = self.take_run(pages, node) else {
            self.destroy_region(&region);
            return Err(Error::NoMemory);
        };
        let state = region.state_mut();
        let flags = owned_flags(EntryFlags::MAY_WRITE | EntryFlags::NO_EXECUTE);
        for page in 0..pages {
            let frame = Frame::from_number(first.number() + page);
            self.store_page(state, 0, page, Entry::new(frame, flags));
            state.leaf_mut((page / LEAF_PAGES) as usize).present += 1;
        }
        state.reserve.take(pages);
        state.run = Some(first);
        Ok(crate::shared(region))
    }

    /// Takes zeroed frames that follow one another, on a promise of so many. A run is a power of two;
    /// what is too much of it goes back at once.
    fn take_run(&self, pages: u64, node: Option<usize>) -> Option<Frame> {
        let order = pages.next_power_of_two().trailing_zeros();
        let surplus = (1 << order) - pages;
        if !self.machine.reserve(surplus) {
            return None;
        }
        let Some(first) = self.machine.allocate_run(order, node, Budget::Reserved) else {
            self.machine.unreserve(surplus);
            return None;
        };
        for number in first.number()..first.number() + pages {
            self.begin_page(Frame::from_number(number));
        }
        for number in first.number() + pages..first.number() + (1 << order) {
            self.machine.free(Frame::from_number(number), Budget::Open);
        }
        Some(first)
    }

    /// A region over `pages` frames of the kernel's own data, beginning with `first`, that no mapping can
    /// write. The frames are never freed, and not charged.
    pub fn create_image_view(
        &self,
        account: &Arc<Account>,
        first: Frame,
        pages: u64,
    ) -> Result<Arc<Region>, Error> {
        let len = pages.checked_mul(PAGE_SIZE).ok_or(Error::TooLarge)?;
        let mut region = self.build(account, RegionKind::Kernel, len, 1, 0, None)?;
        self.show_frames(&mut region, first);
        Ok(crate::shared(region))
    }

    /// Has a new region show frames that follow one another, to be read.
    fn show_frames(&self, region: &mut Region, first: Frame) {
        let pages = region.pages();
        let state = region.state_mut();
        for page in 0..pages {
            state.leaf_mut((page / LEAF_PAGES) as usize).present += 1;
            let frame = Frame::from_number(first.number() + page);
            let flags = EntryFlags::USER_PRESENT | EntryFlags::NO_EXECUTE;
            self.store_page(state, 0, page, Entry::new(frame, flags));
        }
    }

    /// A region over the frames that boot put the initrd into, beginning with `first`: `len` bytes
    /// that nobody can write. The frames are never freed, and not charged.
    pub fn create_initrd_region(
        &self,
        account: &Arc<Account>,
        first: Frame,
        len: u64,
    ) -> Result<Arc<Region>, Error> {
        pages_for(len)?;
        let mut region = self.build(account, RegionKind::Initrd, len, 1, 0, None)?;
        region.state_mut().sealed = true;
        self.show_frames(&mut region, first);
        Ok(crate::shared(region))
    }
}
