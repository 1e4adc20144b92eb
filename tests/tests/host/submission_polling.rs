//! Rings that a thread of their own serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::thread::JoinHandle;

use crate::common::ports::{notification, signal as ring_bell};
use crate::common::realm::Realm;
use crate::common::submissions::{
    LINK, Submissions, nop, polled, polled_of, serve, signal, timeout, wait,
};
use abi::submission::{DUE, MAX_CHAIN, Operation, RESTING, SubmissionArgs, SubmissionFlags};
use abi::{Error, FOREVER, Handle, Rights};

/// A ring whose indices wrap after so many entries.
fn wrapping(realm: &Realm, entries: u32) -> Submissions {
    let start = entries.wrapping_neg();
    let sizes = SubmissionArgs::new(8, 8);
    polled_of(realm, SubmissionArgs { start, ..sizes })
}

/// With the ring its thread ends, and then the realm.
fn end(realm: Arc<Realm>, ring: &Submissions, thread: JoinHandle<()>) {
    realm.drop_handle(0, ring.handle).unwrap();
    thread.join().unwrap();
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_thread_that_rests_says_so_and_is_woken_by_who_enters() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = wrapping(&realm, 25);
    let (thread, task) = serve(&realm, &ring);
    for number in 0..50 {
        task.until_sleeping();
        assert_eq!(ring.notes(&realm) & RESTING, RESTING);
        ring.push(&realm, nop(number));
        assert_eq!(ring.enter(&realm, 1, 1, FOREVER), Ok(0));
        assert_eq!(ring.reap(&realm), [(number, Ok(0))]);
    }
    end(realm, &ring, thread);
}

#[test]
fn a_thread_completes_what_waited_without_anybody_entering() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = polled(&realm);
    let bell = notification(&realm, 0);
    let (thread, task) = serve(&realm, &ring);
    ring.push(&realm, wait(3, bell, FOREVER));
    assert_eq!(ring.enter(&realm, 1, 0, 0), Ok(0));
    while ring.released(&realm) == 0 {
        std::thread::yield_now();
    }
    task.until_sleeping();
    ring_bell(&realm, 0, bell);
    while ring.posted(&realm) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(ring.reap(&realm), [(3, Ok(1))]);
    task.until_sleeping();
    task.end();
    thread.join().unwrap();
    Arc::into_inner(realm).unwrap().finish();
}

/// Takes all completions as a program does that does nothing else: enters the ring only where entries are left in it and
/// its thread rests, and says whether it did.
fn reap_alone(ring: &mut Submissions, realm: &Realm, numbers: &mut Vec<u64>) -> bool {
    let reaped = ring.reap(realm);
    numbers.extend(reaped.iter().map(|(number, outcome)| {
        assert_eq!(*outcome, Ok(0));
        *number
    }));
    if reaped.is_empty() || ring.released(realm) == ring.tail {
        return false;
    }
    fence(Ordering::SeqCst);
    let rests = ring.notes(realm) & RESTING != 0;
    if rests {
        assert_eq!(ring.enter(realm, 0, 0, 0), Ok(0));
    }
    rests
}

#[test]
fn entries_that_were_left_for_want_of_room_are_taken_when_a_program_that_only_reaps_finds_the_thread_at_rest()
 {
    let realm = Arc::new(Realm::new(1));
    // In the middle of a round: of the entries that are left, and of those that are not.
    let mut ring = wrapping(&realm, 100 * 16 + 11);
    let (thread, task) = serve(&realm, &ring);
    for round in 0..200 {
        let mut numbers = Vec::new();
        for number in 0..8 {
            ring.push(&realm, nop(number));
        }
        assert_eq!(ring.enter(&realm, 8, 8, FOREVER), Ok(0));
        for number in 8..16 {
            ring.push(&realm, nop(number));
        }
        assert_eq!(ring.enter(&realm, 8, 0, 0), Ok(0));
        // At rest for sure, or on its way there.
        let rests = round % 2 == 0;
        if rests {
            task.until_sleeping();
        }
        let entered = reap_alone(&mut ring, &realm, &mut numbers);
        assert!(entered || !rests);
        while numbers.len() < 16 {
            std::thread::yield_now();
            reap_alone(&mut ring, &realm, &mut numbers);
        }
        assert!(numbers.into_iter().eq(0..16));
    }
    end(realm, &ring, thread);
}

/// All of it is there when the thread looks for the first time, and so within its slices of 64 entries.
#[test]
fn a_chain_belongs_together_wherever_it_lies_in_a_slice_of_the_thread() {
    for (first, linked) in [
        (56, 8),
        (60, 8),
        (63, 8),
        (64, 8),
        (120, 12),
        (40, MAX_CHAIN as u64),
        (63, MAX_CHAIN as u64),
        (50, MAX_CHAIN as u64 + 9),
        (63, 2 * MAX_CHAIN as u64 + 9),
    ] {
        let realm = Arc::new(Realm::new(1));
        let start = (first as u32 + 4).wrapping_neg();
        let sizes = SubmissionArgs::new(256, 256);
        let mut ring = polled_of(&realm, SubmissionArgs { start, ..sizes });
        let bell = notification(&realm, 0);
        for number in 0..first {
            ring.write(&realm, nop(number));
        }
        // The first fails; none of the others sets its bit.
        for number in first..first + linked {
            let bits = u64::from(number > first);
            let flags = match number + 1 < first + linked {
                true => LINK,
                false => SubmissionFlags::empty(),
            };
            ring.write(&realm, signal(number, bell, bits).with(flags));
        }
        ring.write(&realm, nop(first + linked));
        ring.publish(&realm);
        let (thread, _) = serve(&realm, &ring);
        let outcome = |number| match number {
            number if number < first || number == first + linked => Ok(0),
            number if number > first => Err(Error::Cancelled),
            _ if linked > MAX_CHAIN as u64 => Err(Error::TooLarge),
            _ => Err(Error::Invalid),
        };
        let wanted = (0..=first + linked).map(|number| (number, outcome(number)));
        let wanted: Vec<_> = wanted.collect();
        assert_eq!(ring.reap(&realm), wanted, "{linked} behind {first}");
        end(realm, &ring, thread);
    }
}

#[test]
fn a_thread_that_left_entries_sleeps_at_a_head_that_can_not_be() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = polled(&realm);
    let (thread, task) = serve(&realm, &ring);
    for number in 0..8 {
        ring.push(&realm, nop(number));
    }
    assert_eq!(ring.enter(&realm, 8, 8, FOREVER), Ok(0));
    ring.push(&realm, nop(8));
    assert_eq!(ring.enter(&realm, 1, 0, 0), Ok(0));
    task.until_sleeping();
    ring.release_head(&realm, 1 << 30);
    assert_eq!(ring.enter(&realm, 0, 0, 0), Ok(0));
    task.until_sleeping();
    ring.release_head(&realm, 1);
    assert_eq!(ring.enter(&realm, 0, 8, FOREVER), Ok(0));
    end(realm, &ring, thread);
}

#[test]
fn a_thread_with_nothing_that_it_could_take_sleeps() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = polled(&realm);
    let (thread, task) = serve(&realm, &ring);
    // More than there is room for completions, then what can't be.
    for number in 0..8 {
        ring.push(&realm, nop(number));
    }
    assert_eq!(ring.enter(&realm, 8, 8, FOREVER), Ok(0));
    for number in 8..12 {
        ring.push(&realm, nop(number));
    }
    assert_eq!(ring.enter(&realm, 4, 0, 0), Ok(0));
    task.until_sleeping();
    assert_eq!(ring.reap(&realm).len(), 8);
    assert_eq!(ring.enter(&realm, 0, 4, FOREVER), Ok(0));
    assert_eq!(ring.reap(&realm).len(), 4);
    task.until_sleeping();
    ring.publish_tail(&realm, 1 << 30);
    assert_eq!(ring.enter(&realm, 0, 1, 0), Err(Error::WouldBlock));
    task.until_sleeping();
    end(realm, &ring, thread);
}

/// The thread of a ring, whose entries make calls of the test.
fn served_with(
    realm: &Arc<Realm>,
    ring: &Submissions,
    operate: impl Fn(Operation, [u64; 6]) -> Result<u64, Error> + Send + 'static,
) -> JoinHandle<()> {
    let (inside, handle) = (realm.clone(), ring.handle);
    std::thread::spawn(move || {
        fake::on_cpu(1, || {
            let domain = &inside.domains[0];
            inside.ipc.poll_submissions(domain, handle, 0, operate);
        });
    })
}

#[test]
fn a_thread_at_rest_ends_with_what_allows_it_and_who_enters_is_told() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = polled(&realm);
    let bell = notification(&realm, 0);
    let (thread, task) = serve(&realm, &ring);
    ring.push(&realm, wait(1, bell, FOREVER));
    assert_eq!(ring.enter(&realm, 1, 0, 0), Ok(0));
    while ring.released(&realm) == 0 {
        std::thread::yield_now();
    }
    task.until_sleeping();
    realm.reduce(0, ring.handle, !Rights::SEND).unwrap();
    thread.join().unwrap();
    // Whatever comes, nothing is done for it, and nobody is to think that somebody looks.
    ring.push(&realm, nop(2));
    ring_bell(&realm, 0, bell);
    assert_eq!(ring.notes(&realm), RESTING | DUE);
    assert_eq!(ring.enter(&realm, 1, 1, FOREVER), Err(Error::Denied));
    assert_eq!((ring.released(&realm), ring.posted(&realm)), (1, 0));
    realm.drop_handle(0, ring.handle).unwrap();
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_thread_begins_no_slice_after_what_allows_it_was_taken_away_whatever_is_due() {
    const SLICE: u32 = 64;
    for due in [false, true] {
        let realm = Arc::new(Realm::new(1));
        let mut ring = polled_of(&realm, SubmissionArgs::new(256, 256));
        let handle = ring.handle;
        for number in 0..3 * u64::from(SLICE) {
            let first = number < 100 && due;
            let entry = if first {
                timeout(number, 1)
            } else {
                signal(number, Handle::NONE, 1)
            };
            ring.write(&realm, entry);
        }
        ring.publish(&realm);
        let begun = Arc::new(AtomicU32::new(0));
        let (inside, counted, turns) = (realm.clone(), begun.clone(), AtomicU32::new(0));
        let reduced = Arc::new(AtomicBool::new(false));
        let told = reduced.clone();
        realm.machine().set_while_paused(move |_| {
            // It looks a few times more, not for good.
            let turn = turns.fetch_add(u32::from(told.load(Ordering::SeqCst)), Ordering::SeqCst);
            assert!(turn < 100, "it turns in vain");
        });
        let thread = served_with(&realm, &ring, move |_, _| {
            if counted.fetch_add(1, Ordering::SeqCst) == 5 {
                // What waits is due from now on.
                inside.machine().advance_ns(1);
                inside.ipc.expire_timers(1, usize::MAX);
                fake::on_cpu(2, || inside.reduce(0, handle, !Rights::SEND).unwrap());
                reduced.store(true, Ordering::SeqCst);
            }
            Ok(0)
        });
        thread.join().unwrap();
        assert!(begun.load(Ordering::SeqCst) <= SLICE, "{begun:?}");
        assert_eq!(ring.says_due(&realm), due);
        assert_eq!(ring.notes(&realm) & RESTING, RESTING);
        assert_eq!(ring.enter(&realm, 1, 0, 0), Err(Error::Denied));
        realm.machine().clear_hooks();
        Arc::into_inner(realm).unwrap().finish();
    }
}
