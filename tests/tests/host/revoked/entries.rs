//! Entries of a submission ring, whose capability is reduced while they are served.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use abi::submission::{Operation, Submission};
use abi::{Error, Handle, Rights};

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

/// Has entries of a ring served by `enter`, which gets what makes their calls, and its capability reduced at a moment of
/// that.
pub fn reduced_at(
    moment: usize,
    realm: &Arc<Realm>,
    handle: Handle,
    enter: impl FnOnce(&dyn Fn(Operation, [u64; 6]) -> Result<u64, Error>) -> Result<u64, Error>,
) -> Served {
    let begun = Rc::new(Cell::new(0));
    let (inside, told) = (realm.clone(), begun.clone());
    let reduce = move || {
        fake::on_cpu(2, || inside.reduce(0, handle, !Rights::SEND).unwrap());
        told.get()
    };
    let operate = |_, _| {
        begun.set(begun.get() + 1);
        Ok(0)
    };
    let (answer, before) = fake::at_moment(moment, None, reduce, || enter(&operate));
    Served {
        answer,
        before,
        begun: begun.get(),
    }
}

/// Has three slices of entries served, and the capability reduced at a moment of that.
pub fn served_while(moment: usize) -> Served {
    let realm = Arc::new(Realm::new(1));
    let mut ring = Submissions::new(&realm, 0, 256, 256);
    let handle = ring.handle;
    for number in 0..ALL {
        let entry = Submission::new(Operation::Signal, number.into(), [0; 6]);
        ring.write(&realm, entry);
    }
    ring.publish(&realm);
    let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
    let served = reduced_at(moment, &realm, handle, |operate| {
        ipc.enter_submissions(domain, handle, ALL, 0, 0, operate)
    });
    Arc::into_inner(realm).expect("nobody else has it").finish();
    served
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
