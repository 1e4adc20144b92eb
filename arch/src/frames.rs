//! Frames before there is a frame allocator: a bump over the usable ranges, which counts what it gave.
//!
//! The page tables, the first stacks and whatever the kernel needs before its own allocator come from here.
//! [`take_over`] ends it: what is left then belongs to the caller.

use arrayvec::ArrayVec;
use boot::{BootInfo, PhysicalRange};
use spin::Mutex;

use crate::{acpi, cpu, layout::PAGE_SIZE};

/// How many ranges [`take_over`] can give.
pub const MAX_RANGES: usize = 128;

/// Usable frames of one NUMA node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRange {
    /// First byte, aligned to a frame.
    pub start: u64,
    /// One past the last byte, aligned to a frame.
    pub end: u64,
    /// Dense NUMA node number.
    pub node: usize,
}

struct EarlyFrames {
    ranges: ArrayVec<NodeRange, MAX_RANGES>,
    /// The range that frames are taken from; those before it are empty.
    first: usize,
    taken: usize,
    /// Frames of pieces for which there was no room.
    lost: u64,
}

static EARLY: Mutex<EarlyFrames> = Mutex::new(EarlyFrames {
    ranges: ArrayVec::new_const(),
    first: 0,
    taken: 0,
    lost: 0,
});

/// Gives the boot information's memory to the early allocator, split by NUMA node.
pub(crate) fn init(info: &BootInfo) {
    let mut early = EARLY.lock();
    for range in &info.memory {
        let lost = split_by_node(*range, &mut early.ranges);
        early.lost += lost / PAGE_SIZE;
    }
}

/// Appends `range`, cut where the node changes. Memory that no table mentions belongs to node 0. Answers the bytes
/// that had no room.
fn split_by_node(range: PhysicalRange, out: &mut ArrayVec<NodeRange, MAX_RANGES>) -> u64 {
    let mut start = range.start;
    while start < range.end {
        let mut end = range.end;
        let mut node = 0;
        for affinity in acpi::memory_affinities() {
            let memory = affinity.range.inner_frames();
            if memory.start <= start && start < memory.end {
                node = affinity.node;
                end = end.min(memory.end);
            } else if start < memory.start {
                end = end.min(memory.start);
            }
        }
        if out.try_push(NodeRange { start, end, node }).is_err() {
            return range.end - start;
        }
        start = end;
    }
    0
}

/// A frame of usable memory, lowest first, with whatever was in it. `None` when there is none, and always after
/// [`take_over`].
pub fn allocate() -> Option<u64> {
    cpu::without_interrupts(|| {
        let mut early = EARLY.lock();
        loop {
            let first = early.first;
            let range = early.ranges.get_mut(first)?;
            if range.start < range.end {
                let frame = range.start;
                range.start += PAGE_SIZE;
                early.taken += 1;
                return Some(frame);
            }
            early.first += 1;
        }
    })
}

/// How many frames [`allocate`] gave.
pub fn taken() -> usize {
    cpu::without_interrupts(|| EARLY.lock().taken)
}

/// Usable frames that are lost, because memory is in more than [`MAX_RANGES`] pieces.
pub fn lost() -> u64 {
    cpu::without_interrupts(|| EARLY.lock().lost)
}

/// All frames not yet given, as ascending ranges with their nodes. The early allocator is empty from then on.
pub fn take_over() -> ArrayVec<NodeRange, MAX_RANGES> {
    cpu::without_interrupts(|| {
        let mut early = EARLY.lock();
        let mut ranges = core::mem::take(&mut early.ranges);
        ranges.retain(|range| range.start < range.end);
        ranges
    })
}

/// All frames not yet given, without taking them.
pub fn remaining() -> ArrayVec<NodeRange, MAX_RANGES> {
    cpu::without_interrupts(|| EARLY.lock().ranges.clone())
}
