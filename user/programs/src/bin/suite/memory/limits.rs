//! Memory to its last frame, and more mappings than anybody needs.

use abi::limits::LEAF_SIZE;
use rt::{Error, Handle, MapFlags};

use super::{PAGE, create};
use crate::Case;
use crate::calls::{
    READ_WRITE, cap_drop, map, peek, poke, region, region_destroy, region_info, unmap,
};

/// What the smallest region takes: a page and a leaf table.
const SMALLEST: u64 = 2;

pub fn exhaustion(_: &Case) {
    let before = done!(rt::system_info(), "system_info");
    let mut held = [Handle::NONE; 64];
    let mut count = 0;
    let mut len = 1 << 34;
    while len >= PAGE && count < held.len() {
        match create(len) {
            Ok(handle) => {
                held[count] = handle;
                count += 1;
            }
            Err(Error::NoMemory) => len /= 2,
            Err(error) => check!(false, "a region of {len} bytes: {error}"),
        }
    }
    check!(count > 0 && len < PAGE, "memory never ran out");
    let full = done!(rt::system_info(), "system_info");
    check!(
        full.frames_free - full.frames_reserved < SMALLEST,
        "memory ran out too early: {} frames were left",
        full.frames_free - full.frames_reserved
    );
    // What was promised can be had: every page of the smallest region.
    let last = held[count - 1];
    let info = done!(region_info(last), "region_info");
    // Mapping may need tables for which nothing is left; then it is refused and nothing breaks.
    match map(last, 0, 0, 0, READ_WRITE, MapFlags::empty()) {
        Ok(start) => {
            for page in 0..info.len / PAGE {
                poke(start + page * PAGE, 1);
            }
            done!(unmap(start), "unmapping");
        }
        Err(error) => same!(error, Error::NoMemory, "mapping without memory"),
    }
    refused!(
        rt::ring(4096, 1024),
        Error::NoMemory,
        "a ring without memory"
    );
    for handle in &held[..count] {
        done!(cap_drop(*handle), "dropping");
    }
    let after = done!(rt::system_info(), "system_info");
    let left = |info: &rt::SystemInfo| info.frames_free + info.frames_heap - info.frames_reserved;
    check!(
        left(&after) + 4 >= left(&before),
        "memory did not come back: {} frames, {} before",
        left(&after),
        left(&before)
    );
}

pub fn many_mappings(_: &Case) {
    const COUNT: u64 = 1000;
    let handle = region(PAGE);
    let base = 0x50_0000_0000;
    for index in 0..COUNT {
        let place = base + index * LEAF_SIZE;
        done!(
            map(handle, place, 0, 0, READ_WRITE, MapFlags::FIXED),
            "mapping {index}"
        );
        same!(peek(place), index, "what mapping {index} shows");
        poke(place, index + 1);
    }
    same!(
        done!(region_info(handle), "region_info").mappings,
        COUNT,
        "mappings"
    );
    for index in (0..COUNT).step_by(2) {
        done!(unmap(base + index * LEAF_SIZE), "unmapping {index}");
    }
    same!(peek(base + LEAF_SIZE), COUNT, "what the others show");
    same!(
        done!(region_info(handle), "region_info").mappings,
        COUNT / 2,
        "mappings"
    );
    done!(region_destroy(handle), "destroying");
}
