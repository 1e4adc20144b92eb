//! What `ipc` needs of a kernel besides memory.

use alloc::sync::Arc;
use core::fmt::Debug;

use abi::Error;
use abi::submission::Submission;
use abi::trace::Cause;
use mm::{CpuId, Machine, Region};

use crate::{CallCell, Counted, Events, Interrupt, Level, Line, WaitCell};

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

/// What a look-up of a limited capability has to know of the moment, wherever it is made.
pub trait Moment: Clone + Send + Sync + 'static {
    /// The monotonic clock in ns.
    fn now_ns(&self) -> u64;

    /// A number of the current task, which no other task has while it exists.
    fn task(&self) -> u64;
}

/// Tasks, and references to processes.
pub trait Platform: Machine + Sized {
    /// Something that can wait: a reference to it, which keeps it in place.
    type Task: Clone + Debug + Send + Sync + 'static;
    /// The clock, and which task this is.
    type Moment: Moment;
    /// A reference to a process of the embedder, as a capability holds it.
    type Process: Clone + Debug + Send + Sync + 'static;

    /// The task that executes this.
    fn current_task(&self) -> Self::Task;

    /// Calls `f` with that task, for which a platform may need no reference of its own.
    fn with_current_task<R>(&self, f: impl FnOnce(&Self::Task) -> R) -> R {
        f(&self.current_task())
    }

    /// Sleeps until the current task is unparked or an absolute time of the monotonic clock in ns
    /// passes. An unpark that came first is used up and returns at once. Never called with a lock
    /// held.
    fn park(&self, deadline_ns: u64) -> Parked;

    /// Lets a task go on, or not sleep the next time.
    fn unpark(&self, task: &Self::Task);

    /// [`unpark`](Platform::unpark) and then [`park`](Platform::park): where it can, the CPU goes over to
    /// the other task at once.
    fn unpark_and_park(&self, task: &Self::Task, deadline_ns: u64) -> Parked {
        self.unpark(task);
        self.park(deadline_ns)
    }

    /// Lets others run, between two steps of a call that takes long. With no lock held. True: the current
    /// task has to end, and does nothing more for its program.
    fn pause(&self) -> bool {
        false
    }

    /// One turn of a loop that has nothing to do but to look again: lets others run that are as urgent, however
    /// little of its time the current task has used. With no lock held.
    fn give_way(&self) {
        self.relax();
    }

    /// The number of a task, never used twice.
    fn task_koid(&self, task: &Self::Task) -> u64;

    /// Nobody has a capability of a process any more: what waits for one of them waits in vain.
    fn abandoned(&self, _process: &Self::Process) {}

    /// The monotonic clock in ns.
    fn now_ns(&self) -> u64;

    /// The clock, and which task this is, for whoever has nothing else of the platform.
    fn moment(&self) -> Self::Moment;

    /// What a task waits with. It is always the same.
    fn wait_cell(task: &Self::Task) -> &WaitCell<Self>;

    /// What a task keeps for its calls. It is always the same. When the task ends, it is for
    /// [`Ipc::end_task`](crate::Ipc::end_task) to return it.
    fn call_cell(task: &Self::Task) -> &CallCell<Self>;

    /// Counts something for the whole system, which has counted or is about to count at an object as
    /// well. Called with locks held. Who does not keep such counts does nothing.
    #[inline(always)]
    fn count(&self, _: Counted) {}

    /// Whether somebody watches the entries of submission rings. Asked once for many of them; who never does says
    /// so.
    #[inline(always)]
    fn watches_entries(&self) -> bool {
        false
    }

    /// An entry is about to be tried, with handles in the place of registered numbers, or completed without; while
    /// that is watched, with no lock held.
    fn entry_begins(&self, _: &Submission) {}

    /// The entry that began last is completed; while that is watched, with no lock held.
    fn entry_ends(&self, _: &Submission, _: Result<u64, Error>) {}

    /// So many capabilities of an object of this number were taken away, and are dead. With no lock held;
    /// who watches nothing does nothing.
    #[inline(always)]
    fn taken_away(&self, _object: u64, _count: u64, _why: Cause) {}

    /// Faults that a process took, for [`ObjectInfo`](abi::ObjectInfo). Who does not count them says 0.
    fn faults_of(&self, _: &Self::Process) -> u64 {
        0
    }

    /// Has [`Ipc::expire_timers`](crate::Ipc::expire_timers) called on a CPU from a time of the
    /// monotonic clock in ns on, instead of the time before; `u64::MAX` is never. Called on that CPU,
    /// with locks held and with interrupts as they are. Who does not listen calls it now and then.
    fn set_alarm(&self, _cpu: CpuId, _at_ns: u64) {}

    /// A line of this CPU by which nothing comes that was meant for somebody else. `Limit`: there is none,
    /// or the machine has no such lines.
    fn reserve_line(&self) -> Result<Line, Error> {
        Err(Error::Limit)
    }

    /// Has [`Ipc::interrupted`](crate::Ipc::interrupted) called soon after something came by the line
    /// of an interrupt, which was reserved for it. Called when the interrupt is sure to be made, with the lock of a
    /// lineage.
    fn connect_line(&self, _interrupt: &Arc<Interrupt<Self>>) {}

    /// Takes a line back from its interrupt, and keeps it for as long as something may still come by it. By one that
    /// was not connected nothing comes: no device knows of it.
    fn release_line(&self, _line: Line) {}

    /// The memory of a region of kind [`Kernel`](abi::RegionKind::Kernel) is about to be returned: the
    /// embedder writes nothing more into it from now on.
    fn release_kernel_region(&self, _: &Region) {}

    /// The koid of the domain of a process.
    fn domain_of(&self, process: &Self::Process) -> u64;

    /// Who waits for events of a process. It is always the same, whoever refers to the process.
    fn process_events(process: &Self::Process) -> &Events<Self>;

    /// Which events hold for a process: `ENDED`, and `FAULTED` with the number of a thread. Whoever changes
    /// that tells by [`Ipc::fire`](crate::Ipc::fire) afterwards; called with no lock held.
    fn process_level(&self, process: &Self::Process) -> Level;

    /// A port that was told of faults of a process is told no more. Called with no lock held.
    fn watcher_left(&self, _: &Self::Process) {}

    /// Who waits for events of a task.
    fn task_events(task: &Self::Task) -> &Events<Self>;

    /// Which events hold for a task: `ENDED`.
    fn task_level(&self, task: &Self::Task) -> Level;
}
