//! Memory for Handover: frames, regions that are page tables, address spaces, faults, and a TLB
//! shootdown that is acknowledged.
//!
//! A [`Region`] owns the *leaf tables* that map its pages: hardware page tables of 512 entries
//! each. Mapping a region into an [`AddressSpace`] writes one entry of a page directory for each
//! of them, so mapping, unmapping and taking away cost the same for one page as for 512, and
//! whatever one process has faulted in is there for all.
//!
//! Nothing here knows a privileged instruction. The crate works over three small traits,
//! [`Frames`], [`Mmu`] and [`Cpus`], so the same code runs in the kernel, under `cargo test` on an
//! honest imitation of a machine, and in other people's kernels.
//!
//! Invariants kept here (docs/INVARIANTS.md): I1, I2, I3, I5 and I6 as far as mappings go, I8, I9,
//! I11, I12, I14, I15.
//!
//! Small heap allocations (a record of a mapping, a node of a map) are taken to succeed: the
//! embedder keeps enough heap in hand before it calls. Everything whose size a program chooses is
//! asked for in a way that can fail.

#![no_std]
#![forbid(unsafe_code)]
// What is stale and not waited for is a bug, not a matter of taste.
#![deny(unused_must_use)]

extern crate alloc;
#[cfg(all(sabotage, loom))]
extern crate std;

mod access;
mod account;
mod charged;
mod commit;
mod device;
mod entry;
mod fault;
mod fixed;
mod frame;
mod image;
mod leaf;
pub mod lock;
mod machine;
mod mapping;
mod ordered;
mod pool;
mod region;
mod reserve;
mod room;
#[doc(hidden)]
pub mod sabotage;
mod shootdown;
mod snapshot;
mod space;
mod sync;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

pub use account::{Account, Charge, RecordCharge};
pub use entry::{Entry, EntryFlags};
pub use fixed::{RING_CONSUMER_VIEW, RING_PRODUCER_VIEW};
pub use frame::{Frame, FrameMeta, FrameState};
pub use image::PageAttributes;
pub use machine::{Budget, CpuId, CpuSet, Cpus, Frames, Machine, Mmu};
pub use mapping::{MapRequest, Mapping, Permit};
pub use pool::{FrameCache, FramePool, MAX_NODES, MAX_ORDER, NodeStatistics};
pub use region::{Region, RegionOptions};
pub use room::{MAX_RECORD, boxed, may_shrink, room_for, shared, shrink_to};
pub use shootdown::{Plan, Stale};
pub use space::AddressSpace;

/// Pages behind one leaf table.
pub const LEAF_PAGES: u64 = abi::limits::LEAF_SIZE / abi::limits::PAGE_SIZE;

/// The memory of one machine: the way in to everything here.
#[derive(Debug)]
pub struct Memory<M: Machine> {
    machine: M,
    shootdown: shootdown::Shootdown,
    devices: device::Claims,
    koids: AtomicU64,
    account: Arc<Account>,
    /// As the machine tells it, for speed.
    zero: Frame,
}

impl<M: Machine> Memory<M> {
    /// The memory of `machine`.
    pub fn new(machine: M) -> Memory<M> {
        Memory {
            zero: machine.zero_frame(),
            machine,
            shootdown: shootdown::Shootdown::new(),
            devices: device::Claims::new(),
            koids: AtomicU64::new(1),
            account: Account::root(),
        }
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The account that all others are below.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// A number for an object, never given out twice.
    pub fn next_koid(&self) -> u64 {
        self.koids.fetch_add(1, Ordering::Relaxed)
    }
}
