//! Regions and mappings.

mod elsewhere;
mod limits;
mod nodes;
mod pages;

use abi::limits::{LEAF_SIZE, MAX_REGION, PLACED_FROM, USER_END};
use rt::{Env, Error, Handle, MapFlags, Process, RegionFlags, Rights};

pub use elsewhere::{destroy_elsewhere, seal_elsewhere, worker, worker_faults};
pub use limits::{exhaustion, many_mappings};
pub use nodes::nodes;
pub use pages::{commit, decommit_elsewhere, guard, write_or_execute};

use crate::Case;
use crate::calls::{
    READ_WRITE, cap_drop, cap_info, cap_same, map, map_all, peek, poke, protect as protect_mapping,
    region, region_create, region_destroy, region_info, region_seal, unmap,
};
use crate::check::{WRITE, wait};

const PAGE: u64 = 4096;

fn create(len: u64) -> Result<Handle, Error> {
    region_create(len, RegionFlags::empty(), u64::MAX)
}

pub fn zeroed(_: &Case) {
    const PAGES: u64 = 1200;
    for round in 0..2u64 {
        let handle = region(PAGES * PAGE);
        let start = map_all(handle, READ_WRITE);
        for page in 0..PAGES {
            for at in [0, 8, 2048, 4088] {
                let address = start + page * PAGE + at;
                same!(peek(address), 0, "page {page} in round {round}");
                poke(address, u64::MAX);
            }
        }
        same!(
            done!(region_info(handle), "region_info").present_pages,
            PAGES,
            "pages that are present"
        );
        done!(unmap(start), "unmapping");
        done!(cap_drop(handle), "dropping");
    }
    let committed = done!(
        region_create(5 * PAGE, RegionFlags::COMMIT, 0),
        "committing"
    );
    let info = done!(region_info(committed), "region_info");
    same!(
        (info.present_pages, info.len),
        (5, 5 * PAGE),
        "committed pages"
    );
}

pub fn two_mappings(_: &Case) {
    let handle = region(3 * LEAF_SIZE);
    let first = map_all(handle, READ_WRITE);
    let second = map_all(handle, Rights::READ);
    check!(first != second, "two mappings at one address");
    for at in [0, PAGE, LEAF_SIZE, 3 * LEAF_SIZE - 8] {
        poke(first + at, at + 1);
        same!(peek(second + at), at + 1, "what the other mapping shows");
    }
    // A part shows the same as the whole.
    let part = done!(
        map(
            handle,
            0,
            LEAF_SIZE,
            LEAF_SIZE,
            READ_WRITE,
            MapFlags::empty()
        ),
        "mapping a part"
    );
    same!(peek(part), LEAF_SIZE + 1, "what the part shows");
    same!(
        done!(region_info(handle), "region_info").mappings,
        3,
        "mappings"
    );
    // A mapping keeps its region.
    done!(cap_drop(handle), "dropping");
    poke(part, 7);
    same!(peek(second + LEAF_SIZE), 7, "what is left after the drop");
}

pub fn lengths(_: &Case) {
    refused!(create(0), Error::Invalid, "no bytes");
    refused!(create(MAX_REGION + 1), Error::TooLarge, "too many bytes");
    refused!(create(u64::MAX), Error::TooLarge, "far too many bytes");
    refused!(create(MAX_REGION), Error::NoMemory, "more than there is");
    refused!(
        region_create(PAGE, RegionFlags::empty(), 63),
        Error::Invalid,
        "a node that is not there"
    );
    // A region has whole pages, whatever was asked for.
    let start = map_all(region(1), READ_WRITE);
    poke(start + PAGE - 8, 1);
}

pub fn placement(_: &Case) {
    let handle = region(2 * LEAF_SIZE);
    let fixed = MapFlags::FIXED;
    let none = MapFlags::empty();
    let place = 0x30_0000_0000;
    let at = |hint, offset, len, flags| map(handle, hint, offset, len, READ_WRITE, flags);
    same!(
        done!(at(place, 0, 0, fixed), "mapping at a place"),
        place,
        "the place"
    );
    refused!(at(place, 0, 0, fixed), Error::Overlap, "a taken place");
    refused!(
        at(place + LEAF_SIZE, 0, 0, fixed),
        Error::Overlap,
        "half a taken place"
    );
    let elsewhere = done!(at(place, 0, 0, none), "a wish that is taken");
    check!(
        elsewhere >= PLACED_FROM,
        "{elsewhere:#x} is for programs to choose"
    );
    for (hint, error) in [
        (place + PAGE, Error::Align),
        (0, Error::Range),
        (USER_END - LEAF_SIZE, Error::Range),
        (USER_END, Error::Range),
        (1 << 47, Error::Range),
        (u64::MAX << 21, Error::Range),
    ] {
        refused!(at(hint, 0, 0, fixed), error, "the place {hint:#x}");
    }
    refused!(at(0, PAGE, 0, none), Error::Align, "an offset within 2 MiB");
    refused!(
        at(0, 2 * LEAF_SIZE, 0, none),
        Error::Range,
        "an offset at the end"
    );
    refused!(
        at(0, 0, 3 * LEAF_SIZE, none),
        Error::Range,
        "more than there is"
    );
    refused!(at(0, 0, PAGE, none), Error::Align, "a page");
    refused!(
        at(0, LEAF_SIZE, u64::MAX, none),
        Error::Range,
        "a sum that overflows"
    );
    refused!(
        map(handle, 0, 0, 0, Rights::WRITE, none),
        Error::Invalid,
        "writing without reading"
    );
    refused!(
        map(handle, 0, 0, 0, Rights::empty(), none),
        Error::Invalid,
        "nothing"
    );
    refused!(
        map(handle, 0, 0, 0, Rights::READ | Rights::EXECUTE, none),
        Error::Denied,
        "executing data"
    );
    refused!(
        map(handle, 0, 0, 0, READ_WRITE | Rights::EXECUTE, none),
        Error::Invalid,
        "writing and executing"
    );
    refused!(
        map(handle, 0, 0, 0, Rights::READ | Rights::GRANT, none),
        Error::Invalid,
        "a right that is no access"
    );
    same!(
        done!(region_info(handle), "region_info").mappings,
        2,
        "mappings after all that"
    );
    refused!(
        unmap(place + LEAF_SIZE),
        Error::NotFound,
        "unmapping from the middle"
    );
    done!(unmap(place), "unmapping");
    refused!(unmap(place), Error::NotFound, "unmapping twice");
    same!(
        done!(at(place, 0, 0, fixed), "the place once more"),
        place,
        "the place"
    );
}

fn start_role(case: &Case, role: &str) -> Process {
    done!(case.child(role).start(), "starting a child")
}

pub fn protect(case: &Case) {
    let handle = region(PAGE);
    let start = map_all(handle, READ_WRITE);
    poke(start, 1);
    done!(protect_mapping(start, Rights::READ), "down");
    same!(peek(start), 1, "what is left");
    done!(protect_mapping(start, READ_WRITE), "up");
    poke(start, 2);
    refused!(
        protect_mapping(start, Rights::READ | Rights::EXECUTE),
        Error::Denied,
        "executing data"
    );
    refused!(
        protect_mapping(start, READ_WRITE | Rights::EXECUTE),
        Error::Invalid,
        "writing and executing"
    );
    refused!(
        protect_mapping(start + PAGE, Rights::READ),
        Error::NotFound,
        "the middle of a mapping"
    );
    let reader = done!(
        crate::calls::cap_derive(handle, Rights::READ | Rights::MAP),
        "deriving"
    );
    let other = map_all(reader, Rights::READ);
    refused!(
        protect_mapping(other, READ_WRITE),
        Error::Denied,
        "more than the capability"
    );
    let status = wait(&start_role(case, "protected_write"));
    same!(
        (status.vector, status.error_code & WRITE, status.status),
        (crate::check::PAGE_FAULT, WRITE, 0),
        "writing where it was taken away"
    );
}

pub fn seal(case: &Case) {
    let handle = region(PAGE);
    let start = map_all(handle, READ_WRITE);
    poke(start, 5);
    done!(region_seal(handle), "sealing");
    same!(peek(start), 5, "what is left");
    refused!(protect_mapping(start, READ_WRITE), Error::Sealed, "protect");
    refused!(
        map(handle, 0, 0, 0, READ_WRITE, MapFlags::empty()),
        Error::Sealed,
        "mapping for writing"
    );
    same!(
        peek(map_all(handle, Rights::READ)),
        5,
        "another mapping for reading"
    );
    same!(
        done!(region_info(handle), "region_info").sealed,
        1,
        "what the region says"
    );
    done!(region_seal(handle), "sealing twice");
    let status = wait(&start_role(case, "sealed_write"));
    same!(
        (status.vector, status.error_code & WRITE, status.status),
        (crate::check::PAGE_FAULT, WRITE, 0),
        "writing to what was sealed"
    );
}

pub fn destroy(_: &Case) {
    let handle = region(4 * LEAF_SIZE);
    let other = done!(
        crate::calls::cap_derive(handle, Rights::READ | Rights::MAP),
        "deriving"
    );
    let start = map_all(handle, READ_WRITE);
    poke(start, 1);
    done!(region_destroy(handle), "destroying");
    refused!(
        region_destroy(handle),
        Error::BadHandle,
        "destroying it twice"
    );
    let answer = map(other, 0, 0, 0, Rights::READ, MapFlags::empty());
    check!(
        matches!(answer, Err(Error::Revoked | Error::BadHandle)),
        "mapping what was destroyed: {answer:?}"
    );
    check!(cap_info(other).is_err(), "a handle of it still tells facts");
    check!(
        cap_same(other, handle).is_err(),
        "its handles still name something"
    );
    // The address is free again.
    let again = region(PAGE);
    same!(
        done!(
            map(again, start, 0, 0, READ_WRITE, MapFlags::FIXED),
            "mapping there"
        ),
        start,
        "the place"
    );
    same!(peek(start), 0, "what is there now");
}

/// The roles of children here. Handles: the region to work on, a page to report in.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "protected_write" => {
            let start = map_all(region(PAGE), READ_WRITE);
            poke(start, 1);
            done!(protect_mapping(start, Rights::READ), "down");
            poke(start, 2);
        }
        "sealed_write" => {
            let handle = region(PAGE);
            let start = map_all(handle, READ_WRITE);
            poke(start, 1);
            done!(region_seal(handle), "sealing");
            poke(start, 2);
        }
        "read_for_ever" => {
            let start = map_all(env.handle(0), Rights::READ);
            let flag = map_all(env.handle(1), READ_WRITE);
            for count in 1.. {
                let _ = peek(start);
                poke(flag + 8, count);
                poke(flag, start);
                crate::check::spin_a_while();
            }
        }
        "watch_word" => {
            let start = map_all(env.handle(0), Rights::READ);
            let flag = map_all(env.handle(1), READ_WRITE);
            for count in 1.. {
                poke(flag + 16, peek(start));
                poke(flag + 8, count);
                poke(flag, start);
                core::hint::spin_loop();
            }
        }
        "write_for_ever" => {
            let start = map_all(env.handle(0), READ_WRITE);
            let flag = map_all(env.handle(1), READ_WRITE);
            for count in 1.. {
                poke(start, count);
                poke(flag + 8, count);
                poke(flag, start);
                core::hint::spin_loop();
            }
        }
        _ => return None,
    }
    Some(0)
}
