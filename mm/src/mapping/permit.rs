//! The authority that mappings are made under.

use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The authority that mappings are made under: as much as has to be known here of a node in the
/// lineage of an object. What it is to its owner, a `T`, is in the same allocation.
#[derive(Debug)]
pub struct Permit<T: ?Sized = dyn Any + Send + Sync> {
    live: AtomicBool,
    pub(super) mappings: AtomicU32,
    authority: T,
}

impl Permit<()> {
    /// A live one that stands for nothing else.
    pub fn new() -> Permit<()> {
        Permit::of(())
    }
}

impl<T> Permit<T> {
    /// A live one that stands for `authority`.
    pub fn of(authority: T) -> Permit<T> {
        Permit {
            live: AtomicBool::new(true),
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
        self.live.load(Ordering::Acquire)
    }

    /// Allows or forbids new mappings. Those that exist are for
    /// [`Memory::detach`](crate::Memory::detach) to remove.
    pub fn set_live(&self, live: bool) {
        // SYNC(permit.live)
        self.live.store(live, Ordering::Release);
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
