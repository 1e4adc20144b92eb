//! The kernel heap: grows only when it is told to.
//!
//! An allocation that fails in the middle of a system call would be a panic, so whoever needs memory calls [`ensure`]
//! first and can still refuse; plain allocation never asks for frames.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

use arch::layout::{HEAP, PAGE_SIZE};
use arch::{cpu, paging};
use linked_list_allocator::Heap;
use spin::Mutex;

/// Bytes that [`ensure`] maps at least, so that it is called for and not at each allocation.
const GROWTH: u64 = 16 * PAGE_SIZE;

/// There are no frames for the heap to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

struct KernelHeap(Mutex<Heap>);

#[global_allocator]
static ALLOCATOR: KernelHeap = KernelHeap(Mutex::new(Heap::empty()));

// SAFETY: the inner heap hands out disjoint blocks of pages that were mapped for it alone, under its lock.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = cpu::without_interrupts(|| self.0.lock().allocate_first_fit(layout));
        block.map_or(ptr::null_mut(), ptr::NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = ptr::NonNull::new(block) else {
            return;
        };
        // SAFETY: the caller got the block from `alloc` with this layout.
        cpu::without_interrupts(|| unsafe { self.0.lock().deallocate(block, layout) });
    }
}

/// Grows the heap with frames from `source` until at least `bytes` are free. They need not be in one piece: that is
/// certain only when they are asked for at once and the heap had to grow by as much.
pub fn ensure(bytes: usize, source: &mut dyn FnMut() -> Option<u64>) -> Result<(), NoMemory> {
    cpu::without_interrupts(|| {
        let mut heap = ALLOCATOR.0.lock();
        let missing = (bytes as u64).saturating_sub(heap.free() as u64);
        if missing == 0 {
            return Ok(());
        }
        let wanted = missing.max(GROWTH).next_multiple_of(PAGE_SIZE);
        let mut grown = 0;
        while grown < wanted {
            let end = HEAP.start + heap.size() as u64;
            let frame = source().ok_or(NoMemory)?;
            // SAFETY: the source gave the frame away, and the page above the heap's end becomes the heap's.
            unsafe { paging::map_kernel_page(end, frame, source) }.map_err(|_| NoMemory)?;
            if heap.size() == 0 {
                // SAFETY: the first page of the window, mapped just now and used by nobody else.
                unsafe { heap.init(HEAP.start as *mut u8, PAGE_SIZE as usize) };
            } else {
                // SAFETY: the page behind the heap was mapped just now.
                unsafe { heap.extend(PAGE_SIZE as usize) };
            }
            grown += PAGE_SIZE;
        }
        Ok(())
    })
}

/// Bytes that are allocated.
pub fn used() -> usize {
    cpu::without_interrupts(|| ALLOCATOR.0.lock().used())
}
