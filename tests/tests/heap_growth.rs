//! Wherever `mm` allocates, the heap of a kernel may grow, and take the locks of the frame allocator:
//! what is held meanwhile is below them (I12).

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{WRITE, World};
use mm::lock::{Observer, Rank};

thread_local! {
    /// The ranks that are held, a bit each.
    static HELD: Cell<u32> = const { Cell::new(0) };
    /// Those that were held in allocations.
    static HELD_IN_ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
    /// Whether the heap has nothing left.
    static EXHAUSTED: Cell<bool> = const { Cell::new(false) };
}

struct Ranks;

impl Observer for Ranks {
    fn acquire(&self, rank: Rank) {
        HELD.set(HELD.get() | 1 << rank as u32);
    }

    fn release(&self, rank: Rank) {
        HELD.set(HELD.get() & !(1 << rank as u32));
    }
}

struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

// SAFETY: every call goes to the system's allocator as it came; a failure is a null pointer.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.try_with(Cell::get).unwrap_or(0);
        let _ = HELD_IN_ALLOCATIONS.try_with(|seen| seen.set(seen.get() | held));
        if EXHAUSTED.try_with(Cell::get).unwrap_or(false) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[test]
fn the_heap_may_grow_under_every_lock_under_which_something_is_allocated() {
    // Before the machine brings its own.
    mm::lock::observe(&Ranks);
    let world = World::new(1);
    let region = world.region(2);
    world.map(0, &region, WRITE);
    world.set_word(&region, 0, 7).unwrap();
    let overcommitted = |_| {
        let account = world.memory.account();
        world.memory.snapshot(account, &region, 0, 0, true).unwrap()
    };
    let mut all: Vec<_> = (0..20).map(overcommitted).collect();
    all.push(world.snapshot(&region));
    all.push(region);
    let seen = HELD_IN_ALLOCATIONS.get();
    assert!(seen & 1 << Rank::Region as u32 != 0, "{seen:#b}");
    assert!(seen < 1 << Rank::Reserve as u32, "{seen:#b}");
    world.finish(&all);
}

#[test]
fn what_takes_mappings_away_needs_no_memory() {
    mm::lock::observe(&Ranks);
    let world = World::new(1);
    let region = world.region(1);
    let places: Vec<u64> = (0..64).map(|_| world.map(0, &region, WRITE)).collect();
    EXHAUSTED.set(true);
    for place in &places[1..] {
        let unmapped = world.memory.unmap(&world.spaces[0], *place);
        assert!(unmapped.is_ok());
    }
    EXHAUSTED.set(false);
    world.audit(std::slice::from_ref(&region));
    world.finish(&[region]);
}
