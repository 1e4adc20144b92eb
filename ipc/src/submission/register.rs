//! Handles are registered and let go, by their process or with their capabilities.
//!
//! A node knows that it is registered somewhere, and its object knows where: so the end of a capability
//! that is registered nowhere costs nothing more. Whoever registers marks the node under the lineage lock
//! last, and looks whether it is still held; whoever ends one marks it dead under that lock first and
//! looks for registrations afterwards.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::submission::Registered;
use abi::{Error, Handle, Rights};
use mm::lock::{Lock, Rank};

use super::SubmissionRing;
use super::registrar::{Registrar, Standing};
use crate::{Domain, Ipc, Node, Object, Outcome, Platform};

/// The registrars that know an object, and how often each does.
#[derive(Debug)]
pub(crate) struct Registrars<P: Platform>(Lock<Vec<(Arc<Registrar<P>>, u32)>>);

impl<P: Platform> Registrars<P> {
    /// None.
    pub(crate) const fn new() -> Registrars<P> {
        Registrars(Lock::new(Rank::Calls, Vec::new()))
    }

    /// One more slot of a registrar. `NoMemory`.
    fn add(&self, registrar: &Arc<Registrar<P>>) -> Result<(), Error> {
        let mut list = self.0.lock();
        match list
            .iter_mut()
            .find(|(other, _)| Arc::ptr_eq(other, registrar))
        {
            Some((_, count)) => *count += 1,
            None => {
                list.try_reserve(1).map_err(|_| Error::NoMemory)?;
                list.push((registrar.clone(), 1));
            }
        }
        Ok(())
    }

    /// One slot less.
    fn remove(&self, registrar: &Registrar<P>) {
        let mut list = self.0.lock();
        let own = |(other, _): &(Arc<Registrar<P>>, u32)| {
            core::ptr::eq(Arc::as_ptr(other), core::ptr::from_ref(registrar))
        };
        if let Some(at) = list.iter().position(own) {
            list[at].1 -= 1;
            if list[at].1 == 0 {
                list.swap_remove(at);
            }
            if list.is_empty() {
                *list = Vec::new();
            }
        }
    }

    /// The last of those before a place. What leaves meanwhile leaves its place to the last, which was
    /// looked at.
    fn before(&self, before: &mut usize) -> Option<Arc<Registrar<P>>> {
        let list = self.0.lock();
        *before = list.len().min(*before).checked_sub(1)?;
        list.get(*before).map(|(registrar, _)| registrar.clone())
    }
}

impl<P: Platform> Ipc<P> {
    /// Registers a handle of a domain with all its submission rings, those to come included, in the slot
    /// given, or in any that is not reserved. Every ring knows it, or none.
    ///
    /// # Errors
    /// `Range`: the slot is not among the reserved ones; `Exists`: it is taken; `Limit`: no slot is left;
    /// `Denied`: a capability for one use; `Quota`, `NoMemory`; those of a look-up.
    pub fn register(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        slot: Option<u64>,
    ) -> Result<Registered, Error> {
        let node = domain.look_up_lasting(handle, None, Rights::empty())?.node;
        let registrar = &domain.registrar;
        let registrars = &node.object().registrars;
        registrars.add(registrar)?;
        let id = {
            let mut state = registrar.state.lock();
            state
                .take(slot)
                .and_then(|id| match state.broadcast(id, handle) {
                    Ok(()) => {
                        state.settle(id, handle, node.clone());
                        Ok(id)
                    }
                    Err(error) => {
                        state.give_back(id.slot().into());
                        Err(error)
                    }
                })
        };
        let id = id.inspect_err(|_| registrars.remove(registrar))?;
        let held = {
            let _lineage = node.object().lineage.lock();
            node.add_registration();
            node.check_held(domain.koid())
        };
        // Who ended it meanwhile has not looked for this.
        held.inspect_err(|_| self.end_registrations_at(registrar, node.object()))?;
        Ok(id)
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
        let registrar = &domain.registrar;
        let slot = id.slot();
        let free = {
            let mut state = registrar.state.lock();
            match state.standing(id) {
                Standing::Live => {}
                Standing::Retiring => return Err(Error::Busy),
                _ => return Err(Error::NotFound),
            }
            let users = state.halt(slot, Standing::Retiring);
            if users == 0 || mm::sabotaged!("unregister_does_not_wait") {
                Some(state.free(slot))
            } else if deadline_ns == 0 {
                state.resume(slot);
                return Err(Error::Busy);
            } else {
                None
            }
        };
        match free {
            Some(node) => {
                self.note_off(registrar, node);
                Ok(())
            }
            None => self.wait_for_users(domain, id, deadline_ns),
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
                    // The last who used it has let it go.
                    _ => return Ok(()),
                }
                let node = state.node(id.slot()).cloned().ok_or(Error::NotFound)?;
                let task = self.platform().current_task();
                let waiters = &mut state.waiters;
                let enlisted = waiters.enlist(task, &node, domain.koid(), Rights::empty());
                enlisted.inspect_err(|_| state.resume(id.slot()))?
            };
            let slept = self.sleep_in(&ticket, deadline_ns, &registrar.state, |state| {
                &mut state.waiters
            });
            if let Err(error) = slept {
                let mut state = registrar.state.lock();
                return match state.standing(id) {
                    Standing::Retiring => {
                        state.resume(id.slot());
                        Err(error)
                    }
                    Standing::Dead => Err(error),
                    _ => Ok(()),
                };
            }
        }
    }

    /// Sets how many slots for registered handles a domain has, and how many from 0 on are taken only by who
    /// asks for one. `Invalid`: none, more than [`MAX_REGISTERED`](abi::limits::MAX_REGISTERED), or more
    /// reserved ones than there are; `Exists`: handles have been registered; `Quota`, `NoMemory`.
    pub fn set_slots(&self, domain: &Domain<P>, most: u64, reserved: u64) -> Result<(), Error> {
        domain.registrar.state.lock().configure(most, reserved)
    }

    /// An operation of a ring uses a registered handle no more. The last one lets it go if it is to go.
    pub(super) fn leave_registered(&self, ring: &SubmissionRing<P>, slot: u16) {
        let last = ring.known.lock().leave(slot);
        if !last {
            return;
        }
        let registrar = &ring.registrar;
        let node = {
            let mut state = registrar.state.lock();
            let goes = [Standing::Retiring, Standing::Dead].contains(&state.standing_at(slot));
            match goes && state.in_use(slot) == 0 {
                true => state.free(slot),
                false => return,
            }
        };
        self.note_off(registrar, node);
        self.end_all_waits(Outcome::Ready, &registrar.state, |state| &mut state.waiters);
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
        let mut before = usize::MAX;
        loop {
            let node = {
                let mut state = registrar.state.lock();
                let ended = |node: &Node<P>| {
                    core::ptr::eq(Arc::as_ptr(node.object()), object) && registrar.has_lost(node)
                };
                let Some(slot) = state.last_before(before, ended) else {
                    break;
                };
                before = slot.into();
                match state.halt(slot, Standing::Dead) {
                    0 => state.free(slot),
                    _ => None,
                }
            };
            self.note_off(registrar, node);
        }
        self.end_all_waits(Outcome::Ready, &registrar.state, |state| &mut state.waiters);
    }

    /// Lets everything go that a domain has registered, when nothing of it runs any more.
    pub(crate) fn clear_registrar(&self, domain: &Domain<P>) {
        let registrar = &domain.registrar;
        let mut before = usize::MAX;
        loop {
            let node = {
                let mut state = registrar.state.lock();
                let Some(slot) = state.last_before(before, |_| true) else {
                    break;
                };
                before = slot.into();
                state.halt(slot, Standing::Dead);
                state.free(slot)
            };
            self.note_off(registrar, node);
        }
        registrar.state.lock().clear();
    }

    /// A slot is not registered by a node any more.
    fn note_off(&self, registrar: &Registrar<P>, node: Option<Node<P>>) {
        if let Some(node) = node {
            node.remove_registration();
            node.object().registrars.remove(registrar);
        }
    }
}
