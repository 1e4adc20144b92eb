//! Threads that have stopped: at a fault, where a port is told of the faults of their process; or
//! before they have begun, where the process was spawned so.
//!
//! Whoever faults notes that first, tells then, and looks last whether anybody is still told. Who stops
//! being told looks for the note afterwards. So no thread waits for somebody who is not there.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::{Error, Events, FaultInfo, ProcessState, ProcessStatus};
use arch::hooks::UserFault;
use ipc::Level;

use super::Process;
use crate::machine::ipc;
use crate::sched;
use crate::thread::Thread;

/// A fault at which a thread stops.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    info: FaultInfo,
    /// Where the thread is to go on, or 0: there. From when on somebody said so.
    go_on: Option<u64>,
}

impl Stop {
    /// The fault of a thread.
    pub fn new(thread: &Thread, fault: &UserFault<'_>) -> Stop {
        let frame = &*fault.frame;
        Stop {
            info: FaultInfo {
                thread: thread.koid(),
                address: fault.address,
                instruction: frame.rip,
                stack: frame.rsp,
                vector: frame.vector as u32,
                error_code: frame.error_code as u32,
            },
            go_on: None,
        }
    }

    /// How a process has ended that it ended.
    pub fn status(&self) -> ProcessStatus {
        ProcessStatus {
            state: ProcessState::Faulted as u32,
            status: 0,
            vector: self.info.vector,
            error_code: self.info.error_code,
            address: self.info.address,
            instruction: self.info.instruction,
        }
    }
}

impl Process {
    /// Stops the current thread at a fault until somebody has it go on: where, or 0 for the same place.
    /// `None`: nobody is told of faults, or is any more.
    pub fn stop_at(&self, thread: &Arc<Thread>, stop: Stop) -> Option<u64> {
        let is_watched = || self.events().is_watched(Events::FAULTED);
        if !is_watched() {
            return None;
        }
        // Whoever begins or ends to be told looks for the note under this lock: it comes later and finds the note, or
        // came before, and what it did is seen below.
        *thread.stop.lock() = Some(stop);
        ipc().fire(self.events(), Events::FAULTED, thread.koid());
        loop {
            let is_over = !is_watched() || thread.is_ending();
            {
                let mut stop = thread.stop.lock();
                let go_on = stop.and_then(|stop| stop.go_on);
                if go_on.is_some() || is_over {
                    *stop = None;
                    return go_on;
                }
            }
            sched::park(abi::FOREVER);
        }
    }

    /// Which events hold for it.
    pub fn event_level(&self) -> Level {
        if self.status().is_some() {
            return Level::of(Events::ENDED);
        }
        match self.find_stopped(0) {
            Some((thread, _)) => Level {
                events: Events::FAULTED,
                value: thread.koid(),
            },
            None => Level::NONE,
        }
    }

    /// Why a thread has stopped. `NotFound`: it has not.
    pub fn fault(&self, thread: u64) -> Result<FaultInfo, Error> {
        let (_, stop) = self.find_stopped(thread).ok_or(Error::NotFound)?;
        Ok(stop.info)
    }

    /// A thread that has stopped at a fault and was not told to go on: that of a number, or any for 0.
    fn find_stopped(&self, koid: u64) -> Option<(Arc<Thread>, Stop)> {
        let threads = self.threads.lock();
        threads.iter().find_map(|thread| {
            let stop = (*thread.stop.lock())?;
            let is_named = koid == 0 || koid == thread.koid();
            (is_named && stop.go_on.is_none()).then(|| (thread.clone(), stop))
        })
    }

    /// Nobody may be told of its faults any more: its threads that have stopped look.
    pub fn watcher_left(&self) {
        let threads = self.threads.lock();
        for thread in threads.iter() {
            if thread.stop.lock().is_some() {
                sched::unpark(thread);
            }
        }
    }

    /// Keeps its first thread from starting before it is resumed; while nobody knows it.
    pub fn hold(&self) {
        self.threads.lock().hold();
    }

    /// Starts a thread that has stopped, at `instruction` unless that is 0; a `thread` of 0 stands for
    /// the first that has. `NotFound`: no such thread has stopped.
    pub fn resume(&self, thread: u64, instruction: u64) -> Result<(), Error> {
        let is_named = |other: &&Arc<Thread>| other.koid() == thread;
        let named = match thread {
            0 => match self.find_stopped(0) {
                Some((stopped, _)) => Some(stopped),
                None => self.threads.lock().first(),
            },
            _ => self.threads.lock().iter().find(is_named).cloned(),
        };
        let named = named.ok_or(Error::NotFound)?;
        let stopped = {
            let mut stop = named.stop.lock();
            match &mut *stop {
                Some(stop) if stop.go_on.is_none() => {
                    stop.go_on = Some(instruction);
                    true
                }
                _ => false,
            }
        };
        if stopped {
            sched::unpark(&named);
            return Ok(());
        }
        if !self.threads.lock().release(&named) {
            return Err(Error::NotFound);
        }
        if instruction != 0 {
            self.start_entry.store(instruction, Ordering::Relaxed);
        }
        sched::start(&named);
        Ok(())
    }

    /// Nobody has a capability of it any more. Ends it if it would wait for one of them in vain.
    pub fn abandon(&self) {
        let is_held = self.threads.lock().is_held();
        if is_held {
            self.kill();
        }
    }
}
