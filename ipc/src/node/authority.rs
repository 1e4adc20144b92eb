//! What a node allows: its rights beside the kind of its object, in one word that a look-up compares once.

use core::sync::atomic::{AtomicU32, Ordering};

use abi::{ObjectKind, Rights};

/// Where the kind of the object is, above the rights.
const KIND_SHIFT: u32 = 24;
const KIND: u32 = u32::MAX << KIND_SHIFT;
const _: () = assert!(Rights::all().bits() & KIND == 0);

/// Rights and a kind. Changes under the lineage lock.
pub(super) struct Authority(AtomicU32);

impl Authority {
    #[inline(always)]
    pub(super) fn new(kind: ObjectKind, rights: Rights) -> Authority {
        Authority(AtomicU32::new(word(Some(kind), rights)))
    }

    #[inline(always)]
    pub(super) fn rights(&self) -> Rights {
        Rights::from_bits_truncate(self.0.load(Ordering::Relaxed))
    }

    /// Other rights for an object of the same kind.
    #[inline(always)]
    pub(super) fn set(&self, rights: Rights) {
        let kind = self.0.load(Ordering::Relaxed) & KIND;
        self.0.store(kind | rights.bits(), Ordering::Relaxed);
    }

    /// Whether it is of that kind, or of any for `None`, and allows all of `rights`.
    #[inline(always)]
    pub(super) fn is_for(&self, kind: Option<ObjectKind>, rights: Rights) -> bool {
        let asked = kind.map_or(0, |_| KIND) | rights.bits();
        self.0.load(Ordering::Relaxed) & asked == word(kind, rights)
    }
}

#[inline(always)]
fn word(kind: Option<ObjectKind>, rights: Rights) -> u32 {
    kind.map_or(0, |kind| (kind as u32) << KIND_SHIFT) | rights.bits()
}

/// What mappings under a capability may allow: its own rights. Both ends of a ring read and write,
/// whatever their rights, as far as each page lets them.
#[inline(always)]
pub(super) fn mappable(kind: ObjectKind, rights: Rights) -> Rights {
    match kind {
        ObjectKind::RingEnd => Rights::ACCESS,
        _ => rights,
    }
}
