//! Submission rings: entries are taken, done and completed; what a process writes is checked.

use std::cell::RefCell;
use std::sync::Arc;

use crate::common::ports::notification;
use crate::common::realm::Realm;
use crate::common::submissions::{LINK, Submissions, nop, operate, signal, wait};
use crate::common::{READ, WRITE};
use abi::ring::{CONSUMER_OFFSET, PRODUCER_OFFSET};
use abi::submission::{MAX_CHAIN, Operation, Submission, SubmissionArgs, SubmissionFlags};
use abi::{Error, Mode, Rights};
use fake::Access;

const SKIP: SubmissionFlags = SubmissionFlags::SKIP_SUCCESS;

fn bits(realm: &Realm, notification: abi::Handle) -> Result<u64, Error> {
    let domain = &realm.domains[0];
    realm.ipc.wait_notification(domain, notification, 0)
}

#[test]
fn entries_are_done_in_order_and_completed_with_their_numbers() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let bell = notification(&realm, 0);
    let done = ring.run(&realm, &[nop(7), signal(8, bell, 5), nop(9)]);
    assert_eq!(done, [(7, Ok(0)), (8, Ok(0)), (9, Ok(0))]);
    assert_eq!(bits(&realm, bell), Ok(5));
    assert_eq!(ring.released(&realm), 3);
    // Around the end of both rings, many times.
    for round in 0..100 {
        let entries: Vec<_> = (0..7).map(|number| nop(round * 7 + number)).collect();
        let wanted: Vec<_> = entries
            .iter()
            .map(|entry| (entry.user_data, Ok(0)))
            .collect();
        assert_eq!(ring.run(&realm, &entries), wanted);
    }
    realm.finish();
}

#[test]
fn each_call_in_a_ring_is_checked_as_it_is_alone() {
    let realm = Realm::new(2);
    let mut ring = Submissions::new(&realm, 0, 16, 16);
    let region = realm.region(0, 1);
    let weak = realm.derive(0, region, READ).unwrap();
    let bell = notification(&realm, 0);
    let entry =
        |operation, number, arguments: [u64; 6]| Submission::new(operation, number, arguments);
    let of = |handle: abi::Handle| [handle.bits(), 0, 0, 0, 0, 0];
    let map = [region.bits(), 0, 0, 0, WRITE.bits().into(), 0];
    let entries = [
        signal(1, region, 1),
        signal(2, bell, 0),
        entry(Operation::Derive, 3, of(weak)),
        entry(Operation::Snapshot, 4, of(weak)),
        entry(Operation::Drop, 5, of(weak)),
        entry(Operation::Drop, 6, of(weak)),
        entry(Operation::Map, 7, map),
        entry(Operation::Unmap, 8, [5, 0, 0, 0, 0, 0]),
    ];
    let done = ring.run(&realm, &entries);
    let address = done[6].1.expect("it is mapped");
    assert_eq!(
        done,
        [
            (1, Err(Error::WrongKind)),
            (2, Err(Error::Invalid)),
            (3, Err(Error::Denied)),
            (4, Err(Error::Denied)),
            (5, Ok(0)),
            (6, Err(Error::BadHandle)),
            (7, Ok(address)),
            (8, Err(Error::NotFound)),
        ]
    );
    realm.store(0, 0, address, 77).unwrap();
    let unmap = entry(Operation::Unmap, 9, [address, 0, 0, 0, 0, 0]);
    assert_eq!(ring.run(&realm, &[unmap]), [(9, Ok(0))]);
    assert!(!realm.reaches(0, address));
    realm.finish();
}

#[test]
fn what_means_nothing_is_completed_with_an_error_and_does_nothing() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let reserved = Submission {
        reserved: 1,
        ..nop(1)
    };
    let flags = Submission {
        flags: 0x80,
        ..nop(2)
    };
    let operation = Submission {
        operation: 999,
        ..nop(3)
    };
    let registered = nop(4).with(SubmissionFlags::REGISTERED);
    let done = ring.run(&realm, &[reserved, flags, operation, registered]);
    assert_eq!(
        done,
        [
            (1, Err(Error::Invalid)),
            (2, Err(Error::Invalid)),
            (3, Err(Error::Unsupported)),
            (4, Err(Error::Invalid)),
        ]
    );
    realm.finish();
}

#[test]
fn an_entry_is_taken_only_when_a_cell_is_kept_for_its_completion() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    for number in 0..4 {
        ring.write(&realm, nop(number));
    }
    ring.publish(&realm);
    assert_eq!(ring.enter(&realm, 4, 0, 0), Ok(4));
    // Nothing was taken out.
    for number in 4..8 {
        ring.write(&realm, nop(number));
    }
    ring.publish(&realm);
    assert_eq!(ring.enter(&realm, 4, 0, 0), Ok(0));
    assert_eq!((ring.posted(&realm), ring.released(&realm)), (4, 4));
    assert_eq!(ring.peek(&realm).unwrap().user_data, 0);
    assert_eq!(ring.peek(&realm).unwrap().user_data, 1);
    ring.release_head(&realm, ring.head);
    assert_eq!(ring.enter(&realm, 4, 0, 0), Ok(2));
    assert_eq!((ring.posted(&realm), ring.released(&realm)), (4, 6));
    let numbers: Vec<_> = ring.reap(&realm).iter().map(|done| done.0).collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
    // What waits keeps its cell, too.
    let bell = notification(&realm, 0);
    assert_eq!(ring.enter(&realm, 2, 0, 0), Ok(2));
    ring.reap(&realm);
    for number in 0..4 {
        ring.write(&realm, wait(number, bell, abi::FOREVER));
    }
    ring.publish(&realm);
    assert_eq!(ring.enter(&realm, 4, 0, 0), Ok(4));
    ring.push(&realm, nop(9));
    assert_eq!(ring.enter(&realm, 1, 0, 0), Ok(0));
    realm.finish();
}

#[test]
fn successes_are_not_told_where_nobody_asks_for_them() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 8, 8);
    let bell = notification(&realm, 0);
    let entries = [
        nop(1).with(SKIP),
        signal(2, bell, 0).with(SKIP),
        nop(3),
        signal(4, bell, 1).with(SKIP),
    ];
    let done = ring.run(&realm, &entries);
    assert_eq!(done, [(2, Err(Error::Invalid)), (3, Ok(0))]);
    assert_eq!(bits(&realm, bell), Ok(1));
    // Their cells are given back.
    for _ in 0..20 {
        assert_eq!(ring.run(&realm, &[nop(1).with(SKIP); 8]), []);
    }
    realm.finish();
}

#[test]
fn a_chain_ends_with_the_first_failure() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 16, 16);
    let bell = notification(&realm, 0);
    let entries = [
        signal(1, bell, 1).with(LINK),
        signal(2, bell, 2).with(LINK),
        signal(3, bell, 0).with(LINK),
        signal(4, bell, 8).with(LINK),
        signal(5, bell, 16),
        signal(6, bell, 32),
    ];
    let done = ring.run(&realm, &entries);
    assert_eq!(
        done,
        [
            (1, Ok(0)),
            (2, Ok(0)),
            (3, Err(Error::Invalid)),
            (4, Err(Error::Cancelled)),
            (5, Err(Error::Cancelled)),
            (6, Ok(0)),
        ]
    );
    assert_eq!(bits(&realm, bell), Ok(1 | 2 | 32));
    // A chain ends with what has been published.
    let done = ring.run(&realm, &[signal(1, bell, 0).with(LINK)]);
    assert_eq!(done, [(1, Err(Error::Invalid))]);
    assert_eq!(ring.run(&realm, &[nop(2)]), [(2, Ok(0))]);
    realm.finish();
}

#[test]
fn a_chain_that_is_too_long_is_refused_as_a_whole() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 128, 128);
    let bell = notification(&realm, 0);
    for extra in 1..=3 * MAX_CHAIN {
        let last = (MAX_CHAIN + extra - 1) as u64;
        let mut entries: Vec<_> = (0..last)
            .map(|number| signal(number, bell, 1).with(LINK))
            .collect();
        entries.truncate(120);
        let count = entries.len() as u64;
        entries.push(signal(count, bell, 1));
        entries.push(nop(count + 1));
        let done = ring.run(&realm, &entries);
        assert_eq!(done.len(), entries.len());
        for (number, outcome) in &done {
            let wanted = match *number {
                0 => Err(Error::TooLarge),
                number if number <= count => Err(Error::Cancelled),
                _ => Ok(0),
            };
            assert_eq!(*outcome, wanted, "{number} of {count}");
        }
        assert_eq!(bits(&realm, bell), Err(Error::WouldBlock));
    }
    let longest: Vec<_> = (1..MAX_CHAIN as u64)
        .map(|number| nop(number).with(LINK))
        .chain([nop(99)])
        .collect();
    let done = ring.run(&realm, &longest);
    assert!(done.iter().all(|(_, outcome)| outcome.is_ok()));
    realm.finish();
}

#[test]
fn a_chain_is_taken_with_all_its_cells_or_not_at_all() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    assert_eq!(ring.run(&realm, &[nop(0); 2]).len(), 2);
    ring.push(&realm, nop(1));
    ring.push(&realm, nop(2));
    assert_eq!(ring.enter(&realm, 2, 0, 0), Ok(2));
    ring.write(&realm, nop(3).with(LINK));
    ring.write(&realm, nop(4).with(LINK));
    ring.write(&realm, nop(5));
    ring.publish(&realm);
    assert_eq!(ring.enter(&realm, 3, 0, 0), Ok(0));
    assert_eq!(ring.reap(&realm).len(), 2);
    assert_eq!(ring.enter(&realm, 3, 0, 0), Ok(3));
    assert_eq!(ring.reap(&realm), [(3, Ok(0)), (4, Ok(0)), (5, Ok(0))]);
    realm.finish();
}

/// An entry that the process writes over while the one before it is being done does what it said when it was
/// taken.
#[test]
fn an_entry_is_what_it_was_when_it_was_taken() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let bell = notification(&realm, 0);
    ring.write(&realm, signal(1, bell, 1).with(LINK));
    ring.write(&realm, signal(2, bell, 2));
    ring.publish(&realm);
    let calls = RefCell::new(0);
    let domain = &realm.domains[0];
    let entered =
        realm
            .ipc
            .enter_submissions(domain, ring.handle, 2, 0, 0, |operation, arguments| {
                *calls.borrow_mut() += 1;
                ring.write_at(&realm, 0, signal(1, bell, 64));
                ring.write_at(&realm, 1, signal(2, bell, 64));
                operate(&realm, 0, operation, arguments)
            });
    assert_eq!((entered, calls.into_inner()), (Ok(2), 2));
    assert_eq!(bits(&realm, bell), Ok(3));
    realm.finish();
}

#[test]
fn indices_that_can_not_be_are_the_fault_of_the_process() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    for tail in [5, 6, u32::MAX, 1 << 31] {
        ring.publish_tail(&realm, tail);
        assert_eq!(ring.enter(&realm, 4, 0, 0), Err(Error::PeerFault), "{tail}");
    }
    assert_eq!((ring.posted(&realm), ring.released(&realm)), (0, 0));
    // It may mend it.
    ring.publish_tail(&realm, 0);
    assert_eq!(ring.run(&realm, &[nop(1); 4]).len(), 4);
    assert_eq!(ring.run(&realm, &[nop(1); 2]).len(), 2);
    // A head that goes back, or beyond what was posted.
    for head in [0u32.wrapping_sub(5), 5, 1 << 31] {
        ring.release_head(&realm, ring.head.wrapping_add(head));
        for _ in 0..4 {
            ring.push(&realm, nop(2));
        }
        let entered = ring.enter(&realm, 4, 0, 0);
        let waited = ring.enter(&realm, 0, 1, 0);
        assert!(
            [entered, waited].contains(&Err(Error::PeerFault)),
            "{head}: {entered:?}, {waited:?}"
        );
        ring.tail = ring.released(&realm);
        let head = ring.head + ring.posted(&realm);
        ring.publish(&realm);
        ring.release_head(&realm, head);
        ring.head = head;
        assert_eq!(ring.enter(&realm, 4, 0, 0), Ok(0));
    }
    realm.finish();
}

/// Enters a ring for so many entries, while the process stores `index` at an address right after the kernel has loaded its
/// word number `at`.
fn enter_while_stored(
    ring: &Submissions,
    realm: &Realm,
    submit: u32,
    (at, address, index): (u32, u64, u32),
) -> Result<u64, Error> {
    let (ipc, space) = (Arc::downgrade(&realm.ipc), realm.domains[0].space().clone());
    let mut loaded = 0;
    realm.machine().set_after_word_load(move |_| {
        loaded += 1;
        if loaded == at {
            let ipc = ipc.upgrade().unwrap();
            fake::on_cpu(0, || {
                fake::store(ipc.memory(), &space, address, index.into()).unwrap();
            });
        }
    });
    let entered = ring.enter(realm, submit, 0, 0);
    realm.machine().clear_hooks();
    assert_eq!(realm.load(0, 0, address), Ok(index.into()), "it was stored");
    entered
}

#[test]
fn an_index_that_changes_is_judged_as_it_was_read() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let tail = ring.views.submissions + PRODUCER_OFFSET as u64;
    let head = ring.views.completions + CONSUMER_OFFSET as u64;
    for _ in 0..2 {
        ring.push(&realm, nop(1));
    }
    // There are two, and then more than there can be.
    let entered = enter_while_stored(&ring, &realm, 100, (1, tail, 50));
    assert_eq!((entered, ring.posted(&realm)), (Ok(2), 2));
    assert_eq!(ring.enter(&realm, 100, 0, 0), Err(Error::PeerFault));
    ring.publish(&realm);
    for _ in 0..4 {
        ring.push(&realm, nop(2));
    }
    // Room for two, with that for one more once one of them was taken out; and then as if more were than there are.
    ring.release_head(&realm, 0);
    assert_eq!(ring.enter(&realm, 2, 0, 0), Ok(2));
    ring.release_head(&realm, 1);
    let entered = enter_while_stored(&ring, &realm, 100, (2, head, 50));
    assert_eq!((entered, ring.posted(&realm)), (Ok(1), 5));
    assert_eq!(ring.enter(&realm, 100, 0, 0), Err(Error::PeerFault));
    ring.release_head(&realm, 4);
    ring.head = 4;
    assert_eq!(ring.enter(&realm, 100, 0, 0), Ok(1));
    realm.finish();
}

#[test]
fn entries_and_completions_go_on_where_their_indices_wrap() {
    for before in 0..=12u32 {
        let start = before.wrapping_neg();
        let realm = Realm::new(1);
        let args = SubmissionArgs {
            start,
            ..SubmissionArgs::new(4, 8)
        };
        let mut ring = Submissions::with(&realm, 0, args);
        let bell = notification(&realm, 0);
        assert_eq!((ring.released(&realm), ring.posted(&realm)), (start, 0));
        assert_eq!(ring.enter(&realm, 4, 0, 0), Ok(0));
        for count in [3, 4, 1] {
            let done = ring.run(&realm, &[nop(count); 4][..count as usize]);
            assert_eq!(done, vec![(count, Ok(0)); count as usize], "{before}");
        }
        // As many as there is room for, with one that waits and a chain.
        let entries = [
            signal(1, bell, 0).with(LINK),
            nop(2),
            wait(3, bell, abi::FOREVER),
            nop(4),
        ];
        for entry in entries {
            ring.push(&realm, entry);
        }
        assert_eq!(ring.enter(&realm, 4, 0, 0), Ok(4));
        for number in 5..9 {
            ring.push(&realm, nop(number));
        }
        assert_eq!(ring.enter(&realm, 4, 0, 0), Ok(4));
        ring.push(&realm, nop(9));
        assert_eq!(ring.enter(&realm, 1, 0, 0), Ok(0), "{before}");
        // What can't be is refused here, too.
        let tail = ring.tail;
        ring.publish_tail(&realm, tail.wrapping_add(4));
        assert_eq!(ring.enter(&realm, 4, 0, 0), Err(Error::PeerFault));
        ring.publish_tail(&realm, tail.wrapping_sub(2));
        assert_eq!(ring.enter(&realm, 4, 0, 0), Err(Error::PeerFault));
        ring.publish_tail(&realm, tail);
        let head = ring.head;
        for wrong in [head.wrapping_sub(1), head.wrapping_add(8)] {
            ring.release_head(&realm, wrong);
            assert_eq!(ring.enter(&realm, 1, 0, 0), Err(Error::PeerFault));
        }
        ring.release_head(&realm, head);
        let done = ring.reap(&realm);
        assert_eq!(
            done[..2],
            [(1, Err(Error::Invalid)), (2, Err(Error::Cancelled))]
        );
        let last: Vec<_> = done[2..].iter().map(|done| done.0).collect();
        assert_eq!(last, [4, 5, 6, 7, 8], "{before}");
        signal_alone(&realm, bell);
        assert_eq!(ring.enter(&realm, 1, 2, abi::FOREVER), Ok(1));
        assert_eq!(ring.reap(&realm), [(3, Ok(1)), (9, Ok(0))], "{before}");
        assert_eq!(ring.released(&realm), start.wrapping_add(17));
        realm.finish();
    }
}

/// Sets a bit without a ring.
fn signal_alone(realm: &Realm, bell: abi::Handle) {
    realm.ipc.signal(&realm.domains[0], bell, 1).unwrap();
}

#[test]
fn each_page_can_be_written_by_whose_it_is() {
    let realm = Realm::new(1);
    let ring = Submissions::new(&realm, 0, 64, 128);
    let writes = |address: u64| {
        let page = realm.machine();
        assert!(page.translate(0, address, Access::Execute).is_err());
        let read = page.translate(0, address, Access::Read).unwrap();
        let written = page.translate(0, address, Access::Write);
        assert!(written.is_err() || written == Ok(read));
        written.is_ok()
    };
    let pages = |base: u64| [0, 1, 2, 3].map(|page| writes(base + page * 4096));
    assert_eq!(pages(ring.views.submissions), [false, true, false, true]);
    assert_eq!(pages(ring.views.completions), [false, false, true, false]);
    let again = realm
        .ipc
        .map_submission_ring(&realm.domains[0], ring.handle);
    assert_eq!(again, Err(Error::Exists));
    realm.drop_handle(0, ring.handle).unwrap();
    assert!(!realm.reaches(0, ring.views.submissions));
    assert!(!realm.reaches(0, ring.views.completions));
    realm.finish();
}

#[test]
fn a_ring_stays_with_its_process() {
    let realm = Realm::new(2);
    let ring = Submissions::new(&realm, 0, 4, 4);
    for mode in [Mode::Move, Mode::Share] {
        let granted = realm.grant(0, ring.handle, 1, mode, Rights::all());
        assert_eq!(granted, Err(Error::Denied), "{mode:?}");
    }
    let derived = realm.derive(0, ring.handle, Rights::all());
    assert_eq!(derived, Err(Error::Denied));
    realm.finish();
}

#[test]
fn sizes_that_can_not_be_make_no_ring() {
    let realm = Realm::new(1);
    let before = realm.counts();
    for (entries, completions) in [(0, 0), (3, 4), (4, 2), (8192, 0), (4, 1 << 31)] {
        let args = SubmissionArgs::new(entries, completions);
        let made = realm.ipc.create_submission_ring(&realm.domains[0], &args);
        assert!(made.is_err(), "{entries}, {completions}");
    }
    assert_eq!(realm.counts(), before);
    realm.finish();
}
