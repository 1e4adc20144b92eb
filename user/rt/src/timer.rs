//! Timers, which set bits of a notification at a time.

use abi::{Error, FOREVER, Handle};

use crate::owned::owned;
use crate::{Notification, sys};

/// A capability of a timer. It stops when the last one is dropped.
#[derive(Debug)]
pub struct Timer {
    handle: Handle,
}

owned!(Timer, Timer);

impl Timer {
    /// A timer that sets these bits when it goes off; needs SIGNAL on the notification. It is not set.
    pub fn create(notification: &Notification, bits: u64) -> Result<Timer, Error> {
        // SAFETY: the call touches no memory.
        let handle = unsafe { sys::timer_create(notification.handle(), bits) }?;
        Ok(Timer { handle })
    }

    /// Has it go off at a time, instead of what was set before; at once if that is past.
    pub fn set(&self, deadline_ns: u64) -> Result<(), Error> {
        self.set_periodic(deadline_ns, 0)
    }

    /// The same, and then again after each period, of at least 100 us.
    pub fn set_periodic(&self, deadline_ns: u64, period_ns: u64) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { sys::timer_set(self.handle, deadline_ns, period_ns) }
    }

    /// Stops it. Bits that it has set stay.
    pub fn stop(&self) -> Result<(), Error> {
        self.set(FOREVER)
    }
}
