//! Regions and their mappings.

use core::sync::atomic::AtomicU64;

use abi::{
    CachePolicy, Error, FOREVER, GrantFlags, Handle, MapFlags, Mode, RegionFlags, RegionInfo,
    Rights, SnapshotFlags, Token, UserPtr,
};

use crate::owned::owned;
use crate::sys;

/// A capability of a region. Dropping it gives the handle back; mappings stay.
#[derive(Debug)]
pub struct Region {
    handle: Handle,
}

owned!(Region, Region);

impl Region {
    /// A new region of `len` bytes of zeroed memory, filled at the first touch.
    pub fn create(len: u64) -> Result<Region, Error> {
        // SAFETY: the call touches no memory.
        let handle = unsafe {
            sys::region_create(len, RegionFlags::empty(), CachePolicy::WriteBack, u64::MAX)
        }?;
        Ok(Region { handle })
    }

    /// A new region of `len` bytes of a device from the physical address `address` on, in whole
    /// pages and within a resource; needs MANAGE. See [`Registers`](crate::Registers) for access.
    pub fn device(
        resource: Handle,
        address: u64,
        len: u64,
        policy: CachePolicy,
    ) -> Result<Region, Error> {
        // SAFETY: the call touches no memory.
        let handle = unsafe { sys::region_device(resource, address, len, policy) }?;
        Ok(Region { handle })
    }

    /// Maps all of it, anywhere. See [`sys::map`] for parts and places.
    pub fn map(&self, access: Rights) -> Result<Mapping, Error> {
        self.map_at(0, access, MapFlags::empty())
    }

    /// Maps all of it at an address, a multiple of 2 MiB.
    pub fn map_at(&self, hint: u64, access: Rights, flags: MapFlags) -> Result<Mapping, Error> {
        let len = self.info().map_or(0, |info| info.len);
        // SAFETY: a new mapping where nothing is mapped touches nobody's memory.
        let start = unsafe { sys::map(self.handle, hint, 0, 0, access, flags) }?;
        Ok(Mapping {
            start,
            len,
            writable: access.contains(Rights::WRITE),
        })
    }

    /// Facts about it; needs INSPECT.
    pub fn info(&self) -> Result<RegionInfo, Error> {
        let mut info = RegionInfo::default();
        // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
        unsafe { sys::region_info(self.handle, UserPtr::new((&raw mut info) as u64)) }?;
        Ok(info)
    }

    /// A region with the bytes that this one has at this instant, all of it. What others write at the
    /// same time is in it or not, each store for itself; where one CPU stores twice, never the second
    /// without the first. Costs no copy until either side writes.
    ///
    /// Needs READ and DUPLICATE. `NoMemory`: its worst case is not there; with OVERCOMMIT it is
    /// promised nothing instead, and loses its memory when there is none for a copy: whoever touches
    /// it then ends by a page fault. `Pinned`, `Unsupported`: it can't be copied.
    pub fn snapshot(&self, flags: SnapshotFlags) -> Result<Region, Error> {
        self.snapshot_part(0, 0, flags)
    }

    /// The same of a part, in units of 2 MiB; a length of 0 stands for the rest.
    pub fn snapshot_part(
        &self,
        offset: u64,
        len: u64,
        flags: SnapshotFlags,
    ) -> Result<Region, Error> {
        // SAFETY: the call changes no byte, and maps and unmaps nothing.
        let handle = unsafe { sys::region_snapshot(self.handle, offset, len, flags) }?;
        Ok(Region { handle })
    }

    /// Fills pages ahead of their first touch, so that touching them takes no fault for want of a
    /// frame. Needs WRITE. Units of 4 KiB; a length of 0 stands for the rest.
    pub fn commit(&self, offset: u64, len: u64) -> Result<(), Error> {
        // SAFETY: pages that are there stay as they are, and others read as zeros before and after.
        unsafe { sys::region_commit(self.handle, offset, len) }
    }

    /// Gives the frames of pages back; they read as zeros afterwards. Needs WRITE. Units of 4 KiB; a
    /// length of 0 stands for the rest. `Sealed`, `Pinned`: they have to stay.
    ///
    /// # Safety
    /// Nothing that Rust refers to lies in these pages, in any mapping of this process, and no other
    /// process relies on them.
    pub unsafe fn decommit(&self, offset: u64, len: u64) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe { sys::region_decommit(self.handle, offset, len) }
    }

    /// Makes every page present and keeps the frames where they are, until [`unpin`](Region::unpin)
    /// or until this capability is gone: the region can't be copied, moved or destroyed meanwhile.
    /// Needs MAP. Pins are counted.
    pub fn pin(&self) -> Result<(), Error> {
        // SAFETY: the call changes no byte, and maps and unmaps nothing.
        unsafe { sys::region_pin(self.handle) }
    }

    /// Takes one pin of this capability back. `NotFound`: it has none.
    pub fn unpin(&self) -> Result<(), Error> {
        // SAFETY: as above.
        unsafe { sys::region_unpin(self.handle) }
    }

    /// Takes writing away from everybody for good.
    ///
    /// # Safety
    /// Nobody in this process writes to it any more.
    pub unsafe fn seal(&self) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe { sys::region_seal(self.handle) }
    }

    /// Offers it to the process at the other end of `via`, which can then do what `rights` say.
    /// Writers on both sides have to agree among themselves who writes when.
    pub fn share(&self, via: Handle, rights: Rights) -> Result<Token, Error> {
        // SAFETY: this process keeps what it has.
        unsafe {
            sys::grant(
                self.handle,
                via,
                Mode::Share,
                rights,
                GrantFlags::empty(),
                FOREVER,
            )
        }
    }

    /// Offers a snapshot of it, as it is at this instant, to the process at the other end of `via`.
    /// Both sides may write, and neither sees what the other writes. The receiver can do what
    /// `rights` say, of all rights to a region. Errors as for [`snapshot`](Region::snapshot).
    pub fn copy(&self, via: Handle, rights: Rights, flags: SnapshotFlags) -> Result<Token, Error> {
        let mut grant = GrantFlags::empty();
        grant.set(
            GrantFlags::OVERCOMMIT,
            flags.contains(SnapshotFlags::OVERCOMMIT),
        );
        // SAFETY: this process keeps what it has.
        unsafe { sys::grant(self.handle, via, Mode::CopyOnWrite, rights, grant, FOREVER) }
    }

    /// Gives it to the process at the other end of `via`. Pass every mapping that this process has
    /// of it: they are gone afterwards. When it is refused, all of it is dropped here; who wants to keep
    /// it then uses [`grant`](crate::grant).
    pub fn give<const N: usize>(
        self,
        mappings: [Mapping; N],
        via: Handle,
        rights: Rights,
    ) -> Result<Token, Error> {
        // SAFETY: nothing refers to the mappings any more.
        let token = unsafe {
            sys::grant(
                self.handle,
                via,
                Mode::Move,
                rights,
                GrantFlags::empty(),
                FOREVER,
            )
        }?;
        core::mem::forget((self, mappings));
        Ok(token)
    }
}

/// A mapping of a whole region, unmapped when it is dropped, by its address. When somebody else revokes
/// the region, that address is free, and the next mapping of this process may get it: drop what was
/// revoked before anything else is mapped.
#[derive(Debug)]
pub struct Mapping {
    start: u64,
    len: u64,
    writable: bool,
}

impl Mapping {
    /// Its first address.
    pub fn address(&self) -> u64 {
        self.start
    }

    /// The length of the region in bytes; 0 when the capability does not tell.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is known to be there.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A word of it, which others may read and write meanwhile: the `index`th of 8 bytes. `None`: it can't
    /// be written, or ends before. Whoever takes the region away ends who touches it by a page fault.
    pub fn word(&self, index: u64) -> Option<&AtomicU64> {
        let offset = index.checked_mul(8)?;
        let is_there = self.writable && offset.checked_add(8)? <= self.len;
        // SAFETY: the mapping is there as long as `self`, at a multiple of 2 MiB; whoever has a slice of
        // these bytes has promised that nobody else writes to them.
        is_there.then(|| unsafe { AtomicU64::from_ptr((self.start + offset) as *mut u64) })
    }

    /// The bytes.
    ///
    /// # Safety
    /// Nobody writes to them, in this process or another, and nobody takes them away, for as long
    /// as the slice lives; `len` is not more than the region has.
    pub unsafe fn as_slice(&self, len: usize) -> &[u8] {
        // SAFETY: the caller's.
        unsafe { core::slice::from_raw_parts(self.start as *const u8, len) }
    }

    /// The bytes, to be written. `None`: the mapping is read-only.
    ///
    /// # Safety
    /// Nobody else reads or writes them, in this process or another, and nobody takes them away,
    /// for as long as the slice lives; `len` is not more than the region has.
    pub unsafe fn as_mut_slice(&mut self, len: usize) -> Option<&mut [u8]> {
        // SAFETY: the caller's.
        self.writable
            .then(|| unsafe { core::slice::from_raw_parts_mut(self.start as *mut u8, len) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the slices borrow the mapping, so none is left.
        let _ = unsafe { sys::unmap(self.start) };
    }
}
