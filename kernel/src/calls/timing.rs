//! Interrupts and timers: what sets the bits of a notification by itself.

use alloc::sync::Arc;

use abi::{Error, Handle, InterruptInfo, UserPtr};

use crate::machine::ipc;
use crate::process::Process;
use crate::user_memory;

pub fn interrupt_create(
    process: &Arc<Process>,
    resource: Handle,
    notification: Handle,
    bits: u64,
    info: UserPtr<InterruptInfo>,
) -> Result<Handle, Error> {
    let domain = process.domain();
    // A line of which somebody may have been told rests, so who can't be told gets none.
    user_memory::write(info, &InterruptInfo::default())?;
    let (handle, message) = ipc().create_interrupt(domain, resource, notification, bits)?;
    user_memory::write(info, &message).inspect_err(|_| {
        // Nobody learnt of the handle, so nobody else can have touched it.
        let _ = ipc().drop_capability(domain, handle);
    })?;
    Ok(handle)
}

pub fn timer_create(
    process: &Arc<Process>,
    notification: Handle,
    bits: u64,
) -> Result<Handle, Error> {
    ipc().create_timer(process.domain(), notification, bits)
}

pub fn timer_set(
    process: &Arc<Process>,
    timer: Handle,
    deadline: u64,
    period: u64,
) -> Result<(), Error> {
    ipc().set_timer(process.domain(), timer, deadline, period)
}
