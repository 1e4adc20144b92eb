//! Sending records.

use super::{Producer, Record, SHORT};
use crate::{Error, Wait};

impl<W: Wait> Producer<W> {
    /// Sends one message with a tag, of which the ring knows nothing. The message may be empty.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Full`], [`Error::PeerClosed`], [`Error::PeerDied`], [`Error::Closed`],
    /// [`Error::Revoked`], [`Error::PeerFault`]. That it was sent does not say that it will be received.
    #[inline(always)]
    pub fn try_send(&mut self, tag: u32, bytes: &[u8]) -> Result<(), Error> {
        let old = self.tail;
        let record = self.room(tag, bytes.len())?;
        self.advance(record.extent);
        self.memory
            .publish_record(old, (record.head(), record.offset), bytes, self.tail);
        self.wake_consumer(old);
        Ok(())
    }

    /// Sends as many of `messages` as there is room for, with one publication and one look at whether the consumer sleeps.
    ///
    /// Returns how many were sent, from the first on. Where `messages` panics, those that it had given are sent.
    ///
    /// # Errors
    /// As [`Producer::try_send`], if not even the first could be sent. What stops a later one is told by the next call.
    pub fn send_batch<'a>(
        &mut self,
        messages: impl IntoIterator<Item = (u32, &'a [u8])>,
    ) -> Result<usize, Error> {
        let batch = Batch {
            old: self.tail,
            producer: self,
        };
        let mut sent = 0;
        for (tag, bytes) in messages {
            match batch.producer.write_record(tag, bytes) {
                Ok(()) => sent += 1,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    /// Sends one message, sleeping while the ring is too full until `deadline_ns`: absolute monotonic nanoseconds,
    /// 0 = do not wait, `u64::MAX` = for ever.
    ///
    /// # Errors
    /// As [`Producer::try_send`], and what [`Wait::wait`] may answer.
    pub fn send(&mut self, tag: u32, bytes: &[u8], deadline_ns: u64) -> Result<(), Error> {
        match self.try_send(tag, bytes) {
            Err(Error::Full) if deadline_ns != 0 => {
                self.wait_for_space(bytes.len(), deadline_ns)?;
                self.try_send(tag, bytes)
            }
            answer => answer,
        }
    }

    /// Reserves room to write a message of `length` bytes in place.
    ///
    /// Nothing is sent until [`Reservation::commit`]; a reservation that is dropped leaves no trace.
    ///
    /// # Errors
    /// As [`Producer::try_send`].
    pub fn reserve(&mut self, length: usize) -> Result<Reservation<'_, W>, Error> {
        let record = self.room(0, length)?;
        Ok(Reservation {
            producer: self,
            record,
        })
    }

    /// Returns once a message of `length` bytes can be sent, looking briefly and then sleeping until `deadline_ns`.
    ///
    /// Once asleep it may stay so until as much is free as [`crate::Producer::set_wake_threshold`] says. The consumer gives
    /// room back at the latest when it next uses the ring, finds it empty, or flushes.
    ///
    /// # Errors
    /// As [`Producer::send`], [`Error::Full`] if `deadline_ns` is 0.
    pub fn wait_for_space(&mut self, length: usize, deadline_ns: u64) -> Result<(), Error> {
        let extent = self.record(0, length)?.extent;
        self.wait_until_free(extent, deadline_ns)
    }

    /// Bytes of the ring that a message of `length` bytes takes when it is sent next: what [`crate::Producer::arm`] is
    /// asked for.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn bytes_of_ring(&self, length: usize) -> Result<u32, Error> {
        self.record(0, length).map(|record| record.extent)
    }

    /// The record that comes next.
    #[inline(always)]
    fn record(&self, tag: u32, length: usize) -> Result<Record, Error> {
        // Of a length that is known when this is compiled, often neither is asked.
        if length > SHORT && length > self.max_message_bytes {
            return Err(Error::TooLarge);
        }
        // At most the capacity, so it fits.
        Ok(Record::new(self.tail, length as u32, tag))
    }

    /// The same if there is room for it.
    #[inline(always)]
    fn room(&mut self, tag: u32, length: usize) -> Result<Record, Error> {
        let record = self.record(tag, length)?;
        self.check_space(record.extent)?;
        Ok(record)
    }

    #[inline(always)]
    fn write_record(&mut self, tag: u32, bytes: &[u8]) -> Result<(), Error> {
        let record = self.room(tag, bytes.len())?;
        self.memory
            .write_record(self.tail, record.head(), record.offset, bytes);
        self.advance(record.extent);
        Ok(())
    }

    /// Writes the head of a record whose payload is there, and goes behind it.
    #[inline(always)]
    fn pass(&mut self, record: Record) {
        self.memory.write_head(self.tail, record.head());
        self.advance(record.extent);
    }

    #[inline(always)]
    fn publish(&mut self, old: u32) {
        self.store_tail();
        self.wake_consumer(old);
    }
}

/// Records that are written one after the other, and published together however that ends.
struct Batch<'a, W: Wait> {
    producer: &'a mut Producer<W>,
    /// Where the first of them is.
    old: u32,
}

impl<W: Wait> Drop for Batch<'_, W> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.producer.tail != self.old {
            self.producer.publish(self.old);
        }
    }
}

/// A record that is being written in place.
#[must_use = "nothing is sent until it is committed"]
pub struct Reservation<'a, W> {
    producer: &'a mut Producer<W>,
    record: Record,
}

impl<W: Wait> Reservation<'_, W> {
    /// The bytes of the message. They begin as whatever an earlier message left there.
    #[cfg(not(loom))]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let payload = self.payload();
        self.producer
            .memory
            .bytes_mut(payload, self.record.length())
    }

    /// Where in the data its payload begins.
    fn payload(&self) -> usize {
        let capacity = self.producer.capacity;
        self.record.payload(self.producer.tail, capacity)
    }

    /// Copies `bytes` into the message from `offset` on.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: they go beyond what was reserved.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        match offset.checked_add(bytes.len()) {
            Some(end) if end <= self.record.length() => {
                let payload = self.payload();
                self.producer.memory.write(payload + offset, bytes);
                Ok(())
            }
            _ => Err(Error::TooLarge),
        }
    }

    /// Sends all of it.
    pub fn commit(self, tag: u32) {
        self.send(tag);
    }

    /// Sends the first `length` bytes.
    ///
    /// What was reserved long and is sent short may be moved, since short messages lie elsewhere.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: more than was reserved; nothing is sent.
    pub fn commit_first(mut self, tag: u32, length: usize) -> Result<(), Error> {
        if length > self.record.length() {
            return Err(Error::TooLarge);
        }
        let shorter = self.producer.record(tag, length)?;
        if shorter.offset != self.record.offset {
            let (from, record) = (self.payload(), self.record);
            let to = from + shorter.offset as usize - record.offset as usize;
            self.producer.memory.move_bytes(from, to, length);
        }
        self.record = shorter;
        self.send(tag);
        Ok(())
    }

    fn send(self, tag: u32) {
        let payload = self.payload();
        let Self { producer, record } = self;
        let old = producer.tail;
        producer.memory.mirror(payload, record.length());
        producer.pass(Record { tag, ..record });
        producer.publish(old);
    }
}
