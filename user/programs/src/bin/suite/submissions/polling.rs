//! A ring that a thread of the kernel serves.

use abi::submission::SubmissionRingFlags;
use abi::{Events, SubmissionArgs, Syscall};
use rt::{Error, FOREVER, Region, Rights, Statistics, Submissions, sys};

use super::{bell, open, taken_out};
use crate::Case;
use crate::check::{eventually, other_cpu, succeeds};

/// Rounds of two entries, and after how many of them the indices wrap.
const ROUNDS: u64 = 60;
const BEFORE_WRAP: u32 = 40;

/// How often somebody has entered a submission ring: nobody else does so meanwhile.
fn entered(statistics: &Statistics) -> u64 {
    let cpus = (0..statistics.cpus()).filter_map(|cpu| statistics.cpu(cpu));
    cpus.map(|cpu| cpu.all_calls()[Syscall::SubEnter as usize])
        .sum()
}

/// Sleeps until so many completions are there, in a call that the thread of the ring knows nothing of.
fn until_ready(ring: &mut Submissions, count: u32) {
    while ring.ready() < count {
        let some = rt::object_wait(ring.handle(), Events::READABLE, rt::in_ms(10_000));
        done!(some, "completions");
    }
}

pub fn polled(case: &Case) {
    let region = Region::from_handle(case.statistics);
    let statistics = done!(Statistics::open(&region), "opening the statistics");
    // One that rests at once, and one that looks for entries for long, on the CPU of who asks or on another.
    for (idle_us, cpus) in [(0, 0), (50_000, 1 << 0), (50_000, other_cpu())] {
        let args = SubmissionArgs {
            flags: SubmissionRingFlags::POLL.bits(),
            idle_us,
            cpus,
            start: (2 * BEFORE_WRAP).wrapping_neg(),
            ..SubmissionArgs::new(16, 0)
        };
        let mut ring = done!(Submissions::with(&args), "a ring with a thread");
        let bell = bell();
        let mut by_itself = 0;
        for round in 0..ROUNDS {
            let rests = idle_us == 0 && round % 4 == 0;
            if rests {
                eventually("the thread rests", || ring.rests());
            }
            done!(ring.nop(round), "an entry");
            done!(ring.signal(round, &bell, 1), "an entry");
            let before = entered(&statistics);
            done!(ring.submit(), "submitting");
            let calls = entered(&statistics) - before;
            check!(
                calls > 0 || !rests,
                "who rests was not told in round {round}"
            );
            by_itself += u64::from(calls == 0);
            if round % 3 == 0 {
                done!(ring.submit_and_wait(2, FOREVER), "waiting");
            } else {
                until_ready(&mut ring, 2);
            }
            let outcomes = taken_out(&mut ring);
            same!(
                outcomes[..],
                [(round, Ok(0)), (round, Ok(0))][..],
                "round {round}"
            );
        }
        check!(
            by_itself > 0 || idle_us == 0,
            "it never looked by itself on {cpus:#b}"
        );
        same!(bell.poll(), Ok(1), "the bit");
        // What waits is completed by the thread, whoever is asleep.
        done!(ring.wait(7, &bell, FOREVER), "an entry");
        done!(ring.timeout(8, rt::in_ms(20)), "an entry");
        done!(ring.submit_and_wait(1, FOREVER), "waiting for a time");
        same!(taken_out(&mut ring)[..], [(8, Ok(0))][..], "the time");
        done!(bell.signal(4), "a signal");
        done!(ring.submit_and_wait(1, FOREVER), "waiting for a bit");
        same!(taken_out(&mut ring)[..], [(7, Ok(4))][..], "the bit");
    }
    // A process ends with the last thread of its program, whatever serves it.
    let child = case.child("submission_server");
    succeeds(&done!(child.start(), "a child"));
    let _ = region.into_handle();
}

/// A ring whose thread rests at once, and one whose thread looks for entries for long.
fn with_threads() -> [Submissions; 2] {
    [0, 50_000].map(|idle_us| done!(Submissions::polled(16, idle_us), "a ring with a thread"))
}

pub fn published(_: &Case) {
    let [resting, looking] = with_threads();
    for mut ring in [open(16), resting, looking] {
        let bell = bell();
        // Two of them wait for good, or until the bell.
        done!(ring.wait(1, &bell, FOREVER), "an entry");
        done!(ring.wait(2, &bell, FOREVER), "an entry");
        let told = ring.submit_and_wait(1, rt::in_ms(2));
        same!(told, Ok(2), "entries of a wait that ends");
        done!(ring.wait(3, &bell, FOREVER), "an entry");
        same!(ring.submit_and_wait(1, 0), Ok(1), "and of none");
        refused!(
            ring.submit_and_wait(1, rt::in_ms(2)),
            Error::TimedOut,
            "without entries"
        );
        done!(bell.signal(4), "a signal");
        same!(ring.submit_and_wait(1, FOREVER), Ok(0), "one that comes");
        same!(taken_out(&mut ring).len(), 1, "what has come");
    }
}

pub fn reduced(_: &Case) {
    for mut ring in with_threads() {
        let bell = bell();
        done!(ring.wait(1, &bell, FOREVER), "an entry");
        done!(ring.nop(2), "an entry");
        done!(ring.submit_and_wait(1, FOREVER), "submitting");
        same!(taken_out(&mut ring)[..], [(2, Ok(0))][..], "the other");
        // SAFETY: the call touches no memory.
        let reduced = unsafe { sys::cap_reduce(ring.handle(), !Rights::SEND) };
        done!(reduced, "taking SEND");
        done!(ring.nop(3), "an entry");
        done!(bell.signal(1), "a signal");
        let told = ring.submit_and_wait(1, rt::in_ms(10_000));
        refused!(told, Error::Denied, "an entry that nobody takes");
        eventually("the thread ends", || ring.rests());
        let info = done!(ring.info(), "facts");
        same!(
            (info.taken, info.posted),
            (2, 1),
            "what was taken, and done"
        );
        same!(ring.ready(), 0, "what came since");
    }
}
