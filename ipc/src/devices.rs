//! Resources: the authority over physical addresses, and the device regions made by it.

use core::ops::Range;

use abi::limits::PAGE_SIZE;
use abi::{CachePolicy, Error, Handle, ObjectKind, Rights};

use crate::{Capability, Domain, Ipc, Payload, Platform};

/// A range of physical addresses, in bytes and whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    address: u64,
    len: u64,
}

impl Resource {
    /// `len` bytes from `address` on.
    ///
    /// `Align`: not whole pages; `Invalid`: no bytes; `Range`: the end is no address.
    pub fn new(address: u64, len: u64) -> Result<Resource, Error> {
        if !address.is_multiple_of(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) {
            return Err(Error::Align);
        }
        if len == 0 {
            return Err(Error::Invalid);
        }
        address.checked_add(len).ok_or(Error::Range)?;
        Ok(Resource { address, len })
    }

    /// The addresses.
    pub fn range(&self) -> Range<u64> {
        self.address..self.address + self.len
    }

    /// A part of it; `Range`: not all within it.
    fn part(&self, address: u64, len: u64) -> Result<Resource, Error> {
        let part = Resource::new(address, len)?;
        let (own, range) = (self.range(), part.range());
        if range.start < own.start || range.end > own.end {
            return Err(Error::Range);
        }
        Ok(part)
    }
}

impl<P: Platform> Ipc<P> {
    /// The authority over all that a machine can address, for the first process. What of it is
    /// memory, the machine refuses: see [`mm::Frames::check_device`].
    pub fn create_resource(&self, domain: &Domain<P>, resource: Resource) -> Result<Handle, Error> {
        self.install_object(domain, Payload::Resource(resource), Rights::RESOURCE)
    }

    /// The resource that a handle stands for, and the capability, by which whatever follows of it is
    /// [committed](Capability::commit).
    pub fn resource(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
    ) -> Result<(Capability<P>, Resource), Error> {
        let capability = domain.look_up(handle, Some(ObjectKind::Resource), rights)?;
        match *capability.object().payload() {
            Payload::Resource(resource) => Ok((capability, resource)),
            _ => Err(Error::WrongKind),
        }
    }

    /// A resource of a part of another, an object of its own.
    pub fn part_of_resource(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        address: u64,
        len: u64,
    ) -> Result<Handle, Error> {
        let (by, whole) = self.resource(domain, handle, Rights::MANAGE)?;
        let part = Payload::Resource(whole.part(address, len)?);
        self.install_by(&by, domain, part, Rights::RESOURCE)
    }

    /// A region of physical addresses within a resource; see
    /// [`Memory::create_device_region`](mm::Memory::create_device_region).
    pub fn create_device_region(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        address: u64,
        len: u64,
        policy: CachePolicy,
    ) -> Result<Handle, Error> {
        let (by, resource) = self.resource(domain, handle, Rights::MANAGE)?;
        resource.part(address, len)?;
        let region = self
            .memory
            .create_device_region(domain.account(), address, len, policy)
            .map_err(|error| by.refuse(error))?;
        self.install_by(&by, domain, Payload::Region(region), Rights::REGION)
    }
}
