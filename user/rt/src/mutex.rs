//! A lock for threads of one process.
//!
//! Whoever has to wait sleeps: a thread that span would never let a less urgent one on its CPU give
//! the lock back.

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::{FOREVER, Handle};

use crate::{drop_handle, sys, yield_now};

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may sleep.
const AWAITED: u32 = 2;

/// How often it is tried before it is worth a sleep.
const SPINS: u32 = 64;

/// A value that one thread at a time reaches. It is not fair, and the holder does not inherit the
/// priority of who waits. The first thread that has to wait makes a notification, which the account
/// of the process pays for; when it can't, it yields until the lock is free.
pub struct Mutex<T: ?Sized> {
    state: AtomicU32,
    /// The notification that sleepers wait at, once there is one.
    sleepers: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by the holder alone, from whichever thread.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A lock around a value, free.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex {
            state: AtomicU32::new(FREE),
            sleepers: AtomicU64::new(0),
            value: UnsafeCell::new(value),
        }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until nobody else holds it. A thread that holds it already waits for ever.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        let taken = self.state.compare_exchange(FREE, HELD, acquire, relaxed);
        if taken.is_err() {
            self.lock_slowly();
        }
        MutexGuard::new(self)
    }

    /// The lock, if nobody holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        let taken = self.state.compare_exchange(FREE, HELD, acquire, relaxed);
        taken.ok().map(|_| MutexGuard::new(self))
    }

    #[cold]
    fn lock_slowly(&self) {
        for _ in 0..SPINS {
            core::hint::spin_loop();
            let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
            let taken = self.state.compare_exchange(FREE, HELD, acquire, relaxed);
            if taken.is_ok() {
                return;
            }
        }
        let sleepers = self.sleepers();
        // Release: whoever takes AWAITED away has to see the notification.
        while self.state.swap(AWAITED, Ordering::AcqRel) != FREE {
            // SAFETY: the call touches no memory.
            let slept =
                sleepers.is_some_and(|handle| unsafe { sys::notify_wait(handle, FOREVER) }.is_ok());
            if !slept {
                core::hint::spin_loop();
                yield_now();
            }
        }
    }

    /// The notification, made now if there is none.
    fn sleepers(&self) -> Option<Handle> {
        let known = self.sleepers.load(Ordering::Acquire);
        if known != 0 {
            return Some(Handle::from_bits(known));
        }
        // SAFETY: the call touches no memory.
        let made = unsafe { sys::notify_create() }.ok()?;
        let (both, acquire) = (Ordering::AcqRel, Ordering::Acquire);
        match (self.sleepers).compare_exchange(0, made.bits(), both, acquire) {
            Ok(_) => Some(made),
            Err(others) => {
                let _ = drop_handle(made);
                Some(Handle::from_bits(others))
            }
        }
    }

    #[inline]
    fn unlock(&self) {
        if self.state.swap(FREE, Ordering::AcqRel) == AWAITED {
            self.wake_one();
        }
    }

    #[cold]
    fn wake_one(&self) {
        let sleepers = self.sleepers.load(Ordering::Acquire);
        if sleepers != 0 {
            // SAFETY: the call touches no memory.
            let _ = unsafe { sys::signal(Handle::from_bits(sleepers), 1) };
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized> Drop for Mutex<T> {
    fn drop(&mut self) {
        let sleepers = *self.sleepers.get_mut();
        if sleepers != 0 {
            let _ = drop_handle(Handle::from_bits(sleepers));
        }
    }
}

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// The lock is held as long as this lives.
#[derive(Debug)]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// The value is reached through it, and so by every thread that has a reference to it.
    value: PhantomData<&'a mut T>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Of a lock that the caller just took.
    fn new(mutex: &'a Mutex<T>) -> Self {
        let value = PhantomData;
        MutexGuard { mutex, value }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and this is the one guard.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.unlock();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::cell::Cell;

    use super::{Mutex, MutexGuard};

    /// Ambiguous, and so no program, for a guard that threads may share.
    trait Shared<A> {
        fn check() {}
    }
    impl<T: ?Sized> Shared<()> for T {}
    impl<T: ?Sized + Sync> Shared<u8> for T {}

    #[test]
    fn a_guard_of_what_threads_may_not_share_is_not_shared() {
        <MutexGuard<'static, Cell<u8>> as Shared<_>>::check();
    }

    #[test]
    fn one_thread_at_a_time_reaches_the_value() {
        let counter = Mutex::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let mut value = counter.lock();
                        let seen = *value;
                        core::hint::spin_loop();
                        *value = seen + 1;
                    }
                });
            }
        });
        assert_eq!(*counter.lock(), 40_000);
    }

    #[test]
    fn a_lock_that_is_held_is_not_had_at_once() {
        let mutex = Mutex::new(());
        let held = mutex.lock();
        assert!(mutex.try_lock().is_none());
        drop(held);
        assert!(mutex.try_lock().is_some());
    }
}
