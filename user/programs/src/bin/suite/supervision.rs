//! Faults that a supervisor is told of, and fuses.

use abi::limits::USER_END;
use abi::{Events, ProcessState};
use rt::{Env, Error, Mode, Port, Process, Rights};

use crate::Case;
use crate::calls::{READ_WRITE, map_all, peek, poke, region, yield_now};
use crate::check::{PAGE_FAULT, SOON_MS, eventually, exits, faults_at, other_cpu, wait};
use crate::threads::spawn;

const KEY: u64 = 7;
/// Where nothing is mapped.
const NOWHERE: u64 = 0x1000;

fn supervised(case: &Case, role: &str, handles: &[rt::Handle]) -> (Port, Process) {
    let mut child = case.child(role).stopped();
    for handle in handles {
        child = child.handle(*handle, Mode::Share, READ_WRITE | Rights::MAP);
    }
    let child = done!(child.start(), "a child");
    let port = done!(Port::create(), "a port");
    let events = Events::FAULTED | Events::ENDED;
    done!(port.bind(child.handle(), events, KEY), "binding");
    done!(child.resume(0, 0), "resuming");
    (port, child)
}

/// The number of the thread that has stopped.
fn next_fault(port: &Port) -> u64 {
    let packet = done!(port.next(rt::in_ms(SOON_MS)), "a packet");
    same!(packet.key, KEY, "its key");
    check!(
        rt::events_of(&packet).contains(Events::FAULTED),
        "what happened: {packet:?}"
    );
    packet.value
}

/// A process that has stopped by a fault, and the port that was told.
pub fn stopped_by_a_fault(case: &Case) -> (Port, Process) {
    let (port, child) = supervised(case, "null_read", &[]);
    next_fault(&port);
    (port, child)
}

fn is_killed(child: &Process) {
    done!(child.kill(), "killing");
    same!(
        wait(child).state,
        ProcessState::Killed as u32,
        "how it ended"
    );
}

pub fn resume(case: &Case) {
    let board = region(4096);
    let page = map_all(board, READ_WRITE);
    let (port, child) = supervised(case, "stumble", &[board]);
    let thread = next_fault(&port);
    let fault = done!(child.fault(thread), "process_fault");
    same!(
        (fault.vector, fault.thread),
        (PAGE_FAULT, thread),
        "the fault"
    );
    same!(fault.address, NOWHERE, "its address");
    check!(
        fault.instruction != 0 && fault.stack != 0,
        "its registers: {fault:?}"
    );
    refused!(child.wait(rt::in_ms(5)), Error::TimedOut, "it has stopped");
    refused!(
        child.resume(thread + 1, 0),
        Error::NotFound,
        "another thread"
    );
    refused!(child.fault(thread + 1), Error::NotFound, "another thread");
    refused!(child.resume(thread, USER_END), Error::Range, "nowhere");
    // Again, at the same place: it faults once more.
    done!(child.resume(thread, 0), "resuming");
    same!(next_fault(&port), thread, "the thread");
    same!(
        done!(child.fault(thread), "process_fault").instruction,
        fault.instruction,
        "where it faulted again"
    );
    same!(peek(page), 1, "how far it came");
    // The program says where to go on.
    done!(child.resume(thread, peek(page + 8)), "resuming elsewhere");
    exits(&child, 33);
    refused!(child.fault(thread), Error::NotFound, "after its end");
    refused!(child.resume(thread, 0), Error::NotFound, "after its end");
}

pub fn kill_stopped(case: &Case) {
    let board = region(4096);
    let (port, child) = supervised(case, "stumble", &[board]);
    next_fault(&port);
    is_killed(&child);
}

pub fn watcher_gone(case: &Case) {
    let board = region(4096);
    let (port, child) = supervised(case, "stumble", &[board]);
    next_fault(&port);
    done!(port.unbind(KEY), "unbinding");
    faults_at(&child, NOWHERE);
    let (port, child) = supervised(case, "stumble", &[board]);
    next_fault(&port);
    drop(port);
    faults_at(&child, NOWHERE);
    // Whoever only waits for the end is no supervisor.
    let child = done!(
        case.child("stumble")
            .stopped()
            .handle(board, Mode::Share, READ_WRITE | Rights::MAP)
            .start(),
        "a child"
    );
    let port = done!(Port::create(), "a port");
    done!(port.bind(child.handle(), Events::ENDED, KEY), "binding");
    done!(child.resume(0, 0), "resuming");
    faults_at(&child, NOWHERE);
}

pub fn many_threads(case: &Case) {
    let (port, child) = supervised(case, "stumblers", &[]);
    let first = next_fault(&port);
    eventually("all three to stop", || {
        // Their numbers lie close together, with those of their stacks between them.
        let koids = first.saturating_sub(40).max(1)..first + 40;
        koids.filter(|koid| child.fault(*koid).is_ok()).count() == 3
    });
    refused!(child.wait(0), Error::WouldBlock, "it has stopped");
    // Each time another one goes on, whichever is the first of the process.
    for _ in 0..3 {
        done!(
            child.fault(0),
            "process_fault of the first that has stopped"
        );
        done!(child.resume(0, 0), "resuming the first that has stopped");
    }
    is_killed(&child);
}

pub fn fuse(case: &Case) {
    for entries in [1, 2, 3, 10, 100, 1000] {
        let child = done!(case.child("busy").stopped().start(), "a child");
        done!(child.set_fuse(entries), "a fuse");
        done!(child.resume(0, 0), "resuming");
        let ended = done!(child.wait(rt::in_ms(100)), "after {entries} entries");
        same!(
            ended.state,
            ProcessState::Killed as u32,
            "after {entries} entries"
        );
        let info = done!(child.info(), "process_info");
        let entered = info.syscalls + info.faults;
        same!(entered, entries, "how often it entered");
        done!(child.set_fuse(5), "a fuse of what has ended");
    }
    let child = done!(case.child("busy").cpus(other_cpu()).start(), "a child");
    done!(child.set_fuse(u64::MAX), "a long fuse");
    done!(child.set_fuse(0), "none");
    refused!(child.wait(rt::in_ms(5)), Error::TimedOut, "without a fuse");
    done!(child.set_fuse(20), "a short one");
    same!(
        wait(&child).state,
        ProcessState::Killed as u32,
        "how it ended"
    );
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "stumble" => {
            let page = map_all(env.handle(0), READ_WRITE);
            poke(page + 8, go_on as *const () as u64);
            poke(page, 1);
            peek(NOWHERE);
            Some(1)
        }
        "stumblers" => {
            spawn(0, || peek(NOWHERE));
            spawn(other_cpu(), || peek(NOWHERE + 8));
            peek(NOWHERE + 16);
            Some(1)
        }
        "busy" => loop {
            yield_now();
        },
        _ => None,
    }
}

/// Where a thread goes on that has stumbled.
fn go_on() -> ! {
    rt::exit(33)
}
