//! How another CPU gets from real mode into the high half.
//!
//! The code is copied to a frame below 1 MiB and started there by a start-up IPI. It claims its ticket
//! first, so that a CPU that comes after its time limit finds none and halts instead of using a stack that
//! belongs to somebody else.

use core::arch::global_asm;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::FRAME_SIZE;

global_asm!(
    r#"
    .section .rodata.trampoline, "a"
    .global trampoline_begin, trampoline_end, trampoline_long_mode, trampoline_ticket, trampoline_root, trampoline_gdt_base
    .global trampoline_far_pointer, trampoline_stack, trampoline_entry, trampoline_argument, trampoline_gdt
    .code16
trampoline_begin:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    xorl %eax, %eax
    xchgl %eax, trampoline_ticket - trampoline_begin
    testl %eax, %eax
    jz 1f
    movl trampoline_root - trampoline_begin, %eax
    movl %eax, %cr3
    movl $0x20, %eax        # PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx  # EFER
    rdmsr
    orl $0x900, %eax        # LME, NXE
    wrmsr
    movl $0x80010033, %eax  # PG, WP, NE, ET, MP, PE
    movl %eax, %cr0
    lgdtl trampoline_gdt_pointer - trampoline_begin
    ljmpl *(trampoline_far_pointer - trampoline_begin)
1:  hlt
    jmp 1b

    .code64
trampoline_long_mode:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl $0x10, %eax
    movl %eax, %ss
    movq trampoline_stack(%rip), %rsp
    movq trampoline_argument(%rip), %rdi
    movq trampoline_entry(%rip), %rax
    xorl %ebp, %ebp
    pushq $0
    jmp *%rax

    .balign 16
trampoline_ticket:      .long 0
trampoline_root:        .long 0
trampoline_gdt_pointer: .word 23
trampoline_gdt_base:    .long 0
trampoline_far_pointer: .long 0
                        .word 0x08
    .balign 8
trampoline_stack:       .quad 0
trampoline_entry:       .quad 0
trampoline_argument:    .quad 0
trampoline_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
trampoline_end:
    .text
"#,
    options(att_syntax)
);

unsafe extern "C" {
    static trampoline_begin: u8;
    static trampoline_end: u8;
    static trampoline_long_mode: u8;
    static trampoline_ticket: u8;
    static trampoline_root: u8;
    static trampoline_gdt_base: u8;
    static trampoline_far_pointer: u8;
    static trampoline_stack: u8;
    static trampoline_entry: u8;
    static trampoline_argument: u8;
    static trampoline_gdt: u8;
}

/// What a started CPU begins with.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Page-table root below 4 GiB; it maps the trampoline frame at its own address and the kernel's half.
    pub root: u32,
    /// Initial stack pointer, 16-byte aligned.
    pub stack_top: u64,
    /// First code in the high half.
    pub entry: extern "C" fn(u64) -> !,
    /// Passed to `entry`.
    pub argument: u64,
}

/// The frame with the trampoline in it.
#[derive(Debug)]
pub struct Trampoline {
    frame: u64,
    page: *mut u8,
}

impl Trampoline {
    /// Copies the trampoline into `frame`, which the caller sees at `page`.
    ///
    /// # Safety
    /// `frame` is a frame below 1 MiB that nothing else uses, and `page` is a writable mapping of it; both
    /// for as long as this value lives or a started CPU is on its way.
    pub unsafe fn new(frame: u64, page: *mut u8) -> Self {
        let begin = &raw const trampoline_begin;
        let length = &raw const trampoline_end as usize - begin as usize;
        assert!(length <= FRAME_SIZE as usize && frame < 1 << 20);
        // SAFETY: source is the code above; the caller gave a frame of its own, and `length` fits in it.
        unsafe { ptr::copy_nonoverlapping(begin, page, length) };
        let trampoline = Self { frame, page };
        trampoline.put(
            &raw const trampoline_gdt_base,
            trampoline.address(&raw const trampoline_gdt) as u32,
        );
        trampoline.put(
            &raw const trampoline_far_pointer,
            trampoline.address(&raw const trampoline_long_mode) as u32,
        );
        trampoline
    }

    /// The vector of the start-up IPI that begins at this frame.
    pub fn vector(&self) -> u8 {
        (self.frame >> 12) as u8
    }

    /// Offers `start` to the next CPU that arrives. No CPU may hold an earlier offer without having begun.
    pub fn offer(&self, start: Start) {
        self.put(&raw const trampoline_root, start.root);
        self.put(&raw const trampoline_stack, start.stack_top);
        self.put(&raw const trampoline_entry, start.entry as usize as u64);
        self.put(&raw const trampoline_argument, start.argument);
        self.ticket().store(1, Ordering::Release);
    }

    /// Takes the offer back. False: a CPU took it already and is on its way.
    pub fn withdraw(&self) -> bool {
        self.ticket().swap(0, Ordering::AcqRel) == 1
    }

    fn ticket(&self) -> &AtomicU32 {
        // SAFETY: the ticket is an aligned word inside the frame, which is only accessed as an atomic.
        unsafe { AtomicU32::from_ptr(self.page.add(offset(&raw const trampoline_ticket)).cast()) }
    }

    fn address(&self, symbol: *const u8) -> u64 {
        self.frame + offset(symbol) as u64
    }

    fn put<T>(&self, symbol: *const u8, value: T) {
        // SAFETY: `symbol` names a field of the trampoline, so it lies in the frame that `new` was given.
        unsafe {
            self.page
                .add(offset(symbol))
                .cast::<T>()
                .write_unaligned(value)
        };
    }
}

fn offset(symbol: *const u8) -> usize {
    symbol as usize - &raw const trampoline_begin as usize
}
