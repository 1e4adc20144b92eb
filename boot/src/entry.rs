//! The first instructions: from the 32-bit entry of a loader to Rust in the high half.
//!
//! The tables below are static data, filled by the linker. They map the first 4 GiB at 0, once more at the
//! place of the direct map, and the first GiB at the place of the image. The kernel replaces them soon.

use core::arch::global_asm;

use crate::PhysicalRange;

/// Bytes of the stack on which the machine is taken over.
const EARLY_STACK_SIZE: usize = 64 * 1024;

global_asm!(
    r#"
    .set BASE, 0xffffffff80000000

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18          # name length, description length, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start - BASE
    .balign 4

    .section .boot.text, "ax"
    .code32
    .global pvh_start
pvh_start:
    cli
    cld
    movl $(early_pml4 - BASE), %eax
    movl %eax, %cr3
    movl $0x20, %eax        # PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx  # EFER
    rdmsr
    orl $0x900, %eax        # LME, NXE
    wrmsr
    movl $0x80010033, %eax  # PG, WP, NE, ET, MP, PE
    movl %eax, %cr0
    lgdt early_gdt_pointer - BASE
    ljmp $0x08, $(early_long_mode - BASE)

    .code64
early_long_mode:
    movabsq $early_high_half, %rax
    jmp *%rax
early_high_half:
    lgdt early_gdt_pointer_high(%rip)
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl $0x10, %eax
    movl %eax, %ss
    leaq early_stack_top(%rip), %rsp
    xorl %ebp, %ebp
    movl %ebx, %edi
    call {enter}
    ud2

    .section .data.early, "aw"
    .balign 4096
early_pml4:
    .quad early_pdpt_low - BASE + 0x23
    .fill 255, 8, 0
    .quad early_pdpt_low - BASE + 0x23
    .fill 254, 8, 0
    .quad early_pdpt_high - BASE + 0x23
early_pdpt_low:
    .quad early_pd - BASE + 0x0023
    .quad early_pd - BASE + 0x1023
    .quad early_pd - BASE + 0x2023
    .quad early_pd - BASE + 0x3023
    .fill 508, 8, 0
early_pdpt_high:
    .fill 510, 8, 0
    .quad early_pd - BASE + 0x23
    .fill 1, 8, 0
early_pd:
    .set page, 0
    .rept 2048
    .quad page + 0xe3       # present, writable, accessed, dirty, 2 MiB
    .set page, page + 0x200000
    .endr
early_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
early_gdt_pointer:
    .word 23
    .long early_gdt - BASE
early_gdt_pointer_high:
    .word 23
    .quad early_gdt

    .section .bss.early, "aw", @nobits
    .balign 4096
    .global early_stack_bottom
early_stack_bottom:
    .skip {stack_size}
early_stack_top:
    .text
"#,
    enter = sym crate::pvh::enter,
    stack_size = const EARLY_STACK_SIZE,
    options(att_syntax)
);

unsafe extern "C" {
    static early_stack_bottom: u8;
    static __image_start: u8;
    static __image_end: u8;
}

/// Virtual addresses (bottom, top) of the stack on which the boot CPU runs before it has one with a guard page.
pub fn early_stack() -> (u64, u64) {
    let bottom = &raw const early_stack_bottom as u64;
    (bottom, bottom + EARLY_STACK_SIZE as u64)
}

/// Where the image's addresses begin.
const BASE: u64 = 0xffff_ffff_8000_0000;

/// The physical address of something in the image.
pub fn address_in_image(address: u64) -> u64 {
    address - BASE
}

/// The frames that the image occupies, with its zeroed data.
pub(crate) fn image() -> PhysicalRange {
    let start = &raw const __image_start as u64;
    let end = &raw const __image_end as u64;
    PhysicalRange::new(address_in_image(start), address_in_image(end))
}
