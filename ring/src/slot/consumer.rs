//! The receiving end of a SLOT ring.

use core::cell::Cell;
use core::hint::spin_loop;
use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use abi::ring::{End, EndState, sequence, word_length, word_sequence};

use super::answer_for_states;
use crate::Error;
use crate::index::{has_crossed, is_armed, max_threshold, published};
use crate::memory::ConsumerMemory;
use crate::sync::{sleep_fence, wake_fence};
use crate::wait::{Spin, Wait};

/// The receiving end. There is one for a ring; it may change threads but is never used by two at a time.
pub struct Consumer<W> {
    memory: ConsumerMemory,
    wait: W,
    capacity: u32,
    max_message_bytes: usize,
    head: u32,
    /// The head that the producer has been told of.
    given_back: u32,
    /// So many released slots are given back without being asked for.
    quarter: u32,
    threshold: u32,
    spin: Spin,
    poisoned: bool,
    not_sync: PhantomData<Cell<()>>,
}

impl<W: Wait> Consumer<W> {
    /// Takes up the receiving end where its last holder gave it back; a new ring begins empty.
    ///
    /// What a holder received and did not give back before it was gone is received again: at least once, not exactly once.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the header is not complete or tells of another geometry. [`Error::Unsupported`]: the ring is
    /// asymmetric. [`Error::PeerFault`]: head and tail cannot belong together.
    pub fn attach(memory: ConsumerMemory, wait: W) -> Result<Self, Error> {
        memory.check_header()?;
        let geometry = memory.geometry();
        let head = memory.head().load(Ordering::Relaxed);
        let tail = memory.tail().load_acquire();
        published(tail, head, geometry.capacity).ok_or(Error::PeerFault)?;
        Ok(Self {
            memory,
            wait,
            capacity: geometry.capacity,
            max_message_bytes: geometry.max_message_bytes(),
            head,
            given_back: head,
            quarter: (geometry.capacity / 4).max(1),
            threshold: 1,
            spin: Spin::new(),
            poisoned: false,
            not_sync: PhantomData,
        })
    }

    /// Receives one message into the beginning of `target` and returns its length in bytes.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::TooLarge`]: it is longer than `target` and still in the ring; and, once everything that was
    /// sent has been received, [`Error::PeerClosed`], [`Error::Closed`], [`Error::Revoked`]; [`Error::PeerFault`].
    pub fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, Error> {
        let length = self.next_length()?;
        let target = target.get_mut(..length).ok_or(Error::TooLarge)?;
        self.memory.read_payload(self.head, 0, target);
        self.release();
        Ok(length)
    }

    /// Receives one message, sleeping while the ring is empty until `deadline_ns`: absolute monotonic nanoseconds,
    /// 0 = do not wait, `u64::MAX` = for ever.
    ///
    /// # Errors
    /// As [`Consumer::try_receive`], and what [`Wait::wait`] may answer.
    pub fn receive(&mut self, target: &mut [u8], deadline_ns: u64) -> Result<usize, Error> {
        match self.try_receive(target) {
            Err(Error::Empty) if deadline_ns != 0 => {
                self.wait_for_message(deadline_ns)?;
                self.try_receive(target)
            }
            answer => answer,
        }
    }

    /// The next message, in place. It stays in the ring until [`Message::release`].
    ///
    /// # Errors
    /// As [`Consumer::try_receive`].
    pub fn peek(&mut self) -> Result<Message<'_, W>, Error> {
        let length = self.next_length()?;
        Ok(Message {
            consumer: self,
            length,
        })
    }

    /// Returns once a message is there, looking briefly and then sleeping until `deadline_ns`.
    ///
    /// Once asleep it may stay so until as many messages are there as [`Consumer::set_wake_threshold`] says.
    ///
    /// # Errors
    /// As [`Consumer::receive`], [`Error::Empty`] if `deadline_ns` is 0.
    pub fn wait_for_message(&mut self, deadline_ns: u64) -> Result<(), Error> {
        match self.check_message() {
            Err(Error::Empty) if deadline_ns != 0 => {}
            answer => return answer,
        }
        for _ in 0..self.spin.looks() {
            spin_loop();
            match self.check_message() {
                Err(Error::Empty) => {}
                answer => {
                    self.spin.paid_off();
                    return answer;
                }
            }
        }
        self.spin.was_in_vain();
        let answer = self.sleep(deadline_ns);
        // Disarm, so that the producer does not wake nobody.
        self.memory
            .waits_until()
            .store(self.head, Ordering::Relaxed);
        answer
    }

    fn sleep(&mut self, deadline_ns: u64) -> Result<(), Error> {
        loop {
            let goal = self.head.wrapping_add(self.threshold);
            self.memory.waits_until().store(goal, Ordering::Relaxed);
            sleep_fence();
            match self.check_message() {
                Err(Error::Empty) => {}
                answer => return answer,
            }
            if let Err(error) = self.wait.wait(goal, deadline_ns) {
                return match self.check_message() {
                    Err(Error::Empty) => Err(error),
                    answer => answer,
                };
            }
        }
    }

    /// Sets how many messages must be there before a sleeping consumer is woken: 1 unless set.
    ///
    /// More means fewer wakeups, and messages that lie unseen until there are enough, the producer closes its end or the
    /// deadline passes. With more than 1, do not wait for ever on a producer that waits for answers.
    ///
    /// # Errors
    /// [`Error::Invalid`]: zero, or more than half of the capacity, rounded up.
    pub fn set_wake_threshold(&mut self, messages: u32) -> Result<(), Error> {
        if messages == 0 || messages > max_threshold(self.capacity) {
            return Err(Error::Invalid);
        }
        self.threshold = messages;
        Ok(())
    }

    /// Gives all released slots back to the producer now, and wakes it if it waits for them.
    ///
    /// Worth it before waiting for something else than this ring while messages are left in it.
    pub fn flush(&mut self) {
        let old = self.given_back;
        if old == self.head {
            return;
        }
        self.given_back = self.head;
        // SYNC(ring.release): the slots have been read; the producer may write them.
        self.memory.head().store(self.head, Ordering::Release);
        wake_fence();
        let waits_until = self.memory.producer_waits_until().load_relaxed();
        if has_crossed(old, waits_until, self.head) {
            self.wait.wake();
        }
    }

    /// Messages that are there, as far as the producer's tail tells.
    ///
    /// # Errors
    /// [`Error::PeerFault`].
    pub fn len(&mut self) -> Result<u32, Error> {
        if self.poisoned {
            return Err(Error::PeerFault);
        }
        let tail = self.memory.tail().load_acquire();
        match published(tail, self.head, self.capacity) {
            Some(length) => Ok(length),
            None => Err(self.poison()),
        }
    }

    /// Whether no message is there, as far as the producer's tail tells.
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

    /// State of the producer's end, as the kernel last told it. Messages may be left whatever it is.
    pub fn peer_state(&self) -> EndState {
        EndState::from_raw(self.memory.state(End::Producer).load_acquire())
            .unwrap_or(EndState::Poisoned)
    }

    /// Whether the producer's end is open. It may have closed by the time of the answer.
    pub fn is_peer_alive(&self) -> bool {
        self.peer_state() == EndState::Open
    }

    fn poison(&mut self) -> Error {
        self.poisoned = true;
        Error::PeerFault
    }

    fn check_message(&mut self) -> Result<(), Error> {
        self.next_length().map(|_| ())
    }

    /// Length of the next message, bounded. An empty ring gives everything back and looks at the states first.
    fn next_length(&mut self) -> Result<usize, Error> {
        if self.poisoned {
            return Err(Error::PeerFault);
        }
        if let Some(length) = self.look()? {
            return Ok(length);
        }
        self.flush();
        // SYNC(ring.close): what was sent before the end closed is visible to the look after these loads.
        let own = self.memory.state(End::Consumer).load_acquire();
        let peer = self.memory.state(End::Producer).load_acquire();
        let Err(answer) = answer_for_states(own, peer) else {
            return Err(Error::Empty);
        };
        self.look()?.ok_or(answer)
    }

    /// One look at the slot of `head`: its word is loaded once and judged as a copy.
    fn look(&mut self) -> Result<Option<usize>, Error> {
        // SYNC(ring.publish): who sees the sequence sees the payload.
        let word = self.memory.slot_word(self.head).load_acquire();
        let expected = sequence(self.head);
        let found = word_sequence(word);
        if found == expected {
            let length = word_length(word) as usize;
            if length > self.max_message_bytes {
                return Err(self.poison());
            }
            return Ok(Some(length));
        }
        if found == expected.wrapping_sub(self.capacity) {
            return Ok(None);
        }
        Err(self.poison())
    }

    fn release(&mut self) {
        self.head = self.head.wrapping_add(1);
        let owed = self.head.wrapping_sub(self.given_back);
        let waits_until = self.memory.producer_waits_until().load_relaxed();
        if owed >= self.quarter || is_armed(waits_until, self.given_back, self.capacity) {
            self.flush();
        }
    }
}

/// A message that is still in the ring.
///
/// Its bytes can only be copied out: the producer may write them at any time, so two copies may differ.
#[must_use = "the message stays in the ring until it is released"]
pub struct Message<'a, W> {
    consumer: &'a mut Consumer<W>,
    length: usize,
}

impl<W: Wait> Message<'_, W> {
    /// Length in bytes. It was read once and does not change.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it is a message of no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Fills `target` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: they go beyond the message.
    pub fn read(&self, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        match offset.checked_add(target.len()) {
            Some(end) if end <= self.length => {
                self.consumer
                    .memory
                    .read_payload(self.consumer.head, offset, target);
                Ok(())
            }
            _ => Err(Error::TooLarge),
        }
    }

    /// Takes the message out of the ring.
    pub fn release(self) {
        self.consumer.release();
    }
}
