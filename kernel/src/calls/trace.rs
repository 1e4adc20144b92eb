//! The trace.

use alloc::sync::Arc;

use abi::{Error, Handle, Rights};

use crate::machine::ipc;
use crate::process::Process;
use crate::{devices, trace};

pub fn trace_start(process: &Arc<Process>, resource: Handle, slots: u32) -> Result<Handle, Error> {
    check_resource(process, resource)?;
    trace::start(process, slots)
}

pub fn trace_stop(process: &Arc<Process>, resource: Handle) -> Result<(), Error> {
    check_resource(process, resource)?;
    trace::stop()
}

/// A trace tells of every process, so it takes the resource of all devices.
fn check_resource(process: &Arc<Process>, resource: Handle) -> Result<(), Error> {
    let resource = ipc().resource_of(process.domain(), resource, Rights::MANAGE)?;
    match resource == devices::everything()? {
        true => Ok(()),
        false => Err(Error::Denied),
    }
}
