//! What is saved of a CPU that was interrupted.

use crate::hooks::Origin;

/// All registers of what was interrupted, in the order of the stub's pushes.
#[repr(C)]
#[allow(missing_docs)]
#[derive(Clone, Debug, Default)]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    /// Number of the exception or interrupt.
    pub vector: u64,
    /// What the CPU pushed for it, 0 for those without.
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl TrapFrame {
    /// Where the CPU was.
    pub fn origin(&self) -> Origin {
        if self.cs & 3 == 3 {
            Origin::User
        } else {
            Origin::Kernel
        }
    }

    /// The name of the exception, or "interrupt".
    pub fn name(&self) -> &'static str {
        const NAMES: [&str; 32] = [
            "divide error",
            "debug exception",
            "non-maskable interrupt",
            "breakpoint",
            "overflow",
            "bound range exceeded",
            "invalid opcode",
            "device not available",
            "double fault",
            "coprocessor segment overrun",
            "invalid task state segment",
            "segment not present",
            "stack segment fault",
            "general protection fault",
            "page fault",
            "reserved exception",
            "x87 floating-point error",
            "alignment check",
            "machine check",
            "SIMD floating-point exception",
            "virtualization exception",
            "control protection exception",
            "reserved exception",
            "reserved exception",
            "reserved exception",
            "reserved exception",
            "reserved exception",
            "reserved exception",
            "hypervisor injection exception",
            "VMM communication exception",
            "security exception",
            "reserved exception",
        ];
        NAMES
            .get(self.vector as usize)
            .copied()
            .unwrap_or("interrupt")
    }
}
