//! Processes that end at their n-th entry into the kernel, for every n: whoever works with them
//! notices and ends, and everything is as it was before.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use programs::entries::Entries;
use programs::held::Held;
use rt::{Handle, Mode, Process, ProcessState, Rights, Spawn};

use crate::Case;
use crate::check::cpus;
use crate::lives::CUT_SHORT;

/// How long lives may take to notice that one has ended, in ms.
const NOTICE_MS: u64 = 2_000;

/// Where lives begin.
struct Cradle<'a> {
    case: &'a Case,
    /// Whether they run on different CPUs.
    apart: bool,
}

impl Cradle<'_> {
    /// A life that has not begun.
    fn start(&self, index: usize, life: Spawn<'_>) -> Process {
        let cpu = index * usize::from(self.apart);
        done!(life.cpus(1 << cpu).stopped().start(), "a life")
    }

    /// Two that have an end each of something.
    fn pair(&self, roles: [&str; 2], ends: (Handle, Handle)) -> Vec<Process> {
        let life = |role, end| self.case.child(role).handle(end, Mode::Move, Rights::all());
        vec![
            self.start(0, life(roles[0], ends.0)),
            self.start(1, life(roles[1], ends.1)),
        ]
    }
}

/// Starts processes that work together.
type Start = fn(&Cradle<'_>) -> Vec<Process>;

fn alone(cradle: &Cradle<'_>) -> Vec<Process> {
    let life = cradle.case.child("alone");
    let life = life.handle(cradle.case.image, Mode::Share, Rights::EXECUTE);
    vec![cradle.start(0, life)]
}

fn threads(cradle: &Cradle<'_>) -> Vec<Process> {
    vec![cradle.start(0, cradle.case.child("threads"))]
}

fn submissions(cradle: &Cradle<'_>) -> Vec<Process> {
    vec![cradle.start(0, cradle.case.child("submit"))]
}

fn ring(cradle: &Cradle<'_>) -> Vec<Process> {
    let ends = done!(rt::ring(64, 4), "a ring");
    cradle.pair(["write_ring", "read_ring"], ends)
}

fn channel() -> (Handle, Handle) {
    let (first, second) = done!(rt::channel(4), "a channel");
    (first.into_handle(), second.into_handle())
}

fn calls(cradle: &Cradle<'_>) -> Vec<Process> {
    cradle.pair(["call", "serve"], channel())
}

fn words(cradle: &Cradle<'_>) -> Vec<Process> {
    cradle.pair(["call_often", "serve_often"], channel())
}

fn grants(cradle: &Cradle<'_>) -> Vec<Process> {
    cradle.pair(["offer", "take"], channel())
}

fn port(cradle: &Cradle<'_>) -> Vec<Process> {
    let bits = done!(rt::Notification::create(), "a notification");
    let ends = channel();
    let life = |role, end| {
        let life = cradle.case.child(role);
        let life = life.handle(bits.handle(), Mode::Share, Rights::all());
        life.handle(end, Mode::Move, Rights::all())
    };
    vec![
        cradle.start(0, life("watch", ends.0)),
        cradle.start(1, life("be_watched", ends.1)),
    ]
}

/// Lets processes live, one of which ends after so many entries. Whether it did; else all of them
/// have done what they had to.
fn live(case: &Case, start: Start, victim: usize, entries: u64) -> bool {
    let apart = cpus() > 1 && entries.is_multiple_of(2);
    let lives = start(&Cradle { case, apart });
    done!(lives[victim].set_fuse(entries), "setting a fuse");
    for life in &lives {
        done!(life.resume(0, 0), "beginning a life");
    }
    let deadline = rt::in_ms(NOTICE_MS);
    let ended = lives.iter().enumerate().map(|(index, life)| {
        let status = life.wait(deadline);
        done!(status, "life {index} when {victim} ends at entry {entries}")
    });
    let ended: Vec<_> = ended.collect();
    let killed = ended[victim].state == ProcessState::Killed as u32;
    for (index, status) in ended.iter().enumerate() {
        let exited = status.state == ProcessState::Exited as u32;
        let in_order = exited && (status.status == 0 || killed && status.status > CUT_SHORT.into());
        check!(
            in_order || killed && index == victim,
            "life {index} ended by {status:?} when {victim} ends at entry {entries}"
        );
    }
    killed
}

/// Ends each of some processes at each of the entries, up to the last that it makes. `live` lets
/// them live, one of which has a fuse, and says whether it burnt.
pub fn every_entry(victims: Range<usize>, entries: Entries, live: impl Fn(usize, u64) -> bool) {
    // What grows once grows before.
    for victim in victims.clone() {
        live(victim, u64::MAX);
        live(victim, 1);
    }
    let before = done!(Held::now(), "counters");
    for victim in victims {
        // Once more than it makes of them on the same CPU, and on another.
        let (mut burnt, mut last, begun) = (0, true, rt::now_ns());
        for entry in entries.iter() {
            let now = live(victim, entry);
            burnt += u64::from(now);
            if !last && !now {
                break;
            }
            last = now;
            if let Err(now) = before.restored(rt::in_ms(NOTICE_MS)) {
                check!(
                    false,
                    "{before:?} became {now:?} when {victim} ended at entry {entry}"
                );
            }
        }
        let ms = (rt::now_ns() - begun) / 1_000_000;
        rt::println!("life {victim} ended at each of {burnt} entries, in {ms} ms");
    }
}

/// Cases, each of so many processes.
macro_rules! cases {
    ($($name:ident: $start:ident $processes:literal;)*) => {
        $(pub fn $name(case: &Case) {
            every_entry(0..$processes, case.entries, |victim, entries| {
                live(case, $start, victim, entries)
            });
        })*

        /// All of them at every entry that there is, and a number of rounds with other schedules.
        pub fn without_limit(case: &Case, rounds: u64) {
            for round in 0..rounds {
                $(
                    rt::println!("{}, round {round}", stringify!($name));
                    every_entry(0..$processes, Entries::ALL, |victim, entries| {
                        live(case, $start, victim, entries)
                    });
                )*
            }
        }
    };
}

cases! {
    by_itself: alone 1;
    with_threads: threads 1;
    at_submissions: submissions 1;
    at_a_ring: ring 2;
    in_calls: calls 2;
    from_hand_to_hand: words 2;
    at_a_port: port 2;
    with_grants: grants 2;
}
