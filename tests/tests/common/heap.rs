//! A heap of which an allocation can be made to fail, among those that may, and which sees when it is
//! asked while a lock is held above which the kernel's could not grow (I12), and for more than the kernel's
//! promises itself in a way that can't fail.
//!
//! Only what is asked for by `try_reserve` may fail: the rest the kernel has promised itself, and
//! Rust ends the program when it fails. The two look alike to an allocator but for who asks, so
//! the stack is looked at while failures are armed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Frames of the stack that are looked at: between the allocator and `try_reserve` are few.
const DEPTH: usize = 16;

thread_local! {
    /// Fallible allocations until one fails; negative for never.
    static ARMED: Cell<i64> = const { Cell::new(-1) };
    static FAILED: Cell<bool> = const { Cell::new(false) };
    static MISPLACED: Cell<bool> = const { Cell::new(false) };
    /// Bytes of the largest piece that was asked for in a way that can't fail, if it was too large for that.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// What stacks were found to be, by their return addresses.
    static KNOWN: RefCell<HashMap<[usize; DEPTH], bool>> = RefCell::default();
}

/// The allocator of a test binary.
pub struct Heap;

/// Makes the allocation of this thread that may fail after so many others fail, once.
pub fn fail_after(calls: u64) {
    FAILED.set(false);
    ARMED.set(calls as i64);
}

/// Whether it has failed; none fails from now on.
///
/// # Panics
/// When an allocation was made since failures were armed that could not have grown the heap, or that can't fail and is
/// larger than what the kernel promises itself.
pub fn stop_failing() -> bool {
    ARMED.set(-1);
    assert!(
        !MISPLACED.take(),
        "the heap is asked while a lock of rank Frames or above is held"
    );
    let largest = LARGEST.take();
    assert_eq!(
        largest, 0,
        "a piece of {largest} bytes is asked for in a way that can't fail"
    );
    FAILED.get()
}

/// Whether the allocation that is being made fails.
fn fails_now(size: usize) -> bool {
    let calls = ARMED.try_with(Cell::get).unwrap_or(-1);
    if calls < 0 {
        return false;
    }
    // What is allocated here is not what is tested.
    ARMED.set(-1);
    if !fake::heap_may_grow() {
        MISPLACED.set(true);
    }
    let fallible = is_fallible();
    if !fallible && size > mm::MAX_RECORD {
        LARGEST.set(LARGEST.get().max(size));
    }
    let fails = fallible && calls == 0;
    FAILED.set(fails);
    ARMED.set(match (fallible, fails) {
        (_, true) => -1,
        (true, false) => calls - 1,
        (false, false) => calls,
    });
    fails
}

/// Whether `try_reserve` is who asks.
fn is_fallible() -> bool {
    let mut stack = [0; DEPTH];
    let mut depth = 0;
    backtrace::trace(|frame| {
        stack[depth] = frame.ip() as usize;
        depth += 1;
        depth < DEPTH
    });
    KNOWN.with_borrow_mut(|known| {
        *known.entry(stack).or_insert_with(|| {
            stack[..depth].iter().any(|address| {
                let mut found = false;
                backtrace::resolve(*address as *mut _, |symbol| {
                    let name = symbol.name().map(|name| name.to_string());
                    found |= name.is_some_and(|name| name.contains("try_reserve"));
                });
                found
            })
        })
    })
}

// SAFETY: every call goes to the system's allocator as it came; a failure is a null pointer, which
// the contract of each of them allows.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fails_now(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if fails_now(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if fails_now(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
