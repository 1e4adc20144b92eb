//! A program that asks for more than it takes out, and then takes it out and does nothing else.

use abi::Events;
use rt::{Error, FOREVER, Submissions};

use super::taken_out;
use crate::Case;

/// Sleeps until so many completions are there, and for a while in which a thread with nothing to do goes to rest.
fn until_ready(ring: &mut Submissions, count: u32) {
    while ring.ready() < count {
        done!(rt::sleep_until(rt::in_ms(1)), "sleeping");
    }
    done!(rt::sleep_until(rt::in_ms(2)), "sleeping");
}

/// Asks for 48 entries of a ring of 16, of whose completions there is room for 32.
fn fill(ring: &mut Submissions) {
    for round in 0..3 {
        for number in 16 * round..16 * round + 16 {
            done!(ring.nop(number), "entry {number}");
        }
        done!(ring.submit(), "submitting");
        until_ready(ring, (16 * round as u32 + 16).min(32));
    }
}

pub fn reaped(_: &Case) {
    // One that rests at once, and one that looks for entries for long.
    for idle_us in [0, 50_000] {
        let mut ring = done!(Submissions::polled(16, idle_us), "a ring with a thread");
        for _ in 0..3 {
            fill(&mut ring);
            same!(ring.ready(), 32, "completions that there is room for");
            let mut next = 0;
            while next < 48 {
                // Nobody submits, or waits in a call that wakes the thread.
                let some = rt::object_wait(ring.handle(), Events::READABLE, rt::in_ms(10_000));
                done!(some, "completion {next}");
                for (number, outcome) in taken_out(&mut ring) {
                    same!((number, outcome), (next, Ok(0)), "completion {next}");
                    next += 1;
                }
            }
        }
    }
    // What was taken out is not there to be taken any more, wherever it was: of three, the first.
    for mut ring in [
        super::open(16),
        done!(Submissions::polled(16, 0), "a ring with a thread"),
    ] {
        for number in 0..3 {
            done!(ring.nop(number), "an entry");
        }
        done!(ring.submit_and_wait(3, FOREVER), "submitting");
        same!(ring.take().map(|one| one.user_data), Some(0), "the first");
        refused!(
            ring.submit_and_wait(3, rt::in_ms(2)),
            Error::TimedOut,
            "a third"
        );
        same!(ring.ready(), 2, "the others");
    }
}
