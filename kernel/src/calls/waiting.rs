//! Notifications, ports, and waiting in general.

use alloc::sync::Arc;

use abi::{BindFlags, Error, Events, Handle, PortPacket, UserPtr};

use crate::process::Process;

pub fn notify_create(_: &Arc<Process>) -> Result<Handle, Error> {
    Err(Error::Unsupported)
}

pub fn signal(_: &Arc<Process>, _: Handle, _: u64) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn notify_wait(_: &Arc<Process>, _: Handle, _: u64) -> Result<u64, Error> {
    Err(Error::Unsupported)
}

pub fn object_wait(_: &Arc<Process>, _: Handle, _: Events, _: u64) -> Result<u64, Error> {
    Err(Error::Unsupported)
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
