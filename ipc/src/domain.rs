//! Domains: what a process is to this crate, and the capability calls that need nothing else.

use alloc::sync::Arc;
use core::sync::atomic::AtomicU32;

use abi::{CapInfo, Error, Handle, ObjectKind, Rights};
use mm::lock::{Lock, Rank};
use mm::{Account, AddressSpace};

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
    pub(crate) table: Lock<Table<P>>,
    /// Grants that it made and that are pending.
    pub(crate) pending_grants: AtomicU32,
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

    /// How many handles it has.
    pub fn handle_count(&self) -> usize {
        self.table.lock().len()
    }

    /// Finds what a handle stands for.
    ///
    /// `BadHandle`: nothing in this domain; `WrongKind`; `InTransit`; `Revoked`; `Denied`: it lacks
    /// one of `rights`. The answer is true at this moment only: whatever is made of it checks
    /// again under its own lock.
    pub fn look_up(
        &self,
        handle: Handle,
        kind: Option<ObjectKind>,
        rights: Rights,
    ) -> Result<Capability<P>, Error> {
        let table = self.table.lock();
        let node = table.look_up(self.koid, handle, kind, rights)?;
        Ok(Capability { node: node.clone() })
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
        let space = self.memory.create_space(account, base)?;
        let domain = Arc::new(Domain {
            koid: space.koid(),
            space,
            table: Lock::new(Rank::Capabilities, Table::new()),
            pending_grants: AtomicU32::new(0),
        });
        self.grants.lock().add_receiver(domain.koid);
        Ok(domain)
    }

    /// A domain for a model, over a space of the model.
    #[cfg(loom)]
    pub fn model_domain(&self, space: AddressSpace) -> Domain<P> {
        Domain {
            koid: space.koid(),
            space: Arc::new(space),
            table: Lock::new(Rank::Capabilities, Table::new()),
            pending_grants: AtomicU32::new(0),
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
        loop {
            let Some(node) = domain.table.lock().pop() else {
                break;
            };
            self.forget(domain, &node);
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

    /// Makes an object and gives its first capability to a domain. When it fails, the object is
    /// gone again with all that it holds.
    pub fn install_object(
        &self,
        domain: &Domain<P>,
        payload: Payload<P>,
        rights: Rights,
    ) -> Result<Handle, Error> {
        let node = self.create_object(domain.account(), payload, rights, domain.koid)?;
        let installed = self.install(domain, node.clone());
        if installed.is_err() {
            node.drop_holder();
            self.release(&node);
        }
        installed
    }

    /// Makes a capability below another with at most `rights`, for which the domain pays.
    pub fn derive(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
    ) -> Result<Handle, Error> {
        let mut table = domain.table.lock();
        if !table.has_room() {
            // What is wrong with the handle comes before what is wrong with the table.
            table.look_up(domain.koid, handle, None, Rights::DUPLICATE)?;
            table.prepare(1)?;
        }
        let source = table.find(handle)?;
        let node = {
            let mut lineage = source.object().lineage.lock();
            source.check_allowed(domain.koid, Rights::DUPLICATE)?;
            lineage.derive(source, rights, domain.koid, domain.account())?
        };
        Ok(table.insert(node))
    }

    /// Gives a capability back. Its mappings stay, but for the view of a ring end, which is closed.
    #[inline(always)]
    pub fn drop_capability(&self, domain: &Domain<P>, handle: Handle) -> Result<(), Error> {
        let node =
            domain
                .table
                .lock()
                .remove_if(handle, |node| match node.check_held(domain.koid) {
                    Err(Error::Revoked) => Ok(()),
                    held => held,
                })?;
        self.forget(domain, &node);
        Ok(())
    }

    /// What becomes of a node that its holder gave up.
    #[inline(always)]
    fn forget(&self, domain: &Domain<P>, node: &Node<P>) {
        let object = node.object();
        let is_end = matches!(object.payload(), Payload::RingEnd(..));
        let (emptied, shared) = {
            let mut lineage = object.lineage.lock();
            // Before its tree may let it go.
            let shared = node.is_shared();
            let emptied = match node.check_held(domain.koid) {
                Ok(()) if !is_end => lineage.give_up(node),
                Ok(()) | Err(Error::Revoked) => {
                    node.drop_holder();
                    node.forbid_mappings();
                    false
                }
                // What was moved away belongs to its token or its new holder.
                Err(_) => return,
            };
            (emptied, shared)
        };
        if shared {
            match object.payload() {
                Payload::Region(region) => self.memory.unpin_all(region, &node.permit()),
                _ => self.complete_revoked_waits(object),
            }
        }
        if is_end {
            self.clear_node(node);
            self.release(node);
        } else if emptied {
            self.destroy_object(object);
        }
    }

    /// Kills everything derived from a capability, and returns how many capabilities that were.
    /// No CPU can reach memory through any of them when it returns (I5).
    pub fn revoke(&self, domain: &Domain<P>, handle: Handle) -> Result<u64, Error> {
        let capability = domain.look_up(handle, None, Rights::REVOKE)?;
        let object = capability.object();
        let killed = {
            let mut lineage = object.lineage.lock();
            capability.node.check_held(domain.koid)?;
            lineage.kill_descendants(&capability.node)
        };
        if killed.count > 0
            && let Some(region) = object.region()
        {
            self.memory.detach(region, |permit| !permit.is_live());
        }
        if killed.granted {
            self.drop_dead_grants();
        }
        if killed.count > 0 && !mm::sabotaged!("revoke_skips_waiters") {
            self.complete_revoked_waits(object);
        }
        Ok(killed.count)
    }

    /// Facts about a capability.
    pub fn capability_info(&self, domain: &Domain<P>, handle: Handle) -> Result<CapInfo, Error> {
        let capability = domain.look_up(handle, None, Rights::empty())?;
        let object = capability.object();
        let descendants = {
            let lineage = object.lineage.lock();
            capability.node.check_held(domain.koid)?;
            lineage.count_descendants(&capability.node)
        };
        Ok(CapInfo {
            koid: object.koid(),
            rights: capability.node.rights().bits(),
            kind: object.kind() as u32,
            descendants,
            ..CapInfo::default()
        })
    }

    /// Whether two handles name one object.
    pub fn same_object(&self, domain: &Domain<P>, a: Handle, b: Handle) -> Result<bool, Error> {
        let a = domain.look_up(a, None, Rights::empty())?;
        let b = domain.look_up(b, None, Rights::empty())?;
        Ok(Arc::ptr_eq(a.object(), b.object()))
    }

    /// The domain at the other end of what `via` names: a ring end, or a process. It needs `rights`:
    /// GRANT to offer something, none to take what was offered.
    pub(crate) fn peer_of(
        &self,
        domain: &Domain<P>,
        via: Handle,
        rights: Rights,
    ) -> Result<Peer, Error> {
        let table = domain.table.lock();
        let via = table.look_up(domain.koid, via, None, rights)?;
        match via.object().payload() {
            Payload::RingEnd(ring, end) => Ok(ring.peer_of(*end)),
            Payload::Process(process) => Ok(Peer::Present(self.platform().domain_of(process))),
            Payload::Region(_)
            | Payload::Image(..)
            | Payload::Resource(_)
            | Payload::Notification(_)
            | Payload::Thread(_)
            | Payload::Timer(_)
            | Payload::Interrupt(_)
            | Payload::Port(_) => Err(Error::WrongKind),
        }
    }
}
