//! A vector that grows and shrinks by small blocks, so that growing never asks the heap for a large
//! one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use abi::Error;

/// Blocks that there is always room to list, once there is one.
const FEW: usize = 4;

/// Elements of a block.
pub(crate) const BLOCK: usize = 64;

/// A vector of blocks.
pub(crate) struct Chunks<T> {
    /// What is behind the last element is a default.
    blocks: Vec<Box<[T; BLOCK]>>,
    len: usize,
}

impl<T> Chunks<T> {
    pub(crate) const fn new() -> Chunks<T> {
        Chunks {
            blocks: Vec::new(),
            len: 0,
        }
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// An element; behind the last one maybe a value that was never given one.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        Some(&self.blocks.get(index / BLOCK)?[index % BLOCK])
    }

    /// As [`get`](Chunks::get).
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        Some(&mut self.blocks.get_mut(index / BLOCK)?[index % BLOCK])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks
            .iter()
            .flat_map(|block| block.iter())
            .take(self.len)
    }
}

impl<T: Default> Chunks<T> {
    /// Makes room for `count` more, so that pushing them can't fail.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), Error> {
        let wanted = (self.len + count).div_ceil(BLOCK);
        let missing = wanted.saturating_sub(self.blocks.len());
        self.blocks
            .try_reserve(missing)
            .map_err(|_| Error::NoMemory)?;
        for _ in 0..missing {
            let mut block = Vec::new();
            block
                .try_reserve_exact(BLOCK)
                .map_err(|_| Error::NoMemory)?;
            block.resize_with(BLOCK, T::default);
            let block = block.into_boxed_slice().try_into();
            self.blocks.push(block.map_err(|_| Error::NoMemory)?);
        }
        Ok(())
    }

    /// Adds an element behind the last, after [`reserve`](Chunks::reserve), and returns its index.
    pub(crate) fn push(&mut self, element: T) -> usize {
        let index = self.len;
        self.blocks[index / BLOCK][index % BLOCK] = element;
        self.len += 1;
        index
    }

    /// Keeps the first `len` elements, and the room for the others. What is pushed next takes the place of
    /// the first of those.
    pub(crate) fn shorten(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Keeps the first `blocks` blocks at most, and gives the memory of the others back.
    pub(crate) fn truncate(&mut self, blocks: usize) {
        self.blocks.truncate(blocks);
        mm::shrink_to(&mut self.blocks, FEW);
        self.len = self.len.min(blocks * BLOCK);
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.blocks[index / BLOCK][index % BLOCK]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.blocks[index / BLOCK][index % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_places_across_blocks() {
        let mut chunks = Chunks::new();
        for number in 0..3 * BLOCK {
            chunks.reserve(1).expect("the host has memory");
            assert_eq!(chunks.push(number), number);
        }
        assert!((0..3 * BLOCK).all(|index| chunks.get(index) == Some(&index)));
        assert_eq!(chunks.get(3 * BLOCK), None);
        assert!(chunks.iter().copied().eq(0..3 * BLOCK));
    }

    #[test]
    fn a_truncated_vector_begins_again_behind_what_it_kept() {
        let mut chunks = Chunks::new();
        for number in 0..5 * BLOCK {
            chunks.reserve(1).expect("the host has memory");
            chunks.push(number);
        }
        chunks.truncate(1);
        assert_eq!((chunks.len(), chunks.get(BLOCK)), (BLOCK, None));
        chunks.reserve(1).expect("the host has memory");
        assert_eq!(chunks.push(7), BLOCK);
        assert_eq!((chunks.get(BLOCK), chunks.blocks.len()), (Some(&7), 2));
        chunks.truncate(3);
        assert_eq!(chunks.len(), BLOCK + 1);
    }
}
