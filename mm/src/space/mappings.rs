//! What is mapped in a space by address, and where there is room for more.
//!
//! Lock rank: Mappings, of the space that it is part of.

use alloc::sync::Arc;
use core::ops::Range;

use abi::Error;
use abi::limits::{LEAF_SIZE, USER_END, USER_START};

use crate::ordered::{Ordered, Place};
use crate::{Frame, Mapping};

/// The bytes that a page directory shows.
const DIRECTORY: u64 = 1 << 30;

/// What is mapped, by address.
#[derive(Debug)]
pub(crate) struct Mappings {
    pub(crate) by_va: Ordered<Arc<Mapping>>,
    /// Where the search for a free place begins.
    base: u64,
    /// Nothing is free between the base and here.
    full_up_to: u64,
    /// What is free from there on, if that is known.
    gap: Option<FirstGap>,
    /// Where the addresses begin of a page directory that was made, and the directory. It stays as long as
    /// the space.
    last_directory: Option<(u64, Frame)>,
}

/// What is free in front of anything else above the base.
#[derive(Debug)]
struct FirstGap {
    /// Up to where.
    end: u64,
    /// Where what is mapped there comes in the order.
    place: Place,
}

impl Mappings {
    /// Nothing; free places are looked for from `base` on.
    pub(super) fn from(base: u64) -> Mappings {
        Mappings {
            by_va: Ordered::new(),
            base,
            full_up_to: base,
            gap: None,
            last_directory: None,
        }
    }

    /// The directory that all addresses from `start` to `end` are in, if it is the last that was asked for.
    #[inline(always)]
    pub(super) fn last_directory(&self, start: u64, end: u64) -> Option<Frame> {
        let (first, directory) = self.last_directory?;
        let within = start >= first && end <= first + DIRECTORY;
        within.then_some(directory)
    }

    /// Remembers that the addresses around `va` are in a directory.
    #[cold]
    pub(super) fn set_last_directory(&mut self, va: u64, directory: Frame) {
        self.last_directory = Some((va & !(DIRECTORY - 1), directory));
    }

    /// A free place for `len` bytes, with `guard` bytes before and behind that stay free: at the hint
    /// if it is free, else the first one from the base on.
    #[inline(always)]
    pub(crate) fn place(
        &mut self,
        hint: u64,
        fixed: bool,
        len: u64,
        guard: u64,
    ) -> Result<(u64, Option<Place>), Error> {
        self.by_va.reserve()?;
        if let Some(gap) = &self.gap
            && hint == 0
            && !fixed
            && gap.end - self.full_up_to >= len + 2 * guard
        {
            return Ok((self.full_up_to + guard, Some(gap.place)));
        }
        self.search(hint, fixed, len, guard)
    }

    #[inline(never)]
    fn search(
        &mut self,
        hint: u64,
        fixed: bool,
        len: u64,
        guard: u64,
    ) -> Result<(u64, Option<Place>), Error> {
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
        self.gap = above.found.and_then(|found| {
            let first = found.start == above.first_free;
            first.then_some(FirstGap {
                end: found.end,
                place: found.place,
            })
        });
        above
            .found
            .or_else(|| self.first_gap_below(len))
            .map(|found| (found.start + guard, Some(found.place)))
            .ok_or(Error::Overlap)
    }

    /// Puts a mapping where [`place`](Mappings::place) found room for it.
    #[inline(always)]
    pub(crate) fn insert(&mut self, place: Option<Place>, mapping: Arc<Mapping>) {
        let (address, kept) = (mapping.start(), mapping.kept());
        let Some(place) = place else {
            if !crate::sabotaged!("gap_not_forgotten") {
                self.gap = None;
            }
            return self.by_va.insert(address, mapping);
        };
        let stays = self.by_va.insert_at(place, address, mapping);
        match &mut self.gap {
            Some(gap) if stays && gap.place == place && self.full_up_to == kept.start => {
                gap.place = place.behind();
                self.full_up_to = kept.end;
            }
            _ => self.gap = None,
        }
    }

    /// The place of the mapping that begins at `va`, and the mapping.
    #[inline(always)]
    pub(crate) fn find(&self, va: u64) -> Option<(Place, &Arc<Mapping>)> {
        let place = self.by_va.find(va)?;
        let mut at = place;
        let (_, mapping) = self.by_va.next(&mut at)?;
        Some((place, mapping))
    }

    /// Takes the mapping at a place out.
    #[inline(always)]
    pub(crate) fn remove(&mut self, place: Place) -> Option<Arc<Mapping>> {
        let (mapping, stays) = self.by_va.remove_at(place)?;
        let kept = mapping.kept();
        match &mut self.gap {
            Some(gap)
                if stays
                    && gap.place == place.behind()
                    && self.full_up_to == kept.end
                    && kept.start >= self.base =>
            {
                gap.place = place;
                self.full_up_to = kept.start;
            }
            _ => self.note_free(kept.start),
        }
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
        self.gap = None;
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
    fn first_gap_below(&self, len: u64) -> Option<Found> {
        self.first_gap(USER_START, self.base, len).found
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
        let mut end = to;
        while let Some((_, mapping)) = self.by_va.next(&mut next) {
            let kept = mapping.kept();
            if kept.start > start {
                first_free = first_free.min(start);
                if kept.start - start >= len || kept.start >= to {
                    end = to.min(kept.start);
                    break;
                }
            }
            start = start.max(kept.end);
            place = next;
        }
        let fits = start.checked_add(len).is_some_and(|end| end <= to);
        Gap {
            found: fits.then_some(Found { start, end, place }),
            first_free: first_free.min(start),
        }
    }
}

/// What a search for a free place found.
struct Gap {
    /// The first that is large enough.
    found: Option<Found>,
    /// Where the first begins, of whatever size.
    first_free: u64,
}

/// Addresses that nobody keeps, and where in the order they are.
#[derive(Clone, Copy)]
struct Found {
    start: u64,
    end: u64,
    place: Place,
}
