//! A map by address, in sorted blocks.
//!
//! A space has few mappings or thousands. With few there is one block, and finding, inserting and
//! removing are a search and a move of neighbours; with many, a search among the blocks comes before.

use alloc::vec::Vec;

use abi::Error;

/// Entries of a full block. It is cut in two when one more comes.
const BLOCK: usize = 64;

/// Values by address, in ascending order.
#[derive(Debug)]
pub(crate) struct Ordered<T> {
    /// Sorted, and none empty.
    blocks: Vec<Vec<(u64, T)>>,
    len: usize,
}

/// A place in the order, good until something is inserted or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    index: usize,
    within: usize,
}

impl Place {
    /// That of the value behind the one at this place, if both are in one block.
    #[inline(always)]
    pub(crate) fn behind(self) -> Place {
        Place {
            within: self.within + 1,
            ..self
        }
    }
}

impl<T> Ordered<T> {
    pub(crate) const fn new() -> Ordered<T> {
        Ordered {
            blocks: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes sure that the next insertion makes no allocation whose size grows with the map.
    #[inline]
    pub(crate) fn reserve(&mut self) -> Result<(), Error> {
        if self.blocks.len() < self.blocks.capacity() {
            return Ok(());
        }
        self.blocks.try_reserve(1).map_err(|_| Error::NoMemory)
    }

    /// The value at an address.
    #[cfg(test)]
    fn get(&self, address: &u64) -> Option<&T> {
        let (found, value) = self.last_up_to(*address)?;
        (found == *address).then_some(value)
    }

    /// The value at the highest address up to this one.
    #[inline]
    pub(crate) fn last_up_to(&self, address: u64) -> Option<(u64, &T)> {
        self.before(self.above(address))
    }

    /// The place of the first value above an address.
    #[inline]
    pub(crate) fn above(&self, address: u64) -> Place {
        let index = self.block_of(address);
        let within = self.blocks.get(index).map_or(0, |block| {
            block.partition_point(|(other, _)| *other <= address)
        });
        Place { index, within }
    }

    /// The value before a place.
    #[inline]
    pub(crate) fn before(&self, place: Place) -> Option<(u64, &T)> {
        // Only in the first block nothing is before the first place.
        let (address, value) = self
            .blocks
            .get(place.index)?
            .get(place.within.checked_sub(1)?)?;
        Some((*address, value))
    }

    /// The value at a place, which then is that of the one behind it.
    #[inline]
    pub(crate) fn next(&self, place: &mut Place) -> Option<(u64, &T)> {
        let block = self.blocks.get(place.index)?;
        if let Some((address, value)) = block.get(place.within) {
            place.within += 1;
            return Some((*address, value));
        }
        let (address, value) = self.blocks.get(place.index + 1)?.first()?;
        *place = Place {
            index: place.index + 1,
            within: 1,
        };
        Some((*address, value))
    }

    /// The value before a place, which then is its.
    #[inline]
    pub(crate) fn previous(&self, place: &mut Place) -> Option<(u64, &T)> {
        if place.within == 0 {
            let index = place.index.checked_sub(1)?;
            let within = self.blocks.get(index)?.len();
            *place = Place { index, within };
        }
        let found = self.before(*place)?;
        place.within -= 1;
        Some(found)
    }

    /// The one at the lowest address.
    pub(crate) fn first(&self) -> Option<(u64, &T)> {
        let (address, value) = self.blocks.first()?.first()?;
        Some((*address, value))
    }

    /// Puts a value at an address where there is none.
    pub(crate) fn insert(&mut self, address: u64, value: T) {
        let index = self.block_of(address);
        self.len += 1;
        let Some(block) = self.blocks.get_mut(index) else {
            let mut block = Vec::with_capacity(4);
            block.push((address, value));
            self.blocks.push(block);
            return;
        };
        let place = block.partition_point(|(other, _)| *other < address);
        if block.len() < BLOCK {
            block.insert(place, (address, value));
            return;
        }
        const { assert!(size_of::<[(u64, T); BLOCK]>() <= crate::MAX_RECORD) }
        let mut upper = Vec::with_capacity(BLOCK);
        upper.extend(block.drain(BLOCK / 2..));
        match place.checked_sub(BLOCK / 2) {
            Some(place) => upper.insert(place, (address, value)),
            None => block.insert(place, (address, value)),
        }
        self.blocks.insert(index + 1, upper);
    }

    /// The same where the place is known: it is that of the next value above. Whether the places in front of
    /// it are still good, and its own is that of the new value.
    #[inline(always)]
    pub(crate) fn insert_at(&mut self, place: Place, address: u64, value: T) -> bool {
        match self.blocks.get_mut(place.index) {
            Some(block) if block.len() < BLOCK => {
                self.len += 1;
                // Mostly it is the last.
                match place.within == block.len() {
                    true => block.push((address, value)),
                    false => block.insert(place.within, (address, value)),
                }
                true
            }
            _ => {
                self.insert(address, value);
                false
            }
        }
    }

    /// The place of the value at an address.
    #[inline(always)]
    pub(crate) fn find(&self, address: u64) -> Option<Place> {
        let index = self.block_of(address);
        let block = self.blocks.get(index)?;
        let within = block.partition_point(|(other, _)| *other < address);
        let found = block.get(within)?.0 == address;
        found.then_some(Place { index, within })
    }

    /// Takes the value at a place out, and says whether the places in front of it are still good.
    #[inline(always)]
    pub(crate) fn remove_at(&mut self, place: Place) -> Option<(T, bool)> {
        let block = self.blocks.get_mut(place.index)?;
        let (_, value) = match place.within + 1 == block.len() {
            true => block.pop()?,
            false => block.remove(place.within),
        };
        self.len -= 1;
        // One block stays, with what it has allocated.
        let goes = block.is_empty() && self.blocks.len() > 1;
        if goes {
            self.blocks.remove(place.index);
        }
        Some((value, !goes))
    }

    /// Takes the value at an address out.
    #[cfg(test)]
    fn remove(&mut self, address: &u64) -> Option<T> {
        let place = self.find(*address)?;
        self.remove_at(place).map(|(value, _)| value)
    }

    /// Keeps what `wanted` wants.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        for block in &mut self.blocks {
            block.retain(|(_, value)| wanted(value));
        }
        self.blocks.retain(|block| !block.is_empty());
        self.len = self.blocks.iter().map(Vec::len).sum();
    }

    /// The block that an address belongs to: the last that begins at or below it.
    #[inline]
    fn block_of(&self, address: u64) -> usize {
        if self.blocks.len() <= 1 {
            return 0;
        }
        let begins = |block: &Vec<(u64, T)>| block.first().is_some_and(|(at, _)| *at <= address);
        self.blocks.partition_point(begins).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::collections::btree_map::Entry;

    use super::*;

    #[test]
    fn it_holds_what_a_tree_would_hold() {
        let (mut ordered, mut tree) = (Ordered::new(), BTreeMap::new());
        let mut random = 1_u64;
        for step in 0..20_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let address = (random >> 33) % 3000;
            // Grows at first, then shrinks.
            if (random >> 20) % 10 < if step < 10_000 { 7 } else { 2 } {
                if let Entry::Vacant(vacant) = tree.entry(address) {
                    vacant.insert(step);
                    ordered.insert(address, step);
                }
            } else {
                assert_eq!(ordered.remove(&address), tree.remove(&address));
            }
            assert_eq!(ordered.len(), tree.len());
            assert_eq!(ordered.get(&address), tree.get(&address));
            let below = tree.range(..=address).next_back();
            assert_eq!(ordered.last_up_to(address), below.map(|(at, v)| (*at, v)));
        }
        let from = |address| {
            let mut place = ordered.above(address);
            let ordered = &ordered;
            core::iter::from_fn(move || ordered.next(&mut place))
        };
        assert!(from(700).eq(tree.range(701..).map(|(at, value)| (*at, value))));
        let mut place = ordered.above(u64::MAX);
        let backwards = core::iter::from_fn(|| ordered.previous(&mut place));
        assert!(backwards.eq(tree.iter().rev().map(|(at, value)| (*at, value))));
        ordered.retain(|value| value % 2 == 0);
        tree.retain(|_, value| *value % 2 == 0);
        assert_eq!(ordered.len(), tree.len());
        while let Some((address, value)) = ordered.first() {
            assert_eq!(tree.pop_first(), Some((address, *value)));
            ordered.remove(&address);
        }
        assert!(ordered.is_empty() && tree.is_empty());
    }
}
