//! A machine for loom that has tasks, and memory where it is asked for some. What waits for ever waits for a wakeup, so one
//! that is lost is a deadlock, which loom finds; any other deadline may pass whenever a task looks.

#![allow(dead_code, reason = "each model uses its part")]

mod memory;

use std::cell::Cell;
use std::sync::Arc;

use abi::{Error, Handle, RevokeFlags, Rights};
use ipc::{CallCell, Events, Level, Moment, Parked, Platform, WaitCell};
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread::Thread;
use memory::Memory;
use mm::{AddressSpace, Budget, CpuId, CpuSet, Cpus, Entry, Frame, FrameMeta, Frames, Mmu};

pub type Ipc = ipc::Ipc<Machine>;
pub type Domain = ipc::Domain<Machine>;

pub struct Machine {
    pub memory: Memory,
}

/// A thread of the model.
#[derive(Debug)]
pub struct Task {
    thread: Thread,
    cell: WaitCell<Machine>,
    calls: CallCell<Machine>,
    events: Events<Machine>,
    ended: AtomicBool,
}

impl Task {
    fn new() -> Arc<Task> {
        Arc::new(Task {
            thread: loom::thread::current(),
            cell: WaitCell::new(),
            calls: CallCell::default(),
            events: Events::new(),
            ended: AtomicBool::new(false),
        })
    }

    pub fn unpark(&self) {
        self.thread.unpark();
    }

    /// Says that it has ended, as a kernel does, and tells who waits for that.
    pub fn end(&self, ipc: &Ipc) {
        self.ended.store(true, Ordering::Release);
        ipc.fire_unlocked(&self.events, abi::Events::ENDED, 0);
    }
}

loom::thread_local! {
    static CURRENT: Arc<Task> = Task::new();
}

loom::thread_local! {
    static CPU: Cell<CpuId> = Cell::new(0);
}

/// Makes this thread a CPU of another number than 0, which has to serve shootdowns as long as it has a space.
pub fn become_cpu(cpu: CpuId) {
    CPU.with(|current| current.set(cpu));
}

/// The task of this thread.
pub fn current() -> Arc<Task> {
    CURRENT.with(Arc::clone)
}

/// Explores what threads do, with so many preemptions.
pub fn explore(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(test);
}

/// Starts a thread of a process.
pub fn spawn<T: 'static>(
    realm: &Arc<Realm>,
    work: impl FnOnce(&Realm) -> T + 'static,
) -> loom::thread::JoinHandle<T> {
    let realm = realm.clone();
    loom::thread::spawn(move || work(&realm))
}

/// One process with a notification and a capability below its first one.
pub struct Realm {
    pub ipc: Ipc,
    pub domain: Arc<Domain>,
    pub notification: Handle,
    pub below: Handle,
}

impl Realm {
    pub fn new() -> Arc<Realm> {
        let ipc = Ipc::new(Machine {
            memory: Memory::new(),
        });
        let domain = Arc::new(ipc.model_domain(AddressSpace::model(1, Frame::from_number(1))));
        let notification = ipc.create_notification(&domain).unwrap();
        let below = ipc.derive(&domain, notification, Rights::all()).unwrap();
        Arc::new(Realm {
            ipc,
            domain,
            notification,
            below,
        })
    }

    /// Revokes what is below a capability, of which there is one.
    pub fn revoke(&self, handle: Handle) {
        let flags = RevokeFlags::empty();
        assert_eq!(self.ipc.revoke(&self.domain, handle, flags), Ok(1));
    }

    pub fn signal(&self, bits: u64) {
        self.ipc
            .signal(&self.domain, self.notification, bits)
            .unwrap();
    }

    /// Waits by a capability of the notification.
    pub fn wait(&self, handle: Handle, deadline_ns: u64) -> Result<u64, Error> {
        self.ipc
            .wait_notification(&self.domain, handle, deadline_ns)
    }

    /// The bits that nobody has taken.
    pub fn rest(&self) -> u64 {
        self.wait(self.notification, 0).unwrap_or(0)
    }
}

/// Time does not pass.
#[derive(Clone)]
pub struct Now;

impl Moment for Now {
    fn now_ns(&self) -> u64 {
        0
    }

    fn task(&self) -> u64 {
        Arc::as_ptr(&current()) as u64
    }
}

impl Platform for Machine {
    type Moment = Now;
    type Task = Arc<Task>;
    type Process = u64;

    fn current_task(&self) -> Arc<Task> {
        current()
    }

    fn park(&self, deadline_ns: u64) -> Parked {
        if deadline_ns != abi::FOREVER {
            return Parked::TimedOut;
        }
        loom::thread::park();
        Parked::Unparked
    }

    fn unpark(&self, task: &Arc<Task>) {
        task.thread.unpark();
    }

    fn task_koid(&self, _: &Arc<Task>) -> u64 {
        0
    }

    fn now_ns(&self) -> u64 {
        0
    }

    fn moment(&self) -> Now {
        Now
    }

    fn wait_cell(task: &Arc<Task>) -> &WaitCell<Machine> {
        &task.cell
    }

    fn call_cell(task: &Arc<Task>) -> &CallCell<Machine> {
        &task.calls
    }

    fn domain_of(&self, process: &u64) -> u64 {
        *process
    }

    fn process_events(_: &u64) -> &Events<Machine> {
        unreachable!("the model has no processes")
    }

    fn process_level(&self, _: &u64) -> Level {
        Level::NONE
    }

    fn task_events(task: &Arc<Task>) -> &Events<Machine> {
        &task.events
    }

    fn task_level(&self, task: &Arc<Task>) -> Level {
        match task.ended.load(Ordering::Acquire) {
            true => Level::of(abi::Events::ENDED),
            false => Level::NONE,
        }
    }
}

impl Mmu for Machine {
    /// It serialises, as a load of CR3 does.
    fn load_root(&self, _: Frame) {
        fence(Ordering::SeqCst);
    }

    fn flush_page(&self, _: u64) {
        unreachable!("the model does without")
    }

    fn flush_all(&self) {
        unreachable!("the model does without")
    }

    fn load(&self, table: Frame, index: usize) -> Entry {
        self.memory.entry(table, index)
    }

    fn store(&self, table: Frame, index: usize, entry: Entry) {
        self.memory.set_entry(table, index, entry);
    }

    fn compare_exchange(&self, _: Frame, _: usize, _: Entry, _: Entry) -> bool {
        unreachable!("the model does without")
    }

    fn clear_writable(&self, _: Frame, _: usize) {
        unreachable!("the model does without")
    }

    fn init_root(&self, _: Frame) {
        unreachable!("the model does without")
    }
}

impl Cpus for Machine {
    fn current(&self) -> CpuId {
        CPU.with(Cell::get)
    }

    /// Whoever is asked serves what it finds in its inbox: see [`become_cpu`].
    fn kick(&self, _: CpuSet) {}

    fn relax(&self) {
        loom::thread::yield_now();
    }
}

impl Frames for Machine {
    fn allocate(&self, _: Option<usize>, _: Budget) -> Option<Frame> {
        Some(self.memory.allocate())
    }

    fn free(&self, _: Frame, _: Budget) {}

    fn allocate_run(&self, _: u32, _: Option<usize>, _: Budget) -> Option<Frame> {
        unreachable!("the model does without")
    }

    fn free_run(&self, _: Frame, _: u32, _: Budget) {
        unreachable!("the model does without")
    }

    /// Asked for as memory begins.
    fn zero_frame(&self) -> Frame {
        Frame::from_number(3)
    }

    fn reserve(&self, _: u64) -> bool {
        true
    }

    fn unreserve(&self, _: u64) {}

    fn meta(&self, frame: Frame) -> &FrameMeta {
        self.memory.meta(frame)
    }

    fn zero(&self, _: Frame) {}

    fn copy(&self, _: Frame, _: Frame) {
        unreachable!("the model does without")
    }

    fn read(&self, frame: Frame, offset: usize, bytes: &mut [u8]) {
        self.memory.read(frame, offset, bytes);
    }

    fn write(&self, frame: Frame, offset: usize, bytes: &[u8]) {
        self.memory.write(frame, offset, bytes);
    }

    fn load_u32(&self, frame: Frame, offset: usize) -> u32 {
        self.memory.load(frame, offset)
    }

    fn store_u32(&self, frame: Frame, offset: usize, value: u32) {
        let word = self.memory.word(frame, offset);
        word.store(value, Ordering::Release);
    }

    fn store_u64(&self, frame: Frame, offset: usize, value: u64) {
        let word = self.memory.long_word(frame, offset);
        word.store(value, Ordering::Release);
    }
}
