//! The scheduler: a run queue for each CPU, round robin, preemptive in user mode only.
//!
//! A thread lives on the CPU that it was started on. So a thread is only ever switched to by the
//! CPU that switched away from it, and waking one is a push to a queue. A CPU with nothing to do
//! leaves every address space and halts. Lock rank: scheduler, the highest.

#![allow(unsafe_code)] // The switch, and the reference to the thread that runs.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::limits::{MAX_CPUS, MAX_PROCESSES};
use arch::apic::{self, Ipi};
use arch::hooks::Origin;
use arch::{clock, context, cpu};
use fastrand::Rng;
use ipc::Parked;
use ipc::alarms::Key;
use mm::{AddressSpace, Frame};

use crate::irq_lock::IrqLock;
use crate::machine::ipc;
use crate::stats;
use crate::thread::Thread;
use crate::timers;

/// How long a thread runs while others are ready, in ns.
const SLICE_NS: u64 = 2_000_000;

/// What a seeded schedule arms the timer with, in counts of the APIC timer.
const SEEDED_COUNTS: core::ops::Range<u32> = 200..3200;

/// What is ready on a CPU. There is room for every thread that can exist, so that waking never
/// allocates.
struct Queue {
    ready: VecDeque<Arc<Thread>>,
    current: Option<Arc<Thread>>,
    /// What ran before the switch; given up by what runs after it.
    previous: Option<Arc<Thread>>,
    idle: Option<Arc<Thread>>,
    /// The address space that is loaded, if it is not the kernel's own.
    space: Option<Arc<AddressSpace>>,
    /// When the timer goes off; `u64::MAX` while it is not armed.
    armed_ns: u64,
    /// When the slice of the current thread ends.
    slice_end_ns: u64,
    /// Only of a seeded schedule.
    random: Option<Rng>,
}

struct Cpu {
    queue: IrqLock<Queue>,
    /// Threads that live here.
    load: AtomicUsize,
    preempt: AtomicBool,
}

static CPUS: [Cpu; MAX_CPUS] = [const {
    Cpu {
        queue: IrqLock::new(Queue {
            ready: VecDeque::new(),
            current: None,
            previous: None,
            idle: None,
            space: None,
            armed_ns: u64::MAX,
            slice_end_ns: u64::MAX,
            random: None,
        }),
        load: AtomicUsize::new(0),
        preempt: AtomicBool::new(false),
    }
}; MAX_CPUS];

fn this() -> &'static Cpu {
    &CPUS[cpu::current()]
}

/// Makes schedules pseudo-random and repeatable, before anything runs.
pub fn seed(seed: u64) {
    let mut root = Rng::with_seed(seed);
    for cpu in &CPUS {
        cpu.queue.lock().random = Some(root.fork());
    }
}

/// Turns what runs on this CPU into its idle loop. With interrupts off.
pub fn run_idle() -> ! {
    let idle = Thread::idle(cpu::current());
    let cpu = this();
    {
        let mut queue = cpu.queue.lock();
        queue.ready.reserve(MAX_PROCESSES);
        queue.current = Some(idle.clone());
        queue.idle = Some(idle.clone());
    }
    set_current(&idle);
    // SAFETY: it is what runs here, and the queue keeps it in place for ever.
    unsafe { context::set_current(idle.context()) };
    loop {
        cpu::disable_interrupts();
        let nothing = cpu.queue.lock().ready.is_empty();
        if nothing {
            cpu::enable_and_halt();
        } else {
            schedule();
        }
        cpu::enable_interrupts();
    }
}

/// The thread that runs.
pub fn current() -> Arc<Thread> {
    let thread = this().queue.lock().current.clone();
    thread.expect("every CPU runs something from its idle loop on")
}

/// Calls `f` with the thread that runs, without counting a reference.
#[inline(always)]
pub fn with_current<R>(f: impl FnOnce(&Thread) -> R) -> R {
    let thread = cpu::kernel_word().cast::<Thread>();
    // SAFETY: `set_current` put it there. The queue of the thread's CPU holds a reference while it
    // runs, and it runs: this is its own code.
    f(unsafe { &*thread })
}

/// The kernel's word of a CPU is what runs there, alive for as long as it does.
fn set_current(thread: &Arc<Thread>) {
    cpu::set_kernel_word(Arc::as_ptr(thread).cast_mut().cast());
}

/// The CPU of a set on which the fewest threads live; `None` if none of them is online.
pub fn place(cpus: u64) -> Option<usize> {
    let allowed = mm::CpuSet(cpus & cpu::online());
    allowed
        .iter()
        .min_by_key(|&cpu| CPUS[cpu].load.load(Ordering::Relaxed))
}

/// Lets a new thread run.
pub fn start(thread: &Arc<Thread>) {
    CPUS[thread.cpu()].load.fetch_add(1, Ordering::Relaxed);
    enqueue(thread.clone());
}

/// Sleeps until the current thread is unparked, or until a time, or until it has to end.
pub fn park(deadline_ns: u64) -> Parked {
    let thread = current();
    {
        let mut sleep = thread.sleep.lock();
        if thread.is_ending() {
            return Parked::Ending;
        }
        if core::mem::take(&mut sleep.token) {
            return Parked::Unparked;
        }
        if deadline_ns <= clock::now_ns() {
            return Parked::TimedOut;
        }
        sleep.parked = true;
    }
    cpu::without_interrupts(|| {
        let alarm = arm_alarm(&thread, deadline_ns);
        // It may have been woken already; then it is in the queue, and the switch comes back.
        schedule();
        if let Some(place) = alarm.and_then(timers::cancel) {
            thread.sleep.lock().place = Some(place);
        }
    });
    if thread.is_ending() {
        return Parked::Ending;
    }
    thread.sleep.lock().reason
}

/// Has the alarm of a thread go off at a time, if that ever comes.
fn arm_alarm(thread: &Arc<Thread>, deadline_ns: u64) -> Option<Key> {
    if deadline_ns == abi::FOREVER {
        return None;
    }
    let place = thread.sleep.lock().place.take();
    let place = place.expect("a thread sleeps once at a time");
    Some(timers::arm(thread, place, deadline_ns))
}

/// Wakes a thread, or spares it its next sleep.
pub fn unpark(thread: &Arc<Thread>) {
    wake(thread, Parked::Unparked);
}

fn wake(thread: &Arc<Thread>, reason: Parked) {
    {
        let mut sleep = thread.sleep.lock();
        if !sleep.parked {
            sleep.token |= reason == Parked::Unparked;
            return;
        }
        sleep.parked = false;
        sleep.reason = reason;
    }
    enqueue(thread.clone());
}

/// Makes a thread end as soon as it leaves the kernel, or sleeps in it.
pub fn end(thread: &Arc<Thread>) {
    thread.set_ending();
    wake(thread, Parked::Ending);
    // If it is running its program, it has to come in.
    apic::send_ipi(1 << thread.cpu(), Ipi::Reschedule);
}

fn enqueue(thread: Arc<Thread>) {
    let home = thread.cpu();
    let cpu = &CPUS[home];
    let mut queue = cpu.queue.lock();
    queue.ready.push_back(thread);
    if home == cpu::current() {
        arm(&mut queue, clock::now_ns());
    } else {
        // Whatever runs there has no slice yet, or nothing runs: it has to look at its timer.
        let unlimited = queue.slice_end_ns == u64::MAX;
        let idle = match (&queue.current, &queue.idle) {
            (Some(current), Some(idle)) => Arc::ptr_eq(current, idle),
            _ => false,
        };
        drop(queue);
        if idle || unlimited {
            apic::send_ipi(1 << home, Ipi::Reschedule);
        }
    }
}

/// Lets the others that are ready on this CPU run first.
pub fn yield_now() {
    cpu::without_interrupts(|| {
        let here = this();
        let thread = current();
        {
            let mut queue = here.queue.lock();
            if queue.ready.is_empty() {
                // Whoever yields waits for somebody, who may be on another CPU.
                drop(queue);
                cpu::pause();
                return;
            }
            queue.ready.push_back(thread);
        }
        schedule();
    });
}

/// The hook of the timer.
pub fn on_timer(_: Origin) {
    stats::count_interrupt();
    let cpu = this();
    let now = clock::now_ns();
    timers::expire(now, |thread, place| {
        thread.sleep.lock().place = Some(place);
        wake(&thread, Parked::TimedOut);
    });
    let mut queue = cpu.queue.lock();
    queue.armed_ns = u64::MAX;
    let over = now >= queue.slice_end_ns || queue.random.is_some();
    if over && !queue.ready.is_empty() {
        cpu.preempt.store(true, Ordering::Relaxed);
        cpu::request_user_return_work();
        // The thread may be deep in the kernel and go on for long: ring once a slice and no more,
        // or it would do nothing but take interrupts.
        queue.slice_end_ns = now + SLICE_NS;
    }
    // Under single-threaded emulation a pause lets another CPU run.
    if queue.random.as_mut().is_some_and(Rng::bool) {
        cpu::pause();
    }
    arm(&mut queue, now);
}

/// The hook before a return to user mode, when there was work.
pub fn before_user_return() {
    let ending = with_current(Thread::is_ending);
    if ending {
        cpu::enable_interrupts();
        crate::process::end_killed();
    }
    let cpu = this();
    if cpu.preempt.swap(false, Ordering::Relaxed) {
        yield_now();
    } else {
        // Somebody became ready here while the slice had no end.
        arm(&mut cpu.queue.lock(), clock::now_ns());
    }
}

/// Arms the timer for what comes first: the end of a slice or the end of a sleep.
fn arm(queue: &mut Queue, now: u64) {
    let crowded = !queue.ready.is_empty();
    if crowded && let Some(random) = &mut queue.random {
        queue.armed_ns = now;
        apic::arm_timer_counts(random.u32(SEEDED_COUNTS));
        return;
    }
    let slice_end = if crowded {
        if queue.slice_end_ns == u64::MAX {
            queue.slice_end_ns = now + SLICE_NS;
        }
        queue.slice_end_ns
    } else {
        u64::MAX
    };
    let next = slice_end.min(timers::earliest_ns());
    if next < queue.armed_ns {
        queue.armed_ns = next;
        apic::arm_timer(next);
    }
}

/// Runs what is ready next; comes back when the thread that called it is switched to again. The
/// caller has put that thread where somebody finds it. With interrupts off.
fn schedule() {
    let cpu = this();
    let mut queue = cpu.queue.lock();
    let next = queue.ready.pop_front().or_else(|| queue.idle.clone());
    let (Some(next), Some(current)) = (next, queue.current.clone()) else {
        return;
    };
    queue.slice_end_ns = u64::MAX;
    arm(&mut queue, clock::now_ns());
    if Arc::ptr_eq(&next, &current) {
        return;
    }
    let (from, to) = (current.context(), next.context());
    let entered = next
        .process()
        .map(|process| process.domain().space().clone());
    let left = core::mem::replace(&mut queue.space, entered.clone());
    set_current(&next);
    queue.current = Some(next);
    queue.previous = Some(current);
    drop(queue);
    switch_space(left, entered.as_ref());
    drop(entered);
    // SAFETY: interrupts are off; `from` runs here, `to` lives on this CPU and was made or switched
    // away from here. The queue holds both.
    unsafe { context::switch(from, to) };
    finish_switch();
}

fn switch_space(left: Option<Arc<AddressSpace>>, entered: Option<&Arc<AddressSpace>>) {
    let root = Frame::containing(arch::paging::kernel_root());
    let entered = entered.map(|space| &**space);
    ipc().memory().switch_space(left.as_deref(), entered, root);
}

/// Makes this CPU leave the address space of the current thread, which ends.
pub fn leave_space() {
    cpu::without_interrupts(|| {
        let left = this().queue.lock().space.take();
        switch_space(left, None);
    });
}

/// What whoever was switched to does first.
pub fn finish_switch() {
    let previous = this().queue.lock().previous.take();
    drop(previous);
    if with_current(Thread::is_ending) {
        cpu::request_user_return_work();
    }
}

/// Leaves the CPU for good. The thread was taken out of everything, and its space is not loaded.
pub fn leave() -> ! {
    cpu::disable_interrupts();
    this().load.fetch_sub(1, Ordering::Relaxed);
    schedule();
    unreachable!("a thread that left was switched to");
}
