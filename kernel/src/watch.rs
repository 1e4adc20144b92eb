//! Watching the ways into the kernel, at no cost while nobody does: the platform's hooks are exchanged
//! for others that tell whoever watches, and then go on as always.

#![allow(unsafe_code)] // The first step is written in assembler.

use alloc::sync::Arc;
use core::arch::naked_asm;

use abi::submission::Operation;
use abi::trace::EventKind;
use abi::{Error, Syscall};
use arch::hooks::{self, Hooks, Origin, PageFault, Resolution, UserFault};
use arch::syscall::SyscallFrame;
use arch::{clock, cpu, trap};

use crate::irq_lock::IrqLock;
use crate::process::Process;
use crate::start::{HOOKS, INSTALLED};
use crate::{dispatch, faults, fuse, sched, trace};

static WATCHED: Hooks = Hooks {
    syscall,
    page_fault,
    user_fault,
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

/// A system call, watched. What is not traced goes on as always, from where it came: its handler expects the entry
/// right above it.
#[unsafe(naked)]
extern "C" fn syscall(_: u64, frame: &mut SyscallFrame) {
    naked_asm!(
        "push rax",
        "push rsi",
        "sub rsp, 8",
        "mov rdi, rsi",
        "call {watch}",
        "mov ecx, eax",
        "add rsp, 8",
        "pop rsi",
        "pop rax",
        "test cl, cl",
        "jne 2f",
        "jmp {serve}",
        "2: ret",
        watch = sym watch,
        serve = sym dispatch::syscall,
    )
}

/// Tells of a system call, and makes it if it is traced or has to go at length; else false, with interrupts off as
/// before.
extern "C" fn watch(frame: &mut SyscallFrame) -> bool {
    cpu::enable_interrupts();
    fuse::burn();
    if trace::is_on() {
        serve_traced(frame);
        return true;
    }
    if goes_at_length(frame) {
        dispatch::serve_at_length(frame);
        return true;
    }
    cpu::disable_interrupts();
    false
}

/// Whether a call that has a short way is kept from it, as chance has it in a seeded schedule: so the order in which
/// threads go on is drawn there, too, and each half meets what is not one.
fn goes_at_length(frame: &SyscallFrame) -> bool {
    let call = Syscall::from_number(frame.number());
    let has_short_way = matches!(
        call,
        Some(Syscall::ChannelCallWords | Syscall::ChannelServeWords)
    );
    has_short_way && sched::decides_by_chance()
}

fn serve_traced(frame: &mut SyscallFrame) {
    let arguments = frame.arguments();
    // A larger number is no call.
    let number = u8::try_from(frame.number()).unwrap_or(u8::MAX);
    let call = Syscall::from_number(frame.number());
    trace::record(EventKind::Enter, number, arguments);
    let object = named_before(call, arguments);
    dispatch::serve_at_length(frame);
    let result = frame.number();
    let mut told = [result, 0, 0, 0, 0, 0];
    if let Some(Syscall::ChannelCallWords | Syscall::ChannelServeWords) = call {
        told[1..].copy_from_slice(&frame.arguments()[..5]);
    }
    trace::record(EventKind::Leave, number, told);
    tell_of_authority(call, object, arguments, result);
}

/// What an entry of a submission ring has done by a call, watched.
pub fn operate(
    process: &Arc<Process>,
    operation: Operation,
    arguments: [u64; 6],
) -> Result<u64, Error> {
    if !trace::is_on() {
        return dispatch::operate(process, operation, arguments);
    }
    let call = Syscall::from_number(operation as u64);
    let object = named_before(call, arguments);
    let outcome = dispatch::operate(process, operation, arguments);
    tell_of_authority(call, object, arguments, abi::encode(outcome));
    outcome
}

/// The object of the handle that a call begins with, where it may name nothing any more afterwards.
fn named_before(call: Option<Syscall>, arguments: [u64; 6]) -> u64 {
    match call {
        // As after a Move.
        Some(Syscall::Grant) => trace::koid_of(arguments[0]),
        _ => 0,
    }
}

/// Records what a call that answered `result` has done to the authority of others.
fn tell_of_authority(call: Option<Syscall>, object: u64, arguments: [u64; 6], result: u64) {
    if abi::decode(result).is_err() {
        return;
    }
    match call {
        Some(Syscall::Grant) => {
            trace::record(EventKind::Grant, 0, [object, result, arguments[2], 0, 0, 0]);
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

/// What else a program can't do, watched. A page fault was told of by its own hook.
fn user_fault(fault: &mut UserFault<'_>) {
    let frame = &*fault.frame;
    if trace::is_on()
        && frame.vector != faults::PAGE_FAULT
        && !mm::sabotaged!("exceptions_not_traced")
    {
        let arguments = [frame.rip, frame.error_code, 0, 0, 0, 0];
        trace::record(EventKind::Exception, frame.vector as u8, arguments);
    }
    faults::user_fault(fault);
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
