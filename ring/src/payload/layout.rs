//! Where everything is in a pool of payloads.

use crate::Error;
use crate::sabotaged;

/// Classes of one pool at most.
pub const MAX_CLASSES: usize = 4;
/// Slots of one pool at most.
pub const MAX_SLOTS: u32 = 1 << 20;
/// What slots are aligned to, in bytes.
pub const SLOT_ALIGN: u32 = 64;

/// Bytes of the words by which both sides say that they wait, a line each: that of the host, and that of the guest.
pub const WAITS_BYTES: u64 = 128;

/// Slots of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Bytes of each, a multiple of [`SLOT_ALIGN`].
    pub slot_bytes: u32,
    /// How many.
    pub count: u32,
}

/// Where everything is in a pool: the words of both sides, the words of the slots, then the slots, class by class. Both sides compute it from the classes,
/// and neither reads it from shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    classes: [Class; MAX_CLASSES],
    count: usize,
}

impl Layout {
    /// Of these classes, which are sorted by size here, once.
    ///
    /// # Errors
    /// [`Error::Invalid`]: no class, too many, one of no slots or no bytes or bytes that are not aligned, two of one size,
    /// or more slots than [`MAX_SLOTS`].
    pub fn new(wanted: &[Class]) -> Result<Layout, Error> {
        if wanted.is_empty() || wanted.len() > MAX_CLASSES {
            return Err(Error::Invalid);
        }
        let mut classes = [Class::default(); MAX_CLASSES];
        classes[..wanted.len()].copy_from_slice(wanted);
        let used = &mut classes[..wanted.len()];
        used.sort_unstable_by_key(|class| class.slot_bytes);
        let bad = |class: &Class| {
            class.count == 0
                || class.slot_bytes == 0
                || !class.slot_bytes.is_multiple_of(SLOT_ALIGN)
        };
        let twice = used
            .windows(2)
            .any(|pair| pair[0].slot_bytes == pair[1].slot_bytes);
        let slots: u64 = used.iter().map(|class| u64::from(class.count)).sum();
        if used.iter().any(bad) || twice || slots > u64::from(MAX_SLOTS) {
            return Err(Error::Invalid);
        }
        let count = wanted.len();
        Ok(Layout { classes, count })
    }

    /// The classes, the smallest first.
    pub fn classes(&self) -> &[Class] {
        &self.classes[..self.count]
    }

    /// Slots of all classes.
    pub fn slots(&self) -> u32 {
        self.classes().iter().map(|class| class.count).sum()
    }

    /// Bytes of the largest slot.
    pub fn largest(&self) -> u32 {
        self.classes().last().map_or(0, |class| class.slot_bytes)
    }

    /// Bytes of the words, up to where the slots begin.
    pub fn words_bytes(&self) -> u64 {
        WAITS_BYTES + (u64::from(self.slots()) * 8).next_multiple_of(u64::from(SLOT_ALIGN))
    }

    /// Bytes of the whole pool.
    pub fn bytes(&self) -> u64 {
        let of = |class: &Class| u64::from(class.count) * u64::from(class.slot_bytes);
        self.words_bytes() + self.classes().iter().map(of).sum::<u64>()
    }

    /// The number of a slot among all, and the place of its bytes.
    pub(super) fn locate(&self, class: usize, index: u32) -> Option<(u32, u64)> {
        let own = self.classes().get(class)?;
        if index >= own.count && !sabotaged!("pool_reference_not_bounded") {
            return None;
        }
        let before = &self.classes()[..class];
        let first: u32 = before.iter().map(|class| class.count).sum();
        let bytes: u64 = before
            .iter()
            .map(|class| u64::from(class.count) * u64::from(class.slot_bytes))
            .sum();
        let place = self.words_bytes() + bytes + u64::from(index) * u64::from(own.slot_bytes);
        Some((first + index, place))
    }
}
