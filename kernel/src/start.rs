//! From the loader to the first process.

use core::fmt;
use core::panic::PanicInfo;

use arch::hooks::Hooks;
use arch::{acpi, clock, cpu, frames, hooks, smp};
use boot::BootInfo;
use spin::Once;

use crate::machine::ipc;
use crate::{
    devices, dispatch, faults, heap, init, interrupts, measure, memory, random, ranks, sched,
    selfcheck, stats, timers, watch,
};

/// The word that asks for what only the kernel can measure.
const MEASURE: &str = "measure";

/// What the heap has before anybody asks for more, in bytes.
pub const FIRST_HEAP: u64 = 512 << 10;

static BOOT_INFO: Once<&'static BootInfo> = Once::new();

/// What the platform calls.
pub const HOOKS: Hooks = Hooks {
    syscall: dispatch::syscall,
    page_fault: faults::page_fault,
    user_fault: faults::user_fault,
    extended_state: sched::on_extended_state,
    timer: sched::on_timer,
    device: interrupts::on_device,
    shootdown: serve_shootdown,
    before_user_return: sched::before_user_return,
    panic_stop: || {},
};

/// The same where the platform finds it, unless somebody [watches](crate::watch).
pub static INSTALLED: Hooks = HOOKS;

/// The entry from `boot`.
#[unsafe(no_mangle)]
#[allow(unsafe_code)] // The symbol that `boot` calls, and the one call into the platform.
fn kernel_main(info: &'static BootInfo) -> ! {
    BOOT_INFO.call_once(|| info);
    // SAFETY: called once, with what `boot` passed.
    unsafe { arch::init(info, main) }
}

fn main() -> ! {
    let info = boot_info();
    #[cfg(sabotage)]
    choose_sabotage(info);
    selfcheck::run_if_asked(info);
    hooks::install(&INSTALLED);
    let mut source = frames::allocate;
    heap::begin(FIRST_HEAP, &mut source).expect("no memory for the kernel heap");
    let missing = smp::start_all(info.trampoline, &mut source, start_cpu)
        .expect("no memory for the CPUs' stacks");
    for apic_id in missing {
        println!("kernel: the CPU with APIC id {apic_id} does not start; going on without it");
    }
    memory(info);
    devices::init(info);
    selfcheck::canary::break_if_asked(info);
    if info.has_word(MEASURE) {
        measure::run();
    }
    warn_of_unknown_words(info);
    let seed = seed(info);
    random::init(seed.unwrap_or_else(clock::rdtsc));
    timers::seed();
    if let Some(seed) = seed {
        sched::seed(seed);
        watch::begin();
    }
    println!(
        "kernel: {}, {}, {} MiB free, initrd of {} KiB",
        Counted(cpu::count(), "CPU"),
        Counted(acpi::nodes(), "NUMA node"),
        ipc().platform().pool().available() >> 8,
        info.initrd.len() >> 10,
    );
    sched::prepare();
    interrupts::prepare();
    CPUS_MAY_RUN.call_once(|| ());
    if let Err(error) = init::start(info) {
        panic!("no first process: {error}");
    }
    sched::run_idle()
}

/// A number of things, in words.
struct Counted(usize, &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counted(count, thing) = *self;
        write!(f, "{count} {thing}{}", if count == 1 { "" } else { "s" })
    }
}

/// Takes away the mechanism that `sabotage=` on the command line names.
#[cfg(sabotage)]
fn choose_sabotage(info: &'static BootInfo) {
    let mut words = info.command_line.split_ascii_whitespace();
    if let Some(name) = words.find_map(|word| word.strip_prefix("sabotage=")) {
        mm::sabotage::choose(name);
        if mm::sabotaged!("clock_rate_not_measured") {
            clock::pretend_rate(2_000_000_000);
        }
    }
}

/// Brings up what is built on the memory that boot left, on the boot CPU.
pub fn memory(info: &BootInfo) {
    memory::init(info);
    heap::promise().expect("no memory for the kernel heap to grow");
    ranks::check();
    mm::lock::serve_while_spinning(|| ipc().memory().serve());
}

/// Set when memory and the scheduler are there for every CPU.
static CPUS_MAY_RUN: Once<()> = Once::new();

/// The first code of every other CPU.
fn start_cpu() -> ! {
    while !CPUS_MAY_RUN.is_completed() {
        cpu::pause();
    }
    sched::run_idle()
}

fn boot_info() -> &'static BootInfo {
    BOOT_INFO.get().expect("set by kernel_main")
}

/// Says which words of the command line mean nothing to this kernel.
fn warn_of_unknown_words(info: &BootInfo) {
    for word in info.command_line.split_ascii_whitespace() {
        let number = word.strip_prefix("seed=");
        if word == MEASURE || cfg!(sabotage) && word.starts_with("sabotage=") {
            continue;
        }
        if number.is_none_or(|number| number.parse::<u64>().is_err()) {
            println!("kernel: the word `{word}` on the command line means nothing");
        }
    }
}

/// The number after `seed=` on the command line.
fn seed(info: &BootInfo) -> Option<u64> {
    info.command_line
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("seed="))
        .and_then(|number| number.parse().ok())
}

fn serve_shootdown() {
    stats::count_interrupt();
    ipc().memory().serve();
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    match info.location() {
        Some(location) => arch::panic::report(format_args!("{} ({location})", info.message())),
        None => arch::panic::report(format_args!("{}", info.message())),
    }
}
