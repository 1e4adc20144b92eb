//! What `ipc` needs of a kernel besides memory.

use core::fmt::Debug;

use mm::Machine;

/// Why a parked task goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// Somebody unparked it, before or after it parked.
    Unparked,
    /// The deadline passed.
    TimedOut,
    /// It has to end; every further park returns at once.
    Ending,
}

/// Tasks, and references to processes.
pub trait Platform: Machine + Sized {
    /// Something that can wait.
    type Task: Clone + Debug + Send + Sync + 'static;
    /// A reference to a process of the embedder, as a capability holds it.
    type Process: Clone + Debug + Send + Sync + 'static;

    /// The task that executes this.
    fn current_task(&self) -> Self::Task;

    /// Sleeps until the current task is unparked or an absolute time of the monotonic clock in ns
    /// passes. An unpark that came first is used up and returns at once. Never called with a lock
    /// held.
    fn park(&self, deadline_ns: u64) -> Parked;

    /// Lets a task go on, or not sleep the next time.
    fn unpark(&self, task: &Self::Task);

    /// Both: lets a task go on, and sleeps. On one CPU the task may go on at once.
    fn unpark_and_park(&self, task: &Self::Task, deadline_ns: u64) -> Parked {
        self.unpark(task);
        self.park(deadline_ns)
    }

    /// The number of a task, never used twice.
    fn task_koid(&self, task: &Self::Task) -> u64;

    /// Nobody has a capability of a process any more: what waits for one of them waits in vain.
    fn abandoned(&self, _process: &Self::Process) {}

    /// The koid of the domain of a process.
    fn domain_of(&self, process: &Self::Process) -> u64;
}
