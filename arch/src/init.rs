//! Taking the machine over, in order.

use core::arch::asm;

use boot::BootInfo;
use spin::Once;

use crate::segments::INTERRUPT_STACKS;
use crate::stack::KernelStack;
use crate::{acpi, apic, cpu, frames, paging, per_cpu, segments, serial, syscall, trap, user};

static MAIN: Once<fn() -> !> = Once::new();

/// Takes the boot CPU over and runs `main` on a stack with a guard page, with interrupts off. From then on
/// the identity map is gone, the tables are the kernel's own, and all of this crate works.
///
/// Panics, with a message, on a machine that the kernel can't run on.
///
/// # Safety
/// Once, from `kernel_main`, with what `boot` passed to it.
pub unsafe fn init(info: &'static BootInfo, main: fn() -> !) -> ! {
    per_cpu::install(0);
    serial::init();
    cpu::detect();
    cpu::init_control_registers();
    user::init();
    // SAFETY: the early tables are loaded, and the pointer is the loader's.
    unsafe { acpi::init(info.rsdp) };
    frames::init(info);
    // SAFETY: once, on the boot CPU, after the frames.
    unsafe { paging::init(info) };
    let mut source = frames::allocate;
    prepare_interrupt_stacks(0, &mut source).expect("no memory for interrupt stacks");
    apic::init(&mut source);
    // SAFETY: CPU 0 was prepared.
    unsafe { init_cpu() };
    apic::calibrate();
    cpu::set_online();
    let stack = KernelStack::allocate(&mut source)
        .expect("no memory for a stack")
        .leak();
    MAIN.call_once(|| main);
    // SAFETY: the stack is mapped and this CPU's for ever; nothing of the old one is used again.
    unsafe {
        asm!(
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "push 0",
            "jmp {main}",
            stack = in(reg) stack,
            main = sym on_new_stack,
            options(noreturn)
        )
    }
}

extern "C" fn on_new_stack() -> ! {
    match MAIN.get() {
        Some(main) => main(),
        None => cpu::halt_forever(),
    }
}

/// Gives CPU `index` stacks for the exceptions that need their own.
pub(crate) fn prepare_interrupt_stacks(
    index: usize,
    source: paging::FrameSource,
) -> Result<(), paging::MapError> {
    let mut tops = [0; INTERRUPT_STACKS];
    for top in &mut tops {
        *top = KernelStack::allocate(source)?.leak();
    }
    // SAFETY: a CPU is prepared before it is started, with stacks that are given to nobody else.
    unsafe { segments::prepare(index, tops) };
    Ok(())
}

/// What each CPU does for itself once its block is installed and its control registers are set.
///
/// # Safety
/// Once on each CPU, after it was prepared, with the kernel's tables loaded.
pub(crate) unsafe fn init_cpu() {
    // SAFETY: the caller says that it was prepared and comes once.
    unsafe { segments::load() };
    trap::init();
    syscall::init();
    apic::init_cpu();
}
