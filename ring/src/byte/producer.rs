//! Writing into the stream.

use super::{Producer, SHORT};
use crate::{Error, Unfinished, Wait};

impl<W: Wait> Producer<W> {
    /// Writes as much of `bytes` as there is room for, from the first on, and returns how much that was: at least one
    /// byte, unless there are none.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::PeerClosed`], [`Error::PeerDied`], [`Error::Closed`], [`Error::Revoked`],
    /// [`Error::PeerFault`]. That it was written does not say that it will be read.
    #[inline(always)]
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        // Known to be there already: one piece, of a length that may be known when this is compiled.
        match bytes.len() {
            length @ 1..=SHORT if self.fits(length as u32) => {
                self.check_states()?;
                self.put(bytes);
                Ok(length)
            }
            _ => self.write_some(bytes),
        }
    }

    /// Writes what there is room for after a look at the head.
    #[cold]
    #[inline(never)]
    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if bytes.is_empty() {
            return self.check_open().map(|()| 0);
        }
        let free = self.find_some_space()?;
        let written = &bytes[..bytes.len().min(free as usize)];
        self.put(written);
        Ok(written.len())
    }

    /// Writes bytes for which there is room.
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        let old = self.tail;
        // At most the capacity, so it fits.
        self.advance(bytes.len() as u32);
        self.memory.publish_at(old, bytes, self.tail);
        self.wake_consumer(old);
    }

    /// Writes all of `bytes`, sleeping while the ring is full until `deadline_ns`: absolute monotonic nanoseconds, 0 = do
    /// not wait, `u64::MAX` = for ever. They may be more than the ring holds.
    ///
    /// # Errors
    /// As [`Producer::try_write`], and what [`Wait::wait`] may answer; with how much was written before.
    pub fn write_all(&mut self, bytes: &[u8], deadline_ns: u64) -> Result<(), Unfinished> {
        let mut done = 0;
        while done < bytes.len() {
            let answer = match self.try_write(&bytes[done..]) {
                Err(Error::Full) if deadline_ns != 0 => {
                    self.wait_for_space(1, deadline_ns).map(|()| 0)
                }
                answer => answer,
            };
            done += answer.map_err(|error| Unfinished { done, error })?;
        }
        Ok(())
    }

    /// Reserves `length` bytes in a row to be written in place.
    ///
    /// Nothing is written until [`Reservation::commit`]; a reservation that is dropped leaves no trace.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: more than the capacity; and as [`Producer::try_write`].
    pub fn reserve(&mut self, length: usize) -> Result<Reservation<'_, W>, Error> {
        let wanted = self.bounded(length)?;
        match wanted {
            0 => self.check_open()?,
            wanted => self.check_space(wanted)?,
        }
        Ok(Reservation {
            producer: self,
            length,
        })
    }

    /// Returns once `length` bytes can be reserved, looking briefly and then sleeping until `deadline_ns`.
    ///
    /// Once asleep it may stay so until as much is free as [`crate::Producer::set_wake_threshold`] says. The consumer gives
    /// room back at the latest when it next uses the ring, finds it empty, or flushes.
    ///
    /// # Errors
    /// As [`Producer::reserve`], [`Error::Full`] if `deadline_ns` is 0, and what [`Wait::wait`] may answer.
    pub fn wait_for_space(&mut self, length: usize, deadline_ns: u64) -> Result<(), Error> {
        match self.bounded(length)? {
            0 => self.check_open(),
            wanted => self.wait_until_free(wanted, deadline_ns),
        }
    }

    pub(crate) fn bounded(&self, length: usize) -> Result<u32, Error> {
        match u32::try_from(length) {
            Ok(length) if length <= self.capacity => Ok(length),
            _ => Err(Error::TooLarge),
        }
    }

    #[inline]
    fn place(&self) -> usize {
        (self.tail & (self.capacity - 1)) as usize
    }

    #[inline(always)]
    fn publish(&mut self, count: u32) {
        let old = self.tail;
        self.advance(count);
        self.store_tail();
        self.wake_consumer(old);
    }
}

/// Bytes that are being written in place.
#[must_use = "nothing is written until it is committed"]
pub struct Reservation<'a, W> {
    producer: &'a mut Producer<W>,
    length: usize,
}

impl<W: Wait> Reservation<'_, W> {
    /// The bytes. They begin as whatever was there earlier.
    #[cfg(not(loom))]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let place = self.producer.place();
        self.producer.memory.bytes_mut(place, self.length)
    }

    /// Copies `bytes` to `offset` behind the first that was reserved.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: they go beyond what was reserved.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        match offset.checked_add(bytes.len()) {
            Some(end) if end <= self.length => {
                let place = self.producer.place();
                self.producer.memory.write(place + offset, bytes);
                Ok(())
            }
            _ => Err(Error::TooLarge),
        }
    }

    /// Writes the first `length` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: more than was reserved; nothing is written.
    pub fn commit(self, length: usize) -> Result<(), Error> {
        if length > self.length {
            return Err(Error::TooLarge);
        }
        let place = self.producer.place();
        self.producer.memory.mirror(place, length);
        // At most the capacity, so it fits.
        self.producer.publish(length as u32);
        Ok(())
    }
}
