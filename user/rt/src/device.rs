//! Device memory: resources, and registers that are accessed as the program says.

use abi::limits::PAGE_SIZE;
use abi::{CachePolicy, Error, Handle, RegionKind, ResourceInfo, Rights, UserPtr};

use crate::{Mapping, Region, sys};

/// Facts about a resource; needs INSPECT.
pub fn resource_info(resource: Handle) -> Result<ResourceInfo, Error> {
    let mut info = ResourceInfo::default();
    // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
    unsafe { sys::resource_info(resource, UserPtr::new((&raw mut info) as u64)) }?;
    Ok(info)
}

/// A resource of the pages around `len` bytes at `address`; needs MANAGE. The handle is to be given
/// back with [`drop_handle`](crate::drop_handle).
pub fn resource_part(resource: Handle, address: u64, len: u64) -> Result<Handle, Error> {
    let start = address / PAGE_SIZE * PAGE_SIZE;
    let end = address.checked_add(len).ok_or(Error::Range)?;
    let end = end
        .checked_next_multiple_of(PAGE_SIZE)
        .ok_or(Error::Range)?;
    // SAFETY: the call touches no memory.
    unsafe { sys::resource_part(resource, start, end - start) }
}

/// A word that a device understands.
pub trait Word: Copy + private::Sealed {}

impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

mod private {
    /// Every bit pattern is a value.
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// A device region, mapped. Each read and write is one access to the device, none is left out, and
/// they keep their order among themselves as far as the cache policy does.
#[derive(Debug)]
pub struct Registers {
    mapping: Mapping,
}

impl Registers {
    /// A new region of `len` bytes from the physical address `address` on, mapped. Needs MANAGE.
    pub fn create(
        resource: Handle,
        address: u64,
        len: u64,
        policy: CachePolicy,
    ) -> Result<Registers, Error> {
        Registers::map(&Region::device(resource, address, len, policy)?)
    }

    /// Maps a device region to be read and written. `Unsupported`: it is memory; `Denied`: INSPECT,
    /// MAP, READ or WRITE is missing.
    pub fn map(region: &Region) -> Result<Registers, Error> {
        // Of memory there could be slices, behind whose back nothing may be written.
        if region.info()?.kind != RegionKind::Device as u32 {
            return Err(Error::Unsupported);
        }
        Ok(Registers {
            mapping: region.map(Rights::READ | Rights::WRITE)?,
        })
    }

    /// Bytes that can be accessed.
    pub fn len(&self) -> u64 {
        self.mapping.len()
    }

    /// Whether there is nothing. No region is empty.
    pub fn is_empty(&self) -> bool {
        self.mapping.is_empty()
    }

    /// Reads the word at byte `offset`.
    ///
    /// # Panics
    /// When it is not aligned, or not within the region.
    pub fn read<T: Word>(&self, offset: u64) -> T {
        // SAFETY: the place was checked, any bits are a `T`, and no reference leads there.
        unsafe { self.place::<T>(offset).read_volatile() }
    }

    /// Writes the word at byte `offset`.
    ///
    /// # Panics
    /// When it is not aligned, or not within the region.
    pub fn write<T: Word>(&self, offset: u64, value: T) {
        // SAFETY: as for `read`; the mapping is writable.
        unsafe { self.place::<T>(offset).write_volatile(value) }
    }

    fn place<T: Word>(&self, offset: u64) -> *mut T {
        let size = size_of::<T>() as u64;
        let within = offset
            .checked_add(size)
            .is_some_and(|end| end <= self.len());
        assert!(
            within && offset.is_multiple_of(size),
            "no register of {size} bytes is at {offset:#x}"
        );
        (self.mapping.address() + offset) as *mut T
    }
}
