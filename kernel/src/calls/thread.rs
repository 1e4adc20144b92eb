//! Threads, and those that have stopped.

use alloc::sync::Arc;

use abi::{Error, FaultInfo, Handle, ThreadArgs, ThreadInfo, UserPtr};

use crate::process::Process;

pub fn thread_tls(_: &Arc<Process>, _: u64) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn process_resume(_: &Arc<Process>, _: Handle, _: u64, _: u64) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn process_fault(
    _: &Arc<Process>,
    _: Handle,
    _: u64,
    _: UserPtr<FaultInfo>,
) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn process_fuse(_: &Arc<Process>, _: Handle, _: u64) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn thread_spawn(_: &Arc<Process>, _: UserPtr<ThreadArgs>) -> Result<Handle, Error> {
    Err(Error::Unsupported)
}

pub fn thread_exit(_: &Arc<Process>) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn thread_info(_: &Arc<Process>, _: Handle, _: UserPtr<ThreadInfo>) -> Result<(), Error> {
    Err(Error::Unsupported)
}

pub fn thread_priority(_: &Arc<Process>, _: Handle, _: u32) -> Result<(), Error> {
    Err(Error::Unsupported)
}
