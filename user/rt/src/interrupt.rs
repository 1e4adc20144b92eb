//! Interrupts of devices, which set bits of a notification.

use abi::{Error, Handle, InterruptInfo, UserPtr};

use crate::owned::owned;
use crate::{Notification, sys};

/// A capability of an interrupt. It is disconnected when the last one is dropped.
#[derive(Debug)]
pub struct Interrupt {
    handle: Handle,
}

owned!(Interrupt, Interrupt);

impl Interrupt {
    /// An interrupt that sets these bits; needs MANAGE on a resource, and SIGNAL on the notification.
    /// The device has to be told the address and the data.
    pub fn create(
        resource: Handle,
        notification: &Notification,
        bits: u64,
    ) -> Result<(Interrupt, InterruptInfo), Error> {
        let mut info = InterruptInfo::default();
        let pointer = UserPtr::new((&raw mut info) as u64);
        // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
        let handle =
            unsafe { sys::interrupt_create(resource, notification.handle(), bits, pointer) }?;
        Ok((Interrupt { handle }, info))
    }
}
