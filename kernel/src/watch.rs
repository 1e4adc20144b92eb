//! Watching the ways into the kernel, at no cost while nobody does: the platform's hooks are exchanged
//! for others that tell whoever watches, and then go on as always.

use arch::hooks::{self, Hooks, Origin, PageFault, Resolution};
use arch::syscall::SyscallFrame;

use crate::irq_lock::IrqLock;
use crate::start::{HOOKS, INSTALLED};
use crate::{dispatch, faults};

static WATCHED: Hooks = Hooks {
    syscall,
    page_fault,
    ..HOOKS
};

/// How many reasons there are to watch.
static REASONS: IrqLock<usize> = IrqLock::new(0);

/// Watches from now on. A CPU that is in the kernel is watched from its next entry on.
pub fn begin() {
    let mut reasons = REASONS.lock();
    *reasons += 1;
    if *reasons == 1 {
        hooks::install(&WATCHED);
    }
}

/// Takes one [`begin`] back.
pub fn end() {
    let mut reasons = REASONS.lock();
    *reasons = reasons.saturating_sub(1);
    if *reasons == 0 {
        hooks::install(&INSTALLED);
    }
}

/// A system call, watched.
extern "C" fn syscall(frame: &mut SyscallFrame) {
    dispatch::syscall(frame);
}

/// A page fault, watched.
extern "C" fn page_fault(fault: PageFault) -> Resolution {
    faults::page_fault(fault)
}
