//! Who draws how much on the promise to the heap.
//!
//! A call allocates small pieces, up to 1 KiB, which can't fail, and larger ones, which can if there are many of
//! them. Of the share of a CPU a part is for larger ones, and beyond that they fail: however much a call asks for
//! in pieces that may fail, what can't fail finds its part. Shares are whole again when the
//! [promise](super::promise) is.
//!
//! That the other part is enough is looked at in builds with debug assertions, whether memory is short or not:
//! since [`ensure`](super::ensure) was called on a CPU, small blocks are counted there as if none had been free,
//! with a page, or two, for each slab that was begun. What is given back meanwhile is not taken off, because
//! another CPU may take it. A call that allocates more stops the kernel, so every path of every call that a test
//! takes is one that the promise is enough for.

use core::alloc::Layout;
use core::sync::atomic::{AtomicU64, Ordering};

use arch::cpu;
use arch::layout::PAGE_SIZE;

use super::{promised_per_cpu, small};

/// Pages of the share of a CPU that larger pieces may draw.
const LARGER: u64 = 8;
/// Frames for page tables: a call grows the heap by far less than the 2 MiB of one.
const TABLES: u64 = 2;

/// The largest of the small pieces.
const SMALL: u16 = 1024;

/// For what the heap is to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A small one.
    Small,
    /// A larger one.
    Larger,
}

impl Piece {
    /// A block of a class.
    pub fn of_class(class: usize) -> Piece {
        match small::SIZES[class] <= SMALL {
            true => Piece::Small,
            false => Piece::Larger,
        }
    }
}

/// What a CPU has drawn, and allocated.
struct Share {
    /// The renewal of the promise since which larger pieces were drawn, and their pages.
    renewal: AtomicU64,
    larger: AtomicU64,
    /// Small blocks of each class, and pages for them, since the promise was asked for.
    blocks: [AtomicU64; small::CLASSES],
    pages: AtomicU64,
}

/// Boot counts nothing: it ends before there is any call.
const BOOT: u64 = u64::MAX;

static SHARES: [Share; cpu::MAX_CPUS] = [const {
    Share {
        renewal: AtomicU64::new(0),
        larger: AtomicU64::new(0),
        blocks: [const { AtomicU64::new(0) }; small::CLASSES],
        pages: AtomicU64::new(BOOT),
    }
}; cpu::MAX_CPUS];

/// How often the promise was made whole.
static RENEWALS: AtomicU64 = AtomicU64::new(0);

/// The promise is whole.
pub fn renewed() {
    RENEWALS.fetch_add(1, Ordering::Relaxed);
}

/// Whether the share of this CPU has so many pages for a larger piece, which are drawn then. Under the lock of
/// the heap.
pub fn draw_larger(pages: u64) -> bool {
    let (share, now) = (&SHARES[cpu::current()], RENEWALS.load(Ordering::Relaxed));
    if share.renewal.swap(now, Ordering::Relaxed) != now {
        share.larger.store(0, Ordering::Relaxed);
    }
    let drawn = share.larger.load(Ordering::Relaxed) + pages;
    if drawn > LARGER {
        return false;
    }
    share.larger.store(drawn, Ordering::Relaxed);
    true
}

/// A call begins on this CPU, and nothing was allocated for it.
pub fn begin() {
    let share = &SHARES[cpu::current()];
    for blocks in &share.blocks {
        blocks.store(0, Ordering::Relaxed);
    }
    share.pages.store(0, Ordering::Relaxed);
}

/// A block of a class is allocated.
pub fn count(class: usize) {
    if Piece::of_class(class) == Piece::Larger {
        return;
    }
    let share = &SHARES[cpu::current()];
    let blocks = share.blocks[class].load(Ordering::Relaxed);
    share.blocks[class].store(blocks + 1, Ordering::Relaxed);
    let Some((slab, blocks_of_slab)) = small::slab_of(class) else {
        return;
    };
    let pages = share.pages.load(Ordering::Relaxed);
    if pages == BOOT || !blocks.is_multiple_of(blocks_of_slab as u64) {
        return;
    }
    let pages = pages + pages_of(slab);
    share.pages.store(pages, Ordering::Relaxed);
    assert!(
        pages + TABLES + LARGER <= promised_per_cpu(),
        "a call allocates {pages} pages of small pieces, more than is promised for it"
    );
}

/// Pages by which the heap grows for a block at most.
pub fn pages_of(layout: Layout) -> u64 {
    ((layout.size() + layout.align()) as u64).div_ceil(PAGE_SIZE)
}
