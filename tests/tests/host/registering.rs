//! Several at once at the registrar of a process: who registers, who lets go, and rings that come and go. Whoever is
//! first, every ring knows the same afterwards, and no number is anybody else's.

use std::sync::{Arc, Mutex};

use crate::common::ports::notification;
use crate::common::realm::Realm;
use crate::common::registered::{bits, by, knows, register, unregister};
use crate::common::submissions::Submissions;
use abi::submission::{Registered, SubmissionArgs};
use abi::{Error, Handle};
use fake::FakeTask;

/// What fills a block of the registrar, and of what each ring knows.
const BLOCK: usize = 64;

/// What each of two does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Register,
    Unregister,
    NewRing,
    EndRing,
}

const ACTS: [Act; 4] = [Act::Register, Act::Unregister, Act::NewRing, Act::EndRing];

/// A process with as many registered handles as fill a block, so that the next needs one more.
struct Scene {
    realm: Realm,
    /// What each registers.
    bells: [Handle; 2],
    /// What is registered and stays so, by another bell.
    kept: Vec<Registered>,
    /// What is let go, by either or both.
    going: Registered,
    let_go: Mutex<Vec<Result<(), Error>>>,
    /// What was registered, and by whom.
    registered: Mutex<Vec<(Registered, usize)>>,
    /// Rings that there are in the end.
    rings: Mutex<Vec<Submissions>>,
    /// What each ends.
    ending: [Handle; 2],
}

impl Scene {
    fn new() -> Scene {
        let realm = Realm::new(1);
        let ring = || Submissions::new(&realm, 0, 4, 4);
        let rings = Mutex::new(vec![ring()]);
        let ending = [ring().handle, ring().handle];
        let bells = [(); 2].map(|()| notification(&realm, 0));
        let other = notification(&realm, 0);
        let all = (0..BLOCK).map(|_| register(&realm, other).unwrap());
        let mut kept = Vec::from_iter(all);
        Scene {
            going: kept.remove(BLOCK / 2),
            let_go: Mutex::default(),
            registered: Mutex::default(),
            realm,
            bells,
            kept,
            rings,
            ending,
        }
    }

    fn act(&self, who: usize, act: Act) {
        let realm = &self.realm;
        match act {
            Act::Register => {
                let id = register(realm, self.bells[who]).unwrap();
                self.registered.lock().unwrap().push((id, who));
            }
            Act::Unregister => {
                let gone = unregister(realm, self.going, 0);
                self.let_go.lock().unwrap().push(gone);
            }
            Act::NewRing => {
                let ring = Submissions::new(realm, 0, 4, 4);
                self.rings.lock().unwrap().push(ring);
            }
            Act::EndRing => realm.drop_handle(0, self.ending[who]).unwrap(),
        }
    }

    /// All rings know what is registered, by the handle that it was registered by, and nothing else; and each can be
    /// let go once.
    fn check(self, when: &str) {
        let realm = self.realm;
        let mut rings = self.rings.into_inner().unwrap();
        let registered = self.registered.into_inner().unwrap();
        let let_go = self.let_go.into_inner().unwrap();
        let mut live = Vec::from_iter(self.kept.iter().step_by(9).copied());
        live.extend(registered.iter().map(|(id, _)| *id));
        match let_go[..] {
            [] => live.push(self.going),
            [Ok(())] | [Ok(()), Err(Error::NotFound)] | [Err(Error::NotFound), Ok(())] => {
                let known = rings.iter_mut().any(|ring| knows(&realm, ring, self.going));
                assert!(!known, "{when}: it is let go");
            }
            _ => panic!("{when}: {let_go:?}"),
        }
        for ring in &mut rings {
            for id in &live {
                assert!(knows(&realm, ring, *id), "{when}: {id:?}");
            }
        }
        for (id, who) in registered {
            let done = rings[0].run(&realm, &[by(id, 2)]);
            assert_eq!(done, [(1, Ok(0))], "{when}");
            assert_eq!(bits(&realm, self.bells[who]), Ok(1 | 2), "{when}");
        }
        for id in live {
            assert_eq!(unregister(&realm, id, 0), Ok(()), "{when}: {id:?}");
            assert_eq!(unregister(&realm, id, 0), Err(Error::NotFound), "{when}");
        }
        realm.finish();
    }
}

/// Has another do something at a moment of a deed at which nothing is locked, and looks. Whether there is such a moment.
fn at_moment(moment: usize, deed: Act, other: Act) -> bool {
    let scene = Arc::new(Scene::new());
    let inside = scene.clone();
    let act = move || fake::on_cpu(1, || inside.act(1, other));
    let ((), came) = fake::at_moment(moment, None, act, || scene.act(0, deed));
    let scene = Arc::into_inner(scene).expect("nobody else has it");
    scene.check(&format!("{deed:?} and at moment {moment} {other:?}"));
    came.is_some()
}

#[test]
fn whatever_two_do_at_once_every_ring_knows_the_same() {
    for deed in ACTS {
        for other in ACTS {
            let moments = (0..).take_while(|moment| at_moment(*moment, deed, other));
            let count = moments.count();
            assert!(count >= 2, "{deed:?} has {count} moments");
        }
    }
}

#[test]
fn threads_that_register_at_once_have_numbers_of_their_own() {
    const ROUNDS: usize = 40;
    const AT_ONCE: usize = 40;
    let realm = Realm::new(1);
    let ring = Mutex::new(Submissions::new(&realm, 0, 4, 4));
    let registers = || {
        let bell = notification(&realm, 0);
        for round in 0..ROUNDS {
            let ids = [(); AT_ONCE].map(|()| register(&realm, bell).unwrap());
            let used = [by(ids[0], 1), by(ids[AT_ONCE - 1], 2)];
            let done = ring.lock().unwrap().run(&realm, &used);
            assert_eq!(done, [(1, Ok(0)), (1, Ok(0))], "round {round}");
            assert_eq!(bits(&realm, bell), Ok(1 | 2), "round {round}: they are its");
            for id in ids {
                assert_eq!(unregister(&realm, id, 0), Ok(()), "round {round}");
            }
        }
    };
    let makes_rings = || {
        let args = SubmissionArgs::new(4, 4);
        for _ in 0..ROUNDS {
            let made = realm.ipc.create_submission_ring(&realm.domains[0], &args);
            realm.drop_handle(0, made.unwrap()).unwrap();
        }
    };
    let run = |cpu: usize, deed: &(dyn Fn() + Sync)| {
        fake::on_cpu(cpu, deed);
        realm.ipc.end_task(&FakeTask::current());
    };
    // CPU 0 is the one that the process writes its entries on.
    std::thread::scope(|scope| {
        scope.spawn(|| run(1, &registers));
        scope.spawn(|| run(2, &registers));
        scope.spawn(|| run(3, &makes_rings));
    });
    realm.finish();
}
