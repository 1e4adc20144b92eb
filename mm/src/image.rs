//! Image regions: the segments of a program, page by page.
//!
//! A pristine image is built once, sealed, and never mapped. Each process runs on an instance of
//! it: a snapshot. The pages of an image decide for themselves what they allow, since programs pack text and data
//! into one leaf table; a page is never both writable and executable (I14).

use alloc::sync::Arc;

use abi::limits::MAX_IMAGE_SPAN;
use abi::{Error, RegionKind, Resources};

use crate::access::piece;
use crate::fault::Need;
use crate::{Account, Entry, EntryFlags, Machine, Memory, Region};

/// What a page of an image allows, besides reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageAttributes {
    /// It may be written.
    pub write: bool,
    /// It may be executed.
    pub execute: bool,
}

impl<M: Machine> Memory<M> {
    /// An image of `len` bytes in which every page is a hole. `TooLarge`: more than
    /// [`MAX_IMAGE_SPAN`]; `Invalid`: no bytes; `Quota`, `NoMemory`.
    pub fn create_image(&self, account: &Arc<Account>, len: u64) -> Result<Arc<Region>, Error> {
        if len > MAX_IMAGE_SPAN {
            return Err(Error::TooLarge);
        }
        let mut image = self.build(account, RegionKind::Image, len, 1, 0, None)?;
        image.state_mut().unfinished = true;
        Ok(crate::shared(image))
    }

    /// Makes a page of an image zeroed memory that allows `attributes`, and what it allowed
    /// before. `Invalid`: writable and executable; `Sealed`; `Quota`, `NoMemory`.
    pub fn define_page(
        &self,
        image: &Region,
        page: u64,
        attributes: PageAttributes,
    ) -> Result<(), Error> {
        if page >= image.pages() {
            return Err(Error::Range);
        }
        let mut state = image.lock();
        if !state.unfinished {
            return Err(Error::Sealed);
        }
        let before = self.load_page(&state, 0, page);
        let defined = before.has(EntryFlags::FILL);
        let write = attributes.write || defined && before.has(EntryFlags::MAY_WRITE);
        let execute = attributes.execute || defined && !before.has(EntryFlags::NO_EXECUTE);
        if write && execute {
            return Err(Error::Invalid);
        }
        if !defined {
            image.charge.lock().extend(Resources::frames(1))?;
            if !self.machine.reserve(1) {
                image.charge.lock().release(Resources::frames(1));
                return Err(Error::NoMemory);
            }
            let promised = state.reserve.promised();
            state.reserve.set(promised + 1);
        }
        let mut flags = EntryFlags::FILL;
        flags.set(EntryFlags::MAY_WRITE, write);
        flags.set(EntryFlags::NO_EXECUTE, !execute);
        let entry = match before.frame() {
            Some(frame) => Entry::new(frame, flags | EntryFlags::USER_PRESENT),
            None => Entry::empty(flags),
        };
        self.store_page(&state, 0, page, entry);
        Ok(())
    }

    /// Copies bytes into pages of an image that were defined, whatever they allow. `Sealed`: it is
    /// finished.
    pub fn load_image(&self, image: &Region, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if !image.lock().unfinished {
            return Err(Error::Sealed);
        }
        let mut done = 0;
        while done < bytes.len() {
            let (page, start, len) = piece(offset, done, bytes.len());
            if page >= image.pages() {
                return Err(Error::Range);
            }
            self.with_page(image, page, Need::Load, |frame| {
                self.machine.write(frame, start, &bytes[done..done + len]);
            })?;
            done += len;
        }
        Ok(())
    }

    /// Finishes an image: nothing of it changes any more. What no page can use up is promised no
    /// longer: a page that nobody can write and nothing was loaded into shows the zero frame.
    pub fn finish_image(&self, image: &Region) {
        let mut state = image.lock();
        let mut writable = 0;
        let mut empty = 0;
        for page in 0..image.pages() {
            let entry = self.load_page(&state, 0, page);
            if entry.has(EntryFlags::MAY_WRITE) {
                writable += 1;
                empty += u64::from(!entry.is_present());
            }
        }
        let surplus = state.reserve.promised() - empty;
        state.reserve.set(empty);
        self.machine.unreserve(surplus);
        image.charge.lock().release(Resources::frames(surplus));
        state.claims = image.leaf_count() as u64 + writable;
        state.unfinished = false;
        state.sealed = true;
    }

    /// A region to run a finished image on. `account` pays for all of its pages. `Quota`,
    /// `NoMemory`: nothing was taken; `Invalid`: it is no finished image; `Revoked`: it was
    /// destroyed meanwhile.
    pub fn instantiate(
        &self,
        account: &Arc<Account>,
        image: &Region,
    ) -> Result<Arc<Region>, Error> {
        if image.kind() != RegionKind::Image || !image.is_sealed() {
            return Err(Error::Invalid);
        }
        self.snapshot_leaves(account, image, 0..image.leaf_count(), image.len(), false)
    }
}
