//! Allocations that fail, one after another.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/heap.rs"]
mod heap;
#[path = "../common/swept.rs"]
mod swept;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap;

mod call_sweep;
mod failures;
mod registrar;
