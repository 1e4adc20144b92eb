//! The sleep protocol of a ring as steps of a publisher, a sleeper, a scheduler and a process that gives its end away.
//!
//! Each step is one access to memory or one locked instruction; which step comes next is free. The names in quotes are those of the
//! code: `ring::slot` for the two ends, `ring_wait`, `ring_wake` and the passing of an end for the kernel.

mod ends;

use abi::ring::Form;

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
    /// A CPU says by a plain store that it runs a space.
    PlainActive,
    /// An end goes to its new holder before the CPUs of the old one have forgotten its pages.
    MovedBeforeAcknowledgement,
    /// Who sleeps is not told that the peer's end has another holder.
    MoveWakesNobody,
    /// The publisher's fence, in the symmetric form.
    NoWakeFence,
    /// The sleeper's fence, in the symmetric form, where the index is read without the lock.
    NoSleepFence,
}

/// What may happen beside publishing and sleeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
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
    /// `publish`
    Stores,
    /// `wake_fence`, in the symmetric form.
    Fences,
    /// `wake_consumer`
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
    cpu: Option<Cpu>,
    /// The tail that it publishes after.
    tail: u8,
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
    /// The holder, and where it is active.
    Asks,
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
    tail: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Moving {
    Never,
    Unmaps,
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
    /// Whether the first process has the pages of the end.
    mapped: bool,
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
            cpu: None,
            tail: 0,
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
                tail: 0,
            },
            moving: match self.moves {
                true => Moving::Unmaps,
                false => Moving::Never,
            },
            barrier: [false; CPUS],
            flush: [false; CPUS],
            mapped: true,
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
            && state.machine.settled(Word::Tail) >= GOAL
            && state.publishers.iter().all(ended)
            && matches!(state.moving, Moving::Never | Moving::Unmaps | Moving::Done)
    }

    /// Every state that can come next, and what leads there.
    pub fn steps(&self, state: &State) -> Vec<(&'static str, State)> {
        let mut steps = Vec::new();
        let mut step = |name, next: Option<State>| steps.extend(next.map(|next| (name, next)));
        for cpu in 0..CPUS {
            step("a store reaches memory", self.drain(state, cpu));
            step("an interrupt is served", self.serve(state, cpu));
        }
        for process in [Process::First, Process::Second] {
            step("the publisher goes on", self.publish(state, process));
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

    /// A CPU that is asked for a barrier or a flush executes it, whatever it runs.
    fn serve(&self, state: &State, cpu: Cpu) -> Option<State> {
        if !state.barrier[cpu] && !state.flush[cpu] {
            return None;
        }
        let mut next = state.clone();
        next.machine.fence(cpu);
        next.barrier[cpu] = false;
        next.flush[cpu] = false;
        Some(next)
    }

    /// `switch_space`: SYNC(space.active)
    fn set_active(&self, next: &mut State, process: Process, cpu: Cpu, value: u8) {
        match self.changed {
            Changed::PlainActive => next.machine.store(cpu, Word::Active(process, cpu), value),
            _ => {
                next.machine
                    .exchange(cpu, Word::Active(process, cpu), value);
            }
        }
    }

    fn enter(&self, state: &State, process: Process, cpu: Cpu) -> Option<State> {
        let publisher = &state.publishers[process as usize];
        let has_end = match process {
            Process::First => state.mapped || publisher.at != Publishing::Begins,
            Process::Second => state.moving == Moving::Done,
        };
        let free = state.publishers.iter().all(|other| other.cpu != Some(cpu))
            && (cpu != MOVER
                || matches!(state.moving, Moving::Never | Moving::Unmaps | Moving::Done));
        if publisher.cpu.is_some()
            || publisher.at == Publishing::Ended
            || !has_end
            || !free
            || state.switches == 0
        {
            return None;
        }
        let mut next = state.clone();
        next.switches -= 1;
        next.publishers[process as usize].cpu = Some(cpu);
        self.set_active(&mut next, process, cpu, 1);
        Some(next)
    }

    fn leave(&self, state: &State, process: Process) -> Option<State> {
        let publisher = &state.publishers[process as usize];
        // The kernel is not preempted.
        let in_kernel = matches!(publisher.at, Publishing::Wakes | Publishing::Unlocks);
        let cpu = publisher.cpu.filter(|_| !in_kernel)?;
        // What would never go on is no more than one that has not begun.
        if publisher.at != Publishing::Ended && state.switches == 0 {
            return None;
        }
        let mut next = state.clone();
        next.publishers[process as usize].cpu = None;
        self.set_active(&mut next, process, cpu, 0);
        Some(next)
    }

    fn pass(&self, state: &State) -> Option<State> {
        let mut next = state.clone();
        if state.publishers.iter().any(|one| one.cpu == Some(MOVER)) {
            return None;
        }
        let machine = &mut next.machine;
        next.moving = match state.moving {
            Moving::Never | Moving::Done => return None,
            Moving::Unmaps => {
                next.mapped = false;
                machine.fence(MOVER);
                for cpu in 1..CPUS {
                    next.flush[cpu] = machine.load(MOVER, Word::Active(Process::First, cpu)) != 0;
                }
                match self.changed {
                    Changed::MovedBeforeAcknowledgement => Moving::Locks,
                    _ => Moving::Waits,
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

/// What the sleeper waits for: one record.
const GOAL: u8 = 1;

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
