//! Watching the ways into the kernel, at no cost while nobody does: the platform's hooks are exchanged
//! for others that tell whoever watches, and then go on as always.

use abi::Syscall;
use abi::trace::EventKind;
use arch::hooks::{self, Hooks, Origin, PageFault, Resolution};
use arch::syscall::SyscallFrame;
use arch::{clock, trap};

use crate::irq_lock::IrqLock;
use crate::start::{HOOKS, INSTALLED};
use crate::{dispatch, faults, fuse, trace};

static WATCHED: Hooks = Hooks {
    syscall,
    page_fault,
    timer,
    device,
    shootdown,
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
    if *reasons == 0 && !mm::sabotaged!("watched_for_nobody") {
        hooks::install(&INSTALLED);
    }
}

/// A system call, watched.
extern "C" fn syscall(frame: &mut SyscallFrame) {
    fuse::burn();
    if !trace::is_on() {
        return dispatch::syscall(frame);
    }
    let arguments = frame.arguments();
    // A larger number is no call.
    let number = u8::try_from(frame.number()).unwrap_or(u8::MAX);
    let call = Syscall::from_number(frame.number());
    trace::record(EventKind::Enter, number, arguments);
    // After a Move the handle names nothing any more.
    let object = match call {
        Some(Syscall::Grant | Syscall::CapRevoke) => trace::koid_of(arguments[0]),
        _ => 0,
    };
    dispatch::syscall(frame);
    let result = frame.number();
    let mut told = [result, 0, 0, 0, 0, 0];
    if let Some(Syscall::ChannelCallWords | Syscall::ChannelServeWords) = call {
        told[1..].copy_from_slice(&frame.arguments()[..5]);
    }
    trace::record(EventKind::Leave, number, told);
    if abi::decode(result).is_err() {
        return;
    }
    match call {
        Some(Syscall::Grant) => {
            trace::record(EventKind::Grant, 0, [object, result, arguments[2], 0, 0, 0]);
        }
        Some(Syscall::CapRevoke) => {
            trace::record(EventKind::Revoke, 0, [object, result, 0, 0, 0, 0]);
        }
        Some(Syscall::Accept) => {
            let object = trace::koid_of(result);
            trace::record(EventKind::Accept, 0, [object, arguments[0], 0, 0, 0, 0]);
        }
        _ => {}
    }
}

/// A page fault, watched.
extern "C" fn page_fault(fault: PageFault) -> Resolution {
    fuse::burn();
    if !trace::is_on() {
        return faults::page_fault(fault);
    }
    let began = clock::now_ns();
    let resolution = faults::page_fault(fault);
    let resolved = u64::from(resolution == Resolution::Resolved);
    let arguments = [fault.address, fault.error_code(), began, resolved, 0, 0];
    trace::record(EventKind::Fault, 0, arguments);
    resolution
}

fn timer(origin: Origin) {
    trace_interrupt(trap::TIMER);
    (HOOKS.timer)(origin);
}

fn device(vector: u8) {
    trace_interrupt(vector);
    (HOOKS.device)(vector);
}

fn shootdown() {
    trace_interrupt(trap::SHOOTDOWN);
    (HOOKS.shootdown)();
}

fn trace_interrupt(vector: u8) {
    if trace::is_on() {
        trace::record(EventKind::Interrupt, vector, [0; 6]);
    }
}
