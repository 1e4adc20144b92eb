//! A revoke at every moment of a call at which the CPU holds no lock: what is not done when it returns is
//! refused, and never done (I5).

mod common;

use std::sync::{Arc, Mutex};

use abi::hub::PeerState;
use abi::{
    BindFlags, CachePolicy, Error, FOREVER, GrantFlags, Handle, HubSignal, Mode, ObjectKind,
    Rights, Token,
};
use common::WRITE;
use common::devices::{CONFIG, PAGE, device};
use common::hubs::{Guest, Hub};
use common::messages::Ends;
use common::ports::{bind, notification, port};
use common::realm::Realm;
use ipc::Resource;

const ALL: Rights = Rights::all();

/// Domain 1 has something below all that domain 0 has, and seats at its hub.
struct Scene {
    realm: Realm,
    hub: Hub,
    /// Has claimed its seat.
    attached: Guest,
    /// Has not.
    reserved: Guest,
    /// Has left, and the host is connected.
    gone: Guest,
    /// Of domain 0: the hub, a resource, a port, a channel end, a region, a notification, a timer of that and itself.
    tops: [Handle; 8],
    /// What domain 1 has below each.
    below: [Handle; 8],
    /// What domain 0 has below the hub.
    own: Handle,
    /// Where domain 0 has the region.
    va: u64,
    ends: Ends,
    /// A region that domain 1 made.
    spare: Handle,
    /// Of what domain 0 grants it.
    token: Token,
    /// Handles of domains 0 and 1.
    handles: [usize; 2],
}

/// Which of the tops.
const HUB: usize = 0;
const RESOURCE: usize = 1;
const PORT: usize = 2;
const END: usize = 3;
const REGION: usize = 4;
const BITS: usize = 5;
const TIMER: usize = 6;
const PROCESS: usize = 7;

/// The key of a binding that there is, and of one to come.
const BOUND: u64 = 1;
const NEW: u64 = 2;

impl Scene {
    fn new() -> Arc<Scene> {
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
        let tops = [
            hub.handle,
            resource.unwrap(),
            port(&realm, 0),
            ends.here.handle,
            realm.region(0, 3),
            bits,
            timer.unwrap(),
            realm.via[0][0],
        ];
        let below = tops.map(|top| realm.give(0, top, 1, Mode::Share));
        let own = realm.derive(0, hub.handle, ALL).unwrap();
        let va = realm.map(0, tops[REGION], WRITE);
        realm.store(0, 0, va, 7).unwrap();
        bind(&realm, 0, tops[PORT], tops[BITS], BindFlags::empty(), BOUND).unwrap();
        let spare = realm.region(1, 1);
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
            spare,
            token,
            handles,
        })
    }

    /// Whether a domain has got something.
    fn has_more(&self, domain: usize) -> bool {
        self.realm.domains[domain].handle_count() > self.handles[domain]
    }

    fn stands(&self, guest: Guest) -> PeerState {
        self.hub.standing(&self.realm, guest.seat.peer).0
    }

    /// Domain 1 offers what it made over its channel end.
    fn grant(&self, mode: Mode) -> Result<(), Error> {
        let (domain, flags) = (&self.realm.domains[1], GrantFlags::empty());
        let (what, via) = (self.spare, self.below[END]);
        let granted = self
            .realm
            .ipc
            .grant(domain, what, via, mode, ALL, flags, FOREVER);
        granted.map(drop)
    }

    /// Whether a region waits for its addressee.
    fn is_offered(&self, mode: Mode) -> bool {
        let token = |generation| Token::new(1, generation, ObjectKind::Region, mode);
        (1..64).any(|generation| self.realm.ipc.offered_region(token(generation)).is_some())
    }

    fn finish(self: Arc<Scene>) {
        let scene = Arc::into_inner(self).expect("nobody else has it");
        scene.realm.finish();
    }
}

/// How the capability is taken away.
#[derive(Clone, Copy)]
enum Way {
    /// With all below this top.
    Revoked(usize),
    /// Domain 1 gives it away.
    Moved(fn(&Scene) -> Handle),
}

impl Way {
    /// Takes it away, and says what whoever uses it is told.
    fn take(self, scene: &Scene) -> Error {
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
        }
    }
}

struct Deed {
    name: &'static str,
    way: Way,
    deed: fn(&Scene) -> Result<(), Error>,
    /// Whether it has been done.
    done: fn(&Scene) -> bool,
}

const DEEDS: &[Deed] = &[
    Deed {
        name: "reserve a seat",
        way: Way::Revoked(HUB),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.reserve_seat(domain, s.below[HUB]).map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "dismiss a guest",
        way: Way::Revoked(HUB),
        deed: |s| {
            let (domain, seat) = (&s.realm.domains[1], s.attached.seat);
            let ipc = &s.realm.ipc;
            ipc.dismiss_guest(domain, s.below[HUB], seat.peer, seat.epoch)
        },
        done: |s| s.stands(s.attached) == PeerState::Goodbye,
    },
    Deed {
        name: "say goodbye",
        way: Way::Revoked(HUB),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.dismiss_guest(domain, s.below[HUB], 0, 0)
        },
        done: |s| {
            let info = s.realm.ipc.hub_info(&s.realm.domains[0], s.hub.handle);
            info.unwrap().goodbye == 1
        },
    },
    Deed {
        name: "recover a seat",
        way: Way::Revoked(HUB),
        deed: |s| {
            let (domain, seat) = (&s.realm.domains[1], s.gone.seat);
            let ipc = &s.realm.ipc;
            ipc.recover_seat(domain, s.below[HUB], seat.peer, seat.epoch)
        },
        done: |s| s.hub.connect(&s.realm, s.gone.seat) == Err(Error::NotFound),
    },
    Deed {
        name: "connect to a guest",
        way: Way::Revoked(HUB),
        deed: |s| {
            let (domain, seat) = (&s.realm.domains[0], s.attached.seat);
            let connected = s
                .realm
                .ipc
                .connect_guest(domain, s.own, seat.peer, seat.epoch);
            connected.map(drop)
        },
        done: |s| s.has_more(0),
    },
    Deed {
        name: "claim a seat",
        way: Way::Moved(|s| s.reserved.member),
        deed: |s| s.reserved.claim(&s.realm).map(drop),
        done: |s| s.stands(s.reserved) == PeerState::Attached,
    },
    Deed {
        name: "leave a seat",
        way: Way::Moved(|s| s.attached.member),
        deed: |s| s.attached.leave(&s.realm),
        done: |s| s.stands(s.attached) == PeerState::Goodbye,
    },
    Deed {
        name: "signal a host",
        way: Way::Moved(|s| s.attached.member),
        deed: |s| s.attached.signal(&s.realm, HubSignal::Work),
        done: |s| {
            let domain = &s.realm.domains[0];
            let info = s.realm.ipc.object_info(domain, s.hub.handle).unwrap();
            // Two have joined, and one has left.
            info.messages > 3
        },
    },
    Deed {
        name: "part a resource",
        way: Way::Revoked(RESOURCE),
        deed: |s| {
            let (domain, start) = (&s.realm.domains[1], device(s.realm.machine()));
            let ipc = &s.realm.ipc;
            let part = ipc.part_of_resource(domain, s.below[RESOURCE], start, PAGE);
            part.map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "make a device region",
        way: Way::Revoked(RESOURCE),
        deed: |s| {
            let (domain, start) = (&s.realm.domains[1], device(s.realm.machine()));
            let (ipc, policy) = (&s.realm.ipc, CachePolicy::Uncached);
            let made = ipc.create_device_region(domain, s.below[RESOURCE], start, PAGE, policy);
            made.map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "make an interrupt",
        way: Way::Revoked(RESOURCE),
        deed: |s| {
            let (domain, ipc) = (&s.realm.domains[1], &s.realm.ipc);
            let made = ipc.create_interrupt(domain, s.below[RESOURCE], s.below[BITS], 1);
            made.map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "bind",
        way: Way::Revoked(PORT),
        deed: |s| {
            let (port, bits) = (s.below[PORT], s.below[BITS]);
            bind(&s.realm, 1, port, bits, BindFlags::empty(), NEW)
        },
        done: |s| is_bound(s, NEW),
    },
    Deed {
        name: "unbind",
        way: Way::Revoked(PORT),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.unbind_port(domain, s.below[PORT], BOUND)
        },
        done: |s| !is_bound(s, BOUND),
    },
    Deed {
        name: "limit a channel",
        way: Way::Revoked(END),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.limit_channel(domain, s.below[END], 5, 0)
        },
        done: |s| s.ends.here.info(&s.realm).message_rate == 5,
    },
    Deed {
        name: "send",
        way: Way::Revoked(END),
        deed: |s| {
            let end = common::messages::End::new(1, s.below[END]);
            end.send(&s.realm, b"it", &[])
        },
        done: |s| s.ends.there.info(&s.realm).queued == 1,
    },
    Deed {
        name: "share over a channel",
        way: Way::Revoked(END),
        deed: |s| s.grant(Mode::Share),
        done: |s| s.is_offered(Mode::Share),
    },
    Deed {
        name: "move over a channel",
        way: Way::Revoked(END),
        deed: |s| s.grant(Mode::Move),
        done: |s| s.is_offered(Mode::Move),
    },
    Deed {
        name: "accept",
        way: Way::Revoked(PROCESS),
        deed: |s| {
            let domain = &s.realm.domains[1];
            let accepted = s.realm.ipc.accept(domain, s.token, s.below[PROCESS]);
            accepted.map(drop)
        },
        done: |s| s.has_more(1),
    },
    Deed {
        name: "set a timer",
        way: Way::Revoked(TIMER),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.set_timer(domain, s.below[TIMER], 0, 0)
        },
        done: |s| {
            let domain = &s.realm.domains[0];
            let info = s.realm.ipc.object_info(domain, s.tops[TIMER]);
            info.unwrap().messages == 1
        },
    },
    Deed {
        name: "seal",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.seal_region(domain, s.below[REGION])
        },
        done: |s| s.realm.region_of(0, s.tops[REGION]).is_sealed(),
    },
    Deed {
        name: "decommit",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm
                .ipc
                .decommit_region(domain, s.below[REGION], 0, PAGE)
        },
        done: |s| s.realm.load(0, 0, s.va) == Ok(0),
    },
    Deed {
        name: "destroy",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.destroy_region(domain, s.below[REGION])
        },
        done: |s| s.realm.look_up(0, s.tops[REGION]).is_err(),
    },
];

/// Whether a key of the port is taken.
fn is_bound(scene: &Scene, key: u64) -> bool {
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

#[test]
fn what_is_not_done_when_a_revoke_returns_is_refused_and_never_done() {
    for deed in DEEDS {
        let moments = (0..).map(|moment| interrupted(deed, moment));
        let moments: Vec<_> = moments.take_while(|(reached, _)| *reached).collect();
        let refused = moments.iter().filter(|(_, refused)| *refused).count();
        println!("{}: {refused} of {} moments", deed.name, moments.len());
        // Before it is looked up, and afterwards.
        assert!(refused >= 2, "{}", deed.name);
    }
}
