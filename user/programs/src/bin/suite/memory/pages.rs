//! Pages ahead of time, pages given back, guards, and W^X.

use abi::limits::LEAF_SIZE;
use rt::{Error, Handle, MapFlags, RegionFlags, Rights};

use super::{PAGE, worker};
use crate::Case;
use crate::calls::{
    READ_WRITE, cap_drop, map, map_all, peek, poke, protect, region, region_commit, region_create,
    region_decommit, region_info, region_seal, region_snapshot, unmap,
};
use crate::check::eventually;

const READ_EXECUTE: Rights = Rights::READ.union(Rights::EXECUTE);

fn present(handle: Handle) -> u64 {
    done!(region_info(handle), "region_info").present_pages
}

fn faults() -> u64 {
    done!(rt::system_info(), "system_info").faults
}

pub fn commit(_: &Case) {
    let handle = region(600 * PAGE);
    let start = map_all(handle, READ_WRITE);
    poke(start + PAGE, 7);
    for _ in 0..2 {
        done!(region_commit(handle, 0, 520 * PAGE), "commit");
        same!(present(handle), 520, "present pages");
    }
    // What is there takes no fault.
    let before = faults();
    for page in 0..520 {
        poke(start + page * PAGE + 8, page);
    }
    same!(faults(), before, "faults on what was filled ahead");
    same!(peek(start + PAGE), 7, "what was written before");
    let copy = region_snapshot(handle, 0, 0, rt::SnapshotFlags::empty());
    let copy = done!(copy, "a snapshot");
    let there = map_all(copy, Rights::READ);
    done!(region_decommit(handle, 0, 515 * PAGE), "decommit");
    same!((present(handle), present(copy)), (5, 520), "present pages");
    for page in [0, 1, 511, 512, 514] {
        let at = page * PAGE;
        same!(peek(start + at + 8), 0, "page {page} after decommit");
        same!(peek(there + at + 8), page, "page {page} of the snapshot");
        poke(start + at + 8, 1000 + page);
        same!(peek(there + at + 8), page, "page {page} of the snapshot");
    }
    same!(peek(start + 515 * PAGE + 8), 515, "what was kept");
    done!(region_seal(handle), "sealing");
    refused!(region_decommit(handle, 0, 0), Error::Sealed, "decommit");
    done!(region_commit(handle, 0, 0), "commit of what is sealed");
}

pub fn decommit_elsewhere(case: &Case) {
    let shared = region(2 * PAGE);
    let mine = map_all(shared, READ_WRITE);
    let (process, flag) = worker(case, "watch_word", shared, Rights::READ);
    for round in 1..40 {
        poke(mine, round);
        eventually("the watcher to see it", || peek(flag + 16) == round);
        done!(region_decommit(shared, 0, PAGE), "decommit");
        // It may have looked before, but whatever it counts from now on is another look.
        let count = peek(flag + 8);
        eventually("the watcher to look again", || peek(flag + 8) > count + 1);
        same!(peek(flag + 16), 0, "what the watcher sees in round {round}");
        same!(peek(mine), 0, "what is here in round {round}");
    }
    done!(process.kill(), "killing");
    let _ = crate::check::wait(&process);
}

pub fn guard(_: &Case) {
    let handle = region(PAGE);
    let place = 0x38_0000_0000;
    let at = |hint, flags| map(handle, hint, 0, 0, READ_WRITE, flags);
    let guarded = MapFlags::FIXED | MapFlags::GUARD;
    done!(at(place, guarded), "mapping with a guard");
    for near in [place - LEAF_SIZE, place + LEAF_SIZE] {
        refused!(at(near, MapFlags::FIXED), Error::Overlap, "a guard");
        refused!(at(near, guarded), Error::Overlap, "a guard beside it");
    }
    let next = place + 2 * LEAF_SIZE;
    refused!(at(next, guarded), Error::Overlap, "a guard on a mapping");
    done!(at(next, MapFlags::FIXED), "behind the guard");
    for _ in 0..16 {
        let found = done!(at(place, MapFlags::GUARD), "a place with a guard");
        check!(
            found.abs_diff(place) > LEAF_SIZE && found.abs_diff(next) > LEAF_SIZE,
            "no guard at {found:#x}"
        );
    }
    done!(unmap(place), "unmapping");
    done!(at(next - LEAF_SIZE, MapFlags::FIXED), "where the guard was");
}

pub fn write_or_execute(_: &Case) {
    let handle = done!(
        region_create(PAGE, RegionFlags::EXECUTE, u64::MAX),
        "a region for code"
    );
    let all = |access| map(handle, 0, 0, 0, access, MapFlags::empty());
    let start = done!(all(READ_WRITE), "mapping for writing");
    poke(start, returning(42));
    refused!(all(READ_EXECUTE), Error::Busy, "executing what is writable");
    let other = done!(all(Rights::READ), "mapping for reading");
    refused!(protect(other, READ_EXECUTE), Error::Busy, "protect");
    done!(protect(start, READ_EXECUTE), "from writing to executing");
    refused!(protect(other, READ_WRITE), Error::Busy, "writing to code");
    refused!(all(READ_WRITE), Error::Busy, "mapping code for writing");
    same!(call(start), 42, "what the code returns");
    // A copy is memory of its own.
    let copy = region_snapshot(handle, 0, 0, rt::SnapshotFlags::empty());
    let copy = done!(copy, "a snapshot");
    let there = map_all(copy, READ_WRITE);
    poke(there, returning(43));
    done!(protect(there, READ_EXECUTE), "executing the copy");
    same!((call(start), call(there)), (42, 43), "what both return");
    let jit = RegionFlags::EXECUTE | RegionFlags::JIT;
    let jit = done!(region_create(PAGE, jit, u64::MAX), "a region for a JIT");
    let writes = map_all(jit, READ_WRITE);
    let runs = map_all(jit, READ_EXECUTE);
    for value in 0..20 {
        poke(writes, returning(value));
        same!(call(runs), value, "what the JIT's code returns");
    }
    refused!(
        region_create(PAGE, RegionFlags::JIT, u64::MAX),
        Error::Invalid,
        "JIT without EXECUTE"
    );
    done!(cap_drop(jit), "dropping");
}

/// `mov eax, value; ret`.
fn returning(value: u64) -> u64 {
    0xb8 | value << 8 | 0xc3 << 40
}

/// Calls a function that takes nothing and returns a number.
fn call(address: u64) -> u64 {
    let pointer = core::ptr::without_provenance::<()>(address as usize);
    // SAFETY: the case has written a function of this form there, and made it executable.
    let function: extern "C" fn() -> u64 = unsafe { core::mem::transmute(pointer) };
    function()
}
