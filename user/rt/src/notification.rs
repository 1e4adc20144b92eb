//! Notifications: 63 bits that are signalled and waited for.

use abi::{Error, Handle};

use crate::owned::owned;
use crate::sys;

/// A capability of a notification. Signalling never waits, and bits that are set twice before
/// somebody takes them are set once.
#[derive(Debug)]
pub struct Notification {
    handle: Handle,
}

owned!(Notification, Notification);

impl Notification {
    /// A new one; no bit is set.
    pub fn create() -> Result<Notification, Error> {
        // SAFETY: the call touches no memory.
        let handle = unsafe { sys::notify_create() }?;
        Ok(Notification { handle })
    }

    /// Sets bits and wakes whoever waits; needs SIGNAL. Through a capability with a badge it sets the
    /// bits of the badge, and `bits` has to be 0.
    pub fn signal(&self, bits: u64) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { sys::signal(self.handle, bits) }
    }

    /// Waits until a bit is set, and takes all that are; needs WAIT. Of several who wait one gets them.
    pub fn wait(&self, deadline_ns: u64) -> Result<u64, Error> {
        // SAFETY: the call touches no memory.
        unsafe { sys::notify_wait(self.handle, deadline_ns) }
    }

    /// Takes the bits that are set, without waiting; 0 if none is.
    pub fn poll(&self) -> Result<u64, Error> {
        match self.wait(0) {
            Err(Error::WouldBlock) => Ok(0),
            other => other,
        }
    }
}
