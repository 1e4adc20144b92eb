//! What a node knows of its neighbours, and when it left: numbers that change under a lock.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::NONE;

/// The place of a neighbour, or none. Changes under the lineage lock.
pub(crate) struct Link(AtomicU32);

impl Link {
    #[inline(always)]
    pub(crate) fn new(index: u32) -> Link {
        Link(AtomicU32::new(index))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> Option<u32> {
        match self.0.load(Ordering::Relaxed) {
            NONE => None,
            index => Some(index),
        }
    }

    #[inline(always)]
    pub(crate) fn set(&self, index: Option<u32>) {
        self.0.store(index.unwrap_or(NONE), Ordering::Relaxed);
    }
}

/// A number that changes under one lock: that of the lineage, if nothing else is said.
pub(crate) struct Count(AtomicU32);

impl Count {
    #[inline(always)]
    pub(crate) fn new(count: u32) -> Count {
        Count(AtomicU32::new(count))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, count: u32) {
        self.0.store(count, Ordering::Relaxed);
    }
}

/// When a node was given away last, as the number of that departure at its channel end, or 0. Changes under the
/// lock of the inbox.
pub(crate) struct Departure(AtomicU64);

impl Departure {
    #[inline(always)]
    pub(crate) fn new() -> Departure {
        Departure(AtomicU64::new(0))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }
}
