//! Submission rings: whatever an operation waits for, and at whatever moment it comes, the program is told that there is
//! something to be had, and who sleeps for completions is woken when there are enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::common::messages::{End, Ends};
use crate::common::ports::{
    EDGE, NOTHING, SIGNALED, notification, poll, port, signal as ring_bell,
};
use crate::common::realm::Realm;
use crate::common::registered::{register, unregister_entry, wait_by};
use crate::common::submissions::{Submissions, cancel, nop, operate, signal, wait};
use crate::common::waiting::waiting;
use abi::submission::{Operation, Submission, SubmissionFlags};
use abi::{Error, Events, FOREVER, Handle};
use fake::FakeTask;

/// A ring, and a port that is told once of each time at which there is something to be had of it.
fn watched_ring(realm: &Realm, size: u32) -> (Submissions, Handle) {
    let ring = Submissions::new(realm, 0, size, size);
    let (at, domain) = (port(realm, 0), &realm.domains[0]);
    let bound = realm
        .ipc
        .bind_port(domain, at, ring.handle, Events::READABLE, EDGE, 1);
    bound.unwrap();
    (ring, at)
}

/// A program that goes to its port whenever it finds no completion, and enters the ring when it was told.
fn next(realm: &Realm, ring: &mut Submissions, at: Handle, when: &str) -> Result<u64, Error> {
    loop {
        if let Some(completion) = ring.peek(realm) {
            ring.release_head(realm, ring.head);
            return completion.outcome();
        }
        assert!(poll(realm, at).is_ok(), "{when}: the program sleeps on");
        assert_eq!(ring.enter(realm, 0, 0, 0), Ok(0));
    }
}

/// An operation that has nothing to wait for yet, and what ends its wait.
struct Wait {
    name: &'static str,
    /// What is there before, and the entry.
    begin: fn(&Realm) -> Scene,
    end: fn(&Realm, &Scene),
    comes_to: Result<u64, Error>,
}

struct Scene {
    entry: Submission,
    handle: Handle,
    /// What else somebody does something with.
    other: Option<(Handle, Handle)>,
}

fn scene_of(entry: Submission, handle: Handle) -> Scene {
    Scene {
        entry,
        handle,
        other: None,
    }
}

const WAITS: [Wait; 5] = [
    Wait {
        name: "a notification",
        begin: |realm| {
            let bell = notification(realm, 0);
            scene_of(wait(1, bell, FOREVER), bell)
        },
        end: |realm, scene| ring_bell(realm, 0, scene.handle),
        comes_to: Ok(1),
    },
    Wait {
        name: "an event",
        begin: |realm| {
            let bell = notification(realm, 0);
            let arguments = [bell.bits(), SIGNALED.bits().into(), FOREVER, 0, 0, 0];
            scene_of(Submission::new(Operation::Wait, 1, arguments), bell)
        },
        end: |realm, scene| ring_bell(realm, 0, scene.handle),
        comes_to: Ok(SIGNALED.bits() as u64),
    },
    Wait {
        name: "an event that comes once",
        begin: |realm| {
            let ends = Ends::of(realm, 0, 4);
            let (here, closed) = (ends.here.handle, Events::PEER_CLOSED);
            let arguments = [here.bits(), closed.bits().into(), FOREVER, 0, 0, 0];
            let entry = Submission::new(Operation::Wait, 1, arguments);
            scene_of(entry, ends.there.handle)
        },
        end: |realm, scene| realm.drop_handle(0, scene.handle).unwrap(),
        comes_to: Ok(Events::PEER_CLOSED.bits() as u64),
    },
    Wait {
        name: "room for a message",
        begin: |realm| {
            let ends = Ends::of(realm, 0, 1);
            ends.here.send(realm, b"", &[]).unwrap();
            let arguments = [ends.here.handle.bits(), 0, FOREVER, 0, 0, 0];
            let entry = Submission::new(Operation::Send, 1, arguments);
            scene_of(entry, ends.there.handle)
        },
        end: |realm, scene| {
            let there = End::new(0, scene.handle);
            there.receive(realm).unwrap();
        },
        comes_to: Ok(0),
    },
    Wait {
        name: "the last use of a registered handle",
        begin: |realm| {
            let bell = notification(realm, 0);
            let id = register(realm, bell).unwrap();
            // It is used in another ring.
            let mut other = Submissions::new(realm, 0, 2, 2);
            other.push(realm, wait_by(id, FOREVER));
            assert_eq!(other.enter(realm, 1, 0, 0), Ok(1));
            Scene {
                other: Some((bell, other.handle)),
                ..scene_of(unregister_entry(1, id, FOREVER), bell)
            }
        },
        end: |realm, scene| {
            let (bell, other) = scene.other.unwrap();
            ring_bell(realm, 0, bell);
            let call = |operation, arguments| operate(realm, 0, operation, arguments);
            let entered = (realm.ipc).enter_submissions(&realm.domains[0], other, 0, 0, 0, call);
            assert_eq!(entered, Ok(0));
        },
        comes_to: Ok(0),
    },
];

/// Has something happen on another CPU at a moment of a deed, at which nothing is locked. Whether there is that moment.
fn at_moment(moment: u32, mut happens: impl FnMut() + 'static, deed: impl FnOnce()) -> bool {
    let turns = Arc::new(AtomicU32::new(0));
    let count = turns.clone();
    let meanwhile = move || {
        if count.fetch_add(1, Ordering::Relaxed) == moment {
            fake::on_cpu(1, &mut happens);
        }
    };
    fake::before_locks(None, meanwhile, deed);
    moment < turns.load(Ordering::Relaxed)
}

#[test]
fn what_comes_while_an_entry_begins_to_wait_for_it_is_not_missed() {
    for kind in &WAITS {
        for moment in 0.. {
            let realm = Arc::new(Realm::new(1));
            let (mut ring, at) = watched_ring(&realm, 4);
            let scene = (kind.begin)(&realm);
            ring.push(&realm, scene.entry);
            let scene = Arc::new(scene);
            let (inside, of) = (realm.clone(), scene.clone());
            let happens = move || (kind.end)(&inside, &of);
            let reached = at_moment(moment, happens, || {
                assert_eq!(ring.enter(&realm, 1, 0, 0), Ok(1));
            });
            if !reached {
                assert_eq!(poll(&realm, at), NOTHING, "{}: nothing has come", kind.name);
                assert!(!ring.says_due(&realm), "{}: nothing is due", kind.name);
                (kind.end)(&realm, &scene);
            }
            let when = format!("{} at moment {moment}", kind.name);
            assert_eq!(next(&realm, &mut ring, at, &when), kind.comes_to, "{when}");
            Arc::into_inner(realm).unwrap().finish();
            if !reached {
                assert!(moment > 4, "there are {moment} moments");
                break;
            }
        }
    }
}

#[test]
fn what_was_found_to_be_served_by_another_is_told_again_when_that_one_leaves_it() {
    for moment in 0.. {
        let realm = Arc::new(Realm::new(1));
        let (mut ring, at) = watched_ring(&realm, 4);
        let bell = notification(&realm, 0);
        assert_eq!(ring.run(&realm, &[wait(1, bell, FOREVER)]), []);
        // Nothing is told of what is served meanwhile.
        ring.push(&realm, nop(2).with(SubmissionFlags::SKIP_SUCCESS));
        let (inside, handle) = (realm.clone(), ring.handle);
        let told = move || {
            ring_bell(&inside, 0, bell);
            assert!(poll(&inside, at).is_ok());
            let call = |operation, arguments| operate(&inside, 0, operation, arguments);
            let domain = &inside.domains[0];
            let entered = (inside.ipc).enter_submissions(domain, handle, 0, 0, 0, call);
            assert_eq!(entered, Ok(0));
        };
        let reached = at_moment(moment, told, || {
            assert_eq!(ring.enter(&realm, 1, 0, 0), Ok(1));
        });
        if !reached {
            ring_bell(&realm, 0, bell);
        }
        let when = format!("at moment {moment}");
        assert_eq!(next(&realm, &mut ring, at, &when), Ok(1), "{when}");
        Arc::into_inner(realm).unwrap().finish();
        if !reached {
            return;
        }
    }
}

/// Entries that are served before what was done is published.
const SLICE: u64 = 64;

/// Has three slices of entries served, and `deed` called in each of them.
fn serve_slices(realm: &Realm, ring: &mut Submissions, mut deed: impl FnMut(u64)) {
    for number in 0..3 * SLICE {
        ring.write(realm, signal(number, Handle::NONE, 1));
    }
    ring.publish(realm);
    let count = std::cell::Cell::new(0);
    let deed = std::cell::RefCell::new(&mut deed);
    let call = |_, _| {
        if count.get() % SLICE == SLICE / 2 {
            (deed.borrow_mut())(count.get() / SLICE);
        }
        count.set(count.get() + 1);
        Ok(0)
    };
    let (domain, all) = (&realm.domains[0], 3 * SLICE);
    let served = fake::on_cpu(1, || {
        (realm.ipc).enter_submissions(domain, ring.handle, all as u32, 0, 0, call)
    });
    assert_eq!(served, Ok(all));
}

/// A thread that sleeps in a ring until there are so many completions, and whether it has come back.
fn sleeper(
    realm: &Arc<Realm>,
    ring: &Submissions,
    wait_for: u32,
    deadline_ns: u64,
) -> (
    std::thread::JoinHandle<Result<u64, Error>>,
    FakeTask,
    Arc<AtomicBool>,
) {
    let back = Arc::new(AtomicBool::new(false));
    let (handle, tell) = (ring.handle, back.clone());
    let (thread, task) = waiting(realm, move |realm| {
        let none = |_, _| panic!("somebody else serves");
        let domain = &realm.domains[0];
        let entered = (realm.ipc).enter_submissions(domain, handle, 0, wait_for, deadline_ns, none);
        tell.store(true, Ordering::Release);
        entered
    });
    task.until_asleep();
    (thread, task, back)
}

#[test]
fn who_waits_for_completions_is_told_of_them_when_they_are_published() {
    let realm = Arc::new(Realm::new(1));
    let (mut ring, at) = watched_ring(&realm, 256);
    let (thread, _, back) = sleeper(&realm, &ring, 2 * SLICE as u32, FOREVER);
    serve_slices(&realm, &mut ring, |slice| {
        if slice == 0 {
            assert_eq!(poll(&realm, at), NOTHING);
            return;
        }
        assert!(poll(&realm, at).is_ok(), "a slice was published");
        let enough = slice == 2;
        // A sleep that nobody ends is a failure of the machine.
        while enough && !back.load(Ordering::Acquire) && !thread.is_finished() {
            std::thread::yield_now();
        }
        assert_eq!(back.load(Ordering::Acquire), enough);
    });
    assert_eq!(thread.join().unwrap(), Ok(0));
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_time_that_comes_when_there_are_enough_completions_is_none() {
    for moment in 0.. {
        let realm = Arc::new(Realm::new(1));
        realm.machine().hold_deadlines();
        let mut ring = Submissions::new(&realm, 0, 4, 4);
        let (thread, task, back) = sleeper(&realm, &ring, 1, 1 << 40);
        ring.push(&realm, nop(1));
        let tail = Arc::new(AtomicU32::new(u32::MAX));
        let (inside, found) = (realm.clone(), tail.clone());
        let producer = ring.views.completions + abi::ring::PRODUCER_OFFSET as u64;
        let comes = move || {
            let posted = inside.load(0, 0, producer).unwrap() as u32;
            found.store(posted, Ordering::Relaxed);
            task.time_out();
            // Who serves has the ring, and nothing is due: it has only to look.
            while !back.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        };
        let reached = at_moment(moment, comes, || {
            assert_eq!(ring.enter(&realm, 1, 0, 0), Ok(1));
        });
        let expected = match tail.load(Ordering::Relaxed) {
            0 => Err(Error::TimedOut),
            _ => Ok(0),
        };
        assert_eq!(thread.join().unwrap(), expected, "at moment {moment}");
        Arc::into_inner(realm).unwrap().finish();
        if !reached {
            return;
        }
    }
}

#[test]
fn what_comes_between_a_try_and_the_deadline_came_in_time() {
    let realm = Realm::new(1);
    let mut ring = Submissions::new(&realm, 0, 4, 4);
    let bell = notification(&realm, 0);
    ring.push(&realm, wait(1, bell, 1000));
    let tries = std::cell::Cell::new(0);
    let call = |operation, arguments| {
        let outcome = operate(&realm, 0, operation, arguments);
        tries.set(tries.get() + 1);
        // The second is the one that it waits on after.
        if tries.get() == 2 {
            ring_bell(&realm, 0, bell);
            realm.machine().advance_ns(1000);
        }
        outcome
    };
    let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
    let entered = ipc.enter_submissions(domain, ring.handle, 1, 0, 0, call);
    assert_eq!(entered, Ok(1));
    assert_eq!(ring.enter(&realm, 0, 1, 0), Ok(0));
    assert_eq!(ring.reap(&realm), [(1, Ok(1))]);
    realm.finish();
}

#[test]
fn a_cancel_of_many_is_published_on_the_way() {
    let realm = Arc::new(Realm::new(1));
    let mut ring = Submissions::new(&realm, 0, 256, 256);
    let bell = notification(&realm, 0);
    let most = abi::limits::MAX_SHARED_WATCHES.min(200);
    let waits: Vec<_> = (0..most).map(|_| wait(7, bell, FOREVER)).collect();
    assert_eq!(ring.run(&realm, &waits), []);
    ring.push(&realm, cancel(8, 7));
    let seen = Arc::new(std::sync::Mutex::new(vec![0]));
    let (inside, list) = (realm.clone(), seen.clone());
    let producer = ring.views.completions + abi::ring::PRODUCER_OFFSET as u64;
    let look = move || {
        let posted = fake::on_cpu(0, || inside.load(0, 0, producer).unwrap());
        list.lock().unwrap().push(posted);
    };
    let cancelled = || fake::on_cpu(1, || ring.enter(&realm, 1, 0, 0));
    assert_eq!(fake::before_locks(None, look, cancelled), Ok(1));
    assert_eq!(ring.reap(&realm).len(), most + 1);
    let seen = seen.lock().unwrap().clone();
    let steps = seen.windows(2).map(|two| two[1] - two[0]);
    assert!(steps.max() <= Some(SLICE), "{seen:?}");
    Arc::into_inner(realm).unwrap().finish();
}
