//! Kernel contexts: what a thread is when it does not run.

use core::arch::{asm, naked_asm};
use core::mem::offset_of;

use crate::extended_state::{self, ExtendedState};
use crate::{cpu, per_cpu};

/// A thread's stack pointer and extended registers.
///
/// The other registers that matter are on its stack. It must not move in memory while it runs.
#[repr(C)]
pub struct Context {
    stack_pointer: u64,
    /// Where it goes on.
    resume: u64,
    stack_top: u64,
    pub(crate) extended: ExtendedState,
}

impl Context {
    /// Where its stack pointer is, which means something while it does not run.
    pub const STACK: usize = offset_of!(Context, stack_pointer);

    /// A context that begins at `entry(argument)` on the stack below `stack_top` when it is first switched to. It begins
    /// with interrupts off, as every switch ends.
    ///
    /// # Safety
    /// `stack_top` is the top of a kernel stack that is this context's alone for as long as it can run.
    pub unsafe fn new(stack_top: u64, entry: extern "C" fn(usize) -> !, argument: usize) -> Self {
        // What `start` pops, and zeros that end backtraces and align the stack.
        let initial: [u64; 5] = [entry as usize as u64, argument as u64, 0, 0, 0];
        let stack_pointer = stack_top - size_of_val(&initial) as u64;
        // SAFETY: the stack is mapped, at least this large, and nobody else's.
        unsafe { (stack_pointer as *mut [u64; 5]).write(initial) };
        Self {
            stack_pointer,
            resume: start as *const () as u64,
            stack_top,
            extended: ExtendedState::new(),
        }
    }

    /// A context for what runs on this CPU now, such as its idle loop: the first switch away fills it.
    /// `stack_top` is the top of the stack that it runs on.
    pub const fn adopt(stack_top: u64) -> Self {
        Self {
            stack_pointer: 0,
            resume: 0,
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
#[inline(always)]
pub unsafe fn switch(from: *mut Context, to: *mut Context) {
    debug_assert!(!cpu::interrupts_enabled());
    // SAFETY: the caller vouches for both contexts; only this CPU uses them now. What is not pushed here, the
    // compiler takes to be lost.
    unsafe {
        extended_state::exchange(&mut (*from).extended, &(*to).extended);
        per_cpu::set_kernel_stack((*to).stack_top);
        asm!(
            "pushq %rbp",
            "pushq %rbx",
            "movq $2f, {resume}(%rdi)",
            "movq %rsp, {stack_pointer}(%rdi)",
            "movq {stack_pointer}(%rsi), %rsp",
            "jmpq *{resume}(%rsi)",
            "2:",
            "popq %rbx",
            "popq %rbp",
            resume = const offset_of!(Context, resume),
            stack_pointer = const offset_of!(Context, stack_pointer),
            inout("rdi") from => _,
            inout("rsi") to => _,
            out("rax") _, out("rcx") _, out("rdx") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            options(att_syntax),
        );
    }
}

/// The same of two contexts whose programs never used the extended registers, as the kernel was
/// [told](crate::hooks::Hooks::extended_state) of each that did; and what called this is forgotten. Whoever switches to
/// `from` again goes on at `resume`, with the stack pointer that was put at [`Context::STACK`] before, and with
/// interrupts off.
///
/// # Safety
/// As of [`switch`], and neither of them used the registers. The stack pointer leads into the stack of `from`; what is
/// above it is what `resume` expects, and nothing below it is needed any more.
#[inline(always)]
pub unsafe fn leave_for(from: *mut Context, to: *mut Context, resume: unsafe extern "C" fn()) -> ! {
    debug_assert!(!cpu::interrupts_enabled());
    // SAFETY: the caller vouches for both contexts and for the stack; only this CPU uses them now.
    unsafe {
        debug_assert!(!extended_state::is_used(&(*from).extended));
        debug_assert!(!extended_state::is_used(&(*to).extended));
        (*from).resume = resume as *const () as u64;
        per_cpu::set_kernel_stack((*to).stack_top);
        asm!(
            "mov rsp, [{to} + {stack_pointer}]",
            "jmp qword ptr [{to} + {resume}]",
            to = in(reg) to,
            resume = const offset_of!(Context, resume),
            stack_pointer = const offset_of!(Context, stack_pointer),
            options(noreturn),
        );
    }
}

/// Makes `context` the one that this CPU counts as running, without a switch: for an adopted one.
///
/// # Safety
/// It is what runs here, and it stays in place. Interrupts are off.
pub unsafe fn set_current(context: *mut Context) {
    // SAFETY: the caller vouches for it.
    let running = unsafe { &*context };
    running.extended.restore();
    per_cpu::set_kernel_stack(running.stack_top);
}

/// The first code of a new context: the entry and its argument are on its stack.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!("pop rax", "pop rdi", "xor ebp, ebp", "jmp rax")
}
