//! The atomics that the shootdown is built on, with loom's in their place under `cfg(loom)`.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};

/// The CPUs that there can be. A model has few: each costs it many executions.
#[cfg(not(loom))]
pub(crate) const CPUS: usize = abi::limits::MAX_CPUS;
#[cfg(loom)]
pub(crate) const CPUS: usize = 3;
