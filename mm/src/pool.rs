//! The frame allocator: a free list for each NUMA node, and promises.
//!
//! A region reserves its worst case when it is made, so touching memory later never fails. The
//! count of *available* frames, those that are free and promised to nobody, is kept apart from the
//! lists: whoever has lowered it, or holds a promise, finds a frame. It never zeroes: that happens
//! outside of every lock. Lock rank: frames.

use core::sync::atomic::{AtomicI64, Ordering};

use crate::lock::{Lock, Rank};
use crate::{Budget, Frame, FrameMeta, FrameState};

/// NUMA nodes at most; memory of further nodes counts as the last one's.
pub const MAX_NODES: usize = 8;

#[derive(Debug, Default)]
struct FreeList {
    /// The number of the first free frame + 1; 0 when there is none.
    head: u32,
    len: u64,
}

/// A frame allocator over metadata that the embedder provides.
#[derive(Debug)]
pub struct FramePool {
    meta: &'static [FrameMeta],
    nodes: [Lock<FreeList>; MAX_NODES],
    /// Where each node's memory begins, as frame numbers: (begin, end, node).
    ranges: Lock<NodeRanges>,
    available: AtomicI64,
    total: AtomicI64,
}

/// How many pieces the map of nodes may have.
const MAX_RANGES: usize = 64;

#[derive(Debug)]
struct NodeRanges {
    list: [(u64, u64, usize); MAX_RANGES],
    len: usize,
}

impl FramePool {
    /// An allocator for the frames 0 to `meta.len() − 1`, which are all reserved at first.
    pub fn new(meta: &'static [FrameMeta]) -> FramePool {
        FramePool {
            meta,
            nodes: [const { Lock::new(Rank::Frames, FreeList { head: 0, len: 0 }) }; MAX_NODES],
            ranges: Lock::new(
                Rank::Nodes,
                NodeRanges {
                    list: [(0, 0, 0); MAX_RANGES],
                    len: 0,
                },
            ),
            available: AtomicI64::new(0),
            total: AtomicI64::new(0),
        }
    }

    /// Hands the frames `begin..end` of a node to the allocator; they must be reserved so far.
    /// False when the map of nodes is full, and nothing was taken.
    pub fn add_range(&self, begin: u64, end: u64, node: usize) -> bool {
        let node = node.min(MAX_NODES - 1);
        {
            let mut ranges = self.ranges.lock();
            let len = ranges.len;
            let Some(slot) = ranges.list.get_mut(len) else {
                return false;
            };
            *slot = (begin, end, node);
            ranges.len += 1;
        }
        // Backwards, so that the list begins with the lowest frame.
        for number in (begin..end).rev() {
            let frame = Frame::from_number(number);
            self.meta(frame)
                .transition(FrameState::Reserved, FrameState::Free);
            self.push(frame, node);
        }
        let count = (end - begin) as i64;
        self.total.fetch_add(count, Ordering::Relaxed);
        self.available.fetch_add(count, Ordering::Relaxed);
        true
    }

    /// What is known of a frame.
    ///
    /// # Panics
    /// For a frame that does not exist.
    pub fn meta(&self, frame: Frame) -> &FrameMeta {
        &self.meta[frame.number() as usize]
    }

    /// Takes a free frame, from `node` if it has one. Its state stays [`FrameState::Free`] until
    /// the caller says what it is for.
    pub fn allocate(&self, node: Option<usize>, budget: Budget) -> Option<Frame> {
        if budget == Budget::Open && !self.reserve(1) {
            return None;
        }
        let first = node.unwrap_or(0).min(MAX_NODES - 1);
        loop {
            for turn in 0..MAX_NODES {
                let node = (first + turn) % MAX_NODES;
                let mut list = self.nodes[node].lock();
                if list.head != 0 {
                    let frame = Frame::from_number(list.head as u64 - 1);
                    list.head = self.meta(frame).next.load(Ordering::Relaxed);
                    list.len -= 1;
                    return Some(frame);
                }
            }
            // A frame that counts as available is on a list, or on its way from one to another.
            core::hint::spin_loop();
        }
    }

    /// Takes a frame back that is in state [`FrameState::Free`] again.
    pub fn free(&self, frame: Frame, budget: Budget) {
        let node = self.node_of(frame);
        self.push(frame, node);
        if budget == Budget::Open {
            self.unreserve(1);
        }
    }

    /// Promises `count` frames, or none.
    pub fn reserve(&self, count: u64) -> bool {
        let Ok(count) = i64::try_from(count) else {
            return false;
        };
        self.available
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |available| {
                (available >= count).then(|| available - count)
            })
            .is_ok()
    }

    /// Gives up promises.
    pub fn unreserve(&self, count: u64) {
        self.available.fetch_add(count as i64, Ordering::Relaxed);
    }

    /// Frames that it manages.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed) as u64
    }

    /// Frames that nobody holds, promised ones included.
    pub fn free_frames(&self) -> u64 {
        self.nodes.iter().map(|list| list.lock().len).sum()
    }

    /// Frames that nobody holds and that are promised to nobody.
    pub fn available(&self) -> u64 {
        self.available.load(Ordering::Relaxed) as u64
    }

    /// The NUMA node of a frame.
    pub fn node_of(&self, frame: Frame) -> usize {
        let ranges = self.ranges.lock();
        ranges.list[..ranges.len]
            .iter()
            .find(|(begin, end, _)| (*begin..*end).contains(&frame.number()))
            .map_or(0, |(_, _, node)| *node)
    }

    fn push(&self, frame: Frame, node: usize) {
        let meta = self.meta(frame);
        debug_assert_eq!(meta.state(), FrameState::Free);
        let mut list = self.nodes[node].lock();
        meta.next.store(list.head, Ordering::Relaxed);
        list.head = frame.number() as u32 + 1;
        list.len += 1;
    }
}
