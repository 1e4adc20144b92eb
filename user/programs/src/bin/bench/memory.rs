//! Regions, mappings, faults and Move.

use programs::expect;
use rt::{CachePolicy, Error, Handle, MapFlags, Mode, RegionFlags, Rights, sys};

use crate::measure::{figure, time};

pub const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);
pub const PAGE: u64 = 4096;

/// Pages of the large mapping: 1 GiB.
pub const LARGE: u64 = 262_144;

pub fn run() {
    for (pages, map, unmap, protect, moved) in [
        (1, "map_1", "unmap_1", "protect_1", "move_1"),
        (512, "map_512", "unmap_512", "protect_512", "move_512"),
    ] {
        let region = expect!(committed(pages), "bench: a region of {pages} pages");
        mapping(region, map, unmap);
        protection(region, protect);
        give(region, moved);
    }
    // Only where there is memory for it; the runner's default for the benchmark is enough.
    if let Ok(region) = committed(LARGE) {
        mapping(region, "map_262144", "unmap_262144");
        give(region, "move_262144");
    }
    fault_zero();
    figure("life_1", || life(1));
    figure("life_256", || life(256));
}

pub fn committed(pages: u64) -> Result<Handle, Error> {
    // SAFETY: the call touches no memory.
    unsafe {
        sys::region_create(
            pages * PAGE,
            RegionFlags::COMMIT,
            CachePolicy::WriteBack,
            u64::MAX,
        )
    }
}

pub fn map(region: Handle, access: Rights) -> u64 {
    // SAFETY: a new mapping where nothing is mapped touches nobody's memory.
    let mapped = unsafe { sys::map(region, 0, 0, 0, access, MapFlags::empty()) };
    expect!(mapped, "bench: map")
}

pub fn unmap(address: u64) {
    // SAFETY: nothing refers to what the benchmark maps.
    expect!(unsafe { sys::unmap(address) }, "bench: unmap");
}

/// Touches a page.
pub fn touch(address: u64) {
    // SAFETY: the address is mapped for writing and belongs to the benchmark.
    unsafe { (address as *mut u8).write_volatile(1) };
}

fn mapping(region: Handle, map_key: &str, unmap_key: &str) {
    figure(map_key, || {
        let (instructions, address) = time(|| map(region, READ_WRITE));
        unmap(address);
        instructions
    });
    figure(unmap_key, || {
        let address = map(region, READ_WRITE);
        touch(address);
        time(|| unmap(address)).0
    });
}

fn protection(region: Handle, key: &str) {
    let address = map(region, READ_WRITE);
    let protect = |access| {
        // SAFETY: nothing refers to what the benchmark maps.
        expect!(unsafe { sys::protect(address, access) }, "bench: protect");
    };
    figure(key, || {
        touch(address);
        let (instructions, ()) = time(|| protect(Rights::READ));
        protect(READ_WRITE);
        instructions
    });
    unmap(address);
}

/// Move of a region that the sender has mapped: grant and accept. Both ends of the ring that it
/// goes over are this process's, so that one counter sees both sides.
fn give(region: Handle, key: &str) {
    let (near, far) = expect!(rt::ring(64, 2), "bench: a ring");
    let mut region = region;
    figure(key, || {
        touch(map(region, READ_WRITE));
        let (instructions, moved) = time(|| {
            let token = expect!(
                rt::grant(region, near, Mode::Move, Rights::all()),
                "bench: Move"
            );
            expect!(rt::accept(token, far), "bench: accept")
        });
        region = moved;
        instructions
    });
    for handle in [region, near, far] {
        expect!(rt::drop_handle(handle), "bench: drop");
    }
}

/// The fault of one page that nobody has touched, zeroing included.
fn fault_zero() {
    // SAFETY: the call touches no memory.
    let region = unsafe {
        sys::region_create(
            64 * PAGE,
            RegionFlags::empty(),
            CachePolicy::WriteBack,
            u64::MAX,
        )
    };
    let region = expect!(region, "bench: a region");
    let address = map(region, READ_WRITE);
    let mut page = address;
    figure("fault_zero", || {
        let (instructions, ()) = time(|| touch(page));
        page += PAGE;
        instructions
    });
    unmap(address);
    expect!(rt::drop_handle(region), "bench: drop");
}

/// Create, commit, map, touch each page, unmap, destroy.
fn life(pages: u64) -> u64 {
    let (instructions, ()) = time(|| {
        let region = expect!(committed(pages), "bench: a region of {pages} pages");
        let address = map(region, READ_WRITE);
        for page in 0..pages {
            touch(address + page * PAGE);
        }
        unmap(address);
        // SAFETY: nothing refers to it.
        expect!(unsafe { sys::region_destroy(region) }, "bench: destroy");
    });
    instructions
}
