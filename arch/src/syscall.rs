//! The system call entry (SDM 2B, SYSCALL and SYSRET).
//!
//! `rax` number, `rdi rsi rdx r10 r8 r9` arguments, `rax` result; `rcx` and `r11` are lost. The callee-saved
//! registers are kept by the Rust functions below, the others by the frame. Entry and exit are 30 instructions.
//!
//! There are three ways out to a program: the exit here, the `iretq` of traps and of who is to begin (`trap.rs`, `user.rs`), and
//! the short ways of calls that go from hand to hand, which end with [`return_from_syscall`](crate::return_from_syscall)
//! themselves (`kernel/src/dispatch/short.rs`).

use core::arch::global_asm;
use core::mem::offset_of;

use x86_64::VirtAddr;
use x86_64::registers::model_specific::{LStar, Msr, SFMask};
use x86_64::registers::rflags::RFlags;

use crate::hooks;
use crate::per_cpu;
use crate::segments::{KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA};
use crate::trap;

const IA32_STAR: u32 = 0xc000_0081;

/// The registers of a system call, as the entry stub saved them.
#[repr(C)]
#[derive(Debug)]
pub struct SyscallFrame {
    number_or_result: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    r10: u64,
    r8: u64,
    r9: u64,
    rip: u64,
    rflags: u64,
    rsp: u64,
}

impl SyscallFrame {
    /// Where the second argument is.
    pub const RSI: usize = offset_of!(SyscallFrame, rsi);

    /// Where what only [`return_from_syscall`](crate::return_from_syscall) restores begins.
    pub const RETURN: usize = offset_of!(SyscallFrame, rip);

    /// Whether it is of a call that no program makes by itself.
    pub fn is_of_call(&self) -> bool {
        // A program would go on behind its instruction.
        self.rip == 0
    }

    /// The frame of a call that no program makes by itself: what it does not say is 0.
    pub fn of_call(number: u64, [rdi, rsi, rdx, r10, r8, r9]: [u64; 6]) -> SyscallFrame {
        SyscallFrame {
            number_or_result: number,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            rip: 0,
            rflags: 0,
            rsp: 0,
        }
    }

    /// What the call returned; only after [`set_result`](Self::set_result).
    pub fn result(&self) -> u64 {
        self.number_or_result
    }

    /// The call's number; only before [`set_result`](Self::set_result).
    #[inline]
    pub fn number(&self) -> u64 {
        self.number_or_result
    }

    /// The six arguments.
    #[inline]
    pub fn arguments(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// Sets what the program finds in `rax`.
    #[inline]
    pub fn set_result(&mut self, result: u64) {
        self.number_or_result = result;
    }

    /// Sets what the program finds in the registers of the arguments, in their order.
    #[inline]
    pub fn set_registers(&mut self, values: [u64; 6]) {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9] = values;
    }

    /// The instruction after the `syscall`.
    pub fn rip(&self) -> u64 {
        self.rip
    }

    /// The user's stack pointer.
    pub fn rsp(&self) -> u64 {
        self.rsp
    }
}

/// The last instructions of a system call: with interrupts off, the stack pointer at
/// [`RETURN`](crate::syscall::SyscallFrame::RETURN) in the frame, nothing to be [done](crate::cpu::USER_RETURN_WORK) before, and
/// the program's other registers as it is to find them.
#[macro_export]
macro_rules! return_from_syscall {
    () => {
        "pop rcx\n pop r11\n pop rsp\n swapgs\n sysretq"
    };
}

// Interrupts are off until the hook turns them on, and from `cli` on: in between GS and the stack are the kernel's.
// Where SYSRET leads is in the user half, since no page is mapped that ends at 2^47: see `layout::USER_END`.
global_asm!(
    r#"
    .balign 16
    .global syscall_entry
syscall_entry:
    swapgs
    mov gs:[{user_stack}], rsp
    mov rsp, gs:[{kernel_stack}]
    push qword ptr gs:[{user_stack}]
    push r11
    push rcx
    push r9
    push r8
    push r10
    push rdx
    push rsi
    push rdi
    push rax
    mov rsi, rsp
    call qword ptr [rip + {hook}]
    cli
3:  cmp byte ptr gs:[{user_return_work}], 0
    jne 4f
    pop rax
    pop rdi
    pop rsi
    pop rdx
    pop r10
    pop r8
    pop r9
"#,
    return_from_syscall!(),
    r#"
4:  call {user_return}
    jmp 3b
"#,
    user_stack = const per_cpu::USER_STACK,
    kernel_stack = const per_cpu::KERNEL_STACK,
    user_return_work = const per_cpu::USER_RETURN_WORK,
    hook = sym hooks::SYSCALL,
    user_return = sym trap::before_user_return,
);

unsafe extern "C" {
    fn syscall_entry();
}

/// Turns system calls on for this CPU.
pub(crate) fn init() {
    let star = u64::from(KERNEL_CODE) << 32 | u64::from(KERNEL_DATA | 3) << 48;
    const { assert!(USER_DATA == (KERNEL_DATA | 3) + 8 && USER_CODE == (KERNEL_DATA | 3) + 16) };
    // SAFETY: the selectors are those of the table that this CPU loaded, in the order that the assertion demands.
    unsafe { Msr::new(IA32_STAR).write(star) };
    LStar::write(VirtAddr::from_ptr(syscall_entry as *const ()));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK,
    );
}
