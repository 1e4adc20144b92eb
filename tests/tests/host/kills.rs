//! A process can end at any moment: after each step of a life, and in the middle of each step of
//! its peer. Everything is returned, everyone is told, and no CPU keeps a mapping (I5, I11).

use crate::common;
use std::sync::Arc;

use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::ring::Geometry;
use abi::{Error, Handle, Mode, Resources, Rights, SnapshotFlags, Token};
use ipc::Payload;
use mm::Region;

const ALL: Rights = Rights::all();

/// The life of domain 0, with two others. What it learns on the way is missing before that step.
struct Life {
    realm: Realm,
    handles: Vec<Handle>,
    tokens: Vec<Token>,
    addresses: Vec<u64>,
    regions: Vec<Arc<Region>>,
}

type Step = fn(&mut Life) -> Result<(), Error>;

impl Life {
    fn new() -> Life {
        let realm = Realm::new(3);
        realm.run_also_on_3(0);
        Life {
            realm,
            handles: Vec::new(),
            tokens: Vec::new(),
            addresses: Vec::new(),
            regions: Vec::new(),
        }
    }

    fn create(&mut self, domain: usize, pages: u64) -> Result<(), Error> {
        let flags = abi::RegionFlags::empty();
        let of = &self.realm.domains[domain];
        let made = self
            .realm
            .ipc
            .create_region(of, pages * 4096, flags, None)?;
        self.regions.push(self.realm.region_of(domain, made));
        self.handles.push(made);
        Ok(())
    }

    fn map(&mut self, domain: usize, handle: usize) -> Result<(), Error> {
        let va = self.realm.try_map(domain, self.handles[handle], WRITE)?;
        self.addresses.push(va);
        Ok(())
    }

    fn touch(&self, cpus: &[usize], domain: usize, address: usize) -> Result<(), Error> {
        for (cpu, page) in cpus.iter().zip(0..) {
            let va = common::page(self.addresses[address], page);
            self.realm.store(*cpu, domain, va, 1)?;
        }
        Ok(())
    }

    fn grant(&mut self, from: usize, handle: usize, to: usize, mode: Mode) -> Result<(), Error> {
        let token = self
            .realm
            .grant(from, self.handles[handle], to, mode, ALL)?;
        self.tokens.push(token);
        Ok(())
    }

    fn accept(&mut self, by: usize, token: usize, from: usize) -> Result<(), Error> {
        let handle = self.realm.accept(by, self.tokens[token], from)?;
        self.handles.push(handle);
        Ok(())
    }

    fn map_ring(&mut self, domain: usize, end: usize) -> Result<(), Error> {
        let ipc = &self.realm.ipc;
        let va = ipc.map_ring(&self.realm.domains[domain], self.handles[end])?;
        self.addresses.push(va);
        Ok(())
    }

    /// Checks everything that is left, and ends it.
    fn finish(mut self) {
        self.regions.retain(|region| region.charged().1.tables > 0);
        self.realm.audit(&self.regions);
        drop(self.regions);
        self.realm.finish();
    }
}

/// What it does, and what the others do with it. The numbers are those of the handles, tokens and
/// addresses, in the order in which they come up.
const STEPS: &[(&str, Step)] = &[
    ("create", |l| l.create(0, 600)), // handle 0
    ("map", |l| l.map(0, 0)),         // address 0
    ("touch", |l| l.touch(&[0, 3, 0], 0, 0)),
    ("derive", |l| {
        // handle 1
        let derived = l.realm.derive(0, l.handles[0], ALL)?;
        l.handles.push(derived);
        Ok(())
    }),
    ("map what was derived", |l| l.map(0, 1)), // address 1
    ("share", |l| l.grant(0, 0, 1, Mode::Share)), // token 0
    ("be accepted", |l| l.accept(1, 0, 0)),    // handle 2
    ("be mapped", |l| l.map(1, 2)),            // address 2
    ("be touched", |l| l.touch(&[1], 1, 2)),
    ("create a ring", |l| {
        // handles 3, 4; region 1
        let (ipc, domain) = (&l.realm.ipc, &l.realm.domains[0]);
        let (producer, consumer) = ipc.create_ring(domain, Geometry::slot(64, 64))?;
        let capability = domain.look_up(producer, None, Rights::empty())?;
        let Payload::RingEnd(ring, _) = capability.object().payload() else {
            return Err(Error::WrongKind);
        };
        l.regions.push(ring.region().clone());
        l.handles.extend([producer, consumer]);
        Ok(())
    }),
    ("map the ring", |l| l.map_ring(0, 3)), // address 3
    ("move an end", |l| l.grant(0, 4, 1, Mode::Move)), // token 1
    ("be accepted", |l| l.accept(1, 1, 0)), // handle 5
    ("the other end is mapped", |l| l.map_ring(1, 5)), // address 4
    ("create another", |l| l.create(0, 2)), // handle 6
    ("map it", |l| l.map(0, 6)),            // address 5
    ("touch it", |l| l.touch(&[0, 3], 0, 5)),
    ("move it", |l| l.grant(0, 6, 2, Mode::Move)), // token 2
    ("be accepted", |l| l.accept(2, 2, 0)),        // handle 7
    ("something is created for it", |l| l.create(2, 3)), // handle 8
    ("be offered it", |l| l.grant(2, 8, 0, Mode::Move)), // token 3
    ("accept it", |l| l.accept(0, 3, 2)),          // handle 9
    ("map what was accepted", |l| l.map(0, 9)),    // address 6
    ("touch what was accepted", |l| l.touch(&[3, 0], 0, 6)),
    ("pass it on", |l| l.grant(0, 9, 1, Mode::Share)), // token 4
    ("offer to two", |l| l.grant(0, 0, 2, Mode::Share)), // token 5
    ("have something offered", |l| l.grant(1, 2, 0, Mode::Share)), // token 6
    ("take an offer back", |l| l.realm.cancel(0, l.tokens[4])),
    ("unmap", |l| l.realm.unmap(0, l.addresses[1])),
    ("protect", |l| {
        let (ipc, domain) = (&l.realm.ipc, &l.realm.domains[0]);
        ipc.protect(domain, l.addresses[0], READ)
    }),
    ("seal", |l| {
        l.realm.ipc.seal_region(&l.realm.domains[0], l.handles[9])
    }),
    ("drop", |l| l.realm.drop_handle(0, l.handles[1])),
    ("revoke", |l| l.realm.revoke(0, l.handles[0]).map(drop)),
    ("destroy", |l| {
        l.realm
            .ipc
            .destroy_region(&l.realm.domains[0], l.handles[9])
    }),
    ("take a snapshot", |l| {
        // handle 10, region 4
        let flags = SnapshotFlags::empty();
        let domain = &l.realm.domains[0];
        let made = l
            .realm
            .ipc
            .snapshot_region(domain, l.handles[0], 0, 0, flags)?;
        l.regions.push(l.realm.region_of(0, made));
        l.handles.push(made);
        Ok(())
    }),
    ("map the snapshot", |l| l.map(0, 10)), // address 7
    ("copy pages", |l| l.touch(&[0, 3, 0], 0, 7)),
    ("pin", |l| {
        l.realm.ipc.pin_region(&l.realm.domains[0], l.handles[10])
    }),
    ("give a copy", |l| {
        // token 7, handle 11, region 5
        l.grant(0, 0, 1, Mode::CopyOnWrite)?;
        l.accept(1, 7, 0)?;
        l.regions.push(l.realm.region_of(1, l.handles[11]));
        Ok(())
    }),
    ("take a copy back", |l| {
        // token 8
        l.grant(0, 0, 2, Mode::CopyOnWrite)?;
        l.realm.cancel(0, l.tokens[8])
    }),
    ("the copy is mapped", |l| l.map(1, 11)), // address 8
    ("the copy is written", |l| l.touch(&[1, 1], 1, 8)),
    ("close an end", |l| l.realm.drop_handle(0, l.handles[3])),
];

/// Lives so many steps.
fn live(steps: usize) -> Life {
    let mut life = Life::new();
    for (name, step) in &STEPS[..steps] {
        assert_eq!(step(&mut life), Ok(()), "{name}");
    }
    life
}

#[test]
fn after_each_step_of_its_life_a_process_can_end_and_all_is_returned() {
    for victim in 0..3 {
        for steps in 0..=STEPS.len() {
            let life = live(steps);
            let realm = &life.realm;
            realm.exit(victim);
            assert_eq!(realm.domains[victim].handle_count(), 0);
            assert_eq!(realm.domains[victim].space().mapping_count(), 0);
            // What it leaves is what others still have of it.
            let alive: Vec<_> = life.regions.iter().map(|region| region.charged()).collect();
            let mut left = Resources::NONE;
            for (payer, charged) in &alive {
                if Arc::ptr_eq(payer, realm.domains[victim].account()) {
                    left.frames += charged.frames;
                    left.tables += charged.tables;
                }
            }
            let used = realm.used(victim);
            assert_eq!((used.frames, used.tables), (left.frames, left.tables));
            for domain in (0..3).filter(|domain| *domain != victim) {
                let refused = realm.grant(domain, Handle::NONE, victim, Mode::Share, READ);
                assert_eq!(refused, Err(Error::PeerClosed), "after {steps} steps");
            }
            life.finish();
        }
    }
}

/// While a step waits for the CPUs of another process, that process ends.
#[test]
fn in_the_middle_of_each_step_the_other_process_can_end() {
    let mut ended_within = 0;
    for victim in 1..3 {
        for (steps, (_, step)) in STEPS.iter().enumerate() {
            let mut life = live(steps);
            let (ipc, domain) = (life.realm.ipc.clone(), life.realm.domains[victim].clone());
            let mut parts = Some((ipc, domain));
            let (send, ending) = std::sync::mpsc::channel();
            life.realm.machine().set_while_waiting(move |_| {
                if let Some((ipc, domain)) = parts.take() {
                    let end = move || fake::on_cpu(victim, || ipc.clear_domain(&domain));
                    let _ = send.send(std::thread::spawn(end));
                }
            });
            // It may be refused because of that, and is not half done then.
            let _ = step(&mut life);
            for ending in ending.try_iter() {
                ending.join().expect("it ends");
                ended_within += 1;
            }
            life.realm.machine().clear_hooks();
            life.realm.exit(victim);
            life.finish();
        }
    }
    assert!(ended_within > 5, "only {ended_within} steps wait");
}
