//! Reading from the stream.

use super::{Consumer, SHORT, look_for};
use crate::index::has_reached;
use crate::{Error, SharedBytes, Unfinished, Wait};

impl<W: Wait> Consumer<W> {
    /// Reads into the beginning of `target` what is there, and returns how much that was: at least one byte, unless there
    /// is no room for any.
    ///
    /// # Errors
    /// [`Error::Empty`]; and, once everything that was written has been read, [`Error::PeerClosed`], [`Error::PeerDied`],
    /// [`Error::Closed`], [`Error::Revoked`]; [`Error::PeerFault`].
    #[inline(always)]
    pub fn try_read(&mut self, target: &mut [u8]) -> Result<usize, Error> {
        match target.len() {
            length @ 1..=SHORT if self.fill(target) => Ok(length),
            _ => self.read_some(target),
        }
    }

    /// Fills `target`, of one byte at least, if that much is there. If it seems not to be, nothing was judged.
    #[inline(always)]
    fn fill(&mut self, target: &mut [u8]) -> bool {
        let wanted = target.len() as u32;
        let head = self.head;
        let source = self.memory.at(head);
        let next = head.wrapping_add(wanted);
        // A look too many at a tail that is known to be just there makes the next one needless.
        if has_reached(next, self.tail) {
            match self.glance(head, wanted) {
                Some(tail) => self.tail = tail,
                None => return false,
            }
        }
        self.head = next;
        source.read(target);
        self.give_back_before(next);
        true
    }

    /// Reads what there is, which is less than there is room for.
    #[cold]
    #[inline(never)]
    fn read_some(&mut self, target: &mut [u8]) -> Result<usize, Error> {
        if target.is_empty() {
            return Ok(0);
        }
        let there = self.next_up_to(target.len())?;
        let target = &mut target[..there as usize];
        self.memory.at(self.head).read(target);
        self.release(there);
        Ok(target.len())
    }

    /// Reads what is there, sleeping while that is nothing until `deadline_ns`: absolute monotonic nanoseconds, 0 = do not
    /// wait, `u64::MAX` = for ever.
    ///
    /// # Errors
    /// As [`Consumer::try_read`], and what [`Wait::wait`] may answer.
    pub fn read(&mut self, target: &mut [u8], deadline_ns: u64) -> Result<usize, Error> {
        match self.try_read(target) {
            Err(Error::Empty) if deadline_ns != 0 => {
                self.wait_for_message(deadline_ns)?;
                self.try_read(target)
            }
            answer => answer,
        }
    }

    /// Fills all of `target`, sleeping while nothing is there until `deadline_ns`.
    ///
    /// # Errors
    /// As [`Consumer::read`]; with how much was read before, which is taken out of the ring.
    pub fn read_exact(&mut self, target: &mut [u8], deadline_ns: u64) -> Result<(), Unfinished> {
        let mut done = 0;
        while done < target.len() {
            let answer = self.read(&mut target[done..], deadline_ns);
            done += answer.map_err(|error| Unfinished { done, error })?;
        }
        Ok(())
    }

    /// Up to `most` of the bytes that are there, in place and in one piece: at least one, unless `most` is 0. They stay in
    /// the ring until [`Chunk::release`].
    ///
    /// # Errors
    /// As [`Consumer::try_read`].
    #[inline]
    pub fn peek(&mut self, most: usize) -> Result<Chunk<'_, W>, Error> {
        let length = match most {
            0 => 0,
            most => self.next_up_to(most)?,
        };
        Ok(Chunk {
            consumer: self,
            length,
        })
    }

    /// How many of `most` bytes are there: at least one.
    #[inline]
    fn next_up_to(&mut self, most: usize) -> Result<u32, Error> {
        let wanted = u32::try_from(most).unwrap_or(u32::MAX).min(self.capacity);
        let available = match self.next()? {
            enough if enough >= wanted => enough,
            // More than was known may have come.
            _ => look_for(self, wanted)?.unwrap_or(0),
        };
        Ok(available.min(wanted))
    }

    #[inline]
    fn place(&self) -> usize {
        (self.head & (self.capacity - 1)) as usize
    }
}

/// Bytes that are still in the ring.
///
/// They can only be copied out: the producer may write them at any time, so two copies may differ.
#[must_use = "the bytes stay in the ring until they are released"]
pub struct Chunk<'a, W> {
    consumer: &'a mut Consumer<W>,
    length: u32,
}

impl<W: Wait> Chunk<'_, W> {
    /// How many bytes there are. It was read once and does not change.
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bytes.
    pub fn bytes(&self) -> SharedBytes<'_> {
        SharedBytes::new(&self.consumer.memory, self.consumer.place(), self.len())
    }

    /// Fills `target` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: they go beyond what is there.
    pub fn read(&self, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        self.bytes().read(offset, target)
    }

    /// Takes the first `count` bytes out of the ring.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: there are not so many; nothing is taken out.
    pub fn release(self, count: usize) -> Result<(), Error> {
        match u32::try_from(count) {
            Ok(count) if count <= self.length => {
                self.consumer.release(count);
                Ok(())
            }
            _ => Err(Error::TooLarge),
        }
    }
}
