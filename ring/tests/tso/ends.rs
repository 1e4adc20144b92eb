//! What the two ends of the ring do, step by step.

use abi::ring::{End, Form};
use ring::index::{has_crossed, is_armed};

use super::{Changed, FIRST, MESSAGES, Place, Publisher, Publishing, SLEEPER, Sleeping, State};
use super::{World, lock, wake};
use crate::machine::{CPUS, Process, Word};

impl World {
    pub(super) fn publish(&self, state: &State, process: Process) -> Option<State> {
        let mut next = state.clone();
        let Place::Runs(cpu) = state.publishers[process as usize].place else {
            return None;
        };
        let publisher = &mut next.publishers[process as usize];
        let in_user = matches!(
            publisher.at,
            Publishing::Begins
                | Publishing::Releases
                | Publishing::Stores
                | Publishing::Fences
                | Publishing::Looks
        );
        if in_user && process == Process::First && !state.mapped && !state.cached[cpu] {
            // It uses what its process gave away, and faults. What it told nobody of is for who has the end now.
            publisher.index = publisher.told;
            publisher.at = Publishing::Ended;
            return Some(next);
        }
        let looks_first = self.changed == Changed::PublisherLooksFirst;
        let tells = match looks_first {
            true => Publishing::Looks,
            false => Publishing::Stores,
        };
        publisher.at = match publisher.at {
            Publishing::Begins => {
                publisher.told = next.machine.load(cpu, Word::Index);
                publisher.index = publisher.told;
                match self.sleeper {
                    End::Producer => self.go_on(publisher),
                    End::Consumer => {
                        publisher.index += 1;
                        tells
                    }
                }
            }
            Publishing::Releases => {
                publisher.index += 1;
                // `give_back`
                let waits_until = next.machine.load(cpu, Word::WaitsUntil);
                let told = publisher.told;
                let asked = is_armed(waits_until.into(), told.into(), MESSAGES.into());
                // Who finds nothing more gives everything back, too.
                let empty = publisher.index == MESSAGES;
                match (asked, empty) {
                    (false, true) if self.changed == Changed::EmptyRingNotGivenBack => {
                        Publishing::Ended
                    }
                    (false, false) => Publishing::Releases,
                    _ => tells,
                }
            }
            Publishing::Stores => {
                // SYNC(ring.publish), SYNC(ring.release)
                next.machine.store(cpu, Word::Index, publisher.index);
                match (looks_first, self.form) {
                    (true, _) => self.crossed(publisher),
                    (false, Form::Symmetric) if self.changed != Changed::NoWakeFence => {
                        Publishing::Fences
                    }
                    (false, _) => Publishing::Looks,
                }
            }
            Publishing::Fences => {
                // SYNC(ring.sleep)
                next.machine.fence(cpu);
                Publishing::Looks
            }
            Publishing::Looks => {
                publisher.waits_until = next.machine.load(cpu, Word::WaitsUntil);
                match looks_first {
                    true => Publishing::Stores,
                    false => self.crossed(publisher),
                }
            }
            Publishing::Locks => {
                lock(&mut next.machine, cpu)?;
                Publishing::Wakes
            }
            Publishing::Wakes => {
                wake(&mut next.enlisted, &mut next.sleeper);
                Publishing::Unlocks
            }
            Publishing::Unlocks => {
                next.machine.store(cpu, Word::Lock, 0);
                self.go_on(publisher)
            }
            Publishing::Ended => return None,
        };
        Some(next)
    }

    fn crossed(&self, publisher: &mut Publisher) -> Publishing {
        let old = std::mem::replace(&mut publisher.told, publisher.index);
        let (waits_until, new) = (publisher.waits_until, publisher.index);
        match has_crossed(old.into(), waits_until.into(), new.into()) {
            true => Publishing::Locks,
            false => self.go_on(publisher),
        }
    }

    /// What follows when nobody is to be woken any more: who sends has sent all it had to, who receives may have more.
    fn go_on(&self, publisher: &Publisher) -> Publishing {
        match self.sleeper {
            End::Producer if publisher.index < MESSAGES => Publishing::Releases,
            _ => Publishing::Ended,
        }
    }

    pub(super) fn sleep(&self, state: &State) -> Option<State> {
        use Changed as C;
        let mut next = state.clone();
        let State {
            machine,
            sleeper,
            barrier,
            enlisted,
            ..
        } = &mut next;
        let believes_old_index = matches!(self.changed, C::NotReadAgain);
        let unlocked_holder = matches!(
            self.changed,
            C::HolderNotRechecked | C::HolderReadWithoutLock | C::SleeperFencesForTheCompilerOnly
        );
        let asymmetric = self.form == Form::Asymmetric;
        sleeper.at = match sleeper.at {
            Sleeping::Announces => {
                machine.store(SLEEPER, Word::WaitsUntil, self.goal);
                match self.changed {
                    C::SleeperFencesForTheCompilerOnly => Sleeping::Asks,
                    C::NoSleepFence => Sleeping::LooksUnlocked,
                    _ => Sleeping::Fences,
                }
            }
            Sleeping::Fences => {
                // SYNC(ring.sleep)
                machine.fence(SLEEPER);
                match unlocked_holder {
                    true => Sleeping::Asks,
                    false => Sleeping::Locks,
                }
            }
            Sleeping::Locks => {
                lock(machine, SLEEPER)?;
                Sleeping::Looks
            }
            Sleeping::Looks => {
                if !(believes_old_index && sleeper.sure_of.is_some()) {
                    sleeper.index = machine.load(SLEEPER, Word::Index);
                }
                let holder = machine.load(SLEEPER, Word::Holder);
                let is_sure = match sleeper.sure_of {
                    Some(_) if !asymmetric => true,
                    Some(asked) => {
                        asked == holder
                            || matches!(self.changed, C::HolderNotRechecked | C::BarrierFirst)
                    }
                    None => false,
                };
                match sleeper.index >= self.goal {
                    true => Sleeping::Awake,
                    false if is_sure || self.changed == C::NoBarrier => Sleeping::Enlists,
                    false => Sleeping::Asks,
                }
            }
            Sleeping::Asks => {
                sleeper.asked = machine.load(SLEEPER, Word::Holder);
                Sleeping::AsksOf(1)
            }
            Sleeping::AsksOf(cpu) => {
                let process = match sleeper.asked {
                    FIRST => Process::First,
                    _ => Process::Second,
                };
                sleeper.found[cpu] = self.is_active(machine, SLEEPER, process, cpu);
                let all_asked = cpu + 1 == CPUS;
                if all_asked {
                    *barrier = std::mem::take(&mut sleeper.found);
                }
                let nobody = *barrier == [false; CPUS];
                match (self.changed, unlocked_holder) {
                    _ if !all_asked => Sleeping::AsksOf(cpu + 1),
                    (C::NobodyActiveBelieved, _) if nobody => Sleeping::Enlists,
                    (C::BarrierFirst, _) | (_, true) => Sleeping::Waits,
                    _ => Sleeping::Unlocks,
                }
            }
            Sleeping::Unlocks => {
                machine.store(SLEEPER, Word::Lock, 0);
                Sleeping::Waits
            }
            Sleeping::Waits => {
                if *barrier != [false; CPUS] {
                    return None;
                }
                let first = sleeper.sure_of.is_none();
                sleeper.sure_of = Some(sleeper.asked);
                match self.changed {
                    C::BarrierFirst if first => Sleeping::Announces,
                    C::ReadAgainWithoutLock => Sleeping::LooksUnlocked,
                    _ => Sleeping::Locks,
                }
            }
            Sleeping::LooksUnlocked => {
                sleeper.index = machine.load(SLEEPER, Word::Index);
                match sleeper.index >= self.goal {
                    true => Sleeping::Awake,
                    false => Sleeping::LocksAfterLook,
                }
            }
            Sleeping::LocksAfterLook => {
                lock(machine, SLEEPER)?;
                Sleeping::Enlists
            }
            Sleeping::Enlists => {
                *enlisted = true;
                Sleeping::UnlocksAndParks
            }
            Sleeping::UnlocksAndParks => {
                machine.store(SLEEPER, Word::Lock, 0);
                // A wake can come as soon as the lock is free, and not before.
                Sleeping::Parked
            }
            Sleeping::Parked | Sleeping::Awake => return None,
        };
        if state.sleeper.at == Sleeping::Looks && next.sleeper.at == Sleeping::Awake {
            next.machine.store(SLEEPER, Word::Lock, 0);
        }
        Some(next)
    }
}
