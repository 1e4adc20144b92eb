//! Sending into the slots of a ring.

use core::sync::atomic::Ordering;

use super::{Producer, SHORT, payload, word};
use crate::{Error, Wait};

impl<W: Wait> Producer<W> {
    /// Sends one message, which may be empty.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Full`], [`Error::PeerClosed`], [`Error::PeerDied`], [`Error::Closed`],
    /// [`Error::Revoked`], [`Error::PeerFault`]. That it was sent does not say that it will be received.
    #[inline(always)]
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
    #[inline]
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
    #[inline]
    pub fn reserve(&mut self, length: usize) -> Result<Reservation<'_, W>, Error> {
        self.check_length(length)?;
        self.check_space(1)?;
        Ok(Reservation {
            producer: self,
            length,
        })
    }

    /// Returns once a message can be sent, looking briefly and then sleeping until `deadline_ns`.
    ///
    /// Once asleep it may stay so until as many slots are free as [`crate::Producer::set_wake_threshold`] says. The
    /// consumer gives slots back at the latest when it next uses the ring, finds it empty, or flushes.
    ///
    /// # Errors
    /// As [`Producer::send`], [`Error::Full`] if `deadline_ns` is 0.
    pub fn wait_for_space(&mut self, deadline_ns: u64) -> Result<(), Error> {
        self.wait_until_free(1, deadline_ns)
    }

    #[inline(always)]
    fn check_length(&self, length: usize) -> Result<(), Error> {
        // Of a length that is known when this is compiled, often neither is asked.
        if length > SHORT && length > self.max_message_bytes {
            Err(Error::TooLarge)
        } else {
            Ok(())
        }
    }

    #[inline(always)]
    fn publish_copy(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.check_length(bytes.len())?;
        self.check_space(1)?;
        let index = self.tail;
        self.advance(1);
        let word = word(index, bytes.len());
        // The tail is for the kernel's look before it lets the consumer sleep, and for whoever holds this end next.
        self.memory.publish_slot(index, bytes, word, self.tail);
        Ok(())
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
        let payload = self.payload();
        self.producer.memory.bytes_mut(payload, self.length)
    }

    /// Copies `bytes` into the message from `offset` on.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: they go beyond what was reserved.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        match offset.checked_add(bytes.len()) {
            Some(end) if end <= self.length => {
                let payload = self.payload();
                self.producer.memory.write(payload + offset, bytes);
                Ok(())
            }
            _ => Err(Error::TooLarge),
        }
    }

    fn payload(&self) -> usize {
        payload(self.producer.memory.geometry(), self.producer.tail)
    }

    /// Sends the first `length` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: more than was reserved; nothing is sent.
    pub fn commit(self, length: usize) -> Result<(), Error> {
        if length > self.length {
            return Err(Error::TooLarge);
        }
        let producer = self.producer;
        let index = producer.tail;
        producer.advance(1);
        let word = word(index, length);
        // SYNC(ring.publish): the payload is visible to who sees this word.
        producer
            .memory
            .slot_word(index)
            .store(word, Ordering::Release);
        producer.store_tail();
        producer.wake_consumer(index);
        Ok(())
    }
}
