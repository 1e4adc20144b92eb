//! From the memory that boot left to a frame allocator, and what else takes frames from it.

#![allow(unsafe_code)] // The frame metadata is a slice in the direct map.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::MAX_CPUS;
use arch::frames::NodeRange;
use arch::layout::PAGE_SIZE;
use arch::{cpu, frames, phys};
use boot::BootInfo;
use mm::{Budget, Frame, FrameCache, FrameMeta, FramePool, FrameState, Frames};

use crate::heap;
use crate::machine::{self, ipc};

static STACK_FRAMES: AtomicU64 = AtomicU64::new(0);
static BOOT_FRAMES: AtomicU64 = AtomicU64::new(0);
static USABLE_FRAMES: AtomicU64 = AtomicU64::new(0);
static UNUSED_FRAMES: AtomicU64 = AtomicU64::new(0);

/// What each CPU keeps of the free frames.
static CACHES: [FrameCache; MAX_CPUS] = [const { FrameCache::new() }; MAX_CPUS];

/// Frames that the kernel took for its heap and its stacks.
pub fn kernel_frames() -> u64 {
    STACK_FRAMES.load(Ordering::Relaxed) + heap::frames()
}

/// Frames that boot took for good.
pub fn boot_frames() -> u64 {
    BOOT_FRAMES.load(Ordering::Relaxed)
}

/// Frames that the memory map calls usable.
pub fn usable_frames() -> u64 {
    USABLE_FRAMES.load(Ordering::Relaxed)
}

/// Usable frames that are left alone.
pub fn unused_frames() -> u64 {
    UNUSED_FRAMES.load(Ordering::Relaxed)
}

/// Takes over all memory that boot did not need. The other CPUs are known, and don't allocate yet.
pub fn init(info: &BootInfo) {
    let mut ranges = frames::take_over();
    let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    let count = (end / PAGE_SIZE) as usize;
    let bytes = (count * size_of::<FrameMeta>()) as u64;
    // The zero frame is behind them.
    let bytes = bytes.next_multiple_of(PAGE_SIZE) + PAGE_SIZE;
    let range = ranges
        .iter_mut()
        .find(|range| range.end - range.start >= bytes)
        .expect("no run of memory is large enough for the frame metadata");
    let start = range.start;
    range.start += bytes;
    for frame in (start..start + bytes).step_by(PAGE_SIZE as usize) {
        // SAFETY: the range was usable and is nobody else's.
        unsafe { phys::zero_frame(frame) };
    }
    // SAFETY: the bytes are RAM in the direct map, aligned to a page, owned by this slice for ever;
    // all zeros is `FrameMeta::new()`.
    let meta: &'static [FrameMeta] =
        unsafe { core::slice::from_raw_parts(phys::to_virtual(start).cast::<FrameMeta>(), count) };
    let image_and_initrd = (info.image.len() + info.initrd_frames().len()) / PAGE_SIZE;
    BOOT_FRAMES.store(
        image_and_initrd + frames::taken() as u64 + bytes / PAGE_SIZE,
        Ordering::Relaxed,
    );
    USABLE_FRAMES.store(info.usable_frames, Ordering::Relaxed);
    UNUSED_FRAMES.store(info.unused_frames + frames::lost(), Ordering::Relaxed);
    let pool = FramePool::new(meta, &CACHES);
    for NodeRange { start, end, node } in ranges {
        pool.add_range(start / PAGE_SIZE, end / PAGE_SIZE, node);
    }
    for cpu in 0..cpu::count() {
        pool.set_home(cpu, cpu::node(cpu));
    }
    let zero = Frame::containing(start + bytes - PAGE_SIZE);
    pool.meta(zero)
        .transition(FrameState::Reserved, FrameState::Region);
    machine::init(pool, zero);
}

/// A frame for a kernel stack or the tables above it. It stays the kernel's.
pub fn stack_frame() -> Option<u64> {
    let memory = ipc().platform();
    let frame = memory.allocate(None, Budget::Open)?;
    memory
        .meta(frame)
        .transition(FrameState::Free, FrameState::Kernel);
    STACK_FRAMES.fetch_add(1, Ordering::Relaxed);
    Some(frame.address())
}
