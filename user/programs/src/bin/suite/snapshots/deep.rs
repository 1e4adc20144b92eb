//! A long chain of snapshots.

use alloc::vec::Vec;

use abi::limits::LEAF_SIZE;
use rt::{Handle, Rights, SnapshotFlags};

use super::PAGE;
use crate::Case;
use crate::calls::{
    READ_WRITE, cap_drop, map_all, peek, poke, region, region_destroy, region_snapshot, unmap,
};

const DEPTH: u64 = 1000;
const PAGES: u64 = 3;

const _: () = assert!(PAGES * PAGE <= LEAF_SIZE);

/// What is read at a page of the link that `last` wrote to, the links before it included.
fn expected(last: u64, page: u64) -> u64 {
    match last.checked_sub(page) {
        Some(rest) => page + rest / PAGES * PAGES + 1,
        None => 0,
    }
}

pub fn deep(_: &Case) {
    let mut chain: Vec<Handle> = Vec::with_capacity(DEPTH as usize);
    let before = done!(rt::system_info(), "system_info");
    let mut handle = region(PAGES * PAGE);
    for depth in 0..DEPTH {
        let start = map_all(handle, READ_WRITE);
        poke(start + depth % PAGES * PAGE, depth + 1);
        done!(unmap(start), "unmapping");
        chain.push(handle);
        let next = region_snapshot(handle, 0, 0, SnapshotFlags::OVERCOMMIT);
        handle = done!(next, "snapshot {depth}");
    }
    done!(cap_drop(handle), "dropping");
    let mut random = fastrand::Rng::with_seed(DEPTH);
    for turn in 0..DEPTH / 5 {
        let depth = random.u64(..DEPTH);
        let start = map_all(chain[depth as usize], Rights::READ);
        for page in 0..PAGES {
            let word = peek(start + page * PAGE);
            same!(
                word,
                expected(depth, page),
                "page {page} of link {depth} in turn {turn}"
            );
        }
        done!(unmap(start), "unmapping");
    }
    random.shuffle(&mut chain);
    for (turn, handle) in chain.into_iter().enumerate() {
        match turn % 2 {
            0 => done!(cap_drop(handle), "dropping"),
            _ => done!(region_destroy(handle), "destroying"),
        }
    }
    let after = done!(rt::system_info(), "system_info");
    same!(after.objects, before.objects, "objects");
    same!(after.frames_reserved, before.frames_reserved, "promises");
}
