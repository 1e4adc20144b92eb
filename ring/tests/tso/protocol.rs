//! The sleep protocol of a ring as steps of a publisher, a sleeper, a scheduler and a process that gives its end away.
//!
//! Each step is one access to memory or one locked instruction; which step comes next is free. The names in quotes
//! are those of the code: `ring::slot` for the two ends, `ring_wait`, `ring_wake` and the passing of an end for the
//! kernel.

mod ends;
mod switch;

use abi::ring::{End, Form};

use self::switch::Place;
use crate::machine::{CPUS, Cpu, Machine, Process, Word};

/// What is left out of the protocol, or done otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Nothing,
    /// The barrier on the CPUs of the peer.
    NoBarrier,
    /// The barrier comes before `waits_until` is stored.
    BarrierFirst,
    /// Only the compiler keeps the sleeper's store before what follows, and the first look at the holder takes no lock.
    SleeperFencesForTheCompilerOnly,
    /// The compiler may move the publisher's look at `waits_until` before its publication.
    PublisherLooksFirst,
    /// After the barrier, the index that was read before it is believed.
    NotReadAgain,
    /// After the barrier, the index is read before the lock is taken.
    ReadAgainWithoutLock,
    /// The holder is read without the lock, and not once more under it.
    HolderNotRechecked,
    /// The holder is read without the lock, and once more under it.
    HolderReadWithoutLock,
    /// Where the peer runs nowhere, there is no barrier, and what was read before that was known is believed.
    NobodyActiveBelieved,
    /// The load of a root lets what was stored before it wait.
    RootIsNoBarrier,
    /// A CPU tells of a switch when it has loaded the root.
    ToldAfterRoot,
    /// A CPU loads the root of a space before it sets its bit among those that were there.
    VisitedAfterRoot,
    /// Who switches is not asked.
    SwitchingNotAsked,
    /// An end goes to its new holder before the CPUs of the old one have forgotten its pages.
    MovedBeforeAcknowledgement,
    /// Who sleeps is not told that the peer's end has another holder.
    MoveWakesNobody,
    /// Who receives and finds nothing more gives back what it was asked for, and no more.
    EmptyRingNotGivenBack,
    /// The publisher's fence, in the symmetric form.
    NoWakeFence,
    /// The sleeper's fence, in the symmetric form, where the index is read without the lock.
    NoSleepFence,
}

/// What may happen beside publishing and sleeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// The end that sleeps. A producer publishes one record; a consumer receives all there are, and gives them back when it is
    /// asked to or has found no more.
    pub sleeper: End,
    /// The index that it waits for.
    pub goal: u8,
    pub form: Form,
    pub changed: Changed,
    /// How often a publisher may come to a CPU.
    pub switches: u8,
    /// Whether the end goes over to another process.
    pub moves: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Publishing {
    Begins,
    /// `release`, by who receives.
    Releases,
    /// `publish`, or `flush`
    Stores,
    /// `wake_fence`, in the symmetric form.
    Fences,
    /// `wake_consumer`, or the end of `flush`
    Looks,
    /// `ring_wake`, under the lock.
    Locks,
    Wakes,
    Unlocks,
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Publisher {
    at: Publishing,
    place: Place,
    /// How far it is, and how far it has told.
    index: u8,
    told: u8,
    waits_until: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sleeping {
    /// `waits_until`
    Announces,
    /// `sleep_fence`
    Fences,
    Locks,
    /// The look under the lock.
    Looks,
    /// The holder.
    Asks,
    /// Whether a CPU has its space loaded.
    AsksOf(Cpu),
    Unlocks,
    /// The barrier, which is waited for.
    Waits,
    /// Only where the second look takes no lock.
    LooksUnlocked,
    LocksAfterLook,
    Enlists,
    UnlocksAndParks,
    Parked,
    Awake,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sleeper {
    at: Sleeping,
    /// The holder whose CPUs have executed the barrier since it announced what it waits for.
    sure_of: Option<u8>,
    asked: u8,
    /// The CPUs that have its space loaded.
    found: [bool; CPUS],
    index: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Moving {
    Never,
    Unmaps,
    AsksOf(Cpu),
    Waits,
    Locks,
    Passes,
    Unlocks,
    Done,
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    machine: Machine,
    publishers: [Publisher; 2],
    sleeper: Sleeper,
    moving: Moving,
    /// Which CPUs have still to execute the sleeper's barrier, and the mover's flush.
    barrier: [bool; CPUS],
    flush: [bool; CPUS],
    /// Whether the first process has the pages of the end, and which CPUs have that cached.
    mapped: bool,
    cached: [bool; CPUS],
    enlisted: bool,
    switches: u8,
}

/// Where the sleeper and the mover run. The publishers have the other two, and the mover takes the last one of these.
const SLEEPER: Cpu = 0;
const MOVER: Cpu = 2;
const FIRST: u8 = Process::First as u8;
const SECOND: u8 = Process::Second as u8;

impl World {
    pub fn begin(&self) -> State {
        let publisher = Publisher {
            at: Publishing::Begins,
            place: Place::Away,
            index: 0,
            told: 0,
            waits_until: 0,
        };
        let asymmetric = self.form == Form::Asymmetric;
        State {
            machine: Machine::default(),
            publishers: [publisher.clone(), publisher],
            sleeper: Sleeper {
                at: match self.changed {
                    Changed::BarrierFirst => Sleeping::Asks,
                    _ => Sleeping::Announces,
                },
                sure_of: (!asymmetric).then_some(u8::MAX),
                asked: FIRST,
                found: [false; CPUS],
                index: 0,
            },
            moving: match self.moves {
                true => Moving::Unmaps,
                false => Moving::Never,
            },
            barrier: [false; CPUS],
            flush: [false; CPUS],
            mapped: true,
            cached: [false; CPUS],
            enlisted: false,
            switches: self.switches,
        }
    }

    /// Whether a wakeup was lost: it sleeps, something is published, and nobody will do anything any more.
    pub fn is_lost(&self, state: &State) -> bool {
        let ended =
            |publisher: &Publisher| matches!(publisher.at, Publishing::Begins | Publishing::Ended);
        state.sleeper.at == Sleeping::Parked
            && state.enlisted
            && state.machine.is_drained()
            && (state.machine.settled(Word::Index) >= self.goal
                || state.publishers.iter().any(|one| one.index >= self.goal))
            && state.publishers.iter().all(ended)
            && matches!(state.moving, Moving::Never | Moving::Unmaps | Moving::Done)
    }

    /// Every state that can come next, and what leads there.
    pub fn steps(&self, state: &State) -> Vec<(&'static str, State)> {
        let mut steps = Vec::new();
        // Who is awake loses nothing any more.
        if state.sleeper.at == Sleeping::Awake {
            return steps;
        }
        let mut step = |name, next: Option<State>| steps.extend(next.map(|next| (name, next)));
        for cpu in 0..CPUS {
            step("a store reaches memory", self.drain(state, cpu));
            step("an interrupt is served", self.serve(state, cpu));
        }
        for process in [Process::First, Process::Second] {
            step("the publisher goes on", self.publish(state, process));
            step("the publisher has come", self.arrive(state, process));
            step(
                "the publisher is taken off its CPU",
                self.leave(state, process),
            );
            for cpu in 1..CPUS {
                step(
                    "the publisher comes to a CPU",
                    self.enter(state, process, cpu),
                );
            }
        }
        step("the sleeper goes on", self.sleep(state));
        step("the mover goes on", self.pass(state));
        steps
    }

    fn drain(&self, state: &State, cpu: Cpu) -> Option<State> {
        let mut next = state.clone();
        next.machine.drain(cpu).then_some(next)
    }

    /// A CPU that is asked for a barrier or a flush executes it, whatever it runs, and not within a switch.
    fn serve(&self, state: &State, cpu: Cpu) -> Option<State> {
        let mut places = state.publishers.iter().map(|one| one.place);
        let within_switch = places.any(|place| place == Place::Comes(cpu));
        if within_switch || !state.barrier[cpu] && !state.flush[cpu] {
            return None;
        }
        let mut next = state.clone();
        next.machine.fence(cpu);
        next.barrier[cpu] = false;
        if std::mem::take(&mut next.flush[cpu]) {
            next.cached[cpu] = false;
        }
        Some(next)
    }

    fn pass(&self, state: &State) -> Option<State> {
        let mut next = state.clone();
        let mut places = state.publishers.iter().map(|one| one.place.cpu());
        if places.any(|cpu| cpu == Some(MOVER)) {
            return None;
        }
        let machine = &mut next.machine;
        next.moving = match state.moving {
            Moving::Never | Moving::Done => return None,
            Moving::Unmaps => {
                next.mapped = false;
                machine.fence(MOVER);
                Moving::AsksOf(1)
            }
            Moving::AsksOf(cpu) => {
                next.flush[cpu] = self.is_active(machine, MOVER, Process::First, cpu);
                match (cpu + 1 < CPUS, self.changed) {
                    (true, _) => Moving::AsksOf(cpu + 1),
                    (false, Changed::MovedBeforeAcknowledgement) => Moving::Locks,
                    (false, _) => Moving::Waits,
                }
            }
            Moving::Waits if next.flush != [false; CPUS] => return None,
            Moving::Waits => Moving::Locks,
            Moving::Locks => {
                lock(machine, MOVER)?;
                Moving::Passes
            }
            Moving::Passes => {
                machine.store(MOVER, Word::Holder, SECOND);
                if self.changed != Changed::MoveWakesNobody {
                    wake(&mut next.enlisted, &mut next.sleeper);
                }
                Moving::Unlocks
            }
            Moving::Unlocks => {
                machine.store(MOVER, Word::Lock, 0);
                Moving::Done
            }
        };
        Some(next)
    }
}

/// So many are in the ring, which is full, where its producer sleeps.
const MESSAGES: u8 = 2;

fn lock(machine: &mut Machine, cpu: Cpu) -> Option<()> {
    match machine.exchange(cpu, Word::Lock, 1) {
        0 => Some(()),
        _ => None,
    }
}

/// Under the lock: who is in the list looks again.
fn wake(enlisted: &mut bool, sleeper: &mut Sleeper) {
    if std::mem::take(enlisted) {
        sleeper.at = Sleeping::Awake;
    }
}
