//! Quotas: how a process goes on that has used up its own, and what comes back at any end.

use rt::{Env, Error, Handle, MapFlags, Mode, Process, Resources, Rights, Spawn, Token};

use crate::Case;
use crate::calls::{
    READ_WRITE, cancel, cap_derive, cap_drop, cap_info, cap_revoke, map, map_all, peek, poke,
    region, region_create, region_destroy, region_seal, ring_map, small_ring, unmap, yield_now,
};
use crate::check::{eventually, other_cpu, succeeds, wait};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
/// What a process of the suite takes to begin, in pages and tables, is less.
const FRAMES: u64 = 1024;

fn start(spawn: Spawn<'_>) -> Process {
    done!(spawn.start(), "starting a child")
}

fn try_region(len: u64) -> Result<Handle, Error> {
    region_create(len, rt::RegionFlags::empty(), u64::MAX)
}

/// What all accounts are charged with. The heap of this process, which its first child makes it
/// grow, is part of it.
fn charged() -> Resources {
    done!(rt::system_info(), "system_info").charged
}

pub fn tiny_regions(case: &Case) {
    succeeds(&start(case.child("nothing")));
    let before = charged();
    let child = start(case.child("tiny").quota(Resources::bytes(MIB)));
    succeeds(&child);
    let info = done!(child.info(), "process_info");
    same!(info.quota, Resources::bytes(MIB), "its quota");
    // Its record is there until nobody has a handle of it.
    same!(
        (
            info.used.frames,
            info.used.tables,
            info.used.bytes / abi::cost::PROCESS
        ),
        (0, 0, 1),
        "what is charged to one that has ended"
    );
    drop(child);
    eventually("the record of the child to be gone", || charged() == before);
}

pub fn refusals(case: &Case) {
    succeeds(&start(case.child("nothing")));
    let before = charged();
    succeeds(&start(
        case.child("refused").quota(Resources::frames(FRAMES)),
    ));
    let mapper = case.child("mapper").quota(Resources::tables(64));
    succeeds(&start(mapper));
    // Its image alone is more.
    for quota in [
        Resources::frames(1),
        Resources::tables(2),
        Resources::bytes(PAGE),
    ] {
        let moved = region(PAGE);
        let small = case
            .child("nothing")
            .handle(moved, Mode::Move, READ_WRITE)
            .quota(quota);
        refused!(small.start(), Error::Quota, "a quota for nothing");
        done!(cap_drop(moved), "what was to be moved");
    }
    eventually("everything to be returned", || charged() == before);
}

pub fn families(case: &Case) {
    let image = case.image;
    let spawn = case
        .child("family")
        .handle(image, Mode::Share, Rights::EXECUTE | Rights::GRANT)
        .quota(Resources::frames(3 * FRAMES));
    succeeds(&start(spawn));
}

pub fn moves(case: &Case) {
    let board = region(PAGE);
    let page = map_all(board, READ_WRITE);
    let (via, theirs) = small_ring();
    let (huge, large) = (region(2 * FRAMES * PAGE), region(300 * PAGE));
    let spawn = || {
        case.child("receiver")
            .handle(board, Mode::Share, READ_WRITE | Rights::MAP)
            .quota(Resources::frames(2 * FRAMES))
    };
    refused!(
        spawn().handle(huge, Mode::Move, Rights::all()).start(),
        Error::Quota,
        "a Move beyond the quota"
    );
    done!(cap_info(huge), "what was to be moved");
    let child = start(
        spawn()
            .handle(theirs, Mode::Move, Rights::all())
            .cpus(other_cpu()),
    );
    let token = done!(rt::grant(large, via, Mode::Move, Rights::all()), "granting");
    poke(page, token.bits());
    succeeds(&child);
    refused!(cap_info(large), Error::BadHandle, "what was moved");
}

/// A process is killed at its n-th entry into the kernel or soon after.
pub fn killed_anywhere(case: &Case) {
    let held = || {
        let info = done!(rt::system_info(), "system_info");
        let frames = info.frames_free + info.frames_heap;
        (
            info.charged,
            frames,
            info.frames_reserved,
            info.objects,
            info.processes,
        )
    };
    let offered = region(2 * PAGE);
    let start_and_kill = |entries: u64| {
        let (mine, theirs) = small_ring();
        let child = start(
            case.child("life")
                .handle(theirs, Mode::Move, Rights::all())
                .handle(offered, Mode::Share, Rights::all())
                .cpus(if entries.is_multiple_of(2) {
                    1
                } else {
                    other_cpu()
                }),
        );
        eventually("the child to enter the kernel", || {
            done!(child.info(), "process_info").syscalls >= entries
        });
        done!(child.kill(), "killing");
        let _ = wait(&child);
        // Whoever sleeps at the other end, or would, is told.
        same!(
            crate::calls::ring_wait(mine, 1, rt::FOREVER),
            Ok(()),
            "waiting for one that is dead"
        );
        drop(child);
        done!(cap_drop(mine), "dropping");
    };
    // The heap of this process grows once, and the space has its tables.
    start_and_kill(1);
    let before = held();
    for entries in 1..=100 {
        start_and_kill(entries);
        eventually("everything to be returned", || held() == before);
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "tiny" => tiny(),
        "refused" => {
            refused!(try_region(FRAMES * PAGE), Error::Quota, "a large region");
            refused!(rt::ring(4096, 1024), Error::Quota, "a large ring");
            // Far more than the machine has: the account answers first.
            refused!(try_region(1 << 40), Error::Quota, "a huge region");
            let filling = Filling::make();
            // What it has is good to the last page.
            let start = map_all(filling.held[0], READ_WRITE);
            (0..16).for_each(|page| poke(start + page * PAGE, page));
            same!(peek(start + 15 * PAGE), 15, "a page");
            filling.give_back();
        }
        "mapper" => {
            let handle = region(PAGE);
            let mut mapped = 0;
            // Each in a GiB of its own.
            let refusal = loop {
                let place = 0x60_0000_0000 + (mapped << 30);
                match map(handle, place, 0, 0, READ_WRITE, MapFlags::FIXED) {
                    Ok(_) => mapped += 1,
                    Err(error) => break error,
                }
            };
            same!(refusal, Error::Quota, "the last answer");
            check!(mapped > 20, "only {mapped} mappings");
            same!(unmap(0x60_0000_0000), Ok(()), "unmapping");
            let again = map(handle, 0x60_0000_0000, 0, 0, READ_WRITE, MapFlags::FIXED);
            same!(again, Ok(0x60_0000_0000), "where the tables are");
        }
        "family" => family(env),
        "receiver" => {
            let page = map_all(env.handle(0), READ_WRITE);
            let filling = Filling::make();
            eventually("a token", || peek(page) != 0);
            let token = Token::from_bits(peek(page));
            let via = env.handle(1);
            refused!(rt::accept(token, via), Error::Quota, "accepting");
            refused!(rt::accept(token, via), Error::Quota, "accepting again");
            filling.give_back();
            let mine = map_all(done!(rt::accept(token, via), "with room"), READ_WRITE);
            poke(mine + 299 * PAGE, 1);
        }
        "life" => life(env),
        _ => return None,
    }
    Some(0)
}

/// Regions of 16 pages until the quota is used up.
struct Filling {
    held: [Handle; 128],
    count: usize,
}

impl Filling {
    // Without the heap of the process, which would take of the quota.
    fn make() -> Filling {
        let mut filling = Filling {
            held: [Handle::NONE; 128],
            count: 0,
        };
        loop {
            match try_region(16 * PAGE) {
                Ok(handle) => filling.held[filling.count] = handle,
                Err(error) => {
                    same!(error, Error::Quota, "the last answer");
                    return filling;
                }
            }
            filling.count += 1;
        }
    }

    fn give_back(self) {
        for handle in &self.held[..self.count] {
            done!(cap_drop(*handle), "dropping");
        }
    }
}

fn tiny() {
    let mut counts = [0; 3];
    for count in &mut counts {
        let mut held = [Handle::NONE; 1024];
        let refusal = loop {
            match try_region(1) {
                Ok(handle) => held[*count] = handle,
                Err(error) => break error,
            }
            *count += 1;
        };
        same!(refusal, Error::Quota, "the last answer");
        done!(cap_drop(held[1]), "dropping");
        let first = map_all(held[0], READ_WRITE);
        poke(first, 5);
        done!(unmap(first), "unmapping");
        held[1] = done!(try_region(1), "one more");
        for handle in &held[..*count] {
            done!(cap_drop(*handle), "dropping");
        }
    }
    check!(counts[0] > 100, "only {} regions", counts[0]);
    same!(
        counts[1..],
        [counts[0]; 2],
        "regions the second and third time"
    );
}

/// A process and its child below one limit.
fn family(env: &Env) {
    let half = FRAMES / 2 * PAGE;
    let mine = done!(try_region(half), "a part of it");
    // It has no limit that matters but that of this process.
    let child = Spawn::new(env.handle(0), "suite")
        .arg("child")
        .arg("refused")
        .quota(Resources::frames(1 << 30));
    succeeds(&start(child));
    done!(cap_drop(mine), "dropping");
    done!(try_region(2 * half), "more of it");
}

/// Everything that takes and gives back, for ever.
fn life(env: &Env) {
    let offered = env.handle(1);
    done!(ring_map(env.handle(0)), "mapping the ring");
    loop {
        let ring = small_ring();
        done!(ring_map(ring.0), "mapping an end");
        let handle = region(3 * PAGE);
        let start = map_all(handle, READ_WRITE);
        poke(start, 1);
        poke(start + 2 * PAGE, 1);
        let derived = done!(cap_derive(handle, Rights::all()), "deriving");
        map_all(derived, Rights::READ);
        // To this process itself, at the other end.
        let share = rt::grant(offered, ring.0, Mode::Share, READ_WRITE | Rights::MAP);
        let shared = done!(rt::accept(done!(share, "sharing"), ring.1), "accepting");
        let second = map_all(shared, READ_WRITE);
        poke(second, 1);
        done!(cap_revoke(handle), "revoking");
        let moved = done!(
            rt::grant(handle, ring.0, Mode::Move, Rights::all()),
            "moving"
        );
        yield_now();
        done!(cancel(moved), "cancelling");
        done!(region_seal(handle), "sealing");
        done!(region_destroy(handle), "destroying");
        done!(cap_drop(derived), "dropping what was revoked");
        done!(unmap(second), "unmapping");
        done!(cap_drop(shared), "dropping");
        done!(cap_drop(ring.1), "closing an end");
        done!(cap_drop(ring.0), "closing the other");
    }
}
