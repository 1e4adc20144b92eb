//! The sending end of a SLOT ring.

use core::cell::Cell;
use core::hint::spin_loop;
use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use abi::ring::{End, EndState, sequence, slot_word, word_sequence};

use super::answer_for_states;
use crate::Error;
use crate::index::{distance, has_crossed, head_for_space, max_threshold};
use crate::memory::ProducerMemory;
use crate::sync::{sleep_fence, wake_fence};
use crate::wait::{Spin, Wait};

/// The sending end. There is one for a ring; it may change threads but is never used by two at a time.
pub struct Producer<W> {
    memory: ProducerMemory,
    wait: W,
    capacity: u32,
    max_message_bytes: usize,
    tail: u32,
    /// The newest head that was seen and found possible.
    head: u32,
    threshold: u32,
    spin: Spin,
    poisoned: bool,
    not_sync: PhantomData<Cell<()>>,
}

impl<W: Wait> Producer<W> {
    /// Takes up the sending end where its last holder left it; a new ring begins empty.
    ///
    /// A message that a holder published as it died counts as sent.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the header is not complete or tells of another geometry. [`Error::Unsupported`]: the ring is
    /// asymmetric. [`Error::PeerFault`]: head and tail cannot belong together.
    pub fn attach(memory: ProducerMemory, wait: W) -> Result<Self, Error> {
        memory.check_header()?;
        let geometry = memory.geometry();
        let stored = memory.tail().load(Ordering::Relaxed);
        // The last holder may have died between the slot word and the tail.
        let word = memory.slot_word(stored).load(Ordering::Acquire);
        let tail = match word_sequence(word) {
            published if published == sequence(stored) => stored.wrapping_add(1),
            _ => stored,
        };
        let head = memory.head().load_acquire();
        distance(tail, head, geometry.capacity).ok_or(Error::PeerFault)?;
        let mut producer = Self {
            memory,
            wait,
            capacity: geometry.capacity,
            max_message_bytes: geometry.max_message_bytes(),
            tail,
            head,
            threshold: 1,
            spin: Spin::new(),
            poisoned: false,
            not_sync: PhantomData,
        };
        if tail != stored {
            producer.memory.tail().store(tail, Ordering::Release);
            producer.wake_consumer(stored);
        }
        Ok(producer)
    }

    /// Sends one message, which may be empty.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Full`], [`Error::PeerClosed`], [`Error::Closed`], [`Error::Revoked`],
    /// [`Error::PeerFault`]. That it was sent does not say that it will be received.
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let old = self.tail;
        self.publish_copy(bytes)?;
        self.wake_consumer(old);
        Ok(())
    }

    /// Sends as many of `messages` as there is room for, with one look at whether the consumer sleeps.
    ///
    /// Returns how many were sent, from the first on. Each can be received as soon as it is there.
    ///
    /// # Errors
    /// As [`Producer::try_send`], if not even the first could be sent. What stops a later one is told by the next call.
    pub fn send_batch(&mut self, messages: &[&[u8]]) -> Result<usize, Error> {
        let old = self.tail;
        let mut sent = 0;
        for message in messages {
            match self.publish_copy(message) {
                Ok(()) => sent += 1,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if sent > 0 {
            self.wake_consumer(old);
        }
        Ok(sent)
    }

    /// Sends one message, sleeping while the ring is full until `deadline_ns`: absolute monotonic nanoseconds,
    /// 0 = do not wait, `u64::MAX` = for ever.
    ///
    /// # Errors
    /// As [`Producer::try_send`], and what [`Wait::wait`] may answer.
    pub fn send(&mut self, bytes: &[u8], deadline_ns: u64) -> Result<(), Error> {
        match self.try_send(bytes) {
            Err(Error::Full) if deadline_ns != 0 => {
                self.wait_for_space(deadline_ns)?;
                self.try_send(bytes)
            }
            answer => answer,
        }
    }

    /// Reserves the next slot to write a message of up to `length` bytes in place.
    ///
    /// Nothing is sent until [`Reservation::commit`]; a reservation that is dropped leaves no trace.
    ///
    /// # Errors
    /// As [`Producer::try_send`].
    pub fn reserve(&mut self, length: usize) -> Result<Reservation<'_, W>, Error> {
        self.check_length(length)?;
        self.check_space()?;
        Ok(Reservation {
            producer: self,
            length,
        })
    }

    /// Returns once a message can be sent, looking briefly and then sleeping until `deadline_ns`.
    ///
    /// Once asleep it may stay so until as many slots are free as [`Producer::set_wake_threshold`] says. The consumer
    /// gives slots back at the latest when it next uses the ring, finds it empty, or flushes.
    ///
    /// # Errors
    /// As [`Producer::send`], [`Error::Full`] if `deadline_ns` is 0.
    pub fn wait_for_space(&mut self, deadline_ns: u64) -> Result<(), Error> {
        match self.check_space() {
            Err(Error::Full) if deadline_ns != 0 => {}
            answer => return answer,
        }
        for _ in 0..self.spin.looks() {
            spin_loop();
            match self.check_space() {
                Err(Error::Full) => {}
                answer => {
                    self.spin.paid_off();
                    return answer;
                }
            }
        }
        self.spin.was_in_vain();
        let answer = self.sleep(deadline_ns);
        // Disarm, so that the consumer does not wake nobody.
        self.memory
            .waits_until()
            .store(self.head, Ordering::Relaxed);
        answer
    }

    fn sleep(&mut self, deadline_ns: u64) -> Result<(), Error> {
        loop {
            let goal = head_for_space(self.tail, self.threshold, self.capacity);
            self.memory.waits_until().store(goal, Ordering::Relaxed);
            sleep_fence();
            match self.check_space() {
                Err(Error::Full) => {}
                answer => return answer,
            }
            if let Err(error) = self.wait.wait(goal, deadline_ns) {
                return match self.check_space() {
                    Err(Error::Full) => Err(error),
                    answer => answer,
                };
            }
        }
    }

    /// Sets how many slots must be free before a sleeping producer is woken: 1 unless set.
    ///
    /// More means fewer wakeups and longer waits; a quarter of the ring is a good choice for bulk transfers.
    ///
    /// # Errors
    /// [`Error::Invalid`]: zero, or more than half of the capacity, rounded up.
    pub fn set_wake_threshold(&mut self, slots: u32) -> Result<(), Error> {
        if slots == 0 || slots > max_threshold(self.capacity) {
            return Err(Error::Invalid);
        }
        self.threshold = slots;
        Ok(())
    }

    /// Messages sent and not yet given back by the consumer, which may have received more of them by now.
    ///
    /// # Errors
    /// [`Error::PeerFault`].
    pub fn len(&mut self) -> Result<u32, Error> {
        self.refresh_head()?;
        Ok(self.tail.wrapping_sub(self.head))
    }

    /// Whether the consumer has given everything back.
    ///
    /// # Errors
    /// [`Error::PeerFault`].
    pub fn is_empty(&mut self) -> Result<bool, Error> {
        self.len().map(|length| length == 0)
    }

    /// Slots of the ring.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Longest message, in bytes.
    pub fn max_message_bytes(&self) -> usize {
        self.max_message_bytes
    }

    /// State of the consumer's end, as the kernel last told it.
    pub fn peer_state(&self) -> EndState {
        EndState::from_raw(self.memory.state(End::Consumer).load_acquire())
            .unwrap_or(EndState::Poisoned)
    }

    /// Whether the consumer's end is open. It may have closed by the time of the answer.
    pub fn is_peer_alive(&self) -> bool {
        self.peer_state() == EndState::Open
    }

    fn check_length(&self, length: usize) -> Result<(), Error> {
        if length > self.max_message_bytes {
            Err(Error::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Whether the slot of `tail` is ours to write.
    fn check_space(&mut self) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::PeerFault);
        }
        let own = self.memory.state(End::Producer).load_relaxed();
        let peer = self.memory.state(End::Consumer).load_relaxed();
        answer_for_states(own, peer)?;
        if self.tail.wrapping_sub(self.head) == self.capacity {
            self.refresh_head()?;
            if self.tail.wrapping_sub(self.head) == self.capacity {
                return Err(Error::Full);
            }
        }
        Ok(())
    }

    /// Takes over the consumer's head if it is between the last one and the tail.
    fn refresh_head(&mut self) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::PeerFault);
        }
        // SYNC(ring.release): the consumer has read the slots before this head.
        let head = self.memory.head().load_acquire();
        let advance = head.wrapping_sub(self.head);
        if advance > self.tail.wrapping_sub(self.head) {
            self.poisoned = true;
            return Err(Error::PeerFault);
        }
        self.head = head;
        Ok(())
    }

    fn publish_copy(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.check_length(bytes.len())?;
        self.check_space()?;
        self.memory.write_payload(self.tail, 0, bytes);
        self.publish(bytes.len());
        Ok(())
    }

    fn publish(&mut self, length: usize) {
        let index = self.tail;
        self.tail = index.wrapping_add(1);
        // At most `MAX_SLOT_BYTES`, so it fits.
        let word = slot_word(sequence(index), length as u32);
        // SYNC(ring.publish): the payload is visible to who sees this sequence.
        self.memory.slot_word(index).store(word, Ordering::Release);
        // For the kernel's look before it lets the consumer sleep, and for whoever holds this end next.
        self.memory.tail().store(self.tail, Ordering::Release);
    }

    /// Wakes the consumer if the tail, on its way from `old` to where it is now, passed what it waits for.
    fn wake_consumer(&mut self, old: u32) {
        wake_fence();
        let waits_until = self.memory.consumer_waits_until().load_relaxed();
        if has_crossed(old, waits_until, self.tail) {
            self.wait.wake();
        }
    }
}

/// A slot that is being written in place.
#[must_use = "nothing is sent until it is committed"]
pub struct Reservation<'a, W> {
    producer: &'a mut Producer<W>,
    length: usize,
}

impl<W: Wait> Reservation<'_, W> {
    /// The bytes of the message. They begin as whatever an earlier message left there.
    #[cfg(not(loom))]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.producer
            .memory
            .payload_mut(self.producer.tail, self.length)
    }

    /// Copies `bytes` into the message from `offset` on.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: they go beyond what was reserved.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        match offset.checked_add(bytes.len()) {
            Some(end) if end <= self.length => {
                self.producer
                    .memory
                    .write_payload(self.producer.tail, offset, bytes);
                Ok(())
            }
            _ => Err(Error::TooLarge),
        }
    }

    /// Sends the first `length` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: more than was reserved; nothing is sent.
    pub fn commit(self, length: usize) -> Result<(), Error> {
        if length > self.length {
            return Err(Error::TooLarge);
        }
        let old = self.producer.tail;
        self.producer.publish(length);
        self.producer.wake_consumer(old);
        Ok(())
    }
}
