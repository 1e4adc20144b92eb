//! What guests and their host do at a hub, beside a revoke, a Move, an end and what the other side does, on
//! threads of their own: whoever was first, nobody keeps what is not his, and no seat is lost (I5, I11, I13).

use std::sync::{Barrier, Mutex};

use crate::common::hubs::{Guest, Hub};
use crate::common::realm::Realm;
use abi::hub::PeerState;
use abi::{Error, Handle, HubGuestEnds, HubSeat, Mode, Rights};

/// Times that each two are tried, with other delays.
const ROUNDS: u64 = 24;
/// Turns that one of them waits at most.
const DELAY: u64 = 3_000;
const SEATS: u32 = 3;

/// Domain 0 is the host of three seats: domain 1 has one, has reserved one, and may come once more.
struct Scene {
    realm: Realm,
    hub: Hub,
    /// By which domain 1 may come.
    door: Handle,
    attached: Guest,
    reserved: Guest,
    /// What domain 1 got with its seats, and where it has a view.
    ends: Mutex<Vec<Handle>>,
    view: u64,
    /// What domain 2 got from it.
    moved: Mutex<Vec<Handle>>,
}

impl Scene {
    fn new() -> Scene {
        let realm = Realm::new(3);
        let hub = Hub::new(&realm, SEATS);
        let door = realm.give(0, hub.handle, 1, Mode::Share);
        let (attached, ends) = hub.join(&realm, 1);
        let view = realm.ipc.map_ring(&realm.domains[1], ends.producer);
        let reserved = hub.reserve(&realm, 1).unwrap();
        Scene {
            view: view.unwrap(),
            ends: Mutex::new(all_of(&ends)),
            moved: Mutex::default(),
            realm,
            hub,
            door,
            attached,
            reserved,
        }
    }

    /// Domain 1 comes by the door.
    fn join(&self) -> Result<(), Error> {
        let domain = &self.realm.domains[1];
        let (member, seat) = self.realm.ipc.reserve_seat(domain, self.door)?;
        let came = Guest {
            domain: 1,
            member,
            seat,
        };
        self.claim(&came)
    }

    fn claim(&self, guest: &Guest) -> Result<(), Error> {
        let ends = guest.claim(&self.realm)?;
        self.ends.lock().unwrap().extend(all_of(&ends));
        Ok(())
    }

    /// Every seat is empty, and nothing works of what was in it.
    fn recover_all(&self) {
        for peer in 1..=SEATS {
            let (state, epoch) = self.hub.standing(&self.realm, peer);
            let seat = HubSeat { peer, epoch };
            if state == PeerState::Empty {
                continue;
            }
            let dismissed = self.hub.dismiss(&self.realm, seat);
            assert!(matches!(dismissed, Ok(()) | Err(Error::NotFound)));
            assert_eq!(self.hub.recover(&self.realm, seat), Ok(()), "seat {peer}");
        }
        let (ends, moved) = (self.ends.lock().unwrap(), self.moved.lock().unwrap());
        let all = ends.iter().map(|end| (1, end));
        for (domain, handle) in all.chain(moved.iter().map(|handle| (2, handle))) {
            let found = self.realm.look_up(domain, *handle);
            let gone = matches!(found, Err(Error::Revoked | Error::BadHandle));
            assert!(gone, "domain {domain} has {found:?} of an empty seat");
        }
        assert!(!self.realm.reaches(1, self.view), "the view of a seat");
    }

    /// As many guests as ever can come.
    fn is_whole(&self) {
        self.recover_all();
        for _ in 0..SEATS {
            self.hub.join(&self.realm, 2);
        }
    }
}

fn all_of(ends: &HubGuestEnds) -> Vec<Handle> {
    vec![ends.producer, ends.consumer, ends.table]
}

type Deed = (&'static str, fn(&Scene) -> Result<(), Error>);

/// What a guest does, or is done to it by another thread of the host.
const DEEDS: &[Deed] = &[
    ("join", Scene::join),
    ("claim", |s| s.claim(&s.reserved)),
    ("leave", |s| s.attached.leave(&s.realm)),
    ("connect", |s| {
        s.hub.connect(&s.realm, s.attached.seat).map(drop)
    }),
    ("move a seat", |s| {
        let (mode, rights) = (Mode::Move, Rights::all());
        let token = s.realm.grant(1, s.reserved.member, 2, mode, rights)?;
        let member = s.realm.accept(2, token, 1)?;
        s.moved.lock().unwrap().push(member);
        let moved = Guest {
            domain: 2,
            member,
            ..s.reserved
        };
        let ends = moved.claim(&s.realm)?;
        s.moved.lock().unwrap().extend(all_of(&ends));
        Ok(())
    }),
    ("move an end", |s| {
        let producer = s.ends.lock().unwrap()[0];
        let (mode, rights) = (Mode::Move, Rights::all());
        let token = s.realm.grant(1, producer, 2, mode, rights)?;
        let end = s.realm.accept(2, token, 1)?;
        s.moved.lock().unwrap().push(end);
        Ok(())
    }),
    ("exit", |s| {
        s.realm.exit(1);
        Ok(())
    }),
];

/// What the host does meanwhile, and whether it is still one afterwards.
const RIVALS: &[(Deed, bool)] = &[
    (
        ("revoke", |s| s.realm.revoke(0, s.hub.handle).map(drop)),
        true,
    ),
    (
        ("dismiss", |s| {
            s.hub.dismiss(&s.realm, s.attached.seat)?;
            s.hub.dismiss(&s.realm, s.reserved.seat)
        }),
        true,
    ),
    (
        ("recover", |s| {
            for guest in [&s.attached, &s.reserved] {
                s.hub.dismiss(&s.realm, guest.seat)?;
                s.hub.recover(&s.realm, guest.seat)?;
            }
            Ok(())
        }),
        true,
    ),
    (
        ("look", |s| match s.hub.wait(&s.realm, 0) {
            Err(Error::WouldBlock) => Ok(()),
            told => told.map(drop),
        }),
        true,
    ),
    (
        ("say goodbye", |s| {
            s.hub.goodbye(&s.realm);
            Ok(())
        }),
        false,
    ),
    (
        ("end", |s| {
            s.realm.exit(0);
            Ok(())
        }),
        false,
    ),
];

/// Does both at once, one of them some turns later.
fn beside(scene: &Scene, deed: &Deed, rival: &Deed, round: u64) -> [Result<(), Error>; 2] {
    let random = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let delays = [random % DELAY, random / DELAY % DELAY];
    let barrier = Barrier::new(2);
    let run = |cpu: usize, deed: &Deed, turns: u64| {
        fake::on_cpu(cpu, || {
            barrier.wait();
            for _ in 0..turns {
                std::hint::spin_loop();
            }
            let done = deed.1(scene);
            scene.realm.ipc.end_task(&fake::FakeTask::current());
            done
        })
    };
    std::thread::scope(|scope| {
        let guest = scope.spawn(|| run(1, deed, delays[0]));
        let host = scope.spawn(|| run(0, rival, delays[1]));
        [guest.join().unwrap(), host.join().unwrap()]
    })
}

#[test]
fn whoever_is_first_at_a_hub_nobody_keeps_what_is_not_his_and_no_seat_is_lost() {
    for deed in DEEDS {
        for (rival, stays) in RIVALS {
            let mut done = [0; 2];
            for round in 0..ROUNDS {
                let scene = Scene::new();
                let answers = beside(&scene, deed, rival, round);
                for (count, answer) in done.iter_mut().zip(answers) {
                    *count += u64::from(answer.is_ok());
                }
                if rival.0 == "revoke" {
                    let late = scene.join();
                    let refused = matches!(late, Err(Error::Revoked | Error::BadHandle));
                    assert!(refused, "{} and a revoke: {late:?}", deed.0);
                }
                if *stays {
                    scene.is_whole();
                } else {
                    let late = scene.join();
                    assert!(late.is_err(), "{} at a hub that is over", deed.0);
                }
                scene.realm.finish();
            }
            println!("{} beside {}: {done:?} of {ROUNDS}", deed.0, rival.0);
        }
    }
}
