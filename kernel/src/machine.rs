//! This machine as `mm` and `ipc` see it: frames by the direct map, the CPU's TLB, IPIs, threads.

#![allow(unsafe_code)] // The direct map and the page tables are reached from here.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::Error;
use abi::submission::{Operation, Submission};
use abi::trace::{Cause, EventKind};
use arch::apic::{Ipi, send_ipi};
use arch::{clock, cpu, phys, tlb};
use ipc::{
    CallCell, Counted, Events, Interrupt, Ipc, Level, Line, Moment, Parked, Platform, WaitCell,
};
use mm::{
    Budget, CpuId, CpuSet, Cpus, Entry, EntryFlags, Frame, FrameMeta, FramePool, Frames, Mmu,
    Region,
};
use spin::Once;
use static_assertions::const_assert;

use crate::process::Process;
use crate::thread::Thread;
use crate::{devices, heap, interrupts, sched, stats, timers, trace};

// What the contract lets programs map lies within what the platform copies from and to.
const_assert!(abi::limits::USER_START >= arch::layout::USER_START);
const_assert!(abi::limits::USER_END <= arch::layout::USER_END);

static IPC: Once<Ipc<Kernel>> = Once::new();

/// The one instance of the subsystem.
#[inline(always)]
pub fn ipc() -> &'static Ipc<Kernel> {
    debug_assert!(
        IPC.is_completed(),
        "memory comes up before anything uses it"
    );
    // SAFETY: `start` makes it before the first thread, the first interrupt and the second CPU, and
    // uses nothing of it before.
    unsafe { IPC.get_unchecked() }
}

/// The machine that this kernel runs on.
#[derive(Debug)]
pub struct Kernel {
    pool: FramePool,
    zero: Frame,
}

impl Kernel {
    /// The allocator.
    pub fn pool(&self) -> &FramePool {
        &self.pool
    }
}

/// Starts the subsystem over the memory that boot left, and a frame of zeros.
pub fn init(pool: FramePool, zero: Frame) {
    IPC.call_once(|| Ipc::new(Kernel { pool, zero }));
}

impl Frames for Kernel {
    fn check_device(&self, first: Frame, count: u64) -> Result<(), Error> {
        devices::check(first, count)
    }

    #[inline]
    fn allocate(&self, node: Option<usize>, budget: Budget) -> Option<Frame> {
        self.pool.allocate(self, node, budget)
    }

    #[inline]
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

    fn ensure_memory(&self) -> Result<(), Error> {
        if mm::sabotaged!("pieces_not_promised_each") {
            return Ok(());
        }
        heap::ensure().map_err(|_| Error::NoMemory)
    }

    fn zero_frame(&self) -> Frame {
        self.zero
    }

    fn meta(&self, frame: Frame) -> &FrameMeta {
        self.pool.meta(frame)
    }

    fn zero(&self, frame: Frame) {
        // SAFETY: `mm` zeroes only frames that it has taken and not handed out yet.
        unsafe { phys::zero_frame(frame.address()) };
    }

    fn copy(&self, from: Frame, to: Frame) {
        // SAFETY: both frames are usable RAM; `to` was taken and not handed out yet.
        unsafe { phys::copy_frame(to.address(), from.address()) };
    }

    fn read(&self, frame: Frame, offset: usize, bytes: &mut [u8]) {
        // SAFETY: the frame is RAM that a region holds while its lock is held (S4).
        unsafe { phys::read_bytes(frame.address(), offset, bytes) };
    }

    fn write(&self, frame: Frame, offset: usize, bytes: &[u8]) {
        // SAFETY: as for `read`; programs see the frame through volatile means only.
        unsafe { phys::write_bytes(frame.address(), offset, bytes) };
    }

    fn load_u32(&self, frame: Frame, offset: usize) -> u32 {
        word(frame, offset).load(Ordering::Acquire)
    }

    fn store_u32(&self, frame: Frame, offset: usize, value: u32) {
        word(frame, offset).store(value, Ordering::Release);
    }

    fn store_u64(&self, frame: Frame, offset: usize, value: u64) {
        assert!(offset < 4096 && offset.is_multiple_of(8));
        let address = phys::to_virtual(frame.address()).wrapping_add(offset);
        // SAFETY: an aligned word in the direct map. The frame is the table of a hub, in place while the
        // hub is not over, and everybody accesses its words atomically.
        let word = unsafe { AtomicU64::from_ptr(address.cast()) };
        word.store(value, Ordering::Release);
    }
}

/// A word that programs may access at the same time.
fn word(frame: Frame, offset: usize) -> &'static AtomicU32 {
    assert!(offset < 4096 && offset.is_multiple_of(4));
    let address = phys::to_virtual(frame.address()).wrapping_add(offset);
    // SAFETY: an aligned word in the direct map. The frame is a fixed one of a ring, in place while
    // either end is open (S4), and everybody accesses its words atomically.
    unsafe { AtomicU32::from_ptr(address.cast()) }
}

impl Mmu for Kernel {
    fn load(&self, table: Frame, index: usize) -> Entry {
        // SAFETY: `mm` names only frames in state Table.
        Entry::from_bits(unsafe { phys::load_entry(table.address(), index) })
    }

    fn store(&self, table: Frame, index: usize, entry: Entry) {
        // SAFETY: `mm` writes only entries of the user half, and frees nothing behind an entry
        // before every CPU has acknowledged (I2).
        unsafe { phys::store_entry(table.address(), index, entry.bits()) };
    }

    fn compare_exchange(&self, table: Frame, index: usize, old: Entry, new: Entry) -> bool {
        // SAFETY: as for `store`.
        unsafe { phys::exchange_entry(table.address(), index, old.bits(), new.bits()) }
    }

    fn clear_writable(&self, table: Frame, index: usize) {
        // SAFETY: as for `store`; less is allowed than before.
        unsafe { phys::clear_entry_bits(table.address(), index, EntryFlags::WRITABLE.bits()) };
    }

    fn load_root(&self, root: Frame) {
        // SAFETY: the upper half of every root is the kernel's.
        unsafe { tlb::load_root(root.address()) };
    }

    fn flush_page(&self, va: u64) {
        tlb::flush_page(va);
    }

    fn flush_all(&self) {
        tlb::flush_all();
    }

    fn init_root(&self, root: Frame) {
        // SAFETY: the frame is a zeroed table that nothing uses yet.
        unsafe { arch::paging::init_address_space(root.address()) };
    }
}

impl Cpus for Kernel {
    fn current(&self) -> CpuId {
        cpu::current()
    }

    fn kick(&self, cpus: CpuSet) {
        stats::count_shootdown();
        if trace::is_on() {
            trace::record(EventKind::Shootdown, 0, [cpus.0, 0, 0, 0, 0, 0]);
        }
        send_ipi(cpus.0, Ipi::Shootdown);
    }

    fn relax(&self) {
        cpu::pause();
    }
}

/// The clock and the current thread, which any code of the kernel can ask for.
#[derive(Clone, Copy, Debug)]
pub struct Here;

impl Moment for Here {
    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    fn task(&self) -> u64 {
        cpu::kernel_word() as u64
    }
}

impl Platform for Kernel {
    type Moment = Here;
    type Task = Arc<Thread>;
    type Process = Arc<Process>;

    fn current_task(&self) -> Arc<Thread> {
        sched::current()
    }

    #[inline(always)]
    fn with_current_task<R>(&self, f: impl FnOnce(&Arc<Thread>) -> R) -> R {
        sched::with_current_ref(f)
    }

    fn park(&self, deadline_ns: u64) -> Parked {
        sched::park(deadline_ns)
    }

    fn unpark(&self, task: &Arc<Thread>) {
        sched::unpark(task);
    }

    #[inline(always)]
    fn unpark_and_park(&self, task: &Arc<Thread>, deadline_ns: u64) -> Parked {
        sched::unpark_and_park(task, deadline_ns)
    }

    #[inline(always)]
    fn count(&self, what: Counted) {
        stats::count_at_objects(what);
    }

    fn pause(&self) -> bool {
        sched::pause()
    }

    fn give_way(&self) {
        match mm::sabotaged!("polling_thread_keeps_its_cpu") {
            true => self.relax(),
            false => sched::yield_now(),
        }
    }

    fn task_koid(&self, task: &Arc<Thread>) -> u64 {
        task.koid()
    }

    fn watcher_left(&self, process: &Arc<Process>) {
        process.watcher_left();
    }

    fn abandoned(&self, process: &Arc<Process>) {
        process.abandon();
    }

    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    #[inline]
    fn moment(&self) -> Here {
        Here
    }

    #[inline(always)]
    fn wait_cell(task: &Arc<Thread>) -> &WaitCell<Kernel> {
        &task.wait
    }

    #[inline(always)]
    fn call_cell(task: &Arc<Thread>) -> &CallCell<Kernel> {
        &task.calls
    }

    fn faults_of(&self, process: &Arc<Process>) -> u64 {
        process.faults()
    }

    fn set_alarm(&self, cpu: CpuId, at_ns: u64) {
        timers::set_timer(cpu, at_ns);
    }

    fn reserve_line(&self) -> Result<Line, Error> {
        interrupts::reserve()
    }

    fn connect_line(&self, interrupt: &Arc<Interrupt<Kernel>>) {
        interrupts::connect(interrupt);
    }

    fn release_line(&self, line: Line) {
        interrupts::release(line);
    }

    #[inline(always)]
    fn watches_entries(&self) -> bool {
        trace::is_on() && !mm::sabotaged!("entries_not_watched")
    }

    fn entry_begins(&self, entry: &Submission) {
        trace::record(EventKind::Entry, event_number(entry), entry.arguments);
    }

    fn entry_ends(&self, entry: &Submission, outcome: Result<u64, Error>) {
        let told = [abi::encode(outcome), entry.user_data, 0, 0, 0, 0];
        trace::record(EventKind::Completion, event_number(entry), told);
    }

    #[inline(always)]
    fn taken_away(&self, object: u64, count: u64, why: Cause) {
        if trace::is_on() && !mm::sabotaged!("deaths_not_traced") {
            let told = [object, count, why as u64, 0, 0, 0];
            trace::record(EventKind::Revoke, 0, told);
        }
    }

    fn release_kernel_region(&self, region: &Region) {
        trace::forget(region);
    }

    fn domain_of(&self, process: &Arc<Process>) -> u64 {
        process.domain().koid()
    }

    fn process_events(process: &Arc<Process>) -> &Events<Kernel> {
        process.events()
    }

    fn process_level(&self, process: &Arc<Process>) -> Level {
        process.event_level()
    }

    fn task_events(task: &Arc<Thread>) -> &Events<Kernel> {
        &task.events
    }

    fn task_level(&self, task: &Arc<Thread>) -> Level {
        task.event_level()
    }
}

/// The number that events of an entry have.
fn event_number(entry: &Submission) -> u8 {
    let operation = Operation::from_code(entry.operation);
    operation.map_or(u8::MAX, Operation::event_number)
}
