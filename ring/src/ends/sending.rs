//! The sending end of every kind.

use core::cell::Cell;
use core::hint::spin_loop;
use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use abi::ring::{End, Form, Kind};

use super::{BOTH_OPEN, RingKind, is_told_once, is_whole, why_not_open};
use crate::Error;
use crate::index::{distance, has_crossed, has_reached, head_for_space, max_threshold};
use crate::memory::ProducerMemory;
use crate::sync::{sleep_fence, wake_fence};
use crate::wait::{Spin, Wait};

/// The sending end. There is one for a ring; it may change threads but is never used by two at a time.
///
/// `K` is the kind: see the methods of [`crate::slot::Producer`], [`crate::packet::Producer`] and
/// [`crate::byte::Producer`]. What is counted, slots or bytes, is as the kind has it.
pub struct Producer<K, W> {
    pub(crate) memory: ProducerMemory,
    pub(super) wait: W,
    pub(super) form: Form,
    pub(crate) capacity: u32,
    pub(crate) max_message_bytes: usize,
    pub(crate) tail: u32,
    /// The first index that the tail may not come to: a capacity and one ahead of the newest head that was seen and found
    /// possible.
    beyond: u32,
    threshold: u32,
    spin: Spin,
    pub(crate) poisoned: bool,
    kind: PhantomData<(K, Cell<()>)>,
}

/// The first index that a producer may not come to while the consumer's is `head`.
const fn first_beyond(head: u32, capacity: u32) -> u32 {
    head.wrapping_add(capacity).wrapping_add(1)
}

impl<K: RingKind, W: Wait> Producer<K, W> {
    /// Its way into the kernel, of an end that is given up.
    pub fn into_waiter(self) -> W {
        self.wait
    }

    /// Takes up the sending end where its last holder left it; a new ring begins empty.
    ///
    /// A message that a holder published as it died counts as sent.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the header is not complete or tells of another geometry. [`Error::Unsupported`]: the ring is of
    /// another kind. [`Error::PeerFault`]: head and tail cannot belong together, or a slot holds what no honest holder leaves
    /// there, of which the consumer would believe that it comes from this one.
    pub fn attach(memory: ProducerMemory, wait: W) -> Result<Self, Error> {
        let form = memory.check_header()?;
        let geometry = memory.geometry();
        if geometry.kind != K::KIND {
            return Err(Error::Unsupported);
        }
        let stored = memory.tail().load(Ordering::Relaxed);
        let tail = K::resume(&memory, stored).ok_or(Error::PeerFault)?;
        let head = memory.head().load_acquire();
        let possible = is_whole(tail, geometry) && is_whole(head, geometry);
        if !possible || distance(tail, head, geometry.capacity).is_none() {
            return Err(Error::PeerFault);
        }
        let mut producer = Self {
            memory,
            wait,
            form,
            capacity: geometry.capacity,
            max_message_bytes: geometry.max_message_bytes(),
            tail,
            beyond: first_beyond(head, geometry.capacity),
            threshold: 1,
            spin: Spin::new(),
            poisoned: false,
            kind: PhantomData,
        };
        if tail != stored {
            producer.store_tail();
            producer.wake_consumer(stored);
        }
        Ok(producer)
    }

    /// Sets how much must be free before a sleeping producer is woken, in slots or bytes: as much as it needs unless set.
    ///
    /// More means fewer wakeups and longer waits; a quarter of the ring is a good choice for bulk transfers.
    ///
    /// # Errors
    /// [`Error::Invalid`]: zero, or more than half of the slots, rounded up, or more than all bytes.
    pub fn set_wake_threshold(&mut self, threshold: u32) -> Result<(), Error> {
        if threshold == 0 || threshold > self.most_awaited() {
            return Err(Error::Invalid);
        }
        if !crate::sabotaged!("threshold_not_kept") {
            self.threshold = threshold;
        }
        Ok(())
    }

    /// The most that this end may sleep for, such that the two never sleep for one another.
    fn most_awaited(&self) -> u32 {
        // Who receives bytes or packets sleeps for the first of them, so that it can't sleep while the ring is not empty.
        match K::KIND {
            Kind::Slot => max_threshold(self.capacity),
            Kind::Byte | Kind::Packet => self.capacity,
        }
    }

    /// Slots or bytes that were sent and not yet given back by the consumer, which may have received more of them by now.
    ///
    /// # Errors
    /// [`Error::PeerFault`].
    pub fn len(&mut self) -> Result<u32, Error> {
        self.refresh_head()?;
        Ok(self.used())
    }

    /// Whether the consumer has given everything back.
    ///
    /// # Errors
    /// [`Error::PeerFault`].
    pub fn is_empty(&mut self) -> Result<bool, Error> {
        self.len().map(|length| length == 0)
    }

    /// Whether both ends are open, and this one believes its peer.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match self.poisoned {
            true => Err(Error::PeerFault),
            false => self.check_states(),
        }
    }

    /// Whether `wanted` can be written behind the tail: 1 at least, and at most the capacity.
    #[inline(always)]
    pub(crate) fn check_space(&mut self, wanted: u32) -> Result<(), Error> {
        self.check_states()?;
        match self.fits(wanted) {
            true => Ok(()),
            false => self.find_space(wanted),
        }
    }

    /// Looks at the head, since there seems to be too little room.
    #[cold]
    #[inline(never)]
    fn find_space(&mut self, wanted: u32) -> Result<(), Error> {
        self.refresh_head()?;
        match self.fits(wanted) {
            true => Ok(()),
            false => Err(Error::Full),
        }
    }

    /// How much can be written behind the tail where less than what is wanted is known of: at least one granule.
    pub(crate) fn find_some_space(&mut self) -> Result<u32, Error> {
        self.check_states()?;
        self.refresh_head()?;
        match self.free() {
            0 => Err(Error::Full),
            free => Ok(free),
        }
    }

    #[inline(always)]
    pub(crate) fn check_states(&self) -> Result<(), Error> {
        match self.memory.states_are(BOTH_OPEN) {
            true => Ok(()),
            false => self.judge_states(),
        }
    }

    /// Looks at the states once more, of which one was not open a moment ago. That the peer is not believed counts more.
    #[cold]
    #[inline(never)]
    fn judge_states(&self) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::PeerFault);
        }
        let [own, peer] =
            [End::Producer, End::Consumer].map(|end| self.memory.state(end).load_relaxed());
        match u64::from(own) | u64::from(peer) << 32 {
            BOTH_OPEN => Ok(()),
            _ => Err(why_not_open(own, peer)),
        }
    }

    /// Whether `wanted`, 1 at least and at most the capacity, are known to be free behind the tail: asked of the tail that is
    /// to be, which is needed next.
    #[inline(always)]
    pub(crate) fn fits(&self, wanted: u32) -> bool {
        !has_reached(self.tail.wrapping_add(wanted), self.beyond)
    }

    fn free(&self) -> u32 {
        self.beyond.wrapping_sub(self.tail).wrapping_sub(1)
    }

    #[inline]
    fn used(&self) -> u32 {
        self.tail.wrapping_sub(self.head())
    }

    /// The newest head that was seen and found possible.
    #[inline]
    fn head(&self) -> u32 {
        self.beyond.wrapping_sub(self.capacity).wrapping_sub(1)
    }

    /// Takes over the consumer's head if it is between the last one and the tail.
    fn refresh_head(&mut self) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::PeerFault);
        }
        // SYNC(ring.release): the consumer has read what is before this head.
        let head = self.memory.head().load_acquire();
        let advance = head.wrapping_sub(self.head());
        let possible = advance <= self.used() && advance.is_multiple_of(K::GRANULE);
        if !possible && !crate::sabotaged!("head_not_checked") {
            return Err(self.poison());
        }
        let read_twice = match K::KIND {
            Kind::Slot => crate::sabotaged!("slot_head_read_twice"),
            Kind::Byte => crate::sabotaged!("byte_head_read_twice"),
            Kind::Packet => crate::sabotaged!("packet_head_read_twice"),
        };
        // The word that was judged, and no other that is there by now.
        let head = match read_twice {
            true => self.memory.head().load_acquire(),
            false => head,
        };
        let capacity = match crate::sabotaged!("producer_by_shared_geometry") {
            #[cfg(not(loom))]
            true => self.memory.shared_capacity(),
            _ => self.capacity,
        };
        self.beyond = first_beyond(head, capacity);
        Ok(())
    }

    /// Believes the peer no more. No room is left, so that who looks for some comes where this is asked.
    fn poison(&mut self) -> Error {
        self.poisoned = true;
        self.beyond = self.tail.wrapping_add(1);
        Error::PeerFault
    }

    /// Moves the tail over `count` that were written.
    #[inline]
    pub(crate) fn advance(&mut self, count: u32) {
        self.tail = self.tail.wrapping_add(count);
    }

    /// Tells of the tail.
    #[inline]
    pub(crate) fn store_tail(&mut self) {
        // SYNC(ring.publish): what is before the tail is visible to who sees it.
        self.memory.tail().store(self.tail, Ordering::Release);
    }

    /// Wakes the consumer if the tail, on its way from `old` to where it is now, passed what it waits for.
    #[inline]
    pub(crate) fn wake_consumer(&mut self, old: u32) {
        if !self.wait.wakes() {
            return;
        }
        wake_fence(self.form, End::Producer);
        let waits_until = self.memory.consumer_waits_until().load_relaxed();
        if has_crossed(old, waits_until, self.tail) {
            self.wait.wake();
        }
    }

    /// Returns once there is room for `wanted`, looking briefly and then sleeping.
    pub(crate) fn wait_until_free(&mut self, wanted: u32, deadline_ns: u64) -> Result<(), Error> {
        match self.check_space(wanted) {
            Err(Error::Full) if deadline_ns != 0 => {}
            answer => return answer,
        }
        for _ in 0..self.spin.looks() {
            spin_loop();
            match self.check_space(wanted) {
                Err(Error::Full) => {}
                answer => {
                    self.spin.paid_off();
                    return answer;
                }
            }
        }
        self.spin.was_in_vain();
        let answer = self.sleep(wanted, deadline_ns);
        self.disarm();
        answer
    }

    fn sleep(&mut self, wanted: u32, deadline_ns: u64) -> Result<(), Error> {
        loop {
            let Some(seen) = self.arm(wanted)? else {
                return Ok(());
            };
            if let Err(error) = self.wait.wait(seen, deadline_ns) {
                return match self.check_space(wanted) {
                    _ if is_told_once(error) => Err(error),
                    Err(Error::Full) => Err(error),
                    answer => answer,
                };
            }
        }
    }

    /// Announces that this end is about to sleep until `wanted` slots or bytes are free, at least one, and looks a last time.
    ///
    /// For who sleeps otherwise than by [`Wait::wait`], such as at a port or as a task: `None` says that there is room
    /// and no reason to sleep; `Some(seen)` that from now on the consumer wakes this end when its index passes `seen`.
    /// Look again after sleeping, and [`Producer::disarm`] in the end. On an asymmetric ring this is not enough: only
    /// [`Wait::wait`] brings the barrier.
    ///
    /// # Errors
    /// As sending, [`Error::Full`] aside; [`Error::TooLarge`]: more than half of the slots, rounded up, or than all bytes.
    pub fn arm(&mut self, wanted: u32) -> Result<Option<u32>, Error> {
        let most = match crate::sabotaged!("armed_for_every_slot") {
            true => self.capacity,
            false => self.most_awaited(),
        };
        if wanted > most {
            return Err(Error::TooLarge);
        }
        let wanted = wanted.max(1);
        let room = self.threshold.max(wanted);
        let seen = head_for_space(self.tail, room, self.capacity);
        self.memory.waits_until().store(seen, Ordering::Relaxed);
        sleep_fence(self.form, End::Producer);
        match self.check_space(wanted) {
            Err(Error::Full) => Ok(Some(seen)),
            answer => answer.map(|()| None),
        }
    }

    /// Takes the announcement back, so that the consumer does not wake nobody.
    pub fn disarm(&mut self) {
        self.memory
            .waits_until()
            .store(self.head(), Ordering::Relaxed);
    }
}
