//! The free frames of a node as blocks of 2^k frames, each at a multiple of its size.
//!
//! Two free blocks that were one are made one again at once, so no two free buddies of one order
//! are ever both on the lists. The lists run through the frames' metadata, in both directions, so
//! a block is taken out of the middle without a search. A frame that is reserved is never the head
//! of a block, so nothing merges across it.

use core::sync::atomic::Ordering;

use super::place::{self, HELD, INTERIOR, set_next, set_place};
use super::{MAX_ORDER, ORDERS};
use crate::FrameMeta;

/// The free blocks of a node.
#[derive(Debug)]
pub(super) struct Buddy {
    node: usize,
    /// The first free block of each order, as the number of its first frame + 1; 0 for none.
    heads: [u32; ORDERS],
    /// The orders that have a block, a bit each.
    present: u32,
    /// Frames in all blocks.
    free: u64,
}

impl Buddy {
    pub(super) const fn new(node: usize) -> Buddy {
        Buddy {
            node,
            heads: [0; ORDERS],
            present: 0,
            free: 0,
        }
    }

    /// Frames in all blocks.
    pub(super) fn free(&self) -> u64 {
        self.free
    }

    /// The free blocks of each order.
    pub(super) fn blocks(&self, meta: &[FrameMeta]) -> [u64; ORDERS] {
        self.heads.map(|head| {
            let following =
                |&link: &u32| Some(place::next(meta.get(link.checked_sub(1)? as usize)?));
            core::iter::successors(Some(head), following)
                .take_while(|&link| link != 0)
                .count() as u64
        })
    }

    /// Takes a block of an order out, splitting the smallest that is large enough; the number of
    /// its first frame.
    pub(super) fn take(&mut self, meta: &[FrameMeta], order: u32) -> Option<u64> {
        let larger = self.present >> order;
        if larger == 0 {
            return None;
        }
        let mut found = order + larger.trailing_zeros();
        let number = u64::from(self.heads[found as usize]) - 1;
        self.remove(meta, number, found);
        while found > order {
            found -= 1;
            self.push(meta, number + (1 << found), found);
        }
        set_place(&meta[number as usize], HELD);
        self.free -= 1 << order;
        Some(number)
    }

    /// Puts a block in, together with every free buddy that it finds on the way up.
    pub(super) fn give(&mut self, meta: &[FrameMeta], mut number: u64, mut order: u32) {
        debug_assert!(meta[number as usize].is_of(self.node));
        self.free += 1 << order;
        while order < MAX_ORDER && !crate::sabotaged!("buddies_not_merged") {
            let buddy = number ^ 1 << order;
            // The node first: only its own lock keeps the place of a head.
            let is_free = meta.get(buddy as usize).is_some_and(|buddy| {
                buddy.node() == self.node && place::place(buddy) == place::head(order)
            });
            if !is_free {
                break;
            }
            self.remove(meta, buddy, order);
            set_place(&meta[number.max(buddy) as usize], INTERIOR);
            number = number.min(buddy);
            order += 1;
        }
        self.push(meta, number, order);
    }

    fn push(&mut self, meta: &[FrameMeta], number: u64, order: u32) {
        let head = &mut self.heads[order as usize];
        let block = &meta[number as usize];
        set_place(block, place::head(order));
        set_next(block, *head);
        block.previous.store(0, Ordering::Relaxed);
        let link = number as u32 + 1;
        if *head != 0 {
            let second = &meta[*head as usize - 1];
            second.previous.store(link, Ordering::Relaxed);
        }
        *head = link;
        self.present |= 1 << order;
    }

    fn remove(&mut self, meta: &[FrameMeta], number: u64, order: u32) {
        let block = &meta[number as usize];
        let next = place::next(block);
        let previous = block.previous.load(Ordering::Relaxed);
        if next != 0 {
            let after = &meta[next as usize - 1];
            after.previous.store(previous, Ordering::Relaxed);
        }
        if previous != 0 {
            set_next(&meta[previous as usize - 1], next);
            return;
        }
        self.heads[order as usize] = next;
        if next == 0 {
            self.present &= !(1 << order);
        }
    }
}
