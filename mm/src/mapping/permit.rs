//! The authority that mappings are made under.

use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::{Error, Rights};

/// What a permit allows besides its rights: to be used at all.
const LIVE: u32 = 1 << 31;

/// It is not live, and may be again with all that was made under it.
const HALTED: u32 = 1 << 30;

const _: () = assert!(Rights::all().bits() & (LIVE | HALTED) == 0);

/// The authority that mappings are made under: as much as has to be known here of a node in the
/// lineage of an object. What it is to its owner, a `T`, is in the same allocation.
///
/// No mapping is made that allows what its permit does not, and whoever narrows a permit calls
/// [`Memory::restrict`](crate::Memory::restrict) or [`Memory::detach`](crate::Memory::detach) afterwards.
#[derive(Debug)]
pub struct Permit<T: ?Sized = dyn Any + Send + Sync> {
    /// What mappings may allow, and [`LIVE`] or [`HALTED`].
    allowed: AtomicU32,
    pub(super) mappings: AtomicU32,
    authority: T,
}

impl Permit<()> {
    /// A live one that allows all and stands for nothing else.
    pub fn new() -> Permit<()> {
        Permit::of((), Rights::ACCESS)
    }
}

impl<T> Permit<T> {
    /// A live one that stands for `authority`. Mappings under it may allow `access`.
    pub fn of(authority: T, access: Rights) -> Permit<T> {
        Permit {
            allowed: AtomicU32::new(access.bits() | LIVE),
            mappings: AtomicU32::new(0),
            authority,
        }
    }
}

impl<T: ?Sized> Permit<T> {
    /// What it stands for.
    pub fn authority(&self) -> &T {
        &self.authority
    }

    /// Whether mappings may be made under it.
    pub fn is_live(&self) -> bool {
        // SYNC(permit.live)
        self.allowed.load(Ordering::Acquire) & LIVE != 0
    }

    /// Whether what was made under it is to go, whoever comes to take it away: it is neither live nor
    /// [halted](Permit::halt).
    pub fn is_over(&self) -> bool {
        self.allowed.load(Ordering::Acquire) & (LIVE | HALTED) == 0
    }

    /// Allows or forbids new mappings. Those that exist are for
    /// [`Memory::detach`](crate::Memory::detach) to remove. Of all that change a permit, one does at a
    /// time.
    pub fn set_live(&self, live: bool) {
        let access = self.access().bits();
        let allowed = if live { access | LIVE } else { access };
        // SYNC(permit.live)
        self.allowed.store(allowed, Ordering::Release);
    }

    /// What mappings under it may allow.
    pub fn access(&self) -> Rights {
        Rights::from_bits_truncate(self.allowed.load(Ordering::Acquire))
    }

    /// Makes it live, with what mappings may allow; see [`set_live`](Permit::set_live).
    #[inline(always)]
    pub fn revive(&self, access: Rights) {
        // SYNC(permit.live)
        self.allowed.store(access.bits() | LIVE, Ordering::Release);
    }

    /// Makes it not live, with what mappings may allow; see [`set_live`](Permit::set_live). What was made
    /// under it is for who halts it to remove, and for nobody else unless it is over.
    #[inline(always)]
    pub fn halt(&self, access: Rights) {
        // SYNC(permit.live)
        self.allowed
            .store(access.bits() | HALTED, Ordering::Release);
    }

    /// Changes what mappings may allow, as [`set_live`](Permit::set_live) does. Those that exist are
    /// for [`Memory::restrict`](crate::Memory::restrict) to narrow.
    pub fn set_access(&self, access: Rights) {
        let state = self.allowed.load(Ordering::Relaxed) & (LIVE | HALTED);
        self.allowed.store(state | access.bits(), Ordering::Release);
    }

    /// `Revoked`: it is not live; `Denied`: a mapping under it may not allow all of `access`.
    #[inline(always)]
    pub(crate) fn check(&self, access: Rights) -> Result<(), Error> {
        // SYNC(permit.live)
        let allowed = self.allowed.load(Ordering::Acquire);
        if allowed & LIVE == 0 {
            return Err(Error::Revoked);
        }
        if access.bits() & !allowed != 0 {
            return Err(Error::Denied);
        }
        Ok(())
    }

    /// How many mappings exist under it.
    pub fn mappings(&self) -> u32 {
        self.mappings.load(Ordering::Acquire)
    }
}

impl Default for Permit<()> {
    fn default() -> Self {
        Permit::new()
    }
}
