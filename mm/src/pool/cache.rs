//! The free frames that a CPU keeps for itself, so that taking one and giving it back touches
//! nothing that another CPU writes, but for the count of what is available.
//!
//! Two lists of at most [`BATCH`] frames: one is used, and the other goes to or comes from the node
//! as a whole. A CPU that takes and gives back around a boundary moves a batch at most every
//! [`BATCH`] operations. Lock rank: frames.

use super::place::{self, CACHED, HELD, set_next, set_place};
use crate::FrameMeta;
use crate::lock::{Guard, Lock, Rank};

/// Frames that move between a CPU and its node at a time.
pub(super) const BATCH: u32 = 1 << BATCH_ORDER;
/// The order of a block that is a whole batch.
pub(super) const BATCH_ORDER: u32 = 5;

/// The free frames that one CPU keeps, all of one node. The embedder provides one for each CPU.
#[derive(Debug)]
#[repr(align(64))]
pub struct FrameCache(Lock<Kept>);

impl Default for FrameCache {
    fn default() -> FrameCache {
        FrameCache::new()
    }
}

impl FrameCache {
    /// An empty one, of a CPU of node 0 until [`FramePool::set_home`](crate::FramePool::set_home).
    pub const fn new() -> FrameCache {
        FrameCache(Lock::new(
            Rank::Frames,
            Kept {
                used: Stack::EMPTY,
                spare: Stack::EMPTY,
                home: 0,
                given_as_asked: 0,
                given_unasked: 0,
            },
        ))
    }

    #[inline]
    pub(super) fn lock(&self) -> Guard<'_, Kept> {
        self.0.lock()
    }

    /// What the CPU keeps, unless another looks at it just now: the short way of taking a frame
    /// has no call in it, and so nothing to save for one.
    #[inline]
    pub(super) fn try_lock(&self) -> Option<Guard<'_, Kept>> {
        self.0.try_lock()
    }
}

/// Frames in a list, the last one in the first one out.
#[derive(Debug)]
pub(super) struct Stack {
    /// The number of the first frame + 1; 0 for none.
    head: u32,
    len: u32,
}

impl Stack {
    pub(super) const EMPTY: Stack = Stack { head: 0, len: 0 };

    /// Puts a frame on top.
    #[inline]
    pub(super) fn push(&mut self, meta: &FrameMeta, number: u64) {
        set_place(meta, CACHED);
        set_next(meta, self.head);
        self.head = number as u32 + 1;
        self.len += 1;
    }

    /// Takes the frame on top.
    #[inline]
    pub(super) fn pop(&mut self, frames: &[FrameMeta]) -> Option<u64> {
        let number = self.head.checked_sub(1)?;
        let meta = &frames[number as usize];
        set_place(meta, HELD);
        self.head = place::next(meta);
        self.len -= 1;
        Some(number.into())
    }
}

/// What a CPU keeps.
#[derive(Debug)]
pub(super) struct Kept {
    /// Where frames come from and go to.
    used: Stack,
    /// Empty or full.
    spare: Stack,
    /// The node of the CPU, and of all frames here.
    pub(super) home: usize,
    /// Frames given to who asked for the home node.
    pub(super) given_as_asked: u64,
    /// Frames given to who asked for no node.
    pub(super) given_unasked: u64,
}

impl Kept {
    /// Frames kept.
    pub(super) fn len(&self) -> u64 {
        (self.used.len + self.spare.len).into()
    }

    /// Takes a frame for who wants one of `node`; `None` where there is none at hand.
    #[inline]
    pub(super) fn take(&mut self, frames: &[FrameMeta], node: Option<usize>) -> Option<u64> {
        match node {
            Some(node) if node != self.home => None,
            Some(_) => {
                let number = self.used.pop(frames)?;
                self.given_as_asked += 1;
                Some(number)
            }
            None => {
                let number = self.used.pop(frames)?;
                self.given_unasked += 1;
                Some(number)
            }
        }
    }

    /// Keeps a frame of the home node; false, and nothing happens, where there is no room or it is
    /// of another.
    #[inline]
    pub(super) fn keep(&mut self, meta: &FrameMeta, number: u64) -> bool {
        let fits = meta.is_of(self.home) && self.used.len < BATCH;
        if fits {
            self.used.push(meta, number);
        }
        fits
    }

    /// Gets frames to take, where there are none: what is spare, or what `fill` brings.
    pub(super) fn refill(&mut self, fill: impl FnOnce(&mut Stack, usize)) {
        if self.used.len == 0 {
            core::mem::swap(&mut self.used, &mut self.spare);
        }
        if self.used.len == 0 {
            fill(&mut self.used, self.home);
        }
    }

    /// Makes room to keep frames, where there is none; what has to go for that.
    pub(super) fn make_room(&mut self) -> Stack {
        if self.used.len < BATCH {
            return Stack::EMPTY;
        }
        let full = core::mem::replace(&mut self.used, Stack::EMPTY);
        core::mem::replace(&mut self.spare, full)
    }

    /// Takes everything out.
    pub(super) fn empty(&mut self) -> [Stack; 2] {
        [
            core::mem::replace(&mut self.used, Stack::EMPTY),
            core::mem::replace(&mut self.spare, Stack::EMPTY),
        ]
    }
}
