//! What can be done by a capability that is taken away meanwhile.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use abi::hub::PeerState;
use abi::submission::SubmissionArgs;
use abi::{BindFlags, Error, FOREVER, GrantFlags, Handle, Mode, ObjectKind, Rights, Token};
use fake::FakeTask;
use ipc::{Payload, Resource};

use super::WRITE;
use super::devices::{CONFIG, PAGE, device};
use super::hubs::{Guest, Hub};
use super::messages::Ends;
use super::ports::{bind, notification, port};
use super::realm::Realm;
use super::ring_pair::GEOMETRY;

pub const ALL: Rights = Rights::all();

/// Domain 1 has something below all that domain 0 has, and seats at its hub.
pub struct Scene {
    pub realm: Realm,
    pub hub: Hub,
    /// Has claimed its seat.
    pub attached: Guest,
    /// Has not.
    pub reserved: Guest,
    /// Has left, and the host is connected.
    pub gone: Guest,
    /// Of domain 0: the hub, a resource, a port, a channel end, a region, a notification, a timer of that, itself and
    /// a thread.
    pub tops: [Handle; 9],
    /// What domain 1 has below each.
    pub below: [Handle; 9],
    /// What domain 0 has below the hub.
    pub own: Handle,
    /// Where domain 0 has the region.
    pub va: u64,
    pub ends: Ends,
    /// An end of a ring of domain 1, whose other end domain 0 has.
    pub ring: Handle,
    pub other_end: Handle,
    /// Something was done with a process or a thread.
    pub touched: AtomicBool,
    /// A region that domain 1 made.
    pub spare: Handle,
    /// A submission ring of domain 1, which is not mapped.
    pub submissions: Handle,
    /// Of what domain 0 grants it.
    pub token: Token,
    /// Handles of domains 0 and 1.
    pub handles: [usize; 2],
}

/// Which of the tops.
pub const HUB: usize = 0;
pub const RESOURCE: usize = 1;
pub const PORT: usize = 2;
pub const END: usize = 3;
pub const REGION: usize = 4;
pub const BITS: usize = 5;
pub const TIMER: usize = 6;
pub const PROCESS: usize = 7;
pub const THREAD: usize = 8;

/// The key of a binding that there is, and of one to come.
pub const BOUND: u64 = 1;
pub const NEW: u64 = 2;

impl Scene {
    pub fn new() -> Arc<Scene> {
        let realm = Realm::of(3, CONFIG);
        let hub = Hub::new(&realm, 4);
        let (attached, _) = hub.join(&realm, 1);
        let reserved = hub.reserve(&realm, 1).unwrap();
        let (gone, _) = hub.join(&realm, 1);
        hub.connect(&realm, gone.seat).unwrap();
        gone.leave(&realm).unwrap();
        let registers = Resource::new(device(realm.machine()), 4 * PAGE).unwrap();
        let resource = realm.ipc.create_resource(&realm.domains[0], registers);
        let ends = Ends::of(&realm, 0, 4);
        let bits = notification(&realm, 0);
        let timer = realm.ipc.create_timer(&realm.domains[0], bits, 1);
        let task = Payload::Thread(FakeTask::current());
        let thread = realm
            .ipc
            .install_object(&realm.domains[0], task, Rights::THREAD);
        let tops = [
            hub.handle,
            resource.unwrap(),
            port(&realm, 0),
            ends.here.handle,
            realm.region(0, 3),
            bits,
            timer.unwrap(),
            realm.via[0][0],
            thread.unwrap(),
        ];
        let below = tops.map(|top| realm.give(0, top, 1, Mode::Share));
        let own = realm.derive(0, hub.handle, ALL).unwrap();
        let va = realm.map(0, tops[REGION], WRITE);
        realm.store(0, 0, va, 7).unwrap();
        bind(&realm, 0, tops[PORT], tops[BITS], BindFlags::empty(), BOUND).unwrap();
        ends.there.send(&realm, b"there", &[]).unwrap();
        let (other_end, ring) = realm.ipc.create_ring(&realm.domains[0], GEOMETRY).unwrap();
        let ring = realm.give(0, ring, 1, Mode::Move);
        let spare = realm.region(1, 1);
        let args = SubmissionArgs::new(4, 8);
        let submissions = realm.ipc.create_submission_ring(&realm.domains[1], &args);
        let submissions = submissions.unwrap();
        let token = realm.grant(0, tops[BITS], 1, Mode::Share, ALL).unwrap();
        let handles = [0, 1].map(|domain: usize| realm.domains[domain].handle_count());
        Arc::new(Scene {
            realm,
            hub,
            attached,
            reserved,
            gone,
            tops,
            below,
            own,
            va,
            ends,
            ring,
            other_end,
            touched: AtomicBool::new(false),
            spare,
            submissions,
            token,
            handles,
        })
    }

    /// Whether a domain has got something.
    pub fn has_more(&self, domain: usize) -> bool {
        self.realm.domains[domain].handle_count() > self.handles[domain]
    }

    pub fn stands(&self, guest: Guest) -> PeerState {
        self.hub.standing(&self.realm, guest.seat.peer).0
    }

    /// Domain 1 offers what it made over its channel end.
    pub fn grant(&self, mode: Mode) -> Result<(), Error> {
        let (domain, flags) = (&self.realm.domains[1], GrantFlags::empty());
        let (what, via) = (self.spare, self.below[END]);
        let granted = self
            .realm
            .ipc
            .grant(domain, what, via, mode, ALL, flags, FOREVER);
        granted.map(drop)
    }

    /// Whether a region waits for its addressee.
    pub fn is_offered(&self, mode: Mode) -> bool {
        let token = |generation| Token::new(1, generation, ObjectKind::Region, mode);
        (1..64).any(|generation| self.realm.ipc.offered_region(token(generation)).is_some())
    }

    pub fn finish(self: Arc<Scene>) {
        let scene = Arc::into_inner(self).expect("nobody else has it");
        scene.realm.finish();
    }
}

/// How the capability is taken away.
#[derive(Clone, Copy)]
pub enum Way {
    /// With all below this top.
    Revoked(usize),
    /// Domain 1 gives it away.
    Moved(fn(&Scene) -> Handle),
    /// Domain 1 has it allow nothing any more.
    Reduced(fn(&Scene) -> Handle),
}

impl Way {
    /// Takes it away, and says what whoever uses it is told.
    pub fn take(self, scene: &Scene) -> Error {
        let realm = &scene.realm;
        match self {
            Way::Revoked(top) => {
                let revoked = realm.revoke(0, scene.tops[top]);
                // Else it was destroyed.
                assert!(revoked.is_ok() || top == REGION);
                Error::Revoked
            }
            Way::Moved(what) => {
                realm.grant(1, what(scene), 2, Mode::Move, ALL).unwrap();
                Error::InTransit
            }
            Way::Reduced(what) => {
                let (domain, none) = (&realm.domains[1], Rights::empty());
                realm.ipc.reduce(domain, what(scene), none).unwrap();
                Error::Denied
            }
        }
    }
}

pub struct Deed {
    pub name: &'static str,
    pub way: Way,
    pub deed: fn(&Scene) -> Result<(), Error>,
    /// Whether it has been done.
    pub done: fn(&Scene) -> bool,
}

/// Whether a key of the port is taken.
pub fn is_bound(scene: &Scene, key: u64) -> bool {
    let (realm, port, bits) = (&scene.realm, scene.tops[PORT], scene.tops[BITS]);
    let bound = bind(realm, 0, port, bits, BindFlags::empty(), key);
    if bound.is_ok() {
        realm.ipc.unbind_port(&realm.domains[0], port, key).unwrap();
    }
    bound == Err(Error::Exists)
}

/// Takes the capability of a deed away at a moment of it. Whether there is such a moment, and whether the deed was
/// refused.
fn interrupted(deed: &'static Deed, moment: u32) -> (bool, bool) {
    let scene = Scene::new();
    let found = Arc::new(Mutex::new(None));
    let (inside, told) = (scene.clone(), found.clone());
    let mut turn = 0;
    let meanwhile = move || {
        if turn == moment {
            let seen = fake::on_cpu(2, || (deed.way.take(&inside), (deed.done)(&inside)));
            *told.lock().unwrap() = Some(seen);
        }
        turn += 1;
    };
    let answer = fake::before_locks(None, meanwhile, || fake::on_cpu(1, || (deed.deed)(&scene)));
    let found = found.lock().unwrap().take();
    let name = deed.name;
    match found {
        None => assert_eq!(answer, Ok(()), "{name}"),
        Some((_, true)) => {}
        Some((error, false)) => {
            assert_eq!(answer, Err(error), "{name} at moment {moment}");
            assert!(!(deed.done)(&scene), "{name} at moment {moment}");
        }
    }
    scene.finish();
    (found.is_some(), answer.is_err())
}

/// Takes the capability of a deed away at each moment of it.
pub fn interrupted_at_every_moment(deed: &'static Deed) {
    let moments = (0..).map(|moment| interrupted(deed, moment));
    let moments: Vec<_> = moments.take_while(|(reached, _)| *reached).collect();
    let refused = moments.iter().filter(|(_, refused)| *refused).count();
    println!("{}: {refused} of {} moments", deed.name, moments.len());
    // Before it is looked up, and afterwards, unless that is one hold.
    assert!(refused >= 2 || moments.len() == 1, "{}", deed.name);
}
