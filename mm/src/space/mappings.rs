//! What is mapped in a space by address, and where there is room for more.
//!
//! Lock rank: Mappings, of the space that it is part of.

use alloc::sync::Arc;
use core::ops::Range;

use abi::Error;
use abi::limits::{LEAF_SIZE, USER_END, USER_START};

use crate::Mapping;
use crate::ordered::{Ordered, Place};

/// What is mapped, by address.
#[derive(Debug)]
pub(crate) struct Mappings {
    pub(crate) by_va: Ordered<Arc<Mapping>>,
    /// Where the search for a free place begins.
    base: u64,
    /// Nothing is free between the base and here.
    full_up_to: u64,
}

impl Mappings {
    /// Nothing; free places are looked for from `base` on.
    pub(super) fn from(base: u64) -> Mappings {
        Mappings {
            by_va: Ordered::new(),
            base,
            full_up_to: base,
        }
    }

    /// A free place for `len` bytes, with `guard` bytes before and behind that stay free: at the hint
    /// if it is free, else the first one from the base on.
    pub(crate) fn place(
        &mut self,
        hint: u64,
        fixed: bool,
        len: u64,
        guard: u64,
    ) -> Result<(u64, Option<Place>), Error> {
        self.by_va.reserve()?;
        let kept = || {
            let end = hint.checked_add(len)?.checked_add(guard)?;
            Some(hint.checked_sub(guard)?..end)
        };
        let usable = |kept: &Range<u64>| kept.start >= USER_START && kept.end <= USER_END;
        if fixed {
            let kept = kept().ok_or(Error::Range)?;
            return if !hint.is_multiple_of(LEAF_SIZE) {
                Err(Error::Align)
            } else if !usable(&kept) {
                Err(Error::Range)
            } else if !self.is_free(kept) {
                Err(Error::Overlap)
            } else {
                Ok((hint, None))
            };
        }
        let wish = kept().filter(|kept| hint.is_multiple_of(LEAF_SIZE) && usable(kept));
        if wish.is_some_and(|kept| self.is_free(kept)) {
            return Ok((hint, None));
        }
        let len = len + 2 * guard;
        let above = self.first_gap(self.full_up_to, USER_END, len);
        self.full_up_to = above.first_free;
        above
            .place
            .or_else(|| self.first_gap_below(len))
            .map(|(start, place)| (start + guard, Some(place)))
            .ok_or(Error::Overlap)
    }

    /// Puts a mapping where [`place`](Mappings::place) found room for it.
    #[inline]
    pub(crate) fn insert(&mut self, place: Option<Place>, mapping: Arc<Mapping>) {
        let address = mapping.start();
        match place {
            Some(place) => self.by_va.insert_at(place, address, mapping),
            None => self.by_va.insert(address, mapping),
        }
    }

    /// Takes the mapping out that begins at `va`.
    pub(crate) fn remove(&mut self, va: u64) -> Option<Arc<Mapping>> {
        let mapping = self.by_va.remove(&va)?;
        self.note_free(mapping.kept().start);
        Some(mapping)
    }

    /// Takes out what is not `wanted`.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&Mapping) -> bool) {
        let mut lowest = u64::MAX;
        self.by_va.retain(|mapping| {
            let stays = wanted(mapping);
            if !stays {
                lowest = lowest.min(mapping.kept().start);
            }
            stays
        });
        self.note_free(lowest);
    }

    fn note_free(&mut self, va: u64) {
        self.full_up_to = self.full_up_to.min(va).max(self.base);
    }

    /// Whether nothing keeps addresses of this range. What begins at or behind its end may still have
    /// a guard that reaches into it.
    fn is_free(&self, kept: Range<u64>) -> bool {
        let mut place = self.by_va.above(kept.end.saturating_add(LEAF_SIZE));
        // What is kept does not overlap, so the last that begins before the end decides.
        while let Some((_, mapping)) = self.by_va.previous(&mut place) {
            let other = mapping.kept();
            if other.start < kept.end {
                return other.end <= kept.start;
            }
        }
        true
    }

    /// The search below the base, when nothing above is free.
    #[cold]
    fn first_gap_below(&self, len: u64) -> Option<(u64, Place)> {
        self.first_gap(USER_START, self.base, len).place
    }

    #[inline(always)]
    fn first_gap(&self, from: u64, to: u64, len: u64) -> Gap {
        let mut place = self.by_va.above(from);
        let mut start = match self.by_va.before(place) {
            Some((_, mapping)) => from.max(mapping.kept().end),
            None => from,
        };
        let mut first_free = u64::MAX;
        let mut next = place;
        while let Some((_, mapping)) = self.by_va.next(&mut next) {
            let kept = mapping.kept();
            if kept.start > start {
                first_free = first_free.min(start);
                if kept.start - start >= len || kept.start >= to {
                    break;
                }
            }
            start = start.max(kept.end);
            place = next;
        }
        let fits = start.checked_add(len).is_some_and(|end| end <= to);
        Gap {
            place: fits.then_some((start, place)),
            first_free: first_free.min(start),
        }
    }
}

/// What a search for a free place found.
struct Gap {
    /// The first that is large enough: where, and where in the order that is.
    place: Option<(u64, Place)>,
    /// Where the first begins, of whatever size.
    first_free: u64,
}
