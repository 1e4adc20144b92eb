//! Access to frames through the direct map.
//!
//! A frame is named by its physical address, aligned to 4 KiB. The contract is the same everywhere: the frame lies in
//! the direct map (usable RAM or the initrd), and the caller has the right to it. Page-table entries are
//! accessed as atomics only, so that concurrent editors and the CPUs' walkers are well defined.

use core::ptr;
use core::slice;
use core::sync::atomic::{AtomicU64, Ordering};

use boot::PhysicalRange;

use crate::layout::{DIRECT_MAP, DIRECT_MAP_SIZE, PAGE_SIZE};

/// Entries of a page table.
pub const TABLE_ENTRIES: usize = 512;

/// Where the direct map shows `physical`. Whether it is mapped is not checked.
pub const fn to_virtual(physical: u64) -> *mut u8 {
    debug_assert!(physical < DIRECT_MAP_SIZE);
    (DIRECT_MAP + physical) as *mut u8
}

/// Fills `frame` with zeroes.
///
/// # Safety
/// The caller owns the frame: nobody else reads or writes it meanwhile, except user programs.
pub unsafe fn zero_frame(frame: u64) {
    debug_assert_eq!(frame % PAGE_SIZE, 0);
    // SAFETY: one whole frame of the direct map, the caller's.
    unsafe { ptr::write_bytes(to_virtual(frame), 0, PAGE_SIZE as usize) };
}

/// Copies the bytes of frame `from` to frame `to`.
///
/// # Safety
/// The caller owns `to`, and may read `from`; nobody in the kernel writes either meanwhile.
pub unsafe fn copy_frame(to: u64, from: u64) {
    debug_assert!(to.is_multiple_of(PAGE_SIZE) && from.is_multiple_of(PAGE_SIZE) && to != from);
    // SAFETY: two different whole frames of the direct map; the caller vouches for their use.
    unsafe { ptr::copy_nonoverlapping(to_virtual(from), to_virtual(to), PAGE_SIZE as usize) };
}

/// Copies from `frame`, starting at byte `offset`. Panics when the bytes are not all inside the frame.
///
/// # Safety
/// The caller may read the frame; nobody in the kernel writes it meanwhile.
pub unsafe fn read_bytes(frame: u64, offset: usize, into: &mut [u8]) {
    check_bounds(offset, into.len());
    // SAFETY: the bounds were checked, the rest is the caller's word; `into` is kernel memory of its own.
    unsafe {
        ptr::copy_nonoverlapping(to_virtual(frame).add(offset), into.as_mut_ptr(), into.len())
    };
}

/// Copies into `frame`, starting at byte `offset`. Panics when the bytes are not all inside the frame.
///
/// # Safety
/// The caller may write the frame; nobody else in the kernel accesses it meanwhile.
pub unsafe fn write_bytes(frame: u64, offset: usize, from: &[u8]) {
    check_bounds(offset, from.len());
    // SAFETY: the bounds were checked, the rest is the caller's word; `from` is kernel memory of its own.
    unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to_virtual(frame).add(offset), from.len()) };
}

/// The bytes of a physical range, such as the initrd.
///
/// # Safety
/// The range lies in the direct map and nobody writes it for as long as the slice is used.
pub unsafe fn bytes(range: PhysicalRange) -> &'static [u8] {
    // SAFETY: the direct map is contiguous and never unmapped; the caller vouches for the rest.
    unsafe { slice::from_raw_parts(to_virtual(range.start), range.len() as usize) }
}

fn check_bounds(offset: usize, length: usize) {
    assert!(
        offset <= PAGE_SIZE as usize && length <= PAGE_SIZE as usize - offset,
        "access beyond the end of a frame"
    );
}

/// The entry at `index` of the page table in frame `table`. Panics when `index` is not below 512.
///
/// # Safety
/// The frame is a page table and stays one for as long as the reference is used.
#[inline]
pub unsafe fn entry(table: u64, index: usize) -> &'static AtomicU64 {
    assert!(index < TABLE_ENTRIES);
    // SAFETY: an aligned word of a frame in the direct map; the caller vouches that it is used as an entry only.
    unsafe { AtomicU64::from_ptr(to_virtual(table).cast::<u64>().add(index)) }
}

/// Reads an entry (Acquire).
///
/// # Safety
/// As for [`entry`].
#[inline]
pub unsafe fn load_entry(table: u64, index: usize) -> u64 {
    // SAFETY: the caller keeps the contract of `entry`.
    unsafe { entry(table, index) }.load(Ordering::Acquire)
}

/// Writes an entry (Release). No TLB is flushed.
///
/// # Safety
/// As for [`entry`]; and the caller may edit this table, and what the entry maps may be reached through it.
#[inline]
pub unsafe fn store_entry(table: u64, index: usize, value: u64) {
    // SAFETY: the caller keeps the contract of `entry`.
    unsafe { entry(table, index) }.store(value, Ordering::Release);
}

/// Writes an entry if it still is `old` (AcqRel). No TLB is flushed.
///
/// # Safety
/// As for [`store_entry`].
#[inline]
pub unsafe fn exchange_entry(table: u64, index: usize, old: u64, new: u64) -> bool {
    // SAFETY: the caller keeps the contract of `entry`.
    let entry = unsafe { entry(table, index) };
    entry
        .compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
}

/// Clears bits of an entry by one locked instruction (AcqRel). No TLB is flushed.
///
/// # Safety
/// As for [`store_entry`].
#[inline]
pub unsafe fn clear_entry_bits(table: u64, index: usize, bits: u64) {
    // SAFETY: the caller keeps the contract of `entry`.
    unsafe { entry(table, index) }.fetch_and(!bits, Ordering::AcqRel);
}
