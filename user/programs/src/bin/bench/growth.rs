//! How the cost of an operation grows with the pages of a region, and with those who share it.
//!
//! Every page of the regions here is present and has an entry of its own in a leaf table, so that there
//! are as many leaf tables as a region can have. All sharers are capabilities derived from one, in this
//! process, each with a mapping of the region.

use programs::expect;
use rt::{CachePolicy, Handle, Mode, RegionFlags, Rights, SnapshotFlags, sys};

use crate::measure::{least, time};
use crate::memory::{LARGE, PAGE, READ_WRITE, map, touch, unmap};

/// Pages of a leaf table.
const LEAF: u64 = 512;
const PAGES: [u64; 6] = [1, 16, 256, LEAF, 4096, LARGE];
const SHARERS: [usize; 4] = [1, 2, 8, MOST];
const MOST: usize = 64;

pub fn run() {
    for pages in PAGES {
        // The largest only where there is memory for it and its snapshot; the runner's default for
        // the benchmark is enough.
        if let Ok(region) = create(pages) {
            fill(region, pages);
            with_pages(region, pages);
        }
    }
    let region = expect!(create(LEAF), "bench: a region");
    fill(region, LEAF);
    for sharers in SHARERS {
        with_sharers(region, sharers);
    }
    drop_handle(region);
}

/// A region without large pages: one that is filled by touching it.
fn create(pages: u64) -> Result<Handle, rt::Error> {
    let (len, flags) = (pages * PAGE, RegionFlags::empty());
    // SAFETY: the call touches no memory.
    unsafe { sys::region_create(len, flags, CachePolicy::WriteBack, u64::MAX) }
}

fn fill(region: Handle, pages: u64) {
    let address = map(region, READ_WRITE);
    for page in 0..pages {
        touch(address + page * PAGE);
    }
    unmap(address);
}

/// Takes the region along.
fn with_pages(region: Handle, pages: u64) {
    let growth = |operation, instructions| {
        rt::println!("#growth operation={operation} pages={pages} instructions={instructions}");
    };
    growth("map", least(|| mapping(region).0));
    growth("unmap", least(|| mapping(region).1));
    growth("protect", protection(region));
    let (near, far) = expect!(rt::ring(64, 2), "bench: a ring");
    let give = |region, mode| {
        time(|| {
            let token = rt::grant(region, near, mode, Rights::all());
            let token = expect!(token, "bench: grant");
            expect!(rt::accept(token, far), "bench: accept")
        })
    };
    let share = || {
        let (instructions, shared) = give(region, Mode::Share);
        drop_handle(shared);
        instructions
    };
    growth("share", least(share));
    let address = map(region, READ_WRITE);
    let copy = || {
        // The last snapshot has gone: whoever writes makes its leaf table writable again.
        for page in (0..pages).step_by(LEAF as usize) {
            touch(address + page * PAGE);
        }
        let (instructions, snapshot) = give(region, Mode::CopyOnWrite);
        drop_handle(snapshot);
        instructions
    };
    // A region without a snapshot may be too large for one beside it.
    if let Ok(snapshot) = take(region) {
        drop_handle(snapshot);
        growth("copy", least(copy));
    }
    unmap(address);
    growth("revoke", least(|| revocation(region)));
    let mut moved = region;
    let movement = || {
        touch(map(moved, READ_WRITE));
        let (instructions, there) = give(moved, Mode::Move);
        moved = there;
        instructions
    };
    growth("move", least(movement));
    for handle in [moved, near, far] {
        drop_handle(handle);
    }
}

/// What it takes to map a region and to unmap it.
fn mapping(region: Handle) -> (u64, u64) {
    let (mapped, address) = time(|| map(region, READ_WRITE));
    touch(address);
    (mapped, time(|| unmap(address)).0)
}

fn protection(region: Handle) -> u64 {
    let address = map(region, READ_WRITE);
    let protect = |access| {
        // SAFETY: nothing refers to what the benchmark maps.
        expect!(unsafe { sys::protect(address, access) }, "bench: protect");
    };
    let cost = least(|| {
        touch(address);
        let (instructions, ()) = time(|| protect(Rights::READ));
        protect(READ_WRITE);
        instructions
    });
    unmap(address);
    cost
}

/// Revoke of what was derived: one capability with one mapping.
fn revocation(region: Handle) -> u64 {
    let derived = derive(region);
    touch(map(derived, READ_WRITE));
    let (instructions, ()) = time(|| revoke(region));
    drop_handle(derived);
    instructions
}

/// What happens to a region while some share it.
#[derive(Default)]
struct Sharing {
    /// Mapping it for the last of them.
    map: u64,
    /// Taking a snapshot of it, which all of them must not write any more.
    snapshot: u64,
    /// The first write after that, which gives all of them a leaf table of their own.
    write: u64,
    /// Revoking all of them.
    revoke: u64,
    /// Frames taken for all of them, apart from those of the kernel's heap.
    tables: u64,
}

fn with_sharers(region: Handle, sharers: usize) {
    let of = |part: fn(&Sharing) -> u64| least(|| part(&share(region, sharers)));
    let (map, snapshot) = (of(|all| all.map), of(|all| all.snapshot));
    let (write, revoke) = (of(|all| all.write), of(|all| all.revoke));
    let tables = share(region, sharers).tables;
    rt::println!(
        "#sharing sharers={sharers} map={map} snapshot={snapshot} write={write} revoke={revoke} tables={tables}"
    );
}

fn share(region: Handle, sharers: usize) -> Sharing {
    let mut all = Sharing::default();
    let mut derived = [Handle::NONE; MOST];
    let mut addresses = [0; MOST];
    let before = frames_taken();
    for index in 0..sharers {
        derived[index] = derive(region);
        (all.map, addresses[index]) = time(|| map(derived[index], READ_WRITE));
        touch(addresses[index]);
    }
    all.tables = frames_taken().saturating_sub(before);
    let (instructions, snapshot) = time(|| take(region));
    all.snapshot = instructions;
    all.write = time(|| touch(addresses[0])).0;
    all.revoke = time(|| revoke(region)).0;
    drop_handle(expect!(snapshot, "bench: a snapshot"));
    for handle in &derived[..sharers] {
        drop_handle(*handle);
    }
    all
}

/// Frames that are not free and not the heap's: pages and page tables.
fn frames_taken() -> u64 {
    let info = expect!(rt::system_info(), "bench: counters");
    info.frames_total - info.frames_free - info.frames_heap
}

fn derive(region: Handle) -> Handle {
    // SAFETY: the call touches no memory.
    let derived = unsafe { sys::cap_derive(region, READ_WRITE | Rights::MAP) };
    expect!(derived, "bench: derive")
}

fn revoke(region: Handle) {
    // SAFETY: nothing refers to what the benchmark maps.
    let revoked = unsafe { sys::cap_revoke(region, rt::RevokeFlags::empty()) };
    expect!(revoked, "bench: revoke");
}

fn take(region: Handle) -> Result<Handle, rt::Error> {
    // SAFETY: nobody writes to the region meanwhile.
    unsafe { sys::region_snapshot(region, 0, 0, SnapshotFlags::empty()) }
}

fn drop_handle(handle: Handle) {
    expect!(rt::drop_handle(handle), "bench: drop");
}
