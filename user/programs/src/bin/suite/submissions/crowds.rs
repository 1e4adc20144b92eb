//! Thousands of operations that wait at a few objects and end in one call. As they leave, the list of each object gets
//! shorter several times, which takes memory of the kernel, and no program may choose how much of that a call takes.

use alloc::vec::Vec;

use abi::submission::Operation;
use rt::{Error, FOREVER, Notification, Submissions};

use super::{bell, by, open, taken_out};
use crate::Case;
use crate::check::succeeds;

const OBJECTS: usize = 16;
/// More than 256: a list of so many has room for 512, and gets shorter several times as they leave.
const EACH: usize = 257;
/// What all are known by.
const NUMBER: u64 = 7;

/// Operations that wait for ever.
fn crowd(bells: &[Notification]) -> Submissions {
    let mut ring = open(4096);
    for _ in 0..EACH {
        for bell in bells {
            let wait = by(
                Operation::NotifyWait,
                NUMBER,
                bell.handle(),
                [FOREVER, 0, 0, 0, 0],
            );
            // SAFETY: it leads nowhere.
            done!(unsafe { ring.push(wait) }, "an entry");
        }
        let taken = done!(ring.submit(), "submitting");
        same!(taken as usize, OBJECTS, "entries taken");
    }
    ring
}

fn bells() -> Vec<Notification> {
    (0..OBJECTS).map(|_| bell()).collect()
}

pub fn crowds(case: &Case) {
    let bells = bells();
    drop(crowd(&bells));
    let mut ring = crowd(&bells);
    done!(ring.cancel(NUMBER + 1, NUMBER), "an entry");
    done!(ring.submit(), "cancelling");
    let ended = taken_out(&mut ring);
    same!(ended.len(), OBJECTS * EACH + 1, "what has ended");
    let cancelled = ended.iter().filter(|(number, _)| *number == NUMBER);
    let as_it_should = cancelled.filter(|(_, outcome)| *outcome == Err(Error::Cancelled));
    same!(as_it_should.count(), OBJECTS * EACH, "what was cancelled");
    let child = case.child("submission_crowd").start();
    succeeds(&done!(child, "a child"));
}

/// Ends with all that waits.
pub fn end_with_them() {
    core::mem::forget(crowd(&bells()));
}
