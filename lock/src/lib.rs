//! A spin lock that is one bit of a word. On x86 it is taken by two instructions, `lock bts` and a
//! branch, where a compare-and-swap takes four and two registers: a call takes half a dozen of them.
//!
//! What is guarded, and the guards, are [`lock_api`]'s; here is only the bit. It is not fair. Whoever
//! can't wait by spinning alone tries, and does something else in between.

#![no_std]
#![deny(unsafe_code)]

use core::hint;
use core::sync::atomic::{AtomicU32, Ordering};

use lock_api::{GuardSend, RawMutex};

/// A value behind a bit.
pub type Mutex<T> = lock_api::Mutex<Bit, T>;

/// Holds a [`Mutex`] until it is dropped.
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, Bit, T>;

const TAKEN: u32 = 1;

/// The bit, in a word of its own.
#[derive(Debug)]
pub struct Bit(AtomicU32);

// SAFETY: whoever sets the bit, which was clear, has the lock; everybody else sees it set until the holder
// clears it. Taking acquires what giving back released.
#[allow(unsafe_code)]
unsafe impl RawMutex for Bit {
    // What a `const` is for: each use is another bit.
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Bit = Bit(AtomicU32::new(0));

    type GuardMarker = GuardSend;

    #[inline]
    fn lock(&self) {
        while !self.try_lock() {
            while self.is_locked() {
                hint::spin_loop();
            }
        }
    }

    #[inline(always)]
    fn try_lock(&self) -> bool {
        // SYNC(lock)
        self.0.fetch_or(TAKEN, Ordering::Acquire) & TAKEN == 0
    }

    #[inline(always)]
    unsafe fn unlock(&self) {
        // SYNC(lock)
        self.0.store(0, Ordering::Release);
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.0.load(Ordering::Relaxed) & TAKEN != 0
    }
}
