//! Counters of the whole system, kept by each CPU for itself.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::MAX_CPUS;

/// Its own cache line for each CPU.
#[repr(align(64))]
struct Counters {
    syscalls: AtomicU64,
    faults: AtomicU64,
    interrupts: AtomicU64,
}

static COUNTERS: [Counters; MAX_CPUS] = [const {
    Counters {
        syscalls: AtomicU64::new(0),
        faults: AtomicU64::new(0),
        interrupts: AtomicU64::new(0),
    }
}; MAX_CPUS];

/// What all CPUs together have counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// System calls.
    pub syscalls: u64,
    /// Faults of programs.
    pub faults: u64,
    /// Timer interrupts and shootdown requests.
    pub interrupts: u64,
}

/// Adds the counters up. They move on meanwhile.
pub fn totals() -> Totals {
    COUNTERS.iter().fold(Totals::default(), |sum, cpu| Totals {
        syscalls: sum.syscalls + cpu.syscalls.load(Ordering::Relaxed),
        faults: sum.faults + cpu.faults.load(Ordering::Relaxed),
        interrupts: sum.interrupts + cpu.interrupts.load(Ordering::Relaxed),
    })
}

/// One more. Only its own CPU writes a counter, and each counts either what threads do or what
/// interrupt handlers do: nobody comes in between.
#[inline(always)]
fn count(counter: impl Fn(&Counters) -> &AtomicU64) {
    let counter = counter(&COUNTERS[arch::cpu::current()]);
    let count = counter.load(Ordering::Relaxed);
    counter.store(count.wrapping_add(1), Ordering::Relaxed);
}

/// Counts a system call.
pub fn count_syscall() {
    count(|cpu| &cpu.syscalls);
}

/// Counts a fault of a program.
pub fn count_fault() {
    count(|cpu| &cpu.faults);
}

/// Counts an interrupt.
pub fn count_interrupt() {
    count(|cpu| &cpu.interrupts);
}
