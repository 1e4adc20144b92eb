//! Submission rings, and handles that are registered with them.

use alloc::sync::Arc;

use abi::submission::Registered;
use abi::{Error, Handle, SubmissionArgs, SubmissionInfo, SubmissionViews, UserPtr};

use crate::dispatch;
use crate::machine::ipc;
use crate::process::Process;
use crate::user_memory;

/// The slot that stands for any.
const ANY_SLOT: u64 = u64::MAX;

pub fn sub_create(process: &Arc<Process>, args: UserPtr<SubmissionArgs>) -> Result<Handle, Error> {
    let args = user_memory::read(args)?;
    if args.flags != 0 {
        return Err(Error::Unsupported);
    }
    ipc().create_submission_ring(process.domain(), &args)
}

pub fn sub_enter(
    process: &Arc<Process>,
    submission: Handle,
    submit: u32,
    wait_for: u32,
    deadline: u64,
) -> Result<u64, Error> {
    let domain = process.domain();
    ipc().enter_submissions(
        domain,
        submission,
        submit,
        wait_for,
        deadline,
        |operation, arguments| dispatch::operate(process, operation, arguments),
    )
}

pub fn sub_register(process: &Arc<Process>, handle: Handle, slot: u64) -> Result<u64, Error> {
    let slot = (slot != ANY_SLOT).then_some(slot);
    let id = ipc().register(process.domain(), handle, slot)?;
    Ok(id.bits())
}

pub fn sub_unregister(process: &Arc<Process>, registered: u64, deadline: u64) -> Result<(), Error> {
    let id = Registered::from_bits(registered).ok_or(Error::NotFound)?;
    ipc().unregister(process.domain(), id, deadline)
}

pub fn sub_map(
    process: &Arc<Process>,
    submission: Handle,
    views: UserPtr<SubmissionViews>,
) -> Result<(), Error> {
    let domain = process.domain();
    let mapped = ipc().map_submission_ring(domain, submission)?;
    user_memory::write(views, &mapped).inspect_err(|_| {
        // Nobody learnt where they are.
        let _ = ipc().unmap(domain, mapped.submissions);
        let _ = ipc().unmap(domain, mapped.completions);
    })
}

pub fn sub_info(
    process: &Arc<Process>,
    submission: Handle,
    info: UserPtr<SubmissionInfo>,
) -> Result<(), Error> {
    let facts = ipc().submission_info(process.domain(), submission)?;
    user_memory::write(info, &facts)
}

pub fn region_copy(
    process: &Arc<Process>,
    region: Handle,
    offset: u64,
    source: Handle,
    source_offset: u64,
    len: u64,
) -> Result<u64, Error> {
    ipc().copy_region(process.domain(), region, offset, source, source_offset, len)
}

pub fn sub_slots(process: &Arc<Process>, count: u64, reserved: u64) -> Result<(), Error> {
    ipc().set_slots(process.domain(), count, reserved)
}
