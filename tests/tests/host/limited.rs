//! Capabilities for one use, or until a time (I4).

use std::thread;

use crate::common::ports::{EDGE, bind, notification, packet, poll, port};
use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::{DeriveArgs, DeriveFlags, Error, Events, FOREVER, Handle, Mode, Rights, SubmissionArgs};
use fake::FakeProcess;
use ipc::{Payload, Resource};

const ALL: Rights = Rights::all();

fn settle(realm: &Realm, succeeded: bool) {
    let domain = &realm.domains[0];
    if domain.has_claims() {
        realm.ipc.settle(domain, succeeded);
    }
}

fn one_shot(realm: &Realm, handle: Handle) -> Handle {
    let args = DeriveArgs {
        flags: DeriveFlags::ONE_SHOT.bits(),
        ..DeriveArgs::new(ALL)
    };
    realm.derive_with(0, handle, args).unwrap()
}

/// What a call of another thread answers.
fn elsewhere<R: Send>(call: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(|| fake::on_cpu(1, call)).join().unwrap())
}

fn until(realm: &Realm, handle: Handle, deadline: u64) -> Handle {
    let args = DeriveArgs {
        deadline,
        ..DeriveArgs::new(ALL)
    };
    realm.derive_with(0, handle, args).unwrap()
}

#[test]
fn a_one_shot_capability_is_gone_after_the_first_call_that_succeeds() {
    let realm = Realm::new(2);
    let domain = &realm.domains[0];
    let region = realm.region(0, 1);
    let once = one_shot(&realm, region);
    assert_eq!(realm.info(0, once).flags, DeriveFlags::ONE_SHOT.bits());
    // Told about, it stays.
    assert_eq!(realm.ipc.same_object(domain, once, region), Ok(true));
    assert!(realm.ipc.koid_of(domain, once).is_some() && !domain.has_claims());
    settle(&realm, true);
    assert_eq!(realm.derive(0, once, READ), Err(Error::Denied));
    let shared = realm.grant(0, once, 1, Mode::Share, ALL);
    assert_eq!(shared, Err(Error::Denied));
    settle(&realm, false);
    // A call that fails leaves it.
    assert_eq!(
        realm.ipc.commit_region(domain, once, 1, 0),
        Err(Error::Align)
    );
    assert_eq!(elsewhere(|| realm.look_up(0, once)), Err(Error::Busy));
    settle(&realm, false);
    let before = realm.domains[0].handle_count();
    realm.ipc.commit_region(domain, once, 0, 0).unwrap();
    // Nobody else can use it until the call is over, and nobody afterwards.
    let also = elsewhere(|| realm.ipc.commit_region(domain, once, 0, 0));
    assert_eq!(also, Err(Error::Busy));
    let moved = realm.grant(0, once, 1, Mode::Move, ALL);
    assert!(matches!(moved, Err(Error::Busy | Error::Shared)));
    settle(&realm, true);
    assert_eq!(
        realm.ipc.commit_region(domain, once, 0, 0),
        Err(Error::BadHandle)
    );
    assert_eq!(realm.domains[0].handle_count(), before - 1);
    assert_eq!(realm.info(0, region).descendants, 0);
    realm.finish();
}

#[test]
fn a_call_that_looks_its_one_shot_capability_up_twice_is_made_as_by_any_other() {
    let realm = Realm::new(1);
    let domain = &realm.domains[0];
    let payload = Payload::Process(FakeProcess::of(7));
    let process = realm.ipc.install_object(domain, payload, ALL).unwrap();
    // As a kernel waits for the end of a process: it looks first.
    let wait = |handle| {
        realm
            .ipc
            .ask_process(domain, handle, Rights::WAIT, |_| Ok(()))?;
        realm.ipc.wait_object(domain, handle, Events::ENDED, 0)
    };
    let region = realm.region(0, 2);
    let copy = |handle| realm.ipc.copy_region(domain, handle, 4096, handle, 0, 4096);
    let copied = copy(region);
    let before = realm.counts();
    let once = one_shot(&realm, process);
    for handle in [process, once, once] {
        assert_eq!(wait(handle), Err(Error::WouldBlock));
        settle(&realm, false);
    }
    realm.drop_handle(0, once).unwrap();
    let once = one_shot(&realm, region);
    assert_eq!(copy(once), copied);
    // It is one use.
    assert_eq!(elsewhere(|| realm.look_up(0, once)), Err(Error::Busy));
    settle(&realm, true);
    assert_eq!(copy(once), Err(Error::BadHandle));
    assert!(!domain.has_claims());
    assert_eq!(realm.counts(), before);
    realm.finish();
}

#[test]
fn no_submission_ring_is_for_one_use() {
    let realm = Realm::new(1);
    let args = SubmissionArgs::new(4, 4);
    let ring = realm.ipc.create_submission_ring(&realm.domains[0], &args);
    let ring = ring.unwrap();
    let args = DeriveArgs {
        flags: DeriveFlags::ONE_SHOT.bits(),
        ..DeriveArgs::new(ALL)
    };
    assert_eq!(realm.derive_with(0, ring, args), Err(Error::Denied));
    realm.finish();
}

#[test]
fn a_one_shot_capability_can_be_moved_and_is_for_one_use_there() {
    let realm = Realm::new(2);
    let via = realm.via[0][1];
    let once = one_shot(&realm, via);
    let theirs = realm.give(0, once, 1, Mode::Move);
    settle(&realm, true);
    let other = &realm.domains[1];
    assert!(other.look_up(theirs, None, Rights::INSPECT).is_ok());
    realm.ipc.settle(other, true);
    let used = other.look_up(theirs, None, Rights::INSPECT);
    assert_eq!(used.err(), Some(Error::BadHandle));
    realm.finish();
}

#[test]
fn nothing_that_lasts_as_long_as_its_capability_is_made_by_one_for_one_use() {
    let realm = Realm::new(1);
    let domain = &realm.domains[0];
    let (object, region) = (notification(&realm, 0), realm.region(0, 1));
    let port = port(&realm, 0);
    let registers = Resource::new(0x1_0000_0000, 4096).unwrap();
    let resource = realm.ipc.create_resource(domain, registers).unwrap();
    let [once, pages] = [object, region].map(|handle| one_shot(&realm, handle));
    let before = realm.counts();
    assert_eq!(bind(&realm, 0, port, once, EDGE, 1), Err(Error::Denied));
    assert_eq!(realm.ipc.create_timer(domain, once, 1), Err(Error::Denied));
    let interrupt = realm.ipc.create_interrupt(domain, resource, once, 1);
    assert_eq!(interrupt.err(), Some(Error::Denied));
    assert_eq!(realm.ipc.pin_region(domain, pages), Err(Error::Denied));
    settle(&realm, false);
    assert_eq!(realm.counts(), before);
    // Both are as good as they were.
    realm.ipc.signal(domain, once, 1).unwrap();
    realm.ipc.commit_region(domain, pages, 0, 0).unwrap();
    settle(&realm, true);
    // The port by which something is told may be had once: the binding does not end with that.
    let once = one_shot(&realm, port);
    bind(&realm, 0, once, object, EDGE, 1).unwrap();
    settle(&realm, true);
    assert_eq!(poll(&realm, port), Ok(vec![packet(1, 1)]));
    realm.finish();
}

#[test]
fn of_threads_that_use_a_one_shot_capability_at_once_one_succeeds() {
    for _ in 0..50 {
        let realm = Realm::new(1);
        let region = realm.region(0, 1);
        let once = one_shot(&realm, region);
        let uses: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|cpu| {
                    let realm = &realm;
                    scope.spawn(move || {
                        fake::on_cpu(cpu, || {
                            let domain = &realm.domains[0];
                            let used = realm.ipc.commit_region(domain, once, 0, 0).is_ok();
                            if domain.has_claims() {
                                realm.ipc.settle(domain, used);
                            }
                            usize::from(used)
                        })
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(uses, 1);
        realm.finish();
    }
}

#[test]
fn after_its_deadline_a_capability_is_dead_with_all_below_it() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let before = realm.counts();
    let mine = realm.map(0, region, WRITE);
    let late = until(&realm, region, 1000);
    let below = realm.derive(0, late, ALL).unwrap();
    let theirs = realm.give(0, below, 1, Mode::Share);
    let mapped = realm.map(1, theirs, WRITE);
    assert_eq!(realm.info(1, theirs).deadline, 1000);
    assert_eq!(realm.info(0, region).deadline, FOREVER);
    realm.store(1, 1, mapped, 4).unwrap();
    realm.machine().advance_ns(999);
    realm.ipc.lapse(999, usize::MAX);
    assert!(realm.look_up(1, theirs).is_ok());
    // From the instant on nothing finds it, whether or not anybody has swept.
    realm.machine().advance_ns(1);
    for (domain, handle) in [(0, late), (0, below), (1, theirs)] {
        assert_eq!(realm.look_up(domain, handle), Err(Error::Revoked));
    }
    assert_eq!(realm.derive(0, below, READ), Err(Error::Revoked));
    assert_eq!(realm.try_map(1, theirs, READ), Err(Error::Revoked));
    realm.ipc.lapse(1000, usize::MAX);
    assert!(!realm.reaches(1, mapped));
    assert_eq!(realm.load(0, 0, mine), Ok(4));
    assert_eq!(realm.info(0, region).descendants, 0);
    for (domain, handle) in [(0, late), (0, below), (1, theirs)] {
        realm.drop_handle(domain, handle).unwrap();
    }
    realm.unmap(1, mapped).unwrap();
    realm.unmap(0, mine).unwrap();
    assert_eq!(realm.counts().1, before.1);
    realm.finish();
}

#[test]
fn a_deadline_in_the_past_is_refused_and_one_further_off_than_the_parents_is_the_parents() {
    let realm = Realm::new(1);
    let region = realm.region(0, 1);
    realm.machine().advance_ns(50);
    for deadline in [0, 49, 50] {
        let args = DeriveArgs {
            deadline,
            ..DeriveArgs::new(ALL)
        };
        assert_eq!(realm.derive_with(0, region, args), Err(Error::TimedOut));
    }
    let short = until(&realm, region, 60);
    let long = until(&realm, short, 70);
    assert_eq!(realm.info(0, long).deadline, 60);
    // What ended before its time is no longer waited for.
    let gone = until(&realm, region, 65);
    realm.drop_handle(0, gone).unwrap();
    let kept = until(&realm, region, 66);
    let va = realm.map(0, kept, READ);
    realm.drop_handle(0, kept).unwrap();
    realm.unmap(0, va).unwrap();
    let revoked = until(&realm, region, 67);
    assert_eq!(realm.revoke(0, region), Ok(3));
    assert_eq!(realm.look_up(0, revoked), Err(Error::Revoked));
    realm.wait_until(100);
    assert!(realm.look_up(0, region).is_ok());
    realm.finish();
}
