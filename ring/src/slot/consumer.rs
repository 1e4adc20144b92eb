//! Receiving from the slots of a ring.

use super::{Consumer, judge, payload, word};
use crate::ends::Batch;
use crate::index::max_threshold;
use crate::{Error, SharedBytes, Wait};

impl<W: Wait> Consumer<W> {
    /// Receives one message into the beginning of `target` and returns its length in bytes.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::TooLarge`]: it is longer than `target` and still in the ring; and, once everything that was
    /// sent has been received, [`Error::PeerClosed`], [`Error::PeerDied`], [`Error::Closed`], [`Error::Revoked`];
    /// [`Error::PeerFault`].
    #[inline(always)]
    pub fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, Error> {
        let (head, length) = (self.head, target.len());
        let slot = self.memory.slot(head);
        let found = slot.word();
        // A message of just this length, as all are where they have one.
        if found == word(head, length) && (length as u64) < self.lengths {
            let next = head.wrapping_add(1);
            self.head = next;
            slot.read(target);
            self.give_back_before(next);
            return Ok(length);
        }
        self.receive_other(found, target)
    }

    /// Receives a message that is shorter than there is room for, of whose slot this is the word, or tells why there is none.
    #[inline(never)]
    fn receive_other(&mut self, word: u64, target: &mut [u8]) -> Result<usize, Error> {
        let length = match judge(self, word)? {
            Some(length) => length,
            None => self.last_look()?,
        };
        let target = target.get_mut(..length).ok_or(Error::TooLarge)?;
        self.memory.slot(self.head).read(target);
        self.release(1);
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
    #[inline]
    pub fn peek(&mut self) -> Result<Message<'_, W>, Error> {
        let length = self.next()?;
        Ok(Message {
            consumer: self,
            length,
        })
    }

    /// Hands up to `most` messages, and at most a ring of them, to `each`, one after the other, and takes them out of the ring
    /// with one look at whether the producer waits. Returns how many there were. A message that `each` panics of stays.
    ///
    /// # Errors
    /// As [`Consumer::try_receive`], if there was not even one. What stops a later one is told by the next call.
    #[inline]
    pub fn receive_batch(
        &mut self,
        most: usize,
        mut each: impl FnMut(SharedBytes<'_>),
    ) -> Result<usize, Error> {
        let Batch(consumer) = &mut Batch(self);
        let mut received = 0;
        while received < most {
            let next = consumer.next();
            match next.and_then(|length| consumer.check_batch(1).map(|()| length)) {
                Ok(length) => {
                    let payload = payload(consumer.memory.geometry(), consumer.head);
                    each(SharedBytes::new(&consumer.memory, payload, length));
                    consumer.skip(1);
                    received += 1;
                }
                Err(error) if received == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(received)
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
        if !crate::sabotaged!("threshold_not_kept") {
            self.threshold = messages;
        }
        Ok(())
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

    /// Its bytes.
    pub fn bytes(&self) -> SharedBytes<'_> {
        let memory = &self.consumer.memory;
        let payload = payload(memory.geometry(), self.consumer.head);
        SharedBytes::new(memory, payload, self.length)
    }

    /// Fills `target` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: they go beyond the message.
    pub fn read(&self, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        self.bytes().read(offset, target)
    }

    /// Takes the message out of the ring.
    pub fn release(self) {
        self.consumer.release(1);
    }
}
