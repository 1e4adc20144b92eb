//! From the loader to idle CPUs.

extern crate alloc;

use core::panic::PanicInfo;

use arch::hooks::Hooks;
use arch::{cpu, frames, hooks, smp};
use boot::BootInfo;
use spin::Once;

use crate::{heap, selfcheck};

/// What the heap has before anybody asks for more, in bytes.
const FIRST_HEAP: usize = 256 * 1024;

static BOOT_INFO: Once<&'static BootInfo> = Once::new();

static HOOKS: Hooks = Hooks {
    syscall: selfcheck::syscall,
    page_fault: selfcheck::page_fault,
    user_fault: selfcheck::user_fault,
    timer: selfcheck::timer,
    shootdown: selfcheck::shootdown,
    before_user_return: || {},
    panic_stop: || {},
};

/// The entry from `boot`.
#[unsafe(no_mangle)]
fn kernel_main(info: &'static BootInfo) -> ! {
    BOOT_INFO.call_once(|| info);
    // SAFETY: called once, with what `boot` passed.
    unsafe { arch::init(info, main) }
}

fn main() -> ! {
    let info = boot_info();
    hooks::install(&HOOKS);
    let mut source = frames::allocate;
    heap::ensure(FIRST_HEAP, &mut source).expect("no memory for the kernel heap");
    let missing =
        smp::start_all(info.trampoline, &mut source, idle).expect("no memory for the CPUs' stacks");
    for apic_id in missing {
        println!("kernel: the CPU with APIC id {apic_id} does not start; going on without it");
    }
    let ranges = frames::remaining();
    let usable: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    println!(
        "kernel: {} CPUs, {} nodes, {} MiB free, initrd {} bytes, boot took {} frames, TSC {} MHz",
        cpu::count(),
        arch::acpi::nodes(),
        usable >> 20,
        info.initrd.len(),
        frames::taken(),
        arch::clock::tsc_hz() / 1_000_000,
    );
    if info.has_word("selfcheck") {
        selfcheck::run();
    }
    if info.has_word("selfcheck=guard") {
        selfcheck::hit_guard_page();
    }
    if info.has_word("selfcheck=panic") {
        panic!("asked for on the command line");
    }
    idle()
}

fn boot_info() -> &'static BootInfo {
    BOOT_INFO.get().expect("set by kernel_main")
}

fn idle() -> ! {
    loop {
        cpu::enable_and_halt();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    match info.location() {
        Some(location) => arch::panic::report(format_args!("{} ({location})", info.message())),
        None => arch::panic::report(format_args!("{}", info.message())),
    }
}
