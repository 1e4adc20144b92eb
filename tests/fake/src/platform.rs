//! What `ipc` asks besides: tasks, which are host threads, and references to processes.
//!
//! Time moves only when a test moves it, and a deadline passes at once when nothing else lets a task
//! go on, unless a test holds deadlines.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use abi::{Error, FOREVER};
use ipc::{
    CallCell, Counted, Events, Interrupt, Ipc, Level, Line, Moment, Parked, Platform, Traffic,
    WaitCell,
};

use crate::machine::lock;
use crate::{Config, FakeMachine, ranks};

/// How long a task may sleep for ever.
const PATIENCE: Duration = Duration::from_secs(30);
/// After which it looks whether its test has failed.
const GLANCE: Duration = Duration::from_millis(100);

/// A host thread that can sleep, or whatever a test lets wait without sleeping.
#[derive(Clone, Debug, Default)]
pub struct FakeTask(Arc<Sleep>);

#[derive(Debug, Default)]
struct Sleep {
    state: Mutex<SleepState>,
    changed: Condvar,
    cell: WaitCell<FakeMachine>,
    calls: CallCell<FakeMachine>,
    events: Events<FakeMachine>,
    ended: AtomicBool,
}

#[derive(Debug, Default)]
struct SleepState {
    unparked: bool,
    ending: bool,
    timed_out: bool,
    /// It sleeps, or has slept.
    asleep: bool,
    /// It sleeps at this moment.
    sleeps: bool,
}

thread_local! {
    static CURRENT: RefCell<FakeTask> = RefCell::default();
}

impl FakeTask {
    /// The task of this thread.
    pub fn current() -> FakeTask {
        CURRENT.with_borrow(FakeTask::clone)
    }

    /// Lets this thread be the task until `act` is done. One thread can be many that sleep, each in the
    /// hook of the one before it: those who sleep first are the last to go on.
    pub fn perform<T>(&self, act: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(self.clone());
        let done = act();
        CURRENT.set(before);
        done
    }

    /// Whether both are one.
    pub fn is(&self, other: &FakeTask) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Waits until it sleeps at this moment.
    pub fn until_sleeping(&self) {
        self.until(|state| state.sleeps && !state.unparked && !state.ending && !state.timed_out);
    }

    /// Whether it sleeps at this moment, and nothing has ended that.
    pub fn is_sleeping(&self) -> bool {
        let state = lock(&self.0.state);
        state.sleeps && !state.unparked && !state.ending && !state.timed_out
    }

    /// Waits until it sleeps, or has slept.
    pub fn until_asleep(&self) {
        self.until(|state| state.asleep);
    }

    fn until(&self, so: impl Fn(&SleepState) -> bool) {
        let mut state = lock(&self.0.state);
        while !so(&state) {
            let waited = self.0.changed.wait_timeout(state, PATIENCE);
            let (changed, result) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            assert!(!result.timed_out(), "a task does not sleep");
            state = changed;
        }
    }

    /// Whether somebody has unparked it since it slept or was asked last.
    pub fn take_unparked(&self) -> bool {
        std::mem::take(&mut lock(&self.0.state).unparked)
    }

    /// Lets the deadline pass that it sleeps until, where those are
    /// [held](FakeMachine::hold_deadlines).
    pub fn time_out(&self) {
        lock(&self.0.state).timed_out = true;
        self.0.changed.notify_all();
    }

    /// Tells it to end: it sleeps no more.
    pub fn end(&self) {
        lock(&self.0.state).ending = true;
        self.0.changed.notify_all();
    }

    /// Whether it was told to end.
    fn is_ending(&self) -> bool {
        lock(&self.0.state).ending
    }

    /// Says that it has ended, and tells who waits for that.
    pub fn set_ended(&self, ipc: &Ipc<FakeMachine>) {
        self.0.ended.store(true, Ordering::SeqCst);
        ipc.fire_unlocked(&self.0.events, abi::Events::ENDED, 0);
    }

    fn unpark(&self) {
        lock(&self.0.state).unparked = true;
        self.0.changed.notify_all();
    }
}

/// What was counted for the whole system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemCounts {
    /// Messages, their bytes, and waits. Wakes count with whoever unparks.
    pub traffic: Traffic,
    /// Objects that arrived with who they were handed to, by the mode.
    pub transfers: [u64; 3],
    /// Entries of submission rings that were refused.
    pub refusals: u64,
}

/// A process, which is a domain, whether it has ended, and whether a thread of it has stopped.
#[derive(Clone, Debug)]
pub struct FakeProcess(Arc<ProcessState>);

#[derive(Debug)]
struct ProcessState {
    domain: u64,
    events: Events<FakeMachine>,
    ended: AtomicBool,
    /// The number of the thread, or 0.
    stopped: AtomicU64,
}

impl FakeProcess {
    /// The process with this domain; there is one.
    pub fn of(domain: u64) -> FakeProcess {
        FakeProcess(Arc::new(ProcessState {
            domain,
            events: Events::new(),
            ended: AtomicBool::new(false),
            stopped: AtomicU64::new(0),
        }))
    }

    /// Says that it has ended, and tells who waits for that.
    pub fn set_ended(&self, ipc: &Ipc<FakeMachine>) {
        self.0.ended.store(true, Ordering::SeqCst);
        ipc.fire_unlocked(&self.0.events, abi::Events::ENDED, 0);
    }

    /// Says that a thread of it has stopped at a fault, or with 0 that none has, and tells who waits
    /// for that.
    pub fn set_stopped(&self, ipc: &Ipc<FakeMachine>, thread: u64) {
        self.0.stopped.store(thread, Ordering::SeqCst);
        if thread != 0 {
            ipc.fire_unlocked(&self.0.events, abi::Events::FAULTED, thread);
        }
    }
}

/// The clock of a machine, and which host thread this is.
#[derive(Clone, Debug)]
pub struct FakeMoment(Arc<AtomicU64>);

impl Moment for FakeMoment {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn task(&self) -> u64 {
        Arc::as_ptr(&FakeTask::current().0) as u64
    }
}

impl FakeMachine {
    /// What it was told to count so far.
    pub fn system_counts(&self) -> SystemCounts {
        *lock(&self.counts)
    }
}

impl Platform for FakeMachine {
    type Moment = FakeMoment;
    type Task = FakeTask;
    type Process = FakeProcess;

    fn current_task(&self) -> FakeTask {
        FakeTask::current()
    }

    /// # Panics
    /// When nobody wakes a task that sleeps for ever: a wakeup was lost, or the test has failed meanwhile.
    fn park(&self, deadline_ns: u64) -> Parked {
        self.run_hook(&self.before_park);
        let task = FakeTask::current();
        let mut state = lock(&task.0.state);
        let begun = Instant::now();
        loop {
            if state.ending {
                return Parked::Ending;
            }
            if std::mem::take(&mut state.unparked) {
                return Parked::Unparked;
            }
            let holds = self.holds_deadlines.load(Ordering::Relaxed);
            if deadline_ns != FOREVER && (!holds || std::mem::take(&mut state.timed_out)) {
                return Parked::TimedOut;
            }
            state.asleep = true;
            if !std::mem::replace(&mut state.sleeps, true) {
                task.0.changed.notify_all();
            }
            let waited = task.0.changed.wait_timeout(state, GLANCE);
            let (woken, result) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            if result.timed_out() {
                assert!(!self.has_failed(), "the test has failed");
                let is_long = begun.elapsed() >= PATIENCE;
                assert!(!is_long, "nobody wakes a task that sleeps");
            }
            state = woken;
            state.sleeps = false;
        }
    }

    fn unpark(&self, task: &FakeTask) {
        task.unpark();
    }

    /// # Panics
    /// With a lock held.
    fn pause(&self) -> bool {
        assert!(ranks::holds_nothing(), "who has a lock lets nobody run");
        self.run_hook(&self.while_paused);
        FakeTask::current().is_ending()
    }

    fn count(&self, what: Counted) {
        let mut counts = lock(&self.counts);
        match what {
            Counted::Message { bytes } => {
                counts.traffic.messages += 1;
                counts.traffic.bytes += bytes;
            }
            Counted::Handed => {
                counts.traffic.messages += 1;
                counts.traffic.bytes += 32;
                counts.traffic.waits += 1;
            }
            Counted::Refused(_) => counts.refusals += 1,
            Counted::Completions(count) => counts.traffic.messages += count,
            Counted::Wait => counts.traffic.waits += 1,
            Counted::Transfer(mode) => counts.transfers[mode as usize] += 1,
        }
    }

    /// Where it is kept: no other task has that as long as this one exists.
    fn task_koid(&self, task: &FakeTask) -> u64 {
        Arc::as_ptr(&task.0) as u64
    }

    fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed)
    }

    fn moment(&self) -> FakeMoment {
        FakeMoment(self.now_ns.clone())
    }

    fn set_alarm(&self, cpu: usize, at_ns: u64) {
        self.lines.set_alarm(cpu, at_ns);
    }

    fn reserve_line(&self) -> Result<Line, Error> {
        self.lines.reserve()
    }

    fn connect_line(&self, interrupt: &Arc<Interrupt<FakeMachine>>) {
        self.lines.connect(interrupt);
    }

    fn release_line(&self, line: Line) {
        self.lines.release(line);
    }

    fn wait_cell(task: &FakeTask) -> &WaitCell<FakeMachine> {
        &task.0.cell
    }

    fn call_cell(task: &FakeTask) -> &CallCell<FakeMachine> {
        &task.0.calls
    }

    fn domain_of(&self, process: &FakeProcess) -> u64 {
        process.0.domain
    }

    fn process_events(process: &FakeProcess) -> &Events<FakeMachine> {
        &process.0.events
    }

    fn process_level(&self, process: &FakeProcess) -> Level {
        let stopped = process.0.stopped.load(Ordering::SeqCst);
        let mut events = abi::Events::empty();
        events.set(abi::Events::ENDED, process.0.ended.load(Ordering::SeqCst));
        events.set(abi::Events::FAULTED, stopped != 0);
        Level {
            events,
            value: stopped,
        }
    }

    fn watcher_left(&self, _: &FakeProcess) {
        self.run_hook(&self.after_watcher_left);
    }

    fn task_events(task: &FakeTask) -> &Events<FakeMachine> {
        &task.0.events
    }

    fn task_level(&self, task: &FakeTask) -> Level {
        let mut events = abi::Events::empty();
        events.set(abi::Events::ENDED, task.0.ended.load(Ordering::SeqCst));
        Level::of(events)
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
