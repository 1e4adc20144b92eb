//! The copies where there is no assembly: each byte or word that the peer may be writing is an atomic access.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Loads the 8 bytes that are `at` and `OFFSET` behind a base, and that a peer may be writing.
///
/// # Safety
/// They are mapped.
pub(in crate::memory) unsafe fn load_8<const OFFSET: usize>(base: *const u8, at: usize) -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: the contract.
    unsafe { copy_out(base.add(OFFSET + at), bytes.as_mut_ptr(), bytes.len()) };
    u64::from_ne_bytes(bytes)
}

/// Whether two words `OFFSET` behind a base that somebody else may be writing, each loaded atomically and relaxed, are those
/// of `expected`, the first in the low half.
///
/// # Safety
/// They are mapped.
pub(in crate::memory) unsafe fn are<const OFFSET: usize>(base: *const u8, expected: u64) -> bool {
    let [low, high] = [0, 4].map(|at| {
        // SAFETY: the contract. While they are shared they are accessed only atomically.
        let word = unsafe { AtomicU32::from_ptr(base.add(OFFSET + at).cast_mut().cast()) };
        word.load(Ordering::Relaxed)
    });
    u64::from(low) | u64::from(high) << 32 == expected
}

/// Copies `length` bytes out of the ring.
///
/// # Safety
/// Both ranges are mapped, the target is nobody else's, and they do not overlap.
pub(in crate::memory) unsafe fn copy_out(source: *const u8, target: *mut u8, length: usize) {
    let mut at = 0;
    while at < length {
        // SAFETY: `at` is below the length, with a whole word where one is moved. This side reads payload only through
        // atomics, in the size that it has at its place.
        unsafe {
            let (from, to) = (source.add(at).cast_mut(), target.add(at));
            if from.addr().is_multiple_of(8) && length - at >= 8 {
                let word = AtomicU64::from_ptr(from.cast()).load(Ordering::Relaxed);
                to.cast::<u64>().write_unaligned(word);
                at += 8;
            } else {
                to.write(AtomicU8::from_ptr(from).load(Ordering::Relaxed));
                at += 1;
            }
        }
    }
}

/// Copies `length` bytes into a part of the ring that no honest peer accesses.
///
/// # Safety
/// As for [`copy_out`], the other way round.
pub(in crate::memory) unsafe fn copy_in(source: *const u8, target: *mut u8, length: usize) {
    // SAFETY: the contract.
    unsafe { target.copy_from_nonoverlapping(source, length) }
}
