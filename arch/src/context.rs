//! Kernel contexts: what a thread is when it does not run.

use core::arch::naked_asm;
use core::sync::atomic::Ordering;

use crate::extended_state::ExtendedState;
use crate::{cpu, per_cpu, segments};

/// A thread's stack pointer and extended registers.
///
/// The callee-saved registers are on its stack. It must not move in memory while it runs.
#[repr(C)]
pub struct Context {
    stack_pointer: u64,
    stack_top: u64,
    pub(crate) extended: ExtendedState,
}

impl Context {
    /// A context that begins at `entry(argument)` on the stack below `stack_top` when it is first switched to. It begins
    /// with interrupts off, as every switch ends.
    ///
    /// # Safety
    /// `stack_top` is the top of a kernel stack that is this context's alone for as long as it can run.
    pub unsafe fn new(stack_top: u64, entry: extern "C" fn(usize) -> !, argument: usize) -> Self {
        // What `switch_stacks` pops: r15, r14, r13, r12, rbx, rbp, return address; and a 0 that ends backtraces.
        let initial: [u64; 8] = [
            0,
            0,
            argument as u64,
            entry as usize as u64,
            0,
            0,
            start as *const () as u64,
            0,
        ];
        let stack_pointer = stack_top - size_of_val(&initial) as u64;
        // SAFETY: the stack is mapped, at least this large, and nobody else's.
        unsafe { (stack_pointer as *mut [u64; 8]).write(initial) };
        Self {
            stack_pointer,
            stack_top,
            extended: ExtendedState::new(),
        }
    }

    /// A context for what runs on this CPU now, such as its idle loop: the first switch away fills it.
    /// `stack_top` is the top of the stack that it runs on.
    pub const fn adopt(stack_top: u64) -> Self {
        Self {
            stack_pointer: 0,
            stack_top,
            extended: ExtendedState::new(),
        }
    }
}

/// Leaves `from` and runs `to`, with its kernel stack and extended registers. Returns when somebody
/// switches to `from` again, maybe on another CPU. The address space is not touched.
///
/// # Safety
/// Interrupts are off. `from` is what runs on this CPU; `to` runs nowhere and was made by [`Context::new`] or was
/// switched away from. Both stay in place while they are in use. Another CPU may switch to `from` only after this
/// switch is done, which is so when `to` runs: the code there has to publish it.
#[inline]
pub unsafe fn switch(from: *mut Context, to: *mut Context) {
    debug_assert!(!cpu::interrupts_enabled());
    // SAFETY: the caller vouches for both contexts; only this CPU uses them now.
    unsafe {
        (*from).extended.save();
        activate(&mut *to);
        switch_stacks(&raw mut (*from).stack_pointer, (*to).stack_pointer);
    }
}

/// Makes `context` the one that this CPU counts as running, without a switch: for an adopted one.
///
/// # Safety
/// It is what runs here, and it stays in place. Interrupts are off.
pub unsafe fn set_current(context: *mut Context) {
    // SAFETY: the caller vouches for it.
    activate(unsafe { &mut *context });
}

#[inline]
fn activate(context: &mut Context) {
    let cpu = per_cpu::this();
    context.extended.restore();
    cpu.kernel_stack.store(context.stack_top, Ordering::Relaxed);
    segments::set_kernel_stack(context.stack_top);
    cpu.context.store(context, Ordering::Relaxed);
}

/// # Safety
/// `load` was stored by this function, or prepared by `Context::new`.
#[unsafe(naked)]
unsafe extern "C" fn switch_stacks(save: *mut u64, load: u64) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// The first code of a new context: `r12` holds the entry, `r13` its argument.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!("mov rdi, r13", "xor ebp, ebp", "jmp r12")
}
