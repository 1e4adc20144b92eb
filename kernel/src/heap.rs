//! The kernel heap. It grows out of frames that were promised to it beforehand.
//!
//! An allocation that fails in the middle of a system call would be a panic. So whoever is going to
//! allocate calls [`ensure`] first, which promises the heap frames, and can still refuse. An
//! allocation that finds no place, however the free bytes are scattered, makes the heap grow: out of
//! free memory while there is any, then out of the promise. The new pages follow one another, so
//! anything that fits them succeeds. The heap never shrinks.
//!
//! Blocks of up to 2 KiB come from lists by size ([`small`]), which take their memory from the heap. What is asked
//! for in a way that can't fail is one of those, always ([`draws`]).
//!
//! Interrupt handlers neither allocate nor free, and threads are not preempted in the kernel. So what is
//! a CPU's own needs no protection, and locks are held with interrupts as they are.

#![allow(unsafe_code)] // An allocator is unsafe by its contract.

mod draws;
mod small;

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::lock::Mutex;
use arch::layout::{HEAP, PAGE_SIZE};
use arch::{cpu, paging};
use linked_list_allocator::Heap;
use mm::{Budget, FrameState, Frames, lock};

use crate::machine;
use draws::Piece;

/// Frames that are promised to the heap for what each CPU may be doing: more than a call allocates
/// in pieces that can't fail, the page for each size of them where none is free, and the page tables; see
/// [`draws`].
const PROMISED_PER_CPU: u64 = 32;

fn promised_per_cpu() -> u64 {
    match mm::sabotaged!("heap_promise_too_small") {
        true => 12,
        false => PROMISED_PER_CPU,
    }
}

/// Pages of one request that may come out of the promise. What can't fail is smaller; what is larger
/// is asked for in a way that can.
const MOST_ON_PROMISE: u64 = 2;

/// There are no frames to promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

struct KernelHeap(Mutex<State>);

struct State {
    heap: Heap,
    /// A frame that could not be mapped for want of a page table: the next growth begins with it.
    spare: Option<u64>,
}

#[global_allocator]
static ALLOCATOR: KernelHeap = KernelHeap(Mutex::new(State {
    heap: Heap::empty(),
    spare: None,
}));

/// Frames that are promised and not drawn yet.
static PROMISED: AtomicU64 = AtomicU64::new(0);
/// Whether nobody has drawn on the promise since it was renewed for all CPUs.
static UNTOUCHED: AtomicBool = AtomicBool::new(false);
/// Frames that were drawn.
static DRAWN: AtomicU64 = AtomicU64::new(0);

// SAFETY: blocks of a class are disjoint parts of memory that the inner heap gave for them, and are in one list or with
// one owner; the inner heap hands out disjoint blocks of pages that were mapped for it alone, under its lock.
unsafe impl GlobalAlloc for KernelHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match small::class_of(layout) {
            Some(class) => {
                if cfg!(debug_assertions) {
                    draws::count(class);
                }
                small::take(class, |slab| self.allocate(slab, Piece::Small))
            }
            None => self.allocate(layout, Piece::Larger),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match small::class_of(layout) {
            // SAFETY: the caller got the block from `alloc` with this layout, so from this class.
            Some(class) => unsafe { small::give(class, block) },
            // SAFETY: likewise from the inner heap.
            None => unsafe { self.deallocate(block, layout) },
        }
    }
}

impl KernelHeap {
    /// Takes a block from the inner heap, which grows if it has to.
    #[inline(never)]
    fn allocate(&self, layout: Layout, piece: Piece) -> *mut u8 {
        let state = &mut *lock::take(&self.0);
        if let Ok(block) = state.heap.allocate_first_fit(layout) {
            return block.as_ptr();
        }
        // What is free at the heap's end may be too short, or misaligned.
        if grow(state, draws::pages_of(layout), piece).is_err() {
            return ptr::null_mut();
        }
        let block = state.heap.allocate_first_fit(layout);
        block.map_or(ptr::null_mut(), ptr::NonNull::as_ptr)
    }

    /// Gives a block back to the inner heap.
    ///
    /// # Safety
    /// [`allocate`](Self::allocate) gave it for this layout, and nobody uses it any more.
    #[inline(never)]
    unsafe fn deallocate(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = ptr::NonNull::new(block) {
            // SAFETY: the caller's.
            unsafe { lock::take(&self.0).heap.deallocate(block, layout) };
        }
    }
}

/// Makes the first pages of the heap out of frames that boot has, before there is an allocator.
pub fn begin(bytes: u64, source: &mut dyn FnMut() -> Option<u64>) -> Result<(), NoMemory> {
    let state = &mut *ALLOCATOR.0.lock();
    for _ in 0..bytes.div_ceil(PAGE_SIZE) {
        grow_by_a_page(state, source)?;
    }
    Ok(())
}

/// Renews the promise for what one call allocates, which begins. When it fails, nothing was taken.
#[inline]
pub fn ensure() -> Result<(), NoMemory> {
    promise()?;
    if cfg!(debug_assertions) {
        draws::begin();
    }
    Ok(())
}

/// Renews the promise without a call that begins, as boot does.
#[inline]
pub fn promise() -> Result<(), NoMemory> {
    if UNTOUCHED.load(Ordering::Relaxed) || mm::sabotaged!("heap_not_promised") {
        return Ok(());
    }
    renew()
}

#[cold]
fn renew() -> Result<(), NoMemory> {
    // Who draws has this lock: nobody does while the promise is made whole.
    let _state = lock::take(&ALLOCATOR.0);
    let wanted = promised_per_cpu() * (cpu::count() as u64 + 1);
    let promised = PROMISED.load(Ordering::Relaxed);
    let missing = wanted.saturating_sub(promised);
    if missing > 0 && !machine::ipc().platform().reserve(missing) {
        return Err(NoMemory);
    }
    PROMISED.store(promised + missing, Ordering::Relaxed);
    draws::renewed();
    UNTOUCHED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Frames that the heap has drawn beyond what boot gave it.
pub fn frames() -> u64 {
    DRAWN.load(Ordering::Relaxed)
}

/// Frames that are promised to the heap.
pub fn promised() -> u64 {
    PROMISED.load(Ordering::Relaxed)
}

/// Bytes that are allocated.
pub fn used() -> usize {
    let taken = lock::take(&ALLOCATOR.0).heap.used();
    taken.saturating_sub(small::free_bytes())
}

/// Grows by pages that follow one another: out of memory that is promised to nobody while there is
/// enough, so that the size of a request is limited by memory only; else out of the promise.
fn grow(state: &mut State, pages: u64, piece: Piece) -> Result<(), NoMemory> {
    let memory = machine::ipc().platform();
    // A table for each 512 pages, and what they and the pages hang on.
    let frames = pages + pages / 512 + 3;
    if memory.reserve(frames) {
        let mut left = frames;
        let mut source = || {
            left = left.checked_sub(1)?;
            reserved_frame()
        };
        let grown = (0..pages).try_for_each(|_| grow_by_a_page(state, &mut source));
        memory.unreserve(left);
        return grown;
    }
    if pages > MOST_ON_PROMISE || pages > PROMISED.load(Ordering::Relaxed) {
        return Err(NoMemory);
    }
    if piece == Piece::Larger && !draws::draw_larger(pages) {
        return Err(NoMemory);
    }
    let grown = (0..pages).try_for_each(|_| grow_by_a_page(state, &mut promised_frame));
    if cfg!(debug_assertions) && piece == Piece::Larger {
        draws::check_rest(PROMISED.load(Ordering::Relaxed));
    }
    grown
}

/// Draws on the promise, under the lock of the heap.
fn promised_frame() -> Option<u64> {
    let left = PROMISED.load(Ordering::Relaxed).checked_sub(1)?;
    PROMISED.store(left, Ordering::Relaxed);
    UNTOUCHED.store(false, Ordering::Relaxed);
    reserved_frame()
}

/// A frame for the heap on a promise that was made for it.
fn reserved_frame() -> Option<u64> {
    let memory = machine::ipc().platform();
    let frame = memory.allocate(None, Budget::Reserved)?;
    memory
        .meta(frame)
        .transition(FrameState::Free, FrameState::Kernel);
    DRAWN.fetch_add(1, Ordering::Relaxed);
    Some(frame.address())
}

fn grow_by_a_page(
    state: &mut State,
    source: &mut dyn FnMut() -> Option<u64>,
) -> Result<(), NoMemory> {
    let end = HEAP.start + state.heap.size() as u64;
    let frame = match state.spare.take() {
        Some(frame) => frame,
        None => source().ok_or(NoMemory)?,
    };
    // SAFETY: the source gave the frame away, and the page above the heap's end becomes the heap's.
    if unsafe { paging::map_kernel_page(end, frame, source) }.is_err() {
        state.spare = Some(frame);
        return Err(NoMemory);
    }
    if state.heap.size() == 0 {
        // SAFETY: the first page of the window, mapped just now and used by nobody else.
        unsafe { state.heap.init(HEAP.start as *mut u8, PAGE_SIZE as usize) };
    } else {
        // SAFETY: the page behind the heap was mapped just now.
        unsafe { state.heap.extend(PAGE_SIZE as usize) };
    }
    Ok(())
}
