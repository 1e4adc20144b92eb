//! The kernel's page tables as the CPU walks them.

#![allow(unsafe_code)] // It walks the tables.

use arch::layout::DIRECT_MAP;
use arch::{cpu, paging, phys, tlb};

use super::{ACCESSED_DIRTY, NO_EXECUTE, PRESENT, USER, WRITABLE};

/// A page that is larger than 4 KiB.
const LARGE: u64 = 1 << 7;

/// What entry 4 of the page attribute table stands for (SDM 3A, table 12-10).
const WRITE_COMBINING: u64 = 1;

/// Panics when this CPU understands the cache policies of entries in another way than the kernel.
pub fn attributes_are_set() {
    let (attributes, as_expected) = cpu::page_attributes();
    assert!(
        as_expected && attributes >> 32 & 0xff == WRITE_COMBINING,
        "CPU {} has the page attributes {attributes:#x}",
        cpu::current()
    );
}

/// Panics when a page is writable and executable, or anything is mapped in the lower half.
pub fn are_sound() {
    let mut pages = 0_u64;
    let root = tlb::current_root();
    walk(
        root,
        3,
        0,
        WRITABLE,
        0,
        &mut |address, entry, writable, executable| {
            pages += 1;
            assert!(
                !(writable && executable),
                "page {address:#x} is writable and executable ({entry:#x})"
            );
            assert!(
                address >= DIRECT_MAP,
                "user half of the kernel's tables: {address:#x} is mapped"
            );
            assert_eq!(
                entry & ACCESSED_DIRTY,
                ACCESSED_DIRTY,
                "entry {entry:#x} would be written by the CPU"
            );
            assert_eq!(
                entry & USER,
                0,
                "kernel page {address:#x} belongs to the user"
            );
        },
    );
    println!("selfcheck: {pages} kernel pages, none writable and executable, no identity map");
}

/// Visits all leaves with the rights that the whole walk grants.
fn walk(
    table: u64,
    level: u32,
    base: u64,
    writable: u64,
    no_execute: u64,
    visit: &mut dyn FnMut(u64, u64, bool, bool),
) {
    for index in 0..phys::TABLE_ENTRIES {
        // SAFETY: a kernel table or one of the check's; neither is freed.
        let entry = unsafe { phys::load_entry(table, index) };
        if entry & PRESENT == 0 {
            continue;
        }
        let mut address = base | (index as u64) << (12 + 9 * level);
        if level == 3 && index >= 256 {
            address |= 0xffff << 48;
        }
        let (writable, no_execute) = (writable & entry, no_execute | entry & NO_EXECUTE);
        if level == 0 || entry & LARGE != 0 {
            visit(address, entry, writable & WRITABLE != 0, no_execute == 0);
        } else {
            walk(
                entry & paging::ADDRESS_MASK,
                level - 1,
                address,
                writable,
                no_execute,
                visit,
            );
        }
    }
}
