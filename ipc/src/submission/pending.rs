//! Operations that wait: each watches an object, or a time, or both, and is tried again when something
//! happens there. So what ends a wait is decided by the call itself, as for who sleeps in it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::submission::{Operation, Submission};
use abi::{Error, Events, FOREVER, Handle, Rights, cost};
use mm::RecordCharge;

use super::desk::{Desk, PLACES};
use super::operations::{Attempt, Waiting};
use super::retire::retires;
use super::{SubmissionRing, serve::Server};
use crate::binding::Binding;
use crate::{Ipc, Platform, Timer};

/// What a place takes in the lists of a ring, each of which is at most twice as long as needed: whether somebody waits
/// there, that nobody does, that it is due, and whether.
pub(super) const PLACE_BYTES: usize = 2 * (size_of::<usize>() + 4 + 4 + 1);

/// An operation that waits.
pub(super) struct Pending<P: Platform> {
    /// The handles in it are as its calls take them.
    pub(super) entry: Submission,
    pub(super) operation: Operation,
    /// When it ends for its deadline.
    pub(super) deadline_ns: u64,
    /// The slot of the registered handle that it uses.
    pub(super) registered: Option<u16>,
    /// The entries that are linked behind it, for which cells are kept.
    pub(super) rest: Vec<Submission>,
    binding: Option<Arc<Binding<P>>>,
    timer: Option<Arc<Timer<P>>>,
    _charge: RecordCharge,
}

/// What an operation waits for: an event of the object of its first argument, which it may wait for
/// with a right.
fn awaited(operation: Operation, entry: &Submission) -> Option<(Events, Rights)> {
    match operation {
        Operation::Send => Some((Events::WRITABLE, Rights::SEND)),
        Operation::NotifyWait => Some((Events::SIGNALED, Rights::WAIT)),
        Operation::Wait => {
            let events = Events::from_bits_truncate(entry.arguments[1] as u32);
            Some((events, Rights::WAIT))
        }
        _ => None,
    }
}

impl<P: Platform> Pending<P> {
    /// Whether its time has come.
    pub(super) fn is_late(&self, ipc: &Ipc<P>) -> bool {
        ipc.platform().now_ns() >= self.deadline_ns
    }

    /// Waits on, and is looked at again at a time if nothing happens before: its deadline at the latest.
    pub(super) fn go_on(&self, ipc: &Ipc<P>, again_ns: Option<u64>) {
        if let Some(timer) = &self.timer {
            let again_ns = again_ns.unwrap_or(FOREVER);
            ipc.note_at(timer, again_ns.min(self.deadline_ns));
        }
    }

    /// Whether it would be told of what it waits for.
    pub(super) fn is_watching(&self) -> bool {
        self.binding
            .as_ref()
            .is_none_or(|binding| binding.is_bound())
    }
}

impl<P: Platform, F> Server<'_, P, F>
where
    F: Fn(Operation, [u64; 6]) -> Result<u64, Error>,
{
    /// Has an operation wait, and with it the rest of its chain; returns its key. It is told of what happens from now
    /// on, but not at a time, and of nothing that happened since it was tried: it is to be tried once more.
    pub(super) fn suspend(&mut self, waiting: &Waiting, rest: &[Submission]) -> Result<u32, Error> {
        const {
            let record = size_of::<Pending<P>>() + size_of::<Timer<P>>();
            let alarm = crate::alarms::Place::<Arc<Timer<P>>>::BYTES;
            assert!((record + alarm + 32) as u64 <= cost::PENDING);
            assert!(size_of::<Submission>() as u64 <= cost::LINKED);
        }
        let (ipc, ring) = (self.ipc, self.ring);
        let &Waiting {
            entry,
            operation,
            deadline_ns,
            registered,
        } = waiting;
        let bytes = cost::PENDING + rest.len() as u64 * cost::LINKED;
        let charge = self.domain.account().charge_record(bytes)?;
        ipc.platform().ensure_memory()?;
        let mut behind = Vec::new();
        behind
            .try_reserve_exact(rest.len())
            .map_err(|_| Error::NoMemory)?;
        behind.extend_from_slice(rest);
        let key = self.desk.find_place()?;
        ring.make_room(key)?;
        let binding = match awaited(operation, &entry) {
            Some((events, needed)) => {
                let handle = Handle::from_bits(entry.arguments[0]);
                let watched = ipc.watch_for(self.domain, ring, key, handle, events, needed);
                Some(watched?)
            }
            None => None,
        };
        if let Some(id) = retires(operation, &entry) {
            let mut state = ring.registrar.state.lock();
            state.set_retirer(id, ring, key);
        }
        let timer = match deadline_ns {
            // It may have to wait for the rate of its end.
            FOREVER if operation != Operation::Send => None,
            _ => Some(ipc.timer_of(ring, key)),
        };
        let pending = Pending {
            entry,
            operation,
            deadline_ns,
            registered,
            rest: behind,
            binding,
            timer,
            _charge: charge,
        };
        self.desk.fill_place(mm::boxed(pending));
        Ok(key)
    }

    /// Tries an operation again that waits. What it comes to, unless it waits on.
    pub(super) fn try_again(&mut self, key: u32) -> Option<Result<u64, Error>> {
        let place = self.desk.pending.get_mut(key as usize);
        let pending = place.and_then(Option::take)?;
        // Before the try, which sees what came in time.
        let late = pending.is_late(self.ipc);
        let attempt = match retires(pending.operation, &pending.entry) {
            Some(id) => Attempt::of(self.ipc.look_at_retiring(&self.ring.registrar, id)),
            None => self.attempt(pending.operation, &pending.entry),
        };
        let late = late || mm::sabotaged!("late_look_after_the_try") && pending.is_late(self.ipc);
        let outcome = match attempt.is_too_early() {
            true if late => Some(Err(Error::TimedOut)),
            // It was told that its capability is not what it was, and that has come back since.
            true if !pending.is_watching() => Some(Err(Error::Cancelled)),
            true => {
                pending.go_on(self.ipc, attempt.again_ns);
                self.begun = false;
                None
            }
            false => Some(attempt.outcome),
        };
        self.desk.pending[key as usize] = Some(pending);
        outcome
    }
}

impl<P: Platform> Desk<P> {
    /// A free place for an operation that waits: the same until it is [filled](Desk::fill_place). `Quota`, `NoMemory`.
    fn find_place(&mut self) -> Result<u32, Error> {
        if let Some(place) = self.free.last() {
            return Ok(*place);
        }
        let count = self.pending.len();
        let more = count >= self.paid && !mm::sabotaged!("places_of_waits_for_nothing");
        if more {
            self.charge.extend(cost::WAITING)?;
        }
        // As soon as all that wait are over, each place is free.
        let room = self.pending.try_reserve(1);
        if room.is_err() || self.free.try_reserve(count + 1).is_err() {
            if more {
                self.charge.release(cost::WAITING);
            }
            return Err(Error::NoMemory);
        }
        if more {
            self.paid += PLACES;
        }
        Ok(count as u32)
    }

    /// Fills the place that was found last.
    fn fill_place(&mut self, pending: Box<Pending<P>>) {
        match self.free.pop() {
            Some(place) => {
                self.pending[place as usize] = Some(pending);
                if mm::sabotaged!("place_of_a_wait_stays_free") {
                    self.free.push(place);
                }
            }
            None => self.pending.push(Some(pending)),
        }
    }

    /// How many operations wait.
    pub(super) fn waiting(&self) -> u32 {
        (self.pending.len() - self.free.len()) as u32
    }
}

impl<P: Platform> SubmissionRing<P> {
    /// Makes room for a note on an operation. `NoMemory`.
    fn make_room(&self, key: u32) -> Result<(), Error> {
        let mut state = self.state.lock();
        let count = key as usize + 1;
        let missing = count.saturating_sub(state.noted.len());
        state
            .noted
            .try_reserve(missing)
            .map_err(|_| Error::NoMemory)?;
        let longest = count.max(state.noted.len());
        let missing = longest - state.due.len();
        state
            .due
            .try_reserve(missing)
            .map_err(|_| Error::NoMemory)?;
        state.noted.resize(longest, false);
        Ok(())
    }
}

impl<P: Platform> Ipc<P> {
    /// An operation does not wait any more: nobody tells it anything from now on, and what it used is let
    /// go.
    pub(super) fn let_go(&self, ring: &SubmissionRing<P>, pending: Pending<P>) -> Vec<Submission> {
        if let Some(binding) = &pending.binding {
            self.unwatch(binding);
        }
        if let Some(timer) = &pending.timer {
            self.end_timer(timer);
        }
        if let Some(slot) = pending.registered {
            self.leave_registered(ring, slot);
        }
        pending.rest
    }
}
