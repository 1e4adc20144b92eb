//! What programs do wrong, and what they may touch that is not there yet.

use abi::Rights;
use arch::hooks::{PageFault, Resolution, UserFault};

use crate::machine::ipc;
use crate::process::Stop;
use crate::{fuse, process, sched, stats};

/// The vector of a page fault (Intel SDM volume 3, table 6-1).
pub const PAGE_FAULT: u64 = 14;
/// The bits of its error code that say how.
const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const FETCH: u64 = 1 << 4;

/// The hook of page faults in programs and in copies from and to them.
pub extern "C" fn page_fault(fault: PageFault) -> Resolution {
    stats::count_fault();
    let access = if fault.is_write() {
        Rights::WRITE
    } else if fault.is_fetch() {
        Rights::EXECUTE
    } else {
        Rights::READ
    };
    let resolved = sched::with_current(|thread| {
        thread.process().is_some_and(|process| {
            thread.count_fault();
            let space = process.domain().space();
            ipc().memory().fault(space, fault.address, access).is_ok()
        })
    });
    if resolved {
        Resolution::Resolved
    } else {
        Resolution::Unresolved
    }
}

/// The hook of everything else that a program can't do. Where a port is told of faults of the process,
/// the thread stops until somebody has it go on; else this says why and ends the process.
pub fn user_fault(fault: &mut UserFault<'_>) {
    let thread = sched::current();
    if fault.frame.vector != PAGE_FAULT {
        // A page fault came by its own hook.
        if !mm::sabotaged!("exceptions_not_counted") {
            stats::count_fault();
            thread.count_fault();
        }
        fuse::burn();
    }
    let process = thread.process().expect("programs are of processes");
    let stop = Stop::new(&thread, fault);
    match process.stop_at(&thread, stop) {
        Some(0) => {}
        Some(instruction) => fault.frame.rip = instruction,
        None => {
            if thread.is_ending() {
                drop(thread);
                process::leave_current();
            }
            report(process.name(), fault);
            let status = stop.status();
            // This code never comes back to drop them.
            drop(thread);
            process::end_current(status)
        }
    }
}

fn report(name: &str, fault: &UserFault<'_>) {
    let frame = &*fault.frame;
    if frame.vector != PAGE_FAULT {
        println!(
            "{name}: {}; instruction at {:#x}; killed",
            frame.name(),
            frame.rip
        );
        return;
    }
    let access = match frame.error_code {
        code if code & FETCH != 0 => "execute",
        code if code & WRITE != 0 => "write",
        _ => "read",
    };
    let why = match frame.error_code & PRESENT {
        0 => "nothing is mapped there",
        _ => "not allowed there",
    };
    println!(
        "{name}: page fault: {access} at {:#x}, {why}; instruction at {:#x}; killed",
        fault.address, frame.rip
    );
}
