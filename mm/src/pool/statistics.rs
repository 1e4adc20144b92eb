//! What each node has and has given. The CPUs count for their home what they give of what they keep,
//! so that counting costs no more than an addition; the rest is counted at the node.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{FramePool, MAX_NODES, MAX_ORDER};
use crate::{CpuId, Frame};

/// What a node has, and what was given from it since boot, in frames. Nothing is taken off when
/// frames are given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStatistics {
    /// Frames that are managed.
    pub total: u64,
    /// Frames that nobody holds, promised ones included.
    pub free: u64,
    /// Given to who asked for this node.
    pub given_as_asked: u64,
    /// Given, of other nodes, to who asked for this one.
    pub given_elsewhere: u64,
    /// Given to who asked for no node.
    pub given_unasked: u64,
}

/// What a node counts beside what the CPUs count for it.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) total: AtomicU64,
    pub(super) given_as_asked: AtomicU64,
    pub(super) given_elsewhere: AtomicU64,
    pub(super) given_unasked: AtomicU64,
}

impl Counters {
    pub(super) const fn new() -> Counters {
        Counters {
            total: AtomicU64::new(0),
            given_as_asked: AtomicU64::new(0),
            given_elsewhere: AtomicU64::new(0),
            given_unasked: AtomicU64::new(0),
        }
    }
}

impl FramePool {
    /// Says which node a CPU belongs to: it keeps frames of that one, and is given them when it
    /// asks for none in particular.
    pub fn set_home(&self, cpu: CpuId, node: usize) {
        let mut cache = self.caches[cpu].lock();
        let kept = cache.empty();
        // What was counted so far was of the old home.
        let counters = &self.counters[cache.home];
        let asked = core::mem::take(&mut cache.given_as_asked);
        counters.given_as_asked.fetch_add(asked, Ordering::Relaxed);
        let unasked = core::mem::take(&mut cache.given_unasked);
        counters.given_unasked.fetch_add(unasked, Ordering::Relaxed);
        cache.home = node.min(MAX_NODES - 1);
        drop(cache);
        kept.into_iter().for_each(|stack| self.give_stack(stack));
    }

    /// Frames that it manages.
    pub fn total(&self) -> u64 {
        self.counters
            .iter()
            .map(|node| node.total.load(Ordering::Relaxed))
            .sum()
    }

    /// Frames that nobody holds, promised ones included. Exact while nobody takes or frees any.
    pub fn free_frames(&self) -> u64 {
        self.statistics().iter().map(|node| node.free).sum()
    }

    /// Frames that nobody holds and that are promised to nobody.
    pub fn available(&self) -> u64 {
        self.available.load(Ordering::Relaxed) as u64
    }

    /// The NUMA node of a frame.
    pub fn node_of(&self, frame: Frame) -> usize {
        self.meta(frame).node()
    }

    /// What each node has and has given. Exact while nobody takes or frees frames.
    pub fn statistics(&self) -> [NodeStatistics; MAX_NODES] {
        let mut nodes = core::array::from_fn(|node| {
            let counters = &self.counters[node];
            NodeStatistics {
                total: counters.total.load(Ordering::Relaxed),
                free: self.nodes[node].lock().free(),
                given_as_asked: counters.given_as_asked.load(Ordering::Relaxed),
                given_elsewhere: counters.given_elsewhere.load(Ordering::Relaxed),
                given_unasked: counters.given_unasked.load(Ordering::Relaxed),
            }
        });
        for cache in self.caches {
            let cache = cache.lock();
            let node: &mut NodeStatistics = &mut nodes[cache.home];
            node.free += cache.len();
            node.given_as_asked += cache.given_as_asked;
            node.given_unasked += cache.given_unasked;
        }
        nodes
    }

    /// The free blocks of a node by order, after what the CPUs keep was collected.
    pub fn free_blocks(&self, node: usize) -> [u64; MAX_ORDER as usize + 1] {
        self.collect_kept();
        self.nodes[node].lock().blocks(self.meta)
    }
}
