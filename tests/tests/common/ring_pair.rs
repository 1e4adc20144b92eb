//! A ring between two domains.

use std::sync::{Arc, Weak};

use abi::ring::{End, EndState, Geometry, Header};
use abi::{Error, Handle, Mode, RingInfo, RingShape};

use super::realm::Realm;

pub const GEOMETRY: Geometry = Geometry::slot(64, 128);

/// A ring from domain 0, which sends, to domain 1. There is a third.
pub struct Pair {
    pub realm: Realm,
    pub producer: Handle,
    pub consumer: Handle,
}

impl Pair {
    pub fn new() -> Pair {
        Pair::of(GEOMETRY)
    }

    pub fn of(shape: impl Into<RingShape>) -> Pair {
        let realm = Realm::new(3);
        let domain = &realm.domains[0];
        let (producer, consumer) = realm.ipc.create_ring(domain, shape).unwrap();
        let consumer = realm.give(0, consumer, 1, Mode::Move);
        Pair {
            realm,
            producer,
            consumer,
        }
    }

    pub fn map(&self, domain: usize, handle: Handle) -> u64 {
        let domain = &self.realm.domains[domain];
        self.realm.ipc.map_ring(domain, handle).unwrap()
    }

    pub fn wait(&self, domain: usize, seen: u32, deadline: u64) -> Result<(), Error> {
        let end = [self.producer, self.consumer][domain];
        let domain = &self.realm.domains[domain];
        self.realm.ipc.wait_ring(domain, end, seen, deadline)
    }

    pub fn info(&self, domain: usize, end: Handle) -> RingInfo {
        let domain = &self.realm.domains[domain];
        self.realm.ipc.ring_info(domain, end).unwrap()
    }

    /// What a CPU reads of page H about an end.
    pub fn state(&self, domain: usize, base: u64, end: End) -> Option<EndState> {
        let words = base + Header::state_offset(End::Producer) as u64;
        let both = self.realm.load(domain, domain, words).unwrap();
        EndState::from_raw((both >> (32 * end as u32)) as u32)
    }

    /// The epoch that it reads there.
    pub fn epoch(&self, domain: usize, base: u64) -> u32 {
        let at = core::mem::offset_of!(Header, epoch) as u64;
        let word = self.realm.load(domain, domain, base + (at & !7)).unwrap();
        (word >> (8 * (at & 7))) as u32
    }
}

/// Does something as domain 0, on its CPU, when domain 1 is about to sleep.
pub fn meanwhile(
    pair: &Pair,
    mut what: impl FnMut(&Arc<ipc::Ipc<fake::FakeMachine>>) + Send + 'static,
) {
    let ipc: Weak<_> = Arc::downgrade(&pair.realm.ipc);
    pair.realm.machine().set_before_park(move |_| {
        let ipc = ipc.upgrade().unwrap();
        fake::on_cpu(0, || what(&ipc));
    });
}
