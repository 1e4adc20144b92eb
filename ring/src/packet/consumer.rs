//! Receiving records.

use abi::ring::packet;

use super::{Consumer, Record, SHORT};
use crate::ends::Batch;
use crate::index::has_reached;
use crate::{Error, SharedBytes, Wait};

impl<W: Wait> Consumer<W> {
    /// Receives one message into the beginning of `target` and returns its tag and its length in bytes.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::TooLarge`]: it is longer than `target` and still in the ring; and, once everything that was
    /// sent has been received, [`Error::PeerClosed`], [`Error::PeerDied`], [`Error::Closed`], [`Error::Revoked`];
    /// [`Error::PeerFault`].
    #[inline(always)]
    pub fn try_receive(&mut self, target: &mut [u8]) -> Result<(u32, usize), Error> {
        let length = target.len();
        if length <= SHORT
            && let Some(tag) = self.fill(target)
        {
            return Ok((tag, length));
        }
        self.receive_other(target)
    }

    /// Receives a message that is as long as `target`, if the next one is and is there, and returns its tag. Otherwise nothing
    /// was taken, and no more judged than a tail that tells of so many bytes.
    #[inline(always)]
    fn fill(&mut self, target: &mut [u8]) -> Option<u32> {
        let head = self.head;
        let source = self.memory.at(head);
        // Short, so it fits.
        let length = target.len() as u32;
        let next = head.wrapping_add(packet::extent(head, length));
        // A look too many, as by who reads bytes.
        if has_reached(next, self.tail) {
            self.tail = self.glance(head, next.wrapping_sub(head))?;
        }
        let found = source.head();
        if packet::length(found) != length {
            return None;
        }
        self.head = next;
        match length {
            packet::LINE_FROM.. => source.read_behind(packet::payload_offset(head, length), target),
            _ => source.read_packed(target),
        }
        self.give_back_before(next);
        Some(packet::tag(found))
    }

    /// Receives a message that is shorter than there is room for, or tells why there is none.
    #[inline(never)]
    fn receive_other(&mut self, target: &mut [u8]) -> Result<(u32, usize), Error> {
        let record = self.next()?;
        let target = target.get_mut(..record.length()).ok_or(Error::TooLarge)?;
        self.memory.at(self.head).read_behind(record.offset, target);
        self.release(record.extent);
        Ok((record.tag, record.length()))
    }

    /// Receives one message, sleeping while the ring is empty until `deadline_ns`: absolute monotonic nanoseconds,
    /// 0 = do not wait, `u64::MAX` = for ever.
    ///
    /// # Errors
    /// As [`Consumer::try_receive`], and what [`Wait::wait`] may answer.
    pub fn receive(&mut self, target: &mut [u8], deadline_ns: u64) -> Result<(u32, usize), Error> {
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
        let record = self.next()?;
        Ok(Message {
            consumer: self,
            record,
        })
    }

    /// Hands up to `most` messages with their tags, and at most a ring of them, to `each`, one after the other, and takes them
    /// out of the ring with one look at whether the producer waits. Returns how many there were. A message that `each`
    /// panics of stays.
    ///
    /// # Errors
    /// As [`Consumer::try_receive`], if there was not even one. What stops a later one is told by the next call.
    pub fn receive_batch(
        &mut self,
        most: usize,
        mut each: impl FnMut(u32, SharedBytes<'_>),
    ) -> Result<usize, Error> {
        let Batch(consumer) = &mut Batch(self);
        let mut received = 0;
        while received < most {
            let next = consumer.next();
            match next.and_then(|record| consumer.check_batch(record.extent).map(|()| record)) {
                Ok(record) => {
                    let payload = record.payload(consumer.head, consumer.capacity);
                    let bytes = SharedBytes::new(&consumer.memory, payload, record.length());
                    each(record.tag, bytes);
                    consumer.skip(record.extent);
                    received += 1;
                }
                Err(error) if received == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(received)
    }
}

/// A message that is still in the ring.
///
/// Its bytes can only be copied out: the producer may write them at any time, so two copies may differ.
#[must_use = "the message stays in the ring until it is released"]
pub struct Message<'a, W> {
    consumer: &'a mut Consumer<W>,
    record: Record,
}

impl<W: Wait> Message<'_, W> {
    /// Its tag. It was read once and does not change.
    pub fn tag(&self) -> u32 {
        self.record.tag
    }

    /// Length in bytes. It was read once and does not change.
    pub fn len(&self) -> usize {
        self.record.length()
    }

    /// Whether it is a message of no bytes.
    pub fn is_empty(&self) -> bool {
        self.record.length == 0
    }

    /// Its bytes.
    pub fn bytes(&self) -> SharedBytes<'_> {
        let consumer = &*self.consumer;
        let payload = self.record.payload(consumer.head, consumer.capacity);
        SharedBytes::new(&consumer.memory, payload, self.record.length())
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
        self.consumer.release(self.record.extent);
    }
}
