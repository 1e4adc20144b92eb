//! Snapshots, and the faults of who writes first.

use alloc::vec::Vec;

use programs::expect;
use rt::{CachePolicy, Handle, RegionFlags, SnapshotFlags, sys};

use crate::measure::{figure, least, report, time, watched};
use crate::memory::{LARGE, PAGE, READ_WRITE, committed, map, touch, unmap};

/// Pages of a leaf table.
const LEAF: u64 = 512;

pub fn run() {
    for (pages, key) in [(1, "snapshot_1"), (LEAF, "snapshot_512")] {
        let region = expect!(committed(pages), "bench: a region of {pages} pages");
        of_committed(region, pages, key);
        drop_handle(region);
    }
    // Only where there is memory for both; the runner's default for the benchmark is enough.
    if let Ok(region) = committed(LARGE) {
        if let Ok(other) = take(region) {
            drop_handle(other);
            of_committed(region, LARGE, "snapshot_262144");
        }
        drop_handle(region);
    }
    figure("cow_copy", || write(Write::Copy));
    let mut kept = Vec::new();
    figure("cow_first_in_leaf", || {
        // One frame more each time, or the frames that the CPU keeps could run out in every sample here.
        kept.push(expect!(committed(1), "bench: a page"));
        write(Write::FirstInLeaf)
    });
    kept.into_iter().for_each(drop_handle);
    figure("cow_first_in_large_leaf", first_in_large_leaf);
    // Of the two ways to be the last owner, the dearer one.
    let last_of_page = || write(Write::Last);
    let (of_leaf, of_page) = (least(last_owner_of_leaf), least(last_of_page));
    report("cow_last", of_leaf.max(of_page));
    watched("cow_last", || match of_leaf > of_page {
        true => last_owner_of_leaf(),
        false => last_of_page(),
    });
}

fn take(region: Handle) -> Result<Handle, rt::Error> {
    // SAFETY: nobody writes to the region meanwhile.
    unsafe { sys::region_snapshot(region, 0, 0, SnapshotFlags::empty()) }
}

fn drop_handle(handle: Handle) {
    expect!(rt::drop_handle(handle), "bench: drop");
}

/// A snapshot of a region that is mapped once and may be written.
fn of_committed(region: Handle, pages: u64, key: &str) {
    let address = map(region, READ_WRITE);
    figure(key, || {
        for page in (0..pages).step_by(LEAF as usize) {
            touch(address + page * PAGE);
        }
        let (instructions, snapshot) = time(|| take(region));
        drop_handle(expect!(snapshot, "bench: a snapshot"));
        instructions
    });
    unmap(address);
}

/// A write after a snapshot, by what its fault has to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    FirstInLeaf,
    Copy,
    Last,
}

/// The fault of one of the writes after a snapshot of a leaf table in which every page is present.
fn write(measured: Write) -> u64 {
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
    let mut cost = 0;
    for (page, write) in [Write::FirstInLeaf, Write::Copy, Write::Last]
        .into_iter()
        .enumerate()
    {
        let page = page as u64 * PAGE;
        if write == Write::Last {
            // The other side takes its copy; this one is the last owner then.
            touch(there + page);
        }
        if write == measured {
            cost = time(|| touch(address + page)).0;
        } else {
            touch(address + page);
        }
    }
    for mapped in [address, there] {
        unmap(mapped);
    }
    drop_handle(snapshot);
    drop_handle(region);
    cost
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
