//! Operations that waited and are due together are looked at a slice at a time, with the chains behind them: others
//! run in between, and what allows it is looked at.

use std::sync::Arc;

use crate::common::realm::Realm;
use crate::common::submissions::{LINK, Submissions, timeout};
use crate::revoked::entries::{SLICE, Served, reduced_at};
use abi::submission::{Operation, Submission};
use abi::{Error, Handle};

/// Chains, and the entries of each behind its first.
const CHAINS: u32 = 8;
const BEHIND: u32 = 31;

/// Has the chains become due, and the capability of the ring reduced at a moment at which they are served.
fn served_while(moment: usize) -> Served {
    let realm = Arc::new(Realm::new(1));
    let mut ring = Submissions::new(&realm, 0, 256, 256);
    let handle = ring.handle;
    for _ in 0..CHAINS {
        ring.write(&realm, timeout(1, 1000).with(LINK));
        for number in 0..BEHIND {
            let entry = Submission::new(Operation::Signal, 2, [Handle::NONE.bits(); 6]);
            let last = number == BEHIND - 1;
            ring.write(&realm, if last { entry } else { entry.with(LINK) });
        }
    }
    ring.publish(&realm);
    let all = CHAINS * (1 + BEHIND);
    assert_eq!(ring.enter(&realm, all, 0, 0), Ok(all.into()));
    realm.machine().advance_ns(1000);
    realm.ipc.expire_timers(0, usize::MAX);
    let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
    let served = reduced_at(moment, &realm, handle, |operate| {
        let mut answer = Ok(0);
        // As a program enters that is told of more.
        while answer == Ok(0) && ring.says_due(&realm) {
            answer = ipc.enter_submissions(domain, handle, 0, 0, 0, operate);
        }
        answer
    });
    // What was not looked at waits, and the program is told of it.
    let is_left = served.begun < CHAINS * BEHIND;
    assert_eq!(ring.says_due(&realm), is_left, "{served:?}");
    Arc::into_inner(realm).expect("nobody else has it").finish();
    served
}

#[test]
fn of_what_is_due_no_more_begins_in_a_slice_after_what_allows_it_was_taken_away() {
    for moment in 0.. {
        let served = served_while(moment);
        let Some(before) = served.before else {
            assert_eq!((served.begun, served.answer), (CHAINS * BEHIND, Ok(0)));
            assert!(moment > 20, "there are {moment} moments");
            return;
        };
        let after = served.begun - before;
        assert!(after < SLICE + BEHIND, "{served:?} at moment {moment}");
        if served.begun < CHAINS * BEHIND {
            assert_eq!(served.answer, Err(Error::Denied), "{served:?}");
        }
    }
}
