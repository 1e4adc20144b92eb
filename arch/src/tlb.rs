//! The translation caches of this CPU and the page-table root it uses. Nothing here reaches another CPU.
//!
//! No entry is global and there are no PCIDs, so loading CR3 drops everything (SDM 3A 4.10.4.1).

use core::arch::asm;

use x86_64::registers::control::Cr3;

/// Drops what this CPU cached for the page of `address`, and all its paging-structure caches.
#[inline]
pub fn flush_page(address: u64) {
    // SAFETY: INVLPG only makes the CPU walk the tables again; it accesses no memory.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Drops everything that this CPU cached.
#[inline]
pub fn flush_all() {
    // SAFETY: the root stays the one in use.
    unsafe { load_root(current_root()) };
}

/// Makes `root` the page tables of this CPU and drops everything that it cached.
///
/// # Safety
/// `root` is the frame of a top-level table with the kernel's upper half, and stays one while it is loaded here.
#[inline]
pub unsafe fn load_root(root: u64) {
    // SAFETY: the kernel's half is the same under the new root, so this code, its stack and data stay where they are.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// The root that this CPU uses.
#[inline]
pub fn current_root() -> u64 {
    Cr3::read().0.start_address().as_u64()
}
