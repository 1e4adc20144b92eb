//! The threads of a process: how they come and go, and how the last one takes all along.
//!
//! A thread leaves the address space before it leaves the list, so whoever finds the list empty is
//! alone with what the process holds.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Error, Events, Handle, ProcessState, ProcessStatus, Resources, Rights, cost};
use ipc::Payload;

use super::{Process, begin};
use crate::machine::ipc;
use crate::thread::{Beginning, Thread, Wanted};
use crate::{fuse, sched};

/// What a process knows of its threads.
#[derive(Debug, Default)]
pub struct Threads {
    /// Those that have not left.
    list: Vec<Arc<Thread>>,
    /// How the process will have ended, as soon as that is clear. From then on nobody comes.
    verdict: Option<ProcessStatus>,
    /// The first one waits for being resumed.
    held: bool,
    /// System calls and faults of those that have left.
    gone: [u64; 2],
}

impl Threads {
    /// One more. `Interrupted`: the process ends, and with it whoever asked.
    pub fn add(&mut self, thread: Arc<Thread>) -> Result<(), Error> {
        if self.verdict.is_some() {
            return Err(Error::Interrupted);
        }
        self.list.try_reserve(1).map_err(|_| Error::NoMemory)?;
        self.list.push(thread);
        Ok(())
    }

    /// The oldest.
    pub fn first(&self) -> Option<Arc<Thread>> {
        self.list.first().cloned()
    }

    /// Whether none was ever started, and none has to end.
    pub fn is_unborn(&self) -> bool {
        self.verdict.is_none() && self.list.iter().all(|thread| thread.is_new())
    }

    /// Forgets them all: none has ever run.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// The CPU of the oldest.
    pub fn cpu(&self) -> u32 {
        self.list.first().map_or(0, |thread| thread.cpu() as u32)
    }

    /// System calls and faults of all that there ever were.
    pub fn counts(&self) -> [u64; 2] {
        let add = |sum: [u64; 2], [calls, faults]: [u64; 2]| [sum[0] + calls, sum[1] + faults];
        let counts = self.list.iter().map(|thread| thread.counts());
        counts.fold(self.gone, add)
    }

    /// Those that have not left, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Thread>> {
        self.list.iter()
    }

    /// Keeps the first one from starting before it is released.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Whether the first one waits for being released.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Takes that back for a thread; false: it is not held.
    pub fn release(&mut self, thread: &Arc<Thread>) -> bool {
        let is_first = self
            .list
            .first()
            .is_some_and(|first| Arc::ptr_eq(first, thread));
        is_first && core::mem::take(&mut self.held)
    }

    /// Takes one out that leaves. With the last one it tells how the process has ended.
    fn remove(&mut self, thread: &Arc<Thread>) -> Option<ProcessStatus> {
        let [calls, faults] = thread.counts();
        self.gone = [self.gone[0] + calls, self.gone[1] + faults];
        self.list.retain(|other| !Arc::ptr_eq(other, thread));
        self.end_servers();
        let exited = ProcessStatus {
            state: ProcessState::Exited as u32,
            ..ProcessStatus::default()
        };
        self.list
            .is_empty()
            .then(|| *self.verdict.get_or_insert(exited))
    }
}

impl Threads {
    /// Ends those that serve the others, when none of them is left.
    fn end_servers(&mut self) {
        if self.verdict.is_none() && self.list.iter().all(|thread| thread.is_server()) {
            self.verdict = Some(ProcessStatus {
                state: ProcessState::Exited as u32,
                ..ProcessStatus::default()
            });
            self.list.iter().for_each(sched::end);
        }
    }
}

impl Process {
    /// Begins a thread that executes nothing of the program, for which the process pays. It ends with
    /// the last thread that does.
    pub fn spawn_server(
        self: &Arc<Process>,
        mut wanted: Wanted,
        entry: extern "C" fn(usize) -> !,
        beginning: Beginning,
    ) -> Result<(), Error> {
        let account = self.domain().account();
        wanted.charge = Some(account.charge(Resources::bytes(cost::THREAD))?);
        let thread = Thread::new(self.clone(), wanted, entry, Some(beginning))?;
        self.threads.lock().add(thread.clone())?;
        sched::start(&thread);
        Ok(())
    }

    /// Begins another thread, for which the process pays, and returns the handle of it.
    pub fn spawn_thread(
        self: &Arc<Process>,
        mut wanted: Wanted,
        beginning: Beginning,
    ) -> Result<Handle, Error> {
        let domain = self.domain();
        wanted.charge = Some(domain.account().charge(Resources::bytes(cost::THREAD))?);
        let thread = Thread::new(self.clone(), wanted, begin, Some(beginning))?;
        let payload = Payload::Thread(thread.clone());
        // The process has it before anybody can name it.
        let handle = ipc().install_if(domain, payload, Rights::THREAD, || {
            self.threads.lock().add(thread.clone())
        })?;
        sched::start(&thread);
        Ok(handle)
    }

    /// Ends it, wherever its threads are. Nothing happens when it has ended or is about to.
    pub fn kill(&self) {
        self.end(ProcessStatus {
            state: ProcessState::Killed as u32,
            ..ProcessStatus::default()
        });
    }

    /// Ends all its threads; this is how it will have ended, unless that was clear already.
    pub fn end(&self, status: ProcessStatus) {
        let mut threads = self.threads.lock();
        if threads.verdict.is_none() {
            threads.verdict = Some(status);
            threads.list.iter().for_each(sched::end);
        }
    }

    /// Returns everything, and tells everybody, when the last thread has left.
    fn finish(self: &Arc<Process>, status: &ProcessStatus) {
        self.release();
        ipc().memory().destroy_space(self.domain.space());
        self.status.call_once(|| *status);
        fuse::clear(self);
        ipc().fire_unlocked(&self.events, Events::ENDED, 0);
        crate::init::process_ended(self, status);
    }
}

/// Ends the current process: its other threads as soon as they can, this one now.
pub fn end_current(status: ProcessStatus) -> ! {
    sched::with_current(|thread| {
        if let Some(process) = thread.process() {
            process.end(status);
        }
    });
    leave_current()
}

/// Ends the current thread, which never comes back, and with the last one its process.
pub fn leave_current() -> ! {
    {
        let thread = sched::current();
        let process = thread.process().expect("the idle thread does not end");
        // From here on it is in nobody's way, and nothing is in its way.
        sched::end(&thread);
        sched::leave_space();
        ipc().end_task(&thread);
        thread.set_ended();
        let last = process.threads.lock().remove(&thread);
        if let Some(status) = last {
            process.finish(&status);
        }
    }
    sched::leave()
}
