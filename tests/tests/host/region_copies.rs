//! Copies from region to region: what they reach, and what takes it away from them.

use crate::common;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::realm::Realm;
use crate::common::registered::{register, unregister};
use crate::common::submissions::{REGISTERED, Submissions};
use crate::common::{READ, WRITE};
use abi::limits::{LEAF_SIZE, MAX_COPY, PAGE_SIZE};
use abi::submission::{Operation, Submission, SubmissionFlags};
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

const SOURCE: SubmissionFlags = SubmissionFlags::REGISTERED_SOURCE;

/// A copy whose regions are told by their handles, or where the flags say so by their numbers.
fn entry(to: (u64, u64), from: (u64, u64), len: u64, flags: SubmissionFlags) -> Submission {
    let arguments = [to.0, to.1, from.0, from.1, len, 0];
    Submission::new(Operation::Copy, 1, arguments).with(flags)
}

/// What comes of one entry.
fn outcome(realm: &Realm, ring: &mut Submissions, entry: Submission) -> Result<u64, Error> {
    match ring.run(realm, &[entry])[..] {
        [(1, outcome)] => outcome,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn regions_are_copied_mapped_and_kept_by_registered_numbers_as_by_their_handles() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let pages = MAX_COPY / PAGE_SIZE + 2;
    let size = pages * PAGE_SIZE;
    let (source, target) = (realm.region(0, pages), realm.region(0, pages));
    let pattern: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    fill(&realm, source, &pattern);
    let [to, from] = [target, source].map(|region| register(&realm, region).unwrap());
    for (to, from, flags) in [
        (to.bits(), from.bits(), REGISTERED | SOURCE),
        (to.bits(), source.bits(), REGISTERED),
        (target.bits(), from.bits(), SOURCE),
    ] {
        fill(&realm, target, &vec![0; size as usize]);
        for (to_at, from_at, len) in [
            (0, 0, size + 1),
            (1, 0, size),
            (0, 1, size),
            (size + 1, 0, 0),
            (0, u64::MAX, 2),
        ] {
            let beyond = entry((to, to_at), (from, from_at), len, flags);
            let copied = outcome(&realm, &mut ring, beyond);
            assert_eq!(copied, Err(Error::Range), "{to_at}, {from_at}, {len}");
        }
        // More than a call copies.
        let len = MAX_COPY + 50;
        let copied = outcome(
            &realm,
            &mut ring,
            entry((to, 4000), (from, 100), len, flags),
        );
        assert_eq!(copied, Ok(len));
        let (end, copied) = (4000 + len as usize, bytes(&realm, target, 0, pattern.len()));
        assert!(
            copied[4000..end] == pattern[100..][..len as usize],
            "{flags:?}"
        );
        let around = copied[..4000].iter().chain(&copied[end..]);
        assert!(around.eq(std::iter::repeat_n(&0, pattern.len() - len as usize)));
        assert!(bytes(&realm, source, 0, pattern.len()) == pattern);
    }
    let by_number = |operation, rights: Rights| {
        let arguments = [to.bits(), 0, 0, 0, rights.bits().into(), 0];
        Submission::new(operation, 1, arguments).with(REGISTERED)
    };
    let word = u64::from_le_bytes(pattern[100..108].try_into().unwrap());
    let mapped = outcome(&realm, &mut ring, by_number(Operation::Map, READ)).unwrap();
    assert_eq!(realm.load(0, 0, mapped + 4000), Ok(word));
    let kept = by_number(Operation::Snapshot, Rights::empty());
    let kept = outcome(&realm, &mut ring, kept).unwrap();
    fill(&realm, target, &[0; 4096]);
    assert_eq!(
        bytes(&realm, Handle::from_bits(kept), 4000, 8),
        word.to_le_bytes()
    );
    assert_eq!(realm.load(0, 0, mapped + 4000), Ok(0));
    for id in [to, from] {
        assert_eq!(unregister(&realm, id, 0), Ok(()));
    }
    realm.finish();
}

#[test]
fn a_copy_uses_both_its_numbers_until_it_ends_and_none_of_them_afterwards() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let (source, target) = (realm.region(0, 1), realm.region(0, 1));
    let both = [target, source].map(|region| register(&realm, region).unwrap());
    let copy_of = |[to, from]: [abi::submission::Registered; 2]| {
        entry((to.bits(), 0), (from.bits(), 0), 8, REGISTERED | SOURCE)
    };
    let meanwhile = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let (realm, meanwhile) = (Arc::downgrade(&realm), meanwhile.clone());
        move |_: &fake::FakeMachine| {
            if let Some(realm) = realm.upgrade() {
                let let_go = both.map(|id| unregister(&realm, id, 0));
                meanwhile.lock().unwrap().extend(let_go);
            }
        }
    };
    // The first touch of the target.
    realm.machine().set_while_zeroing(hook);
    assert_eq!(outcome(&realm, &mut ring, copy_of(both)), Ok(8));
    realm.machine().clear_hooks();
    let meanwhile = Arc::into_inner(meanwhile).unwrap().into_inner().unwrap();
    assert!(!meanwhile.is_empty());
    assert!(meanwhile.iter().all(|let_go| *let_go == Err(Error::Busy)));
    // Once one of the two is let go the other is not used any more, whichever it is.
    for gone in [1, 0] {
        let numbers = [target, source].map(|region| register(&realm, region).unwrap());
        assert_eq!(unregister(&realm, numbers[gone], 0), Ok(()));
        let copied = outcome(&realm, &mut ring, copy_of(numbers));
        assert_eq!(copied, Err(Error::NotFound));
        assert_eq!(unregister(&realm, numbers[1 - gone], 0), Ok(()));
    }
    for id in both {
        assert_eq!(unregister(&realm, id, 0), Ok(()));
    }
    Arc::into_inner(realm).unwrap().finish();
}
