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

/// One value for each CPU: by a constant, which makes it in its place and not on the stack first.
#[cfg(not(loom))]
macro_rules! for_each_cpu {
    ($value:expr) => {
        [const { $value }; $crate::sync::CPUS]
    };
}

/// One value for each CPU. Loom's atomics can't be constants.
#[cfg(loom)]
macro_rules! for_each_cpu {
    ($value:expr) => {
        core::array::from_fn(|_| $value)
    };
}

pub(crate) use for_each_cpu;
