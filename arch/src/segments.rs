//! Descriptor table and task state segment of each CPU.

use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};

use crate::per_cpu;

/// Selectors. SYSRET wants user data below user code, SYSCALL wants kernel code below kernel data (SDM 2B).
pub(crate) const KERNEL_CODE: u16 = 0x08;
pub(crate) const KERNEL_DATA: u16 = 0x10;
pub(crate) const USER_DATA: u16 = 0x18 | 3;
pub(crate) const USER_CODE: u16 = 0x20 | 3;
const TSS: u16 = 0x28;

/// The stacks of those exceptions that may come when the current stack is no good, by their index in the table.
pub(crate) const DOUBLE_FAULT_STACK: u16 = 0;
pub(crate) const NMI_STACK: u16 = 1;
pub(crate) const MACHINE_CHECK_STACK: u16 = 2;
pub(crate) const INTERRUPT_STACKS: usize = 3;

/// Fills the tables of CPU `index`.
///
/// # Safety
/// That CPU has not loaded them yet, and the stacks are its own for ever.
pub(crate) unsafe fn prepare(index: usize, interrupt_stack_tops: [u64; INTERRUPT_STACKS]) {
    let block = per_cpu::block(index);
    // SAFETY: the caller says that nobody uses the tables yet; the block is static, so the descriptor stays valid.
    unsafe {
        let tss = &mut *block.tss.get();
        for (slot, top) in interrupt_stack_tops.into_iter().enumerate() {
            tss.interrupt_stack_table[slot] = VirtAddr::new(top);
        }
        let gdt = &mut *block.gdt.get();
        *gdt = GlobalDescriptorTable::new();
        gdt.append(Descriptor::kernel_code_segment());
        gdt.append(Descriptor::kernel_data_segment());
        gdt.append(Descriptor::user_data_segment());
        gdt.append(Descriptor::user_code_segment());
        gdt.append(Descriptor::tss_segment_unchecked(block.tss.get()));
    }
}

/// Sets the data selectors back to null, if the program that ran on this CPU has loaded any: the next one is
/// not told by them. With interrupts off.
#[inline(always)]
pub fn forget_selectors() {
    let loaded = [DS::get_reg(), ES::get_reg(), FS::get_reg(), GS::get_reg()];
    if loaded.iter().fold(0, |all, selector| all | selector.0) != 0 {
        load_null();
    }
}

#[cold]
fn load_null() {
    let null = SegmentSelector(0);
    // SAFETY: null is right for data in 64-bit mode. Whoever switches sets the base of FS afterwards. Loading GS
    // clears the base that is active, which is the program's in between; interrupts are off.
    unsafe {
        DS::set_reg(null);
        ES::set_reg(null);
        FS::set_reg(null);
        GS::swap();
        GS::set_reg(null);
        GS::swap();
    }
}

/// Loads the tables of this CPU.
///
/// # Safety
/// They were prepared, and this CPU calls it once.
pub(crate) unsafe fn load() {
    let index = per_cpu::index();
    // SAFETY: the tables are static and filled; selectors name the descriptors that `prepare` put there. Null selectors
    // are right for data in 64-bit mode; the GS base, which loading GS clears, is set again.
    unsafe {
        (*per_cpu::block(index).gdt.get()).load_unsafe();
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        SS::set_reg(SegmentSelector(KERNEL_DATA));
        DS::set_reg(SegmentSelector(0));
        ES::set_reg(SegmentSelector(0));
        FS::set_reg(SegmentSelector(0));
        GS::set_reg(SegmentSelector(0));
        per_cpu::install(index);
        load_tss(SegmentSelector(TSS));
    }
}
