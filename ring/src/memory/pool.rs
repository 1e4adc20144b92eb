//! The memory of a pool of payloads, as both sides map it.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

use crate::Error;
use crate::payload::layout::WAITS_BYTES;
use crate::payload::{Layout, Side, SlotWords};
use crate::sync::{AtomicU32, AtomicU64};

/// A mapping with the words of a pool at its beginning, and its slots behind them.
///
/// Invariant: `base` is aligned to 64, and `len` bytes from there on are mapped, writable and initialised while this lives;
/// everybody reaches them only as atomics.
#[derive(Debug)]
pub struct PoolMemory {
    base: NonNull<u8>,
    len: u64,
    words: u32,
}

// SAFETY: the memory belongs to no thread, and all accesses are atomic.
unsafe impl Send for PoolMemory {}
// SAFETY: as above.
unsafe impl Sync for PoolMemory {}

impl PoolMemory {
    /// The memory of a pool with this layout at `base`, `len` bytes long.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it is too short for the layout, or not aligned.
    ///
    /// # Safety
    /// While the result lives, `len` bytes from `base` on are mapped, writable and initialised, and nobody reaches them but as
    /// atomics, or from another process. An access may end the program (as after a revocation), but it may not reach other memory.
    pub unsafe fn from_raw(base: NonNull<u8>, len: u64, layout: &Layout) -> Result<Self, Error> {
        if layout.bytes() > len || !base.addr().get().is_multiple_of(64) {
            return Err(Error::Invalid);
        }
        let words = layout.slots();
        Ok(Self { base, len, words })
    }

    /// The first of `length` bytes at a place.
    fn bytes(&self, place: u64, length: usize) -> Result<NonNull<u8>, Error> {
        match place.checked_add(length as u64) {
            // SAFETY: the bytes lie within the memory.
            Some(end) if end <= self.len => Ok(unsafe { self.base.add(place as usize) }),
            _ => Err(Error::Invalid),
        }
    }
}

/// Each byte of a part, as an atomic.
///
/// # Safety
/// `count` bytes from `first` on are as the invariant of [`PoolMemory`] says.
unsafe fn atomics<'a>(first: NonNull<u8>, count: usize) -> &'a [AtomicU8] {
    // SAFETY: the contract; an atomic has the layout of its integer.
    unsafe { NonNull::slice_from_raw_parts(first.cast(), count).as_ref() }
}

impl SlotWords for PoolMemory {
    fn word(&self, slot: u32) -> Option<&AtomicU64> {
        // SAFETY: the words of all slots lie behind those of the sides in the memory, which is aligned.
        (slot < self.words).then(|| unsafe {
            let words = self.base.add(WAITS_BYTES as usize).cast::<u64>();
            AtomicU64::from_ptr(words.add(slot as usize).as_ptr())
        })
    }

    fn waits(&self, side: Side) -> &AtomicU32 {
        let line = match side {
            Side::Host => 0,
            Side::Guest => WAITS_BYTES as usize / 2,
        };
        // SAFETY: both lines lie at the beginning of the memory, which is aligned, and every layout has them.
        unsafe { AtomicU32::from_ptr(self.base.add(line).cast().as_ptr()) }
    }

    fn write(&self, place: u64, bytes: &[u8]) -> Result<(), Error> {
        let first = self.bytes(place, bytes.len())?;
        // SAFETY: they were bounded just now.
        let target = unsafe { atomics(first, bytes.len()) };
        for (target, byte) in target.iter().zip(bytes) {
            target.store(*byte, Ordering::Relaxed);
        }
        Ok(())
    }

    fn read(&self, place: u64, target: &mut [u8]) -> Result<(), Error> {
        let first = self.bytes(place, target.len())?;
        // SAFETY: as above.
        let source = unsafe { atomics(first, target.len()) };
        for (byte, source) in target.iter_mut().zip(source) {
            *byte = source.load(Ordering::Relaxed);
        }
        Ok(())
    }
}
