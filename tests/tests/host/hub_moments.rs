//! What comes at the very moment at which a hub ends, or its host wakes: nobody is left asleep or with an end that does
//! not close.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use crate::common::hubs::{Guest, Hub, publish};
use crate::common::realm::Realm;
use crate::common::waiting::{asleep, waiting};
use abi::hub::{PeerState, host_beat};
use abi::ring::{End, EndState, Header};
use abi::{Error, Events, FOREVER, Handle, HubGuestEnds, HubSeat, HubSignal, Mode, Rights};
use fake::FakeTask;
use mm::lock::Rank;

/// A hub whose only guest has a view of its end of the ring from the host, and the host one of its end of the other.
struct Scene {
    realm: Realm,
    hub: Hub,
    guest: Guest,
    ends: HubGuestEnds,
    /// What the host has of the guest.
    link: [Handle; 3],
    /// Where the host sees the ring to it, and the guest the other.
    views: [u64; 2],
}

impl Scene {
    fn new() -> Scene {
        let realm = Realm::new(2);
        let hub = Hub::new(&realm, 1);
        let (guest, ends) = hub.join(&realm, 1);
        let (link, rings) = hub.connect(&realm, guest.seat).unwrap();
        let map = |domain: usize, end| realm.ipc.map_ring(&realm.domains[domain], end).unwrap();
        let views = [map(0, rings.consumer), map(1, ends.consumer)];
        map(1, ends.producer);
        Scene {
            views,
            realm,
            hub,
            guest,
            ends,
            link: [link, rings.producer, rings.consumer],
        }
    }

    /// How the other side's producing end stands, as a domain sees it.
    fn producer_of_peer(&self, domain: usize) -> EndState {
        let at = self.views[domain] + Header::state_offset(End::Producer) as u64;
        let word = self.realm.load(domain, domain, at).unwrap();
        EndState::from_raw(word as u32).unwrap()
    }

    fn end_hub(&self) {
        self.realm.drop_handle(0, self.hub.handle).unwrap();
    }
}

/// Has domain 1, or the host on another CPU, do something at each moment of something else at which nothing is locked,
/// one after the other, and then looks.
fn at_each_moment(cpu: usize, deed: fn(&Scene), other: fn(&Scene), look: impl Fn(&Scene, usize)) {
    for moment in 0.. {
        let scene = Arc::new(Scene::new());
        let inside = scene.clone();
        let others = move || fake::on_cpu(cpu, || other(&inside));
        let deed = || fake::on_cpu(0, || deed(&scene));
        let ((), came) = fake::at_moment(moment, None, others, deed);
        let scene = Arc::into_inner(scene).unwrap();
        if came.is_some() {
            look(&scene, moment);
        }
        scene.realm.finish();
        if came.is_none() {
            assert!(moment > 2, "there are {moment} moments");
            return;
        }
    }
}

#[test]
fn a_hub_that_ends_while_its_host_says_goodbye_tells_every_guest() {
    let told = |scene: &Scene, moment| {
        // Its host has the ends still.
        assert!(scene.realm.look_up(0, scene.link[1]).is_ok());
        let state = scene.producer_of_peer(1);
        assert_ne!(state, EndState::Open, "at moment {moment}");
    };
    let goodbye = |scene: &Scene| {
        let everybody = HubSeat { peer: 0, epoch: 0 };
        let said = scene.hub.dismiss(&scene.realm, everybody);
        assert!(matches!(said, Ok(()) | Err(Error::BadHandle)), "{said:?}");
    };
    at_each_moment(2, goodbye, Scene::end_hub, told);
}

#[test]
fn what_a_guest_keeps_that_leaves_while_the_hub_ends_can_be_closed() {
    let leave = |scene: &Scene| {
        scene.realm.drop_handle(1, scene.guest.member).unwrap();
    };
    at_each_moment(1, Scene::end_hub, leave, |scene, moment| {
        for end in [scene.ends.producer, scene.ends.consumer] {
            let found = scene.realm.look_up(1, end);
            let whole = matches!(found, Ok(_) | Err(Error::Revoked));
            assert!(whole, "{found:?} at moment {moment}");
            scene.realm.drop_handle(1, end).unwrap();
        }
        let state = scene.producer_of_peer(0);
        assert_ne!(state, EndState::Open, "at moment {moment}");
    });
}

#[test]
fn a_goodbye_during_a_reservation_finds_a_seat_that_is_taken_or_that_never_is() {
    let mut taken = Vec::new();
    for moment in 0.. {
        let realm = Arc::new(Realm::new(2));
        let hub = Hub::new(&realm, 1);
        let door = realm.give(0, hub.handle, 1, Mode::Share);
        let counted = Arc::new(AtomicU32::new(u32::MAX));
        let (inside, told) = (realm.clone(), counted.clone());
        let mut turn = 0;
        // Also while the table is locked that the membership is for.
        let meanwhile = move || {
            if turn == moment {
                fake::on_cpu(0, || hub.goodbye(&inside));
                let info = inside.ipc.hub_info(&inside.domains[0], hub.handle);
                told.store(info.unwrap().reserved, Ordering::Relaxed);
            }
            turn += 1;
        };
        let reserve = || realm.ipc.reserve_seat(&realm.domains[1], door);
        let beside = Some(Rank::Capabilities);
        let reserved = fake::before_locks(beside, meanwhile, || fake::on_cpu(1, reserve));
        let counted = counted.load(Ordering::Relaxed);
        if let Err(error) = reserved {
            assert_eq!((error, counted), (Error::PeerClosed, 0), "moment {moment}");
            // Whoever waits for all seats to be empty need not be told of it.
            assert_eq!(hub.standing(&realm, 1), (PeerState::Empty, 0));
            assert!(hub.told(&realm).is_empty());
        } else {
            assert_ne!(counted, 0, "moment {moment}");
        }
        taken.push(reserved.is_ok());
        Arc::into_inner(realm).unwrap().finish();
        if counted == u32::MAX {
            break;
        }
    }
    assert!(taken.len() > 4 && !taken[taken.len() - 3], "{taken:?}");
}

/// Waits until all of them have come back.
fn come_back<T>(threads: Vec<JoinHandle<T>>) -> Vec<T> {
    // A task that sleeps on is a failure of the machine.
    threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect()
}

#[test]
fn the_end_of_a_hub_reaches_who_waits_for_a_guest_to_go() {
    for goodbye in [false, true] {
        let realm = Arc::new(Realm::new(2));
        let hub = Hub::new(&realm, 1);
        let (guest, _) = hub.join(&realm, 1);
        let (link, _) = hub.connect(&realm, guest.seat).unwrap();
        let watcher = asleep(&realm, move |realm| {
            let domain = &realm.domains[0];
            realm
                .ipc
                .wait_object(domain, link, Events::PEER_CLOSED, FOREVER)
        });
        if goodbye {
            hub.goodbye(&realm);
        }
        realm.drop_handle(0, hub.handle).unwrap();
        assert_eq!(hub.standing(&realm, 1).0, PeerState::Goodbye);
        assert_eq!(come_back(vec![watcher]), [Ok(Events::PEER_CLOSED)]);
        Arc::into_inner(realm).unwrap().finish();
    }
}

#[test]
fn guests_signal_as_long_as_a_thread_of_the_host_sleeps() {
    let realm = Arc::new(Realm::new(2));
    let hub = Hub::new(&realm, 1);
    let (guest, ends) = hub.join(&realm, 1);
    assert_eq!(hub.told(&realm), [1]);
    let wait = move |realm: &Realm| hub.wait(realm, FOREVER).unwrap().iter().collect::<Vec<_>>();
    let mut sleepers = vec![asleep(&realm, wait), asleep(&realm, wait)];
    // A third takes what one of them would have been told of.
    publish(&realm, 1, ends.producer, 1);
    assert_eq!(hub.told(&realm), [1]);
    assert_eq!(hub.beat(&realm, 0), host_beat(true, 0));
    for left in [true, false] {
        guest.signal(&realm, HubSignal::Work).unwrap();
        while !sleepers.iter().any(JoinHandle::is_finished) {
            std::thread::yield_now();
        }
        let at = sleepers.iter().position(JoinHandle::is_finished).unwrap();
        assert_eq!(sleepers.remove(at).join().unwrap(), [1]);
        assert_eq!(hub.beat(&realm, 0), host_beat(left, 0));
    }
    Arc::into_inner(realm).unwrap().finish();
}

/// A way in which a wait at a hub ends, by a capability below the host's, without a guest to look at.
type Way = (&'static str, fn(&Realm, Handle, &FakeTask));

const WAYS: [Way; 5] = [
    ("is cancelled", |realm, _, task| {
        realm.ipc.cancel_wait(task).unwrap();
    }),
    ("has to end", |_, _, task| task.end()),
    ("is revoked", |realm, narrow, _| {
        realm.revoke_itself(0, narrow).unwrap();
    }),
    ("is reduced", |realm, narrow, _| {
        realm.reduce(0, narrow, Rights::empty()).unwrap();
    }),
    ("is dropped", |realm, narrow, _| {
        realm.drop_handle(0, narrow).unwrap();
    }),
];

#[test]
fn guests_do_not_signal_any_more_when_the_last_wait_has_ended_however_it_has() {
    let rights = Rights::WAIT | Rights::REVOKE;
    for (how, end) in WAYS {
        let realm = Arc::new(Realm::new(2));
        let hub = Hub::new(&realm, 1);
        let (guest, _) = hub.join(&realm, 1);
        assert_eq!(hub.told(&realm), [1]);
        let narrow = realm.derive(0, hub.handle, rights).unwrap();
        let wait = move |realm: &Realm| realm.ipc.wait_hub(&realm.domains[0], narrow, FOREVER);
        let (first, task) = waiting(&realm, wait);
        task.until_asleep();
        let second = asleep(&realm, move |realm| hub.wait(realm, FOREVER));
        end(&realm, narrow, &task);
        assert!(first.join().unwrap().is_err(), "{how}");
        // For the other one they do.
        assert_eq!(hub.beat(&realm, 0), host_beat(true, 0), "{how}");
        guest.signal(&realm, HubSignal::Work).unwrap();
        assert!(second.join().unwrap().is_ok(), "{how}");
        let narrow = realm.derive(0, hub.handle, rights).unwrap();
        let wait = move |realm: &Realm| realm.ipc.wait_hub(&realm.domains[0], narrow, FOREVER);
        let (only, task) = waiting(&realm, wait);
        task.until_asleep();
        assert_eq!(hub.beat(&realm, 0), host_beat(true, 0), "{how}");
        end(&realm, narrow, &task);
        assert!(only.join().unwrap().is_err(), "{how}");
        assert_eq!(hub.beat(&realm, 0), host_beat(false, 0), "{how}");
        Arc::into_inner(realm).unwrap().finish();
    }
}

#[test]
fn guests_signal_after_a_look_in_vain_until_there_is_something_to_look_at() {
    let realm = Realm::new(2);
    let hub = Hub::new(&realm, 1);
    let (guest, _) = hub.join(&realm, 1);
    assert_eq!(hub.told(&realm), [1]);
    assert_eq!(hub.wait(&realm, 100).err(), Some(Error::TimedOut));
    assert_eq!(hub.beat(&realm, 0), host_beat(false, 0));
    // Somebody goes to a port from here, and a wait that ends meanwhile is another's.
    assert!(hub.told(&realm).is_empty());
    assert_eq!(hub.wait(&realm, 100).err(), Some(Error::TimedOut));
    assert_eq!(hub.beat(&realm, 0), host_beat(true, 0));
    guest.signal(&realm, HubSignal::Work).unwrap();
    assert_eq!(hub.beat(&realm, 0), host_beat(false, 0));
    assert_eq!(hub.told(&realm), [1]);
    assert_eq!(hub.wait(&realm, 100).err(), Some(Error::TimedOut));
    assert_eq!(hub.beat(&realm, 0), host_beat(false, 0));
    realm.finish();
}

#[test]
fn what_a_thread_was_woken_for_that_may_not_wait_any_more_is_told_to_the_next() {
    let realm = Arc::new(Realm::new(2));
    let hub = Hub::new(&realm, 1);
    let (guest, _) = hub.join(&realm, 1);
    assert_eq!(hub.told(&realm), [1]);
    let rights = Rights::WAIT;
    let narrow = realm.derive(0, hub.handle, rights).unwrap();
    let woken = Arc::new(AtomicBool::new(false));
    let told = woken.clone();
    let first = asleep(&realm, move |realm| {
        let domains = realm.domains.clone();
        let ipc = realm.ipc.clone();
        let mut revoked = false;
        // Between the wake and its look.
        let meanwhile = move || {
            if told.load(Ordering::Acquire) && !std::mem::replace(&mut revoked, true) {
                let none = abi::RevokeFlags::empty();
                ipc.revoke(&domains[0], hub.handle, none).unwrap();
            }
        };
        let wait = || realm.ipc.wait_hub(&realm.domains[0], narrow, FOREVER);
        fake::before_locks(None, meanwhile, wait)
    });
    let second = asleep(&realm, move |realm| hub.wait(realm, FOREVER));
    woken.store(true, Ordering::Release);
    guest.signal(&realm, HubSignal::Work).unwrap();
    assert_eq!(first.join().unwrap(), Err(Error::Revoked));
    let second = come_back(vec![second]).remove(0).unwrap();
    assert_eq!(second.iter().collect::<Vec<_>>(), [1]);
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn what_a_guest_sends_after_the_goodbye_reaches_a_thread_of_the_host_that_sleeps() {
    let realm = Arc::new(Realm::new(2));
    let hub = Hub::new(&realm, 1);
    let (guest, ends) = hub.join(&realm, 1);
    hub.connect(&realm, guest.seat).unwrap();
    assert_eq!(hub.told(&realm), [1]);
    let sleeper = asleep(&realm, move |realm| hub.wait(realm, FOREVER));
    hub.goodbye(&realm);
    publish(&realm, 1, ends.producer, 1);
    assert_eq!(hub.beat(&realm, 0), host_beat(true, 0), "it sleeps");
    assert_eq!(guest.signal(&realm, HubSignal::Work), Ok(()));
    let told = come_back(vec![sleeper]).remove(0).unwrap();
    assert_eq!(told.iter().collect::<Vec<_>>(), [1]);
    Arc::into_inner(realm).unwrap().finish();
}
