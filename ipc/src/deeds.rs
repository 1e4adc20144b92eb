//! What an embedder does by a capability with what is its own: processes and tasks, what it makes of memory, and what
//! physical addresses are to it.
//!
//! This crate knows that there are such objects, and who may do what with them. What can be done is the embedder's,
//! who gets at one by its capability only here: to change something while that stays as it is; to read something,
//! which is told if the capability stands afterwards; or to make something of what it reads, which is there if the
//! capability stands when nothing else can fail. So no embedder can forget to look again.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5. A deed is done with the lock of a lineage.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Error, Handle, ObjectKind, Rights};
use mm::Region;

use crate::node::{NodeState, PENDING};
use crate::{Capability, Domain, ImageInfo, Ipc, Node, Offer, Payload, Platform, Resource};

impl<P: Platform> Ipc<P> {
    /// Does something with the process that a handle stands for, as [`commit`](Capability::commit) does: a revoke
    /// finds it done, or it is refused.
    ///
    /// # Errors
    /// Those of a look-up with `rights`, and of the deed, which takes no lock up to the rank of a lineage.
    pub fn on_process<R>(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
        deed: impl FnOnce(&P::Process) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let by = domain.look_up(handle, Some(ObjectKind::Process), rights)?;
        let process = process_of(&by)?;
        by.commit(|| deed(process))
    }

    /// Reads something of the process that a handle stands for, as [`tell`](Capability::tell) does.
    ///
    /// # Errors
    /// Those of a look-up with `rights`, and of `read`, which may take any lock.
    pub fn ask_process<R>(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
        read: impl FnOnce(&P::Process) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let by = domain.look_up(handle, Some(ObjectKind::Process), rights)?;
        let facts = read(process_of(&by)?).map_err(|error| by.refuse(error))?;
        by.tell(facts)
    }

    /// Does something with the task that a handle stands for, as [`on_process`](Ipc::on_process) does.
    pub fn on_task<R>(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
        deed: impl FnOnce(&P::Task) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let by = domain.look_up(handle, Some(ObjectKind::Thread), rights)?;
        let task = task_of(&by)?;
        by.commit(|| deed(task))
    }

    /// Reads something of the task that a handle stands for, as [`ask_process`](Ipc::ask_process) does.
    pub fn ask_task<R>(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
        read: impl FnOnce(&P::Task) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let by = domain.look_up(handle, Some(ObjectKind::Thread), rights)?;
        let facts = read(task_of(&by)?).map_err(|error| by.refuse(error))?;
        by.tell(facts)
    }

    /// Does something by the resource that a handle stands for, as [`on_process`](Ipc::on_process) does.
    pub fn on_resource<R>(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
        deed: impl FnOnce(Resource) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (by, resource) = self.resource(domain, handle, rights)?;
        by.commit(|| deed(resource))
    }

    /// Reads something of what a resource is the authority over, as [`ask_process`](Ipc::ask_process) does.
    pub fn ask_resource<R>(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
        read: impl FnOnce(Resource) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (by, resource) = self.resource(domain, handle, rights)?;
        let facts = read(resource).map_err(|error| by.refuse(error))?;
        by.tell(facts)
    }

    /// Makes an object by a resource, with MANAGE, and begins what can't fail with it. What was made and is refused
    /// then is returned with all that it holds.
    ///
    /// # Errors
    /// Those of a look-up and of `make`, which may take any lock; `Quota`, `NoMemory`, `Limit`.
    pub fn make_by_resource<B: FnOnce()>(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
        make: impl FnOnce(Resource) -> Result<(Payload<P>, B), Error>,
    ) -> Result<Handle, Error> {
        let (by, resource) = self.resource(domain, handle, Rights::MANAGE)?;
        let (payload, begin) = make(resource).map_err(|error| by.refuse(error))?;
        self.install_with(&by, domain, payload, rights, || {
            begin();
            Ok(())
        })
    }

    /// Makes an object of what is in part of a region, with READ: `make` is told where that is in it. Otherwise as
    /// [`make_by_resource`](Ipc::make_by_resource).
    ///
    /// # Errors
    /// `Range`: beyond what the capability covers; as there.
    pub fn make_of_region(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        (offset, len): (u64, u64),
        rights: Rights,
        make: impl FnOnce(&Region, u64, u64) -> Result<Payload<P>, Error>,
    ) -> Result<Handle, Error> {
        let (by, region, offset, len) =
            self.part_of_region(domain, handle, Rights::READ, offset, len)?;
        let payload = make(&region, offset, len).map_err(|error| by.refuse(error))?;
        self.install_by(&by, domain, payload, rights)
    }

    /// Makes a process of an image, with EXECUTE, which has not begun, and its domain; gives it what `offer` has begun
    /// and cleared; and has `complete` tell it by which handles. Nobody can name it before all of that is done: a
    /// handle that is guessed is none. When it fails, what was offered is its sender's again, and the process, which
    /// nobody else knew, is discarded. Otherwise as [`make_by_resource`](Ipc::make_by_resource).
    pub fn make_process(
        &self,
        domain: &Domain<P>,
        image: Handle,
        make: impl FnOnce(&Arc<Region>, ImageInfo) -> Result<(P::Process, Arc<Domain<P>>), Error>,
        offer: impl FnOnce(&P::Process) -> Result<Vec<Offer<P>>, Error>,
        complete: impl FnOnce(&P::Process, &[Handle]),
        discard: impl FnOnce(&P::Process),
    ) -> Result<(Handle, P::Process), Error> {
        let by = domain.look_up(image, Some(ObjectKind::Image), Rights::EXECUTE)?;
        let Payload::Image(region, info) = by.object().payload() else {
            return Err(Error::WrongKind);
        };
        let (process, receiver) = make(region, *info).map_err(|error| by.refuse(error))?;
        let (handle, node) = self
            .endow(&by, domain, &process, &receiver, offer, complete)
            .inspect_err(|_| discard(&process))?;
        // From here on it is known, and whatever is done with it is done with all of it.
        let _lineage = node.object().lineage.lock();
        node.deliver(domain.koid());
        Ok((handle, process))
    }

    /// Gives a process that nobody knows its handles, and its maker one for it by which nobody can name it yet. When
    /// it fails, nothing has changed.
    fn endow(
        &self,
        by: &Capability<P>,
        domain: &Domain<P>,
        process: &P::Process,
        receiver: &Domain<P>,
        offer: impl FnOnce(&P::Process) -> Result<Vec<Offer<P>>, Error>,
        complete: impl FnOnce(&P::Process, &[Handle]),
    ) -> Result<(Handle, Node<P>), Error> {
        let offers = offer(process)?;
        let goes_along = offers.iter().any(|offer| offer.moves(&by.node));
        let (made, handles) = self.deliver_all(offers, receiver, || {
            self.install_unnamed(by, domain, process, goes_along)
        })?;
        complete(process, &handles);
        Ok(made)
    }

    /// A handle for a process by which nobody can name it before it is delivered. `goes_along`: the image is the
    /// process's from then on, and was not revoked on the way.
    fn install_unnamed(
        &self,
        by: &Capability<P>,
        domain: &Domain<P>,
        process: &P::Process,
        goes_along: bool,
    ) -> Result<(Handle, Node<P>), Error> {
        let charge = domain.charge_object()?;
        let mut table = domain.table.lock();
        table.prepare(1)?;
        match goes_along {
            true if by.node.state() == NodeState::Dead => return Err(Error::Revoked),
            true => {}
            false => by.commit(|| Ok(()))?,
        }
        let payload = Payload::Process(process.clone());
        let holder = match mm::sabotaged!("process_named_while_it_is_made") {
            true => domain.koid(),
            false => PENDING,
        };
        let node = self.new_object(payload, Rights::PROCESS, holder, charge);
        Ok((table.insert(node.clone()), node))
    }
}

fn process_of<P: Platform>(by: &Capability<P>) -> Result<&P::Process, Error> {
    match by.object().payload() {
        Payload::Process(process) => Ok(process),
        _ => Err(Error::WrongKind),
    }
}

fn task_of<P: Platform>(by: &Capability<P>) -> Result<&P::Task, Error> {
    match by.object().payload() {
        Payload::Thread(task) => Ok(task),
        _ => Err(Error::WrongKind),
    }
}
