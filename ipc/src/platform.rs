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
    type Task: Clone + Send + Sync + 'static;
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

    /// Faults that a process took, for [`ObjectInfo`](abi::ObjectInfo). Who does not count them says 0.
    fn faults_of(&self, _: &Self::Process) -> u64 {
        0
    }

    /// The koid of the domain of a process.
    fn domain_of(&self, process: &Self::Process) -> u64;
}
