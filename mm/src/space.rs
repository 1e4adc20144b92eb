//! Address spaces: a tree of upper page tables, what is mapped where, and which CPUs use it.
//!
//! Lock ranks: mappings, then (elsewhere) a region, then tables. The upper tables of a space are
//! made when something is mapped and kept until the space ends, so an entry of a page directory
//! can be written without holding the table lock.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::{Bound, Range};
use core::sync::atomic::{AtomicU32, Ordering};

use abi::Error;
use abi::limits::{LEAF_SIZE, USER_END, USER_START};

use crate::lock::{Lock, Rank};
use crate::sync::AtomicU64;
use crate::{
    Budget, CpuId, CpuSet, Entry, EntryFlags, Frame, FrameState, Machine, Mapping, Memory,
};

/// What one process can reach.
#[derive(Debug)]
pub struct AddressSpace {
    koid: u64,
    root: Frame,
    /// The CPUs that have it loaded, or are about to.
    active: AtomicU64,
    /// Mappings that a revoke has ended and that still take up addresses.
    pub(crate) dead: AtomicU32,
    pub(crate) mappings: Lock<Mappings>,
    /// Serialises the making of upper tables.
    tables: Lock<()>,
}

/// What is mapped, by address.
#[derive(Debug)]
pub(crate) struct Mappings {
    pub(crate) by_va: BTreeMap<u64, Arc<Mapping>>,
    /// Where the search for a free place begins.
    base: u64,
}

impl AddressSpace {
    /// Its number.
    pub fn koid(&self) -> u64 {
        self.koid
    }

    /// Its top-level table.
    pub fn root(&self) -> Frame {
        self.root
    }

    /// The CPUs that have it loaded, or are about to.
    pub fn active(&self) -> CpuSet {
        CpuSet(self.active.load(Ordering::SeqCst))
    }

    /// How many mappings it has.
    pub fn mapping_count(&self) -> usize {
        self.mappings.lock().by_va.len()
    }

    /// A space for a model, which has the tables.
    #[cfg(loom)]
    pub fn model(koid: u64, root: Frame) -> AddressSpace {
        AddressSpace::new(koid, root, USER_START)
    }

    fn new(koid: u64, root: Frame, base: u64) -> AddressSpace {
        AddressSpace {
            koid,
            root,
            active: AtomicU64::new(0),
            dead: AtomicU32::new(0),
            mappings: Lock::new(
                Rank::Mappings,
                Mappings {
                    by_va: BTreeMap::new(),
                    base: base.clamp(USER_START, USER_END) & !(LEAF_SIZE - 1),
                },
            ),
            tables: Lock::new(Rank::Tables, ()),
        }
    }

    pub(crate) fn enter(&self, cpu: CpuId) {
        // SYNC(space.active): a locked instruction, before the root is loaded; pairs with the
        // fence between the edit of an entry and the load of the set.
        self.active.fetch_or(1 << cpu, Ordering::SeqCst);
    }

    pub(crate) fn leave(&self, cpu: CpuId) {
        self.active.fetch_and(!(1 << cpu), Ordering::SeqCst);
    }

    /// The mapping that an address belongs to.
    pub(crate) fn find(&self, va: u64) -> Option<Arc<Mapping>> {
        let mappings = self.mappings.lock();
        let (_, mapping) = mappings.by_va.range(..=va).next_back()?;
        (va < mapping.end()).then(|| mapping.clone())
    }
}

impl Mappings {
    /// A free place for `len` bytes, with `guard` bytes before and behind that stay free: at the hint
    /// if it is free, else the first one from the base on.
    pub(crate) fn place(&self, hint: u64, fixed: bool, len: u64, guard: u64) -> Result<u64, Error> {
        let kept = || {
            let end = hint.checked_add(len)?.checked_add(guard)?;
            Some(hint.checked_sub(guard)?..end)
        };
        let usable = |kept: &Range<u64>| kept.start >= USER_START && kept.end <= USER_END;
        if fixed {
            let kept = kept().ok_or(Error::Range)?;
            return if !hint.is_multiple_of(LEAF_SIZE) {
                Err(Error::Align)
            } else if !usable(&kept) {
                Err(Error::Range)
            } else if !self.is_free(kept) {
                Err(Error::Overlap)
            } else {
                Ok(hint)
            };
        }
        let wish = kept().filter(|kept| hint.is_multiple_of(LEAF_SIZE) && usable(kept));
        if wish.is_some_and(|kept| self.is_free(kept)) {
            return Ok(hint);
        }
        let len = len + 2 * guard;
        self.first_gap(self.base, USER_END, len)
            .or_else(|| self.first_gap(USER_START, self.base, len))
            .map(|start| start + guard)
            .ok_or(Error::Overlap)
    }

    /// Whether nothing keeps addresses of this range. What begins at or behind its end may still have
    /// a guard that reaches into it.
    fn is_free(&self, kept: Range<u64>) -> bool {
        let reach = kept.end.saturating_add(LEAF_SIZE);
        let below = self.by_va.range((Bound::Unbounded, Bound::Excluded(reach)));
        below
            .rev()
            .take_while(|(_, mapping)| mapping.start() >= kept.start.saturating_sub(LEAF_SIZE))
            .chain(self.by_va.range(..kept.start).next_back())
            .all(|(_, mapping)| {
                let other = mapping.kept();
                other.end <= kept.start || kept.end <= other.start
            })
    }

    fn first_gap(&self, from: u64, to: u64, len: u64) -> Option<u64> {
        let mut start = match self.by_va.range(..from).next_back() {
            Some((_, mapping)) => from.max(mapping.kept().end),
            None => from,
        };
        for (_, mapping) in self.by_va.range(from..) {
            let kept = mapping.kept();
            if kept.start >= to || kept.start.saturating_sub(start) >= len {
                break;
            }
            start = start.max(kept.end);
        }
        start
            .checked_add(len)
            .is_some_and(|end| end <= to)
            .then_some(start)
    }
}

/// The index of an address in the table of a level (3 is the top).
fn index(va: u64, level: u32) -> usize {
    (va >> (12 + 9 * level)) as usize & 511
}

impl<M: Machine> Memory<M> {
    /// An empty address space whose mappings cluster from `base` on, a multiple of 2 MiB.
    ///
    /// `NoMemory`: no frame is free for its top-level table.
    pub fn create_space(&self, base: u64) -> Result<Arc<AddressSpace>, Error> {
        let root = self.allocate_table(Budget::Open)?;
        self.machine.init_root(root);
        Ok(Arc::new(AddressSpace::new(self.next_koid(), root, base)))
    }

    /// Returns the page tables of a space in which nothing is mapped and that no CPU uses.
    pub fn destroy_space(&self, space: &AddressSpace) {
        debug_assert!(space.active().is_empty());
        debug_assert!(space.mappings.lock().by_va.is_empty());
        let _tables = space.tables.lock();
        for top in 0..256 {
            let Some(pdpt) = self.machine.load(space.root, top).frame() else {
                continue;
            };
            for middle in 0..512 {
                if let Some(directory) = self.machine.load(pdpt, middle).frame() {
                    self.free_table(directory, Budget::Open);
                }
            }
            self.free_table(pdpt, Budget::Open);
        }
        self.free_table(space.root, Budget::Open);
    }

    /// Makes the upper tables for the addresses `start..end`. What was made stays when it fails:
    /// it belongs to the space and is returned with it.
    pub(crate) fn make_directories(
        &self,
        space: &AddressSpace,
        start: u64,
        end: u64,
    ) -> Result<(), Error> {
        let _tables = space.tables.lock();
        let mut va = start;
        while va < end {
            let pdpt = self.make_table(space.root, index(va, 3))?;
            self.make_table(pdpt, index(va, 2))?;
            // To the next GiB, whose directory is another.
            va = (va | ((1 << 30) - 1)) + 1;
        }
        Ok(())
    }

    fn make_table(&self, parent: Frame, index: usize) -> Result<Frame, Error> {
        if let Some(table) = self.machine.load(parent, index).frame() {
            return Ok(table);
        }
        let table = self.allocate_table(Budget::Open)?;
        let flags = EntryFlags::USER_PRESENT | EntryFlags::WRITABLE;
        self.machine.store(parent, index, Entry::new(table, flags));
        Ok(table)
    }

    /// The page directory for an address and the index in it, if it was made.
    pub(crate) fn directory(&self, space: &AddressSpace, va: u64) -> Option<(Frame, usize)> {
        let pdpt = self.machine.load(space.root, index(va, 3)).frame()?;
        let directory = self.machine.load(pdpt, index(va, 2)).frame()?;
        Some((directory, index(va, 1)))
    }

    pub(crate) fn allocate_table(&self, budget: Budget) -> Result<Frame, Error> {
        let frame = self.machine.allocate(None, budget).ok_or(Error::NoMemory)?;
        self.machine
            .meta(frame)
            .transition(FrameState::Free, FrameState::Table);
        self.machine.zero(frame);
        Ok(frame)
    }

    pub(crate) fn free_table(&self, frame: Frame, budget: Budget) {
        self.machine
            .meta(frame)
            .transition(FrameState::Table, FrameState::Free);
        self.machine.free(frame, budget);
    }
}
