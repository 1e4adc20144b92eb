//! Everything that ends a wait, and what who waited is told.

use std::sync::atomic::{AtomicBool, Ordering};

use abi::{Error, FOREVER, GrantFlags, Handle, Mode, Rights};
use fake::FakeTask;

use super::realm::Realm;
use super::scenes::{At, Scene};
use super::ways::Way;

const ALL: Rights = Rights::all();

/// Somebody who waits.
pub struct Waiting<'a> {
    pub realm: &'a Realm,
    pub way: &'a Way,
    pub scene: &'a Scene,
    /// By which it waits, below the first of the scene where anything can be.
    pub handle: Handle,
    pub task: FakeTask,
    /// It waits no more.
    pub over: &'a AtomicBool,
}

impl Waiting<'_> {
    /// Checks that the wait ends, and is not gone on with after a look.
    fn ends(&self) {
        while !self.over.load(Ordering::Acquire) {
            if self.task.is_sleeping() {
                self.cancel();
                panic!("{}: it waits again", self.way.name);
            }
            std::thread::yield_now();
        }
    }

    /// Cancels the wait, also of who was to look, found nothing and waits again.
    pub fn cancel(&self) {
        while !self.over.load(Ordering::Acquire) && self.realm.ipc.cancel_wait(&self.task).is_err()
        {
            std::thread::yield_now();
        }
    }
}

/// Something that ends a wait.
pub struct Ending {
    pub name: &'static str,
    /// Whether it can be done.
    pub fits: fn(&Way) -> bool,
    /// What is refused is somebody else's doing.
    pub end: fn(&Waiting<'_>),
    pub told: Told,
}

/// What a wait comes to.
pub enum Told {
    Error(Error),
    /// What the way says of domain 1's end.
    Alone,
}

impl Ending {
    pub fn told(&self, way: &Way) -> Result<(), Error> {
        match self.told {
            Told::Error(error) => Err(error),
            Told::Alone => way.alone.unwrap(),
        }
    }
}

fn any(_: &Way) -> bool {
    true
}

/// Whether there can be a capability above the one that is waited by.
pub fn is_derived(way: &Way) -> bool {
    !matches!(way.at, At::Ring | At::Submissions)
}

/// Whether the capability that is waited by can be given away.
pub fn is_movable(way: &Way) -> bool {
    !matches!(way.at, At::Hub | At::Submissions)
}

pub const ENDINGS: &[Ending] = &[
    Ending {
        name: "dropped",
        fits: any,
        end: |of| _ = of.realm.drop_handle(0, of.handle),
        told: Told::Error(Error::Cancelled),
    },
    Ending {
        name: "moved away",
        fits: is_movable,
        end: |of| {
            let (all, flags) = (ALL, GrantFlags::empty());
            let (ipc, from, via) = (&of.realm.ipc, &of.realm.domains[0], of.realm.via[0][2]);
            let token = ipc.grant(from, of.handle, via, Mode::Move, all, flags, FOREVER);
            if let Ok(token) = token {
                let _ = of.realm.accept(2, token, 0);
            }
        },
        told: Told::Error(Error::Cancelled),
    },
    Ending {
        name: "moved away and taken back",
        fits: is_movable,
        end: |of| {
            let token = of.realm.grant(0, of.handle, 2, Mode::Move, ALL);
            if let Ok(token) = token {
                let _ = of.realm.cancel(0, token);
                of.ends();
            }
        },
        told: Told::Error(Error::Cancelled),
    },
    Ending {
        name: "reduced",
        fits: any,
        end: |of| _ = of.realm.reduce(0, of.handle, !of.way.needs),
        told: Told::Error(Error::Denied),
    },
    Ending {
        name: "reduced above",
        fits: is_derived,
        end: |of| _ = of.realm.reduce(0, of.scene.object, !of.way.needs),
        told: Told::Error(Error::Denied),
    },
    Ending {
        name: "revoked",
        fits: any,
        end: |of| _ = of.realm.revoke_itself(0, of.handle),
        told: Told::Error(Error::Revoked),
    },
    Ending {
        name: "revoked above",
        fits: is_derived,
        end: |of| _ = of.realm.revoke(0, of.scene.object),
        told: Told::Error(Error::Revoked),
    },
    Ending {
        name: "revoked with the first",
        fits: is_derived,
        end: |of| _ = of.realm.revoke_itself(0, of.scene.object),
        told: Told::Error(Error::Revoked),
    },
    Ending {
        name: "cancelled",
        fits: any,
        end: |of| _ = of.realm.ipc.cancel_wait(&of.task),
        told: Told::Error(Error::Cancelled),
    },
    Ending {
        name: "killed",
        fits: any,
        end: |of| of.task.end(),
        told: Told::Error(Error::Interrupted),
    },
    Ending {
        name: "late",
        fits: |way| way.ends_in_time,
        end: |of| of.task.time_out(),
        told: Told::Error(Error::TimedOut),
    },
    Ending {
        name: "alone",
        fits: |way| way.alone.is_some(),
        end: |of| of.realm.exit(1),
        told: Told::Alone,
    },
];
