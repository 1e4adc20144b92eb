//! The trace.

use alloc::sync::Arc;

use abi::{Error, Handle};

use crate::process::Process;

pub fn trace_start(_: &Arc<Process>, _: Handle, _: u32) -> Result<Handle, Error> {
    Err(Error::Unsupported)
}

pub fn trace_stop(_: &Arc<Process>, _: Handle) -> Result<(), Error> {
    Err(Error::Unsupported)
}
