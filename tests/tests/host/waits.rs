//! Waits: what can end one does, once, however many there are and whatever they are for.

use std::cell::Cell;
use std::sync::Arc;

use crate::common::realm::Realm;
use crate::common::waiting::{asleep, waiting};
use abi::ring::Form;
use abi::{Error, Events, FOREVER, Handle, Mode, Rights, RingGeometry};
use fake::{FakeMachine, FakeTask};
use ipc::{Node, Outcome, Platform, Ticket, Waiters};
use mm::lock::{Lock, Rank};

/// More than threads can exist.
const MANY: usize = 10_000;

fn notification(realm: &Realm) -> Handle {
    realm.ipc.create_notification(&realm.domains[0]).unwrap()
}

fn node(realm: &Realm, handle: Handle) -> Node<FakeMachine> {
    realm.domains[0]
        .look_up(handle, None, Rights::empty())
        .unwrap()
        .node
}

/// A list of tasks that nobody executes.
struct Crowd {
    realm: Realm,
    handle: Handle,
    tasks: Vec<FakeTask>,
    list: Lock<Waiters<FakeMachine>>,
}

impl Crowd {
    fn new() -> Crowd {
        let realm = Realm::new(1);
        Crowd {
            handle: notification(&realm),
            realm,
            tasks: (0..MANY).map(|_| FakeTask::default()).collect(),
            list: Lock::new(Rank::Queue, Waiters::new()),
        }
    }

    /// Lets the task of a number wait by a capability.
    fn enlist(&self, number: usize, handle: Handle) -> Result<Ticket<FakeMachine>, Error> {
        let node = node(&self.realm, handle);
        let domain = self.realm.domains[0].koid();
        let task = self.tasks[number].clone();
        self.list.lock().enlist(task, &node, domain, Rights::WAIT)
    }

    fn wake(&self) -> Option<usize> {
        let woken = self.list.lock().wake_first(Outcome::Ready)?;
        self.tasks.iter().position(|task| task.is(&woken))
    }

    fn finish(self) {
        assert!(self.list.lock().is_empty());
        self.realm.finish();
    }
}

#[test]
fn ten_thousand_leave_in_any_order_and_the_others_keep_theirs() {
    let crowd = Crowd::new();
    let tickets: Vec<_> = (0..MANY)
        .map(|number| crowd.enlist(number, crowd.handle).unwrap())
        .collect();
    let mut order: Vec<_> = (0..MANY).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut order);
    let (leave, stay) = order.split_at(MANY - 100);
    for number in leave {
        crowd.list.lock().withdraw(&tickets[*number]);
    }
    let mut stay = stay.to_vec();
    stay.sort_unstable();
    let woken: Vec<_> = std::iter::from_fn(|| crowd.wake()).collect();
    assert_eq!(woken, stay);
    // What has ended can be withdrawn as often as one likes.
    for ticket in &tickets {
        crowd.list.lock().withdraw(ticket);
    }
    crowd.finish();
}

#[test]
fn of_ten_thousand_a_revoke_ends_those_below_it() {
    let crowd = Crowd::new();
    let top = crowd.realm.derive(0, crowd.handle, Rights::all()).unwrap();
    let below = crowd.realm.derive(0, top, Rights::all()).unwrap();
    let tickets: Vec<_> = (0..MANY)
        .map(|number| {
            let handle = if number % 3 == 0 { below } else { crowd.handle };
            crowd.enlist(number, handle).unwrap()
        })
        .collect();
    crowd.realm.revoke(0, top).unwrap();
    crowd
        .realm
        .ipc
        .end_unheld_waits(&crowd.list, |waiters| waiters);
    let deadline = 1;
    for (number, ticket) in tickets.iter().enumerate() {
        let expected = match number % 3 {
            0 => Err(Error::Revoked),
            _ => Err(Error::TimedOut),
        };
        let slept = crowd
            .realm
            .ipc
            .sleep_in(ticket, deadline, &crowd.list, |waiters| waiters);
        assert_eq!(slept, expected, "task {number}");
    }
    crowd.finish();
}

#[test]
fn who_waits_again_as_fast_as_it_is_woken_is_woken_once() {
    const FEW: usize = 100;
    let crowd = Crowd::new();
    let node = node(&crowd.realm, crowd.handle);
    let domain = crowd.realm.domains[0].koid();
    let wait = |list: &mut Waiters<FakeMachine>, task: &FakeTask| {
        let ticket = list.enlist(task.clone(), &node, domain, Rights::WAIT);
        drop(ticket.unwrap());
    };
    let tasks = &crowd.tasks[..FEW];
    for task in tasks {
        wait(&mut crowd.list.lock(), task);
    }
    let woken = Cell::new(0);
    let wait_again = |list: &mut Waiters<FakeMachine>| {
        for task in tasks.iter().filter(|task| task.take_unparked()) {
            woken.set(woken.get() + 1);
            wait(list, task);
        }
    };
    let ipc = &crowd.realm.ipc;
    ipc.end_all_waits(Outcome::Ready, &crowd.list, |list| {
        wait_again(list);
        assert!(woken.get() <= FEW, "it goes on without end");
        list
    });
    wait_again(&mut crowd.list.lock());
    assert_eq!(woken.get(), FEW);
    assert_eq!(std::iter::from_fn(|| crowd.wake()).count(), FEW);
    drop(node);
    crowd.finish();
}

#[test]
fn who_was_told_already_is_passed_over() {
    let crowd = Crowd::new();
    let tickets: Vec<_> = (0..3)
        .map(|number| crowd.enlist(number, crowd.handle).unwrap())
        .collect();
    crowd.realm.ipc.cancel_wait(&crowd.tasks[0]).unwrap();
    assert_eq!(
        crowd.realm.ipc.cancel_wait(&crowd.tasks[0]),
        Err(Error::NotFound)
    );
    assert_eq!(crowd.wake(), Some(1));
    assert_eq!(
        crowd.realm.ipc.cancel_wait(&crowd.tasks[1]),
        Err(Error::NotFound)
    );
    assert_eq!(crowd.wake(), Some(2));
    assert_eq!(crowd.wake(), None);
    let answers: Vec<_> = tickets
        .iter()
        .map(|ticket| crowd.realm.ipc.sleep(ticket, 1))
        .collect();
    assert_eq!(answers, [Err(Error::Cancelled), Ok(()), Ok(())]);
    crowd.finish();
}

#[test]
fn an_unpark_that_was_for_an_earlier_wait_ends_no_later_one() {
    let realm = Arc::new(Realm::new(1));
    let handle = notification(&realm);
    let (sleeper, task) = waiting(&realm, move |realm| {
        let wait = |deadline| {
            realm
                .ipc
                .wait_notification(&realm.domains[0], handle, deadline)
        };
        [wait(1), wait(FOREVER)]
    });
    realm.machine().unpark(&task);
    task.until_asleep();
    realm.machine().unpark(&task);
    realm.ipc.signal(&realm.domains[0], handle, 3).unwrap();
    assert_eq!(sleeper.join().unwrap(), [Err(Error::TimedOut), Ok(3)]);
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_wait_for_the_end_of_a_process_ends_with_it_or_with_its_capability() {
    let realm = Arc::new(Realm::new(2));
    let process = realm.via[0][1];
    let below = realm.derive(0, process, Rights::all()).unwrap();
    let wait = |handle| {
        asleep(&realm, move |realm| {
            realm
                .ipc
                .wait_object(&realm.domains[0], handle, Events::ENDED, FOREVER)
        })
    };
    let (stays, ends) = (wait(process), wait(below));
    realm.revoke(0, process).unwrap();
    assert_eq!(ends.join().unwrap(), Err(Error::Revoked));
    realm.processes[1].set_stopped(&realm.ipc, 5);
    realm.processes[1].set_ended(&realm.ipc);
    assert_eq!(stays.join().unwrap(), Ok(Events::ENDED));
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn the_events_of_a_ring_end_are_those_of_its_side() {
    let realm = Arc::new(Realm::new(2));
    let geometry = RingGeometry::slot(64, 4)
        .with_form(Form::Symmetric)
        .decode()
        .unwrap();
    let (producer, consumer) = realm.ipc.create_ring(&realm.domains[0], geometry).unwrap();
    let wait = |handle, events, deadline| {
        realm
            .ipc
            .wait_object(&realm.domains[0], handle, events, deadline)
    };
    assert_eq!(
        wait(producer, Events::WRITABLE, 0),
        Ok(Events::WRITABLE),
        "an empty ring"
    );
    assert_eq!(
        wait(consumer, Events::READABLE, 0),
        Err(Error::WouldBlock),
        "an empty ring"
    );
    assert_eq!(
        wait(consumer, Events::WRITABLE, 0),
        Err(Error::Unsupported),
        "a consumer"
    );
    let woken = asleep(&realm, move |realm| {
        let wanted = Events::READABLE | Events::PEER_CLOSED;
        realm
            .ipc
            .wait_object(&realm.domains[0], consumer, wanted, FOREVER)
    });
    realm.ipc.wake_ring(&realm.domains[0], producer).unwrap();
    assert_eq!(woken.join().unwrap(), Ok(Events::READABLE));
    let told = asleep(&realm, move |realm| {
        realm
            .ipc
            .wait_object(&realm.domains[0], consumer, Events::PEER_CLOSED, FOREVER)
    });
    realm.drop_handle(0, producer).unwrap();
    assert_eq!(told.join().unwrap(), Ok(Events::PEER_CLOSED));
    assert_eq!(
        wait(consumer, Events::PEER_CLOSED, 0),
        Ok(Events::PEER_CLOSED)
    );
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_ring_wait_ends_when_its_end_is_dropped_or_moved_away() {
    for moved in [false, true] {
        let realm = Arc::new(Realm::new(2));
        let geometry = RingGeometry::slot(64, 4).decode().unwrap();
        let (_producer, consumer) = realm.ipc.create_ring(&realm.domains[0], geometry).unwrap();
        let sleeper = asleep(&realm, move |realm| {
            realm.ipc.wait_ring(&realm.domains[0], consumer, 1, FOREVER)
        });
        if moved {
            realm.give(0, consumer, 1, Mode::Move);
        } else {
            realm.drop_handle(0, consumer).unwrap();
        }
        assert_eq!(sleeper.join().unwrap(), Err(Error::Cancelled));
        Arc::into_inner(realm).unwrap().finish();
    }
}

#[test]
fn a_port_watches_a_ring_end_until_that_is_gone() {
    let realm = Realm::new(1);
    let geometry = RingGeometry::slot(64, 4).decode().unwrap();
    let domain = &realm.domains[0];
    let (producer, consumer) = realm.ipc.create_ring(domain, geometry).unwrap();
    let port = realm.ipc.create_port(domain).unwrap();
    let before = realm.used(0);
    let (events, flags) = (Events::PEER_CLOSED, abi::BindFlags::empty());
    realm
        .ipc
        .bind_port(domain, port, consumer, events, flags, 1)
        .unwrap();
    let poll = || {
        realm.ipc.wait_port(domain, port, 1, 0, |_, packets| {
            assert_eq!((packets[0].key, packets[0].events), (1, events.bits()));
            Ok(())
        })
    };
    assert_eq!(poll(), Err(Error::WouldBlock));
    realm.drop_handle(0, producer).unwrap();
    assert_eq!(poll(), Ok(1));
    realm.drop_handle(0, consumer).unwrap();
    assert_eq!(poll(), Err(Error::WouldBlock));
    assert!(realm.used(0).bytes < before.bytes);
    realm.finish();
}
