//! The memory of a trace, as the kernel writes it page by page and as a program sees it in one piece.

use core::marker::PhantomData;
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use abi::limits::{MAX_CPUS, PAGE_SIZE};
use abi::trace::{
    COUNTS_OFFSET, Header, LINE_BYTES, MAGIC, MAX_SLOTS, MIN_SLOTS, SLOT_BYTES, SLOT_WORDS,
    SLOTS_OFFSET, State, len,
};

use crate::Error;
use crate::sync::{AtomicU32, AtomicU64, PeerWord};
use crate::trace::{Observer, Slots};

const PAGE_SLOTS: u64 = PAGE_SIZE / SLOT_BYTES as u64;

/// The words of the slot that begins at `slot`.
///
/// # Safety
/// It is aligned and lies in memory that is mapped and initialised for `'a`, and whose words are written only as
/// atomics.
unsafe fn words<'a>(slot: NonNull<u8>) -> &'a [AtomicU64] {
    // SAFETY: the contract; an atomic has the layout of its integer.
    unsafe { NonNull::slice_from_raw_parts(slot.cast(), SLOT_WORDS).as_ref() }
}

/// Where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagePointer(pub NonNull<u8>);

// SAFETY: an address; whoever reaches memory by it answers for that.
unsafe impl Send for PagePointer {}
// SAFETY: as above.
unsafe impl Sync for PagePointer {}

/// The ring of one CPU for its writer: pages that need not follow one another.
#[derive(Debug)]
pub struct TracePages<Pages> {
    count: NonNull<AtomicU64>,
    pages: Pages,
}

// SAFETY: the memory belongs to no thread, and all accesses are atomic.
unsafe impl<Pages: Send> Send for TracePages<Pages> {}

impl<Pages: AsRef<[PagePointer]>> TracePages<Pages> {
    /// The ring whose count is at `count` and whose slots fill `pages`.
    ///
    /// # Errors
    /// [`Error::Invalid`]: not a power of two of pages.
    ///
    /// # Safety
    /// While the result lives, `count` leads to an aligned `u64` and each of `pages` to a page of memory, all of it
    /// mapped, writable and initialised, and reached by others only as atomics. `pages` stays the same.
    pub unsafe fn from_raw(count: NonNull<u64>, pages: Pages) -> Result<Self, Error> {
        if !pages.as_ref().len().is_power_of_two() {
            return Err(Error::Invalid);
        }
        Ok(Self {
            count: count.cast(),
            pages,
        })
    }
}

impl<Pages: AsRef<[PagePointer]>> Slots for TracePages<Pages> {
    fn count(&self) -> &AtomicU64 {
        // SAFETY: the contract of `from_raw`.
        unsafe { self.count.as_ref() }
    }

    fn len(&self) -> u64 {
        self.pages.as_ref().len() as u64 * PAGE_SLOTS
    }

    fn slot(&self, index: u64) -> &[AtomicU64] {
        let position = index & (self.len() - 1);
        let page = self.pages.as_ref()[(position / PAGE_SLOTS) as usize];
        let offset = (position % PAGE_SLOTS) as usize * SLOT_BYTES;
        // SAFETY: the slot lies in that page, which the contract of `from_raw` speaks for.
        unsafe { words(page.0.add(offset)) }
    }
}

/// A whole trace, as a program sees it that may read it.
#[derive(Debug)]
pub struct TraceView<'a> {
    base: NonNull<u8>,
    cpus: usize,
    slots: u64,
    started_ns: u64,
    memory: PhantomData<&'a [AtomicU64]>,
}

// SAFETY: the memory belongs to no thread, and all accesses are atomic.
unsafe impl Send for TraceView<'_> {}

impl<'a> TraceView<'a> {
    /// The trace at `base`.
    ///
    /// # Errors
    /// [`Error::Invalid`]: there is none, or one that would not fit `bytes`.
    ///
    /// # Safety
    /// For `'a`, `bytes` bytes from `base` on are mapped, readable and initialised, `base` is page-aligned, and nobody
    /// in this program writes them but as atomics. An access may end the program, as after a revocation, but may not
    /// reach other memory.
    pub unsafe fn from_raw(base: NonNull<u8>, bytes: usize) -> Result<Self, Error> {
        if !base.addr().get().is_multiple_of(PAGE_SIZE as usize) || bytes < SLOTS_OFFSET {
            return Err(Error::Invalid);
        }
        // SAFETY: both are aligned words of the first page, which is there.
        let word = |offset| unsafe { base.add(offset).cast::<AtomicU64>().as_ref() };
        // SAFETY: as above.
        let half = |offset| unsafe { base.add(offset).cast::<AtomicU32>().as_ref() };
        // SYNC(trace.format): the magic comes last.
        if PeerWord(word(offset_of!(Header, magic))).load_acquire() != MAGIC {
            return Err(Error::Invalid);
        }
        let cpus = PeerWord(half(offset_of!(Header, cpus))).load_relaxed() as usize;
        let slots = PeerWord(half(offset_of!(Header, slots))).load_relaxed();
        let possible = slots.is_power_of_two() && (MIN_SLOTS..=MAX_SLOTS).contains(&slots);
        if !possible || cpus == 0 || cpus > MAX_CPUS || len(cpus, slots) > bytes {
            return Err(Error::Invalid);
        }
        Ok(Self {
            base,
            cpus,
            slots: slots.into(),
            started_ns: PeerWord(word(offset_of!(Header, started_ns))).load_acquire(),
            memory: PhantomData,
        })
    }

    /// CPUs that record.
    pub fn cpus(&self) -> usize {
        self.cpus
    }

    /// Slots of each.
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// When it began, in ns of the monotonic clock.
    pub fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// Whether nothing more will come. Whoever then reads until there is nothing has all of it.
    pub fn has_ended(&self) -> bool {
        let offset = offset_of!(Header, state);
        // SAFETY: an aligned word of the first page, which the contract of `from_raw` speaks for.
        let state = unsafe { self.base.add(offset).cast::<AtomicU32>().as_ref() };
        // SYNC(trace.end)
        PeerWord(state).load_acquire() == State::Ended as u32
    }

    /// A reader of what one CPU did, from the beginning; `None` when there is no such CPU.
    pub fn observer(&self, cpu: usize) -> Option<Observer<CpuView<'a>>> {
        if cpu >= self.cpus {
            return None;
        }
        Some(Observer::new(CpuView {
            base: self.base,
            cpu,
            slots: self.slots,
            memory: PhantomData,
        }))
    }
}

/// The ring of one CPU in a [`TraceView`]; a part of what that one's contract speaks for.
#[derive(Debug)]
pub struct CpuView<'a> {
    base: NonNull<u8>,
    cpu: usize,
    slots: u64,
    memory: PhantomData<&'a [AtomicU64]>,
}

// SAFETY: as for the whole view.
unsafe impl Send for CpuView<'_> {}

impl Slots for CpuView<'_> {
    fn count(&self) -> &AtomicU64 {
        let offset = COUNTS_OFFSET + self.cpu * LINE_BYTES;
        // SAFETY: an aligned word in the page of the counts.
        unsafe { self.base.add(offset).cast().as_ref() }
    }

    fn len(&self) -> u64 {
        self.slots
    }

    fn slot(&self, index: u64) -> &[AtomicU64] {
        let position = self.cpu as u64 * self.slots + (index & (self.slots - 1));
        let offset = SLOTS_OFFSET + position as usize * SLOT_BYTES;
        // SAFETY: the position is below `cpus * slots`, all of which the view was checked to have.
        unsafe { words(self.base.add(offset)) }
    }
}

/// Writes the first page of a trace.
///
/// # Safety
/// `base` leads to a page of zeros that is writable and that nobody else writes.
pub unsafe fn format(base: NonNull<u8>, cpus: u32, slots: u32, started_ns: u64) {
    let header = Header {
        magic: 0,
        cpus,
        slots,
        started_ns,
        state: State::Recording as u32,
        reserved: 0,
    };
    // SAFETY: the contract.
    unsafe {
        base.cast().write(header);
        // SYNC(trace.format)
        base.cast::<AtomicU64>()
            .as_ref()
            .store(MAGIC, Ordering::Release);
    }
}

/// Says that nothing more will come; when the last record is there.
///
/// # Safety
/// `base` leads to what [`format`] wrote.
pub unsafe fn end(base: NonNull<u8>) {
    let offset = offset_of!(Header, state);
    // SAFETY: the contract.
    let state = unsafe { base.add(offset).cast::<AtomicU32>().as_ref() };
    // SYNC(trace.end)
    state.store(State::Ended as u32, Ordering::Release);
}
