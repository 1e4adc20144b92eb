//! A check of the platform in the running kernel, asked for by `selfcheck` on the command line.
//!
//! Each step proves one promise of `arch` and is one line of output; the first that fails panics.

#![allow(unsafe_code)] // It builds its own tables and contexts.

mod blocks;
pub mod canary;
mod programs;
mod shootdown;
mod tables;

use core::cell::UnsafeCell;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arch::apic::{self, Ipi};
use arch::context::{self, Context};
use arch::exit::{ExitCode, exit};
use arch::hooks::{Hooks, Origin, PageFault, Resolution, UserFault};
use arch::layout::{DIRECT_MAP, PAGE_SIZE, USER_END};
use arch::stack::KernelStack;
use arch::syscall::SyscallFrame;
use arch::user::{self, Fault};
use arch::{clock, cpu, frames, hooks, paging, phys, smp, tlb};
use boot::BootInfo;

use crate::heap;
use programs::{INVALID, KEEP, LOOK, MEASURE, PRIVILEGED, READ_HOLE, SPIN, SUM};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED_DIRTY: u64 = 0x60;
const NO_EXECUTE: u64 = 1 << 63;

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x40_1000;
/// Mapped by the page-fault hook.
const LAZY: u64 = 0x40_2000;
/// Never mapped.
const HOLE: u64 = 0x40_3000;
const CALL_EXIT: u64 = 1;
const CALL_NOTHING: u64 = 2;
const CALL_MEASURE: u64 = 3;

/// What the heap begins with, in bytes.
const FIRST_HEAP: u64 = 256 << 10;

static SHOOTDOWNS: AtomicU64 = AtomicU64::new(0);
static TICKS_IN_KERNEL: AtomicUsize = AtomicUsize::new(0);
static TICKS_IN_USER: AtomicUsize = AtomicUsize::new(0);
static FILLED: AtomicUsize = AtomicUsize::new(0);
static LEAF: AtomicU64 = AtomicU64::new(0);
static EXIT_VALUE: AtomicU64 = AtomicU64::new(0);
static KERNEL_CALL_COUNTS: AtomicU64 = AtomicU64::new(0);
static FAULTED_AT: AtomicU64 = AtomicU64::new(0);
static USER_RUNS: AtomicBool = AtomicBool::new(false);

/// The two contexts of the check: the kernel's own and that of the user program.
struct Contexts(UnsafeCell<[Context; 2]>);

// SAFETY: only the boot CPU touches it, through raw pointers given to `context::switch`.
unsafe impl Sync for Contexts {}

static CONTEXTS: Contexts = Contexts(UnsafeCell::new([Context::adopt(0), Context::adopt(0)]));

const KERNEL: usize = 0;
const PROGRAM: usize = 1;

fn context(which: usize) -> *mut Context {
    // SAFETY: both indices are in bounds of the static array.
    unsafe { CONTEXTS.0.get().cast::<Context>().add(which) }
}

extern "C" fn syscall(_: u64, frame: &mut SyscallFrame) {
    cpu::enable_interrupts();
    match frame.number() {
        CALL_EXIT => {
            EXIT_VALUE.store(frame.arguments()[0], Ordering::Relaxed);
            leave_program();
        }
        CALL_NOTHING => frame.set_result(frame.arguments().iter().sum()),
        CALL_MEASURE => {
            KERNEL_CALL_COUNTS.store(frame.arguments()[0], Ordering::Relaxed);
            frame.set_result(0);
        }
        number => panic!("selfcheck: system call {number}"),
    }
}

extern "C" fn page_fault(fault: PageFault) -> Resolution {
    if fault.address & !(PAGE_SIZE - 1) != LAZY || fault.is_present() {
        return Resolution::Unresolved;
    }
    FILLED.fetch_add(1, Ordering::Relaxed);
    let frame = new_frame();
    let flags = PRESENT | WRITABLE | USER | ACCESSED_DIRTY | NO_EXECUTE;
    // SAFETY: the table is the check's own and maps only its frames.
    unsafe {
        phys::store_entry(
            LEAF.load(Ordering::Relaxed),
            leaf_index(LAZY),
            frame | flags,
        )
    };
    Resolution::Resolved
}

fn user_fault(fault: &mut UserFault<'_>) {
    FAULTED_AT.store(fault.address, Ordering::Relaxed);
    leave_program();
    unreachable!("a faulted program ran again");
}

fn timer(origin: Origin) {
    match origin {
        Origin::User => TICKS_IN_USER.fetch_add(1, Ordering::Relaxed),
        Origin::Kernel => TICKS_IN_KERNEL.fetch_add(1, Ordering::Relaxed),
    };
    if USER_RUNS.load(Ordering::Relaxed) {
        apic::arm_timer(clock::now_ns() + 100_000);
    }
}

fn count_shootdown() {
    tables::attributes_are_set();
    SHOOTDOWNS.fetch_or(1 << cpu::current(), Ordering::AcqRel);
}

static HOOKS: Hooks = Hooks {
    syscall,
    page_fault,
    user_fault,
    extended_state: || context(PROGRAM),
    timer,
    device: |_| {},
    shootdown: count_shootdown,
    before_user_return: || {},
    panic_stop: || {},
};

/// Takes the machine for a check if the command line says so.
pub fn run_if_asked(info: &BootInfo) {
    if info.has_word("selfcheck=shootdown") {
        shootdown::run(info);
    }
    let check: fn() -> ! = if info.has_word("selfcheck") {
        run
    } else if info.has_word("selfcheck=guard") {
        hit_guard_page
    } else if info.has_word("selfcheck=panic") {
        || panic!("asked for on the command line")
    } else {
        return;
    };
    hooks::install(&HOOKS);
    let mut source = frames::allocate;
    heap::begin(FIRST_HEAP, &mut source).expect("no memory for the kernel heap");
    smp::start_all(info.trampoline, &mut source, idle).expect("no memory for the CPUs' stacks");
    check()
}

fn idle() -> ! {
    loop {
        cpu::enable_and_halt();
    }
}

/// Runs all steps and leaves with the exit status of success.
fn run() -> ! {
    cpu::enable_interrupts();
    blocks::works();
    tables::are_sound();
    interrupts_reach_every_cpu();
    timer_ticks();
    user_program_runs();
    user_copies_fail_softly();
    sse_registers_are_kept();
    println!("selfcheck: passed");
    exit(ExitCode::Success)
}

/// Overflows the stack: the guard page has to turn it into a double fault with a report.
fn hit_guard_page() -> ! {
    fn recurse(depth: u64) -> u64 {
        let local = black_box([depth; 64]);
        if local[0] == u64::MAX {
            return 0;
        }
        recurse(depth + 1) + local[(depth % 64) as usize]
    }
    panic!("selfcheck: no guard page below the stack ({})", recurse(0));
}

fn interrupts_reach_every_cpu() {
    let others = cpu::count() - 1;
    let start = clock::now_ns();
    apic::send_ipi(cpu::online(), Ipi::Shootdown);
    while SHOOTDOWNS.load(Ordering::Acquire) != cpu::online() {
        assert!(
            clock::now_ns() - start < 1_000_000_000,
            "IPI lost: {:#x}",
            SHOOTDOWNS.load(Ordering::Acquire)
        );
        cpu::pause();
    }
    println!("selfcheck: IPI reached this CPU and {others} others; all have their page attributes");
}

fn timer_ticks() {
    let deadline_ns = clock::now_ns() + 2_000_000;
    apic::arm_timer(deadline_ns);
    while TICKS_IN_KERNEL.load(Ordering::Relaxed) == 0 {
        cpu::disable_interrupts();
        if TICKS_IN_KERNEL.load(Ordering::Relaxed) == 0 {
            cpu::enable_and_halt();
        } else {
            cpu::enable_interrupts();
        }
    }
    assert!(
        clock::now_ns() + 100_000 >= deadline_ns,
        "the timer is early"
    );
    println!("selfcheck: timer ticks");
}

/// Runs `code` as a user program and returns its exit value, or the address of its fault as `Err`.
fn run_program(code: &[u8]) -> Result<u64, u64> {
    let root = build_address_space(code);
    let stack = KernelStack::allocate(&mut frames::allocate).expect("memory for a stack");
    FAULTED_AT.store(u64::MAX, Ordering::Relaxed);
    cpu::disable_interrupts();
    // SAFETY: the contexts are static, the stack outlives the program, the root has the kernel's half; and
    // interrupts are off.
    unsafe {
        context(PROGRAM).write(Context::new(stack.top(), program, 0));
        tlb::load_root(root);
        USER_RUNS.store(true, Ordering::Relaxed);
        apic::arm_timer(clock::now_ns() + 100_000);
        context::switch(context(KERNEL), context(PROGRAM));
        USER_RUNS.store(false, Ordering::Relaxed);
    }
    apic::disarm_timer();
    cpu::enable_interrupts();
    match FAULTED_AT.load(Ordering::Relaxed) {
        u64::MAX => Ok(EXIT_VALUE.load(Ordering::Relaxed)),
        address => Err(address),
    }
}

extern "C" fn program(_: usize) -> ! {
    user::enter(CODE, DATA + PAGE_SIZE, DATA, LAZY)
}

fn leave_program() {
    cpu::disable_interrupts();
    // SAFETY: the program's context runs here; the kernel's was switched away from in `run_program`.
    unsafe { context::switch(context(PROGRAM), context(KERNEL)) };
}

fn new_frame() -> u64 {
    let frame = frames::allocate().expect("memory for the check");
    // SAFETY: the frame was given to the check.
    unsafe { phys::zero_frame(frame) };
    frame
}

fn leaf_index(address: u64) -> usize {
    (address >> 12) as usize & 511
}

fn build_address_space(code: &[u8]) -> u64 {
    let [root, pointers, directory, leaf, text, data] = [(); 6].map(|()| new_frame());
    let table = PRESENT | WRITABLE | USER | ACCESSED_DIRTY & !0x40;
    // SAFETY: all frames are the check's own.
    unsafe {
        paging::init_address_space(root);
        phys::store_entry(root, 0, pointers | table);
        phys::store_entry(pointers, 0, directory | table);
        phys::store_entry(directory, (CODE >> 21) as usize, leaf | table);
        phys::store_entry(
            leaf,
            leaf_index(CODE),
            text | PRESENT | USER | ACCESSED_DIRTY,
        );
        let writable = PRESENT | WRITABLE | USER | ACCESSED_DIRTY | NO_EXECUTE;
        phys::store_entry(leaf, leaf_index(DATA), data | writable);
        phys::write_bytes(text, 0, code);
    }
    LEAF.store(leaf, Ordering::Relaxed);
    root
}

fn user_program_runs() {
    let filled = FILLED.load(Ordering::Relaxed);
    assert_eq!(
        run_program(SUM),
        Ok(23),
        "six arguments, a kept register, a filled page"
    );
    assert_eq!(FILLED.load(Ordering::Relaxed), filled + 1);
    println!("selfcheck: user mode, system call and demand page work");

    run_program(SPIN).expect("a spinning program ends");
    assert!(
        TICKS_IN_USER.load(Ordering::Relaxed) > 0,
        "no timer tick in user mode"
    );
    println!("selfcheck: the timer interrupts user mode");

    assert_eq!(run_program(READ_HOLE), Err(HOLE));
    assert_eq!(run_program(INVALID), Err(0));
    assert_eq!(run_program(PRIVILEGED), Err(0));
    println!("selfcheck: faults of programs come to the hook");

    run_program(MEASURE).expect("a measuring program ends");
    println!(
        "selfcheck: a null system call takes {} counts",
        KERNEL_CALL_COUNTS.load(Ordering::Relaxed)
    );
}

fn user_copies_fail_softly() {
    // The last program's address space is still loaded.
    let text = *b"across the border";
    let mut back = [0; 17];
    assert_eq!(user::copy_to_user(DATA, &text), Ok(()));
    assert_eq!(user::copy_from_user(&mut back, DATA), Ok(()));
    assert_eq!(back, text);
    assert_eq!(
        user::copy_to_user(LAZY - 8, &text),
        Ok(()),
        "a copy that fills a page"
    );
    assert_eq!(user::put_u64(DATA + 8, 0x1234), Ok(()));
    assert_eq!(user::get_u64(DATA + 8), Ok(0x1234));
    let bad = [
        0,
        8,
        HOLE,
        HOLE - 8,
        USER_END - 8,
        USER_END - 16,
        USER_END,
        1 << 47,
        DIRECT_MAP,
        u64::MAX - 7,
        u64::MAX,
        0xffff_ffff_8020_0000,
    ];
    for address in bad {
        assert_eq!(
            user::copy_from_user(&mut back, address),
            Err(Fault),
            "reading {address:#x}"
        );
        assert_eq!(
            user::copy_to_user(address, &text),
            Err(Fault),
            "writing {address:#x}"
        );
    }
    assert_eq!(
        user::copy_to_user(CODE, &text),
        Err(Fault),
        "writing read-only code"
    );
    assert_eq!(user::get_u64(HOLE), Err(Fault));
    assert_eq!(user::put_u64(CODE, 0), Err(Fault));
    assert_eq!(
        user::copy_from_user(&mut [], 0),
        Ok(()),
        "nothing is nowhere"
    );
    // SAFETY: the kernel's own root.
    unsafe { tlb::load_root(paging::kernel_root()) };
    println!(
        "selfcheck: user copies fail softly at {} bad addresses",
        bad.len()
    );
}

fn sse_registers_are_kept() {
    assert_eq!(run_program(KEEP), Ok(DATA));
    assert_eq!(
        run_program(LOOK),
        Ok(0),
        "a program sees the registers of another"
    );
    // SAFETY: the kernel's own root.
    unsafe { tlb::load_root(paging::kernel_root()) };
    println!("selfcheck: SSE registers are the program's own");
}
