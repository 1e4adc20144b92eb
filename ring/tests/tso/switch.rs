//! How a publisher comes to a CPU and goes, and how others find out: `switch_space` and `active` in `mm`.

use super::{Changed, MOVER, Moving, Publishing, State, World};
use crate::machine::{Cpu, Machine, Process, Word};

/// What a CPU tells that it has loaded, unless it is the space of a process.
const KERNEL: u8 = 0;
const SWITCHING: u8 = u8::MAX;

fn koid(process: Process) -> u8 {
    process as u8 + 1
}

/// Where a publisher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Away,
    /// The root is loaded, and the CPU has still to say that it was there.
    Comes(Cpu),
    Runs(Cpu),
}

impl Place {
    pub(super) fn cpu(self) -> Option<Cpu> {
        match self {
            Self::Away => None,
            Self::Comes(cpu) | Self::Runs(cpu) => Some(cpu),
        }
    }
}

fn visit(machine: &mut Machine, process: Process, cpu: Cpu) {
    let visited = Word::Visited(process, cpu);
    if machine.load(cpu, visited) == 0 {
        machine.exchange(cpu, visited, 1);
    }
}

impl World {
    /// Whether one CPU finds that another one has the space of a process loaded, or may be about to.
    pub(super) fn is_active(
        &self,
        machine: &Machine,
        who: Cpu,
        process: Process,
        cpu: Cpu,
    ) -> bool {
        let loaded = machine.load(who, Word::Loaded(cpu));
        machine.load(who, Word::Visited(process, cpu)) != 0
            && (loaded == koid(process)
                || loaded == SWITCHING && self.changed != Changed::SwitchingNotAsked)
    }

    /// `load_space`: SYNC(space.loaded). It is one step here, for others see nothing of it but what its stores and its barrier
    /// let them; and who sees `SWITCHING` before the barrier waits for the end of the switch as who sees it after.
    fn load_space(&self, next: &mut State, cpu: Cpu, space: Option<Process>) {
        let told = Word::Loaded(cpu);
        if self.changed != Changed::ToldAfterRoot {
            next.machine.store(cpu, told, SWITCHING);
        }
        if self.changed != Changed::RootIsNoBarrier {
            next.machine.fence(cpu);
        }
        next.cached[cpu] = space == Some(Process::First) && next.mapped;
        next.machine.store(cpu, told, space.map_or(KERNEL, koid));
    }

    pub(super) fn enter(&self, state: &State, process: Process, cpu: Cpu) -> Option<State> {
        let publisher = &state.publishers[process as usize];
        let has_end = match process {
            Process::First => state.mapped || publisher.at != Publishing::Begins,
            Process::Second => state.moving == Moving::Done,
        };
        let mut places = state.publishers.iter().map(|other| other.place.cpu());
        let free = places.all(|other| other != Some(cpu))
            && (cpu != MOVER
                || matches!(state.moving, Moving::Never | Moving::Unmaps | Moving::Done));
        if publisher.place != Place::Away
            || publisher.at == Publishing::Ended
            || !has_end
            || !free
            || state.switches == 0
        {
            return None;
        }
        let mut next = state.clone();
        next.switches -= 1;
        let visits_first = self.changed != Changed::VisitedAfterRoot;
        if visits_first {
            visit(&mut next.machine, process, cpu);
        }
        self.load_space(&mut next, cpu, Some(process));
        next.publishers[process as usize].place = match visits_first {
            true => Place::Runs(cpu),
            false => Place::Comes(cpu),
        };
        Some(next)
    }

    /// What is left of a switch.
    pub(super) fn arrive(&self, state: &State, process: Process) -> Option<State> {
        let Place::Comes(cpu) = state.publishers[process as usize].place else {
            return None;
        };
        let mut next = state.clone();
        visit(&mut next.machine, process, cpu);
        next.publishers[process as usize].place = Place::Runs(cpu);
        Some(next)
    }

    pub(super) fn leave(&self, state: &State, process: Process) -> Option<State> {
        let publisher = &state.publishers[process as usize];
        // The kernel is not preempted.
        let in_kernel = matches!(publisher.at, Publishing::Wakes | Publishing::Unlocks);
        let Place::Runs(cpu) = publisher.place else {
            return None;
        };
        // What would never go on is no more than one that has not begun.
        let goes_on = publisher.at == Publishing::Ended || state.switches > 0;
        if in_kernel || !goes_on {
            return None;
        }
        let mut next = state.clone();
        self.load_space(&mut next, cpu, None);
        next.publishers[process as usize].place = Place::Away;
        Some(next)
    }
}
