//! The kernel heap: blocks are apart and aligned, and used again after they were given back.

use alloc::alloc::{alloc, dealloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::Layout;

use crate::heap;

/// Together far more than the heap has: it lasts only if blocks come back.
const ROUNDS: usize = 64;
const BLOCKS: usize = 500;

pub fn works() {
    let numbers: Vec<u64> = (0..1000).collect();
    let boxed = mm::boxed(numbers.iter().sum::<u64>());
    assert_eq!(*boxed, 499_500);
    assert!(heap::used() >= 8000);
    drop((numbers, boxed));
    let before = heap::used();
    blocks_are_apart_and_aligned();
    for _ in 0..ROUNDS {
        let blocks: Vec<Box<[u64; 6]>> = (0..BLOCKS).map(|_| mm::boxed([0; 6])).collect();
        drop(blocks);
    }
    assert_eq!(heap::used(), before, "blocks were lost");
    println!("selfcheck: heap works");
}

fn blocks_are_apart_and_aligned() {
    let sizes = (0..12).flat_map(|power| [1 << power, (1 << power) + 1, 3 << power]);
    let layouts = sizes.flat_map(|size: usize| {
        [1, 8, 16, 64, 1024].map(|align| Layout::from_size_align(size, align))
    });
    let mut blocks = Vec::new();
    for layout in layouts.map_while(Result::ok) {
        // SAFETY: no layout is empty, and the block is written within its size.
        let block = unsafe { alloc(layout) };
        assert!(!block.is_null() && block.align_offset(layout.align()) == 0);
        let mark = blocks.len() as u8;
        // SAFETY: as above.
        unsafe { block.write_bytes(mark, layout.size()) };
        blocks.push((block, layout));
    }
    for (index, (block, layout)) in blocks.into_iter().enumerate() {
        // SAFETY: the block was written as a whole, and is given back once.
        unsafe {
            let bytes = core::slice::from_raw_parts(block, layout.size());
            assert!(bytes.iter().all(|byte| *byte == index as u8), "{layout:?}");
            dealloc(block, layout);
        }
    }
}
