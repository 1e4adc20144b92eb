//! What is counted, of the system and of each object.

use core::array;

use abi::Syscall;
use abi::statistics::CpuStatistics;
use rt::{
    ChannelEnd, Error, FOREVER, Handle, Message, Mode, Notification, Region, Rights, Statistics,
    Thread, ThreadSpawn,
};

use crate::Case;
use crate::check::SOON_MS;

/// What the CPU of the cases has counted.
fn here(statistics: &Statistics) -> CpuStatistics {
    done!(statistics.cpu(0).ok_or(Error::Invalid), "CPU 0")
}

fn nop() {
    // SAFETY: the call touches no memory.
    done!(unsafe { rt::sys::nop() }, "nop");
}

pub fn live(case: &Case) {
    let region = Region::from_handle(case.statistics);
    let statistics = done!(Statistics::open(&region), "opening the statistics");
    same!(statistics.cpus(), crate::check::cpus() as usize, "CPUs");
    check!(statistics.cpu(statistics.cpus()).is_none(), "one too many");
    let before = here(&statistics);
    (0..10).for_each(|_| nop());
    for _ in 0..3 {
        refused!(rt::drop_handle(Handle::NONE), Error::BadHandle, "no handle");
    }
    let after = here(&statistics);
    let calls =
        |call: Syscall| after.all_calls()[call as usize] - before.all_calls()[call as usize];
    same!(calls(Syscall::Nop), 10, "null calls");
    same!(calls(Syscall::CapDrop), 3, "drops");
    let error = Error::BadHandle as usize;
    same!(
        after.refusals[error] - before.refusals[error],
        3,
        "refusals"
    );
    let all = after.syscalls() - before.syscalls();
    same!(all, 13, "calls of this CPU meanwhile");
    let info = done!(rt::system_info(), "system_info");
    check!(info.syscalls >= after.syscalls(), "the sum is of this, too");
    // A new page is a fault, and sleeping a switch.
    let fresh = done!(Region::create(4096), "a region");
    let mut mapping = done!(fresh.map(Rights::READ | Rights::WRITE), "mapping it");
    // SAFETY: nobody else has it.
    if let Some(bytes) = unsafe { mapping.as_mut_slice(1) } {
        bytes[0] = 1;
    }
    done!(rt::sleep_until(rt::in_ms(1)), "sleeping");
    let last = here(&statistics);
    check!(last.faults > before.faults, "the fault");
    check!(last.all_switches() > before.all_switches(), "the switch");
    check!(last.timeouts > before.timeouts, "the end of the sleep");
    drop(mapping);
    done!(rt::drop_handle(fresh.into_handle()), "giving it back");
}

pub fn objects(_: &Case) {
    let region = done!(Region::create(4 * 4096), "a region");
    let mut mapping = done!(region.map(Rights::READ | Rights::WRITE), "mapping it");
    // SAFETY: nobody else has it.
    if let Some(bytes) = unsafe { mapping.as_mut_slice(3 * 4096) } {
        for page in bytes.chunks_mut(4096) {
            page[0] = 1;
        }
    }
    let (via, end) = done!(rt::ring(64, 16), "a ring");
    let share = rt::grant(region.handle(), via, Mode::Share, Rights::INSPECT);
    let share = done!(
        share.and_then(|token| rt::accept(token, end)),
        "handing over"
    );
    let copy = region.copy(via, Rights::all(), rt::SnapshotFlags::empty());
    let copy = done!(copy.and_then(|token| rt::accept(token, end)), "copying");
    refused!(
        rt::grant(share, via, Mode::Share, Rights::all()),
        Error::Denied,
        "without GRANT"
    );
    let info = done!(rt::object_info(share), "object_info");
    same!(info.faults, 3, "faults");
    same!(info.transfers, [0, 1, 1], "how it was handed over");
    same!(info.refusals[Error::Denied as usize], 1, "refusals");
    same!(info.capabilities, 2, "capabilities");
    let info = done!(rt::object_info(copy), "object_info of the copy");
    same!(info.transfers, [0, 0, 1], "how the copy came");
    for handle in [share, copy, via, end] {
        done!(rt::drop_handle(handle), "giving it back");
    }
    drop(mapping);
    done!(rt::drop_handle(region.into_handle()), "giving it back");
}

/// Messages, their bytes and waits, and how objects were handed over.
type Traffic = ([u64; 3], [u64; 3]);

/// What all CPUs have counted.
fn everywhere(statistics: &Statistics) -> Traffic {
    let cpus = (0..statistics.cpus()).filter_map(|cpu| statistics.cpu(cpu));
    cpus.fold(([0; 3], [0; 3]), |sum, cpu| {
        let of_cpu = [cpu.all_messages(), cpu.all_bytes(), cpu.all_waits()];
        plus(sum, (of_cpu, cpu.transfers))
    })
}

fn plus(one: Traffic, other: Traffic) -> Traffic {
    let each = |one: [u64; 3], other: [u64; 3]| array::from_fn(|at| one[at] + other[at]);
    (each(one.0, other.0), each(one.1, other.1))
}

/// Calls of words to the agreement's server.
const CALLS: u64 = 10;

/// Answers calls of words until its wait is cancelled, then a call of bytes, then takes a message.
fn serve(end: ChannelEnd) -> Option<ChannelEnd> {
    let ended = end.serve_words(|words, _| words.map(|word| word + 1));
    if ended != Error::Cancelled {
        return None;
    }
    let mut asked = end.receive(rt::in_ms(SOON_MS)).ok()?;
    asked
        .take_reply()?
        .send(&mut Message::new(b"0123456789"))
        .ok()?;
    end.receive(rt::in_ms(SOON_MS)).ok()?;
    Some(end)
}

pub fn agreement(case: &Case) {
    let region = Region::from_handle(case.statistics);
    let statistics = done!(Statistics::open(&region), "opening the statistics");
    let (here, there) = done!(rt::channel(4), "a channel");
    let memory = done!(Region::create(4096), "a region");
    let before = everywhere(&statistics);
    let server = done!(Thread::spawn(move || serve(there)), "a thread that serves");
    for number in 0..CALLS {
        let answer = here.call_words([number; 4], rt::in_ms(SOON_MS));
        same!(answer, Ok([number + 1; 4]), "the answer");
    }
    while server.cancel_wait() == Err(Error::NotFound) {
        rt::yield_now();
    }
    let answer = here.call(&mut Message::new(b"abc"), rt::in_ms(SOON_MS));
    let answer = done!(answer, "a call of bytes");
    same!(answer.bytes(), b"0123456789", "the answer");
    let mut message = Message::new(b"").share(memory.handle(), Rights::all());
    done!(here.send(&mut message, 0), "sending a capability");
    done!(server.wait(rt::in_ms(SOON_MS)), "the end of the server");
    let after = everywhere(&statistics);
    let thread = done!(rt::object_info(server.handle()), "the thread's counts");
    let there = done!(server.join(), "joining it");
    let there = done!(there.ok_or(Error::Invalid), "what the server met");
    let counts = |handle| done!(rt::object_info(handle), "object_info");
    let caller = counts(here.handle());
    same!(caller.messages, CALLS + 1, "answers");
    same!(caller.bytes, 32 * CALLS + 10, "their bytes");
    same!(caller.waits, CALLS + 1, "waits for them");
    let server = counts(there.handle());
    same!(server.messages, CALLS + 2, "calls and the message");
    same!(server.bytes, 32 * CALLS + 3, "their bytes");
    let all = [caller, server, thread, counts(memory.handle())];
    let sum = all.iter().fold(before, |sum, info| {
        let traffic = [info.messages, info.bytes, info.waits];
        plus(sum, (traffic, info.transfers))
    });
    same!(after, sum, "what the system has counted");
    done!(rt::drop_handle(memory.into_handle()), "giving it back");
}

/// Waits in the sequence that another thread cancels, and messages.
const WAITS: u64 = 4;
const MESSAGES: u64 = 3;

/// Touches three new pages.
fn touch_three() {
    let fresh = done!(Region::create(3 * 4096), "a region");
    let mut mapping = done!(fresh.map(Rights::READ | Rights::WRITE), "mapping it");
    // SAFETY: nobody else has it.
    if let Some(bytes) = unsafe { mapping.as_mut_slice(3 * 4096) } {
        bytes.chunks_mut(4096).for_each(|page| page[0] = 1);
    }
    drop(mapping);
    done!(rt::drop_handle(fresh.into_handle()), "giving it back");
}

/// Hands one region over in each mode.
fn hand_over() {
    let [moved, kept] = [(); 2].map(|()| done!(Region::create(4096), "a region"));
    let (via, end) = done!(rt::ring(64, 16), "a ring");
    let shared = kept.share(via, Rights::READ);
    let copied = kept.copy(via, Rights::READ, rt::SnapshotFlags::empty());
    for token in [moved.give([], via, Rights::all()), shared, copied] {
        let arrived = token.and_then(|token| rt::accept(token, end));
        let arrived = done!(arrived, "handing over");
        done!(rt::drop_handle(arrived), "giving it back");
    }
    for handle in [kept.into_handle(), via, end] {
        done!(rt::drop_handle(handle), "giving it back");
    }
}

pub fn sequence(case: &Case) {
    let region = Region::from_handle(case.statistics);
    let statistics = done!(Statistics::open(&region), "opening the statistics");
    let (near, far) = done!(rt::channel(4), "a channel");
    // The first time the pages of this program's own stack and text may be faults, too.
    let faults = [(); 2].map(|()| {
        let before = here(&statistics);
        touch_three();
        here(&statistics).faults - before.faults
    });
    same!(faults[1], 3, "faults");

    let before = here(&statistics);
    for _ in 0..MESSAGES {
        done!(near.send(&mut Message::new(b"hello"), 0), "sending");
        let received = done!(far.receive(0), "receiving");
        same!(received.bytes(), b"hello", "what arrived");
    }
    hand_over();
    for _ in 0..2 {
        refused!(rt::drop_handle(Handle::NONE), Error::BadHandle, "no handle");
    }
    let write = region.map(Rights::READ | Rights::WRITE);
    refused!(write.map(drop), Error::Denied, "mapping for writing");
    // On this CPU, so that it sleeps whenever this thread runs, or has not come that far.
    let sleeper = ThreadSpawn::new().cpus(1).start(|| {
        let bell = Notification::create().ok()?;
        let cancelled = |_: &u64| bell.wait(FOREVER) == Err(Error::Cancelled);
        Some((0..WAITS).take_while(cancelled).count() as u64)
    });
    let sleeper = done!(sleeper, "a thread");
    let mut early = 0;
    for _ in 0..WAITS {
        while let Err(error) = sleeper.cancel_wait() {
            same!(error, Error::NotFound, "of one that does not wait");
            early += 1;
            rt::yield_now();
        }
    }
    done!(sleeper.wait(rt::in_ms(SOON_MS)), "its end");
    let own = done!(rt::object_info(sleeper.handle()), "object_info").waits;
    same!(done!(sleeper.join(), "joining it"), Some(WAITS), "waits");
    let after = here(&statistics);

    same!(
        after.all_messages() - before.all_messages(),
        MESSAGES,
        "messages"
    );
    same!(
        after.all_bytes() - before.all_bytes(),
        5 * MESSAGES,
        "bytes"
    );
    let transfers: [u64; 3] = array::from_fn(|mode| after.transfers[mode] - before.transfers[mode]);
    same!(transfers, [1; 3], "transfers by their mode");
    // This thread's own wait for the end may have been needless.
    same!(after.all_waits() - before.all_waits(), WAITS + own, "waits");
    same!(after.all_wakes() - before.all_wakes(), WAITS + own, "wakes");
    let refused = |error: Error| after.refusals[error as usize] - before.refusals[error as usize];
    let expected = [
        (Error::BadHandle, 2),
        (Error::Denied, 1),
        (Error::Cancelled, WAITS),
        (Error::NotFound, early),
    ];
    for (error, times) in expected {
        same!(refused(error), times, "refusals with {error}");
    }
    let all = expected.iter().map(|(_, times)| times).sum::<u64>();
    same!(after.refused() - before.refused(), all, "refusals");
}

pub fn read_only(case: &Case) {
    let trace = done!(rt::trace_start(case.devices, 64), "a trace");
    let statistics = Region::from_handle(case.statistics);
    for region in [&trace, &statistics] {
        let write = region.map(Rights::READ | Rights::WRITE);
        refused!(write.map(drop), Error::Denied, "mapping for writing");
        let flags = rt::SnapshotFlags::empty();
        check!(region.snapshot(flags).is_err(), "a snapshot");
        // SAFETY: it is refused.
        check!(unsafe { region.seal() }.is_err(), "sealing");
    }
    let mapping = done!(trace.map(Rights::READ), "mapping the trace");
    // SAFETY: the call changes no memory.
    let more = unsafe { rt::sys::protect(mapping.address(), Rights::READ | Rights::WRITE) };
    check!(more.is_err(), "write access afterwards");
    drop(mapping);
    done!(
        rt::drop_handle(trace.into_handle()),
        "giving the trace back"
    );
    let plain = done!(Region::create(4096), "a region");
    check!(rt::Trace::open(&plain).is_err(), "a trace of zeros");
    check!(Statistics::open(&plain).is_err(), "statistics of zeros");
    done!(rt::drop_handle(plain.into_handle()), "giving it back");
}
