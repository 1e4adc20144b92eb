//! Entries of a submission ring, whose capability is reduced while they are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use abi::submission::{Operation, Submission};
use abi::{Error, Rights};

use crate::common::realm::Realm;
use crate::common::submissions::Submissions;

/// Entries that are taken as one.
pub const SLICE: u32 = 64;
/// Some slices.
pub const ALL: u32 = 3 * SLICE;

/// What came of entries.
#[derive(Debug)]
pub struct Served {
    pub answer: Result<u64, Error>,
    /// How many had begun when the capability was reduced; none: there is no such moment.
    pub before: Option<u32>,
    /// How many began.
    pub begun: u32,
}

/// Has three slices of entries served, and the capability reduced at a moment of that.
pub fn served_while(moment: u32) -> Served {
    let realm = Arc::new(Realm::new(1));
    let mut ring = Submissions::new(&realm, 0, 256, 256);
    let handle = ring.handle;
    for number in 0..ALL {
        let entry = Submission::new(Operation::Signal, number.into(), [0; 6]);
        ring.write(&realm, entry);
    }
    ring.publish(&realm);
    let (begun, before) = (AtomicU32::new(0), AtomicU32::new(u32::MAX));
    let counts = Arc::new((begun, before));
    let (inside, told, mut turn) = (realm.clone(), counts.clone(), 0);
    let meanwhile = move || {
        if turn == moment {
            told.1
                .store(told.0.load(Ordering::Relaxed), Ordering::Relaxed);
            fake::on_cpu(2, || inside.reduce(0, handle, !Rights::SEND).unwrap());
        }
        turn += 1;
    };
    let operate = |_, _| {
        counts.0.fetch_add(1, Ordering::Relaxed);
        Ok(0)
    };
    let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
    let enter = || ipc.enter_submissions(domain, handle, ALL, 0, 0, operate);
    let answer = fake::before_locks(None, meanwhile, enter);
    let [begun, before] = [&counts.0, &counts.1].map(|count| count.load(Ordering::Relaxed));
    Arc::into_inner(realm).expect("nobody else has it").finish();
    Served {
        answer,
        before: (before != u32::MAX).then_some(before),
        begun,
    }
}

/// Whether entries began as they may when the capability is reduced after so many: the rest of a slice, and no more.
pub fn check(served: &Served, before: u32) {
    let most = before.next_multiple_of(SLICE);
    let answer = match most {
        0 => Err(Error::Denied),
        begun => Ok(begun.into()),
    };
    assert_eq!((served.begun, served.answer), (most, answer), "{served:?}");
}
