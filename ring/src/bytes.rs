//! Bytes that the peer may be writing, to be copied out.

use crate::Error;
use crate::memory::ConsumerMemory;

/// Bytes in the ring that are published and not yet released.
///
/// They can only be copied out: the producer may write them at any time, so two copies may differ. Copy once, then judge
/// the copy.
#[derive(Clone, Copy)]
pub struct SharedBytes<'a> {
    memory: &'a ConsumerMemory,
    place: usize,
    length: usize,
}

impl<'a> SharedBytes<'a> {
    /// The bytes must be in the data of `memory`.
    pub(crate) fn new(memory: &'a ConsumerMemory, place: usize, length: usize) -> Self {
        Self {
            memory,
            place,
            length,
        }
    }

    /// How many there are. It was read once and does not change.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Fills `target` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: that goes beyond them.
    #[inline]
    pub fn read(&self, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        match offset.checked_add(target.len()) {
            Some(end) if end <= self.length => {
                self.memory.read(self.place + offset, target);
                Ok(())
            }
            _ => Err(Error::TooLarge),
        }
    }

    /// Copies them to the beginning of `target`, and returns how many they are.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: they are more than `target` has room for.
    #[inline]
    pub fn copy_to(&self, target: &mut [u8]) -> Result<usize, Error> {
        let target = target.get_mut(..self.length).ok_or(Error::TooLarge)?;
        self.memory.read(self.place, target);
        Ok(self.length)
    }
}

impl core::fmt::Debug for SharedBytes<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("SharedBytes")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
