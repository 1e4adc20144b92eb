//! What processes find when they begin: who the others are, channels between them, and a hub.

use std::sync::Arc;

use abi::ring::Geometry;
use abi::{GrantFlags, Handle, HubGeometry, Mode, Resources, Rights};
use fake::{FakeMachine, FakeProcess};
use ipc::{Ipc, Payload};
use mm::Account;

use super::RINGS;
use super::run::Run;
use super::spec::Way;
use crate::subject::Domain;
use crate::{BASE, PROCESSES};

/// A hub whose host is the first process in place 0, and whose guests are the first ones in the others.
pub(super) struct Hub {
    /// The seat of the process in each place, and as the host knows it; none of the host's own.
    seats: [Option<(Handle, Handle)>; PROCESSES],
    /// What each process has besides.
    pub(super) handles: [usize; PROCESSES],
    /// How many objects it consists of.
    pub(super) objects: u64,
}

/// What the capability of a handle becomes in another process.
fn hand_over(
    ipc: &Ipc<FakeMachine>,
    from: &Arc<Domain>,
    handle: Handle,
    to: &Arc<Domain>,
    mode: Mode,
) -> Handle {
    let offer = ipc.begin(from, handle, mode, Rights::all(), GrantFlags::empty());
    let offer = offer.expect("nobody else has it");
    ipc.clear(&offer);
    let ((), given) = ipc
        .deliver_all(vec![offer], to, || Ok(()))
        .expect("there is room");
    given[0]
}

impl Hub {
    /// Everybody has a seat and is served.
    pub(super) fn between(ipc: &Ipc<FakeMachine>, domains: &[Arc<Domain>]) -> Hub {
        let before: Vec<usize> = domains.iter().map(|domain| domain.handle_count()).collect();
        let objects = ipc.object_count();
        let (host, guests) = (&domains[0], &domains[1..]);
        let geometry = HubGeometry::slot(guests.len() as u32, 64, 8, 8);
        let hub = ipc.create_hub(host, geometry).expect("there is room").hub;
        let mut seats = [None; PROCESSES];
        for (guest, place) in guests.iter().zip(1..) {
            let (member, seat) = ipc.reserve_seat(host, hub).expect("there is a seat");
            let member = hand_over(ipc, host, member, guest, Mode::Move);
            ipc.claim_seat(guest, member, seat.epoch)
                .expect("it is reserved");
            let link = ipc.connect_guest(host, hub, seat.peer, seat.epoch);
            seats[place] = Some((member, link.expect("it is claimed").0));
        }
        Hub {
            seats,
            handles: std::array::from_fn(|place| domains[place].handle_count() - before[place]),
            objects: ipc.object_count() - objects,
        }
    }

    /// What leads from the process in one place to that in another.
    pub(super) fn way(&self, from: usize, to: usize) -> Option<Handle> {
        match (from, to) {
            (0, guest) => self.seats[guest].map(|(_, link)| link),
            (guest, 0) => self.seats[guest].map(|(member, _)| member),
            _ => None,
        }
    }

    /// Who begins in a place has no seat, and nobody has one beside it.
    pub(super) fn forget(&mut self, place: usize) {
        self.handles[place] = 0;
        match place {
            0 => self.seats = [None; PROCESSES],
            guest => self.seats[guest] = None,
        }
    }
}

/// A process with an account of its own.
pub(super) fn domain(ipc: &Ipc<FakeMachine>) -> Arc<Domain> {
    let root = ipc.memory().account();
    let account = Account::below(root, Resources::NONE).expect("it is the first below");
    let domain = ipc.create_domain(&account, BASE);
    domain.expect("there is memory")
}

impl Run {
    /// Has the process in one place know that in another.
    pub(super) fn introduce(&mut self, place: usize, of: usize) {
        let process = FakeProcess::of(self.domains[of].koid());
        let payload = Payload::Process(process);
        let real = self
            .ipc
            .install_object(&self.domains[place], payload, Rights::PROCESS)
            .expect("there is room for a handle");
        let number = self
            .spec
            .introduce(self.processes[place], self.processes[of]);
        self.known[place][of] = Some((real, number));
    }

    /// Has everybody know who has begun in a place, and no more who was there before.
    pub(super) fn introduce_all(&mut self, place: usize) {
        for other in (0..PROCESSES).filter(|other| *other != place) {
            if self.ended[other] {
                continue;
            }
            if let Some((real, number)) = self.known[other][place] {
                let dropped = self.ipc.drop_capability(&self.domains[other], real);
                assert_eq!(dropped, self.spec.drop_handle(number));
            }
            self.introduce(other, place);
        }
        for of in 0..PROCESSES {
            self.known[place][of] = None;
            if !self.ended[of] {
                self.introduce(place, of);
            }
        }
    }

    /// A channel and a ring between two processes, as a parent makes them for a child.
    pub(super) fn connect(&mut self, by: usize, place: usize, mine: usize, theirs: usize) {
        let ends = self.ipc.create_channel(&self.domains[by], 2);
        let ends = ends.expect("there is room");
        let numbers = self.spec.channel(self.processes[by], 2);
        self.put(by, mine, ends.first, numbers[0]);
        let (parent, child) = (&self.domains[by], &self.domains[place]);
        let given = hand_over(&self.ipc, parent, ends.second, child, Mode::Move);
        let number = self.spec.give(numbers[1], self.processes[place]);
        let ring = self.ipc.create_ring(parent, Geometry::slot(64, 8));
        let (producer, consumer) = ring.expect("there is room");
        let reads = hand_over(&self.ipc, parent, consumer, child, Mode::Move);
        self.put(place, theirs, given, number);
        let numbers = self.spec.ring(self.processes[by]);
        self.put(by, mine + RINGS, producer, numbers[0]);
        let number = self.spec.give(numbers[1], self.processes[place]);
        self.put(place, theirs + RINGS, reads, number);
    }

    /// The way from the process in one place to that in another by the hub.
    pub(super) fn hub_way(&self, from: usize, to: usize) -> Option<(Handle, Way)> {
        let real = self.hub.way(from, to)?;
        // While there are seats, the processes are the first ones.
        Some((real, Way::Hub { of: from, to }))
    }
}
