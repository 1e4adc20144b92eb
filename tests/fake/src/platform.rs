//! What `ipc` asks besides: tasks, which are host threads, and references to processes.
//!
//! Time stands still: a deadline passes at once when nothing else lets a task go on.

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use abi::FOREVER;
use ipc::{Ipc, Parked, Platform};

use crate::machine::lock;
use crate::{Config, FakeMachine};

/// How long a task may sleep for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host thread that can sleep.
#[derive(Clone, Debug, Default)]
pub struct FakeTask(Arc<Sleep>);

#[derive(Debug, Default)]
struct Sleep {
    state: Mutex<SleepState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SleepState {
    unparked: bool,
    ending: bool,
}

impl FakeTask {
    /// The task of this thread.
    pub fn current() -> FakeTask {
        thread_local! {
            static CURRENT: RefCell<FakeTask> = RefCell::default();
        }
        CURRENT.with_borrow(FakeTask::clone)
    }

    /// Tells it to end: it sleeps no more.
    pub fn end(&self) {
        lock(&self.0.state).ending = true;
        self.0.changed.notify_all();
    }

    fn unpark(&self) {
        lock(&self.0.state).unparked = true;
        self.0.changed.notify_all();
    }
}

/// A process, which is nothing but a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FakeProcess {
    /// The koid of the domain.
    pub domain: u64,
}

impl Platform for FakeMachine {
    type Task = FakeTask;
    type Process = FakeProcess;

    fn current_task(&self) -> FakeTask {
        FakeTask::current()
    }

    /// # Panics
    /// When nobody wakes a task that sleeps for ever: a wakeup was lost.
    fn park(&self, deadline_ns: u64) -> Parked {
        self.run_hook(&self.before_park);
        let task = FakeTask::current();
        let mut state = lock(&task.0.state);
        loop {
            if state.ending {
                return Parked::Ending;
            }
            if std::mem::take(&mut state.unparked) {
                return Parked::Unparked;
            }
            if deadline_ns != FOREVER {
                return Parked::TimedOut;
            }
            let waited = task.0.changed.wait_timeout(state, PATIENCE);
            let (woken, result) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            assert!(!result.timed_out(), "nobody wakes a task that sleeps");
            state = woken;
        }
    }

    fn unpark(&self, task: &FakeTask) {
        task.unpark();
    }

    /// Where it is kept: no other task has that as long as this one exists.
    fn task_koid(&self, task: &FakeTask) -> u64 {
        Arc::as_ptr(&task.0) as u64
    }

    fn domain_of(&self, process: &FakeProcess) -> u64 {
        process.domain
    }
}

/// A machine and the IPC on it, with the interrupt of each CPU connected.
pub fn start_ipc(config: Config) -> Arc<Ipc<FakeMachine>> {
    let ipc = Arc::new(Ipc::new(FakeMachine::new(config)));
    let handler = Arc::downgrade(&ipc);
    ipc.platform().set_interrupt_handler(move || {
        if let Some(ipc) = handler.upgrade() {
            ipc.memory().serve();
        }
    });
    ipc
}
