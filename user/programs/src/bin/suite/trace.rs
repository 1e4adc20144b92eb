//! Traces: what they tell, and who may take one.

mod exception;

use alloc::vec::Vec;
use core::hint::spin_loop;

use abi::Syscall;
use abi::limits::PAGE_SIZE;
use abi::submission::{Operation, Submission, SubmissionFlags};
use abi::trace::{Cause, Event, EventKind, Left, MAX_SLOTS, MIN_SLOTS, Woken};
use rt::{
    Derive, Env, Error, FOREVER, GrantFlags, Mode, Notification, Region, Rights, Submissions,
    Trace, Traced,
};

pub use exception::exception;

use crate::Case;
use crate::calls::{cap_derive, cap_info, cap_revoke, grant, region, region_destroy};
use crate::check::{other_cpu, succeeds};

fn nop() {
    // SAFETY: the call touches no memory.
    done!(unsafe { rt::sys::nop() }, "nop");
}

/// Takes a trace of what is done.
fn traced(case: &Case, slots: u32, work: impl FnOnce()) -> (Region, Trace) {
    let region = done!(rt::trace_start(case.devices, slots), "trace_start");
    let trace = done!(Trace::open(&region), "opening the trace");
    check!(!trace.has_ended(), "it has only begun");
    work();
    done!(rt::trace_stop(case.devices), "trace_stop");
    check!(trace.has_ended(), "it has ended");
    (region, trace)
}

/// What a CPU did, if nothing of it is lost.
fn events(trace: &Trace, cpu: usize) -> Vec<Event> {
    let events = done!(trace.events(cpu).ok_or(Error::Invalid), "a CPU");
    let only = |traced| match traced {
        Traced::Event(event) => Some(event),
        Traced::Lost(count) => {
            check!(false, "{count} events are lost");
            None
        }
    };
    events.filter_map(only).collect()
}

fn give_back(region: Region, trace: Trace) {
    drop(trace);
    done!(
        rt::drop_handle(region.into_handle()),
        "giving the trace back"
    );
}

pub fn calls(case: &Case) {
    let (region, trace) = traced(case, 256, || {
        nop();
        refused!(
            rt::drop_handle(rt::Handle::from_bits(77)),
            Error::BadHandle,
            "no handle"
        );
        nop();
    });
    let events = events(&trace, 0);
    check!(
        events.is_sorted_by_key(|event| event.time_ns),
        "the time never goes back"
    );
    let first = done!(events.first().ok_or(Error::Empty), "an event");
    same!(first.kind, EventKind::Thread as u8, "who it is comes first");
    let thread = first.arguments[0] as u32;
    let of_calls = |kind: EventKind| {
        events
            .iter()
            .filter(move |event| event.kind == kind as u8 && event.thread == thread)
    };
    let wanted = [
        Syscall::Nop as u8,
        Syscall::CapDrop as u8,
        Syscall::Nop as u8,
    ];
    let interesting = |event: &&Event| wanted.contains(&event.number);
    let entered: Vec<u8> = of_calls(EventKind::Enter)
        .filter(interesting)
        .map(|event| event.number)
        .collect();
    same!(entered[..], wanted[..], "calls");
    let dropped = of_calls(EventKind::Enter).find(|event| event.number == wanted[1]);
    same!(dropped.map(|event| event.arguments[0]), Some(77), "handle");
    let answers: Vec<_> = of_calls(EventKind::Leave)
        .filter(interesting)
        .map(|event| abi::decode(event.arguments[0]))
        .collect();
    same!(
        answers[..],
        [Ok(0), Err(Error::BadHandle), Ok(0)],
        "answers"
    );
    give_back(region, trace);
}

pub fn entries(case: &Case) {
    let mut ring = done!(Submissions::new(8), "a submission ring");
    let bell = done!(Notification::create(), "a notification");
    let nonsense = Submission {
        operation: 999,
        user_data: 5,
        ..Submission::default()
    };
    let nobodys = Submission {
        operation: Operation::NotifyWait as u16,
        flags: SubmissionFlags::REGISTERED.bits(),
        arguments: [0x777, 5, 0, 0, 0, 0],
        user_data: 6,
        ..Submission::default()
    };
    let (region, trace) = traced(case, 256, || {
        done!(ring.nop(1), "an entry");
        done!(ring.wait(2, &bell, FOREVER), "one that waits");
        done!(ring.signal(3, &bell, 4), "one that ends that");
        done!(ring.timeout(4, 1), "a time in the past");
        // SAFETY: no entry leads to memory.
        done!(unsafe { ring.push(nonsense) }, "no operation");
        // SAFETY: as above.
        done!(unsafe { ring.push(nobodys) }, "a number of nothing");
        same!(ring.submit(), Ok(6), "entries taken");
        done!(ring.submit_and_wait(6, FOREVER), "what waited");
    });
    let events = events(&trace, 0);
    let of_entries = |kind: EventKind| events.iter().filter(move |event| event.kind == kind as u8);
    let number = Operation::event_number;
    let tried: Vec<u8> = of_entries(EventKind::Entry)
        .map(|event| event.number)
        .collect();
    let [nop, wait] = [number(Operation::Nop), number(Operation::NotifyWait)];
    let [signal, timeout] = [number(Operation::Signal), number(Operation::Timeout)];
    same!(
        tried[..],
        // What begins to wait is tried once more when it would be told.
        [nop, wait, wait, signal, timeout, u8::MAX, wait, wait],
        "entries that were tried"
    );
    let signalled = of_entries(EventKind::Entry).find(|event| event.number == signal);
    let expected = [bell.handle().bits(), 4];
    same!(
        signalled.map(|event| event.arguments[..2] == expected),
        Some(true),
        "arguments"
    );
    let completed: Vec<_> = of_entries(EventKind::Completion)
        .map(|event| {
            (
                event.number,
                event.arguments[1],
                abi::decode(event.arguments[0]),
            )
        })
        .collect();
    same!(
        completed[..],
        [
            (nop, 1, Ok(0)),
            (signal, 3, Ok(0)),
            (timeout, 4, Ok(0)),
            (u8::MAX, 5, Err(Error::Unsupported)),
            (wait, 6, Err(Error::NotFound)),
            (wait, 2, Ok(4)),
        ],
        "entries that were completed"
    );
    let refused = of_entries(EventKind::Entry).filter(|event| event.arguments[..2] == [0x777, 5]);
    same!(refused.count(), 1, "arguments of what was refused");
    give_back(region, trace);
}

pub fn taken_away(case: &Case) {
    // Two below what is revoked; both of what is destroyed; one that ends in time, and one below what is moved.
    let tops: [_; 4] = core::array::from_fn(|_| region(PAGE_SIZE));
    let numbers = tops.map(|top| done!(cap_info(top), "facts").koid);
    let all = Rights::all();
    let (here, there) = done!(rt::channel(1), "a channel");
    let (trace_region, trace) = traced(case, 4096, || {
        let below = done!(cap_derive(tops[0], all), "deriving");
        done!(cap_derive(below, all), "deriving below");
        same!(cap_revoke(tops[0]), Ok(2), "capabilities that died");
        done!(cap_derive(tops[1], all), "deriving");
        done!(region_destroy(tops[1]), "destroying");
        let soon = Derive::new(all).until(rt::in_ms(10)).of(tops[2]);
        let soon = done!(soon, "a deadline");
        done!(rt::sleep_until(rt::in_ms(11)), "sleeping");
        crate::check::eventually("its end", || {
            cap_info(tops[2]).is_ok_and(|info| info.descendants == 0)
        });
        refused!(cap_info(soon), Error::Revoked, "after its deadline");
        done!(cap_derive(tops[3], all), "deriving");
        let (via, flags) = (here.handle(), GrantFlags::REVOKE_OTHERS);
        let token = grant(tops[3], via, Mode::Move, all, flags);
        let token = done!(token, "moving");
        done!(rt::accept(token, there.handle()), "accepting");
    });
    // A deadline is looked at by whichever CPU comes first.
    let cpus = (0..).take_while(|&cpu| trace.events(cpu).is_some());
    let mut told: Vec<_> = cpus.flat_map(|cpu| events(&trace, cpu)).collect();
    told.retain(|event| {
        event.kind == EventKind::Revoke as u8 && numbers.contains(&event.arguments[0])
    });
    told.sort_by_key(|event| event.time_ns);
    let told = told
        .iter()
        .map(|event| (event.arguments[0], event.arguments[1], event.arguments[2]));
    let told: Vec<_> = told.collect();
    let [revoked, destroyed, lapsed, moved] = numbers;
    same!(
        told[..],
        [
            (revoked, 2, Cause::Revoked as u64),
            (destroyed, 2, Cause::Destroyed as u64),
            (lapsed, 1, Cause::Lapsed as u64),
            (moved, 1, Cause::Moved as u64),
        ],
        "what was taken away"
    );
    give_back(trace_region, trace);
}

/// The least that a call takes of many, in instructions where those are the clock.
fn cost() -> u64 {
    let once = |_| {
        let begun = time_stamp();
        nop();
        time_stamp() - begun
    };
    (0..300).map(once).min().unwrap_or(0)
}

fn time_stamp() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

pub fn off(case: &Case) {
    let before = cost();
    let mut during = 0;
    let (region, trace) = traced(case, 1024, || during = cost());
    give_back(region, trace);
    same!(cost(), before, "instructions of a call after the trace");
    check!(during > before, "{during} instructions in the trace");
}

pub fn waits(case: &Case) {
    let (region, trace) = traced(case, 1024, || {
        // On this CPU, so it runs when this process waits.
        let child = case.child("exit").arg("0").cpus(1 << 0);
        let child = done!(child.start(), "a child");
        succeeds(&child);
    });
    let events = events(&trace, 0);
    let me = done!(events.first().ok_or(Error::Empty), "an event").arguments[0];
    let slept = events.iter().position(|event| {
        event.kind == EventKind::Switch as u8
            && event.arguments[1] == me
            && event.arguments[2] == Left::Asleep as u64
    });
    let slept = done!(slept.ok_or(Error::NotFound), "the switch away");
    let after = &events[slept..];
    let woken = after.iter().find(|event| {
        event.kind == EventKind::Wake as u8
            && event.arguments[0] == me
            && event.arguments[2] == Woken::Unparked as u64
    });
    let woken = done!(woken.ok_or(Error::NotFound), "the wake");
    check!(
        woken.thread != 0 && u64::from(woken.thread) != me,
        "woken by thread {}",
        woken.thread
    );
    let back = after
        .iter()
        .any(|event| event.kind == EventKind::Switch as u8 && event.arguments[0] == me);
    check!(back, "the switch back");
    give_back(region, trace);
}

pub fn lapped(case: &Case) {
    const CALLS: u64 = 500;
    let (region, trace) = traced(case, MIN_SLOTS, || (0..CALLS).for_each(|_| nop()));
    let (mut lost, mut read) = (0, 0);
    for traced in done!(trace.events(0).ok_or(Error::Invalid), "CPU 0") {
        match traced {
            Traced::Lost(count) => lost += count,
            Traced::Event(_) => read += 1,
        }
    }
    check!(
        read <= u64::from(MIN_SLOTS),
        "{read} events in {MIN_SLOTS} slots"
    );
    check!(lost + read > 2 * CALLS, "{lost} lost and {read} read");
    give_back(region, trace);
}

pub fn refused(case: &Case) {
    for slots in [0, 1, MIN_SLOTS / 2, MIN_SLOTS + 1, 2 * MAX_SLOTS, u32::MAX] {
        refused!(
            rt::trace_start(case.devices, slots),
            Error::Invalid,
            "{slots} slots"
        );
    }
    let part = done!(
        rt::resource_part(case.devices, 0xfe00_0000, PAGE_SIZE),
        "a part of the devices"
    );
    refused!(rt::trace_start(part, 64), Error::Denied, "by a part");
    refused!(rt::trace_stop(part), Error::Denied, "stopping by a part");
    refused!(
        rt::trace_stop(case.devices),
        Error::NotFound,
        "stopping none"
    );
    let region = done!(rt::trace_start(case.devices, 64), "trace_start");
    refused!(rt::trace_start(case.devices, 64), Error::Exists, "a second");
    done!(rt::trace_stop(case.devices), "trace_stop");
    refused!(
        rt::trace_stop(case.devices),
        Error::NotFound,
        "stopping again"
    );
    for handle in [part, region.into_handle()] {
        done!(rt::drop_handle(handle), "giving it back");
    }
}

pub fn ended_elsewhere(case: &Case) {
    let devices = case.devices;
    // In a process of its own: a case stays on one CPU.
    let stops = case
        .child("stops_traces")
        .handle(devices, Mode::Share, Rights::all())
        .cpus(other_cpu());
    let stops = done!(stops.start(), "a child");
    for _ in 0..200 {
        match rt::trace_start(devices, 64) {
            Ok(region) => {
                nop();
                // Ends it, if the other one does not this moment.
                done!(rt::drop_handle(region.into_handle()), "dropping the trace");
            }
            Err(error) => same!(error, Error::Exists, "while the other one ends it"),
        }
        nop();
    }
    done!(stops.kill(), "ending the child");
    crate::check::wait(&stops);
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "stops_traces" => loop {
            if let Err(error) = rt::trace_stop(env.handle(0)) {
                same!(error, Error::NotFound, "stopping it");
            }
            nop();
            spin_loop();
        },
        _ => None,
    }
}

pub fn one_shot(case: &Case) {
    let (here, there) = done!(rt::channel(1), "a channel");
    // SAFETY: the calls touch no memory.
    let whole = done!(unsafe { rt::sys::notify_create() }, "a notification");
    // SAFETY: as before.
    let signal = |handle| unsafe { rt::sys::signal(handle, 1) };
    let once = done!(Derive::new(Rights::all()).one_shot().of(whole), "one use");
    let (trace_region, trace) = traced(case, 256, || {
        let (via, at) = (here.handle(), there.handle());
        // The trace looks what it is that is granted.
        let token = done!(rt::grant(once, via, Mode::Move, Rights::all()), "granting");
        let once = done!(rt::accept(token, at), "accepting");
        done!(signal(once), "its one use");
        refused!(signal(once), Error::BadHandle, "another");
    });
    drop(trace);
    done!(rt::drop_handle(trace_region.into_handle()), "the trace");
    done!(rt::drop_handle(whole), "the notification");
}

pub fn dropped(case: &Case) {
    for _ in 0..3 {
        let region = done!(rt::trace_start(case.devices, 256), "trace_start");
        nop();
        done!(rt::drop_handle(region.into_handle()), "dropping the trace");
        refused!(
            rt::trace_stop(case.devices),
            Error::NotFound,
            "it has ended"
        );
        nop();
    }
}
