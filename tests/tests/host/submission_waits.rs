//! Submission rings whose operations wait: they hold up nobody, and end when what they wait for is there, in time,
//! or with what they wait by.

use crate::common::ports::{notification, signal as ring_bell};
use crate::common::realm::Realm;
use crate::common::submissions::{LINK, Submissions, cancel, nop, signal, timeout, wait};
use abi::submission::{Operation, Submission};
use abi::{Error, Rights};
use ipc::Platform;

fn bits(realm: &Realm, notification: abi::Handle) -> Result<u64, Error> {
    let domain = &realm.domains[0];
    realm.ipc.wait_notification(domain, notification, 0)
}

#[test]
fn an_operation_that_waits_holds_up_nobody() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let bell = notification(&realm, 0);
    let done = ring.run(&realm, &[wait(1, bell, abi::FOREVER), nop(2)]);
    assert_eq!(done, [(2, Ok(0))]);
    assert_eq!(ring.enter(&realm, 0, 1, 0), Err(Error::WouldBlock));
    assert!(!ring.says_due(&realm));
    ring_bell(&realm, 0, bell);
    assert!(ring.says_due(&realm));
    assert_eq!(ring.enter(&realm, 0, 1, 0), Ok(0));
    assert!(!ring.says_due(&realm));
    assert_eq!(ring.reap(&realm), [(1, Ok(1))]);
    // What is there already is taken at once; a deadline of 0 polls.
    ring_bell(&realm, 0, bell);
    let done = ring.run(&realm, &[wait(3, bell, 0), wait(4, bell, 0)]);
    assert_eq!(done, [(3, Ok(1)), (4, Err(Error::WouldBlock))]);
    realm.finish();
}

#[test]
fn a_chain_goes_on_when_what_it_waited_for_is_there() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let (bell, after) = (notification(&realm, 0), notification(&realm, 0));
    let entries = [
        wait(1, bell, abi::FOREVER).with(LINK),
        signal(2, after, 2).with(LINK),
        wait(3, bell, abi::FOREVER).with(LINK),
        signal(4, after, 4),
    ];
    assert_eq!(ring.run(&realm, &entries), []);
    ring_bell(&realm, 0, bell);
    assert_eq!(ring.enter(&realm, 0, 1, 0), Ok(0));
    assert_eq!(ring.reap(&realm), [(1, Ok(1)), (2, Ok(0))]);
    assert_eq!(bits(&realm, after), Ok(2));
    assert_eq!(
        ring.run(&realm, &[cancel(9, 3)]),
        [
            (3, Err(Error::Cancelled)),
            (4, Err(Error::Cancelled)),
            (9, Ok(1)),
        ]
    );
    assert_eq!(bits(&realm, after), Err(Error::WouldBlock));
    assert_eq!(
        ring.run(&realm, &[cancel(9, 3)]),
        [(9, Err(Error::NotFound))]
    );
    realm.finish();
}

#[test]
fn what_waits_ends_at_its_time() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let bell = notification(&realm, 0);
    let entries = [
        timeout(1, 500),
        wait(2, bell, 400).with(LINK),
        nop(3),
        timeout(4, 0),
        wait(5, bell, 1000),
        timeout(6, abi::FOREVER),
    ];
    assert_eq!(ring.run(&realm, &entries), [(4, Ok(0))]);
    let pass = |ns| {
        realm.machine().advance_ns(ns);
        realm.ipc.expire_timers(0, usize::MAX);
    };
    pass(450);
    assert_eq!(ring.enter(&realm, 0, 0, 0), Ok(0));
    let late = [(2, Err(Error::TimedOut)), (3, Err(Error::Cancelled))];
    assert_eq!(ring.reap(&realm), late);
    pass(100);
    assert_eq!(ring.enter(&realm, 0, 0, 0), Ok(0));
    assert_eq!(ring.reap(&realm), [(1, Ok(0))]);
    ring_bell(&realm, 0, bell);
    pass(1000);
    assert_eq!(ring.enter(&realm, 0, 0, 0), Ok(0));
    assert_eq!(ring.reap(&realm), [(5, Ok(1))]);
    realm.finish();
}

#[test]
fn a_revoke_and_a_drop_end_what_waits_by_them() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let bell = notification(&realm, 0);
    let all = Rights::all();
    let [revoked, dropped, reduced] = [(); 3].map(|()| realm.derive(0, bell, all).unwrap());
    let other = realm.derive(0, bell, all).unwrap();
    let entries = [
        wait(1, revoked, abi::FOREVER),
        wait(2, dropped, abi::FOREVER),
        wait(3, reduced, abi::FOREVER),
        wait(4, other, abi::FOREVER),
    ];
    assert_eq!(ring.run(&realm, &entries), []);
    realm.revoke_itself(0, revoked).unwrap();
    realm.drop_handle(0, dropped).unwrap();
    realm.reduce(0, reduced, Rights::SIGNAL).unwrap();
    assert_eq!(ring.enter(&realm, 0, 3, 0), Ok(0));
    let mut done = ring.reap(&realm);
    done.sort_by_key(|done| done.0);
    let revoked = done[0].1;
    assert!([Err(Error::Revoked), Err(Error::BadHandle)].contains(&revoked));
    assert_eq!(
        done[1..],
        [(2, Err(Error::BadHandle)), (3, Err(Error::Denied))]
    );
    ring_bell(&realm, 0, bell);
    assert_eq!(ring.enter(&realm, 0, 1, 0), Ok(0));
    assert_eq!(ring.reap(&realm), [(4, Ok(1))]);
    realm.finish();
}

#[test]
fn the_end_of_a_ring_ends_all_that_waits_in_it() {
    let realm = Realm::new(1);
    let before = realm.counts();
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let bell = notification(&realm, 0);
    let entries = [
        wait(1, bell, abi::FOREVER).with(LINK),
        nop(2),
        timeout(3, 1 << 40),
        wait(4, bell, 1 << 40),
    ];
    assert_eq!(ring.run(&realm, &entries), []);
    realm.drop_handle(0, ring.handle).unwrap();
    ring_bell(&realm, 0, bell);
    assert_eq!(bits(&realm, bell), Ok(1));
    realm.drop_handle(0, bell).unwrap();
    let after = realm.counts();
    assert_eq!((after.1, after.2[0].0), (before.1, before.2[0].0));
    realm.finish();
}

#[test]
fn a_ring_that_is_dropped_by_one_of_its_entries_ends_after_the_others() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let bell = notification(&realm, 0);
    let drop = Submission::new(Operation::Drop, 1, [ring.handle.bits(), 0, 0, 0, 0, 0]);
    ring.write(&realm, wait(0, bell, abi::FOREVER));
    ring.write(&realm, drop);
    ring.write(&realm, signal(2, bell, 1));
    ring.publish(&realm);
    assert_eq!(ring.enter(&realm, 3, 0, 0), Ok(3));
    assert!(!realm.reaches(0, ring.views.submissions));
    assert_eq!(bits(&realm, bell), Ok(1));
    assert_eq!(ring.enter(&realm, 1, 0, 0), Err(Error::BadHandle));
    realm.finish();
}

/// How often each of some errors was refused at an object; and how often anything was, by entries.
fn refusals(realm: &Realm, handle: abi::Handle, errors: [Error; 3]) -> ([u64; 3], u64) {
    let info = realm.ipc.object_info(&realm.domains[0], handle).unwrap();
    let all: u64 = info.refusals.iter().sum();
    let counts = errors.map(|error| info.refusals[error as usize]);
    assert_eq!(all, counts.iter().sum::<u64>(), "no other error");
    (counts, realm.machine().system_counts().refusals)
}

#[test]
fn an_entry_counts_as_refused_when_it_is_and_not_while_it_waits() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let bell = notification(&realm, 0);
    let counted = || {
        let errors = [Error::WouldBlock, Error::TimedOut, Error::Cancelled];
        refusals(&realm, bell, errors)
    };
    // Both are looked at as often as somebody enters.
    let soon = realm.machine().now_ns() + 100;
    assert_eq!(
        ring.run(&realm, &[wait(1, bell, abi::FOREVER), wait(2, bell, soon)]),
        []
    );
    while ring.says_due(&realm) {
        ring.enter(&realm, 0, 0, 0).unwrap();
    }
    assert_eq!(counted(), ([0; 3], 0));
    realm.machine().advance_ns(100);
    realm.ipc.expire_timers(0, usize::MAX);
    ring.enter(&realm, 0, 0, 0).unwrap();
    assert_eq!(counted(), ([0, 1, 0], 1));
    let done = ring.run(&realm, &[cancel(3, 1), wait(4, bell, 0)]);
    assert_eq!(done.len(), 4);
    assert_eq!(counted(), ([1, 1, 1], 3));
    // What is done in the end was never refused.
    assert_eq!(ring.run(&realm, &[wait(5, bell, abi::FOREVER)]), []);
    ring_bell(&realm, 0, bell);
    ring.enter(&realm, 0, 0, 0).unwrap();
    assert_eq!(ring.reap(&realm), [(5, Ok(1))]);
    assert_eq!(counted(), ([1, 1, 1], 3));
    realm.finish();
}
