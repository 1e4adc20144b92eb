//! Exceptions and interrupts: the table, the entry stubs, and who handles what (SDM 3A, chapter 6).

use core::arch::global_asm;
use core::ops::RangeInclusive;
use core::sync::atomic::Ordering;

use spin::Once;
use x86_64::VirtAddr;
use x86_64::registers::control::Cr2;
use x86_64::structures::idt::{EntryOptions, InterruptDescriptorTable};

use crate::hooks::{self, Origin, PageFault, Resolution, UserFault, hooks};
use crate::layout::is_user_range;
use crate::segments::{DOUBLE_FAULT_STACK, MACHINE_CHECK_STACK, NMI_STACK};
use crate::trap_frame::TrapFrame;
use crate::{apic, cpu, extended_state, panic, per_cpu};

/// Exception vectors that are told apart.
pub(crate) const DOUBLE_FAULT: u64 = 8;
pub(crate) const PAGE_FAULT: u64 = 14;
const NMI: u64 = 2;
const DEVICE_NOT_AVAILABLE: u64 = 7;
const MACHINE_CHECK: u64 = 18;
const LAST_EXCEPTION: u64 = 31;

/// Vector of this CPU's timer.
pub const TIMER: u8 = 0x40;
/// Vectors that devices are given.
pub(crate) const DEVICES: RangeInclusive<u8> = 0x50..=0xef;
/// Vector that makes a CPU look at its work before it returns to user mode, or wakes it from a halt.
pub(crate) const RESCHEDULE: u8 = 0xf0;
/// Vector that makes a CPU serve its shootdown inbox.
pub const SHOOTDOWN: u8 = 0xf1;
/// Vector of interrupts that went away before they were taken.
pub(crate) const SPURIOUS: u8 = 0xff;

const RFLAGS_IF: u64 = 1 << 9;

// Each stub is 16 bytes. `push 2; popf` clears AC (left set when user access is open), DF and NT on every CPU, where
// `clac` is an invalid instruction on some. The stubs of NMI, double fault and machine check may come between the
// kernel's entry and its swapgs, so they look at the GS base itself: the kernel's is negative.
//
// A page fault of a program has an entry of its own, which saves only what the hook may change. If the hook did not
// resolve it, all is put back, CR2 too, and it goes the common way.
global_asm!(
    r#"
    .balign 16
    .global trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17) && (vector != 21) && (vector != 29) && (vector != 30)
    pushq $0
    .endif
    pushq $vector
    .if (vector == 2) || (vector == 8) || (vector == 18)
    jmp trap_paranoid
    .else
    jmp trap_common
    .endif
    .set vector, vector + 1
    .endr

    .macro push_registers
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq $2
    popfq
    .endm

    .macro pop_registers
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    .endm

    .macro push_scratch
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    .endm

    .macro pop_scratch
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    .endm

    .balign 16
    .global trap_page_fault
trap_page_fault:
    testb $3, 16(%rsp)
    jz 3f
    swapgs
    push_scratch
    pushq $2
    popfq
    movq %cr2, %rdi
    pushq %rdi
    movq 80(%rsp), %rsi         # the error code
    sti
    callq *{page_fault_hook}(%rip)
    cli
    testl %eax, %eax
    jnz 2f
1:  cmpb $0, %gs:{user_return_work}
    jne 4f
    addq $8, %rsp
    pop_scratch
    addq $8, %rsp
    swapgs
    iretq
2:  popq %rax
    movq %rax, %cr2
    pop_scratch
    pushq $14
    jmp trap_inside
3:  pushq $14
    jmp trap_common
4:  callq {user_return}
    jmp 1b

trap_common:
    testb $3, 24(%rsp)
    jz trap_inside
    swapgs
trap_inside:
    push_registers
    movq %rsp, %rdi
    callq {dispatch}
    testb $3, 144(%rsp)
    jz 2f
    swapgs
2:  pop_registers
    iretq

trap_paranoid:
    push_registers
    movl $0xc0000101, %ecx      # IA32_GS_BASE
    rdmsr
    xorl %ebx, %ebx
    testl %edx, %edx
    js 1f
    swapgs
    incl %ebx
1:  movq %rsp, %rdi
    callq {dispatch}
    testl %ebx, %ebx
    jz 2f
    swapgs
2:  pop_registers
    iretq

    # The shootdown interrupt by a way of its own: no number, no error code, and only the registers
    # that a function may change. The function accesses no memory of a program, so AC may stay.
    .balign 16
    .global shootdown_stub
shootdown_stub:
    testb $3, 8(%rsp)
    jz 1f
    swapgs
1:  push_scratch
    cld
    callq {shootdown}
    pop_scratch
    testb $3, 8(%rsp)
    jz 2f
    swapgs
2:  iretq

    .purgem push_registers
    .purgem pop_registers
    .purgem push_scratch
    .purgem pop_scratch
"#,
    dispatch = sym dispatch,
    page_fault_hook = sym hooks::PAGE_FAULT,
    user_return = sym before_user_return,
    user_return_work = const per_cpu::USER_RETURN_WORK,
    shootdown = sym shootdown,
    options(att_syntax)
);

unsafe extern "C" {
    static trap_stubs: u8;
    static trap_page_fault: u8;
    static shootdown_stub: u8;
    static __extable_start: [u64; 2];
    static __extable_end: [u64; 2];
}

static TABLE: Once<InterruptDescriptorTable> = Once::new();

/// Loads the table on this CPU, and fills it on the first.
pub(crate) fn init() {
    TABLE.call_once(build).load();
}

fn build() -> InterruptDescriptorTable {
    let mut table = InterruptDescriptorTable::new();
    let stub = |vector: u64| VirtAddr::new(&raw const trap_stubs as u64 + 16 * vector);
    let on_stack = |options: &mut EntryOptions, stack| {
        // SAFETY: the task state segment has a stack of its own at each of these indices.
        unsafe { options.set_stack_index(stack) };
    };
    // SAFETY: each stub is the entry of its vector, saves all registers that change and returns with IRETQ.
    unsafe {
        table.divide_error.set_handler_addr(stub(0));
        table.debug.set_handler_addr(stub(1));
        on_stack(
            table.non_maskable_interrupt.set_handler_addr(stub(NMI)),
            NMI_STACK,
        );
        table
            .breakpoint
            .set_handler_addr(stub(3))
            .set_privilege_level(x86_64::PrivilegeLevel::Ring3);
        table.overflow.set_handler_addr(stub(4));
        table.bound_range_exceeded.set_handler_addr(stub(5));
        table.invalid_opcode.set_handler_addr(stub(6));
        table
            .device_not_available
            .set_handler_addr(stub(DEVICE_NOT_AVAILABLE));
        on_stack(
            table.double_fault.set_handler_addr(stub(DOUBLE_FAULT)),
            DOUBLE_FAULT_STACK,
        );
        table.invalid_tss.set_handler_addr(stub(10));
        table.segment_not_present.set_handler_addr(stub(11));
        table.stack_segment_fault.set_handler_addr(stub(12));
        table.general_protection_fault.set_handler_addr(stub(13));
        table
            .page_fault
            .set_handler_addr(VirtAddr::from_ptr(&raw const trap_page_fault));
        table.x87_floating_point.set_handler_addr(stub(16));
        table.alignment_check.set_handler_addr(stub(17));
        on_stack(
            table.machine_check.set_handler_addr(stub(MACHINE_CHECK)),
            MACHINE_CHECK_STACK,
        );
        table.simd_floating_point.set_handler_addr(stub(19));
        table.virtualization.set_handler_addr(stub(20));
        table.cp_protection_exception.set_handler_addr(stub(21));
        for vector in LAST_EXCEPTION as u8 + 1..=255 {
            table[vector].set_handler_addr(stub(u64::from(vector)));
        }
        table[SHOOTDOWN].set_handler_addr(VirtAddr::new(&raw const shootdown_stub as u64));
    }
    table
}

/// Called by the stubs with interrupts off.
extern "C" fn dispatch(frame: &mut TrapFrame) {
    const TIMER_VECTOR: u64 = TIMER as u64;
    const RESCHEDULE_VECTOR: u64 = RESCHEDULE as u64;
    const SPURIOUS_VECTOR: u64 = SPURIOUS as u64;
    match frame.vector {
        PAGE_FAULT => page_fault(frame),
        TIMER_VECTOR => {
            apic::end_of_interrupt();
            (hooks().timer)(frame.origin());
        }
        RESCHEDULE_VECTOR => {
            apic::end_of_interrupt();
            cpu::request_user_return_work();
        }
        NMI => {
            panic::stop_if_panicking();
            panic::trapped(frame, 0);
        }
        DEVICE_NOT_AVAILABLE if frame.origin() == Origin::User && extended_state::first_use() => {}
        ..=LAST_EXCEPTION => exception(frame, 0),
        // Of a device, or nobody's: a device that is told a wrong message can send any.
        vector => {
            if vector != SPURIOUS_VECTOR {
                apic::end_of_interrupt();
            }
            (hooks().device)(vector as u8);
        }
    }
    if frame.origin() == Origin::User {
        before_user_return();
    }
}

/// Called by the stub of the shootdown interrupt with interrupts off. It asks for no work before
/// the return to user mode, and what others ask for comes with an interrupt of its own.
extern "C" fn shootdown() {
    apic::end_of_interrupt();
    (hooks().shootdown)();
}

/// An exception that nobody resolved.
fn exception(frame: &mut TrapFrame, address: u64) {
    let is_abort = frame.vector == DOUBLE_FAULT || frame.vector == MACHINE_CHECK;
    if frame.origin() == Origin::Kernel || is_abort {
        panic::trapped(frame, address);
    }
    cpu::enable_interrupts();
    (hooks().user_fault)(&mut UserFault { frame, address });
    cpu::disable_interrupts();
}

/// One that the kernel's copies took, or that the hook did not resolve for a program.
fn page_fault(frame: &mut TrapFrame) {
    let address = Cr2::read_raw();
    if frame.origin() == Origin::User {
        return exception(frame, address);
    }
    match fixup(frame.rip) {
        Some(target) if is_user_range(address, 1) => {
            if frame.rflags & RFLAGS_IF != 0 {
                cpu::enable_interrupts();
            }
            let resolution = (hooks().page_fault)(PageFault {
                address,
                error_code: frame.error_code,
            });
            cpu::disable_interrupts();
            if resolution == Resolution::Unresolved {
                frame.rip = target;
            }
        }
        _ => panic::trapped(frame, address),
    }
}

/// Where to go on when the instruction at `rip` faults, if it may.
fn fixup(rip: u64) -> Option<u64> {
    let start = &raw const __extable_start;
    let end = &raw const __extable_end;
    // SAFETY: the linker script puts both symbols around the table, which holds pairs of addresses.
    let table = unsafe {
        core::slice::from_raw_parts(
            start,
            (end as usize - start as usize) / size_of::<[u64; 2]>(),
        )
    };
    table
        .iter()
        .find(|entry| entry[0] == rip)
        .map(|entry| entry[1])
}

/// Does the work that was requested for before this CPU returns to user mode. Interrupts are off, before and after.
pub(crate) extern "C" fn before_user_return() {
    // Another CPU may be under this thread after each call.
    while per_cpu::this()
        .user_return_work
        .swap(false, Ordering::Relaxed)
    {
        (hooks().before_user_return)();
        cpu::disable_interrupts();
    }
}
