//! Submission rings: many calls at once, and what comes of them.

mod corpus;
mod crowds;
mod hostile;
mod inside;
mod polling;
mod reaping;
mod shapes;

use alloc::vec::Vec;

use abi::ObjectKind;
use abi::submission::{Operation, Registered, Submission, SubmissionFlags};
use rt::{Env, Error, FOREVER, Handle, Mode, Notification, Rights, Submissions, Thread, sys};

pub use corpus::corpus;
pub use crowds::crowds;
pub use hostile::{hostile, never_reaped};
pub use inside::{chains_in_chains, registered_in_transit, registered_inside, registered_regions};
pub use polling::{polled, published, reduced};
pub use reaping::reaped;
pub use shapes::shapes;

use crate::Case;
use crate::calls::{
    READ_WRITE, cap_drop, map_all, peek, poke, region, ring_wait, small_ring, unmap,
};
use crate::check::{eventually, succeeds};
use crate::objects::channel;

const LINK: SubmissionFlags = SubmissionFlags::LINK;

fn open(entries: u32) -> Submissions {
    done!(Submissions::new(entries), "a submission ring")
}

fn bell() -> Notification {
    done!(Notification::create(), "a notification")
}

/// An entry by a handle and further arguments.
fn by(operation: Operation, number: u64, handle: Handle, further: [u64; 5]) -> Submission {
    let [b, c, d, e, f] = further;
    Submission::new(operation, number, [handle.bits(), b, c, d, e, f])
}

/// Has entries served, and takes all that is completed: numbers and outcomes.
fn run(ring: &mut Submissions, entries: &[Submission]) -> Vec<(u64, Result<u64, Error>)> {
    for entry in entries {
        // SAFETY: what entries here lead to lives as long as the case.
        done!(unsafe { ring.push(*entry) }, "an entry");
    }
    let taken = done!(ring.submit(), "submitting");
    same!(taken as usize, entries.len(), "entries taken");
    taken_out(ring)
}

fn taken_out(ring: &mut Submissions) -> Vec<(u64, Result<u64, Error>)> {
    let all = core::iter::from_fn(|| ring.take());
    all.map(|completion| (completion.user_data, completion.outcome()))
        .collect()
}

pub fn each_operation(_: &Case) {
    let mut ring = open(16);
    let bell = bell();
    let source = region(8192);
    let target = region(8192);
    let at = map_all(source, READ_WRITE);
    poke(at, 0x1234);
    poke(at + 4096, 0x5678);
    let (end, other_end) = done!(channel(), "a channel");
    let (producer, consumer) = small_ring();
    // Nothing but a wake ends it, since nobody sends.
    let sleeper = done!(
        Thread::spawn(move || ring_wait(consumer, 1, FOREVER)),
        "a thread"
    );
    let sleeps = || done!(rt::object_info(consumer), "facts").waits > 0;
    eventually("the sleep", sleeps);
    let rights = u64::from(READ_WRITE.bits());
    let all = u64::from(Rights::all().bits());
    let outcomes = run(
        &mut ring,
        &[
            Submission::new(Operation::Nop, 0, [0; 6]),
            by(Operation::Signal, 1, bell.handle(), [6, 0, 0, 0, 0]),
            by(Operation::NotifyWait, 2, bell.handle(), [0; 5]),
            by(Operation::Send, 3, end, [0; 5]),
            by(Operation::RingWake, 4, producer, [0; 5]),
            by(Operation::Map, 5, target, [0, 0, 0, rights, 0]),
            by(Operation::Derive, 6, source, [all, 0, 0, 0, 0]),
            by(Operation::Snapshot, 7, source, [0; 5]),
            by(Operation::Copy, 8, target, [0, source.bits(), 0, 8192, 0]),
            by(
                Operation::Grant,
                9,
                source,
                [producer.bits(), Mode::Share as u64, all, 0, FOREVER],
            ),
            by(
                Operation::Accept,
                10,
                Handle::from_bits(77),
                [consumer.bits(), 0, 0, 0, 0],
            ),
            by(Operation::Wait, 11, other_end, [1, 0, 0, 0, 0]),
            Submission::new(Operation::Timeout, 12, [0; 6]),
            Submission::new(Operation::Cancel, 13, [99, 0, 0, 0, 0, 0]),
        ],
    );
    let value = |number: usize| done!(outcomes[number].1, "entry {number}");
    same!(outcomes.len(), 14, "completions");
    for (number, outcome) in outcomes.iter().enumerate() {
        same!(outcome.0, number as u64, "the order of what does not wait");
    }
    same!(value(2), 6, "the bits");
    same!(
        (value(0), value(1), value(3), value(4)),
        (0, 0, 0, 0),
        "nothing"
    );
    same!(
        peek(value(5) + 4096),
        0x5678,
        "what was copied, where it was mapped"
    );
    same!(value(8), 8192, "bytes copied");
    same!(outcomes[10].1, Err(Error::NotFound), "a token that is none");
    check!(value(11) & 1 != 0, "the channel has a message");
    same!(
        (value(12), outcomes[13].1),
        (0, Err(Error::NotFound)),
        "the rest"
    );
    let derived = Handle::from_bits(value(6));
    same!(derived.kind(), Some(ObjectKind::Region), "what was derived");
    let snapshot = map_all(Handle::from_bits(value(7)), Rights::READ);
    same!(peek(snapshot), 0x1234, "the snapshot");
    same!(done!(sleeper.join(), "who slept"), Ok(()), "who was woken");
    let token = Handle::from_bits(value(9));
    let address = value(5);
    let outcomes = run(
        &mut ring,
        &[
            Submission::new(Operation::Unmap, 20, [address, 0, 0, 0, 0, 0]),
            by(Operation::Drop, 21, derived, [0; 5]),
            by(Operation::Drop, 22, derived, [0; 5]),
            by(Operation::Accept, 23, token, [consumer.bits(), 0, 0, 0, 0]),
            by(Operation::Accept, 24, token, [consumer.bits(), 0, 0, 0, 0]),
        ],
    );
    let accepted = done!(outcomes[3].1, "accepting");
    let wanted = [
        (20, Ok(0)),
        (21, Ok(0)),
        (22, Err(Error::BadHandle)),
        (23, Ok(accepted)),
        (24, Err(Error::NotFound)),
    ];
    same!(outcomes[..], wanted[..], "what was given back and taken");
    refused!(unmap(address), Error::NotFound, "what was unmapped");
    let accepted = map_all(Handle::from_bits(accepted), READ_WRITE);
    poke(accepted + 4096, 0x9abc);
    same!(
        peek(at + 4096),
        0x9abc,
        "what was granted, where it was accepted"
    );
}

pub fn links(_: &Case) {
    let mut ring = open(16);
    let (first, second) = (bell(), bell());
    let signal = |number, bits| {
        by(
            Operation::Signal,
            number,
            first.handle(),
            [bits, 0, 0, 0, 0],
        )
    };
    let outcomes = run(
        &mut ring,
        &[
            signal(1, 1).with(LINK),
            signal(2, 0).with(LINK),
            signal(3, 2).with(LINK),
            signal(4, 4),
            signal(5, 8),
        ],
    );
    let cancelled = Err(Error::Cancelled);
    let wanted = [
        (1, Ok(0)),
        (2, Err(Error::Invalid)),
        (3, cancelled),
        (4, cancelled),
        (5, Ok(0)),
    ];
    same!(outcomes[..], wanted[..], "a chain");
    same!(first.poll(), Ok(9), "the bits of those that were done");
    // One that waits keeps what is behind it waiting, and nothing else.
    let waits = by(
        Operation::NotifyWait,
        6,
        second.handle(),
        [FOREVER, 0, 0, 0, 0],
    );
    let outcomes = run(&mut ring, &[waits.with(LINK), signal(7, 16), signal(8, 32)]);
    same!(outcomes[..], [(8, Ok(0))][..], "what is not linked");
    same!(first.poll(), Ok(32), "its bit");
    done!(second.signal(5), "a signal");
    check!(ring.is_due(), "the header says so");
    done!(ring.submit_and_wait(2, FOREVER), "waiting");
    same!(
        taken_out(&mut ring)[..],
        [(6, Ok(5)), (7, Ok(0))][..],
        "the chain"
    );
    same!(first.poll(), Ok(16), "the bit behind it");
}

pub fn waits(case: &Case) {
    let mut ring = open(16);
    let bell = bell();
    // A child signals while this sleeps.
    done!(ring.wait(1, &bell, FOREVER), "an entry");
    done!(ring.timeout(2, rt::in_ms(20)), "an entry");
    let child = case.child("submission_signals");
    let child = child.handle(bell.handle(), Mode::Share, Rights::SIGNAL);
    let child = done!(child.start(), "a child");
    done!(ring.submit_and_wait(2, FOREVER), "waiting");
    let mut outcomes = taken_out(&mut ring);
    outcomes.sort_unstable_by_key(|outcome| outcome.0);
    same!(outcomes[..], [(1, Ok(7)), (2, Ok(0))][..], "what ended");
    succeeds(&child);
    // A deadline, and a cancel.
    done!(ring.wait(3, &bell, rt::in_ms(5)), "an entry");
    done!(ring.wait(4, &bell, FOREVER), "an entry");
    done!(ring.submit_and_wait(1, FOREVER), "waiting");
    same!(
        taken_out(&mut ring)[..],
        [(3, Err(Error::TimedOut))][..],
        "late"
    );
    done!(ring.cancel(5, 4), "an entry");
    done!(ring.submit(), "cancelling");
    let wanted = [(4, Err(Error::Cancelled)), (5, Ok(1))];
    same!(taken_out(&mut ring)[..], wanted[..], "cancelled");
    refused!(
        ring.submit_and_wait(1, rt::in_ms(2)),
        Error::TimedOut,
        "nothing"
    );
    refused!(ring.submit_and_wait(1, 0), Error::WouldBlock, "nothing");
    // What goes through a full channel goes when there is room.
    let (end, other_end) = done!(channel(), "a channel");
    let send = |number| by(Operation::Send, number, end, [0, FOREVER, 0, 0, 0]);
    let outcomes = run(&mut ring, &[send(1), send(2), send(3), send(4), send(5)]);
    same!(outcomes.len(), 4, "messages that there was room for");
    let other_end = rt::ChannelEnd::from_handle(other_end);
    done!(other_end.receive(0), "receiving");
    done!(ring.submit_and_wait(1, FOREVER), "waiting");
    same!(taken_out(&mut ring)[..], [(5, Ok(0))][..], "the fifth");
}

pub fn refusals(case: &Case) {
    let region = rt::Region::from_handle(case.statistics);
    let statistics = done!(rt::Statistics::open(&region), "opening the statistics");
    let mut ring = open(4);
    let bell = bell();
    let errors = [Error::WouldBlock, Error::TimedOut, Error::Cancelled];
    let counted = || {
        let info = done!(rt::object_info(bell.handle()), "counts");
        let cpu = done!(statistics.cpu(0).ok_or(Error::Invalid), "CPU 0");
        let of_object = errors.map(|error| info.refusals[error as usize]);
        (of_object, errors.map(|error| cpu.refusals[error as usize]))
    };
    let ([..], before) = counted();
    let since = |[blocked, late, cancelled]: [u64; 3]| {
        let [a, b, c] = before;
        let wanted = [blocked, late, cancelled];
        (wanted, [a + blocked, b + late, c + cancelled])
    };
    done!(ring.wait(1, &bell, FOREVER), "an entry");
    done!(ring.wait(2, &bell, rt::in_ms(1)), "an entry");
    for _ in 0..3 {
        done!(ring.submit(), "submitting");
    }
    same!(counted(), since([0, 0, 0]), "while they wait");
    done!(ring.submit_and_wait(1, FOREVER), "a deadline");
    same!(counted(), since([0, 1, 0]), "after a deadline");
    done!(ring.cancel(3, 1), "an entry");
    done!(ring.wait(4, &bell, 0), "an entry");
    done!(ring.submit(), "submitting");
    same!(counted(), since([1, 1, 1]), "at the end");
    same!(taken_out(&mut ring).len(), 4, "completions");
}

pub fn registered(_: &Case) {
    let mut ring = open(4);
    let bell = bell();
    let id = done!(rt::submission::register(bell.handle()), "registering");
    let signal = |id: Registered| {
        let handle = Handle::from_bits(id.bits());
        by(Operation::Signal, 1, handle, [2, 0, 0, 0, 0]).with(SubmissionFlags::REGISTERED)
    };
    same!(
        run(&mut ring, &[signal(id)])[..],
        [(1, Ok(0))][..],
        "by its number"
    );
    same!(bell.poll(), Ok(2), "the bit");
    let mut later = open(4);
    same!(
        run(&mut later, &[signal(id)])[..],
        [(1, Ok(0))][..],
        "in a later ring"
    );
    done!(rt::submission::unregister(id, 0), "letting it go");
    let next = done!(rt::submission::register(bell.handle()), "registering");
    same!(next.slot(), id.slot(), "its successor");
    let wanted = [(1, Err(Error::NotFound))];
    same!(
        run(&mut ring, &[signal(id)])[..],
        wanted[..],
        "an old number"
    );
    refused!(
        rt::submission::unregister(id, 0),
        Error::NotFound,
        "an old number"
    );
    drop(bell);
    same!(
        run(&mut ring, &[signal(next)])[..],
        wanted[..],
        "after the end"
    );
    // More than there are slots.
    let region = region(4096);
    for _ in 0..1 << 16 {
        done!(rt::submission::register(region), "registering");
    }
    refused!(rt::submission::register(region), Error::Limit, "one more");
    done!(cap_drop(region), "dropping");
}

/// A process that has operations at work and waiting in rings of both kinds all the time.
fn submit_all() {
    let bell = bell();
    let mut rings = [
        open(8),
        done!(Submissions::polled(8, 100), "a ring with a thread"),
    ];
    let id = done!(rt::submission::register(bell.handle()), "registering");
    let handle = Handle::from_bits(id.bits());
    let wait = by(Operation::NotifyWait, 1, handle, [FOREVER, 0, 0, 0, 0]);
    for ring in &mut rings {
        for flags in [LINK, SubmissionFlags::empty()] {
            let flags = flags | SubmissionFlags::REGISTERED;
            // SAFETY: these entries lead nowhere.
            done!(unsafe { ring.push(wait.with(flags)) }, "an entry");
        }
        done!(ring.timeout(2, rt::in_ms(1)), "an entry");
        done!(ring.timeout(3, FOREVER), "an entry");
        done!(ring.submit_and_wait(1, FOREVER), "a time");
        done!(bell.signal(1), "a signal");
        done!(ring.submit_and_wait(2, FOREVER), "a bit");
        done!(ring.cancel(4, 1), "an entry");
        done!(ring.submit_and_wait(4, FOREVER), "cancelling");
        let ended = core::iter::from_fn(|| ring.take()).count();
        same!(ended, 4, "what ended");
        done!(ring.register(5, bell.handle(), u64::MAX), "an entry");
        done!(ring.submit_and_wait(1, FOREVER), "registering");
        let number = ring.take().map(|completion| completion.outcome());
        let own = number.and_then(Result::ok).and_then(Registered::from_bits);
        let own = done!(own.ok_or(Error::NotFound), "a number");
        let entry = Submission {
            arguments: [own.bits(), FOREVER, 0, 0, 0, 0],
            ..wait.with(SubmissionFlags::REGISTERED)
        };
        // SAFETY: it leads nowhere.
        done!(unsafe { ring.push(entry) }, "an entry");
        done!(ring.unregister(6, own, FOREVER), "an entry");
        done!(ring.submit(), "letting it go");
        done!(bell.signal(1), "a signal");
        done!(ring.submit_and_wait(2, FOREVER), "the end of both");
        same!(core::iter::from_fn(|| ring.take()).count(), 2, "both");
    }
    done!(rt::submission::unregister(id, FOREVER), "letting it go");
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "submission_signals" => {
            done!(rt::sleep_until(rt::in_ms(5)), "sleeping");
            let bell = Notification::from_handle(env.handle(0));
            done!(bell.signal(7), "a signal");
        }
        "submit" => submit_all(),
        "submission_crowd" => crowds::end_with_them(),
        "submission_server" => {
            let ring = done!(Submissions::polled(4, 1000), "a ring with a thread");
            core::mem::forget(ring);
            // SAFETY: nothing is left to be dropped.
            let _ = unsafe { sys::thread_exit() };
        }
        _ => return None,
    }
    Some(0)
}
