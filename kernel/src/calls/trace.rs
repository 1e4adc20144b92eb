//! The trace.

use alloc::sync::Arc;

use abi::{Error, Handle, Rights};
use ipc::Capability;

use crate::machine::{Kernel, ipc};
use crate::process::Process;
use crate::{devices, trace};

pub fn trace_start(process: &Arc<Process>, resource: Handle, slots: u32) -> Result<Handle, Error> {
    let by = check_resource(process, resource)?;
    trace::start(process, &by, slots)
}

pub fn trace_stop(process: &Arc<Process>, resource: Handle) -> Result<(), Error> {
    check_resource(process, resource)?.commit(trace::stop)
}

/// A trace tells of every process, so it takes the resource of all devices.
fn check_resource(process: &Arc<Process>, resource: Handle) -> Result<Capability<Kernel>, Error> {
    let (by, resource) = ipc().resource(process.domain(), resource, Rights::MANAGE)?;
    match resource == devices::everything()? {
        true => Ok(by),
        false => Err(Error::Denied),
    }
}
