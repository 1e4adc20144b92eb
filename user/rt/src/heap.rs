//! The heap: grows by a region at a time.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

use abi::limits::{LEAF_SIZE, PLACED_FROM};
use abi::{CachePolicy, MapFlags, RegionFlags, Rights};
use linked_list_allocator::Heap;

use crate::{Mutex, sys};

/// Where the heap is put if nothing is there: regions that follow one another make one heap.
const HINT: u64 = 1 << 40;
const _: () = assert!(HINT < PLACED_FROM, "the kernel puts nothing there");

struct Regions {
    heap: Heap,
    end: u64,
}

struct Allocator(Mutex<Regions>);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(Mutex::new(Regions {
    heap: Heap::empty(),
    end: HINT,
}));

impl Regions {
    /// Makes room for at least `bytes` more.
    fn grow(&mut self, bytes: usize) -> Option<()> {
        let len = (bytes as u64).checked_next_multiple_of(LEAF_SIZE)?;
        // SAFETY: a new region at a place where nothing is mapped touches nobody's memory.
        let mapped = unsafe {
            let region =
                sys::region_create(len, RegionFlags::empty(), CachePolicy::WriteBack, u64::MAX)
                    .ok()?;
            let rights = Rights::READ | Rights::WRITE;
            let mapped = sys::map(region, self.end, 0, 0, rights, MapFlags::FIXED);
            // The mapping keeps the region.
            let _ = sys::cap_drop(region);
            mapped.ok()?
        };
        if self.end == HINT {
            // SAFETY: the memory is mapped, fresh, and the heap's alone for ever.
            unsafe { self.heap.init(mapped as *mut u8, len as usize) };
        } else {
            // SAFETY: it begins where the heap ends, and is the heap's alone for ever.
            unsafe { self.heap.extend(len as usize) };
        }
        self.end += len;
        Some(())
    }
}

// SAFETY: the inner heap hands out disjoint blocks of memory that is its alone, under its lock.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut regions = self.0.lock();
        if let Ok(block) = regions.heap.allocate_first_fit(layout) {
            return block.as_ptr();
        }
        // What is free at the end of the heap may be too short or misaligned for the block.
        if regions.grow(layout.size() + layout.align()).is_none() {
            return ptr::null_mut();
        }
        let block = regions.heap.allocate_first_fit(layout);
        block.map_or(ptr::null_mut(), ptr::NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = ptr::NonNull::new(block) {
            // SAFETY: the caller got the block from `alloc` with this layout.
            unsafe { self.0.lock().heap.deallocate(block, layout) };
        }
    }
}
