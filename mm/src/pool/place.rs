//! Where in the allocator a frame is, in a byte of its metadata. A block is known by its first
//! frame; only whoever holds the lock of its list changes the place of a frame in it.

use core::sync::atomic::Ordering;

use super::ORDERS;
use crate::FrameMeta;

/// Outside: somebody holds it, or the allocator never had it.
pub(super) const HELD: u8 = 0;
/// Within a free block that begins elsewhere. Only builds with debug assertions write this into
/// every frame of a run, so that they see more double frees; others write [`HELD`].
pub(super) const INTERIOR: u8 = if cfg!(debug_assertions) { 1 } else { HELD };
/// Kept by a CPU.
pub(super) const CACHED: u8 = 2;
/// The first frame of a free block of order 0; those of the other orders follow.
const HEAD: u8 = 3;

const _: () = assert!(HEAD as usize + ORDERS <= u8::MAX as usize);

/// The place of the first frame of a free block.
pub(super) const fn head(order: u32) -> u8 {
    HEAD + order as u8
}

#[inline]
pub(super) fn place(meta: &FrameMeta) -> u8 {
    meta.place.load(Ordering::Relaxed)
}

#[inline]
pub(super) fn set_place(meta: &FrameMeta, place: u8) {
    meta.place.store(place, Ordering::Relaxed);
}

/// The next frame of a list, as its number + 1.
#[inline]
pub(super) fn next(meta: &FrameMeta) -> u32 {
    meta.next.load(Ordering::Relaxed)
}

#[inline]
pub(super) fn set_next(meta: &FrameMeta, link: u32) {
    meta.next.store(link, Ordering::Relaxed);
}
