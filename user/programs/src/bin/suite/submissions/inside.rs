//! Handles that are registered, used and let go by entries of a ring.

use abi::GrantFlags;
use abi::submission::{Operation, Registered, Submission, SubmissionFlags};
use rt::{Error, FOREVER, Handle, Mode, Notification, Rights, Submissions, sys};

use super::{LINK, bell, open, taken_out};
use crate::Case;
use crate::calls::{map_all, peek, poke, region};

const REGISTERED: SubmissionFlags = SubmissionFlags::REGISTERED;

fn by(operation: Operation, number: u64, id: Registered, argument: u64) -> Submission {
    let arguments = [id.bits(), argument, 0, 0, 0, 0];
    Submission::new(operation, number, arguments)
}

/// Has entries served, and waits for so many completions; those that are there then, by their numbers.
fn run(
    ring: &mut Submissions,
    entries: &[Submission],
    completions: u32,
) -> alloc::vec::Vec<(u64, Result<u64, Error>)> {
    for entry in entries {
        // SAFETY: these entries lead nowhere.
        done!(unsafe { ring.push(*entry) }, "an entry");
    }
    done!(ring.submit_and_wait(completions, FOREVER), "submitting");
    let mut done = taken_out(ring);
    done.sort_unstable_by_key(|done| done.0);
    done
}

/// What a batch does with a handle in a slot of which it knows the number.
fn once(ring: &mut Submissions, bell: &Notification, after: &Notification, id: Registered) {
    let slot = u64::from(id.slot());
    let register = [bell.handle().bits(), slot, 0, 0, 0, 0];
    let outcomes = run(
        ring,
        &[
            Submission::new(Operation::Register, 1, register).with(LINK),
            by(Operation::Signal, 2, id, 2).with(LINK | REGISTERED),
            by(Operation::NotifyWait, 3, id, FOREVER).with(LINK | REGISTERED),
            by(Operation::Unregister, 4, id, FOREVER),
        ],
        4,
    );
    let wanted = [(1, Ok(id.bits())), (2, Ok(0)), (3, Ok(2)), (4, Ok(0))];
    same!(outcomes[..], wanted[..], "registered, used and let go");
    // What waits by it is in the same ring as what waits for that, and so is what ends it.
    let id = done!(id.next().ok_or(Error::NotFound), "the next number");
    let signal = [after.handle().bits(), 8, 0, 0, 0, 0];
    let outcomes = run(
        ring,
        &[
            Submission::new(Operation::Register, 1, register),
            by(Operation::NotifyWait, 2, id, FOREVER).with(REGISTERED),
            by(Operation::Unregister, 3, id, 0),
            by(Operation::Unregister, 4, id, FOREVER).with(LINK),
            Submission::new(Operation::Signal, 5, signal),
            by(Operation::Signal, 6, id, 1).with(REGISTERED),
        ],
        3,
    );
    let wanted = [
        (1, Ok(id.bits())),
        (3, Err(Error::Busy)),
        (6, Err(Error::NotFound)),
    ];
    same!(outcomes[..], wanted[..], "while it is in use");
    refused!(
        rt::submission::unregister(id, FOREVER),
        Error::Busy,
        "another who lets it go"
    );
    done!(bell.signal(4), "a signal");
    let outcomes = run(ring, &[], 3);
    let wanted = [(2, Ok(4)), (4, Ok(0)), (5, Ok(0))];
    same!(outcomes[..], wanted[..], "when it is not");
    same!(after.poll(), Ok(8), "the bit behind it");
}

pub fn registered_inside(_: &Case) {
    // SAFETY: the call touches no memory.
    done!(unsafe { sys::sub_slots(16, 4) }, "reserved slots");
    let (bell, after) = (bell(), bell());
    let polled = |idle_us| done!(Submissions::polled(16, idle_us), "a ring with a thread");
    let rings = [open(16), polled(0), polled(50_000)];
    for (slot, mut ring) in (0..).zip(rings) {
        let mut id = Registered::new(slot, 1);
        for _ in 0..20 {
            once(&mut ring, &bell, &after, id);
            let next = id.next().and_then(Registered::next);
            id = done!(next.ok_or(Error::NotFound), "the next number");
        }
        // A deadline that passes leaves it registered; a ring that ends, too.
        let register = [bell.handle().bits(), slot.into(), 0, 0, 0, 0];
        let outcomes = run(
            &mut ring,
            &[
                Submission::new(Operation::Register, 1, register),
                by(Operation::NotifyWait, 2, id, FOREVER).with(REGISTERED),
                by(Operation::Unregister, 3, id, rt::in_ms(2)),
            ],
            2,
        );
        let wanted = [(1, Ok(id.bits())), (3, Err(Error::TimedOut))];
        same!(outcomes[..], wanted[..], "late");
        done!(ring.unregister(4, id, FOREVER), "an entry");
        done!(ring.submit(), "submitting");
        drop(ring);
        done!(
            rt::submission::unregister(id, FOREVER),
            "letting it go after the ring"
        );
    }
}

/// Chains that a kernel which ran one in another would have this deep on its stack.
const CHAINS: u64 = 256;

/// Each lets a handle go and cancels the beginning of the next; one entry ends all uses of the handles.
pub fn chains_in_chains(_: &Case) {
    let bell = bell();
    let register = || done!(rt::submission::register(bell.handle()), "registering");
    for mut ring in [
        open(1024),
        done!(Submissions::polled(1024, 0), "a ring with a thread"),
    ] {
        let ids: alloc::vec::Vec<_> = (0..CHAINS).map(|_| register()).collect();
        let cancel =
            |number, target| Submission::new(Operation::Cancel, number, [target, 0, 0, 0, 0, 0]);
        let mut entries = alloc::vec::Vec::new();
        for id in &ids {
            entries.push(by(Operation::NotifyWait, 1, *id, FOREVER).with(REGISTERED));
        }
        for (number, id) in (1000..).zip(&ids) {
            entries.push(by(Operation::Unregister, number, *id, FOREVER).with(LINK));
            entries.push(cancel(5000 + number, number + 1));
        }
        entries.extend([cancel(2, 1), cancel(3, 1000)]);
        let outcomes = run(&mut ring, &entries, entries.len() as u32);
        let gone = Err(Error::NotFound);
        let waits = (0..CHAINS).map(|_| (1, Err(Error::Cancelled)));
        let cancels = [(2, Ok(CHAINS)), (3, gone)];
        let chains = (1000..1000 + CHAINS).map(|number| (number, Ok(0)));
        let behind = (6000..6000 + CHAINS).map(|number| (number, gone));
        let wanted = waits.chain(cancels).chain(chains).chain(behind);
        let wanted: alloc::vec::Vec<_> = wanted.collect();
        same!(outcomes[..], wanted[..], "chains that cancel one another");
    }
}

pub fn registered_regions(_: &Case) {
    const BYTES: u64 = 2 * abi::limits::MAX_COPY;
    let both = REGISTERED | SubmissionFlags::REGISTERED_SOURCE;
    let regions = [region(BYTES), region(BYTES)];
    let register = |region| done!(rt::submission::register(region), "registering");
    let [target, source] = regions.map(register);
    let source_at = map_all(regions[1], Rights::READ | Rights::WRITE);
    for polls in [false, true] {
        let mut ring = match polls {
            false => open(8),
            true => done!(Submissions::polled(8, 0), "a ring with a thread"),
        };
        poke(source_at + 8, 0x1234 + u64::from(polls));
        poke(source_at + BYTES - 16, 0x5678 + u64::from(polls));
        let copy = |number, to_at, from_at, len| {
            let arguments = [target.bits(), to_at, source.bits(), from_at, len, 0];
            Submission::new(Operation::Copy, number, arguments).with(both)
        };
        let map = [target.bits(), 0, 0, 0, Rights::READ.bits().into(), 0];
        let snapshot = [target.bits(), 0, 0, 0, 0, 0];
        let outcomes = run(
            &mut ring,
            &[
                copy(1, 16, 8, BYTES - 16),
                copy(2, 16, 8, BYTES - 15),
                copy(3, 8, 16, BYTES - 15),
                Submission::new(Operation::Map, 4, map).with(REGISTERED),
                Submission::new(Operation::Snapshot, 5, snapshot).with(REGISTERED),
            ],
            5,
        );
        let value = |at: usize| done!(outcomes[at].1, "entry {at}");
        let beyond = Err(Error::Range);
        let wanted = [
            (1, Ok(BYTES - 16)),
            (2, beyond),
            (3, beyond),
            (4, Ok(value(3))),
            (5, Ok(value(4))),
        ];
        same!(outcomes[..], wanted[..], "by registered numbers");
        let kept = map_all(Handle::from_bits(value(4)), Rights::READ);
        for (at, what) in [(value(3), "what was mapped"), (kept, "what was kept")] {
            same!(peek(at + 16), 0x1234 + u64::from(polls), "{what}");
            same!(peek(at + BYTES - 8), 0x5678 + u64::from(polls), "{what}");
        }
    }
    // A number that is not known any more: the other one of the copy is let go at once.
    done!(rt::submission::unregister(source, 0), "letting it go");
    let arguments = [target.bits(), 0, source.bits(), 0, 8, 0];
    let stale = Submission::new(Operation::Copy, 6, arguments).with(both);
    let outcomes = run(&mut open(4), &[stale], 1);
    same!(
        outcomes[..],
        [(6, Err(Error::NotFound))][..],
        "an old number"
    );
    done!(rt::submission::unregister(target, 0), "letting it go");
}

pub fn registered_in_transit(case: &Case) {
    let mut ring = open(4);
    let bell = bell();
    // One that is there still when the grant is withdrawn.
    let way = done!(case.child("nothing").stopped().start(), "a child");
    let id = done!(rt::submission::register(bell.handle()), "registering");
    let wait = by(Operation::NotifyWait, 1, id, FOREVER).with(REGISTERED);
    let none = run(&mut ring, &[wait], 0);
    same!(none.len(), 0, "what waits");
    let (to, flags) = (way.handle(), GrantFlags::empty());
    // SAFETY: the call touches no memory.
    let moved = unsafe {
        let all = Rights::all();
        sys::grant(bell.handle(), to, Mode::Move, all, flags, FOREVER)
    };
    let token = done!(moved, "a grant");
    refused!(
        rt::submission::unregister(id, rt::in_ms(1)),
        Error::TimedOut,
        "what is in use"
    );
    // SAFETY: the call touches no memory.
    done!(unsafe { sys::cancel(token) }, "withdrawing it");
    let ended = run(&mut ring, &[], 1);
    let wanted = [(1, Err(Error::Cancelled))];
    same!(ended[..], wanted[..], "the wait");
    done!(rt::submission::unregister(id, FOREVER), "letting it go");
    done!(way.kill(), "ending the child");
    crate::check::wait(&way);
}
