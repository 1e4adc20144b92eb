//! Every call of the one table that takes memory or quota is refused for the want of any of it, and
//! each time nothing is changed (I9, I11).

use crate::heap;
use std::collections::BTreeSet;

use crate::swept::{Before, CALLS, Call, Handles, MANY};
use abi::{Error, Resources, SYSCALLS, cost};
use fake::FakeTask;

/// Calls that take what was promised when their region was created, and say so only of one whose promise
/// is lost: an overcommitted one.
const PROMISED: &[&str] = &[
    "region_seal",
    "region_commit",
    "region_decommit",
    "region_copy",
    "protect",
];

/// Calls that are the kernel's own. Processes whose quota ends anywhere make them in the guest
/// (`sweep.kernel_calls`).
const KERNEL: &[&str] = &[
    "debug_write",
    "process_spawn",
    "thread_spawn",
    "image_create",
    "trace_start",
];

/// What is made to fail.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    Frames,
    Allocations,
    /// Of a quota: pages, page tables or bytes.
    Quota(usize),
}

const WANTS: [Want; 5] = [
    Want::Frames,
    Want::Allocations,
    Want::Quota(0),
    Want::Quota(1),
    Want::Quota(2),
];

/// An amount of one kind alone.
fn only(kind: usize, amount: u64) -> Resources {
    [Resources::frames, Resources::tables, Resources::bytes][kind](amount)
}

fn amount(kind: usize, of: Resources) -> u64 {
    [of.frames, of.tables, of.bytes][kind]
}

impl Want {
    fn error(self) -> Error {
        match self {
            Want::Quota(_) => Error::Quota,
            _ => Error::NoMemory,
        }
    }

    /// Makes a call for which there is as much as `turn` says. Whether it failed for want of more.
    fn call(self, before: &Before, call: Call, turn: u64) -> bool {
        let machine = before.realm.machine();
        let account = before.me().account();
        let (result, failed) = match self {
            Want::Frames => {
                machine.fail_after(turn);
                let result = call.1(before);
                (result, machine.stop_failing())
            }
            Want::Allocations => {
                heap::fail_after(turn);
                let result = call.1(before);
                (result, heap::stop_failing())
            }
            Want::Quota(kind) => {
                // As much more each time as tells single charges apart.
                let left = turn * [37, 1, 128][kind];
                let free = MANY - amount(kind, account.used());
                let hog = account.charge(only(kind, free - left)).unwrap();
                let result = call.1(before);
                drop(hog);
                (result, result == Err(Error::Quota))
            }
        };
        let result = fake::answered(fake::call_named(call.0), result);
        let expected = if failed { Err(self.error()) } else { Ok(()) };
        assert_eq!(result, expected, "{} without {self:?}, turn {turn}", call.0);
        failed
    }
}

/// Calls with ever more of something, until it is enough. How often it was not.
fn sweep(call: Call, want: Want, handles: Handles) -> u64 {
    for turn in 0.. {
        assert!(turn < 4096, "{} takes {want:?} for ever", call.0);
        let before = Before::new(handles);
        let counts = before.realm.counts();
        if !want.call(&before, call, turn) {
            before.finish();
            return turn;
        }
        // What a thread keeps for its calls goes with it.
        before.realm.ipc.end_task(&FakeTask::current());
        let (mut frames, objects, mut domains) = before.realm.counts();
        // Directories that were made for a mapping stay with its space.
        let spaces = frames.tables - counts.0.tables;
        if matches!(call.0, "map" | "ring_map" | "sub_map") {
            frames.tables -= spaces;
            frames.free += spaces;
            frames.available += spaces;
            domains[0].1.tables -= spaces;
        }
        // So does what its table of handles has grown by.
        if handles == Handles::Full && domains[0].1.bytes > counts.2[0].1.bytes {
            domains[0].1.bytes -= cost::HANDLES;
        }
        let now = (frames, objects, domains);
        assert_eq!(now, counts, "{} without {want:?}, turn {turn}", call.0);
        assert_eq!(call.1(&before), Ok(()), "{} once more", call.0);
        before.finish();
    }
    unreachable!("there are numbers enough")
}

#[test]
fn a_call_that_lacks_any_frame_allocation_or_quota_changes_nothing() {
    for call in CALLS {
        let failures = [Handles::Room, Handles::Full]
            .map(|handles| WANTS.map(|want| sweep(*call, want, handles)));
        println!("{}: {failures:?}", call.0);
        let failed: u64 = failures.iter().flatten().sum();
        assert!(failed > 0, "{} takes nothing", call.0);
    }
}

#[test]
fn every_call_that_can_lack_memory_or_quota_is_swept() {
    let lacks = |call: &&abi::SyscallInfo| {
        let lack = |error| call.errors.contains(error);
        [Error::NoMemory, Error::Quota].iter().any(lack)
    };
    let all: BTreeSet<_> = SYSCALLS
        .iter()
        .filter(lacks)
        .map(|call| call.name)
        .collect();
    let swept = CALLS.iter().map(|call| call.0);
    let swept: BTreeSet<_> = swept
        .chain(PROMISED.iter().chain(KERNEL).copied())
        .collect();
    assert_eq!(swept, all);
}
