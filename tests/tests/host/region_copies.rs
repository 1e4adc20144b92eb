//! Copies from region to region: what they reach, and what takes it away from them.

use crate::common;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::limits::{LEAF_SIZE, MAX_COPY, PAGE_SIZE};
use abi::{DeriveArgs, Error, Handle, RegionFlags, Rights, SnapshotFlags};

fn copy(realm: &Realm, to: (Handle, u64), from: (Handle, u64), len: u64) -> Result<u64, Error> {
    let domain = &realm.domains[0];
    realm
        .ipc
        .copy_region(domain, to.0, to.1, from.0, from.1, len)
}

fn fill(realm: &Realm, region: Handle, bytes: &[u8]) {
    let region = realm.region_of(0, region);
    realm.memory().write_region(&region, 0, bytes).unwrap();
}

fn bytes(realm: &Realm, region: Handle, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let region = realm.region_of(0, region);
    let memory = realm.memory();
    memory.read_region(&region, offset, &mut bytes).unwrap();
    bytes
}

#[test]
fn bytes_are_where_they_were_asked_for_and_nowhere_else() {
    let realm = Realm::new(1);
    let (source, target) = (realm.region(0, 3), realm.region(0, 3));
    let pattern: Vec<u8> = (0..3 * PAGE_SIZE).map(|at| (at % 251) as u8).collect();
    fill(&realm, source, &pattern);
    assert_eq!(copy(&realm, (target, 4000), (source, 100), 5000), Ok(5000));
    let copied = bytes(&realm, target, 0, pattern.len());
    assert_eq!(copied[4000..9000], pattern[100..5100]);
    assert!(
        copied[..4000]
            .iter()
            .chain(&copied[9000..])
            .all(|byte| *byte == 0)
    );
    assert_eq!(copy(&realm, (target, 0), (source, 0), 0), Ok(0));
    realm.finish();
}

#[test]
fn what_reaches_beyond_a_capability_is_refused_whatever_the_numbers() {
    let realm = Realm::new(1);
    let (source, target) = (realm.region(0, 2), realm.region(0, 1));
    let size = PAGE_SIZE;
    for (to, from, len) in [
        (0, 0, size + 1),
        (1, 0, size),
        (0, size + 1, size),
        (u64::MAX, 0, 1),
        (0, u64::MAX, 2),
        (2, 0, u64::MAX - 1),
        (size + 1, 0, 0),
    ] {
        let copied = copy(&realm, (target, to), (source, from), len);
        assert_eq!(copied, Err(Error::Range), "{to}, {from}, {len}");
    }
    let large = realm.region(0, 2 * LEAF_SIZE / PAGE_SIZE);
    let half = DeriveArgs {
        offset: LEAF_SIZE,
        len: LEAF_SIZE,
        ..DeriveArgs::new(Rights::all())
    };
    let half = realm.derive_with(0, large, half).unwrap();
    assert_eq!(copy(&realm, (half, 8), (source, 0), size), Ok(size));
    let beyond = copy(&realm, (half, LEAF_SIZE - 1), (source, 0), 2);
    assert_eq!(beyond, Err(Error::Range));
    realm.finish();
}

#[test]
fn one_call_copies_so_much_and_the_rest_is_for_the_next() {
    let realm = Realm::new(1);
    let pages = MAX_COPY / PAGE_SIZE + 2;
    let (source, target) = (realm.region(0, pages), realm.region(0, pages));
    let last = pages * PAGE_SIZE - 1;
    let written = realm
        .memory()
        .write_region(&realm.region_of(0, source), last, &[7]);
    assert_eq!(written, Ok(()));
    let all = pages * PAGE_SIZE;
    assert_eq!(copy(&realm, (target, 0), (source, 0), all), Ok(MAX_COPY));
    let (at, rest) = (MAX_COPY, all - MAX_COPY);
    assert_eq!(copy(&realm, (target, at), (source, at), rest), Ok(rest));
    assert_eq!(bytes(&realm, target, last, 1), [7]);
    realm.finish();
}

#[test]
fn what_may_not_be_written_or_read_is_not() {
    let realm = Realm::new(1);
    let (source, target) = (realm.region(0, 1), realm.region(0, 1));
    let unreadable = realm.derive(0, source, Rights::WRITE).unwrap();
    let unwritable = realm.derive(0, target, READ).unwrap();
    let bell = common::ports::notification(&realm, 0);
    let flags = RegionFlags::EXECUTE;
    let code = realm
        .ipc
        .create_region(&realm.domains[0], PAGE_SIZE, flags, None)
        .unwrap();
    let sealed = realm.region(0, 1);
    realm.ipc.seal_region(&realm.domains[0], sealed).unwrap();
    for (to, from, why) in [
        (target, unreadable, Error::Denied),
        (unwritable, source, Error::Denied),
        (bell, source, Error::Denied),
        (target, bell, Error::Denied),
        (sealed, source, Error::Sealed),
        (code, source, Error::Unsupported),
        (Handle::NONE, source, Error::BadHandle),
        (target, Handle::NONE, Error::BadHandle),
    ] {
        let copied = copy(&realm, (to, 0), (from, 0), 8);
        let wrong = copied == Err(Error::WrongKind) && (to == bell || from == bell);
        assert!(copied == Err(why) || wrong, "{copied:?} and not {why:?}");
    }
    // Code can be read.
    assert_eq!(copy(&realm, (target, 0), (code, 0), 8), Ok(8));
    realm.finish();
}

/// Once a revoke of either end has returned, nothing is copied any more by what it killed, though the call is in the
/// middle of a page and has read what it is about to write.
#[test]
fn a_copy_writes_nothing_after_its_capability_was_revoked() {
    for which in 0..2 {
        let realm = Arc::new(Realm::new(1));
        let (source, target) = (realm.region(0, 1), realm.region(0, 1));
        fill(&realm, source, &[9; 64]);
        let from = realm.derive(0, source, READ).unwrap();
        let to = realm.derive(0, target, WRITE).unwrap();
        let revoked = Arc::new(AtomicBool::new(false));
        let hook = {
            let (realm, revoked) = (Arc::downgrade(&realm), revoked.clone());
            let above = [target, source][which];
            move |_: &fake::FakeMachine| {
                if let Some(realm) = realm.upgrade()
                    && !revoked.swap(true, Ordering::Relaxed)
                {
                    realm.revoke(0, above).unwrap();
                }
            }
        };
        // The first touch of the target.
        realm.machine().set_while_zeroing(hook);
        let copied = copy(&realm, (to, 0), (from, 0), 2048);
        assert!(revoked.load(Ordering::Relaxed));
        assert_eq!(copied, Err(Error::Revoked));
        assert_eq!(bytes(&realm, target, 0, 64), [0; 64]);
        Arc::into_inner(realm).unwrap().finish();
    }
}

#[test]
fn a_copy_that_lacks_a_frame_says_so_where_none_is_promised_and_leaves_its_source() {
    for (flags, lacks) in [
        (SnapshotFlags::empty(), false),
        (SnapshotFlags::OVERCOMMIT, true),
    ] {
        let mut refused = 0;
        for turn in 0.. {
            let realm = Realm::new(1);
            let (source, shared) = (realm.region(0, 3), realm.region(0, 3));
            let pattern: Vec<u8> = (0..3 * PAGE_SIZE).map(|at| (at % 251) as u8).collect();
            fill(&realm, source, &pattern);
            fill(&realm, shared, &[7; 3 * PAGE_SIZE as usize]);
            let domain = &realm.domains[0];
            let target = realm.ipc.snapshot_region(domain, shared, 0, 0, flags);
            let target = target.unwrap();
            realm.machine().fail_after(turn);
            let copied = copy(&realm, (target, 0), (source, 0), 3 * PAGE_SIZE);
            let failed = realm.machine().stop_failing();
            assert!(bytes(&realm, source, 0, pattern.len()) == pattern);
            let kept = bytes(&realm, shared, 0, 3 * PAGE_SIZE as usize);
            assert!(kept.iter().all(|byte| *byte == 7), "turn {turn}");
            if copied.is_ok() {
                assert_eq!(copied, Ok(3 * PAGE_SIZE));
                assert!(bytes(&realm, target, 0, pattern.len()) == pattern);
            } else {
                assert_eq!(copied, Err(Error::NoMemory), "turn {turn}");
                refused += 1;
            }
            realm.finish();
            if !failed {
                break;
            }
        }
        assert_eq!(refused > 0, lacks, "refused {refused} times");
    }
}
