//! Notifications, ports, and waiting in general.

use alloc::sync::Arc;

use abi::{BindFlags, Error, Events, Handle, PortPacket, UserPtr};

use crate::machine::ipc;
use crate::process::Process;

pub fn notify_create(process: &Arc<Process>) -> Result<Handle, Error> {
    ipc().create_notification(process.domain())
}

pub fn signal(process: &Arc<Process>, notification: Handle, bits: u64) -> Result<(), Error> {
    ipc().signal(process.domain(), notification, bits)
}

pub fn notify_wait(
    process: &Arc<Process>,
    notification: Handle,
    deadline: u64,
) -> Result<u64, Error> {
    ipc().wait_notification(process.domain(), notification, deadline)
}

pub fn object_wait(
    process: &Arc<Process>,
    object: Handle,
    events: Events,
    deadline: u64,
) -> Result<u64, Error> {
    let held = ipc().wait_object(process.domain(), object, events, deadline)?;
    Ok(held.bits().into())
}

pub fn wait_cancel(_: &Arc<Process>, _: Handle) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn port_create(_: &Arc<Process>) -> Result<Handle, Error> {
    Err(Error::Unsupported)
}

pub fn port_bind(
    _: &Arc<Process>,
    _: Handle,
    _: Handle,
    _: Events,
    _: BindFlags,
    _: u64,
) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn port_unbind(_: &Arc<Process>, _: Handle, _: u64) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn port_wait(
    _: &Arc<Process>,
    _: Handle,
    _: UserPtr<PortPacket>,
    _: u64,
    _: u64,
) -> Result<u64, Error> {
    Err(Error::Unsupported)
}
