//! Threads, and those that have stopped.

use alloc::sync::Arc;

use abi::limits::{MAX_PRIORITY, USER_END, USER_START};
use abi::{Error, FaultInfo, Handle, Rights, ThreadArgs, ThreadInfo, UserPtr};

use crate::machine::ipc;
use crate::process::{self, Process};
use crate::thread::{Beginning, Thread, Wanted};
use crate::{fuse, sched, user_memory};

/// A base that no program could load is `Range`.
fn check_tls(base: u64) -> Result<u64, Error> {
    match base {
        ..=USER_END => Ok(base),
        _ => Err(Error::Range),
    }
}

/// How urgent a thread of `process` is to be, if it may.
fn check_priority(process: &Process, priority: u32) -> Result<u8, Error> {
    match priority {
        0 | MAX_PRIORITY.. if priority != MAX_PRIORITY => Err(Error::Invalid),
        _ if priority > process.limits().priority.into() => Err(Error::Denied),
        _ => Ok(priority as u8),
    }
}

pub fn thread_tls(_: &Arc<Process>, base: u64) -> Result<(), Error> {
    sched::set_tls(check_tls(base)?);
    Ok(())
}

pub fn process_resume(
    process: &Arc<Process>,
    handle: Handle,
    thread: u64,
    instruction: u64,
) -> Result<(), Error> {
    ipc().on_process(process.domain(), handle, Rights::MANAGE, |stopped| {
        if instruction != 0 && !(USER_START..USER_END).contains(&instruction) {
            return Err(Error::Range);
        }
        stopped.resume(thread, instruction)
    })
}

pub fn process_fault(
    process: &Arc<Process>,
    handle: Handle,
    thread: u64,
    info: UserPtr<FaultInfo>,
) -> Result<(), Error> {
    let read = |target: &Arc<Process>| target.fault(thread);
    let fault = ipc().ask_process(process.domain(), handle, Rights::INSPECT, read)?;
    user_memory::write(info, &fault)
}

pub fn process_fuse(process: &Arc<Process>, handle: Handle, entries: u64) -> Result<(), Error> {
    ipc().on_process(process.domain(), handle, Rights::DESTROY, |target| {
        fuse::set(target, entries);
        Ok(())
    })
}

pub fn thread_spawn(process: &Arc<Process>, args: UserPtr<ThreadArgs>) -> Result<Handle, Error> {
    let args = user_memory::read(args)?;
    if args.reserved != 0 {
        return Err(Error::Invalid);
    }
    let runs = (USER_START..USER_END).contains(&args.entry);
    if !runs || !(USER_START..=USER_END).contains(&args.stack) {
        return Err(Error::Range);
    }
    let tls = check_tls(args.tls)?;
    let priority = match args.priority {
        0 => sched::with_current(Thread::priority),
        priority => check_priority(process, priority)?,
    };
    let cpus = process.limits().cpus_of(args.cpus);
    let wanted = Wanted {
        cpu: sched::place(cpus).ok_or(Error::Invalid)?,
        priority,
        tls,
        charge: None,
    };
    let beginning = Beginning {
        entry: args.entry,
        stack: args.stack,
        argument: args.argument,
    };
    process.spawn_thread(wanted, beginning)
}

pub fn thread_exit(_: &Arc<Process>) -> Result<(), Error> {
    process::leave_current()
}

pub fn thread_info(
    process: &Arc<Process>,
    handle: Handle,
    info: UserPtr<ThreadInfo>,
) -> Result<(), Error> {
    let read = |thread: &Arc<Thread>| Ok(thread.info());
    let facts = ipc().ask_task(process.domain(), handle, Rights::INSPECT, read)?;
    user_memory::write(info, &facts)
}

pub fn thread_priority(process: &Arc<Process>, handle: Handle, priority: u32) -> Result<(), Error> {
    let set = |thread: &Thread, limits: &Process| {
        let priority = check_priority(limits, priority)?;
        sched::set_priority(thread, priority);
        Ok(())
    };
    if handle == Handle::NONE {
        return sched::with_current(|thread| set(thread, process));
    }
    ipc().on_task(process.domain(), handle, Rights::MANAGE, |thread| {
        let owner = thread.process().ok_or(Error::WrongKind)?;
        set(thread, owner)
    })
}
