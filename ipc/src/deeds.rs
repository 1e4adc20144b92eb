//! What an embedder does with what is its own: processes and tasks.
//!
//! This crate knows that there are such objects, and who may do what with them. What can be done is the embedder's,
//! who gets at one by its capability only here: to change something while that stays as it is, or to read something,
//! which is told if the capability stands afterwards.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5. A deed is done with the lock of a lineage.

use abi::{Error, Handle, ObjectKind, Rights};

use crate::{Capability, Domain, Ipc, Payload, Platform};

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
