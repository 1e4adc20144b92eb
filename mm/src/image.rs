//! Image regions: the segments of a program, page by page.
//!
//! A pristine image is built once, sealed, and never mapped. Each process runs on an instance of
//! it, which shares the frames that nobody can write and copies the others. The pages of an image
//! decide for themselves what they allow, since programs pack text and data into one leaf table;
//! a page is never both writable and executable (I14).

use alloc::sync::Arc;

use abi::limits::MAX_IMAGE_SPAN;
use abi::{Error, RegionKind, Resources};

use crate::access::piece;
use crate::region::State;
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
        Ok(Arc::new(image))
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
        let (table, index) = state.entry_of(0, page);
        let before = self.machine.load(table, index);
        let defined = before.has(EntryFlags::FILL);
        let write = attributes.write || defined && before.has(EntryFlags::MAY_WRITE);
        let execute = attributes.execute || defined && !before.has(EntryFlags::NO_EXECUTE);
        if write && execute {
            return Err(Error::Invalid);
        }
        if !defined {
            state.charge.extend(Resources::frames(1))?;
            if !self.machine.reserve(1) {
                state.charge.release(Resources::frames(1));
                return Err(Error::NoMemory);
            }
            state.reserved += 1;
        }
        let mut flags = EntryFlags::FILL;
        flags.set(EntryFlags::MAY_WRITE, write);
        flags.set(EntryFlags::NO_EXECUTE, !execute);
        let entry = match before.frame() {
            Some(frame) => Entry::new(frame, flags | EntryFlags::USER_PRESENT),
            None => Entry::empty(flags),
        };
        self.machine.store(table, index, entry);
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
            self.with_page(image, page, EntryFlags::FILL, |frame| {
                self.machine.write(frame, start, &bytes[done..done + len]);
            })?;
            done += len;
        }
        Ok(())
    }

    /// Finishes an image: nothing of it changes any more.
    pub fn finish_image(&self, image: &Region) {
        let mut state = image.lock();
        state.unfinished = false;
        state.sealed = true;
    }

    /// A region to run a finished image on: it shares the frames that nobody can write, and has
    /// copies of those that can be written. `account` pays for both, as the shared ones live as
    /// long as any that holds them. `Quota`, `NoMemory`: nothing was taken; `Invalid`: it is no
    /// finished image; `Revoked`: it was destroyed meanwhile.
    pub fn instantiate(
        &self,
        account: &Arc<Account>,
        image: &Region,
    ) -> Result<Arc<Region>, Error> {
        if image.kind() != RegionKind::Image || !image.is_sealed() {
            return Err(Error::Invalid);
        }
        let (mut own, mut shared) = (0, 0);
        for page in 0..image.pages() {
            let entry = self.pristine(image, page)?;
            let defined = entry.has(EntryFlags::FILL);
            own += u64::from(defined && !is_shareable(entry));
            shared += u64::from(defined && is_shareable(entry));
        }
        let mut instance = self.build(account, RegionKind::Image, image.len(), 1, own, None)?;
        if let Err(error) = instance
            .state_mut()
            .charge
            .extend(Resources::frames(shared))
        {
            self.destroy_region(&instance);
            return Err(error);
        }
        for page in 0..image.pages() {
            if let Err(error) = self.instantiate_page(image, page, instance.state_mut()) {
                self.destroy_region(&instance);
                return Err(error);
            }
        }
        Ok(Arc::new(instance))
    }

    /// One page of an instance. Its frame is counted, or copied, under the lock of the image, which
    /// may be destroyed at any other moment.
    fn instantiate_page(
        &self,
        image: &Region,
        page: u64,
        instance: &mut State,
    ) -> Result<(), Error> {
        let entry = self.pristine(image, page)?;
        let copy = if entry.is_present() && !is_shareable(entry) {
            let copy = self.take_page(None).ok_or(Error::NoMemory)?;
            instance.reserved -= 1;
            Some(copy)
        } else {
            None
        };
        let mut flags = entry.flags() & EntryFlags::KEPT;
        let made = {
            let state = image.lock();
            // What was present stays so until the image is destroyed.
            match (entry.frame(), copy) {
                _ if state.destroyed => Err(Error::Revoked),
                (None, _) => Ok(Entry::empty(flags)),
                (Some(frame), None) => {
                    self.machine.meta(frame).add_owner();
                    Ok(Entry::new(frame, flags | EntryFlags::USER_PRESENT))
                }
                (Some(frame), Some(copy)) => {
                    self.machine.copy(frame, copy);
                    flags |= EntryFlags::USER_PRESENT | EntryFlags::WRITABLE | EntryFlags::DIRTY;
                    Ok(Entry::new(copy, flags))
                }
            }
        };
        match made {
            Ok(entry) => {
                let (table, index) = instance.entry_of(0, page);
                self.machine.store(table, index, entry);
                instance.present += u64::from(entry.is_present());
                Ok(())
            }
            Err(error) => {
                if let Some(copy) = copy {
                    self.leave_page(copy);
                }
                Err(error)
            }
        }
    }

    /// The entry of a page of a finished image.
    fn pristine(&self, image: &Region, page: u64) -> Result<Entry, Error> {
        let state = image.lock();
        if state.destroyed {
            return Err(Error::Revoked);
        }
        let (table, index) = state.entry_of(0, page);
        Ok(self.machine.load(table, index))
    }
}

/// Whether several regions may hold the frame: only while none of them can write it.
fn is_shareable(entry: Entry) -> bool {
    entry.is_present() && !entry.has(EntryFlags::MAY_WRITE)
}
