//! The end of the kernel: stop the other CPUs, say what happened, leave.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::exit::{ExitCode, exit};
use crate::hooks::hooks;
use crate::trap::{DOUBLE_FAULT, PAGE_FAULT};
use crate::trap_frame::TrapFrame;
use crate::{apic, backtrace, cpu, serial, stack};

/// How long the others get to stop, in looks at their set; a CPU that is beyond an NMI can't be waited for.
const PATIENCE: u32 = 1_000_000;
const NOBODY: usize = usize::MAX;

static PANICKING: AtomicBool = AtomicBool::new(false);
static PANICKING_CPU: AtomicUsize = AtomicUsize::new(NOBODY);
static STOPPED: AtomicU64 = AtomicU64::new(0);

/// Whether some CPU panics. Loops that wait for other CPUs without a limit look at it: a stopped CPU never answers.
#[inline]
pub fn in_progress() -> bool {
    PANICKING.load(Ordering::Relaxed)
}

/// Stops the machine with `message` and the backtrace of the caller. For the panic handler.
pub fn report(message: fmt::Arguments) -> ! {
    let frame_pointer = backtrace::frame_pointer();
    begin();
    serial::write_line(format_args!("panic on CPU {}: {message}", cpu::current()));
    finish(frame_pointer)
}

/// Stops the machine because of a trap in the kernel.
pub(crate) fn trapped(frame: &TrapFrame, address: u64) -> ! {
    begin();
    let what = format_args!(
        "panic on CPU {}: {} in the kernel",
        cpu::current(),
        frame.name()
    );
    let cr2 = x86_64::registers::control::Cr2::read_raw();
    match frame.vector {
        PAGE_FAULT if stack::is_guard(address) => {
            serial::write_line(format_args!("{what}: stack overflow at {address:#018x}"));
        }
        PAGE_FAULT => serial::write_line(format_args!("{what}: access to {address:#018x}")),
        DOUBLE_FAULT if stack::is_guard(cr2) => {
            serial::write_line(format_args!("{what}: stack overflow at {cr2:#018x}"));
        }
        _ => serial::write_line(format_args!("{what} (vector {})", frame.vector)),
    }
    serial::write_line(format_args!(
        "  error {:#x} rip {:#018x} rflags {:#x} cs {:#x} ss {:#x}\n\
         \x20 rax {:#018x} rbx {:#018x} rcx {:#018x} rdx {:#018x}\n\
         \x20 rsi {:#018x} rdi {:#018x} rbp {:#018x} rsp {:#018x}\n\
         \x20 r8  {:#018x} r9  {:#018x} r10 {:#018x} r11 {:#018x}\n\
         \x20 r12 {:#018x} r13 {:#018x} r14 {:#018x} r15 {:#018x}\n\
         \x20 at {:#018x}",
        frame.error_code,
        frame.rip,
        frame.rflags,
        frame.cs,
        frame.ss,
        frame.rax,
        frame.rbx,
        frame.rcx,
        frame.rdx,
        frame.rsi,
        frame.rdi,
        frame.rbp,
        frame.rsp,
        frame.r8,
        frame.r9,
        frame.r10,
        frame.r11,
        frame.r12,
        frame.r13,
        frame.r14,
        frame.r15,
        frame.rip,
    ));
    finish(frame.rbp)
}

/// In the NMI handler: halts for ever when another CPU panics.
pub(crate) fn stop_if_panicking() {
    if in_progress() {
        (hooks().panic_stop)();
        STOPPED.fetch_or(1 << cpu::current(), Ordering::AcqRel);
        cpu::halt_forever();
    }
}

/// Makes this CPU the only one that runs.
fn begin() {
    cpu::disable_interrupts();
    let this = cpu::current();
    if PANICKING.swap(true, Ordering::AcqRel) {
        if PANICKING_CPU.load(Ordering::Acquire) == this {
            // A panic in the report: more output could panic again.
            exit(ExitCode::Panic);
        }
        STOPPED.fetch_or(1 << this, Ordering::AcqRel);
        cpu::halt_forever();
    }
    PANICKING_CPU.store(this, Ordering::Release);
    let others = cpu::online() & !(1 << this);
    if others != 0 {
        apic::send_nmi(others);
    }
    for _ in 0..PATIENCE {
        if STOPPED.load(Ordering::Acquire) & others == others {
            break;
        }
        core::hint::spin_loop();
    }
    // SAFETY: the others are stopped. One that is beyond an NMI could at worst mix its output into the report.
    unsafe { serial::break_lock() };
}

fn finish(frame_pointer: u64) -> ! {
    backtrace::walk(frame_pointer, |address| {
        serial::write_line(format_args!("  at {address:#018x}"))
    });
    exit(ExitCode::Panic)
}
