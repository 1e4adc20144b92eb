//! What `mm` needs of a machine. The kernel, the host tests and other embedders implement it.

use core::fmt;

use abi::Error;

use crate::{Entry, Frame, FrameMeta};

/// The number of a CPU, from 0 without gaps.
pub type CpuId = usize;

/// A set of CPUs, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(pub u64);

impl CpuSet {
    /// No CPU.
    pub const EMPTY: CpuSet = CpuSet(0);

    /// The set of one CPU.
    pub const fn only(cpu: CpuId) -> CpuSet {
        CpuSet(1 << cpu)
    }

    /// Whether no CPU is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a CPU is in it.
    pub const fn contains(self, cpu: CpuId) -> bool {
        self.0 >> cpu & 1 != 0
    }

    /// Both sets together.
    pub const fn union(self, other: CpuSet) -> CpuSet {
        CpuSet(self.0 | other.0)
    }

    /// The set without a CPU.
    pub const fn without(self, cpu: CpuId) -> CpuSet {
        CpuSet(self.0 & !(1 << cpu))
    }

    /// The CPUs in it, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = CpuId> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let cpu = rest.trailing_zeros() as CpuId;
            rest &= rest.wrapping_sub(1);
            (cpu < 64).then_some(cpu)
        })
    }
}

/// What an allocation draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Memory that is promised to nobody. May fail.
    Open,
    /// A promise of [`Frames::reserve`], which this uses up. Never fails.
    Reserved,
}

/// The physical memory of a machine. Implementations are free to manage it as they like;
/// [`FramePool`](crate::FramePool) does most of it.
pub trait Frames {
    /// Whether `count` frames from `first` on are a device's, and programs may have them. `Range`:
    /// the machine can't address them; `Overlap`: memory, or what the machine itself drives.
    /// `Unsupported`, unless implemented: no frames are.
    fn check_device(&self, first: Frame, count: u64) -> Result<(), Error> {
        let _ = (first, count);
        Err(Error::Unsupported)
    }
    /// Takes a free frame, of `node` while there is one. Its content is arbitrary.
    fn allocate(&self, node: Option<usize>, budget: Budget) -> Option<Frame>;
    /// Gives a frame back. With [`Budget::Reserved`] the promise that it came from is renewed.
    fn free(&self, frame: Frame, budget: Budget);
    /// Takes 2^`order` frames that follow one another, the first of them at a multiple of their
    /// number, of `node` while it has such a run. With [`Budget::Reserved`] it uses up 2^`order`
    /// promises. `None` when there is no such run, even where as many frames are promised: they
    /// may be scattered. Nothing is taken then. Each frame of the run may be freed by itself.
    fn allocate_run(&self, order: u32, node: Option<usize>, budget: Budget) -> Option<Frame>;
    /// Gives 2^`order` frames back that [`allocate_run`](Frames::allocate_run) could have given:
    /// a run, or an aligned part of one. With [`Budget::Reserved`] their promises are renewed.
    fn free_run(&self, first: Frame, order: u32, budget: Budget);
    /// Promises `count` frames, or none of them.
    fn reserve(&self, count: u64) -> bool;
    /// Gives up promises.
    fn unreserve(&self, count: u64);
    /// Makes sure that the next small allocations from the kernel's heap don't fail, where a call did not know
    /// before that it would allocate, or allocates as many as a program chooses. `NoMemory`. Called with locks held,
    /// as the heap is.
    fn ensure_memory(&self) -> Result<(), Error> {
        Ok(())
    }
    /// The frame that pages show which nobody has written yet: full of zeros, in state
    /// [`Region`](crate::FrameState::Region), without owners. Nobody frees or writes it.
    fn zero_frame(&self) -> Frame;
    /// What is known of a frame.
    fn meta(&self, frame: Frame) -> &FrameMeta;
    /// Fills a frame with zeros.
    fn zero(&self, frame: Frame);
    /// Copies a frame.
    fn copy(&self, from: Frame, to: Frame);
    /// Copies bytes out of a frame. `offset + bytes.len()` is at most 4,096.
    fn read(&self, frame: Frame, offset: usize, bytes: &mut [u8]);
    /// Copies bytes into a frame. `offset + bytes.len()` is at most 4,096.
    fn write(&self, frame: Frame, offset: usize, bytes: &[u8]);
    /// Loads an aligned word that a program may change at the same time (Acquire).
    fn load_u32(&self, frame: Frame, offset: usize) -> u32;
    /// Stores an aligned word that a program may read at the same time (Release).
    fn store_u32(&self, frame: Frame, offset: usize, value: u32);
    /// The same of eight bytes, which are seen at once.
    fn store_u64(&self, frame: Frame, offset: usize, value: u64);
}

/// The page tables of a machine, and the translations that the current CPU has cached. Editing an
/// entry never flushes by itself.
pub trait Mmu {
    /// Reads an entry (Acquire).
    fn load(&self, table: Frame, index: usize) -> Entry;
    /// Writes an entry (Release).
    fn store(&self, table: Frame, index: usize, entry: Entry);
    /// Writes an entry if it still is `old` (AcqRel); false if it was not.
    fn compare_exchange(&self, table: Frame, index: usize, old: Entry, new: Entry) -> bool;
    /// Clears W of an entry that others edit at the same time, by one locked read-modify-write
    /// (AcqRel).
    fn clear_writable(&self, table: Frame, index: usize);
    /// Makes the current CPU translate by these tables, and forget what it cached by others. As a
    /// load of CR3 is (SDM 3A 9.3), it is a full barrier: what the CPU stored before is visible to
    /// all before it walks these tables.
    fn load_root(&self, root: Frame);
    /// Makes the current CPU forget what it cached for the page at `va`.
    fn flush_page(&self, va: u64);
    /// Makes the current CPU forget everything that it cached of user addresses.
    fn flush_all(&self);
    /// Fills in the part of a fresh top-level table that belongs to the kernel.
    fn init_root(&self, root: Frame);
}

/// The CPUs of a machine.
pub trait Cpus {
    /// The CPU that executes this. The caller stays on it while it matters.
    fn current(&self) -> CpuId;
    /// Interrupts every CPU of a set; each then calls
    /// [`Memory::serve`](crate::Memory::serve).
    fn kick(&self, cpus: CpuSet);
    /// One turn of a loop that waits for another CPU.
    fn relax(&self);
}

/// Everything that `mm` needs.
pub trait Machine: Frames + Mmu + Cpus + Send + Sync + 'static {}

impl<T: Frames + Mmu + Cpus + Send + Sync + 'static> Machine for T {}

impl fmt::LowerHex for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}
