//! Snapshots: what each side sees, how they are handed over, and what is refused.

mod deep;
mod pressure;
mod refusals;

use abi::limits::LEAF_SIZE;
use rt::{Env, Error, GrantFlags, Handle, MapFlags, Mode, Rights, SnapshotFlags};

pub use deep::deep;
pub use pressure::{lost_elsewhere, overcommit, records, reserved};
pub use refusals::{bad_arguments, pins, revoke_others};

use crate::Case;
use crate::calls::{
    READ_WRITE, cap_drop, cap_info, grant, map, map_all, peek, poke, region, region_destroy,
    region_info, region_seal, region_snapshot, small_ring, unmap,
};
use crate::check::{eventually, other_cpu, succeeds};
use crate::memory::worker;

const PAGE: u64 = 4096;

/// A snapshot of all of a region, promised its worst case.
fn snapshot(handle: Handle) -> Handle {
    let copy = region_snapshot(handle, 0, 0, SnapshotFlags::empty());
    done!(copy, "a snapshot")
}

pub fn instant(_: &Case) {
    // Page 0 is written before, page 1 only read, page 2 not touched.
    for source_first in [false, true] {
        let handle = region(3 * PAGE);
        let start = map_all(handle, READ_WRITE);
        poke(start, 7);
        same!(peek(start + PAGE), 0, "a page that is only read");
        let copy = snapshot(handle);
        let there = map_all(copy, READ_WRITE);
        let twice = map_all(copy, Rights::READ);
        let shared = |handle| done!(region_info(handle), "region_info").shared_leaves;
        same!((shared(handle), shared(copy)), (1, 1), "shared leaf tables");
        for page in 0..3 {
            let before = if page == 0 { 7 } else { 0 };
            let at = page * PAGE;
            let (first, second) = match source_first {
                true => (start + at, there + at),
                false => (there + at, start + at),
            };
            same!(peek(twice + at), before, "page {page} of the snapshot");
            poke(first, 100 + page);
            same!(peek(second), before, "page {page} of the other side");
            poke(second, 200 + page);
            same!(peek(first), 100 + page, "page {page} of the first side");
            same!(peek(twice + at), peek(there + at), "the other mapping");
        }
        same!((shared(handle), shared(copy)), (0, 0), "shared leaf tables");
        done!(cap_drop(handle), "dropping");
    }
}

pub fn chain(_: &Case) {
    let handle = region(LEAF_SIZE + 2 * PAGE);
    let mut chain = [handle; 6];
    for depth in 1..chain.len() {
        let last = map_all(chain[depth - 1], READ_WRITE);
        poke(last, depth as u64);
        poke(last + LEAF_SIZE, 10 * depth as u64);
        chain[depth] = snapshot(chain[depth - 1]);
        if depth > 1 {
            done!(unmap(last), "unmapping");
        }
    }
    let part = region_snapshot(chain[3], LEAF_SIZE, 0, SnapshotFlags::empty());
    let part = done!(part, "a snapshot of a part");
    same!(
        done!(region_info(part), "region_info").len,
        2 * PAGE,
        "the length of the part"
    );
    // From the middle on, so that each is left by both of its neighbours.
    for gone in [2, 0, 4] {
        done!(region_destroy(chain[gone]), "destroying");
    }
    for (depth, handle) in [(1, chain[1]), (3, chain[3]), (5, chain[5])] {
        let word = 5.min(depth as u64 + 1);
        let at = map_all(handle, READ_WRITE);
        same!(peek(at), word, "snapshot {depth}");
        same!(peek(at + LEAF_SIZE), 10 * word, "snapshot {depth}");
        poke(at, 0);
        poke(at + LEAF_SIZE, 0);
    }
    same!(peek(map_all(part, Rights::READ)), 40, "the part");
}

pub fn sealed(_: &Case) {
    let handle = region(2 * PAGE);
    let start = map_all(handle, READ_WRITE);
    poke(start, 5);
    done!(region_seal(handle), "sealing");
    let copy = snapshot(handle);
    let there = map_all(copy, READ_WRITE);
    poke(there, 6);
    poke(there + PAGE, 6);
    same!((peek(start), peek(start + PAGE)), (5, 0), "what is sealed");
    same!(
        done!(region_info(copy), "region_info").sealed,
        0,
        "whether the snapshot is sealed"
    );
}

pub fn restore(_: &Case) {
    const PAGES: u64 = 40;
    let place = 0x60_0000_0000;
    let put = |handle| {
        let there = map(handle, place, 0, 0, READ_WRITE, MapFlags::FIXED);
        done!(there, "mapping at a place");
    };
    // A list through all pages, which knows its own addresses.
    let handle = region(PAGES * PAGE);
    put(handle);
    for page in 0..PAGES {
        poke(place + page * PAGE, place + (page + 1) % PAGES * PAGE);
        poke(place + page * PAGE + 8, page * page);
    }
    let saved = snapshot(handle);
    for page in (0..PAGES).step_by(3) {
        poke(place + page * PAGE, 0);
        poke(place + page * PAGE + 8, 0);
    }
    for round in 0..3 {
        done!(unmap(place), "unmapping");
        // What is gone back to is itself a snapshot, so that it can be gone back to again.
        let again = snapshot(saved);
        put(again);
        done!(cap_drop(again), "dropping");
        let mut at = place;
        for page in 0..PAGES {
            same!(peek(at + 8), page * page, "page {page} in round {round}");
            let next = peek(at);
            poke(at + 8, 0);
            at = next;
        }
        same!(at, place, "the end of the list");
    }
}

pub fn writer_elsewhere(case: &Case) {
    let handle = region(ORDERED_LEN);
    let (writer, flag) = worker(case, "write_in_order", handle, READ_WRITE);
    let mine = map_all(handle, READ_WRITE);
    for round in 0..30 {
        let copy = snapshot(handle);
        // Its own write comes between, too.
        poke(mine + 2 * PAGE, round);
        let there = map_all(copy, READ_WRITE);
        let mut words = ORDERED.map(|page| peek(there + page * PAGE));
        // A snapshot stands still, and another of it says the same.
        let again = map_all(snapshot(copy), Rights::READ);
        same!(
            ORDERED.map(|page| peek(again + page * PAGE)),
            words,
            "the words of the snapshot's snapshot"
        );
        for pair in words.windows(2) {
            check!(pair[0] >= pair[1], "not an instant: {words:?}");
        }
        check!(
            words[0] <= words[words.len() - 1] + 1,
            "not an instant: {words:?}"
        );
        words.reverse();
        for page in ORDERED {
            poke(there + page * PAGE, 1 << 40);
        }
        for start in [there, again] {
            done!(unmap(start), "unmapping");
        }
        done!(cap_drop(copy), "dropping");
        let count = peek(flag + 8);
        eventually("the writer to go on", || peek(flag + 8) > count + 1);
        check!(
            ORDERED
                .iter()
                .all(|page| peek(mine + page * PAGE) < 1 << 40),
            "the source has what was written to its snapshot"
        );
        same!(peek(mine + 2 * PAGE), round, "what this side wrote");
    }
    done!(writer.kill(), "killing");
    let _ = crate::check::wait(&writer);
}

/// Pages that one process writes in this order, over and over, each time a number higher by one.
const ORDERED: [u64; 6] = [0, 1, 513, 3, 514, 5];
const ORDERED_LEN: u64 = 515 * PAGE;

pub fn by_grant(case: &Case) {
    let (via, theirs) = small_ring();
    let board = region(PAGE);
    let page = map_all(board, READ_WRITE);
    let child = case
        .child("take_copy")
        .handle(theirs, Mode::Move, Rights::all())
        .handle(board, Mode::Share, READ_WRITE | Rights::MAP)
        .cpus(other_cpu());
    let child = done!(child.start(), "starting a child");
    let handle = region(2 * PAGE);
    let start = map_all(handle, READ_WRITE);
    poke(start, 1);
    let token = grant(
        handle,
        via,
        Mode::CopyOnWrite,
        READ_WRITE | Rights::MAP,
        GrantFlags::empty(),
    );
    let token = done!(token, "CopyOnWrite");
    poke(start, 2);
    poke(start + PAGE, 3);
    poke(page, token.bits());
    eventually("the receiver's word", || peek(page + 8) != 0);
    same!(peek(page + 8), 1, "what the receiver read");
    same!(peek(start), 2, "what the sender reads");
    same!(
        done!(cap_info(handle), "cap_info").descendants,
        0,
        "what was derived"
    );
    // The receiver's copy outlives the source.
    done!(region_destroy(handle), "destroying");
    poke(page + 16, 1);
    succeeds(&child);
}

pub fn by_spawn(case: &Case) {
    let board = region(PAGE);
    let page = map_all(board, READ_WRITE);
    let handle = region(2 * PAGE);
    let start = map_all(handle, READ_WRITE);
    poke(start, 1);
    let child = case
        .child("work_on_copy")
        .handle(handle, Mode::CopyOnWrite, READ_WRITE | Rights::MAP)
        .handle(board, Mode::Share, READ_WRITE | Rights::MAP)
        .cpus(other_cpu());
    let child = done!(child.start(), "starting a child");
    poke(start, 2);
    poke(start + PAGE, 3);
    poke(page + 16, 1);
    succeeds(&child);
    same!(peek(page + 8), 1, "what the child read");
    same!((peek(start), peek(start + PAGE)), (2, 3), "the source");
    // A spawn that is refused leaves no snapshot behind.
    let refused = case
        .child("work_on_copy")
        .handle(handle, Mode::CopyOnWrite, Rights::all())
        .handle(Handle::NONE, Mode::Share, Rights::READ);
    refused!(
        refused.start(),
        Error::BadHandle,
        "a spawn without a handle"
    );
    same!(
        done!(region_info(handle), "region_info").shared_leaves,
        0,
        "shared leaf tables"
    );
}

/// What a receiver does with its copy, whose first page is 1 and whose second nobody has touched.
fn work_on(handle: Handle, page: u64) {
    let start = map_all(handle, READ_WRITE);
    let first = peek(start);
    same!(peek(start + PAGE), 0, "a page that was not touched before");
    poke(start, 50);
    poke(page + 8, first);
    eventually("the sender", || peek(page + 16) != 0);
    same!((peek(start), peek(start + PAGE)), (50, 0), "the copy");
    poke(start + PAGE, 60);
    same!(peek(start + PAGE), 60, "the copy");
}

/// The roles of children here. Handles: what to work on or a ring end, a page to talk in.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "write_in_order" => {
            let start = map_all(env.handle(0), READ_WRITE);
            let flag = map_all(env.handle(1), READ_WRITE);
            for count in 1.. {
                for page in ORDERED {
                    poke(start + page * PAGE, count);
                }
                poke(flag + 8, count);
                poke(flag, start);
                core::hint::spin_loop();
            }
        }
        "take_copy" => {
            let page = map_all(env.handle(1), READ_WRITE);
            eventually("a token", || peek(page) != 0);
            let token = rt::Token::from_bits(peek(page));
            let handle = done!(rt::accept(token, env.handle(0)), "accepting");
            work_on(handle, page);
        }
        "work_on_copy" => work_on(env.handle(0), map_all(env.handle(1), READ_WRITE)),
        "keep_writing_copy" => {
            let start = map_all(env.handle(0), READ_WRITE);
            let flag = map_all(env.handle(1), READ_WRITE);
            poke(start, 1);
            for count in 1.. {
                let _ = peek(start + PAGE);
                poke(flag + 8, count);
                poke(flag, start + PAGE);
                core::hint::spin_loop();
            }
        }
        _ => return None,
    }
    Some(0)
}
