//! The PVH protocol: start info into [`BootInfo`].
//!
//! Layouts: Xen, `xen/include/public/arch-x86/hvm/start_info.h`. Start info, its strings, its modules and
//! the memory map are not reserved in that map, so everything is copied before any frame is handed out.

use arrayvec::{ArrayString, ArrayVec};
use spin::Once;

use crate::{BootInfo, PhysicalRange, entry};

const MAGIC: u32 = 0x336e_c578;
/// The memory map entry type of usable RAM.
const TYPE_RAM: u32 = 1;
/// Where the early tables show the first 4 GiB of physical memory.
const EARLY_DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
const EARLY_DIRECT_MAP_SIZE: u64 = 4 << 30;

#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Module {
    start: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MemoryMapEntry {
    start: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

unsafe extern "Rust" {
    /// The kernel proper; the binary defines it with `#[unsafe(no_mangle)]`.
    safe fn kernel_main(info: &'static BootInfo) -> !;
}

static BOOT_INFO: Once<BootInfo> = Once::new();

/// Called once by the entry code, on the boot CPU, on the early stack.
pub(crate) extern "C" fn enter(start_info: u64) -> ! {
    kernel_main(BOOT_INFO.call_once(|| parse(start_info)))
}

/// Panics when `start_info` is no PVH start info of version 1: then there is no machine to run on.
fn parse(start_info: u64) -> BootInfo {
    // SAFETY: the protocol hands over the physical address of a start info in `ebx`.
    let start: StartInfo = unsafe { read(start_info) };
    assert_eq!(start.magic, MAGIC, "not started by a PVH loader");
    assert!(
        start.version >= 1,
        "the loader's start info has no memory map"
    );

    let mut initrd = PhysicalRange::default();
    if start.module_count > 0 {
        // SAFETY: `modules` is the address of `module_count` > 0 module entries.
        let module: Module = unsafe { read(start.modules) };
        initrd = PhysicalRange::new(module.start, module.start.saturating_add(module.size));
    }
    let mut info = BootInfo {
        memory: ArrayVec::new(),
        initrd,
        command_line: command_line(start.command_line),
        rsdp: start.rsdp,
        image: entry::image(),
        usable_frames: 0,
        unused_frames: 0,
        trampoline: None,
    };
    let entries = (0..u64::from(start.memory_map_entries)).map(|index| {
        let address = start.memory_map + index * size_of::<MemoryMapEntry>() as u64;
        // SAFETY: `memory_map` is the address of `memory_map_entries` entries and index is below that.
        unsafe { read::<MemoryMapEntry>(address) }
    });
    info.set_memory(
        entries
            .filter(|entry| entry.kind == TYPE_RAM)
            .map(|entry| PhysicalRange::new(entry.start, entry.start.saturating_add(entry.size))),
    );
    info
}

/// Copies the zero-terminated string at physical `address`; bytes outside ASCII become `?`.
fn command_line(address: u64) -> ArrayString<{ BootInfo::MAX_COMMAND_LINE }> {
    let mut text = ArrayString::new();
    if address == 0 {
        return text;
    }
    for offset in 0..BootInfo::MAX_COMMAND_LINE as u64 {
        // SAFETY: a non-zero command line address is that of a zero-terminated string, whose end was not reached.
        let byte: u8 = unsafe { read(address + offset) };
        if byte == 0 {
            break;
        }
        text.push(if byte.is_ascii() { byte as char } else { '?' });
    }
    text
}

/// Reads a loader structure.
///
/// # Safety
/// `address` must be the physical address of a `T`, and the early tables must be loaded.
unsafe fn read<T: Copy>(address: u64) -> T {
    assert!(
        address < EARLY_DIRECT_MAP_SIZE - size_of::<T>() as u64,
        "loader data above 4 GiB"
    );
    // SAFETY: the early tables map the first 4 GiB here; the caller vouches for what is there.
    unsafe { ((EARLY_DIRECT_MAP + address) as *const T).read_unaligned() }
}
