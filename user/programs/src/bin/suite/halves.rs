//! Calls that go from hand to hand, and what comes between them: what was two halves goes on at length, and by halves
//! again, in any order. Each answer is that of its call, and none is missing.
//!
//! All callers and servers are alike, on one CPU. In seeded schedules chance has some of their calls and answers go at
//! length besides.

mod deeds;
mod served;
mod timed;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use rt::{
    ChannelEnd, Env, Error, FOREVER, Handle, Message, Mode, Notification, Process, ProcessState,
    Region, Rights, Statistics, Thread, channel, sys,
};

use crate::Case;
use crate::check::{exits, other_cpu, spin_a_while, succeeds, wait};
use crate::threads::{HERE, join, spawn};
use deeds::{DEEDS, Deed, Doer, MIDDLE, OF_CALLER, OF_SERVER, PERIOD};
pub use served::{late, named};
pub use timed::{in_time, is_answered, punctual};

const ALL: Rights = Rights::all();
/// Turns of a conversation.
const TURNS: u64 = 200;
/// A time that comes soon, in ns: some calls later.
const SOON_NS: u64 = 50_000;

/// What a caller says.
fn question(caller: u64, turn: u64) -> [u64; 4] {
    [turn, caller, turn << 32 | caller, !turn]
}

/// What the server says that has answered so many calls of the caller before.
fn answer_of([turn, caller, third, fourth]: [u64; 4], before: u64) -> [u64; 4] {
    same!(
        [turn, caller, third, fourth],
        question(caller, turn),
        "what was asked"
    );
    [!turn, before, third, caller]
}

/// Asks, and compares the answer; each call before this one was answered.
fn ask(end: &ChannelEnd, caller: u64, turn: u64, deadline_ns: u64) {
    let asked = question(caller, turn);
    let answer = done!(
        end.call_words(asked, deadline_ns),
        "call {turn} of {caller}"
    );
    same!(answer, answer_of(asked, turn), "its answer");
}

/// Answers until all callers are gone, with something done before each answer; a wait that is cancelled begins
/// anew. How many were.
fn serve(end: &ChannelEnd, mut before: impl FnMut(u64)) -> u64 {
    let (mut served, mut cancelled) = ([0; 4], 0);
    loop {
        let ended = end.serve_words(|words, _| {
            let [turn, caller, ..] = words;
            before(turn);
            let served = &mut served[caller as usize];
            *served += 1;
            answer_of(words, *served - 1)
        });
        match ended {
            Error::Cancelled => cancelled += 1,
            error => {
                same!(error, Error::PeerClosed, "the end of serving");
                return cancelled;
            }
        }
    }
}

fn statistics(case: &Case) -> Statistics {
    let region = Region::from_handle(case.statistics);
    let statistics = done!(Statistics::open(&region), "opening the statistics");
    // It is the case's.
    region.into_handle();
    statistics
}

/// Calls and answers so far that went by halves.
fn halves(statistics: &Statistics) -> [u64; 2] {
    done!(statistics.cpu(0).ok_or(Error::Invalid), "CPU 0").at_once
}

fn are_more(before: [u64; 2], after: [u64; 2]) -> bool {
    before[0] < after[0] && before[1] < after[1]
}

/// Who answers: a thread of the caller's process or of another one.
enum Server {
    Here(Thread<u64>),
    There(Process),
}

fn server(case: &Case, end: ChannelEnd, deed: Deed, apart: bool) -> Server {
    let devices = case.devices;
    if !apart {
        let mut doer = Doer::new(deed, 7, devices);
        return Server::Here(spawn(HERE, move || serve(&end, |turn| doer.before(turn))));
    }
    let deed = DEEDS.iter().position(|known| *known == deed).unwrap_or(0);
    let child = case.child("serve_alike").arg(["0", "1", "2", "3"][deed]);
    let child = child.handle(end.into_handle(), Mode::Move, ALL);
    let child = child.handle(devices, Mode::Share, ALL).cpus(HERE);
    Server::There(done!(child.start(), "a server"))
}

impl Server {
    fn ends(self) {
        match self {
            Server::Here(thread) => same!(join(thread), 0, "waits that were cancelled"),
            Server::There(process) => succeeds(&process),
        }
    }
}

/// A conversation of two that do something meanwhile: what had gone by halves before each turn, and in the end.
fn converse(case: &Case, [caller, answerer]: [Deed; 2], apart: bool) -> Vec<[u64; 2]> {
    let (here, there) = done!(channel(4), "a channel");
    let (statistics, mut doer) = (statistics(case), Doer::new(caller, 3, case.devices));
    let server = server(case, there, answerer, apart);
    let caller = spawn(HERE, move || {
        let mut seen = Vec::with_capacity(TURNS as usize + 1);
        for turn in 0..TURNS {
            doer.before(turn);
            seen.push(halves(&statistics));
            ask(&here, 1, turn, FOREVER);
        }
        seen.push(halves(&statistics));
        seen
    });
    let seen = join(caller);
    server.ends();
    seen
}

pub fn traced(case: &Case) {
    for apart in [false, true] {
        let seen = converse(
            case,
            [Deed::Traces(OF_CALLER), Deed::Traces(OF_SERVER)],
            apart,
        );
        for period in (0..TURNS).step_by(PERIOD as usize) {
            let at = |turn| seen[(period + turn) as usize];
            let [first, last] = OF_CALLER;
            same!(at(first), at(last), "halves in a trace of the caller's");
            let [first, last] = OF_SERVER;
            same!(at(first + 1), at(last), "halves in one of the server's");
        }
        let [after, end] = [OF_CALLER[1], TURNS].map(|turn| seen[turn as usize]);
        check!(are_more(after, end), "no halves after the first trace");
    }
}

pub fn traced_elsewhere(case: &Case) {
    for apart in [false, true] {
        let tracer = case.child("trace_at_times");
        let tracer = tracer.handle(case.devices, Mode::Share, ALL);
        let tracer = done!(tracer.cpus(other_cpu()).start(), "who traces");
        let seen = (0..5).map(|_| converse(case, [Deed::Nothing; 2], apart));
        let seen: Vec<_> = seen.flatten().collect();
        check!(are_more(seen[0], seen[seen.len() - 1]), "no halves");
        done!(tracer.kill(), "ending who traces");
        wait(&tracer);
    }
}

pub fn unlike(case: &Case) {
    for deed in [Deed::UsesVectors, Deed::SetsBase] {
        for deeds in [[deed, Deed::Nothing], [Deed::Nothing, deed], [deed, deed]] {
            for apart in [false, true] {
                let seen = converse(case, deeds, apart);
                let at = |turn: u64| seen[turn as usize];
                check!(are_more(at(0), at(MIDDLE)), "no halves before");
                same!(at(MIDDLE + 1), at(TURNS), "halves of who is unlike");
            }
        }
    }
}

/// Ends a wait that has begun or is about to.
fn cancel(thread: Handle) {
    // SAFETY: the call touches no memory.
    while let Err(error) = unsafe { sys::wait_cancel(thread) } {
        same!(error, Error::NotFound, "cancelling");
        rt::yield_now();
    }
}

pub fn cancelled(case: &Case) {
    /// The thread that calls.
    static CALLER: AtomicU64 = AtomicU64::new(0);
    const OF_CALL: u64 = 3;
    const OF_SERVER: u64 = 5;
    let statistics = statistics(case);
    let before = halves(&statistics);
    let (here, there) = done!(channel(4), "a channel");
    let server = spawn(HERE, move || {
        serve(&there, |turn| {
            if turn % 7 == OF_CALL {
                cancel(Handle::from_bits(CALLER.load(Ordering::Relaxed)));
            }
        })
    });
    let serving = server.handle();
    let (begin, begun) = done!(channel(1), "a channel");
    let caller = spawn(HERE, move || {
        done!(begun.receive(FOREVER), "the beginning");
        let mut cancelled = 0;
        for turn in 0..TURNS {
            match turn % 7 {
                OF_CALL => {
                    let answer = here.call_words(question(1, turn), FOREVER);
                    refused!(answer, Error::Cancelled, "call {turn}");
                    continue;
                }
                OF_SERVER => {
                    cancel(serving);
                    cancelled += 1;
                }
                _ => {}
            }
            ask(&here, 1, turn, FOREVER);
        }
        cancelled
    });
    CALLER.store(caller.handle().bits(), Ordering::Relaxed);
    done!(begin.send(&mut Message::new(b""), 0), "beginning");
    let cancelled = join(caller);
    same!(join(server), cancelled, "waits that were cancelled");
    check!(are_more(before, halves(&statistics)), "no halves");
}

pub fn crowded(case: &Case) {
    let statistics = statistics(case);
    let spinner = done!(case.child("spin_here").cpus(HERE).start(), "who spins");
    for callers in [1, 3] {
        for apart in [false, true] {
            let before = halves(&statistics);
            let (here, there) = done!(channel(4), "a channel");
            let server = server(case, there, Deed::Nothing, apart);
            // The first one calls on when the others have ended.
            let others: Vec<_> = (2..=callers)
                .map(|caller| {
                    let child = case.child("ask_alike").arg(["2", "3"][caller - 2]);
                    let child = child.handle(here.handle(), Mode::Share, ALL).cpus(HERE);
                    done!(child.start(), "a caller")
                })
                .collect();
            let caller = spawn(HERE, move || {
                (0..TURNS).for_each(|turn| ask(&here, 1, turn, FOREVER));
                here
            });
            let here = join(caller);
            others.iter().for_each(succeeds);
            let caller = spawn(HERE, move || {
                (TURNS..2 * TURNS).for_each(|turn| ask(&here, 1, turn, FOREVER));
            });
            join(caller);
            server.ends();
            check!(are_more(before, halves(&statistics)), "no halves");
        }
    }
    done!(spinner.kill(), "ending who spins");
    wait(&spinner);
}

pub fn killed(case: &Case) {
    let statistics = statistics(case);
    let before = halves(&statistics);
    let told = done!(Notification::create(), "a notification");
    for round in 0..24_u64 {
        let (here, there) = done!(channel(4), "a channel");
        let life = |role, end: ChannelEnd| {
            let child = case.child(role).cpus(HERE);
            let child = child.handle(end.into_handle(), Mode::Move, ALL);
            let child = child.handle(told.handle(), Mode::Share, Rights::SIGNAL);
            done!(child.start(), "a life")
        };
        let lives = [life("serve_for_ever", there), life("ask_for_ever", here)];
        let victim = round as usize % 2;
        // A case stays on its CPU, which the two have for as long as they call.
        let killer = case.child("kill_later").cpus(other_cpu());
        let killer = killer.arg(&alloc::format!("{}", 300_000 + 13_337 * round));
        let killer = killer.handle(lives[victim].handle(), Mode::Share, ALL);
        succeeds(&done!(killer.start(), "who kills"));
        let ended = wait(&lives[victim]);
        same!(
            ended.state,
            ProcessState::Killed as u32,
            "how the victim ended"
        );
        exits(&lives[1 - victim], 0);
        same!(told.poll(), Ok(0), "who was to end and went on");
    }
    check!(are_more(before, halves(&statistics)), "no halves");
}

/// Compares why a life has ended; whose it is to end is not told so.
fn left_alone(env: &Env, why: Error) {
    if why == Error::Interrupted {
        let told = Notification::from_handle(env.handle(1));
        done!(told.signal(1), "telling of it");
    }
    same!(why, Error::PeerClosed, "the end of the conversation");
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    let end = || ChannelEnd::from_handle(env.handle(0));
    match role {
        "serve_alike" => {
            let deed = DEEDS[crate::number(env, 0) as usize];
            let mut doer = Doer::new(deed, 11, env.handle(1));
            same!(serve(&end(), |turn| doer.before(turn)), 0, "cancelled");
        }
        "ask_alike" => {
            let (end, caller) = (end(), crate::number(env, 0));
            (0..TURNS).for_each(|turn| ask(&end, caller, turn, FOREVER));
        }
        "serve_for_ever" => {
            let mut served = 0;
            let ended = end().serve_words(|words, _| {
                served += 1;
                answer_of(words, served - 1)
            });
            left_alone(env, ended);
        }
        "ask_for_ever" => {
            let end = end();
            for turn in 0.. {
                // The CPUs of an emulated machine take turns at it.
                core::hint::spin_loop();
                let asked = question(1, turn);
                match end.call_words(asked, FOREVER) {
                    Ok(answer) => same!(answer, answer_of(asked, turn), "an answer"),
                    Err(error) => {
                        left_alone(env, error);
                        break;
                    }
                }
            }
        }
        "trace_at_times" => loop {
            let trace = done!(rt::trace_start(env.handle(0), 64), "a trace");
            done!(rt::sleep_until(rt::now_ns() + SOON_NS), "sleeping");
            drop(trace);
            done!(rt::sleep_until(rt::now_ns() + SOON_NS), "sleeping");
        },
        "spin_here" => loop {
            spin_a_while();
        },
        "kill_later" => {
            let later = rt::now_ns() + crate::number(env, 0);
            done!(rt::sleep_until(later), "sleeping");
            let victim = Process::from_handle(env.handle(0));
            done!(victim.kill(), "killing");
        }
        _ => return None,
    }
    Some(0)
}
