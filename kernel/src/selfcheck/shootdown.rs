//! Every CPU takes mappings away from all others at once, with interrupts off throughout: they
//! answer one another only where they wait for acknowledgements and where they spin for locks.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use abi::Rights;
use abi::limits::{PAGE_SIZE, USER_START};
use arch::exit::{ExitCode, exit};
use arch::hooks::{Hooks, PageFault, Resolution};
use arch::{cpu, frames, hooks, paging, smp, user};
use boot::BootInfo;
use mm::{AddressSpace, Frame, MapRequest, Permit, RegionOptions};
use spin::Once;

use crate::machine::ipc;
use crate::{heap, start};

/// What each CPU takes away.
const TURNS: u64 = 100;

static HOOKS: Hooks = Hooks {
    syscall: super::syscall,
    page_fault: no_page_fault,
    user_fault: super::user_fault,
    extended_state: core::ptr::null_mut,
    timer: |_| {},
    device: |_| {},
    shootdown: || ipc().memory().serve(),
    before_user_return: || {},
    panic_stop: || {},
};

extern "C" fn no_page_fault(_: PageFault) -> Resolution {
    Resolution::Unresolved
}

static SPACE: Once<Arc<AddressSpace>> = Once::new();
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);

/// Brings memory up as a start does, and lets all CPUs loose.
pub fn run(info: &BootInfo) -> ! {
    hooks::install(&HOOKS);
    let mut source = frames::allocate;
    heap::begin(start::FIRST_HEAP, &mut source).expect("no memory for the kernel heap");
    smp::start_all(info.trampoline, &mut source, other_cpu).expect("no memory for stacks");
    start::memory(info);
    let memory = ipc().memory();
    let before = frames_of_all();
    let space = memory
        .create_space(memory.account(), USER_START)
        .expect("memory for a space");
    take_away_with_all_others(SPACE.call_once(|| space));

    let space = SPACE.get().expect("made above");
    memory.unmap_all(space, drop);
    memory.destroy_space(space);
    assert_eq!(frames_of_all(), before, "frames were lost");
    println!(
        "selfcheck: {} CPUs took {TURNS} mappings each away from all at once, {} times waiting",
        cpu::count(),
        memory.shootdowns()
    );
    println!("selfcheck: passed");
    exit(ExitCode::Success)
}

/// What is free, and what the heap has.
fn frames_of_all() -> u64 {
    ipc().platform().pool().available() + heap::frames() + heap::promised()
}

fn other_cpu() -> ! {
    while !SPACE.is_completed() {
        cpu::pause();
    }
    take_away_with_all_others(SPACE.get().expect("made by the boot CPU"));
    cpu::halt_forever()
}

/// Counts this CPU in, and waits for all. It takes no interrupts, so it looks for itself.
fn wait_for(count: &AtomicUsize) {
    while count.load(Ordering::Acquire) < cpu::count() {
        ipc().memory().serve();
        cpu::pause();
    }
}

fn take_away_with_all_others(space: &Arc<AddressSpace>) {
    assert!(!cpu::interrupts_enabled());
    let memory = ipc().memory();
    let kernel = Frame::containing(paging::kernel_root());
    memory.switch_space(Some(space), kernel);
    INSIDE.fetch_add(1, Ordering::Release);
    wait_for(&INSIDE);
    for turn in 0..TURNS {
        take_away(space, (cpu::current() as u64 + 1) << 32 | turn);
    }
    memory.switch_space(None, kernel);
    // It was asked while it was inside, and has to answer still.
    DONE.fetch_add(1, Ordering::Release);
    wait_for(&DONE);
}

/// Maps a page, writes a number that is written nowhere else, takes the page away and looks again.
fn take_away(space: &Arc<AddressSpace>, number: u64) {
    let memory = ipc().memory();
    heap::ensure().expect("memory for the heap");
    let committed = RegionOptions {
        commit: true,
        ..RegionOptions::default()
    };
    let region = memory
        .create_region(memory.account(), PAGE_SIZE, committed)
        .expect("memory for a region");
    let permit: Arc<Permit> = mm::shared(Permit::new());
    let access = Rights::READ | Rights::WRITE;
    let request = MapRequest::whole(&region, permit.clone(), access);
    let address = memory.map(space, request).expect("a place");
    assert_eq!(user::put_u64(address, number), Ok(()));
    assert_eq!(user::get_u64(address), Ok(number));
    permit.set_live(false);
    // Under the lock of this region only, so that CPUs really wait for one another.
    assert_eq!(memory.detach(&region, |_| true), 1);
    // Somebody else may have mapped something here by now.
    assert_ne!(user::get_u64(address), Ok(number), "a stale translation");
    memory.destroy_region(&region);
}
