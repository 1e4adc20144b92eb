//! Who draws how much on the promise to the heap.
//!
//! What is asked for in a way that can't fail is small, without exception: it comes from the lists by size
//! ([`small`]), and a record that would not is not compiled ([`mm::shared`], [`mm::boxed`]). What is larger is asked
//! for in a way that can fail. Of the share of a CPU a part is for larger pieces, and beyond that they fail.
//!
//! So what can't fail always finds its part, whatever was asked for before, here or elsewhere. The promise is drawn
//! on and made whole under the lock of the heap only. Since it was whole last, a CPU has drawn at most the larger
//! part of its share, as is counted here, and what the small pieces of one call take: its next call makes the promise
//! whole before it allocates, or is refused. There is a share for each CPU and one more, for what goes on in a call
//! that has slept. Small pieces may be such as can fail, too, but a program does not choose how many a call takes:
//! where it does, and where a call that has slept makes its table grow, the promise is made whole again before each
//! ([`Frames::ensure_memory`](::mm::Frames::ensure_memory)). So it is for each list that gets shorter
//! ([`may_shrink`](::mm::may_shrink)).
//!
//! That the small part is enough is looked at in builds with debug assertions, whether memory is short or not:
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

// What can't fail is small.
const _: () = assert!(mm::MAX_RECORD <= small::LARGEST);

/// For what the heap is to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Small ones, of a class.
    Small,
    /// A larger one.
    Larger,
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
    if drawn > LARGER && !mm::sabotaged!("larger_pieces_draw_all") {
        return false;
    }
    share.larger.store(drawn, Ordering::Relaxed);
    true
}

/// Looks whether there is enough left of the promise, after a larger piece has drawn on it: one share more was promised
/// than there are CPUs, of which no CPU has drawn more than its own.
pub fn check_rest(promised: u64) {
    let small = promised_per_cpu() - LARGER;
    assert!(
        promised >= small,
        "larger pieces have left {promised} pages of the promise, of which small ones may need {small}"
    );
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
