//! What programs do wrong, and what they may touch that is not there yet.

use abi::{ProcessState, ProcessStatus, Rights};
use arch::hooks::{PageFault, Resolution, UserFault};

use crate::machine::ipc;
use crate::{process, sched, stats};

/// The vector of a page fault (Intel SDM volume 3, table 6-1).
const PAGE_FAULT: u64 = 14;
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

/// The hook of everything else that a program can't do: says why and ends it.
pub fn user_fault(fault: &UserFault) -> ! {
    let frame = fault.frame;
    sched::with_current(|thread| {
        let name = thread.process().map_or("?", |process| process.name());
        if frame.vector == PAGE_FAULT {
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
        } else {
            println!(
                "{name}: {}; instruction at {:#x}; killed",
                frame.name(),
                frame.rip
            );
        }
    });
    process::end_current(ProcessStatus {
        state: ProcessState::Faulted as u32,
        status: 0,
        vector: frame.vector as u32,
        error_code: frame.error_code as u32,
        address: fault.address,
        instruction: frame.rip,
    })
}
