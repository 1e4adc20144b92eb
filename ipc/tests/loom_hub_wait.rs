//! Every interleaving, up to a bound on preemptions, of a host that goes to sleep at all its rings with a guest that publishes,
//! that leaves, and with the end of the hub: the host never sleeps while there is something to look at.
//!
//! The guest's half is what programs call, [`must_tell_host`].
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ipc --release --test loom_hub_wait`
#![cfg(loom)]

#[allow(dead_code, reason = "each model uses a part of it")]
mod loom_platform;

use std::mem::offset_of;
use std::sync::Arc;

use abi::hub::BEATS_OFFSET;
use abi::ring::{End, Header, IndexPage};
use abi::{Error, FOREVER, Handle, HubGeometry, HubPeers, HubSignal};
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom_platform::{Realm, explore, spawn};
use mm::Frame;
use ring::hub::must_tell_host;

/// The only guest.
const GUEST: HubPeers = HubPeers { bits: [2, 0, 0, 0] };

/// A hub with one guest, whom the host has been told of.
#[derive(Clone)]
struct Seat {
    hub: Handle,
    member: Handle,
    /// The beat of the host, in the table.
    beat: Arc<AtomicU64>,
    /// Of the ring to the host.
    tail: Arc<AtomicU32>,
    head: Arc<AtomicU32>,
}

impl Seat {
    fn new(realm: &Realm) -> Seat {
        let (ipc, domain) = (&realm.ipc, &realm.domain);
        let hub = ipc.create_hub(domain, HubGeometry::slot(1, 64, 4, 4));
        let hub = hub.unwrap().hub;
        let (member, seat) = ipc.reserve_seat(domain, hub).unwrap();
        ipc.claim_seat(domain, member, seat.epoch).unwrap();
        assert_eq!(ipc.wait_hub(domain, hub, 0), Ok(GUEST));
        // All words that two tasks share are there before there are two.
        let memory = &ipc.platform().memory;
        let table = memory.frames_with_long(BEATS_OFFSET)[0];
        let to_host = memory.frames_with(offset_of!(Header, magic))[0];
        let index = |end: End| {
            let page = Frame::from_number(to_host.number() + 1 + end as u64);
            memory.word(page, offset_of!(IndexPage, index))
        };
        Seat {
            hub,
            member,
            beat: memory.long_word(table, BEATS_OFFSET),
            tail: index(End::Producer),
            head: index(End::Consumer),
        }
    }

    /// Waits as a host does that has looked at everything.
    fn wait(&self, realm: &Realm) -> Result<HubPeers, Error> {
        realm.ipc.wait_hub(&realm.domain, self.hub, FOREVER)
    }

    /// Sends a message as a guest does, which enters the kernel only if the host sleeps.
    fn send(&self, realm: &Realm, index: u32) {
        // SYNC(ring.publish)
        self.tail.store(index, Ordering::Release);
        if must_tell_host(|| self.beat.load(Ordering::Relaxed)) {
            let told = realm
                .ipc
                .signal_host(&realm.domain, self.member, HubSignal::Work);
            assert_eq!(told, Ok(()));
        }
    }

    /// Receives so many messages, sleeping for each that is not there.
    fn receive(&self, realm: &Realm, count: u32) {
        let mut received = 0;
        while received < count {
            assert_eq!(self.wait(realm), Ok(GUEST));
            received = self.tail.load(Ordering::Acquire);
            self.head.store(received, Ordering::Release);
        }
    }
}

#[test]
fn what_is_published_while_the_host_goes_to_sleep_is_looked_at() {
    explore(3, || {
        let realm = Realm::new();
        let seat = Seat::new(&realm);
        let guest = seat.clone();
        let guest = spawn(&realm, move |realm| guest.send(realm, 1));
        seat.receive(&realm, 1);
        guest.join().unwrap();
    });
}

#[test]
fn a_host_that_was_just_woken_sleeps_again_and_is_woken_again() {
    explore(2, || {
        let realm = Realm::new();
        let seat = Seat::new(&realm);
        let guest = seat.clone();
        let guest = spawn(&realm, move |realm| {
            guest.send(realm, 1);
            guest.send(realm, 2);
        });
        seat.receive(&realm, 2);
        guest.join().unwrap();
    });
}

#[test]
fn a_guest_that_leaves_while_the_host_goes_to_sleep_is_told_of() {
    explore(3, || {
        let realm = Realm::new();
        let seat = Seat::new(&realm);
        let member = seat.member;
        let guest = spawn(&realm, move |realm| {
            realm.ipc.leave_seat(&realm.domain, member)
        });
        assert_eq!(seat.wait(&realm), Ok(GUEST));
        guest.join().unwrap().unwrap();
    });
}

#[test]
fn a_hub_that_ends_while_its_host_goes_to_sleep_ends_the_sleep() {
    explore(3, || {
        let realm = Realm::new();
        let seat = Seat::new(&realm);
        let hub = seat.hub;
        let other = spawn(&realm, move |realm| {
            realm.ipc.drop_capability(&realm.domain, hub)
        });
        let ended = seat.wait(&realm).unwrap_err();
        let ended_so = [Error::PeerClosed, Error::BadHandle, Error::Cancelled];
        assert!(ended_so.contains(&ended), "{ended:?}");
        other.join().unwrap().unwrap();
    });
}
