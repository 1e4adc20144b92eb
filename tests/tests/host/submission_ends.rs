//! What a program makes long in its submission rings and in its registrar goes by steps, and others run in between; and
//! what waits in a ring has a place there of its own, whatever came and went before.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::messages::poor;
use crate::common::ports::{notification, signal as ring_bell};
use crate::common::realm::Realm;
use crate::common::registered::{by, knows, register, settle, wait_by};
use crate::common::submissions::{Submissions, cancel, nop, polled_of, serve, timeout, wait};
use crate::common::waiting::waiting;
use abi::limits::{MAX_REGISTERED, MAX_SHARED_WATCHES};
use abi::submission::{Operation, Registered, Submission, SubmissionArgs};
use abi::{Error, FOREVER, Mode, Rights};
use proptest::prelude::*;

/// Steps after which others run.
const STEPS: usize = 64;

/// Does `deed`, and `meanwhile` whenever it lets others run; returns what came of it and how often that was.
fn pausing<R>(
    realm: &Arc<Realm>,
    mut meanwhile: impl FnMut(&Realm, usize) + Send + 'static,
    deed: impl FnOnce(&Realm) -> R,
) -> (R, usize) {
    let (pauses, inside) = (Arc::new(AtomicUsize::new(0)), realm.clone());
    let counted = pauses.clone();
    realm.machine().set_while_paused(move |_| {
        let pause = counted.fetch_add(1, Ordering::Relaxed);
        meanwhile(&inside, pause);
    });
    let done = deed(realm);
    realm.machine().clear_hooks();
    (done, pauses.load(Ordering::Relaxed))
}

fn finish(realm: Arc<Realm>) {
    Arc::into_inner(realm).expect("nobody else has it").finish();
}

#[test]
fn others_run_while_a_ring_ends_in_which_much_waits() {
    const COUNT: usize = 5 * STEPS;
    for by_entry in [false, true] {
        let realm = Arc::new(Realm::new(1));
        let args = SubmissionArgs::new(512, 512);
        let mut ring = Submissions::with(&realm, 0, args);
        let other = Mutex::new(Submissions::new(&realm, 0, 4, 4));
        let bell = notification(&realm, 0);
        let id = register(&realm, bell).unwrap();
        for number in 0..COUNT as u64 {
            let entry = match number % 2 {
                0 => wait(number, bell, FOREVER),
                _ => wait_by(id, 1_000_000 + number),
            };
            ring.write(&realm, entry);
        }
        ring.publish(&realm);
        let count = COUNT as u32;
        assert_eq!(ring.enter(&realm, count, 0, 0), Ok(count.into()));
        let handle = ring.handle;
        if by_entry {
            let arguments = [handle.bits(), 0, 0, 0, 0, 0];
            ring.push(&realm, Submission::new(Operation::Drop, 1, arguments));
        }
        // What waits is told of the bell, of its time, and that its ring is gone; another ring goes on.
        let meanwhile = move |realm: &Realm, _| {
            ring_bell(realm, 0, bell);
            realm.machine().advance_ns(100_000);
            realm.ipc.expire_timers(0, usize::MAX);
            let mut other = other.lock().unwrap();
            assert!(knows(realm, &mut other, id));
            assert_eq!(other.run(realm, &[by(id, 2)]), [(1, Ok(0))]);
        };
        let ((), pauses) = pausing(&realm, meanwhile, |realm| match by_entry {
            true => assert_eq!(ring.enter(realm, 1, 0, 0), Ok(1)),
            false => realm.drop_handle(0, handle).unwrap(),
        });
        assert_eq!(pauses, 2 * COUNT / STEPS, "by an entry: {by_entry}");
        // Nothing of the ring uses it any more.
        let unregister = realm.ipc.unregister(&realm.domains[0], id, 0);
        assert_eq!(unregister, Ok(()));
        finish(realm);
    }
}

#[test]
fn who_waits_at_a_ring_learns_of_its_end_before_others_run_while_it_ends() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = polled_of(&realm, SubmissionArgs::new(STEPS as u32, STEPS as u32));
    for number in 0..STEPS as u64 {
        ring.write(&realm, timeout(number, FOREVER - 1));
    }
    ring.publish(&realm);
    let handle = ring.handle;
    let (server, serves) = serve(&realm, &ring);
    let (sleeper, sleeps) = waiting(&realm, move |realm| {
        let none = |_, _| panic!("the thread of the ring serves it");
        let domain = &realm.domains[0];
        realm
            .ipc
            .enter_submissions(domain, handle, 0, 1, FOREVER, none)
    });
    sleeps.until_asleep();
    // It was woken to look at what is there.
    serves.until_sleeping();
    let info = realm.ipc.submission_info(&realm.domains[0], handle);
    assert_eq!(info.unwrap().pending, STEPS as u32);
    let asleep = Arc::new(AtomicUsize::new(0));
    let counted = asleep.clone();
    let meanwhile = move |_: &Realm, _| {
        let those = [&serves, &sleeps].map(|task| usize::from(task.is_sleeping()));
        counted.fetch_add(those.iter().sum(), Ordering::Relaxed);
    };
    let (dropped, pauses) = pausing(&realm, meanwhile, |realm| realm.drop_handle(0, handle));
    assert_eq!((dropped, pauses), (Ok(()), 2));
    assert_eq!(asleep.load(Ordering::Relaxed), 0, "at two pauses");
    server.join().unwrap();
    assert_eq!(sleeper.join().unwrap(), Err(Error::Cancelled));
    finish(realm);
}

#[test]
fn what_is_due_is_done_while_a_process_ends_that_has_registered_much() {
    let realm = Arc::new(Realm::new(2));
    let _ring = Submissions::new(&realm, 0, 4, 4);
    let bell = notification(&realm, 1);
    let given = realm.give(1, bell, 0, Mode::Share);
    for _ in 0..4 * STEPS {
        register(&realm, given).unwrap();
    }
    let meanwhile = move |realm: &Realm, _| ring_bell(realm, 1, bell);
    let ((), pauses) = pausing(&realm, meanwhile, |realm| realm.exit(0));
    assert_eq!(pauses, 4);
    finish(realm);
}

#[test]
fn others_register_and_revoke_while_a_process_makes_slots() {
    // The slots are made in blocks.
    const PAUSES: usize = MAX_REGISTERED / 64 / STEPS - 1;
    let most = MAX_REGISTERED as u64;
    let realm = Arc::new(Realm::new(2));
    let bell = notification(&realm, 0);
    let set = |realm: &Realm| realm.ipc.set_slots(&realm.domains[0], most, most);
    // Whoever registers first has slots that stay.
    let registers = move |realm: &Realm, pause| {
        if pause == PAUSES / 2 {
            register(realm, bell).unwrap();
        }
    };
    let used = realm.used(0).bytes;
    let (answer, pauses) = pausing(&realm, registers, set);
    assert_eq!((answer, pauses), (Err(Error::Exists), PAUSES));
    let one = realm.used(0).bytes - used;
    assert!(one < 2 * abi::cost::REGISTRAR, "{one}");
    // Nobody waits for the registrar meanwhile.
    let made = Arc::new(Realm::new(2));
    let bell = notification(&made, 1);
    let given = made.give(1, bell, 0, Mode::Share);
    let revokes = move |realm: &Realm, pause| match pause {
        0 => drop(register(realm, given).unwrap()),
        1 => assert_eq!(realm.revoke(1, bell), Ok(1)),
        _ => {}
    };
    let (answer, pauses) = pausing(&made, revokes, set);
    // There is a slot, though it is free again.
    assert_eq!((answer, pauses), (Err(Error::Exists), PAUSES));
    finish(realm);
    finish(made);
}

#[test]
fn a_ring_that_joins_learns_what_others_register_while_it_makes_room() {
    const FAR: u64 = 10;
    let realm = Arc::new(Realm::new(1));
    let domain = &realm.domains[0];
    let bell = notification(&realm, 0);
    realm.ipc.set_slots(domain, 2000, 2000).unwrap();
    let at = move |realm: &Realm, slot| {
        let id = realm.ipc.register(&realm.domains[0], bell, Some(slot));
        id.unwrap()
    };
    let mut ids: Vec<Registered> = (0..FAR).map(|block| at(&realm, 128 * block + 70)).collect();
    let more = Arc::new(Mutex::new(Vec::new()));
    let seen = more.clone();
    let promised = Arc::new(AtomicU64::new(0));
    let before = promised.clone();
    // Behind what the ring has room for, and before it.
    let registers = move |realm: &Realm, pause: usize| {
        before.store(realm.machine().promises(), Ordering::Relaxed);
        if pause < FAR as usize {
            let slot = 128 * (FAR - 1 - pause as u64) + 3;
            seen.lock().unwrap().push(at(realm, slot));
        }
    };
    let make = |realm: &Realm| Submissions::new(realm, 0, 4, 4);
    let (mut ring, pauses) = pausing(&realm, registers, make);
    assert!(pauses > FAR as usize, "{pauses}");
    // What follows can't fail.
    let last_pause = promised.load(Ordering::Relaxed);
    assert!(
        realm.machine().promises() > last_pause,
        "no memory is promised after others have run"
    );
    ids.extend(more.lock().unwrap().iter());
    assert_eq!(ids.len(), 2 * FAR as usize);
    for id in ids {
        assert!(knows(&realm, &mut ring, id), "{id:?}");
    }
    finish(realm);
}

#[test]
fn many_that_wait_by_a_capability_learn_of_its_end_and_the_others_wait_on() {
    let realm = Realm::new(2);
    let bell = notification(&realm, 1);
    let way = realm.derive(1, bell, Rights::all()).unwrap();
    let given = realm.give(1, way, 0, Mode::Share);
    let lasting = realm.give(1, bell, 0, Mode::Share);
    let mut ring = Submissions::with(&realm, 0, SubmissionArgs::new(1024, 1024));
    let count = MAX_SHARED_WATCHES as u64;
    for number in 0..count {
        let handle = if number < 3 { lasting } else { given };
        ring.write(&realm, wait(number, handle, FOREVER));
    }
    ring.publish(&realm);
    assert_eq!(ring.enter(&realm, count as u32, 0, 0), Ok(count));
    assert_eq!(realm.revoke_itself(1, way), Ok(2));
    let done = settle(&realm, &mut ring);
    let ended = (3..count).map(|number| (number, Err(Error::Revoked)));
    assert!(done.into_iter().eq(ended));
    // Who is left is told as before.
    ring_bell(&realm, 1, bell);
    assert_eq!(settle(&realm, &mut ring).len(), 1);
    realm.finish();
}

/// What lists them is kept, and so is what it counts for: one that waits on is no way to have it for nothing.
#[test]
fn who_has_much_wait_at_once_pays_for_its_places_until_the_ring_ends() {
    let realm = Realm::with_quotas(&[abi::Resources {
        frames: 1 << 30,
        tables: 1 << 30,
        bytes: 1 << 30,
    }]);
    let before = realm.used(0).bytes;
    let mut ring = Submissions::with(&realm, 0, SubmissionArgs::new(512, 1024));
    let (made, waiting) = (realm.used(0).bytes, abi::cost::WAITING);
    let all = |of: fn(u64) -> Submission, count: u64| (0..count).map(of).collect::<Vec<_>>();
    let begin = |number| timeout(number, FOREVER - 1);
    for (count, paid) in [(64, 0), (65, 1), (64, 1), (256, 3), (3, 3), (257, 4)] {
        assert!(ring.run(&realm, &all(begin, count)).is_empty());
        let each = count * abi::cost::PENDING;
        assert_eq!(realm.used(0).bytes, made + each + paid * waiting, "{count}");
        let done = ring.run(&realm, &all(|number| cancel(1000, number), count));
        assert_eq!(done.len() as u64, 2 * count);
        assert_eq!(realm.used(0).bytes, made + paid * waiting, "{count}");
    }
    // Of who can't pay for more, those that are there wait on.
    let mut other = Submissions::with(&realm, 0, SubmissionArgs::new(128, 128));
    let mut hog = poor(&realm, 0);
    hog.release(abi::Resources::bytes(65 * abi::cost::PENDING));
    let quota = Err(Error::Quota);
    assert_eq!(
        other.run(&realm, &all(begin, 66)),
        [(64, quota), (65, quota)]
    );
    drop(hog);
    assert!(other.run(&realm, &[begin(64)]).is_empty());
    for ring in [ring, other] {
        realm.drop_handle(0, ring.handle).unwrap();
    }
    assert_eq!(realm.used(0).bytes, before);
    realm.finish();
}

#[derive(Clone, Debug)]
enum Act {
    /// So many begin to wait until a time from now.
    Wait(u64, u64),
    /// One of those that wait ends.
    Cancel(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..9u64, 1..50u64).prop_map(|(count, for_ns)| Act::Wait(count, for_ns)),
        2 => any::<usize>().prop_map(Act::Cancel),
        2 => (1..20u64).prop_map(Act::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A sabotage of it is to leave no file.
        failure_persistence: None,
        ..ProptestConfig::with_cases(48)
    })]

    /// Against a map from numbers to times: each operation that waits completes once, with what came of it.
    #[test]
    fn whatever_waits_is_completed_once_by_its_own_time_or_cancel(
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let realm = Realm::new(1);
        let mut ring = Submissions::new(&realm, 0, 64, 512);
        let mut model = BTreeMap::new();
        let (mut now_ns, mut next) = (0, 1);
        for act in acts {
            let mut wanted = Vec::new();
            let mut done = match act {
                Act::Wait(count, for_ns) => {
                    let numbers = next..next + count;
                    next += count;
                    let until_ns = now_ns + for_ns;
                    model.extend(numbers.clone().map(|number| (number, until_ns)));
                    let entries = numbers.map(|number| timeout(number, until_ns));
                    ring.run(&realm, &entries.collect::<Vec<_>>())
                }
                Act::Cancel(which) if !model.is_empty() => {
                    let number = *model.keys().nth(which % model.len()).unwrap();
                    model.remove(&number);
                    wanted.extend([(0, Ok(1)), (number, Err(Error::Cancelled))]);
                    ring.run(&realm, &[cancel(0, number)])
                }
                Act::Cancel(_) => {
                    wanted.push((0, Ok(0)));
                    ring.run(&realm, &[nop(0)])
                }
                Act::Pass(ns) => {
                    now_ns += ns;
                    realm.machine().advance_ns(ns);
                    realm.ipc.expire_timers(0, usize::MAX);
                    let over = model.iter().filter(|(_, until_ns)| **until_ns <= now_ns);
                    wanted.extend(over.map(|(number, _)| (*number, Ok(0))));
                    model.retain(|_, until_ns| *until_ns > now_ns);
                    settle(&realm, &mut ring)
                }
            };
            done.sort_unstable_by_key(|done| done.0);
            prop_assert_eq!(done, wanted);
            let info = realm.ipc.submission_info(&realm.domains[0], ring.handle).unwrap();
            prop_assert_eq!(info.pending as usize, model.len());
        }
        realm.finish();
    }
}
