//! A ring that nobody waits for: its one writer takes the place of the oldest record, whoever may be
//! reading it, and any number of readers find out by themselves what they have missed. It is how a kernel tells of what it
//! does; on Linux nothing makes one.
//!
//! A reader never writes, so the writer can't tell whether there is one. It copies a slot out, and only
//! then looks whether the slot was the same all the while.
//!
//! Guaranteed: a record that is handed out is the one that was recorded, whole, and every other is
//! counted as lost, once. Not guaranteed: that a slow reader ever sees any.

use core::sync::atomic::Ordering;

use abi::trace::sequence;

use crate::sync::{AtomicU64, PeerWord, fence};

/// The memory of a trace ring: a count, and slots of a few words each. The first word of a slot says in its lower
/// half which record it holds.
pub trait Slots {
    /// How many records there were.
    fn count(&self) -> &AtomicU64;

    /// How many slots there are: a power of two.
    fn len(&self) -> u64;

    /// Whether there are none. There always are.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The words of the slot of a record. The index is reduced, so any is in range.
    fn slot(&self, index: u64) -> &[AtomicU64];
}

/// The writer of a ring. There is one for each.
#[derive(Debug)]
pub struct Recorder<S> {
    slots: S,
    next: u64,
}

impl<S: Slots> Recorder<S> {
    /// The writer of an empty ring: of zeros.
    pub fn new(slots: S) -> Recorder<S> {
        Recorder { slots, next: 0 }
    }

    /// Puts a record in place of the oldest. The lower half of its first word is overwritten, and of more
    /// words than a slot has the rest is left out.
    #[inline]
    pub fn record(&mut self, words: &[u64]) {
        let slot = self.slots.slot(self.next);
        let (Some((head, body)), Some((first, rest))) = (slot.split_first(), words.split_first())
        else {
            return;
        };
        // SYNC(trace.overwrite): a reader that sees a word of this record also sees that the one before
        // is gone.
        head.store(0, Ordering::Relaxed);
        if !crate::sabotaged!("trace_overwritten_without_fence") {
            fence(Ordering::Release);
        }
        for (word, value) in body.iter().zip(rest) {
            word.store(*value, Ordering::Relaxed);
        }
        let sequence = u64::from(sequence(self.next));
        // SYNC(trace.publish)
        head.store(first >> 32 << 32 | sequence, Ordering::Release);
        self.next += 1;
        self.slots.count().store(self.next, Ordering::Release);
    }

    /// How many records there were.
    pub fn recorded(&self) -> u64 {
        self.next
    }

    /// Its memory.
    pub fn slots(&self) -> &S {
        &self.slots
    }
}

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed<const WORDS: usize> {
    /// The next record.
    Record([u64; WORDS]),
    /// So many records were overwritten before they could be read.
    Lost(u64),
}

/// A reader of a ring, at a place of its own.
#[derive(Debug)]
pub struct Observer<S> {
    slots: S,
    next: u64,
}

impl<S: Slots> Observer<S> {
    /// A reader that begins with the first record. What is there no more is lost.
    pub fn new(slots: S) -> Observer<S> {
        Observer { slots, next: 0 }
    }

    /// The next record, or how many are missing before it; `None` while there is no further one.
    pub fn observe<const WORDS: usize>(&mut self) -> Option<Observed<WORDS>> {
        let recorded = self.recorded();
        if recorded <= self.next {
            return None;
        }
        let oldest = recorded.saturating_sub(self.slots.len());
        if self.next < oldest {
            return Some(self.skip_to(oldest));
        }
        if let Some(words) = self.copy() {
            self.next += 1;
            return Some(Observed::Record(words));
        }
        // The writer is at this very slot, or was. It may be at the one of the oldest record now.
        let oldest = self.recorded().saturating_sub(self.slots.len()) + 1;
        Some(self.skip_to(oldest.max(self.next + 1)))
    }

    /// How many records there are that this reader has not come to.
    pub fn behind(&self) -> u64 {
        self.recorded().saturating_sub(self.next)
    }

    fn recorded(&self) -> u64 {
        PeerWord(self.slots.count()).load_acquire()
    }

    fn skip_to<const WORDS: usize>(&mut self, next: u64) -> Observed<WORDS> {
        let lost = next - self.next;
        self.next = next;
        Observed::Lost(lost)
    }

    /// The record that is next, if its slot has it and had it while it was copied.
    fn copy<const WORDS: usize>(&self) -> Option<[u64; WORDS]> {
        let slot = self.slots.slot(self.next);
        let head = slot.first()?;
        // SYNC(trace.publish)
        let before = PeerWord(head).load_acquire();
        if before as u32 != sequence(self.next) {
            return None;
        }
        let mut words = [0; WORDS];
        for (value, word) in words.iter_mut().zip(slot) {
            *value = word.load(Ordering::Relaxed);
        }
        // SYNC(trace.overwrite)
        if !crate::sabotaged!("trace_copied_without_fence") {
            fence(Ordering::Acquire);
        }
        let unchanged = head.load(Ordering::Relaxed) == before;
        if !unchanged && !crate::sabotaged!("observer_trusts_lapped_slot") {
            return None;
        }
        if let Some(first) = words.first_mut() {
            *first = before;
        }
        Some(words)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::vec::Vec;

    use super::*;

    const SLOTS: u64 = 4;

    /// Slots of two words.
    struct Memory {
        count: AtomicU64,
        words: Vec<AtomicU64>,
    }

    impl Slots for &Memory {
        fn count(&self) -> &AtomicU64 {
            &self.count
        }

        fn len(&self) -> u64 {
            SLOTS
        }

        fn slot(&self, index: u64) -> &[AtomicU64] {
            let first = (index % SLOTS) as usize * 2;
            &self.words[first..first + 2]
        }
    }

    /// The numbers of records in slots begin anew after 2^31 records, the lower half of their count after 2^32.
    #[test]
    fn records_are_told_apart_where_their_numbers_wrap() {
        for wrap in [1 << 31, 1 << 32, 3 << 31, 1 << 63] {
            let memory = Memory {
                count: AtomicU64::new(0),
                words: (0..SLOTS * 2).map(|_| AtomicU64::new(0)).collect(),
            };
            let next = wrap - SLOTS - 2;
            let mut recorder = Recorder {
                slots: &memory,
                next,
            };
            let mut observer = Observer {
                slots: &memory,
                next,
            };
            let mut late = Observer {
                slots: &memory,
                next,
            };
            for number in next..wrap + 2 * SLOTS {
                assert_eq!(observer.observe::<2>(), None, "{number:#x}");
                recorder.record(&[7 << 32, number]);
                let head = 7 << 32 | u64::from(sequence(number));
                assert_eq!(observer.observe(), Some(Observed::Record([head, number])));
            }
            let lost = 2 * SLOTS + 2;
            assert_eq!(late.observe::<2>(), Some(Observed::Lost(lost)));
            for number in wrap + SLOTS..wrap + 2 * SLOTS {
                let Some(Observed::Record([_, found])) = late.observe() else {
                    panic!("{number:#x} is there");
                };
                assert_eq!(found, number);
            }
            assert_eq!(late.observe::<2>(), None);
            // Who comes when so many have been recorded that a number is there again is not taken in.
            let mut first = Observer {
                slots: &memory,
                next: 0,
            };
            assert_eq!(first.observe::<2>(), Some(Observed::Lost(wrap + SLOTS)));
        }
    }
}
