//! Submission rings, and handles that are registered with them.

use alloc::sync::Arc;

use abi::submission::{Registered, SubmissionRingFlags};
use abi::{Error, Handle, SubmissionArgs, SubmissionInfo, SubmissionViews, UserPtr};

use crate::machine::ipc;
use crate::process::{Process, leave_current};
use crate::thread::{Beginning, Wanted};
use crate::{sched, user_memory, watch};

/// The slot that stands for any.
const ANY_SLOT: u64 = u64::MAX;

pub fn sub_create(process: &Arc<Process>, args: UserPtr<SubmissionArgs>) -> Result<Handle, Error> {
    let args = user_memory::read(args)?;
    let (_, flags) = args.decode()?;
    let handle = ipc().create_submission_ring(process.domain(), &args)?;
    if flags.contains(SubmissionRingFlags::POLL) {
        start_server(process, handle, &args).inspect_err(|_| {
            // Nobody learnt of it.
            let _ = ipc().drop_capability(process.domain(), handle);
        })?;
    }
    Ok(handle)
}

/// Starts the thread of a ring: one of the process, as urgent as that may be, which never leaves the kernel.
fn start_server(process: &Arc<Process>, ring: Handle, args: &SubmissionArgs) -> Result<(), Error> {
    let cpus = process.limits().cpus_of(args.cpus);
    let wanted = Wanted {
        cpu: sched::place(cpus).ok_or(Error::Invalid)?,
        priority: process.limits().priority,
        tls: 0,
        charge: None,
    };
    let beginning = Beginning {
        entry: 0,
        stack: u64::from(args.idle_us) * 1000,
        argument: ring.bits(),
    };
    process.spawn_server(wanted, serve, beginning)
}

/// The first code of such a thread, and the last.
extern "C" fn serve(_: usize) -> ! {
    arch::cpu::enable_interrupts();
    {
        let thread = sched::current();
        if let (Some(process), Some(beginning)) = (thread.process(), thread.beginning()) {
            ipc().poll_submissions(
                process.domain(),
                Handle::from_bits(beginning.argument),
                beginning.stack,
                |operation, arguments| watch::operate(process, operation, arguments),
            );
        }
    }
    leave_current()
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
        |operation, arguments| watch::operate(process, operation, arguments),
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
