//! Submission rings: a process asks for many calls at once, and finds their outcomes in memory.
//!
//! The ring is two rings over fixed frames: entries, which the process writes, and completions, which
//! the kernel writes. Whoever serves it has its [`Desk`], and nobody else does: the indices of the kernel
//! and the operations that wait are there, so serving takes no lock for each entry. What happens
//! meanwhile elsewhere (an event, a time, an end) leaves a note under the lock of the ring, and is looked
//! at by who serves it next: who enters it, or its own thread.
//!
//! An entry is taken only when a cell is kept for its completion, so completions never overflow. It is
//! copied before it is decoded; of what the process writes every word is read once and checked.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5, I9, I10, I11. Lock ranks: Ports for the notes and for
//! the registered handles, neither with the other; Queue for the [registrar].

mod desk;
mod object;
mod operations;
mod pending;
mod polling;
mod register;
mod registered;
pub(crate) mod registrar;
mod retire;
mod run;
mod serve;
mod shared;
mod slots;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use abi::submission::{DUE, RESTING, SubmissionGeometry, SubmissionRingFlags};
use mm::lock::Lock;
use mm::{Permit, RecordCharge};

use crate::{Events, Outcome, Platform, Traffic, Waiters};

use desk::Desk;
pub(crate) use register::Registrars;
use registered::Known;
pub use registrar::Registrar;
pub(crate) use shared::Half;

/// A submission ring.
pub struct SubmissionRing<P: Platform> {
    /// The domain that it is for.
    owner: u64,
    geometry: SubmissionGeometry,
    flags: SubmissionRingFlags,
    submissions: Half,
    completions: Half,
    /// Of the mappings of both, which end with the ring.
    permit: Arc<Permit>,
    registrar: Arc<Registrar<P>>,
    /// The registered handles, as this ring knows them.
    known: Lock<Known>,
    state: Lock<State<P>>,
    events: Events<P>,
    charge: Option<RecordCharge>,
}

/// What is told of a ring.
#[derive(Clone, Copy, Default)]
struct Facts {
    pending: u32,
    taken: u64,
    posted: u64,
}

struct State<P: Platform> {
    /// Missing while somebody serves.
    desk: Option<Box<Desk<P>>>,
    /// Operations that are to be looked at, each once; there is room for all that wait.
    due: VecDeque<u32>,
    /// Whether each is among them.
    noted: Vec<bool>,
    waiters: Waiters<P>,
    /// The thread of the ring, while it sleeps.
    server: Waiters<P>,
    /// It sleeps, or is about to, and is to be told of entries.
    resting: bool,
    /// Its capability is gone. Whoever serves returns its memory, or who ended it.
    closed: bool,
    /// As of the last time that somebody served.
    facts: Facts,
}

/// Steps of what takes long after which others may run.
const STEPS: usize = 64;

impl<P: Platform> crate::Ipc<P> {
    /// After a step of what a program has made long and what is finished in any case, which are counted from 0: lets
    /// others run now and then. With no lock held.
    fn after_step(&self, step: usize) {
        if step % STEPS == STEPS - 1 && !mm::sabotaged!("ring_ends_in_one_stretch") {
            let _ = self.platform().pause();
        }
    }
}

/// Who is to be told of something after unlocking.
pub(crate) struct Told<P: Platform> {
    /// To be unparked.
    pub(crate) task: Option<P::Task>,
    /// Something can be had of it.
    pub(crate) ring: Option<Arc<SubmissionRing<P>>>,
}

impl<P: Platform> Told<P> {
    /// That an operation of a ring is to be looked at.
    pub(crate) fn of(ring: Arc<SubmissionRing<P>>, key: u32) -> Told<P> {
        Told {
            task: ring.note(key),
            ring: Some(ring),
        }
    }
}

impl<P: Platform> SubmissionRing<P> {
    /// How many entries and completions there is room for.
    pub fn geometry(&self) -> SubmissionGeometry {
        self.geometry
    }

    /// How it works.
    pub fn flags(&self) -> SubmissionRingFlags {
        self.flags
    }

    /// Who waits for its events.
    pub(crate) fn events(&self) -> &Events<P> {
        &self.events
    }

    /// Whether a thread of its own serves it.
    fn is_polled(&self) -> bool {
        self.flags.contains(SubmissionRingFlags::POLL)
    }

    /// What went through it: completions that were posted. Its own thread waits here, too.
    pub(crate) fn traffic(&self) -> Traffic {
        let state = self.state.lock();
        let posted = Traffic {
            messages: state.facts.posted,
            ..Traffic::NONE
        };
        posted + state.waiters.traffic() + state.server.traffic()
    }

    /// Notes that an operation is to be looked at, and returns who is to be unparked for it. Neither
    /// allocates nor fails; a note that comes too late finds nothing to do.
    pub(crate) fn note(&self, key: u32) -> Option<P::Task> {
        let mut state = self.state.lock();
        let State { due, noted, .. } = &mut *state;
        if let Some(noted) = noted.get_mut(key as usize)
            && !core::mem::replace(noted, true)
        {
            due.push_back(key);
        }
        // Who serves looks again before it leaves.
        match state.closed || state.desk.is_none() {
            true => None,
            false => state.wake_for_due(),
        }
    }
}

impl<P: Platform> State<P> {
    /// Wakes somebody to serve, if there is something due.
    fn wake_for_due(&mut self) -> Option<P::Task> {
        if self.due.is_empty() {
            return None;
        }
        match self.resting {
            true => self.server.wake_first(Outcome::Ready),
            false => self.waiters.wake_first(Outcome::Ready),
        }
    }

    /// What the header is to say.
    fn notes(&self) -> u32 {
        let due = if self.due.is_empty() { 0 } else { DUE };
        due | if self.resting { RESTING } else { 0 }
    }

    /// The next operation that is to be looked at.
    fn next_due(&mut self) -> Option<u32> {
        let key = self.due.pop_front()?;
        self.noted[key as usize] = false;
        Some(key)
    }
}

impl<P: Platform> fmt::Debug for SubmissionRing<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmissionRing")
            .field("owner", &self.owner)
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}
