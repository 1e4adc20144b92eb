//! Ten thousand wait for one thing: each kind of wait goes on for all of them, and ends for each when and
//! as it has to.
//!
//! They are tasks of one thread, each of which sleeps in the hook that the one before it runs into as it
//! falls asleep: so they are real waits at real objects, and no system has to have so many threads.

use crate::common;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::messages::Ends;
use crate::common::realm::Realm;
use abi::{BindFlags, Error, Events, FOREVER, Handle, PortPacket, Rights};
use fake::FakeTask;

/// More than threads can exist.
const MANY: usize = 10_000;
/// The stack of so many calls in one another, most of which nobody touches.
const STACK: usize = 1 << 30;

type Wait = fn(&Realm, Handle) -> Result<u64, Error>;

/// Tasks that fall asleep one after another.
struct Crowd {
    realm: Arc<Realm>,
    tasks: Vec<FakeTask>,
    /// How many have begun to wait.
    waiting: AtomicUsize,
    wait: Wait,
    /// By which of the handles each waits, by turns.
    handles: Vec<Handle>,
    ended: Mutex<Vec<(usize, Result<u64, Error>)>>,
}

impl Crowd {
    /// Lets the next one wait, or when all of them do, something happen.
    fn go_on(self: &Arc<Crowd>, act: &Arc<dyn Fn(&Realm) + Send + Sync>) {
        let number = self.waiting.fetch_add(1, Ordering::Relaxed);
        if number == MANY {
            return act(&self.realm);
        }
        let (crowd, act) = (self.clone(), act.clone());
        self.realm.machine().set_before_park(move |_| {
            if crowd.waiting.load(Ordering::Relaxed) == number + 1 {
                crowd.go_on(&act);
            }
        });
        let handle = self.handles[number % self.handles.len()];
        let task = &self.tasks[number];
        let answer = task.perform(|| (self.wait)(&self.realm, handle));
        self.realm.ipc.end_task(task);
        self.ended.lock().unwrap().push((number, answer));
    }
}

/// What ten thousand are told who wait by one of `handles` each, when something happens that lets all of
/// them go on.
fn told(
    realm: Realm,
    handles: Vec<Handle>,
    wait: Wait,
    act: impl Fn(&Realm) + Send + Sync + 'static,
) -> Vec<Result<u64, Error>> {
    let crowd = Arc::new(Crowd {
        realm: Arc::new(realm),
        tasks: (0..MANY).map(|_| FakeTask::default()).collect(),
        waiting: AtomicUsize::new(0),
        wait,
        handles,
        ended: Mutex::default(),
    });
    let begin = {
        let crowd = crowd.clone();
        move || crowd.go_on(&(Arc::new(act) as _))
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread.spawn(begin).unwrap().join().unwrap();
    crowd.realm.machine().clear_hooks();
    let crowd = Arc::into_inner(crowd).unwrap();
    let mut ended = crowd.ended.into_inner().unwrap();
    ended.sort_unstable_by_key(|(number, _)| *number);
    assert_eq!(ended.len(), MANY);
    Arc::into_inner(crowd.realm).unwrap().finish();
    ended.into_iter().map(|(_, answer)| answer).collect()
}

fn wait_for_bits(realm: &Realm, handle: Handle) -> Result<u64, Error> {
    let domain = &realm.domains[0];
    realm.ipc.wait_notification(domain, handle, FOREVER)
}

fn wait_at_port(realm: &Realm, handle: Handle) -> Result<u64, Error> {
    let mut key = 0;
    let domain = &realm.domains[0];
    realm
        .ipc
        .wait_port(domain, handle, 1, FOREVER, |_, packets| {
            key = packets[0].key;
            Ok(())
        })?;
    Ok(key)
}

fn wait_for_messages(realm: &Realm, handle: Handle) -> Result<u64, Error> {
    let end = common::messages::End::new(0, handle);
    let got = end.receive_until(realm, FOREVER)?;
    Ok(got.bytes.len() as u64)
}

fn wait_for_answers(realm: &Realm, handle: Handle) -> Result<u64, Error> {
    let domain = &realm.domains[0];
    let answer = realm.ipc.call_words(domain, handle, [7; 4], FOREVER)?;
    Ok(answer[0])
}

fn wait_for_an_end(realm: &Realm, handle: Handle) -> Result<u64, Error> {
    let domain = &realm.domains[0];
    let events = realm
        .ipc
        .wait_object(domain, handle, Events::ENDED, FOREVER)?;
    Ok(events.bits().into())
}

fn notification(realm: &Realm) -> Handle {
    realm.ipc.create_notification(&realm.domains[0]).unwrap()
}

#[test]
fn ten_thousand_wait_at_a_notification_and_each_gets_bits_of_its_own() {
    let realm = Realm::new(1);
    let handle = notification(&realm);
    let answers = told(realm, vec![handle], wait_for_bits, move |realm| {
        for number in 1..=MANY as u64 {
            realm.ipc.signal(&realm.domains[0], handle, number).unwrap();
        }
    });
    let expected = (1..=MANY as u64).map(Ok);
    assert!(answers.into_iter().eq(expected), "in the order of waiting");
}

#[test]
fn of_ten_thousand_at_a_notification_each_ends_with_its_own_capability() {
    let realm = Realm::new(1);
    let top = notification(&realm);
    let derive = |from| realm.derive(0, from, Rights::all()).unwrap();
    let revoked = derive(top);
    let below = derive(revoked);
    let dropped = derive(top);
    let handles = vec![top, below, dropped];
    let answers = told(realm, handles, wait_for_bits, move |realm| {
        realm.revoke(0, revoked).unwrap();
        realm.drop_handle(0, dropped).unwrap();
        for _ in 0..MANY.div_ceil(3) {
            realm.ipc.signal(&realm.domains[0], top, 1).unwrap();
        }
    });
    for (number, answer) in answers.into_iter().enumerate() {
        let expected = [Ok(1), Err(Error::Revoked), Err(Error::Cancelled)];
        assert_eq!(answer, expected[number % 3], "task {number}");
    }
}

#[test]
fn of_ten_thousand_at_a_port_each_ends_with_its_own_capability_and_no_packet_is_lost() {
    let realm = Realm::new(1);
    let domain = &realm.domains[0];
    let port = realm.ipc.create_port(domain).unwrap();
    let bits = notification(&realm);
    let (events, flags) = (Events::SIGNALED, BindFlags::EDGE);
    let bound = realm.ipc.bind_port(domain, port, bits, events, flags, 7);
    bound.unwrap();
    let derive = |from| realm.derive(0, from, Rights::all()).unwrap();
    let (revoked, dropped) = (derive(port), derive(port));
    let handles = vec![derive(revoked), dropped];
    let answers = told(realm, handles, wait_at_port, move |realm| {
        let domain = &realm.domains[0];
        realm.revoke(0, revoked).unwrap();
        // The first of those who are left is woken, and ends before it can take what woke it.
        realm.ipc.signal(domain, bits, 1).unwrap();
        realm.drop_handle(0, dropped).unwrap();
        let taken = |_, packets: &[PortPacket]| {
            assert_eq!((packets[0].key, packets[0].count), (7, 1));
            Ok(())
        };
        assert_eq!(realm.ipc.wait_port(domain, port, 64, 0, taken), Ok(1));
    });
    for (number, answer) in answers.into_iter().enumerate() {
        match number {
            // Woken, it looks once more.
            1 => assert!(answer.is_err(), "{answer:?}"),
            _ => {
                let expected = [Error::Revoked, Error::Cancelled];
                assert_eq!(answer, Err(expected[number % 2]), "task {number}");
            }
        }
    }
}

#[test]
fn ten_thousand_wait_for_messages_and_each_is_told_of_one_or_of_the_end() {
    let realm = Realm::new(1);
    let ends = Ends::of(&realm, 0, 64);
    let receives = vec![ends.there.handle];
    let answers = told(realm, receives, wait_for_messages, move |realm| {
        for len in 1..=50 {
            ends.here.send(realm, &[7; 50][..len], &[]).unwrap();
        }
        ends.here.drop(realm);
    });
    let mut got: Vec<_> = answers.iter().filter_map(|answer| answer.ok()).collect();
    got.sort_unstable();
    assert!(got.into_iter().eq(1..=50), "each message once");
    let told = |answer: &&Result<u64, Error>| **answer == Err(Error::PeerClosed);
    assert_eq!(answers.iter().filter(told).count(), MANY - 50);
}

#[test]
fn ten_thousand_call_and_each_is_told_that_its_server_is_gone() {
    let realm = Realm::new(1);
    let ends = Ends::of(&realm, 0, 4);
    let calls = vec![ends.here.handle];
    let answers = told(realm, calls, wait_for_answers, move |realm| {
        ends.there.drop(realm);
    });
    let told = |answer: &Result<u64, Error>| *answer == Err(Error::PeerClosed);
    assert!(answers.iter().all(told));
}

#[test]
fn ten_thousand_wait_for_the_end_of_a_process() {
    let realm = Realm::new(2);
    let process = realm.via[0][1];
    let answers = told(realm, vec![process], wait_for_an_end, |realm| {
        realm.processes[1].set_ended(&realm.ipc);
    });
    let ended = Ok(Events::ENDED.bits().into());
    assert!(answers.iter().all(|answer| *answer == ended));
}
