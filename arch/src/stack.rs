//! Kernel stacks: 16 KiB each, above an unmapped guard of the same size.
//!
//! A stack that is dropped keeps its frames and is the first to be given again: unmapping would cost a shootdown.

use core::mem;
use core::ops::Range;

use spin::Mutex;

use crate::cpu;
use crate::layout::{PAGE_SIZE, STACKS};
use crate::paging::{self, FrameSource, MapError};

/// Bytes of a kernel stack.
pub const STACK_SIZE: u64 = 4 * PAGE_SIZE;
/// From one stack to the next, guard included.
const STRIDE: u64 = 2 * STACK_SIZE;
const SLOTS: u64 = (STACKS.end - STACKS.start) / STRIDE;

struct Pool {
    /// Slots that were ever given; those from here on are unmapped, except for `partial` bytes of the first.
    given: u64,
    /// What an attempt that ran out of memory left mapped in slot `given`.
    partial: u64,
    /// Top of the first free stack, 0 for none. Each free stack holds the next one's top in its lowest word.
    free: u64,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    given: 0,
    partial: 0,
    free: 0,
});

/// A kernel stack of its owner. Dropping it gives it back.
///
/// What is not guaranteed: that it is empty or zeroed; and nobody stops an owner from dropping a stack that a CPU
/// still runs on, so a thread's stack is dropped by another thread.
#[derive(Debug)]
pub struct KernelStack {
    top: u64,
}

impl KernelStack {
    /// A free stack, or a new one with frames from `source`. `Err(Range)` when all 65536 are in use.
    pub fn allocate(source: FrameSource) -> Result<Self, MapError> {
        cpu::without_interrupts(|| {
            let mut pool = POOL.lock();
            if pool.free != 0 {
                let top = pool.free;
                // SAFETY: a free stack is mapped, and its lowest word was written when it was freed.
                pool.free = unsafe { ((top - STACK_SIZE) as *const u64).read() };
                return Ok(Self { top });
            }
            if pool.given == SLOTS {
                return Err(MapError::Range);
            }
            let bottom = STACKS.start + pool.given * STRIDE + STACK_SIZE;
            while pool.partial < STACK_SIZE {
                let frame = source().ok_or(MapError::NoMemory)?;
                // SAFETY: the source gave the frame away, and the page belongs to the stack that is being made.
                unsafe { paging::map_kernel_page(bottom + pool.partial, frame, source)? };
                pool.partial += PAGE_SIZE;
            }
            pool.partial = 0;
            pool.given += 1;
            Ok(Self {
                top: bottom + STACK_SIZE,
            })
        })
    }

    /// The initial stack pointer, 16-byte aligned.
    pub fn top(&self) -> u64 {
        self.top
    }

    /// Keeps the stack in use for ever and returns its top.
    pub fn leak(self) -> u64 {
        let top = self.top;
        mem::forget(self);
        top
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        cpu::without_interrupts(|| {
            let mut pool = POOL.lock();
            // SAFETY: the stack is mapped and nobody's any more.
            unsafe { ((self.top - STACK_SIZE) as *mut u64).write(pool.free) };
            pool.free = self.top;
        });
    }
}

/// The stack that `address` lies in, the boot CPU's early one included. For reports: takes no lock.
pub(crate) fn bounds(address: u64) -> Option<Range<u64>> {
    let (bottom, top) = boot::early_stack();
    if (bottom..top).contains(&address) {
        return Some(bottom..top);
    }
    if !STACKS.contains(&address) {
        return None;
    }
    let base = STACKS.start + (address - STACKS.start) / STRIDE * STRIDE;
    let bounds = base + STACK_SIZE..base + STRIDE;
    let mapped = paging::kernel_frame(bounds.start).is_some()
        && paging::kernel_frame(bounds.end - 1).is_some();
    (bounds.contains(&address) && mapped).then_some(bounds)
}

/// Whether `address` lies in the guard below a stack.
pub(crate) fn is_guard(address: u64) -> bool {
    STACKS.contains(&address) && (address - STACKS.start) % STRIDE < STACK_SIZE
}
