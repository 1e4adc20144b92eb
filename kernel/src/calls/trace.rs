//! The trace.

use alloc::sync::Arc;

use abi::{Error, Handle, Rights};
use ipc::Resource;

use crate::machine::ipc;
use crate::process::Process;
use crate::{devices, trace};

pub fn trace_start(process: &Arc<Process>, resource: Handle, slots: u32) -> Result<Handle, Error> {
    trace::start(process, resource, slots, check_resource)
}

pub fn trace_stop(process: &Arc<Process>, resource: Handle) -> Result<(), Error> {
    ipc().on_resource(process.domain(), resource, Rights::MANAGE, |resource| {
        check_resource(resource)?;
        trace::stop()
    })
}

/// A trace tells of every process, so it takes the resource of all devices.
fn check_resource(resource: Resource) -> Result<(), Error> {
    match resource == devices::everything()? {
        true => Ok(()),
        false => Err(Error::Denied),
    }
}
