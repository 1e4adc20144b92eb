//! What can be done with a capability of any kind.

use abi::{
    CapInfo, DeriveArgs, DeriveFlags, Error, Events, Handle, ObjectInfo, RevokeFlags, Rights,
    UserPtr,
};

use crate::sys;

/// A capability to be derived from another: at most as much, and less where it says so.
///
/// ```ignore
/// let once = Derive::new(Rights::SEND | Rights::GRANT | Rights::MOVE).badge(7).one_shot().of(end)?;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Derive {
    args: DeriveArgs,
}

impl Derive {
    /// One with at most these rights.
    pub const fn new(rights: Rights) -> Derive {
        Derive {
            args: DeriveArgs::new(rights),
        }
    }

    /// For a part of a region, in units of 2 MiB; a length of 0 stands for the rest.
    #[must_use]
    pub const fn part(mut self, offset: u64, len: u64) -> Derive {
        (self.args.offset, self.args.len) = (offset, len);
        self
    }

    /// With a badge of 63 bits, that whoever receives through it is told.
    #[must_use]
    pub const fn badge(mut self, badge: u64) -> Derive {
        self.args.badge = badge;
        self
    }

    /// For one use. It can be moved, but neither derived nor shared.
    #[must_use]
    pub const fn one_shot(mut self) -> Derive {
        self.args.flags |= DeriveFlags::ONE_SHOT.bits();
        self
    }

    /// Until a time, at which it dies with all that was derived from it.
    #[must_use]
    pub const fn until(mut self, deadline_ns: u64) -> Derive {
        self.args.deadline = deadline_ns;
        self
    }

    /// With at most so many capabilities below it, taken out of what the parent may have.
    #[must_use]
    pub const fn nodes(mut self, count: u32) -> Derive {
        self.args.max_nodes = count;
        self
    }

    /// Derives it; needs DUPLICATE. The handle is to be given back with
    /// [`drop_handle`](crate::drop_handle).
    pub fn of(self, parent: Handle) -> Result<Handle, Error> {
        // SAFETY: the pointer leads to `self`, which the kernel reads during the call.
        unsafe { sys::cap_derive_with(parent, UserPtr::new((&raw const self.args) as u64)) }
    }
}

/// Derives a capability with at most these rights; needs DUPLICATE.
pub fn derive(handle: Handle, rights: Rights) -> Result<Handle, Error> {
    // SAFETY: the call touches no memory.
    unsafe { sys::cap_derive(handle, rights) }
}

/// Takes rights away from a capability and from everything below it. Mappings of a region lose what
/// is taken: touching them beyond that is a fault.
pub fn reduce(handle: Handle, rights: Rights) -> Result<(), Error> {
    // SAFETY: whoever has slices of a mapping has promised that nobody takes it away.
    unsafe { sys::cap_reduce(handle, rights) }
}

/// Kills everything that was derived from a capability; needs REVOKE. Returns how many died.
pub fn revoke(handle: Handle) -> Result<u64, Error> {
    // SAFETY: as above.
    unsafe { sys::cap_revoke(handle, RevokeFlags::empty()) }
}

/// The same of the capability itself too.
pub fn revoke_all(handle: Handle) -> Result<u64, Error> {
    // SAFETY: as above.
    unsafe { sys::cap_revoke(handle, RevokeFlags::ITSELF) }
}

/// Facts about a capability.
pub fn cap_info(handle: Handle) -> Result<CapInfo, Error> {
    let mut info = CapInfo::default();
    // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
    unsafe { sys::cap_info(handle, UserPtr::new((&raw mut info) as u64)) }?;
    Ok(info)
}

/// Whether two handles name one object.
pub fn same_object(a: Handle, b: Handle) -> Result<bool, Error> {
    // SAFETY: the call touches no memory.
    unsafe { sys::cap_same(a, b) }
}

/// What has gone through an object; needs INSPECT.
pub fn object_info(handle: Handle) -> Result<ObjectInfo, Error> {
    let mut info = ObjectInfo::default();
    // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
    unsafe { sys::object_info(handle, UserPtr::new((&raw mut info) as u64)) }?;
    Ok(info)
}

/// Waits until one of the events holds for an object, and returns those that do; needs WAIT.
pub fn object_wait(handle: Handle, events: Events, deadline_ns: u64) -> Result<Events, Error> {
    // SAFETY: the call touches no memory.
    let held = unsafe { sys::object_wait(handle, events, deadline_ns) }?;
    Ok(Events::from_bits_truncate(held as u32))
}
