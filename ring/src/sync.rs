//! The atomics that the rings are built on, with loom's in their place under `cfg(loom)`.

use core::sync::atomic::{Ordering, compiler_fence};

use abi::ring::{End, Form};

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};

/// A word that the peer or the kernel writes and this end may only load.
///
/// Its page is mapped read-only here. Only relaxed loads are defined on read-only memory, so acquiring is a fence of its
/// own; on x86_64 neither costs an instruction.
pub(crate) struct PeerWord<'a, Word>(pub(crate) &'a Word);

impl PeerWord<'_, AtomicU32> {
    #[inline]
    pub(crate) fn load_relaxed(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn load_acquire(&self) -> u32 {
        let value = self.load_relaxed();
        if !crate::sabotaged!("index_seen_without_acquire") {
            fence(Ordering::Acquire);
        }
        value
    }
}

impl PeerWord<'_, AtomicU64> {
    #[inline]
    pub(crate) fn load_relaxed(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn load_acquire(&self) -> u64 {
        let value = self.0.load(Ordering::Relaxed);
        if !crate::sabotaged!("word_seen_without_acquire") {
            fence(Ordering::Acquire);
        }
        value
    }
}

/// Between storing the index of an end and looking whether its peer sleeps.
// SYNC(ring.sleep): pairs with `sleep_fence`. One of the two sides sees the other's store. In the asymmetric form the
// sleeper's `Wait::wait` makes this side's CPU execute the barrier, and this keeps the compiler from reordering.
#[inline(always)]
pub(crate) fn wake_fence(form: Form, end: End) {
    match (form, end) {
        (Form::Symmetric, End::Producer) if !crate::sabotaged!("wake_fence_missing") => {
            fence(Ordering::SeqCst);
        }
        (Form::Symmetric, End::Consumer) if !crate::sabotaged!("room_wake_fence_missing") => {
            fence(Ordering::SeqCst);
        }
        _ => compiler_fence(Ordering::SeqCst),
    }
}

/// Between announcing that an end sleeps and its last look.
// SYNC(ring.sleep): pairs with `wake_fence`. In the asymmetric form the barrier comes in `Wait::wait`, before its look.
#[inline(always)]
pub(crate) fn sleep_fence(form: Form, end: End) {
    match (form, end) {
        (Form::Symmetric, End::Consumer) if !crate::sabotaged!("sleep_fence_missing") => {
            fence(Ordering::SeqCst);
        }
        (Form::Symmetric, End::Producer) if !crate::sabotaged!("room_sleep_fence_missing") => {
            fence(Ordering::SeqCst);
        }
        _ => compiler_fence(Ordering::SeqCst),
    }
}
