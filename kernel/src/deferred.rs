//! What interrupt handlers leave for later. They take none of the locks of `ipc`, which are held with
//! interrupts as they are; so what has to is done before the CPU goes back to a program, or while it
//! has nothing to do.

use core::sync::atomic::{AtomicBool, Ordering};

use abi::limits::MAX_CPUS;
use arch::cpu;

use crate::{interrupts, timers};

static DUE: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];

/// Asks for it on this CPU. From an interrupt handler.
pub fn request() {
    DUE[cpu::current()].store(true, Ordering::Relaxed);
    cpu::request_user_return_work();
}

/// Whether there is something to do on this CPU.
#[inline]
pub fn is_due() -> bool {
    DUE[cpu::current()].load(Ordering::Relaxed)
}

/// Does it. With interrupts on, and no lock held.
pub fn run() {
    DUE[cpu::current()].store(false, Ordering::Relaxed);
    interrupts::deliver();
    timers::expire_due();
}
