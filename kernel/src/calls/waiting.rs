//! Notifications, ports, and waiting in general.

use alloc::sync::Arc;

use abi::limits::MAX_PACKETS;
use abi::{BindFlags, Error, Events, Handle, PortPacket, Rights, UserPtr};

use crate::machine::ipc;
use crate::process::Process;
use crate::user_memory;

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

pub fn wait_cancel(process: &Arc<Process>, thread: Handle) -> Result<(), Error> {
    ipc().on_task(process.domain(), thread, Rights::MANAGE, |thread| {
        // Whoever has it from another process may learn when it ends, and not how it goes on.
        let is_own = |own| Arc::ptr_eq(own, process);
        match thread.process().is_some_and(is_own) {
            true => ipc().cancel_wait(thread),
            false => Err(Error::Denied),
        }
    })
}

pub fn port_create(process: &Arc<Process>) -> Result<Handle, Error> {
    ipc().create_port(process.domain())
}

pub fn port_bind(
    process: &Arc<Process>,
    port: Handle,
    object: Handle,
    events: Events,
    flags: BindFlags,
    key: u64,
) -> Result<(), Error> {
    ipc().bind_port(process.domain(), port, object, events, flags, key)
}

pub fn port_unbind(process: &Arc<Process>, port: Handle, key: u64) -> Result<(), Error> {
    ipc().unbind_port(process.domain(), port, key)
}

pub fn port_wait(
    process: &Arc<Process>,
    port: Handle,
    packets: UserPtr<PortPacket>,
    len: u64,
    deadline: u64,
) -> Result<u64, Error> {
    let most = len.min(MAX_PACKETS) as usize;
    let delivered = ipc().wait_port(process.domain(), port, most, deadline, |at, told| {
        told.iter().zip(at..).try_for_each(|(packet, at)| {
            let offset = (at * size_of::<PortPacket>()) as u64;
            let place = packets.address().checked_add(offset).ok_or(Error::Fault)?;
            user_memory::write(UserPtr::new(place), packet)
        })
    })?;
    Ok(delivered as u64)
}
