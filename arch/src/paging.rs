//! The kernel's own page tables.
//!
//! The upper half is built once. Its 256 top-level entries all have their table from the start and never change, so
//! that an address space which copied them sees every later kernel mapping. Accessed and dirty bits are preset: the CPU
//! never writes a table. Keeps I14 for the kernel: text is read-execute, constants read-only, the rest never executable.

use boot::{BootInfo, PhysicalRange};
use spin::{Mutex, Once};
use x86_64::structures::paging::PageTableFlags as Flags;

use crate::layout::{DEVICES, DIRECT_MAP, HEAP, IMAGE, PAGE_SIZE, STACKS};
use crate::phys::TABLE_ENTRIES;
use crate::{cpu, frames, phys, tlb};

/// The physical address in an entry.
pub const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;

const LARGE_2M: u64 = 1 << 21;
const LARGE_1G: u64 = 1 << 30;

const TABLE: Flags = Flags::PRESENT.union(Flags::WRITABLE).union(Flags::ACCESSED);
const READ_EXECUTE: Flags = Flags::PRESENT.union(Flags::ACCESSED).union(Flags::DIRTY);
const READ_ONLY: Flags = READ_EXECUTE.union(Flags::NO_EXECUTE);
const READ_WRITE: Flags = READ_ONLY.union(Flags::WRITABLE);
const DEVICE: Flags = READ_WRITE
    .union(Flags::NO_CACHE)
    .union(Flags::WRITE_THROUGH);

/// Why a kernel page could not be mapped or unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No frame for a page table.
    NoMemory,
    /// The page is mapped already.
    AlreadyMapped,
    /// The page is not mapped.
    NotMapped,
    /// The address is not aligned, or outside the heap and stack windows.
    Range,
}

/// Where frames for page tables come from.
pub type FrameSource<'a> = &'a mut dyn FnMut() -> Option<u64>;

/// The kernel's root, and at once the lock that its editors hold.
static ROOT: Mutex<u64> = Mutex::new(0);
/// The same, for those who only read it.
static ROOT_ADDRESS: Once<u64> = Once::new();

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __image_end: u8;
}

/// The root that maps the kernel's half and nothing else. Idle CPUs load it.
pub fn kernel_root() -> u64 {
    ROOT_ADDRESS.get().copied().unwrap_or(0)
}

/// Builds the tables and loads them. The early mappings, the identity map among them, are gone then.
///
/// # Safety
/// Once, on the boot CPU, with the early tables loaded and the early frames filled.
pub(crate) unsafe fn init(info: &BootInfo) {
    let mut source = frames::allocate;
    let root = new_table(&mut source).expect("no memory for page tables");
    for index in TABLE_ENTRIES / 2..TABLE_ENTRIES {
        let table = new_table(&mut source).expect("no memory for page tables");
        // SAFETY: `root` is a fresh table that no CPU uses yet.
        unsafe { phys::store_entry(root, index, table | TABLE.bits()) };
    }
    let mut map = |virtual_start, range: PhysicalRange, flags| {
        map_range(root, virtual_start, range, flags, &mut source)
            .expect("no memory for page tables");
    };
    for range in &info.memory {
        map(DIRECT_MAP + range.start, *range, READ_WRITE);
    }
    let initrd = info.initrd.outer_frames();
    if !initrd.is_empty() {
        map(DIRECT_MAP + initrd.start, initrd, READ_WRITE);
    }
    if let Some(frame) = info.trampoline {
        map(
            DIRECT_MAP + frame,
            PhysicalRange::new(frame, frame + PAGE_SIZE),
            READ_WRITE,
        );
    }
    let sections = [
        (
            &raw const __image_start,
            &raw const __text_end,
            READ_EXECUTE,
        ),
        (&raw const __text_end, &raw const __rodata_end, READ_ONLY),
        (&raw const __rodata_end, &raw const __image_end, READ_WRITE),
    ];
    for (start, end, flags) in sections {
        map(
            start as u64,
            PhysicalRange::new(start as u64 - IMAGE, end as u64 - IMAGE),
            flags,
        );
    }
    *ROOT.lock() = root;
    ROOT_ADDRESS.call_once(|| root);
    // SAFETY: the new tables map the image, and the early stack and all statics are in it.
    unsafe { tlb::load_root(root) };
}

/// Maps the frame at `frame` to the kernel page at `address`, readable and writable, not executable.
/// The page must lie in the heap or in the stack window. No flush is needed: it was not present before.
/// Not from interrupt handlers.
///
/// # Safety
/// The caller owns `frame` and gives it to the users of this page.
pub unsafe fn map_kernel_page(
    address: u64,
    frame: u64,
    source: FrameSource,
) -> Result<(), MapError> {
    check_window(address)?;
    cpu::without_interrupts(|| map_page(*ROOT.lock(), address, frame, READ_WRITE, 0, source))
}

/// The frame that kernel address `address` is mapped to, for 4 KiB pages of the heap, stack and device windows and
/// of the image.
pub fn kernel_frame(address: u64) -> Option<u64> {
    let (table, index) = find_entry(kernel_root(), address).ok()?;
    // SAFETY: tables of the kernel are never freed.
    let entry = unsafe { phys::load_entry(table, index) };
    (entry & Flags::PRESENT.bits() != 0).then_some(entry & ADDRESS_MASK)
}

/// Makes `root` an address space with the kernel's half and an empty user half.
///
/// # Safety
/// The caller owns the frame `root`.
pub unsafe fn init_address_space(root: u64) {
    // SAFETY: the frame is the caller's.
    unsafe { phys::zero_frame(root) };
    for index in TABLE_ENTRIES / 2..TABLE_ENTRIES {
        // SAFETY: both are tables: the kernel's, whose upper entries never change, and the caller's.
        unsafe { phys::store_entry(root, index, phys::load_entry(kernel_root(), index)) };
    }
}

/// Maps one page of device registers uncached at the next free place of the device window.
pub(crate) fn map_device_page(frame: u64, source: FrameSource) -> Result<u64, MapError> {
    static NEXT: Mutex<u64> = Mutex::new(DEVICES.start);
    let mut next = NEXT.lock();
    map_page(*ROOT.lock(), *next, frame, DEVICE, 0, source)?;
    let address = *next;
    *next += PAGE_SIZE;
    Ok(address)
}

fn check_window(address: u64) -> Result<(), MapError> {
    let inside = HEAP.contains(&address) || STACKS.contains(&address);
    if inside && address.is_multiple_of(PAGE_SIZE) {
        Ok(())
    } else {
        Err(MapError::Range)
    }
}

fn new_table(source: FrameSource) -> Option<u64> {
    let frame = source()?;
    // SAFETY: the source gave the frame away.
    unsafe { phys::zero_frame(frame) };
    Some(frame)
}

/// Maps `range` with the largest pages that fit.
fn map_range(
    root: u64,
    virtual_start: u64,
    range: PhysicalRange,
    flags: Flags,
    source: FrameSource,
) -> Result<(), MapError> {
    let mut physical = range.start;
    while physical < range.end {
        let address = virtual_start + (physical - range.start);
        let fits =
            |size: u64| (physical | address).is_multiple_of(size) && range.end - physical >= size;
        let (size, large_level) = if cpu::features().gigabyte_pages && fits(LARGE_1G) {
            (LARGE_1G, 2)
        } else if fits(LARGE_2M) {
            (LARGE_2M, 1)
        } else {
            (PAGE_SIZE, 0)
        };
        map_page(root, address, physical, flags, large_level, source)?;
        physical += size;
    }
    Ok(())
}

/// Maps one page whose entry is at `level`: 0 for 4 KiB, 1 for 2 MiB, 2 for 1 GiB.
fn map_page(
    root: u64,
    address: u64,
    frame: u64,
    flags: Flags,
    level: u32,
    source: FrameSource,
) -> Result<(), MapError> {
    let mut table = root;
    for depth in (level + 1..4).rev() {
        table = next_table(table, index_at(address, depth), source)?;
    }
    let index = index_at(address, level);
    let flags = if level > 0 {
        flags | Flags::HUGE_PAGE
    } else {
        flags
    };
    // SAFETY: `table` is a kernel table; its only editor holds the root's lock or is the boot CPU alone.
    unsafe {
        if phys::load_entry(table, index) & Flags::PRESENT.bits() != 0 {
            return Err(MapError::AlreadyMapped);
        }
        phys::store_entry(table, index, frame | flags.bits());
    }
    Ok(())
}

fn next_table(table: u64, index: usize, source: FrameSource) -> Result<u64, MapError> {
    // SAFETY: as in `map_page`.
    let entry = unsafe { phys::load_entry(table, index) };
    if entry & Flags::PRESENT.bits() == 0 {
        let next = new_table(source).ok_or(MapError::NoMemory)?;
        // SAFETY: as in `map_page`; the new table is empty.
        unsafe { phys::store_entry(table, index, next | TABLE.bits()) };
        Ok(next)
    } else if entry & Flags::HUGE_PAGE.bits() != 0 {
        Err(MapError::AlreadyMapped)
    } else {
        Ok(entry & ADDRESS_MASK)
    }
}

/// The last-level table and index of a kernel address.
fn find_entry(root: u64, address: u64) -> Result<(u64, usize), MapError> {
    let mut table = root;
    for depth in (1..4).rev() {
        // SAFETY: a kernel table; they are never freed.
        let entry = unsafe { phys::load_entry(table, index_at(address, depth)) };
        if entry & Flags::PRESENT.bits() == 0 || entry & Flags::HUGE_PAGE.bits() != 0 {
            return Err(MapError::NotMapped);
        }
        table = entry & ADDRESS_MASK;
    }
    Ok((table, index_at(address, 0)))
}

fn index_at(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level)) as usize & (TABLE_ENTRIES - 1)
}
