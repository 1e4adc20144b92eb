//! Snapshots, and the faults of who writes first.

use programs::expect;
use rt::{CachePolicy, Handle, RegionFlags, SnapshotFlags, sys};

use crate::measure::{SAMPLES, least, report, time};
use crate::memory::{LARGE, PAGE, READ_WRITE, committed, map, touch, unmap};

/// Pages of a leaf table.
const LEAF: u64 = 512;

pub fn run() {
    for (pages, key) in [(1, "snapshot_1"), (LEAF, "snapshot_512")] {
        let region = expect!(committed(pages), "bench: a region of {pages} pages");
        report(key, of_committed(region, pages));
        drop_handle(region);
    }
    // Only where there is memory for both; the runner's default for the benchmark is enough.
    if let Ok(region) = committed(LARGE) {
        if let Ok(other) = take(region) {
            drop_handle(other);
            report("snapshot_262144", of_committed(region, LARGE));
        }
        drop_handle(region);
    }
    report("cow_copy", least(|| faults().copy));
    report("cow_first_in_leaf", least(|| faults().first_in_leaf));
    report("cow_first_in_large_leaf", least(first_in_large_leaf));
    // Of the two ways to be the last owner, the dearer one.
    let of_leaf = least(last_owner_of_leaf);
    report("cow_last", of_leaf.max(least(|| faults().last)));
}

fn take(region: Handle) -> Result<Handle, rt::Error> {
    // SAFETY: nobody writes to the region meanwhile.
    unsafe { sys::region_snapshot(region, 0, 0, SnapshotFlags::empty()) }
}

fn drop_handle(handle: Handle) {
    expect!(rt::drop_handle(handle), "bench: drop");
}

/// A snapshot of a region that is mapped once and may be written.
fn of_committed(region: Handle, pages: u64) -> u64 {
    let address = map(region, READ_WRITE);
    let cost = (0..SAMPLES).map(|_| {
        for page in (0..pages).step_by(LEAF as usize) {
            touch(address + page * PAGE);
        }
        let (instructions, snapshot) = time(|| take(region));
        drop_handle(expect!(snapshot, "bench: a snapshot"));
        instructions
    });
    let cost = cost.min().unwrap_or(0);
    unmap(address);
    cost
}

struct Faults {
    first_in_leaf: u64,
    copy: u64,
    last: u64,
}

/// The faults after a snapshot of a leaf table in which every page is present.
fn faults() -> Faults {
    // SAFETY: the call touches no memory.
    let region = unsafe {
        sys::region_create(
            LEAF * PAGE,
            RegionFlags::empty(),
            CachePolicy::WriteBack,
            u64::MAX,
        )
    };
    let region = expect!(region, "bench: a region");
    let address = map(region, READ_WRITE);
    for page in 0..LEAF {
        touch(address + page * PAGE);
    }
    let snapshot = expect!(take(region), "bench: a snapshot");
    let there = map(snapshot, READ_WRITE);
    let write = |address| time(|| touch(address)).0;
    let first_in_leaf = write(address);
    let copy = write(address + PAGE);
    // The other side takes its copy of a third page; this one is its last owner then.
    touch(there + 2 * PAGE);
    let last = write(address + 2 * PAGE);
    for mapped in [address, there] {
        unmap(mapped);
    }
    drop_handle(snapshot);
    drop_handle(region);
    Faults {
        first_in_leaf,
        copy,
        last,
    }
}

/// The first write to a large leaf that a snapshot shares.
fn first_in_large_leaf() -> u64 {
    let region = expect!(committed(LEAF), "bench: a region");
    let address = map(region, READ_WRITE);
    let snapshot = expect!(take(region), "bench: a snapshot");
    let cost = time(|| touch(address)).0;
    unmap(address);
    drop_handle(snapshot);
    drop_handle(region);
    cost
}

/// A write after the only snapshot has gone without a write on either side.
fn last_owner_of_leaf() -> u64 {
    let region = expect!(committed(1), "bench: a region");
    let address = map(region, READ_WRITE);
    touch(address);
    drop_handle(expect!(take(region), "bench: a snapshot"));
    let cost = time(|| touch(address)).0;
    unmap(address);
    drop_handle(region);
    cost
}
