//! What is done by a capability, and how that is taken away at every moment of it.

use std::sync::{Arc, Mutex};

use abi::{Error, Handle, Mode, Rights, Syscall};
use mm::lock::Rank;

use crate::common::revoked::{ALL, Scene};

/// How the capability is taken away.
#[derive(Clone, Copy)]
pub enum Way {
    /// With all below this top.
    Revoked(usize),
    /// The same; there is a token of it.
    Withdrawn(usize),
    /// Domain 2 takes what domain 1 offers it.
    Taken,
    /// Domain 1 gives it away.
    Moved(fn(&Scene) -> Handle),
    /// Domain 1 has it allow nothing any more.
    Reduced(fn(&Scene) -> Handle),
    /// Domain 0 has this top, and all below it, allow nothing any more but to keep what is pinned.
    ReducedAbove(usize),
    /// The host dismisses the guest whose it is.
    Dismissed,
}

impl Way {
    /// Takes it away, if it is still there, and says what whoever uses it is told.
    fn take(self, scene: &Scene) -> (bool, Error) {
        let realm = &scene.realm;
        let revoke = |top: usize| realm.revoke(0, scene.tops[top]).is_ok();
        match self {
            Way::Revoked(top) => (revoke(top), Error::Revoked),
            Way::Withdrawn(top) => (revoke(top), Error::NotFound),
            Way::Taken => {
                let taken = realm.accept(2, scene.offer, 1);
                (taken.is_ok(), Error::NotFound)
            }
            Way::Moved(what) => {
                let moved = realm.grant(1, what(scene), 2, Mode::Move, ALL);
                (moved.is_ok(), Error::InTransit)
            }
            Way::Reduced(what) => {
                let reduced = realm.reduce(1, what(scene), Rights::empty());
                (reduced.is_ok(), Error::Denied)
            }
            Way::ReducedAbove(top) => {
                let reduced = realm.reduce(0, scene.tops[top], Rights::MAP);
                (reduced.is_ok(), Error::Denied)
            }
            Way::Dismissed => {
                let dismissed = scene.hub.dismiss(realm, scene.attached.seat);
                (dismissed.is_ok(), Error::Revoked)
            }
        }
    }
}

pub struct Deed {
    pub name: &'static str,
    /// The call and the argument of which it shows what happens, as they are named in the table.
    pub shows: &'static [&'static str],
    pub way: Way,
    pub deed: fn(&Scene) -> Result<(), Error>,
    /// Whether it has been done.
    pub done: fn(&Scene) -> bool,
    /// What it comes to when nothing is taken away.
    pub comes_to: Result<(), Error>,
    /// Whether it is looked up and done in one hold, with no moment in between for who needs that lock.
    pub holds_on: bool,
    /// Whether something follows, which may be refused when it has been done.
    pub goes_on: bool,
    /// What comes before.
    pub before: fn(&Scene),
}

impl Deed {
    pub const fn new(
        name: &'static str,
        shows: &'static [&'static str],
        way: Way,
        deed: fn(&Scene) -> Result<(), Error>,
        done: fn(&Scene) -> bool,
    ) -> Deed {
        Deed {
            name,
            shows,
            way,
            deed,
            done,
            comes_to: Ok(()),
            holds_on: false,
            goes_on: false,
            before: |_| {},
        }
    }

    /// The call that it makes.
    fn call(&self) -> Syscall {
        let (call, _argument) = self.shows[0].split_once('.').expect("it names an argument");
        fake::call_named(call)
    }

    /// Nothing remains of an answer: until it is given, it is refused.
    pub const fn question(
        shows: &'static [&'static str],
        way: Way,
        ask: fn(&Scene) -> Result<(), Error>,
    ) -> Deed {
        Deed::new(shows[0], shows, way, ask, |_| false)
    }

    /// It waits for what does not come, and takes back then what it has begun.
    pub const fn in_vain(self) -> Deed {
        Deed {
            comes_to: Err(Error::TimedOut),
            ..self
        }
    }

    /// It is answered by an error, which tells something as well.
    pub const fn answered_by(self, error: Error) -> Deed {
        Deed {
            comes_to: Err(error),
            ..self
        }
    }

    /// It comes after something else.
    pub const fn after(self, before: fn(&Scene)) -> Deed {
        Deed { before, ..self }
    }

    pub const fn in_one_hold(self) -> Deed {
        Deed {
            holds_on: true,
            ..self
        }
    }

    /// It is the first of two things.
    pub const fn and_more(self) -> Deed {
        Deed {
            goes_on: true,
            ..self
        }
    }
}

/// Takes the capability of a deed away at a moment of it, when no lock above `beside` is held. Whether there is such
/// a moment, and the answer.
fn interrupted(
    deed: &'static Deed,
    beside: Option<Rank>,
    moment: u32,
) -> (bool, Result<(), Error>) {
    let scene = Scene::new();
    (deed.before)(&scene);
    let found = Arc::new(Mutex::new(None));
    let (inside, told) = (scene.clone(), found.clone());
    let mut turn = 0;
    let meanwhile = move || {
        if turn == moment {
            let seen = fake::on_cpu(2, || {
                // Some of what was done ends with the capability.
                let before = (deed.done)(&inside);
                let (taken, error) = deed.way.take(&inside);
                let done = before || (deed.done)(&inside);
                (taken.then_some(error), done)
            });
            *told.lock().unwrap() = Some(seen);
        }
        turn += 1;
    };
    let answer = fake::before_locks(beside, meanwhile, || {
        fake::on_cpu(1, || (deed.deed)(&scene))
    });
    let found = found.lock().unwrap().take();
    let name = deed.name;
    let answer = fake::answered(deed.call(), answer);
    match found {
        None => assert_eq!(answer, deed.comes_to, "{name}"),
        // Of what is answered as refused nothing is left, but for what came before that.
        Some((taken, true)) if answer != deed.comes_to => {
            assert_eq!(answer.err(), taken, "{name} at moment {moment}, done");
            let left = (deed.done)(&scene) && !deed.goes_on;
            assert!(!left, "{name} at moment {moment}, done, is left");
        }
        Some((_, true)) => {}
        // It came first.
        Some((None, false)) => {
            assert_eq!(answer, Ok(()), "{name} at moment {moment}");
            assert!((deed.done)(&scene), "{name} at moment {moment}");
        }
        Some((Some(error), false)) => {
            let in_vain = deed.comes_to == Err(Error::TimedOut) && answer == deed.comes_to;
            if !in_vain {
                assert_eq!(answer, Err(error), "{name} at moment {moment}");
            }
            assert!(!(deed.done)(&scene), "{name} at moment {moment}");
        }
    }
    scene.finish();
    (found.is_some(), answer)
}

/// Takes the capability of a deed away at each moment of it, and returns at how many of them the deed was refused.
fn refusals(deed: &'static Deed, beside: Option<Rank>) -> usize {
    let moments = (0..).map(|moment| interrupted(deed, beside, moment));
    let moments: Vec<_> = moments.take_while(|(reached, _)| *reached).collect();
    let taken = deed.comes_to;
    let refused = moments
        .iter()
        .filter(|(_, answer)| *answer != taken)
        .count();
    println!("{}: {refused} of {} moments", deed.name, moments.len());
    refused
}

/// Takes the capability of a deed away at each moment of it.
pub fn interrupted_at_every_moment(deed: &'static Deed) {
    // Before it is looked up, and afterwards, unless that is one hold.
    match deed.holds_on {
        true => assert_eq!(refusals(deed, None), 1, "{}", deed.name),
        false => assert!(refusals(deed, None) >= 2, "{}", deed.name),
    }
    // Who revokes from above needs no lock of the table where it is looked up.
    if let (true, Way::Revoked(_) | Way::Dismissed) = (deed.holds_on, deed.way) {
        let refused = refusals(deed, Some(Rank::Places));
        assert!(refused >= 2, "{}", deed.name);
    }
}
