//! The kernel heap: grows only when it is told to.
//!
//! An allocation that fails in the middle of a system call would be a panic, so whoever needs memory calls [`ensure`]
//! first and can still refuse; plain allocation never asks for frames.

#![allow(unsafe_code)] // An allocator is unsafe by its contract.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use arch::layout::{HEAP, PAGE_SIZE};
use arch::{cpu, paging};
use linked_list_allocator::Heap;
use spin::Mutex;

/// Bytes that [`ensure`] maps at least, so that it is called for and not at each allocation.
const GROWTH: u64 = 16 * PAGE_SIZE;

/// There are no frames for the heap to grow.
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

/// Bytes that are free, for [`ensure`] to look at without the lock.
static FREE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the inner heap hands out disjoint blocks of pages that were mapped for it alone, under its lock.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        cpu::without_interrupts(|| {
            let heap = &mut self.0.lock().heap;
            let block = heap.allocate_first_fit(layout);
            FREE.store(heap.free(), Ordering::Relaxed);
            block.map_or(ptr::null_mut(), ptr::NonNull::as_ptr)
        })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = ptr::NonNull::new(block) else {
            return;
        };
        cpu::without_interrupts(|| {
            let heap = &mut self.0.lock().heap;
            // SAFETY: the caller got the block from `alloc` with this layout.
            unsafe { heap.deallocate(block, layout) };
            FREE.store(heap.free(), Ordering::Relaxed);
        });
    }
}

/// Grows the heap with frames from `source` until at least `bytes` are free. They need not be in one piece: that is
/// certain only when they are asked for at once and the heap had to grow by as much.
pub fn ensure(bytes: usize, source: &mut dyn FnMut() -> Option<u64>) -> Result<(), NoMemory> {
    if FREE.load(Ordering::Relaxed) >= bytes {
        return Ok(());
    }
    cpu::without_interrupts(|| {
        let state = &mut *ALLOCATOR.0.lock();
        let missing = (bytes as u64).saturating_sub(state.heap.free() as u64);
        let wanted = missing.max(GROWTH).next_multiple_of(PAGE_SIZE);
        for _ in 0..wanted / PAGE_SIZE {
            grow_by_a_page(state, source)?;
        }
        FREE.store(state.heap.free(), Ordering::Relaxed);
        Ok(())
    })
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

/// Bytes that are allocated.
pub fn used() -> usize {
    cpu::without_interrupts(|| ALLOCATOR.0.lock().heap.used())
}
