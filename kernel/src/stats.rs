//! Counters of the whole system, kept by each CPU for itself, in pages of their own that programs may
//! map to read ([`abi::statistics`] has their layout).

use alloc::sync::Arc;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::{MAX_CPUS, PAGE_SIZE};
use abi::statistics::{CALLS, CPUS_OFFSET, CpuStatistics, Header, LEN, MAGIC};
use abi::{Error, Handle, Rights, Syscall};
use arch::cpu;
use ipc::{Counted, Domain};
use mm::{Account, Frame};
use static_assertions::const_assert_eq;

use crate::machine::{Kernel, ipc};

/// What init may do with the statistics.
const RIGHTS: Rights = Rights::READ
    .union(Rights::MAP)
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE)
    .union(Rights::REVOKE)
    .union(Rights::INSPECT);

/// The place of the numbers that are no calls.
const UNKNOWN: usize = CALLS - 1;

/// As [`CpuStatistics`].
#[repr(C, align(64))]
struct Counters {
    calls: [AtomicU64; CALLS],
    refusals: [AtomicU64; 32],
    faults: AtomicU64,
    interrupts: AtomicU64,
    switches: AtomicU64,
    wakes: AtomicU64,
    timeouts: AtomicU64,
    shootdowns: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    waits: AtomicU64,
    handed: AtomicU64,
    transfers: [AtomicU64; 3],
    at_once: [AtomicU64; 2],
    reserved: [AtomicU64; 81],
}

const_assert_eq!(size_of::<Counters>(), size_of::<CpuStatistics>());
const_assert_eq!(
    offset_of!(Counters, refusals),
    offset_of!(CpuStatistics, refusals)
);
const_assert_eq!(
    offset_of!(Counters, at_once),
    offset_of!(CpuStatistics, at_once)
);

/// Whole pages of the image, and nothing else in them: whoever maps them sees only this.
#[repr(C, align(4096))]
struct Pages {
    header: [AtomicU64; PAGE_SIZE as usize / 8],
    cpus: [Counters; MAX_CPUS],
}

const_assert_eq!(size_of::<Pages>(), LEN);
const_assert_eq!(offset_of!(Pages, cpus), CPUS_OFFSET);

static PAGES: Pages = Pages {
    header: [const { AtomicU64::new(0) }; PAGE_SIZE as usize / 8],
    cpus: [const {
        Counters {
            calls: [const { AtomicU64::new(0) }; CALLS],
            refusals: [const { AtomicU64::new(0) }; 32],
            faults: AtomicU64::new(0),
            interrupts: AtomicU64::new(0),
            switches: AtomicU64::new(0),
            wakes: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            shootdowns: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            handed: AtomicU64::new(0),
            transfers: [const { AtomicU64::new(0) }; 3],
            at_once: [const { AtomicU64::new(0) }; 2],
            reserved: [const { AtomicU64::new(0) }; 81],
        }
    }; MAX_CPUS],
};

/// The statistics as a region of a domain.
pub fn install(account: &Arc<Account>, domain: &Domain<Kernel>) -> Result<Handle, Error> {
    let head = [
        (offset_of!(Header, cpus), cpu::count() as u64),
        (offset_of!(Header, stride), size_of::<Counters>() as u64),
        (offset_of!(Header, magic), MAGIC),
    ];
    for (offset, value) in head {
        PAGES.header[offset / 8].store(value, Ordering::Release);
    }
    let first = Frame::containing(boot::address_in_image(&raw const PAGES as u64));
    let pages = LEN as u64 / PAGE_SIZE;
    let region = ipc().memory().create_image_view(account, first, pages)?;
    ipc().install_region(domain, region, RIGHTS)
}

/// What all CPUs together have counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// System calls.
    pub syscalls: u64,
    /// Faults of programs.
    pub faults: u64,
    /// Interrupts.
    pub interrupts: u64,
}

/// Adds the counters up. They move on meanwhile.
pub fn totals() -> Totals {
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let running = &PAGES.cpus[..cpu::count()];
    running.iter().fold(Totals::default(), |sum, cpu| Totals {
        syscalls: sum.syscalls + cpu.calls.iter().chain(&cpu.at_once).map(load).sum::<u64>(),
        faults: sum.faults + load(&cpu.faults),
        interrupts: sum.interrupts + load(&cpu.interrupts),
    })
}

/// One more. Only its own CPU writes a counter, and each counts either what threads do or what
/// interrupt handlers do: nobody comes in between.
#[inline(always)]
fn count(counter: impl Fn(&Counters) -> &AtomicU64) {
    increment(counter(&PAGES.cpus[cpu::current()]));
}

#[inline(always)]
fn increment(counter: &AtomicU64) {
    add(counter, 1);
}

#[inline(always)]
fn add(counter: &AtomicU64, more: u64) {
    let count = counter.load(Ordering::Relaxed);
    counter.store(count.wrapping_add(more), Ordering::Relaxed);
}

/// Counts what goes through objects. What goes from hand to hand is one count, which stands for all.
#[inline(always)]
pub fn count_at_objects(what: Counted) {
    let counters = &PAGES.cpus[cpu::current()];
    match what {
        Counted::Handed => increment(&counters.handed),
        Counted::Refused(error) => count_refusal(error),
        Counted::Completions(count) => add(&counters.messages, count),
        Counted::Wait => increment(&counters.waits),
        Counted::Transfer(mode) => increment(&counters.transfers[mode as usize]),
        Counted::Message { bytes } => {
            increment(&counters.messages);
            if bytes > 0 {
                add(&counters.bytes, bytes);
            }
        }
    }
}

/// Counts a system call.
#[inline(always)]
pub fn count_call(number: usize) {
    count(|cpu| &cpu.calls[number]);
}

/// Which of the two system calls that go from hand to hand.
#[derive(Clone, Copy, Debug)]
pub enum AtOnce {
    /// A call in words.
    Call,
    /// Its answer, by who serves on.
    Answer,
}

/// Counts a call that went to another thread by a direct switch: one count, which stands for all that it is.
#[inline(always)]
pub fn count_at_once(what: AtOnce) {
    count(|cpu| &cpu.at_once[what as usize]);
}

/// Counts the same without the switch.
#[cold]
#[inline(never)]
pub fn count_at_length(what: AtOnce) {
    count_call(match what {
        AtOnce::Call => Syscall::ChannelCallWords as usize,
        AtOnce::Answer => Syscall::ChannelServeWords as usize,
    });
    count(|cpu| &cpu.handed);
}

/// Counts a number that is no call.
pub fn count_unknown_call() {
    count(|cpu| &cpu.calls[UNKNOWN]);
}

/// Counts a refusal.
pub fn count_refusal(error: Error) {
    count(|cpu| &cpu.refusals[error as usize]);
}

/// Counts a fault of a program.
pub fn count_fault() {
    count(|cpu| &cpu.faults);
}

/// Counts an interrupt.
pub fn count_interrupt() {
    count(|cpu| &cpu.interrupts);
}

/// Counts a switch. With interrupts off.
#[inline(always)]
pub fn count_switch() {
    count(|cpu| &cpu.switches);
}

/// Counts both a switch and that the thread which runs then was made ready.
#[inline(always)]
pub fn count_direct_switch() {
    let counters = &PAGES.cpus[cpu::current()];
    increment(&counters.switches);
    increment(&counters.wakes);
}

/// Counts that a thread made a sleeper ready.
#[inline(always)]
pub fn count_wake() {
    count(|cpu| &cpu.wakes);
}

/// Counts that the timer made a sleeper ready.
#[inline(always)]
pub fn count_timeout() {
    count(|cpu| &cpu.timeouts);
}

/// Counts a request to other CPUs to forget.
pub fn count_shootdown() {
    count(|cpu| &cpu.shootdowns);
}
