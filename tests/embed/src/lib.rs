//! How to put Handover into a kernel of your own, as the smallest machine that works: one CPU, and
//! a `Vec` for its memory.
//!
//! Take the crates `abi`, `mm` and `ipc`. Implement four traits for one type, in the order of this
//! file: [`mm::Frames`] (physical memory), [`mm::Mmu`] (page tables), [`mm::Cpus`] (who runs) and
//! [`ipc::Platform`] (who waits). None of them takes more than what a kernel has anyway, and all of
//! the `unsafe` that a real one needs stays in them. Then, once at boot:
//!
//! ```
//! let ipc = ipc::Ipc::new(embed::Machine::new(256));
//! // For each process, and at its end:
//! let domain = ipc.create_domain(ipc.memory().account(), 0x4000_0000).unwrap();
//! ipc.clear_domain(&domain);
//! ipc.memory().destroy_space(domain.space());
//! assert_eq!(ipc.platform().free_frames(), 256);
//! ```
//!
//! Four places of the kernel call in:
//!
//! 1. the switch to another process: [`mm::Memory::switch_space`], with interrupts off;
//! 2. the page fault of a program: [`mm::Memory::fault`], and the program ends on an error;
//! 3. the shootdown interrupt, and every loop with interrupts off: [`mm::Memory::serve`];
//! 4. the system calls: the methods of [`ipc::Ipc`], one for each call of `docs/abi.md`.
//!
//! What the heap must bear, and what is not guaranteed, is said at the head of `mm`. A kernel that
//! can be preempted keeps a thread on its CPU while it is in any of these calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use abi::FOREVER;
use abi::limits::PAGE_SIZE;
use ipc::{CallCell, Events, Level, Moment, Parked, Platform, WaitCell};
use mm::{
    Budget, CpuId, CpuSet, Cpus, Entry, EntryFlags, Frame, FrameCache, FrameMeta, FramePool,
    FrameState, Frames, Mmu,
};

const PAGE: usize = PAGE_SIZE as usize;

/// A machine of one CPU.
#[derive(Debug)]
pub struct Machine {
    /// A kernel reaches its frames by the direct map instead.
    memory: Mutex<Vec<u8>>,
    pool: FramePool,
    /// What CR3 would hold.
    root: Mutex<Frame>,
    boot: Instant,
}

impl Machine {
    /// A machine with so many free frames, and one more for the tables of the kernel.
    pub fn new(frames: usize) -> Machine {
        // The metadata of all frames is the kernel's to place; it stays for ever.
        let meta: Vec<FrameMeta> = (0..frames + 2).map(|_| FrameMeta::new()).collect();
        // One for each CPU.
        let caches = Vec::leak(vec![FrameCache::new()]);
        let pool = FramePool::new(Vec::leak(meta), caches);
        // Once for each piece of usable memory that the boot loader tells, by NUMA node.
        pool.add_range(1, frames as u64 + 1, 0);
        // The zero frame is the kernel's to set aside.
        let zero = Frame::from_number(frames as u64 + 1);
        pool.meta(zero)
            .transition(FrameState::Reserved, FrameState::Region);
        Machine {
            memory: Mutex::new(vec![0; (frames + 2) * PAGE]),
            pool,
            root: Mutex::new(KERNEL_ROOT),
            boot: Instant::now(),
        }
    }

    /// Frames that nobody holds.
    pub fn free_frames(&self) -> u64 {
        self.pool.free_frames()
    }

    fn memory(&self) -> MutexGuard<'_, Vec<u8>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn root(&self) -> MutexGuard<'_, Frame> {
        self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the hardware does with an address, so that a test can be the program: walks the four
    /// levels. `None` is a page fault.
    pub fn translate(&self, va: u64, write: bool) -> Option<Frame> {
        let mut at = *self.root();
        for shift in [39, 30, 21, 12] {
            let entry = self.load(at, (va >> shift) as usize & 511);
            if !entry.has(EntryFlags::USER) || write && !entry.has(EntryFlags::WRITABLE) {
                return None;
            }
            at = entry.frame()?;
        }
        Some(at)
    }
}

/// The tables that are loaded while no process is.
pub const KERNEL_ROOT: Frame = Frame::from_number(0);

/// Where `len` bytes of a frame lie.
fn bytes_of(frame: Frame, offset: usize, len: usize) -> std::ops::Range<usize> {
    let start = frame.address() as usize + offset;
    start..start + len
}

/// Physical memory. [`FramePool`] counts, promises and hands out; the embedder only has to reach
/// the bytes.
impl Frames for Machine {
    fn allocate(&self, node: Option<usize>, budget: Budget) -> Option<Frame> {
        self.pool.allocate(self, node, budget)
    }

    fn free(&self, frame: Frame, budget: Budget) {
        self.pool.free(self, frame, budget);
    }

    fn allocate_run(&self, order: u32, node: Option<usize>, budget: Budget) -> Option<Frame> {
        self.pool.allocate_run(self, order, node, budget)
    }

    fn free_run(&self, first: Frame, order: u32, budget: Budget) {
        self.pool.free_run(self, first, order, budget);
    }

    fn reserve(&self, count: u64) -> bool {
        self.pool.reserve(count)
    }

    fn unreserve(&self, count: u64) {
        self.pool.unreserve(count);
    }

    fn zero_frame(&self) -> Frame {
        Frame::from_number(self.memory().len() as u64 / 4096 - 1)
    }

    fn meta(&self, frame: Frame) -> &FrameMeta {
        self.pool.meta(frame)
    }

    fn zero(&self, frame: Frame) {
        self.memory()[bytes_of(frame, 0, PAGE)].fill(0);
    }

    fn copy(&self, from: Frame, to: Frame) {
        let target = bytes_of(to, 0, PAGE).start;
        self.memory().copy_within(bytes_of(from, 0, PAGE), target);
    }

    fn read(&self, frame: Frame, offset: usize, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.memory()[bytes_of(frame, offset, bytes.len())]);
    }

    fn write(&self, frame: Frame, offset: usize, bytes: &[u8]) {
        self.memory()[bytes_of(frame, offset, bytes.len())].copy_from_slice(bytes);
    }

    // In a kernel these two are an `AtomicU32`, as a program on another CPU may be at the word.
    fn load_u32(&self, frame: Frame, offset: usize) -> u32 {
        let mut word = [0; 4];
        self.read(frame, offset, &mut word);
        u32::from_le_bytes(word)
    }

    fn store_u32(&self, frame: Frame, offset: usize, value: u32) {
        self.write(frame, offset, &value.to_le_bytes());
    }

    fn store_u64(&self, frame: Frame, offset: usize, value: u64) {
        self.write(frame, offset, &value.to_le_bytes());
    }
}

/// Page tables, and the translations that the CPU has cached. This machine walks its tables at
/// every access and caches none, so the flushes have nothing to do.
impl Mmu for Machine {
    // In a kernel an `AtomicU64`, as the CPU walks the tables at any time.
    fn load(&self, table: Frame, index: usize) -> Entry {
        let mut word = [0; 8];
        self.read(table, index * 8, &mut word);
        Entry::from_bits(u64::from_le_bytes(word))
    }

    fn store(&self, table: Frame, index: usize, entry: Entry) {
        self.write(table, index * 8, &entry.bits().to_le_bytes());
    }

    // `lock cmpxchg` in a kernel.
    fn compare_exchange(&self, table: Frame, index: usize, old: Entry, new: Entry) -> bool {
        let same = self.load(table, index) == old;
        if same {
            self.store(table, index, new);
        }
        same
    }

    // `lock and`.
    fn clear_writable(&self, table: Frame, index: usize) {
        let entry = self.load(table, index);
        self.store(table, index, entry.read_only());
    }

    // `mov cr3`, without PCID.
    fn load_root(&self, root: Frame) {
        *self.root() = root;
    }

    // `invlpg`.
    fn flush_page(&self, _va: u64) {}

    // CR3 once more.
    fn flush_all(&self) {}

    // The kernel's half is in every space: its upper 256 entries are the same everywhere.
    fn init_root(&self, root: Frame) {
        for index in 256..512 {
            self.store(root, index, self.load(KERNEL_ROOT, index));
        }
    }
}

/// CPUs. With one of them there is nobody to interrupt and nobody to wait for.
impl Cpus for Machine {
    fn current(&self) -> CpuId {
        0
    }

    // One inter-processor interrupt to each; its handler calls `serve`.
    fn kick(&self, _cpus: CpuSet) {}

    // `pause`.
    fn relax(&self) {
        std::hint::spin_loop();
    }
}

/// A thread of the host, and what it waits with.
#[derive(Debug)]
pub struct Task {
    thread: Thread,
    cell: WaitCell<Machine>,
    calls: CallCell<Machine>,
    events: Events<Machine>,
}

/// A process, as its handles refer to it.
#[derive(Debug)]
pub struct Process {
    /// The koid of its domain.
    pub domain: u64,
    events: Events<Machine>,
}

impl Process {
    /// The process with this domain.
    pub fn of(domain: u64) -> Arc<Process> {
        let events = Events::new();
        Arc::new(Process { domain, events })
    }
}

thread_local! {
    static CURRENT: Arc<Task> = Arc::new(Task {
        thread: std::thread::current(),
        cell: WaitCell::new(),
        calls: CallCell::new(),
        events: Events::new(),
    });
}

/// The scheduler: a thread of the host is a task, and its token is the wakeup that is never lost.
/// The clock, for whoever looks a handle up.
#[derive(Clone, Copy, Debug)]
pub struct Now(Instant);

impl Moment for Now {
    fn now_ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    fn task(&self) -> u64 {
        CURRENT.with(|task| Arc::as_ptr(task) as u64)
    }
}

impl Platform for Machine {
    type Moment = Now;
    type Task = Arc<Task>;
    type Process = Arc<Process>;

    fn current_task(&self) -> Arc<Task> {
        CURRENT.with(Arc::clone)
    }

    fn park(&self, deadline_ns: u64) -> Parked {
        if deadline_ns == FOREVER {
            std::thread::park();
            return Parked::Unparked;
        }
        std::thread::park_timeout(Duration::from_nanos(
            deadline_ns.saturating_sub(self.now_ns()),
        ));
        if self.now_ns() < deadline_ns {
            Parked::Unparked
        } else {
            Parked::TimedOut
        }
    }

    fn unpark(&self, task: &Arc<Task>) {
        task.thread.unpark();
    }

    /// Where it is kept: no other task has that as long as this one exists.
    fn task_koid(&self, task: &Arc<Task>) -> u64 {
        Arc::as_ptr(task) as u64
    }

    fn now_ns(&self) -> u64 {
        self.moment().now_ns()
    }

    fn moment(&self) -> Now {
        Now(self.boot)
    }

    fn wait_cell(task: &Arc<Task>) -> &WaitCell<Machine> {
        &task.cell
    }

    fn call_cell(task: &Arc<Task>) -> &CallCell<Machine> {
        &task.calls
    }

    fn domain_of(&self, process: &Arc<Process>) -> u64 {
        process.domain
    }

    fn process_events(process: &Arc<Process>) -> &Events<Machine> {
        &process.events
    }

    // In a kernel, whether it has ended, and whether a thread of it has stopped.
    fn process_level(&self, _process: &Arc<Process>) -> Level {
        Level::NONE
    }

    fn task_events(task: &Arc<Task>) -> &Events<Machine> {
        &task.events
    }

    fn task_level(&self, _task: &Arc<Task>) -> Level {
        Level::NONE
    }
}
