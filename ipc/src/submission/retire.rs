//! Registered handles are let go: by their process, or with the capabilities that they were registered by.
//!
//! Whoever lets one go has its slot retire: no further operation may use it, and the last one that does
//! frees it. A call sleeps until then. An entry waits in its ring as all operations that wait, beside
//! those that it may be waiting for, and whoever serves the ring goes on: so the thread of a ring never
//! sleeps for what only it could end. One at a time has a slot retire; if it gives up, the slot is as before.

use alloc::sync::Arc;

use abi::submission::{Operation, Registered, Submission};
use abi::{Error, Rights};

use super::registrar::Registrar;
use super::serve::Server;
use super::slots::{Retirer, Standing};
use super::{SubmissionRing, Told};
use crate::{Domain, Ipc, Object, Outcome, Platform};

/// What became of a slot that was to be let go.
pub(super) enum Retired {
    /// It is free.
    Gone,
    /// Operations use it, and no further one begins.
    InUse,
}

/// What an operation has retire, if it does.
pub(super) fn retires(operation: Operation, entry: &Submission) -> Option<Registered> {
    match operation {
        Operation::Unregister => Registered::from_bits(entry.arguments[0]),
        _ => None,
    }
}

impl<P: Platform, F> Server<'_, P, F> {
    /// Lets a registered handle go for an entry. `WouldBlock`: it waits for operations that use it.
    pub(super) fn unregister(&self, number: u64, deadline_ns: u64) -> Result<u64, Error> {
        let id = Registered::from_bits(number).ok_or(Error::NotFound)?;
        if mm::sabotaged!("unregister_sleeps_in_its_ring") {
            let slept = self.ipc.unregister(self.domain, id, deadline_ns);
            return slept.map(|()| 0);
        }
        match self.ipc.retire(&self.ring.registrar, id, deadline_ns)? {
            Retired::Gone => Ok(0),
            Retired::InUse => Err(Error::WouldBlock),
        }
    }
}

impl<P: Platform> Ipc<P> {
    /// An operation ends without having done what it was to do: what it has retire is as before, or gone.
    pub(super) fn give_up(
        &self,
        ring: &SubmissionRing<P>,
        operation: Operation,
        entry: &Submission,
        why: Error,
    ) -> Result<u64, Error> {
        match retires(operation, entry) {
            Some(id) if !mm::sabotaged!("retiring_not_given_up") => {
                let given_up = self.give_up_retiring(&ring.registrar, id, why);
                given_up.map(|()| 0)
            }
            _ => Err(why),
        }
    }

    /// Lets a registered handle go, when no operation uses it any more.
    ///
    /// # Errors
    /// `NotFound`: it is not registered, or not any more; `Busy`: an operation uses it and the deadline is
    /// 0, or somebody else is at it; those of [`sleep`](Ipc::sleep). It is registered as before then.
    pub fn unregister(
        &self,
        domain: &Domain<P>,
        id: Registered,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        match self.retire(&domain.registrar, id, deadline_ns)? {
            Retired::Gone => Ok(()),
            Retired::InUse => self.wait_for_users(domain, id, deadline_ns),
        }
    }

    /// Has a slot retire, and frees it if nobody uses it. Errors of [`unregister`](Ipc::unregister).
    pub(super) fn retire(
        &self,
        registrar: &Registrar<P>,
        id: Registered,
        deadline_ns: u64,
    ) -> Result<Retired, Error> {
        let node = {
            let mut state = registrar.state.lock();
            match state.standing(id) {
                Standing::Live => {}
                Standing::Retiring => return Err(Error::Busy),
                _ => return Err(Error::NotFound),
            }
            let users = state.halt(id.slot(), Standing::Retiring);
            if users > 0 && !mm::sabotaged!("unregister_does_not_wait") {
                if deadline_ns == 0 {
                    state.resume(id.slot());
                    return Err(Error::Busy);
                }
                return Ok(Retired::InUse);
            }
            state.free(registrar, id.slot())
        };
        self.note_off(registrar, node);
        Ok(Retired::Gone)
    }

    /// How far it is with a slot that somebody has retire. `WouldBlock`: operations use it; `Revoked`: its
    /// capability has ended, and it goes with the last of them.
    pub(super) fn look_at_retiring(
        &self,
        registrar: &Registrar<P>,
        id: Registered,
    ) -> Result<(), Error> {
        match registrar.state.lock().standing(id) {
            Standing::Retiring => Err(Error::WouldBlock),
            Standing::Dead => Err(Error::Revoked),
            // The last who used it has let it go.
            _ => Ok(()),
        }
    }

    /// Lets operations use a slot again, by who has it retire and must not wait longer, for this reason.
    /// It may be gone by then.
    fn give_up_retiring(
        &self,
        registrar: &Registrar<P>,
        id: Registered,
        why: Error,
    ) -> Result<(), Error> {
        let mut state = registrar.state.lock();
        match state.standing(id) {
            Standing::Retiring => {
                state.resume(id.slot());
                Err(why)
            }
            Standing::Dead => Err(why),
            _ => Ok(()),
        }
    }

    /// Waits until no operation uses a slot that is retiring.
    fn wait_for_users(
        &self,
        domain: &Domain<P>,
        id: Registered,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let registrar = &domain.registrar;
        loop {
            let ticket = {
                let mut state = registrar.state.lock();
                match state.standing(id) {
                    Standing::Retiring => {}
                    Standing::Dead => return Err(Error::Revoked),
                    _ => return Ok(()),
                }
                let node = state.node(id.slot()).cloned().ok_or(Error::NotFound)?;
                // It is for those who use the slot, whatever becomes of the capability: the end of that is told by
                // how the slot stands.
                let task = self.platform().current_task();
                let (holder, right) = (domain.koid(), Rights::empty());
                match mm::sabotaged!("unregister_waits_by_its_capability") {
                    true => state.waiters.enlist(task, &node, holder, right)?,
                    false => state.waiters.enter_as(task, &node, holder, right),
                }
            };
            // It waits at no object, and so is not counted for the system either.
            let slept = self.sleep_by(P::wait_cell(&ticket.task), deadline_ns);
            if let Err(error) = slept {
                registrar.state.lock().waiters.withdraw(&ticket);
                return self.give_up_retiring(registrar, id, error);
            }
        }
    }

    /// An operation of a ring uses a registered handle no more. The last one lets it go if it is to go.
    pub(super) fn leave_registered(&self, ring: &SubmissionRing<P>, slot: u16) {
        let last = ring.known.lock().leave(slot);
        if !last {
            return;
        }
        let registrar = &ring.registrar;
        let (retirer, node) = {
            let mut state = registrar.state.lock();
            if !state.is_over(slot) {
                return;
            }
            (state.take_retirer(slot), state.free(registrar, slot))
        };
        self.note_off(registrar, node);
        self.end_all_waits(Outcome::Ready, &registrar.state, |state| &mut state.waiters);
        self.tell_retirer(retirer);
    }

    fn tell_retirer(&self, retirer: Option<Retirer<P>>) {
        if let Some((ring, key)) = retirer {
            self.pass_on(Told::of(ring, key));
        }
    }

    /// Lets go what was registered by capabilities of an object that have ended: at once, or with the last
    /// operation that uses it.
    #[cold]
    pub(crate) fn end_registrations(&self, object: &Object<P>) {
        let mut before = usize::MAX;
        while let Some(registrar) = object.registrars.before(&mut before) {
            self.end_registrations_at(&registrar, object);
        }
    }

    fn end_registrations_at(&self, registrar: &Arc<Registrar<P>>, object: &Object<P>) {
        registrar.state.lock().list_ended(registrar, object);
        loop {
            let (retirer, node) = {
                let mut state = registrar.state.lock();
                let Some(slot) = state.next_ending(registrar) else {
                    break;
                };
                state.end(registrar, slot)
            };
            self.note_off(registrar, node);
            self.tell_retirer(retirer);
        }
        self.end_all_waits(Outcome::Ready, &registrar.state, |state| &mut state.waiters);
    }

    /// Lets one go that was registered in vain, unless somebody else has.
    pub(super) fn end_registration(&self, registrar: &Registrar<P>, id: Registered) {
        let (retirer, node) = {
            let mut state = registrar.state.lock();
            match state.standing(id) {
                Standing::Live | Standing::Retiring => state.end(registrar, id.slot()),
                _ => return,
            }
        };
        self.note_off(registrar, node);
        self.tell_retirer(retirer);
        self.end_all_waits(Outcome::Ready, &registrar.state, |state| &mut state.waiters);
    }

    /// Lets everything go that a domain has registered, when nothing of it runs any more.
    pub(crate) fn clear_registrar(&self, domain: &Domain<P>) {
        let registrar = &domain.registrar;
        let mut before = usize::MAX;
        for step in 0.. {
            let node = {
                let mut state = registrar.state.lock();
                // What somebody else is about to end is ended here.
                let slot = match state.next_ending(registrar) {
                    None => state.last_before(registrar, &mut before),
                    ending => ending,
                };
                let Some(slot) = slot else {
                    break;
                };
                state.halt(slot, Standing::Dead);
                state.free(registrar, slot)
            };
            self.note_off(registrar, node);
            self.after_step(step);
        }
        let cleared = registrar.state.lock().clear();
        drop(cleared);
    }
}
