//! Small blocks: lists by size in front of the heap.
//!
//! Each CPU has a list of free blocks for each class, which only the threads that run there touch: so
//! taking a block and giving it back needs no lock. A list that is full goes to the shared store as a
//! whole, and one that is empty is filled from there, so that blocks which one CPU takes and another
//! gives back come round. Memory of a class stays that of the class.

use core::alloc::Layout;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use ::lock::Mutex;
use arch::cpu;
use arch::layout::PAGE_SIZE;
use mm::lock;

/// Bytes of a block of each class: powers of two and the halves between.
pub const SIZES: [u16; CLASSES] = [
    16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048,
];
pub const CLASSES: usize = 15;

/// The largest block.
pub const LARGEST: usize = SIZES[CLASSES - 1] as usize;

/// What blocks whose size is no power of two are aligned to. The others are aligned to their size.
const GRAIN: usize = 8;

/// Blocks of a full list.
const FULL: u64 = 32;

/// The class for so many grains.
const CLASS_OF: [u8; LARGEST / GRAIN + 1] = {
    let mut table = [0; LARGEST / GRAIN + 1];
    let mut grains = 0;
    while grains < table.len() {
        let mut class = 0;
        while (SIZES[class] as usize) < grains * GRAIN {
            class += 1;
        }
        table[grains] = class as u8;
        grains += 1;
    }
    table
};

/// A free block.
#[repr(C)]
struct Block {
    next: *mut Block,
    /// Of the first block of a full list in the store: the list after it.
    next_list: *mut Block,
}

/// Free blocks of one class on one CPU.
struct List {
    first: AtomicPtr<Block>,
    len: AtomicU64,
}

/// Lines of its own for each CPU.
#[repr(align(64))]
struct Local([List; CLASSES]);

static LOCAL: [Local; cpu::MAX_CPUS] = [const {
    Local(
        [const {
            List {
                first: AtomicPtr::new(ptr::null_mut()),
                len: AtomicU64::new(0),
            }
        }; CLASSES],
    )
}; cpu::MAX_CPUS];

/// In builds with debug assertions, who is at the lists of a CPU: an interrupt handler that came
/// in between would be noticed.
struct Alone;

static BUSY: [AtomicBool; cpu::MAX_CPUS] = [const { AtomicBool::new(false) }; cpu::MAX_CPUS];

impl Alone {
    #[inline(always)]
    fn begin() -> Alone {
        debug_assert!(
            !BUSY[cpu::current()].swap(true, Ordering::Relaxed),
            "the kernel heap was entered from an interrupt handler"
        );
        Alone
    }
}

impl Drop for Alone {
    #[inline(always)]
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            BUSY[cpu::current()].store(false, Ordering::Relaxed);
        }
    }
}

/// Full lists that no CPU has, by class.
struct Store {
    first: [*mut Block; CLASSES],
    lists: [u64; CLASSES],
}

// SAFETY: the blocks are free memory that belongs to whoever has the store's lock.
unsafe impl Send for Store {}

static STORE: Mutex<Store> = Mutex::new(Store {
    first: [ptr::null_mut(); CLASSES],
    lists: [0; CLASSES],
});

/// The class that serves a layout; `None` if it is too large.
#[inline(always)]
pub fn class_of(layout: Layout) -> Option<usize> {
    let bytes = if layout.align() <= GRAIN {
        layout.size()
    } else {
        // A power of two, whose blocks are aligned to it.
        layout.size().max(layout.align()).next_power_of_two()
    };
    let class = CLASS_OF.get(bytes.div_ceil(GRAIN))?;
    Some(usize::from(*class))
}

/// Takes a block. `slab` makes memory for more of them, or a null pointer.
#[inline(always)]
pub fn take(class: usize, slab: impl FnOnce(Layout) -> *mut u8) -> *mut u8 {
    let _alone = Alone::begin();
    let list = &LOCAL[cpu::current()].0[class];
    let mut block = list.first.load(Ordering::Relaxed);
    if block.is_null() {
        block = refill(class, list, slab);
        if block.is_null() {
            return ptr::null_mut();
        }
    }
    // SAFETY: a block of the list, which is this CPU's alone, and this thread is what runs there.
    let next = unsafe { (*block).next };
    list.first.store(next, Ordering::Relaxed);
    let len = list.len.load(Ordering::Relaxed);
    list.len.store(len.wrapping_sub(1), Ordering::Relaxed);
    block.cast()
}

/// Gives a block back.
///
/// # Safety
/// [`take`] gave it for this class, and nobody uses it any more.
#[inline(always)]
pub unsafe fn give(class: usize, block: *mut u8) {
    let _alone = Alone::begin();
    let list = &LOCAL[cpu::current()].0[class];
    let mut len = list.len.load(Ordering::Relaxed);
    if len >= FULL {
        store_away(class, list);
        len = 0;
    }
    let block = block.cast::<Block>();
    // SAFETY: the caller gave the block up; it has room for and the alignment of a `Block`.
    unsafe { (*block).next = list.first.load(Ordering::Relaxed) };
    list.first.store(block, Ordering::Relaxed);
    list.len.store(len + 1, Ordering::Relaxed);
}

/// Bytes of all blocks that nobody has. Other CPUs take and give meanwhile.
pub fn free_bytes() -> usize {
    let stored = lock::take(&STORE).lists;
    let of_class = |class: usize| {
        let lists = LOCAL.iter().map(|local| &local.0[class].len);
        let local: u64 = lists.map(|len| len.load(Ordering::Relaxed)).sum();
        (local + stored[class] * FULL) as usize * usize::from(SIZES[class])
    };
    (0..CLASSES).map(of_class).sum()
}

/// The memory that is taken for blocks of a class at once, and how many those are.
pub fn slab_of(class: usize) -> Option<(Layout, usize)> {
    let size = usize::from(SIZES[class]);
    let count = (PAGE_SIZE as usize / size).min(FULL as usize);
    let align = if size.is_power_of_two() { size } else { GRAIN };
    let layout = Layout::from_size_align(count * size, align).ok()?;
    Some((layout, count))
}

/// Fills an empty list and returns its first block.
#[cold]
#[inline(never)]
fn refill(class: usize, list: &List, slab: impl FnOnce(Layout) -> *mut u8) -> *mut Block {
    let mut store = lock::take(&STORE);
    let stored = store.first[class];
    if !stored.is_null() {
        // SAFETY: the first block of a list in the store, whose lock is held.
        store.first[class] = unsafe { (*stored).next_list };
        store.lists[class] -= 1;
        list.first.store(stored, Ordering::Relaxed);
        list.len.store(FULL, Ordering::Relaxed);
        return stored;
    }
    drop(store);
    let size = usize::from(SIZES[class]);
    let Some((layout, count)) = slab_of(class) else {
        return ptr::null_mut();
    };
    let memory = slab(layout);
    if memory.is_null() {
        return ptr::null_mut();
    }
    let mut next = ptr::null_mut();
    for index in (0..count).rev() {
        // SAFETY: within the memory that was made just now for these blocks.
        unsafe {
            let block = memory.add(index * size).cast::<Block>();
            (*block).next = next;
            next = block;
        }
    }
    list.first.store(next, Ordering::Relaxed);
    list.len.store(count as u64, Ordering::Relaxed);
    next
}

/// Empties a full list into the store.
#[cold]
#[inline(never)]
fn store_away(class: usize, list: &List) {
    let first = list.first.swap(ptr::null_mut(), Ordering::Relaxed);
    let mut store = lock::take(&STORE);
    // SAFETY: the first block of the list, which was this CPU's alone and is now the store's.
    unsafe { (*first).next_list = store.first[class] };
    store.first[class] = first;
    store.lists[class] += 1;
}
