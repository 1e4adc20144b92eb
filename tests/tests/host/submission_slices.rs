//! Operations that waited and are due together are looked at a slice at a time, with the chains behind them: others
//! run in between, and what allows it is looked at, and whether who serves has to end.

use std::sync::Arc;

use crate::common::realm::Realm;
use crate::common::submissions::{LINK, Submissions, cancel, nop, timeout};
use crate::revoked::entries::{SLICE, Served, reduced_at};
use abi::submission::{Operation, Submission};
use abi::{Error, FOREVER, Handle, Rights};
use fake::FakeTask;

/// Chains, and the entries of each behind its first.
const CHAINS: u32 = 8;
const BEHIND: u32 = 31;

/// Has the thread that serves entries do something whenever it lets others run.
fn while_paused<T>(
    realm: &Arc<Realm>,
    pausing: impl Fn(&Realm) + Send + 'static,
    serve: impl FnOnce() -> T,
) -> T {
    let inside = Arc::downgrade(realm);
    let paused = move |_: &_| pausing(&inside.upgrade().expect("it is there"));
    realm.machine().set_while_paused(paused);
    let served = FakeTask::default().perform(serve);
    realm.machine().clear_hooks();
    served
}

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

#[test]
fn who_may_take_no_entry_after_what_was_due_is_told_why() {
    let reduced = |realm: &Realm, handle| realm.reduce(0, handle, !Rights::SEND).unwrap();
    let ended = |_: &Realm, _| FakeTask::current().end();
    for (way, why) in [
        (reduced as fn(&Realm, Handle), Error::Denied),
        (ended, Error::Interrupted),
    ] {
        let realm = Arc::new(Realm::new(1));
        let mut ring = Submissions::new(&realm, 0, 256, 256);
        let handle = ring.handle;
        // As many as fit into a slice.
        for _ in 0..SLICE / (1 + BEHIND) {
            ring.write(&realm, timeout(1, 1000).with(LINK));
            for number in 1..BEHIND {
                ring.write(&realm, nop(number.into()).with(LINK));
            }
            ring.write(&realm, nop(0));
        }
        ring.publish(&realm);
        assert_eq!(ring.enter(&realm, SLICE, 0, 0), Ok(SLICE.into()));
        realm.machine().advance_ns(1000);
        realm.ipc.expire_timers(0, usize::MAX);
        ring.push(&realm, nop(2));
        let enter = || ring.enter(&realm, 1, 0, 0);
        let answer = while_paused(&realm, move |realm| way(realm, handle), enter);
        assert_eq!(answer, Err(why));
        assert_eq!((ring.posted(&realm), ring.released(&realm)), (SLICE, SLICE));
        Arc::into_inner(realm).expect("nobody else has it").finish();
    }
}

#[test]
fn an_entry_that_takes_long_ends_with_its_task_and_says_so() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = Submissions::new(&realm, 0, 256, 256);
    let waits: Vec<_> = (0..2 * SLICE).map(|_| timeout(7, FOREVER)).collect();
    assert_eq!(ring.run(&realm, &waits), []);
    // A byte at a time.
    let copy = Submission::new(Operation::Copy, 9, [0, 0, 0, 0, 2, 0]);
    for (entry, done_before) in [(cancel(8, 7), SLICE), (copy, 0)] {
        ring.push(&realm, entry);
        let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
        let enter = || ipc.enter_submissions(domain, ring.handle, 1, 0, 0, |_, _| Ok(1));
        let ended = |_: &Realm| FakeTask::current().end();
        assert_eq!(while_paused(&realm, ended, enter), Ok(1));
        let done = ring.reap(&realm);
        let last = (entry.user_data, Err(Error::Interrupted));
        assert_eq!(
            (done.last(), done.len()),
            (Some(&last), done_before as usize + 1)
        );
    }
    // What it has not come to waits on.
    let done = ring.run(&realm, &[cancel(8, 7)]);
    assert_eq!(done.last(), Some(&(8, Ok(SLICE.into()))));
    Arc::into_inner(realm).expect("nobody else has it").finish();
}
