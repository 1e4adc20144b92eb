//! A spin lock for what interrupt handlers touch too: interrupts are off while it is held.

use core::ops::{Deref, DerefMut};

use arch::cpu::InterruptGuard;

/// A value behind a lock that is held with interrupts off, for a few instructions at a time. Who
/// holds one takes no other lock of higher rank and never waits, so spinning for it ends.
#[derive(Debug)]
pub struct IrqLock<T>(::lock::Mutex<T>);

impl<T> IrqLock<T> {
    /// A lock around a value.
    pub const fn new(value: T) -> IrqLock<T> {
        IrqLock(::lock::Mutex::new(value))
    }

    /// Takes the lock. A CPU that spins for it serves shootdowns meanwhile: it takes no interrupt.
    pub fn lock(&self) -> IrqGuard<'_, T> {
        let interrupts = InterruptGuard::new();
        IrqGuard {
            value: mm::lock::take(&self.0),
            _interrupts: interrupts,
        }
    }
}

impl<T> IrqLock<T> {
    /// The same with interrupts off already, which they are until after the lock is given back.
    #[inline(always)]
    pub fn lock_off(&self) -> ::lock::MutexGuard<'_, T> {
        debug_assert!(!arch::cpu::interrupts_enabled());
        mm::lock::take(&self.0)
    }
}

/// Holds a lock; gives it back before it lets interrupts in again.
pub struct IrqGuard<'a, T> {
    // Dropped in this order.
    value: ::lock::MutexGuard<'a, T>,
    _interrupts: InterruptGuard,
}

impl<T> Deref for IrqGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for IrqGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
