//! The block of each CPU, found by its GS base while it runs in the kernel.
//!
//! In user mode the other base (`KERNEL_GS_BASE`) holds it; every entry stub swaps. The blocks are in the image,
//! so their addresses are negative: that is how the stubs of NMI and machine check tell which base is active.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use x86_64::VirtAddr;
use x86_64::registers::model_specific::{GsBase, KernelGsBase};
use x86_64::structures::gdt::GlobalDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

use crate::cpu::MAX_CPUS;

/// The atomics are written by their own CPU only, except `user_return_work`; so Relaxed is enough.
#[repr(C, align(64))]
pub(crate) struct PerCpu {
    /// Where the system call entry parks the user's stack pointer.
    pub user_stack: AtomicU64,
    /// Dense number of this CPU.
    pub index: AtomicUsize,
    /// Something must be done before the next return to user mode.
    pub user_return_work: AtomicBool,
    /// What CR0.TS holds.
    pub task_switched: AtomicBool,
    /// Local APIC id.
    pub apic_id: AtomicU32,
    /// A word for the kernel, see [`cpu::kernel_word`](crate::cpu::kernel_word).
    pub kernel_word: AtomicPtr<()>,
    /// Used by the CPU itself; filled before it is loaded.
    pub tss: UnsafeCell<TaskStateSegment>,
    /// As above.
    pub gdt: UnsafeCell<GlobalDescriptorTable>,
}

// SAFETY: `tss` and `gdt` are written before their CPU loads them, and later only by that CPU itself.
unsafe impl Sync for PerCpu {}

impl PerCpu {
    const fn new() -> Self {
        Self {
            user_stack: AtomicU64::new(0),
            index: AtomicUsize::new(0),
            user_return_work: AtomicBool::new(false),
            task_switched: AtomicBool::new(false),
            apic_id: AtomicU32::new(0),
            kernel_word: AtomicPtr::new(ptr::null_mut()),
            tss: UnsafeCell::new(TaskStateSegment::new()),
            gdt: UnsafeCell::new(GlobalDescriptorTable::new()),
        }
    }
}

static BLOCKS: [PerCpu; MAX_CPUS] = [const { PerCpu::new() }; MAX_CPUS];

// Offsets for the entry stubs.

/// Where system calls, and interrupts from user mode, find the stack of the context that runs.
pub(crate) const KERNEL_STACK: usize =
    offset_of!(PerCpu, tss) + offset_of!(TaskStateSegment, privilege_stack_table);
pub(crate) const KERNEL_WORD: usize = offset_of!(PerCpu, kernel_word);
pub(crate) const USER_STACK: usize = offset_of!(PerCpu, user_stack);
pub(crate) const USER_RETURN_WORK: usize = offset_of!(PerCpu, user_return_work);

/// The block of CPU `index`. Panics when there is no such CPU.
pub(crate) fn block(index: usize) -> &'static PerCpu {
    &BLOCKS[index]
}

/// The dense number of this CPU.
#[inline]
pub(crate) fn index() -> usize {
    let index: usize;
    // SAFETY: in the kernel GS always leads to the block of this CPU, from `install` on, and that is one of `BLOCKS`.
    unsafe {
        asm!(
            "mov {}, gs:[{}]",
            out(reg) index,
            const offset_of!(PerCpu, index),
            // It stays behind what makes GS lead there, which writes memory for all that is known.
            options(pure, readonly, nostack, preserves_flags)
        );
        core::hint::assert_unchecked(index < MAX_CPUS);
    }
    index
}

/// The kernel's word of this CPU.
#[inline]
pub(crate) fn kernel_word() -> *mut () {
    let word;
    // SAFETY: as in `index`.
    unsafe {
        asm!(
            "mov {}, gs:[{}]",
            out(reg) word,
            const offset_of!(PerCpu, kernel_word),
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    word
}

/// Sets the kernel's word of this CPU.
#[inline(always)]
pub(crate) fn set_kernel_word(word: *mut ()) {
    // SAFETY: as in `index`; the word is written by its own CPU only.
    unsafe {
        asm!(
            "mov gs:[{}], {}",
            const offset_of!(PerCpu, kernel_word),
            in(reg) word,
            options(nostack, preserves_flags)
        );
    }
}

/// What CR0.TS of this CPU holds.
#[inline(always)]
pub(crate) fn is_task_switched() -> bool {
    let value: u8;
    // SAFETY: as in `index`; the byte is a `bool`.
    unsafe {
        asm!(
            "mov {}, gs:[{}]",
            out(reg_byte) value,
            const offset_of!(PerCpu, task_switched),
            options(readonly, nostack, preserves_flags)
        );
    }
    value != 0
}

/// Sets the top of the kernel stack of the context that runs here: where system calls and interrupts from user
/// mode arrive.
#[inline(always)]
pub(crate) fn set_kernel_stack(stack_top: u64) {
    // SAFETY: as in `index`; the block and the task state segment in it are written by their own CPU only,
    // which reads the stack from there when it enters the kernel and not before.
    unsafe {
        asm!(
            "mov gs:[{kernel_stack}], {0}",
            in(reg) stack_top,
            kernel_stack = const KERNEL_STACK,
            options(nostack, preserves_flags)
        );
    }
}

/// The block of this CPU.
#[inline]
pub(crate) fn this() -> &'static PerCpu {
    &BLOCKS[index()]
}

/// Makes the running CPU number `index`.
pub(crate) fn install(index: usize) {
    let block = block(index);
    block.index.store(index, Ordering::Relaxed);
    GsBase::write(VirtAddr::from_ptr(block));
    KernelGsBase::write(VirtAddr::zero());
}
