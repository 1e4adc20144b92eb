//! The frame allocator: a buddy allocator for each NUMA node, the frames that each CPU keeps in
//! front of it, and promises.
//!
//! A region reserves its worst case when it is made, so touching memory later never fails. The
//! count of *available* frames, those that are free and promised to nobody, is kept apart from the
//! lists: whoever has lowered it, or holds a promise, finds a frame, wherever it is kept. It never
//! zeroes: that happens outside of every lock.
//!
//! Where frames are wanted of a node that has none, they come from another, and both are counted
//! ([`NodeStatistics`]). Frames of the wanted node that *other CPUs* keep, at most 64 each, are not
//! collected for that; they are when nothing else is left, and for runs.

mod buddy;
mod cache;
mod canary;
mod place;
mod statistics;

use core::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use abi::limits::MAX_MEMORY_NODES;
use buddy::Buddy;
pub use cache::FrameCache;
use cache::{BATCH, BATCH_ORDER, Stack};
use place::{HELD, INTERIOR, place, set_next, set_place};
use statistics::Counters;
pub use statistics::NodeStatistics;

use crate::lock::{Lock, Rank};
use crate::{Budget, CpuId, Cpus, Frame, FrameMeta, FrameState, Frames};

/// NUMA nodes at most; memory of further nodes counts as the last one's.
pub const MAX_NODES: usize = MAX_MEMORY_NODES;

/// The order of the largest run: 2^18 frames are 1 GiB.
pub const MAX_ORDER: u32 = 18;

const ORDERS: usize = MAX_ORDER as usize + 1;

/// A frame allocator over metadata that the embedder provides.
#[derive(Debug)]
pub struct FramePool {
    meta: &'static [FrameMeta],
    caches: &'static [FrameCache],
    nodes: [Lock<Buddy>; MAX_NODES],
    counters: [Counters; MAX_NODES],
    /// The nodes from this one on have no memory.
    node_count: AtomicUsize,
    available: AtomicI64,
}

impl FramePool {
    /// An allocator for the frames 0 to `meta.len() − 1`, which are all reserved at first, and for
    /// the CPUs 0 to `caches.len() − 1`.
    ///
    /// # Panics
    /// For 16 TiB or more.
    pub fn new(meta: &'static [FrameMeta], caches: &'static [FrameCache]) -> FramePool {
        assert!(meta.len() < u32::MAX as usize, "frames have 32-bit numbers");
        FramePool {
            meta,
            caches,
            nodes: core::array::from_fn(|node| Lock::new(Rank::Nodes, Buddy::new(node))),
            counters: [const { Counters::new() }; MAX_NODES],
            node_count: AtomicUsize::new(1),
            available: AtomicI64::new(0),
        }
    }

    /// Hands the frames `begin..end` of a node to the allocator; they must be reserved so far.
    pub fn add_range(&self, begin: u64, end: u64, node: usize) {
        let node = node.min(MAX_NODES - 1);
        for number in begin..end {
            let meta = &self.meta[number as usize];
            meta.transition(FrameState::Reserved, FrameState::Free);
            meta.set_node(node);
            set_place(meta, INTERIOR);
        }
        let mut buddy = self.nodes[node].lock();
        let mut at = begin;
        while at < end {
            let order = at.trailing_zeros().min((end - at).ilog2()).min(MAX_ORDER);
            buddy.give(self.meta, at, order);
            at += 1 << order;
        }
        drop(buddy);
        self.node_count.fetch_max(node + 1, Ordering::Relaxed);
        let count = end.saturating_sub(begin);
        self.counters[node]
            .total
            .fetch_add(count, Ordering::Relaxed);
        self.unreserve(count);
    }

    /// What is known of a frame.
    ///
    /// # Panics
    /// For a frame that does not exist.
    #[inline]
    pub fn meta(&self, frame: Frame) -> &FrameMeta {
        &self.meta[frame.number() as usize]
    }

    /// Takes a free frame, from `node` while it has one, else from the node of the current CPU and
    /// then from any. Its state stays [`FrameState::Free`] until the caller says what it is for.
    ///
    /// # Panics
    /// In builds with debug assertions, when the frame was written while it was free.
    #[inline]
    pub fn allocate<M: Frames + Cpus>(
        &self,
        machine: &M,
        node: Option<usize>,
        budget: Budget,
    ) -> Option<Frame> {
        if budget == Budget::Open && !self.reserve(1) {
            return None;
        }
        let kept = {
            let cache = self.caches[machine.current()].try_lock();
            cache.and_then(|mut cache| cache.take(self.meta, node))
        };
        let number = match kept {
            Some(number) => number,
            None => self.take_slowly(machine.current(), node),
        };
        let frame = Frame::from_number(number);
        canary::check(machine, frame);
        Some(frame)
    }

    /// Takes a frame back that is in state [`FrameState::Free`] again.
    ///
    /// # Panics
    /// When it is in the allocator already, as far as that can be seen; in builds with debug
    /// assertions also when it is still counted as a leaf of 2 MiB.
    #[inline]
    pub fn free<M: Frames + Cpus>(&self, machine: &M, frame: Frame, budget: Budget) {
        let meta = self.meta(frame);
        debug_assert_eq!(meta.state(), FrameState::Free);
        debug_assert!(!meta.is_counted(), "{frame:?} heads a leaf that is counted");
        if place(meta) != HELD {
            freed_twice(frame);
        }
        canary::poison(machine, frame);
        let is_kept = {
            let cache = self.caches[machine.current()].try_lock();
            cache.is_some_and(|mut cache| cache.keep(meta, frame.number()))
        };
        if !is_kept {
            self.give_slowly(machine.current(), frame.number(), budget);
        } else if budget == Budget::Open {
            self.unreserve(1);
        }
    }

    /// Takes 2^`order` free frames that follow one another, the first at a multiple of their
    /// number. `None` when there is no such run, and nothing was taken. A run lies in one node.
    ///
    /// # Panics
    /// As [`allocate`](FramePool::allocate).
    pub fn allocate_run<M: Frames + Cpus>(
        &self,
        machine: &M,
        order: u32,
        node: Option<usize>,
        budget: Budget,
    ) -> Option<Frame> {
        if order == 0 {
            return self.allocate(machine, node, budget);
        }
        if order > MAX_ORDER || budget == Budget::Open && !self.reserve(1 << order) {
            return None;
        }
        let cpu = machine.current();
        let found = self.take_run(cpu, order, node).or_else(|| {
            // What the CPUs keep may be what is missing between two blocks.
            self.collect_kept();
            self.take_run(cpu, order, node)
        });
        let Some(first) = found else {
            if budget == Budget::Open {
                self.unreserve(1 << order);
            }
            return None;
        };
        set_next(&self.meta[first as usize], 0);
        if cfg!(debug_assertions) {
            for number in first..first + (1 << order) {
                set_place(&self.meta[number as usize], HELD);
                canary::check(machine, Frame::from_number(number));
            }
        }
        Some(Frame::from_number(first))
    }

    /// Takes 2^`order` frames back that follow one another, the first at a multiple of their
    /// number, all of one node and in state [`FrameState::Free`] again.
    ///
    /// # Panics
    /// When the run is not aligned, or a frame of it is in the allocator already, as far as that
    /// can be seen.
    pub fn free_run<M: Frames + Cpus>(
        &self,
        machine: &M,
        first: Frame,
        order: u32,
        budget: Budget,
    ) {
        if order == 0 {
            return self.free(machine, first, budget);
        }
        let begin = first.number();
        assert!(
            order <= MAX_ORDER && begin.trailing_zeros() >= order,
            "{first:?} is not the first of a run of order {order}"
        );
        let head = self.meta(first);
        head.set_counted(false);
        let node = head.node();
        for number in begin..begin + (1 << order) {
            let frame = Frame::from_number(number);
            let meta = self.meta(frame);
            debug_assert_eq!(meta.state(), FrameState::Free, "{frame:?}");
            debug_assert_eq!(meta.node(), node, "{frame:?}");
            if place(meta) != HELD {
                freed_twice(frame);
            }
            canary::poison(machine, frame);
            set_place(meta, INTERIOR);
        }
        self.nodes[node].lock().give(self.meta, begin, order);
        if budget == Budget::Open {
            self.unreserve(1 << order);
        }
    }

    /// Promises `count` frames, or none.
    #[inline]
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
    #[inline]
    pub fn unreserve(&self, count: u64) {
        self.available.fetch_add(count as i64, Ordering::Relaxed);
    }

    /// A frame for a CPU that has none of the wanted node at hand. The caller has lowered the
    /// count of available frames or holds a promise, so there is one.
    #[cold]
    #[inline(never)]
    fn take_slowly(&self, cpu: CpuId, node: Option<usize>) -> u64 {
        {
            let mut cache = self.caches[cpu].lock();
            cache.refill(|stack, home| self.fill(stack, home));
            if let Some(number) = cache.take(self.meta, node) {
                return number;
            }
        }
        loop {
            if let Some(number) = self.take_run(cpu, 0, node) {
                return number;
            }
            // It is kept by some CPU, or on its way from one list to another.
            self.collect_kept();
            core::hint::spin_loop();
        }
    }

    /// Gives a frame back that its CPU has no room for, or that is of another node.
    #[cold]
    #[inline(never)]
    fn give_slowly(&self, cpu: CpuId, number: u64, budget: Budget) {
        let meta = &self.meta[number as usize];
        let old = {
            let mut cache = self.caches[cpu].lock();
            let old = cache.make_room();
            if !cache.keep(meta, number) {
                self.nodes[meta.node()].lock().give(self.meta, number, 0);
            }
            old
        };
        self.give_stack(old);
        if budget == Budget::Open {
            self.unreserve(1);
        }
    }

    /// A block of any node, the wanted one first.
    fn take_run(&self, cpu: CpuId, order: u32, node: Option<usize>) -> Option<u64> {
        let first = match node {
            Some(node) => node.min(MAX_NODES - 1),
            None => self.caches[cpu].lock().home,
        };
        let others = (0..self.node_count.load(Ordering::Relaxed)).filter(|&other| other != first);
        let (given, number) = core::iter::once(first)
            .chain(others)
            .find_map(|at| Some((at, self.nodes[at].lock().take(self.meta, order)?)))?;
        let counter = match node {
            None => &self.counters[given].given_unasked,
            Some(_) if given == first => &self.counters[first].given_as_asked,
            Some(_) => &self.counters[first].given_elsewhere,
        };
        counter.fetch_add(1 << order, Ordering::Relaxed);
        Some(number)
    }

    /// Moves up to a batch of frames of a node to a stack, in as large blocks as there are.
    fn fill(&self, stack: &mut Stack, node: usize) {
        let mut buddy = self.nodes[node].lock();
        let (mut missing, mut order) = (BATCH, BATCH_ORDER);
        while missing > 0 {
            match buddy.take(self.meta, order) {
                Some(first) => {
                    // Backwards, so that the lowest is given first.
                    for number in (first..first + (1 << order)).rev() {
                        stack.push(&self.meta[number as usize], number);
                    }
                    missing -= 1 << order;
                    order = order.min(missing.checked_ilog2().unwrap_or(0));
                }
                None if order == 0 => break,
                None => order -= 1,
            }
        }
    }

    /// Gives what a CPU has kept back to its node.
    fn give_stack(&self, mut stack: Stack) {
        let Some(first) = stack.pop(self.meta) else {
            return;
        };
        let mut buddy = self.nodes[self.meta[first as usize].node()].lock();
        buddy.give(self.meta, first, 0);
        while let Some(number) = stack.pop(self.meta) {
            buddy.give(self.meta, number, 0);
        }
    }

    /// Gives what the CPUs keep back to the nodes.
    fn collect_kept(&self) {
        if crate::sabotaged!("kept_frames_not_collected") {
            return;
        }
        for cache in self.caches {
            let kept = cache.lock().empty();
            kept.into_iter().for_each(|stack| self.give_stack(stack));
        }
    }
}

#[cold]
fn freed_twice(frame: Frame) -> ! {
    panic!("{frame:?} is freed twice");
}
