//! Interrupts and timers: what sets the bits of a notification by itself.

use alloc::sync::Arc;

use abi::{Error, Handle, InterruptInfo, UserPtr};

use crate::process::Process;

pub fn interrupt_create(
    _: &Arc<Process>,
    _: Handle,
    _: Handle,
    _: u64,
    _: UserPtr<InterruptInfo>,
) -> Result<Handle, Error> {
    Err(Error::Unsupported)
}

pub fn timer_create(_: &Arc<Process>, _: Handle, _: u64) -> Result<Handle, Error> {
    Err(Error::Unsupported)
}

pub fn timer_set(_: &Arc<Process>, _: Handle, _: u64, _: u64) -> Result<(), Error> {
    Err(Error::Unsupported)
}
