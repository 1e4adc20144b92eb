//! Address spaces: a tree of upper page tables, what is mapped where, and which CPUs have used it.
//!
//! Lock ranks: mappings, then (elsewhere) a region, then tables. The upper tables of a space are
//! made when something is mapped and kept until the space ends, so an entry of a page directory
//! can be written without holding the table lock.

mod mappings;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::limits::{LEAF_SIZE, USER_END, USER_START};
use abi::{Error, Resources, cost};

use crate::lock::{Lock, Rank};
use crate::sync::AtomicU64;
use crate::{
    Account, Budget, Charge, CpuId, CpuSet, Entry, EntryFlags, Frame, FrameState, Machine, Mapping,
    Memory,
};

pub(crate) use self::mappings::Mappings;

/// What one process can reach.
#[derive(Debug)]
pub struct AddressSpace {
    koid: u64,
    root: Frame,
    /// The CPUs that have ever had it loaded, or are about to.
    visited: AtomicU64,
    /// Mappings that a revoke has ended and that still take up addresses.
    pub(crate) dead: AtomicU32,
    pub(crate) mappings: Lock<Mappings>,
    account: Arc<Account>,
    /// Serialises the making of upper tables, which are charged here.
    tables: Lock<Charge>,
}

// The rest is for a table of handles, if the embedder has one for each space.
const _: () = assert!(size_of::<AddressSpace>() + 16 <= 512 && cost::SPACE > 512);

impl AddressSpace {
    /// Its number.
    pub fn koid(&self) -> u64 {
        self.koid
    }

    /// Its top-level table.
    pub fn root(&self) -> Frame {
        self.root
    }

    /// Who pays for its tables and mappings.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The CPUs that have ever had it loaded, or are about to. Those that have it loaded now are
    /// [among them](Memory::active).
    #[inline(always)]
    pub(crate) fn visited(&self) -> CpuSet {
        CpuSet(self.visited.load(Ordering::Relaxed))
    }

    /// How many mappings it has.
    pub fn mapping_count(&self) -> usize {
        self.mappings.lock().by_va.len()
    }

    /// A space for a model, which has the tables.
    #[cfg(loom)]
    pub fn model(koid: u64, root: Frame) -> AddressSpace {
        let nothing = Account::root().charge(Resources::NONE);
        let charge = nothing.expect("the root has no limits");
        AddressSpace::new(koid, root, USER_START, charge)
    }

    fn new(koid: u64, root: Frame, base: u64, charge: Charge) -> AddressSpace {
        let base = base.clamp(USER_START, USER_END) & !(LEAF_SIZE - 1);
        AddressSpace {
            koid,
            root,
            visited: AtomicU64::new(0),
            dead: AtomicU32::new(0),
            mappings: Lock::new(Rank::Mappings, Mappings::from(base)),
            account: charge.account().clone(),
            tables: Lock::new(Rank::Tables, charge),
        }
    }

    /// Before the current CPU loads the root.
    #[inline(always)]
    pub(crate) fn visit(&self, cpu: CpuId) {
        // Nobody else sets the bit of a CPU, and nobody clears it.
        if !self.visited().contains(cpu) {
            self.visit_first(cpu);
        }
    }

    #[cold]
    fn visit_first(&self, cpu: CpuId) {
        // SYNC(space.loaded): ordered by the load of the root.
        self.visited.fetch_or(1 << cpu, Ordering::Relaxed);
    }

    /// The mapping that an address belongs to.
    pub(crate) fn find(&self, va: u64) -> Option<Arc<Mapping>> {
        let mappings = self.mappings.lock();
        let (_, mapping) = mappings.by_va.last_up_to(va)?;
        (va < mapping.end()).then(|| mapping.clone())
    }
}

/// The index of an address in the table of a level (3 is the top).
fn index(va: u64, level: u32) -> usize {
    (va >> (12 + 9 * level)) as usize & 511
}

/// The index of an address in its page directory.
#[inline]
pub(crate) fn directory_index(va: u64) -> usize {
    index(va, 1)
}

/// The first address behind the directory of an address.
fn next_directory(va: u64) -> u64 {
    (va | ((1 << 30) - 1)) + 1
}

impl<M: Machine> Memory<M> {
    /// An empty address space whose mappings cluster from `base` on, a multiple of 2 MiB. `account`
    /// pays for it and for what is mapped in it.
    ///
    /// `Quota`: the account does not cover it; `NoMemory`: no frame is free for its top-level table.
    pub fn create_space(
        &self,
        account: &Arc<Account>,
        base: u64,
    ) -> Result<Arc<AddressSpace>, Error> {
        let charge = account.charge(Resources {
            bytes: cost::SPACE,
            ..Resources::tables(1)
        })?;
        let root = self.allocate_table(Budget::Open)?;
        self.machine.init_root(root);
        let koid = self.next_koid();
        Ok(crate::shared(AddressSpace::new(koid, root, base, charge)))
    }

    /// Returns the page tables of a space in which nothing is mapped and that no CPU uses.
    pub fn destroy_space(&self, space: &AddressSpace) {
        debug_assert!(!self.is_loaded(space), "a CPU has it loaded");
        debug_assert!(space.mappings.lock().by_va.is_empty());
        let mut charge = space.tables.lock();
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
        charge.release(Resources::tables(u64::MAX));
    }

    /// Makes the upper tables for the addresses `start..end` and returns the first of the directories.
    /// What was made stays when it fails: it belongs to the space and is returned with it.
    #[inline(always)]
    pub(crate) fn make_directories(
        &self,
        space: &AddressSpace,
        mappings: &mut Mappings,
        start: u64,
        end: u64,
    ) -> Result<Frame, Error> {
        if let Some(directory) = mappings.last_directory(start, end) {
            return Ok(directory);
        }
        let first = self.make_directory(space, start)?;
        let mut va = next_directory(start);
        while va < end {
            self.make_directory(space, va)?;
            va = next_directory(va);
        }
        mappings.set_last_directory(start, first);
        Ok(first)
    }

    #[inline(always)]
    fn make_directory(&self, space: &AddressSpace, va: u64) -> Result<Frame, Error> {
        // A table that is there stays.
        if let Some((directory, _)) = self.directory(space, va) {
            return Ok(directory);
        }
        self.make_missing_directory(space, va)
    }

    #[cold]
    fn make_missing_directory(&self, space: &AddressSpace, va: u64) -> Result<Frame, Error> {
        let mut charge = space.tables.lock();
        let pdpt = self.make_table(&mut charge, space.root, index(va, 3))?;
        self.make_table(&mut charge, pdpt, index(va, 2))
    }

    fn make_table(&self, charge: &mut Charge, parent: Frame, index: usize) -> Result<Frame, Error> {
        if let Some(table) = self.machine.load(parent, index).frame() {
            return Ok(table);
        }
        charge.extend(Resources::tables(1))?;
        let table = self
            .allocate_table(Budget::Open)
            .inspect_err(|_| charge.release(Resources::tables(1)))?;
        let flags = EntryFlags::USER_PRESENT | EntryFlags::WRITABLE;
        self.machine.store(parent, index, Entry::new(table, flags));
        Ok(table)
    }

    /// The page directory for an address and the index in it, if it was made.
    pub(crate) fn directory(&self, space: &AddressSpace, va: u64) -> Option<(Frame, usize)> {
        let pdpt = self.machine.load(space.root, index(va, 3)).frame()?;
        let directory = self.machine.load(pdpt, index(va, 2)).frame()?;
        Some((directory, directory_index(va)))
    }

    /// Calls `edit` with the place of the entry for each of `leaves` leaf tables from `va` on, in
    /// order: its directory and the index there. The directories were made. One walk a GiB.
    #[inline(always)]
    pub(crate) fn for_each_attachment(
        &self,
        space: &AddressSpace,
        va: u64,
        leaves: usize,
        mut edit: impl FnMut(Frame, usize, usize),
    ) {
        let mut leaf = 0;
        while leaf < leaves {
            let Some((directory, first)) = self.directory(space, va + leaf as u64 * LEAF_SIZE)
            else {
                return;
            };
            let count = (512 - first).min(leaves - leaf);
            for step in 0..count {
                edit(directory, first + step, leaf + step);
            }
            leaf += count;
        }
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
