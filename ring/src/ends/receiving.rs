//! The receiving end of every kind: what it gives back, and how it sleeps.

mod looking;

use core::cell::Cell;
use core::hint::spin_loop;
use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use abi::ring::{End, Form, Kind};

use super::{RingKind, is_told_once, is_whole};
use crate::Error;
use crate::index::{has_crossed, has_reached, is_armed, waiting};
use crate::memory::ConsumerMemory;
use crate::sync::{sleep_fence, wake_fence};
use crate::wait::{Spin, Wait};

/// The receiving end. There is one for a ring; it may change threads but is never used by two at a time.
///
/// `K` is the kind: see the methods of [`crate::slot::Consumer`], [`crate::packet::Consumer`] and
/// [`crate::byte::Consumer`]. What is counted, slots or bytes, is as the kind has it.
pub struct Consumer<K, W> {
    pub(crate) memory: ConsumerMemory,
    pub(super) wait: W,
    pub(super) form: Form,
    pub(crate) capacity: u32,
    pub(crate) max_message_bytes: usize,
    pub(crate) head: u32,
    /// The newest tail that was seen and found possible, where the tail is the publication.
    pub(crate) tail: u32,
    /// The most that may be between head and tail while less than a quarter of the ring is held back; nothing once the peer
    /// is not believed.
    surely: u32,
    /// The lengths below it are those that a message may have: none once the peer is not believed.
    pub(crate) lengths: u64,
    /// The head that the producer has been told of.
    given_back: u32,
    /// A head to wait for that announces no sleep as long as `given_back` is what it is: what the producer's word was
    /// when it was last judged, or `given_back` itself.
    idle: u32,
    /// The head at which it is given back without being asked for, a quarter of the ring ahead of `given_back`.
    gives_back_at: u32,
    pub(crate) threshold: u32,
    spin: Spin,
    pub(crate) poisoned: bool,
    kind: PhantomData<(K, Cell<()>)>,
}

/// So much is given back without being asked for.
const fn quarter(capacity: u32) -> u32 {
    match capacity / 4 {
        0 => 1,
        quarter => quarter,
    }
}

impl<K: RingKind, W: Wait> Consumer<K, W> {
    /// Takes up the receiving end where its last holder gave it back; a new ring begins empty.
    ///
    /// What a holder received and did not give back before it was gone is received again: at least once, not exactly once.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the header is not complete or tells of another geometry. [`Error::Unsupported`]: the ring is of
    /// another kind. [`Error::PeerFault`]: head and tail cannot belong together.
    pub fn attach(memory: ConsumerMemory, wait: W) -> Result<Self, Error> {
        let form = memory.check_header()?;
        let geometry = memory.geometry();
        if geometry.kind != K::KIND {
            return Err(Error::Unsupported);
        }
        let head = memory.head().load(Ordering::Relaxed);
        let tail = memory.tail().load_acquire();
        let there = waiting(K::KIND, tail, head, geometry.capacity);
        let possible = is_whole(tail, geometry) && is_whole(head, geometry);
        let there = there.filter(|_| possible).ok_or(Error::PeerFault)?;
        Ok(Self {
            memory,
            wait,
            form,
            capacity: geometry.capacity,
            max_message_bytes: geometry.max_message_bytes(),
            head,
            tail: head.wrapping_add(there),
            surely: geometry.capacity - quarter(geometry.capacity) + 1,
            lengths: geometry.max_message_bytes() as u64 + 1,
            given_back: head,
            idle: head,
            gives_back_at: head.wrapping_add(quarter(geometry.capacity)),
            threshold: 1,
            spin: Spin::new(),
            poisoned: false,
            kind: PhantomData,
        })
    }

    /// Its way into the kernel, of an end that is given up: what was received is given back first, or who has the end
    /// next would receive it again.
    pub fn into_waiter(mut self) -> W {
        if !crate::sabotaged!("handed_on_without_flush") {
            self.flush();
        }
        self.wait
    }

    /// Gives all released space back to the producer now, and wakes it if it waits for that.
    ///
    /// Worth it before waiting for something else than this ring while messages are left in it.
    #[cold]
    #[inline(never)]
    pub fn flush(&mut self) {
        let old = self.given_back;
        if old == self.head {
            return;
        }
        self.given_back = self.head;
        self.gives_back_at = self.head.wrapping_add(quarter(self.capacity));
        // SYNC(ring.release): what is before the head has been read; the producer may write there.
        self.memory.head().store(self.head, Ordering::Release);
        if !self.wait.wakes() {
            return;
        }
        wake_fence(self.form, End::Consumer);
        let waits_until = self.memory.producer_waits_until().load_relaxed();
        if !crate::sabotaged!("idle_word_kept_over_a_flush") {
            self.idle = match is_armed(waits_until, self.head, self.capacity) {
                true => self.head,
                false => waits_until,
            };
        }
        if has_crossed(old, waits_until, self.head) {
            self.wait.wake();
        }
    }

    /// Announces that this end is about to sleep until something is there, and looks a last time.
    ///
    /// For who sleeps otherwise than by [`Wait::wait`], such as at a port or as a task: `None` says that something is there
    /// and no reason to sleep; `Some(seen)` that from now on the producer wakes this end when its index passes `seen`.
    /// Look again after sleeping, and [`Consumer::disarm`] in the end. On an asymmetric ring this is not enough: only
    /// [`Wait::wait`] brings the barrier.
    ///
    /// # Errors
    /// As receiving, [`Error::Empty`] aside; [`Error::PeerFault`] also if the producer's index tells of something that
    /// is not there, which would end every sleep at once.
    pub fn arm(&mut self) -> Result<Option<u32>, Error> {
        let seen = self.head.wrapping_add(self.threshold);
        self.memory.waits_until().store(seen, Ordering::Relaxed);
        sleep_fence(self.form, End::Consumer);
        match self.check() {
            Err(Error::Empty) => Ok((!self.is_told()?).then_some(seen)),
            answer => answer.map(|()| None),
        }
    }

    /// Whether the tail tells of something, of an end that has found nothing. Who sleeps goes by the tail, so one that
    /// tells of what is not there would end every sleep at once; it is the fault of the producer, who stores it last.
    ///
    /// Sleeping and [`Consumer::arm`] ask it by themselves. Who is told of this ring by others, such as the host of a
    /// hub, asks it before sleeping again; if so, there is something by now.
    ///
    /// # Errors
    /// [`Error::PeerFault`].
    pub fn is_told(&mut self) -> Result<bool, Error> {
        if K::KIND != Kind::Slot || crate::sabotaged!("tail_believed_without_record") {
            return Ok(false);
        }
        // SYNC(ring.publish): whose tail is seen, its slot is seen by the look after it.
        match self.len()? {
            0 => Ok(false),
            _ if K::look(self)?.is_some() => Ok(true),
            _ => Err(self.poison()),
        }
    }

    /// The same without the last look, for who sleeps by [`Wait::wait`] or what does as it does: looks at the index
    /// and the states once more before it sleeps. Returns the index to sleep until. Who finds nothing after such a sleep
    /// calls [`Consumer::arm`], which tells a producer that lies from one that woke it early.
    #[inline]
    pub fn announce(&mut self) -> u32 {
        // The peer may wait for what is held back before it has anything to say.
        if !crate::sabotaged!("announced_without_flush") {
            self.flush();
        }
        let seen = self.head.wrapping_add(self.threshold);
        self.memory.waits_until().store(seen, Ordering::Relaxed);
        if !crate::sabotaged!("announced_without_fence") {
            sleep_fence(self.form, End::Consumer);
        }
        seen
    }

    /// Takes the announcement back, so that the producer does not wake nobody.
    pub fn disarm(&mut self) {
        self.memory
            .waits_until()
            .store(self.head, Ordering::Relaxed);
    }

    /// Returns once something is there, looking briefly and then sleeping until `deadline_ns`: absolute monotonic
    /// nanoseconds, 0 = do not wait, `u64::MAX` = for ever.
    ///
    /// # Errors
    /// As receiving, [`Error::Empty`] if `deadline_ns` is 0, and what [`Wait::wait`] may answer.
    pub fn wait_for_message(&mut self, deadline_ns: u64) -> Result<(), Error> {
        match self.check() {
            Err(Error::Empty) if deadline_ns != 0 => {}
            answer => return answer,
        }
        for _ in 0..self.spin.looks() {
            spin_loop();
            match self.check() {
                Err(Error::Empty) => {}
                answer => {
                    self.spin.paid_off();
                    return answer;
                }
            }
        }
        self.spin.was_in_vain();
        let answer = self.sleep(deadline_ns);
        self.disarm();
        answer
    }

    fn sleep(&mut self, deadline_ns: u64) -> Result<(), Error> {
        loop {
            let Some(seen) = self.arm()? else {
                return Ok(());
            };
            if let Err(error) = self.wait.wait(seen, deadline_ns) {
                return match self.check() {
                    _ if is_told_once(error) => Err(error),
                    Err(Error::Empty) => Err(error),
                    answer => answer,
                };
            }
        }
    }

    /// Takes `count` out of the ring, and gives the space back if that is worth it or waited for.
    #[inline(always)]
    pub(crate) fn release(&mut self, count: u32) {
        self.skip(count);
        self.give_back();
    }

    /// Takes `count` out of the ring and says nothing of it: [`Consumer::give_back`] does.
    #[inline(always)]
    pub(crate) fn skip(&mut self, count: u32) {
        self.head = self.head.wrapping_add(count);
    }

    /// Gives released space back if it is a quarter of the ring, or the producer waits.
    #[inline(always)]
    pub(crate) fn give_back(&mut self) {
        self.give_back_before(self.head);
    }

    /// The same for who has the head at hand.
    #[inline(always)]
    pub(crate) fn give_back_before(&mut self, head: u32) {
        if has_reached(head, self.gives_back_at) {
            self.flush();
        } else if self.wait.wakes() {
            let waits_until = self.memory.producer_waits_until().load_relaxed();
            if waits_until != self.idle {
                self.judge_wait(waits_until);
            }
        }
    }

    /// What was received and not given back.
    #[inline(always)]
    pub(super) fn held_back(&self) -> u32 {
        self.head.wrapping_sub(self.given_back)
    }

    /// Gives back what the producer waits for, if its word, which is another than before, says that it does.
    #[cold]
    #[inline(never)]
    fn judge_wait(&mut self, waits_until: u32) {
        match is_armed(waits_until, self.given_back, self.capacity) {
            true => self.flush(),
            false => self.idle = waits_until,
        }
    }
}

/// Receives several messages, and gives them back together however that ends.
pub(crate) struct Batch<'a, K: RingKind, W: Wait>(pub(crate) &'a mut Consumer<K, W>);

impl<K: RingKind, W: Wait> Drop for Batch<'_, K, W> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.give_back();
    }
}
