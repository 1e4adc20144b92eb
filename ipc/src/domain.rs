//! Domains: what a process is to this crate, and how its handles are looked up.

use alloc::sync::Arc;

use abi::{Error, Handle, ObjectKind, Rights, cost};
use mm::{Account, AddressSpace, RecordCharge};

use crate::limits::Claims;
use crate::lineage::Lineage;
use crate::node::Count;
use crate::places::Left;
use crate::submission::Registrar;
use crate::table::Table;
use crate::{Capability, Ipc, Node, Payload, Platform};

/// The domain at the other end of something.
pub(crate) enum Peer {
    /// It has that end.
    Present(u64),
    /// It had that end, which is closed.
    Gone(u64),
}

/// A protection domain: an address space and a capability table.
pub struct Domain<P: Platform> {
    koid: u64,
    space: Arc<AddressSpace>,
    pub(crate) table: Table<Node<P>>,
    /// Grants that it made and that are pending or begun. Changes under the lock of the grants.
    pub(crate) pending_grants: Count,
    pub(crate) moment: P::Moment,
    pub(crate) claims: Claims,
    pub(crate) registrar: Arc<Registrar<P>>,
}

impl<P: Platform> Domain<P> {
    /// Its number.
    pub fn koid(&self) -> u64 {
        self.koid
    }

    /// Its address space.
    pub fn space(&self) -> &Arc<AddressSpace> {
        &self.space
    }

    /// Who pays for what it makes.
    pub fn account(&self) -> &Arc<Account> {
        self.space.account()
    }

    /// Has it pay for an object with its first capability.
    #[inline(always)]
    pub(crate) fn charge_object(&self) -> Result<RecordCharge, Error> {
        self.account()
            .charge_record(cost::OBJECT + cost::CAPABILITY)
    }

    /// How many handles it has.
    pub fn handle_count(&self) -> usize {
        self.table.lock().len()
    }

    /// Finds what a handle stands for, to use it. A one-shot capability is the current task's from then
    /// on, until its call is [settled](Ipc::settle).
    ///
    /// `BadHandle`: nothing in this domain; `WrongKind`; `InTransit`; `Revoked`; `Denied`: it lacks
    /// one of `rights`; `Busy`: it is for one use, and another call is at it. The answer is true at
    /// this moment only: whatever is made of it checks again, by [`commit`](Capability::commit) or under its own
    /// lock.
    pub fn look_up(
        &self,
        handle: Handle,
        kind: Option<ObjectKind>,
        rights: Rights,
    ) -> Result<Capability<P>, Error> {
        self.with_node(handle, kind, rights, |node| Ok(self.found(node, rights)))
    }

    pub(crate) fn found(&self, node: &Node<P>, rights: Rights) -> Capability<P> {
        Capability {
            node: node.clone(),
            holder: self.koid,
            rights,
        }
    }

    /// The same for something that is to last as long as the capability, and so is made of none for one use:
    /// `Denied`.
    pub(crate) fn look_up_lasting(
        &self,
        handle: Handle,
        kind: Option<ObjectKind>,
        rights: Rights,
    ) -> Result<Capability<P>, Error> {
        self.table.with(handle, |node| {
            self.check_usable(node, kind, rights)?;
            match node.is_one_shot() && !mm::sabotaged!("lasting_by_one_shot") {
                true => Err(Error::Denied),
                false => Ok(self.found(node, rights)),
            }
        })
    }

    /// The same without counting a reference: calls `f` with what a handle stands for, while it stays
    /// in its place and other threads wait for it. `f` takes no lock of a rank up to that of places, looks
    /// nothing else up and does not sleep.
    #[inline(always)]
    pub fn with_node<R>(
        &self,
        handle: Handle,
        kind: Option<ObjectKind>,
        rights: Rights,
        f: impl FnOnce(&Node<P>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut tenant = self.table.tenant(handle)?;
        let node = tenant.named(handle)?;
        self.check_to_use(handle, node, kind, rights)?;
        f(node)
    }

    /// Whether a node, which is held in its place, may be used so at this moment; a one-shot capability is
    /// the current task's from then on.
    #[inline(always)]
    pub(crate) fn check_to_use(
        &self,
        handle: Handle,
        node: &Node<P>,
        kind: Option<ObjectKind>,
        rights: Rights,
    ) -> Result<(), Error> {
        if !node.is_plainly(self.koid, kind, rights) {
            self.check(node, kind, rights)?;
            self.claim(handle, node)?;
        }
        Ok(())
    }

    /// Finds what a handle stands for, to do something with the capability and not with the object:
    /// one for one use stays as it is.
    pub(crate) fn examine(&self, handle: Handle, rights: Rights) -> Result<Capability<P>, Error> {
        self.table.with(handle, |node| {
            self.check_usable(node, None, rights)?;
            Ok(self.found(node, rights))
        })
    }

    /// Calls `f` with the capability that a handle names and the lineage of its object, while it stays in its place
    /// and as it is: a right to reply comes back to the domain under another name, which its holder does not tell.
    pub(crate) fn with_lineage<R>(
        &self,
        handle: Handle,
        f: impl FnOnce(&Node<P>, &mut Lineage<P>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let held = |node: &Node<P>| {
            let mut lineage = node.object().lineage.lock();
            node.check_held(self.koid)?;
            f(node, &mut lineage)
        };
        if mm::sabotaged!("named_when_looked_up") {
            return held(&self.examine(handle, Rights::empty())?.node);
        }
        self.table.with(handle, |node| {
            self.check_usable(node, None, Rights::empty())?;
            held(node)
        })
    }

    /// Whether a node may be used so at this moment.
    #[inline(always)]
    pub(crate) fn check_usable(
        &self,
        node: &Node<P>,
        kind: Option<ObjectKind>,
        rights: Rights,
    ) -> Result<(), Error> {
        match node.is_plainly(self.koid, kind, rights) {
            true => Ok(()),
            false => self.check(node, kind, rights),
        }
    }

    #[cold]
    fn check(&self, node: &Node<P>, kind: Option<ObjectKind>, rights: Rights) -> Result<(), Error> {
        node.check_held(self.koid)?;
        self.check_time(node)?;
        if kind.is_some_and(|kind| kind != node.object().kind()) {
            return Err(Error::WrongKind);
        }
        if !node.rights().contains(rights) && !mm::sabotaged!("right_not_checked") {
            return Err(Error::Denied);
        }
        Ok(())
    }
}

impl<P: Platform> Ipc<P> {
    /// A domain without mappings and handles, whose mappings will cluster from `base` on. `account`
    /// pays for it and for all that it makes. `Quota`, `NoMemory`: there is none then.
    pub fn create_domain(
        &self,
        account: &Arc<Account>,
        base: u64,
    ) -> Result<Arc<Domain<P>>, Error> {
        let table = Table::new(account)?;
        let space = self.memory.create_space(account, base)?;
        let registrar = Registrar::new(space.koid(), account);
        let domain = mm::shared(Domain {
            koid: space.koid(),
            table,
            space,
            pending_grants: Count::new(0),
            moment: self.platform().moment(),
            claims: Claims::new(),
            registrar,
        });
        self.grants.lock().add_receiver(&domain);
        Ok(domain)
    }

    /// A domain for a model, over a space of the model.
    #[cfg(loom)]
    pub fn model_domain(&self, space: AddressSpace) -> Domain<P> {
        let registrar = Registrar::new(space.koid(), space.account());
        Domain {
            koid: space.koid(),
            table: Table::new(space.account()).expect("there is memory"),
            space: mm::shared(space),
            pending_grants: Count::new(0),
            moment: self.platform().moment(),
            claims: Claims::new(),
            registrar,
        }
    }

    /// Returns all that a domain holds: its mappings, its handles, and what was granted to it and
    /// not accepted. Its space is then empty, and to be destroyed when no CPU has it loaded.
    pub fn clear_domain(&self, domain: &Domain<P>) {
        self.memory.unmap_all(&domain.space, |mapping| {
            self.release_mapping(&mapping);
        });
        while let Some(offer) = self.take_grant_for(domain.koid) {
            self.withdraw(offer);
        }
        self.clear_registrar(domain);
        loop {
            // Whatever dies with it does so while the table is not locked.
            let left = domain.table.lock().pop();
            match left {
                Some(Left::Here(node)) => self.forget(domain, &node),
                Some(Left::Elsewhere(node)) => drop(node),
                None => break,
            }
        }
    }

    /// Makes sure that `count` capabilities can be put into a domain that nobody else uses yet.
    pub fn prepare(&self, domain: &Domain<P>, count: usize) -> Result<(), Error> {
        domain.table.lock().prepare(count)
    }

    /// Puts a capability into a domain.
    pub fn install(&self, domain: &Domain<P>, node: Node<P>) -> Result<Handle, Error> {
        let mut table = domain.table.lock();
        table.prepare(1)?;
        node.set_holder(domain.koid);
        Ok(table.insert(node))
    }

    /// Makes an object by nobody's authority and gives its first capability to a domain. When it fails, the object
    /// is gone again with all that it holds.
    pub fn install_object(
        &self,
        domain: &Domain<P>,
        payload: Payload<P>,
        rights: Rights,
    ) -> Result<Handle, Error> {
        self.install_new(domain, payload, rights)
    }

    /// The same of two objects: nobody can name one of them while the other may fail.
    pub(crate) fn install_both(
        &self,
        domain: &Domain<P>,
        objects: [(Payload<P>, Rights); 2],
    ) -> Result<[Handle; 2], Error> {
        let ready = domain.charge_object().and_then(|first| {
            let second = domain.charge_object()?;
            let mut table = domain.table.lock();
            table.prepare(2)?;
            Ok((table, [first, second]))
        });
        match ready {
            Ok((mut table, [first_charge, second_charge])) => {
                // Nothing fails from here on.
                let [(first, first_rights), (second, second_rights)] = objects;
                let first = self.new_object(first, first_rights, domain.koid, first_charge);
                let second = self.new_object(second, second_rights, domain.koid, second_charge);
                Ok([table.insert(first), table.insert(second)])
            }
            Err(error) => {
                for (payload, _) in &objects {
                    self.destroy_payload(payload);
                }
                Err(error)
            }
        }
    }

    /// The same by the authority of a capability, if that still allows it when nothing else can fail.
    pub(crate) fn install_by(
        &self,
        by: &Capability<P>,
        domain: &Domain<P>,
        payload: Payload<P>,
        rights: Rights,
    ) -> Result<Handle, Error> {
        self.install_with(by, domain, payload, rights, || Ok(()))
    }

    /// The same together with a deed, which is done by that authority and comes last: the object is there if it
    /// was done. It takes no lock up to the rank of a lineage.
    pub(crate) fn install_with(
        &self,
        by: &Capability<P>,
        domain: &Domain<P>,
        payload: Payload<P>,
        rights: Rights,
        deed: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Handle, Error> {
        self.install_if(domain, payload, rights, || by.commit(deed))
    }

    /// The same for a payload of which the caller knows what it is.
    #[inline(always)]
    pub(crate) fn install_new(
        &self,
        domain: &Domain<P>,
        payload: Payload<P>,
        rights: Rights,
    ) -> Result<Handle, Error> {
        self.install_if(domain, payload, rights, || Ok(()))
    }

    /// The same together with a deed, which comes last and can fail. Nobody can name the object before it is done. It
    /// takes no lock up to the rank of a capability table.
    #[inline(always)]
    pub fn install_if(
        &self,
        domain: &Domain<P>,
        payload: Payload<P>,
        rights: Rights,
        deed: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Handle, Error> {
        match domain.charge_object() {
            Ok(charge) => {
                let mut table = domain.table.lock();
                match table.prepare(1).and_then(|()| deed()) {
                    // Nothing fails from here on.
                    Ok(()) => {
                        let node = self.new_object(payload, rights, domain.koid, charge);
                        Ok(table.insert(node))
                    }
                    Err(error) => Err((error, payload)),
                }
            }
            Err(error) => Err((error, payload)),
        }
        .map_err(|(error, payload)| self.refuse_object(payload, error))
    }

    /// Returns what an object would have held that could not be made.
    #[cold]
    pub(crate) fn refuse_object(&self, payload: Payload<P>, error: Error) -> Error {
        self.destroy_payload(&payload);
        error
    }
}
