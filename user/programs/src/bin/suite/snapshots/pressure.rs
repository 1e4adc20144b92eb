//! Snapshots when memory runs out.

use rt::{Error, Handle, Mode, Rights, SnapshotFlags};

use super::{PAGE, snapshot};
use crate::Case;
use crate::calls::{
    READ_WRITE, cap_drop, map_all, peek, poke, region, region_commit, region_create,
    region_decommit, region_info, region_snapshot, unmap,
};
use crate::check::{eventually, faults_at, other_cpu};

const PAGES: u64 = 16;

/// All memory that is promised to nobody, but for less than what the smallest region takes.
struct Rest {
    held: [Handle; 64],
    count: usize,
}

impl Rest {
    fn take() -> Rest {
        let mut rest = Rest {
            held: [Handle::NONE; 64],
            count: 0,
        };
        let mut len = 1 << 34;
        while len >= PAGE {
            match region_create(len, rt::RegionFlags::empty(), u64::MAX) {
                Ok(handle) => {
                    check!(rest.count < rest.held.len(), "memory never ran out");
                    rest.held[rest.count] = handle;
                    rest.count += 1;
                }
                Err(Error::NoMemory) => len /= 2,
                Err(error) => check!(false, "a region of {len} bytes: {error}"),
            }
        }
        rest
    }

    fn give_back(self) {
        for handle in &self.held[..self.count] {
            done!(cap_drop(*handle), "dropping");
        }
    }
}

/// A region with a number in each page, and where it is mapped.
fn filled() -> (Handle, u64) {
    let handle = region(PAGES * PAGE);
    let start = map_all(handle, READ_WRITE);
    for page in 0..PAGES {
        poke(start + page * PAGE, page + 1);
    }
    (handle, start)
}

fn overcommitted(handle: Handle) -> Handle {
    let copy = region_snapshot(handle, 0, 0, SnapshotFlags::OVERCOMMIT);
    done!(copy, "an overcommitted snapshot")
}

fn is_lost(handle: Handle) -> bool {
    done!(region_info(handle), "region_info").lost != 0
}

pub fn overcommit(_: &Case) {
    let (handle, start) = filled();
    let copy = overcommitted(handle);
    let there = map_all(copy, READ_WRITE);
    same!(peek(there + 3 * PAGE), 4, "the snapshot");
    poke(there, 77);
    same!(peek(start), 1, "the source");
    // What the source gives back stays the snapshot's; it can still have as much again.
    done!(region_decommit(handle, 0, 4 * PAGE), "decommit");
    same!(peek(there + 3 * PAGE), 4, "the snapshot");
    check!(!is_lost(copy), "lost while there was memory");
    let rest = Rest::take();
    for page in 0..PAGES {
        poke(start + page * PAGE, 100 + page);
    }
    check!(is_lost(copy) && !is_lost(handle), "the wrong one is lost");
    for page in 0..PAGES {
        same!(peek(start + page * PAGE), 100 + page, "page {page}");
    }
    let lost = Error::NoMemory;
    let flags = SnapshotFlags::empty();
    refused!(region_snapshot(copy, 0, 0, flags), lost, "snapshot");
    refused!(region_commit(copy, 0, 0), lost, "commit");
    refused!(region_decommit(copy, 0, 0), lost, "decommit");
    refused!(crate::calls::region_pin(copy), lost, "pin");
    refused!(crate::calls::region_seal(copy), lost, "seal");
    let again = crate::calls::map(copy, 0, 0, 0, Rights::READ, rt::MapFlags::empty());
    refused!(again, lost, "map");
    done!(unmap(there), "unmapping what is lost");
    done!(cap_drop(copy), "dropping what is lost");
    rest.give_back();
}

pub fn lost_elsewhere(case: &Case) {
    let (handle, start) = filled();
    let copy = overcommitted(handle);
    let flags = region(PAGE);
    let flag = map_all(flags, READ_WRITE);
    let child = case
        .child("keep_writing_copy")
        .handle(copy, Mode::Move, READ_WRITE | Rights::MAP)
        .handle(flags, Mode::Share, READ_WRITE | Rights::MAP)
        .cpus(other_cpu());
    let child = done!(child.start(), "starting a child");
    eventually("the child to begin", || peek(flag) != 0);
    let rest = Rest::take();
    for page in 0..PAGES {
        poke(start + page * PAGE, 100 + page);
    }
    faults_at(&child, peek(flag));
    same!(peek(start), 100, "the source");
    rest.give_back();
}

pub fn reserved(_: &Case) {
    let (handle, start) = filled();
    let copy = snapshot(handle);
    let third = snapshot(copy);
    let starts = [start, map_all(copy, READ_WRITE), map_all(third, READ_WRITE)];
    let rest = Rest::take();
    let none = SnapshotFlags::empty();
    refused!(
        region_snapshot(handle, 0, 0, none),
        Error::NoMemory,
        "one more"
    );
    for page in 0..PAGES {
        for (side, start) in starts.iter().enumerate() {
            poke(start + page * PAGE, 10 * page + side as u64);
        }
    }
    done!(region_decommit(copy, 0, 0), "decommit");
    done!(region_commit(copy, 0, 0), "commit");
    for page in 0..PAGES {
        for (side, start) in starts.iter().enumerate() {
            let expected = if side == 1 {
                0
            } else {
                10 * page + side as u64
            };
            same!(peek(start + page * PAGE), expected, "page {page} of {side}");
        }
    }
    rest.give_back();
}

pub fn records(_: &Case) {
    // More than the heap of a kernel that has just begun holds, with what is promised to it. One that
    // has grown may hold all of them.
    const MOST: usize = 4000;
    let (handle, start) = filled();
    let rest = Rest::take();
    let mut copies = [Handle::NONE; MOST];
    let mut count = 0;
    while count < MOST {
        match region_snapshot(handle, 0, 0, SnapshotFlags::OVERCOMMIT) {
            Ok(copy) => copies[count] = copy,
            Err(error) => {
                same!(error, Error::NoMemory, "a snapshot without memory");
                break;
            }
        }
        count += 1;
    }
    same!(peek(start), 1, "the source");
    for copy in &copies[..count] {
        done!(cap_drop(*copy), "dropping");
    }
    rest.give_back();
}
