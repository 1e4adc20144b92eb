//! Handles are registered, by a call or by an entry of a ring.
//!
//! A node knows that it is registered somewhere, and its object knows where: so the end of a capability
//! that is registered nowhere costs nothing more. Whoever registers marks the node under the lineage lock
//! last, and looks whether it is still held; whoever ends one marks it dead under that lock first and
//! looks for registrations afterwards.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::submission::Registered;
use abi::{Error, Handle, ObjectKind, Rights};
use mm::lock::{Lock, Rank};

use super::registrar::Registrar;
use super::slots::NONE;
use crate::{Domain, Ipc, Node, Platform};

/// A registrar that knows an object.
#[derive(Debug)]
struct Known<P: Platform> {
    registrar: Arc<Registrar<P>>,
    /// How many slots are to be noted off.
    count: u32,
    /// The first of its slots that are registered by a capability of the object.
    first: u32,
}

/// The registrars that know an object.
#[derive(Debug)]
pub(crate) struct Registrars<P: Platform>(Lock<Vec<Known<P>>>);

impl<P: Platform> Registrars<P> {
    /// None.
    pub(crate) const fn new() -> Registrars<P> {
        Registrars(Lock::new(Rank::Calls, Vec::new()))
    }

    /// One more slot of a registrar. `NoMemory`.
    fn add(&self, registrar: &Arc<Registrar<P>>) -> Result<(), Error> {
        let mut list = self.0.lock();
        match place(&list, registrar) {
            Some(at) => list[at].count += 1,
            None => {
                list.try_reserve(1).map_err(|_| Error::NoMemory)?;
                list.push(Known {
                    registrar: registrar.clone(),
                    count: 1,
                    first: NONE,
                });
            }
        }
        Ok(())
    }

    /// One slot less.
    fn remove(&self, registrar: &Registrar<P>) {
        let mut list = self.0.lock();
        if let Some(at) = place(&list, registrar) {
            list[at].count -= 1;
            if list[at].count == 0 {
                list.swap_remove(at);
            }
            if list.is_empty() {
                *list = Vec::new();
            }
        }
    }

    /// The first slot of a registrar, and how many there are at most. The registrar is locked.
    pub(super) fn slots(&self, registrar: &Registrar<P>) -> (u32, u32) {
        let list = self.0.lock();
        let known = place(&list, registrar).map(|at| &list[at]);
        known.map_or((NONE, 0), |known| (known.first, known.count))
    }

    /// Has another slot of a registrar, which is locked, be the first.
    pub(super) fn set_first(&self, registrar: &Registrar<P>, first: u32) {
        let mut list = self.0.lock();
        if let Some(at) = place(&list, registrar) {
            list[at].first = first;
        }
    }

    /// The last of those before a place. What leaves meanwhile leaves its place to the last, which was
    /// looked at.
    pub(super) fn before(&self, before: &mut usize) -> Option<Arc<Registrar<P>>> {
        let list = self.0.lock();
        *before = list.len().min(*before).checked_sub(1)?;
        list.get(*before).map(|known| known.registrar.clone())
    }
}

/// Where a registrar is in a list.
fn place<P: Platform>(list: &[Known<P>], registrar: &Registrar<P>) -> Option<usize> {
    list.iter()
        .position(|known| core::ptr::eq(Arc::as_ptr(&known.registrar), registrar))
}

impl<P: Platform> Ipc<P> {
    /// Registers a handle of a domain with all its submission rings, those to come included, in the slot
    /// given, or in any that is not reserved. Every ring knows it, or none.
    ///
    /// # Errors
    /// `Range`: the slot is not among the reserved ones; `Exists`: it is taken; `Limit`: no slot is left;
    /// `Denied`: a capability for one use, as a right to reply is; `Quota`, `NoMemory`; those of a look-up.
    pub fn register(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        slot: Option<u64>,
    ) -> Result<Registered, Error> {
        let node = domain.look_up_lasting(handle, None, Rights::empty())?.node;
        // It is for one call, and goes back with the answer: what is registered is there until it is let go.
        let is_reply = node.object().kind() == ObjectKind::Reply;
        if is_reply && !mm::sabotaged!("reply_registered") {
            return Err(Error::Denied);
        }
        let registrar = &domain.registrar;
        let registrars = &node.object().registrars;
        registrars.add(registrar)?;
        let id = {
            let mut state = registrar.state.lock();
            state
                .take(slot)
                .and_then(|id| match state.broadcast(self.platform(), id, handle) {
                    Ok(()) => {
                        state.settle(registrar, id, handle, node.clone());
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
        // Who ended it meanwhile, or has begun to move it, has not looked for this.
        held.inspect_err(|error| {
            if *error != Error::InTransit || !mm::sabotaged!("failed_registration_stays") {
                self.end_registration(registrar, id);
            }
        })?;
        Ok(id)
    }

    /// Sets how many slots for registered handles a domain has, and how many from 0 on are taken only by who
    /// asks for one. `Invalid`: none, more than [`MAX_REGISTERED`](abi::limits::MAX_REGISTERED), or more
    /// reserved ones than there are; `Exists`: handles have been registered; `Quota`, `NoMemory`.
    pub fn set_slots(&self, domain: &Domain<P>, most: u64, reserved: u64) -> Result<(), Error> {
        domain.registrar.configure(self.platform(), most, reserved)
    }

    /// A slot is not registered by a node any more.
    pub(super) fn note_off(&self, registrar: &Registrar<P>, node: Option<Node<P>>) {
        if let Some(node) = node {
            node.remove_registration();
            node.object().registrars.remove(registrar);
        }
    }
}
