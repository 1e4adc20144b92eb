//! Waiting for a slot: who finds none free says so in a word of the pool, and whoever gives one back looks at it.
//!
//! It is the wake protocol of the rings in its symmetric form: the word, a fence, a last look at the slots here; the slot, a
//! fence, a look at the word there. What ends the wait is a message ([`Frame::Freed`](crate::payload::Frame::Freed)), which
//! goes as every other does, so who waits for a slot sleeps as who waits for a message.
//!
//! A message that the ring has no room for need not be sent later: its receiver has others to receive, and looks at the slots
//! again before it sleeps. A peer that lies in its word costs a message in its own ring for each slot that it is given
//! back; one that lies in this side's word tells it no slot, which it could as well do by giving none back.

use core::sync::atomic::Ordering;

use super::{FREE, Pool, SlotRef, SlotWords, state_of};
use crate::sabotaged;
use crate::sync::fence;

impl<M: SlotWords> Pool<M> {
    /// Says that this side waits for a slot of `length` bytes, and looks a last time. `true`: there is none now, and
    /// the peer tells of the next that it gives back; `false`: there is one, or none is ever that large.
    ///
    /// [Taken back](Pool::disarm) in the end, and said again before each sleep.
    pub fn arm(&self, length: u32) -> bool {
        if length > self.layout.largest() {
            return false;
        }
        // Release: what this side has received by now, it has given back in its ring, as whoever takes the word sees.
        let own = self.memory.waits(self.side);
        own.store(length.max(1), Ordering::Release);
        // SYNC(pool.room): pairs with the fence in `must_tell_peer`. One of both sees what the other has stored.
        if !sabotaged!("pool_waits_without_fence") {
            fence(Ordering::SeqCst);
        }
        if !sabotaged!("pool_waits_without_look") && self.has_room(length) {
            self.disarm();
            return false;
        }
        true
    }

    /// Says that this side waits no more.
    pub fn disarm(&self) {
        let own = self.memory.waits(self.side);
        own.store(0, Ordering::Relaxed);
    }

    /// Whether a slot of so many bytes is free at this moment.
    fn has_room(&self, length: u32) -> bool {
        let mut first = 0;
        for class in self.layout.classes() {
            let slots = first..first + class.count;
            first += class.count;
            let is_free = |number| {
                let word = self.memory.word(number);
                word.is_some_and(|slot| state_of(slot.load(Ordering::Relaxed)) == FREE.into())
            };
            if class.slot_bytes >= length && slots.into_iter().any(is_free) {
                return true;
            }
        }
        false
    }

    /// Whether the peer waits for a slot like this one, which this side has given back or withdrawn just now: it is then to
    /// be told, once.
    #[must_use = "nobody else tells it"]
    pub fn must_tell_peer(&self, freed: SlotRef) -> bool {
        let Some(class) = self.layout.classes().get(usize::from(freed.class)) else {
            return false;
        };
        // SYNC(pool.room): pairs with the fence in `arm`.
        if !sabotaged!("pool_freed_without_fence") {
            fence(Ordering::SeqCst);
        }
        let word = self.memory.waits(self.side.peer());
        let waits = word.load(Ordering::Relaxed);
        if waits == 0 || waits > class.slot_bytes {
            return false;
        }
        // If it has said something else meanwhile, it has looked meanwhile.
        let told = word.compare_exchange(waits, 0, Ordering::AcqRel, Ordering::Relaxed);
        told.is_ok()
    }
}
