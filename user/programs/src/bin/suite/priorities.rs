//! How urgent threads are: who runs when not all can.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::ProcessState;
use abi::limits::MAX_PRIORITY;
use abi::submission::{Operation, Submission, SubmissionFlags};
use rt::{Env, Error, Mode, Rights, Spawn, ThreadSpawn};

use crate::Case;
use crate::check::{other_cpu, succeeds, wait};
use crate::threads::{HERE, join, spawn};

pub fn urgent_first(case: &Case) {
    let spinner = case.child("spin").cpus(HERE).priority(8);
    let spinner = done!(spinner.start(), "a child");
    // Each time it wakes up, the spinner is in its way, and gives way at once.
    let late = join(spawn(HERE, || {
        let mut late = 0;
        for _ in 0..10 {
            let at = rt::in_ms(1);
            done!(rt::sleep_until(at), "sleeping");
            late = late.max(rt::now_ns() - at);
        }
        late
    }));
    check!(late < 1_000_000, "a thread woke up {late} ns late");
    refused!(spinner.wait(0), Error::WouldBlock, "the spinner");
    done!(spinner.kill(), "killing");
    let _ = wait(&spinner);
}

/// More than a thread makes in the time that it is given.
const TOO_MANY_TURNS: u64 = 15_000_000;

pub fn fair_share(_: &Case) {
    static TURNS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    static OVER: AtomicBool = AtomicBool::new(false);
    let threads = [0, 1, 2].map(|index| {
        spawn(HERE, move || {
            // A thread that nobody interrupts comes to an end, too.
            let mut turns = 0;
            while !OVER.load(Ordering::Relaxed) && turns < TOO_MANY_TURNS {
                turns = TURNS[index].fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    done!(rt::sleep_until(rt::in_ms(60)), "sleeping");
    OVER.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(join);
    let turns = TURNS.each_ref().map(|turns| turns.load(Ordering::Relaxed));
    let least = turns.iter().min().copied().unwrap_or(0);
    let most = turns.iter().max().copied().unwrap_or(0);
    check!(
        most < 3 * least && most < TOO_MANY_TURNS,
        "shares of {turns:?}"
    );
}

pub fn set_by_two(_: &Case) {
    const TIMES: u32 = 3000;
    let thread = spawn(other_cpu(), || {
        for turn in 0..TIMES {
            done!(rt::set_priority(8 + turn % 2), "its own priority");
        }
    });
    for turn in 0..TIMES {
        done!(
            thread.set_priority(10 + turn % 2),
            "the priority of another"
        );
    }
    let told = done!(thread.info(), "facts").priority;
    check!((8..12).contains(&told), "it tells {told}");
    join(thread);
}

pub fn reaper(case: &Case) {
    let low = case.child("spin").cpus(HERE).priority(1);
    let low = done!(low.start(), "a child");
    let hog = case.child("spin").cpus(HERE).priority(9);
    let hog = done!(hog.start(), "a child");
    // Whoever kills has to run itself.
    done!(low.kill(), "killing");
    let ended = done!(low.wait(rt::in_ms(100)), "the end of the least urgent");
    same!(ended.state, ProcessState::Killed as u32, "how it ended");
    refused!(hog.wait(0), Error::WouldBlock, "the hog");
    done!(hog.kill(), "killing");
    let _ = wait(&hog);
}

pub fn above_all(case: &Case) {
    let mine = done!(spawn(0, || ()).info(), "thread_info").priority;
    same!(mine, MAX_PRIORITY, "how urgent this is");
    // As long as nobody is more urgent than this, the other does not run.
    let low = case.child("spin").cpus(HERE).priority(1);
    let low = done!(low.start(), "a child");
    done!(low.kill(), "killing");
    let patience = rt::now_ns() + 500_000;
    while low.wait(0).is_err() && rt::now_ns() < patience {}
    let ended = done!(low.wait(0), "its end, before this has slept");
    same!(ended.state, ProcessState::Killed as u32, "how it ended");
}

/// Bytes of a region that takes a while to copy, and how often it is copied in one call: longer than a slice.
const LONG: u64 = 256 << 10;
const COPIES: u64 = 12;

pub fn turns(_: &Case) {
    /// Who of the spinners had its turn last, and first after it was asked for.
    static LAST: AtomicU64 = AtomicU64::new(0);
    static FIRST: AtomicU64 = AtomicU64::new(1);
    static OVER: AtomicBool = AtomicBool::new(false);
    const ROUNDS: u32 = 6;
    let spinners = [1, 2].map(|who| {
        spawn(HERE, move || {
            while !OVER.load(Ordering::Relaxed) {
                LAST.store(who, Ordering::Relaxed);
                let _ = FIRST.compare_exchange(0, who, Ordering::Relaxed, Ordering::Relaxed);
            }
        })
    });
    // Its slices end while it copies, and then it sleeps: who had waited longest is next, for a whole slice.
    let sleeper = spawn(HERE, || {
        let pages = [(); 2].map(|()| crate::calls::region(LONG));
        let mut ring = done!(rt::Submissions::new(64), "a submission ring");
        let mut twice = 0;
        for round in 0..ROUNDS {
            let arguments = [pages[0].bits(), 0, pages[1].bits(), 0, LONG, 0];
            let copy = Submission::new(Operation::Copy, 0, arguments);
            for _ in 0..COPIES {
                // SAFETY: a copy from region to region touches no other memory.
                let pushed = unsafe { ring.push(copy.with(SubmissionFlags::SKIP_SUCCESS)) };
                done!(pushed, "an entry");
            }
            done!(ring.timeout(u64::from(round), rt::in_ms(40)), "an entry");
            let before = LAST.load(Ordering::Relaxed);
            FIRST.store(0, Ordering::Relaxed);
            done!(ring.submit_and_wait(1, rt::FOREVER), "copying and sleeping");
            twice += u32::from(FIRST.load(Ordering::Relaxed) == before);
            check!(ring.take().is_some(), "the time of round {round}");
        }
        twice
    });
    let twice = join(sleeper);
    OVER.store(true, Ordering::Relaxed);
    spinners.into_iter().for_each(join);
    check!(
        twice < ROUNDS / 2,
        "somebody was passed over in {twice} rounds"
    );
}

pub fn ceilings(case: &Case) {
    let mine = done!(spawn(0, || ()).info(), "thread_info").priority;
    for priority in [MAX_PRIORITY + 1, u32::MAX] {
        let child = case.child("nothing").priority(priority);
        refused!(child.start(), Error::Invalid, "no such priority");
        refused!(
            rt::set_priority(priority),
            Error::Invalid,
            "no such priority"
        );
        let thread = ThreadSpawn::new().priority(priority);
        refused!(thread.start(|| ()), Error::Invalid, "no such priority");
    }
    refused!(rt::set_priority(0), Error::Invalid, "no such priority");
    let above = mine + 1;
    refused!(rt::set_priority(above), Error::Denied, "more urgent");
    let child = case.child("nothing").priority(above);
    refused!(child.start(), Error::Denied, "a more urgent child");
    let thread = ThreadSpawn::new().priority(above);
    refused!(thread.start(|| ()), Error::Denied, "a more urgent thread");
    let child = case.child("ceiling").arg("5").priority(5);
    succeeds(&done!(child.start(), "a child"));
}

pub fn confined(case: &Case) {
    let (cpu, image) = (1 << 0, case.image);
    let child = case.child("confined").cpus(cpu);
    let child = child.handle(image, Mode::Share, Rights::all());
    succeeds(&done!(child.start(), "a child"));
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "ceiling" => {
            let priority = crate::number(env, 0) as u32;
            same!(
                done!(spawn(0, || ()).info(), "thread_info").priority,
                priority,
                "what it begins with"
            );
            done!(rt::set_priority(1), "less");
            done!(rt::set_priority(priority), "all that it may");
            refused!(rt::set_priority(priority + 1), Error::Denied, "more");
        }
        "confined" => {
            let child = || {
                Spawn::new(env.handle(0), "suite")
                    .arg("child")
                    .arg("nothing")
            };
            for cpus in [0, 1 << 0, u64::MAX] {
                let child = done!(child().cpus(cpus).start(), "a child of its own");
                same!(done!(child.info(), "process_info").cpu, 0, "where it is");
                succeeds(&child);
            }
            refused!(child().cpus(1 << 1).start(), Error::Invalid, "elsewhere");
            let elsewhere = ThreadSpawn::new().cpus(1 << 1);
            refused!(elsewhere.start(|| ()), Error::Invalid, "a thread elsewhere");
        }
        _ => return None,
    }
    Some(0)
}
