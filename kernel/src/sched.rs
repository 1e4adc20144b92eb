//! The scheduler: 31 levels of urgency, a fair share inside a level, preemptive in user mode only.
//!
//! A thread lives on the CPU that it was started on. So a thread is only ever switched to by the
//! CPU that switched away from it, and waking one is a change of its state and a push to a list.
//! A CPU with nothing to do leaves every address space and halts. A thread that has to end competes
//! at the highest level: no priority keeps it from returning what it holds.
//!
//! From its start until the switch away from it for good a thread is kept by a reference in
//! [`table`]; lists and queues name it by its slot there. Lock rank: scheduler, the highest.

mod alarm;
mod levels;
mod sleep;
mod slice;
mod switch;
mod table;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use abi::limits::{MAX_CPUS, MAX_PRIORITY, MAX_THREADS};
use abi::trace::Woken;
use arch::apic::{self, Ipi};
use arch::{clock, cpu};
use fastrand::Rng;

use crate::deferred;
use crate::irq_lock::{IrqGuard, IrqLock};
use crate::thread::{Thread, state};
use crate::{stats, trace};
pub use alarm::Alarm;
use levels::{LEVELS, Levels};
pub use sleep::{Alike, can_go_over_until, go_over, park, unpark_and_park, use_up_time_out};
pub use slice::{on_timer, rearm};
pub use switch::{Resume, leave_space, on_extended_state, set_tls};
pub use table::{current, with_current, with_current_ref};

/// Where threads compete that have to end: above all that a program can ask for.
const TOP: u8 = LEVELS as u8 - 1;
const _: () = assert!(TOP as u32 > MAX_PRIORITY);

/// What is ready on a CPU. There is room for every thread that can exist, so that waking never
/// allocates.
struct Queue {
    ready: Levels,
    /// When the timer goes off; `u64::MAX` while it is not armed.
    armed_ns: u64,
    /// It goes off for the end of a slice, so within one slice.
    ticking: bool,
    /// When the slice of the thread that runs ends; `u64::MAX` while nobody waits for that.
    slice_end_ns: u64,
    /// Only of a seeded schedule.
    random: Option<Rng>,
}

#[repr(align(64))]
struct Cpu {
    queue: IrqLock<Queue>,
    /// What the thread that runs competes at. Falls only under the lock of the queue.
    level: AtomicU8,
    /// The slice of the thread that runs is over.
    preempt: AtomicBool,
    /// Threads that live here.
    load: AtomicUsize,
}

static CPUS: [Cpu; MAX_CPUS] = [const {
    Cpu {
        queue: IrqLock::new(Queue {
            ready: Levels::new(),
            armed_ns: u64::MAX,
            ticking: false,
            slice_end_ns: u64::MAX,
            random: None,
        }),
        level: AtomicU8::new(0),
        preempt: AtomicBool::new(false),
        load: AtomicUsize::new(0),
    }
}; MAX_CPUS];

/// What a direct switch can't leave out is asked for: [`SEEDED`], [`TRACED`].
static ASKED: AtomicU8 = AtomicU8::new(0);

/// Schedules are pseudo-random: all orders are tried.
const SEEDED: u8 = 1 << 0;
/// Switches are recorded.
const TRACED: u8 = 1 << 1;

#[inline(always)]
fn this() -> &'static Cpu {
    &CPUS[cpu::current()]
}

/// Makes schedules pseudo-random and repeatable, before anything runs.
pub fn seed(seed: u64) {
    let mut root = Rng::with_seed(seed);
    for cpu in &CPUS {
        cpu.queue.lock().random = Some(root.fork());
    }
    ASKED.fetch_or(SEEDED, Ordering::Relaxed);
}

/// Whether they are.
pub fn is_seeded() -> bool {
    ASKED.load(Ordering::Relaxed) & SEEDED != 0
}

/// What chance decides where schedules are seeded; false where they are not.
pub fn decides_by_chance() -> bool {
    is_seeded() && this().queue.lock().random.as_mut().is_some_and(Rng::bool)
}

/// Says whether a trace is being taken.
pub fn set_traced(traced: bool) {
    match traced {
        true => ASKED.fetch_or(TRACED, Ordering::Relaxed),
        false => ASKED.fetch_and(!TRACED, Ordering::Relaxed),
    };
}

/// Makes what every CPU needs for its threads, before the first one starts.
pub fn prepare() {
    for (index, cpu) in CPUS[..cpu::count()].iter().enumerate() {
        cpu.queue.lock().ready.make_room(MAX_THREADS);
        table::set_idle(index, Thread::idle(index));
    }
}

/// Turns what runs on this CPU into its idle loop. With interrupts off.
pub fn run_idle() -> ! {
    let cpu = this();
    table::adopt_idle();
    loop {
        cpu::disable_interrupts();
        table::drop_departed();
        let nothing = cpu.queue.lock().ready.top().is_none();
        if deferred::is_due() {
            cpu::enable_interrupts();
            deferred::run();
        } else if nothing {
            cpu::enable_and_halt();
        } else {
            with_current(switch::run_next);
        }
        cpu::enable_interrupts();
    }
}

/// The CPU of a set on which the fewest threads live; `None` if none of them is online.
pub fn place(cpus: u64) -> Option<usize> {
    let allowed = mm::CpuSet(cpus & cpu::online());
    allowed
        .iter()
        .min_by_key(|&cpu| CPUS[cpu].load.load(Ordering::Relaxed))
}

/// Lets a thread run, if it was never started.
pub fn start(thread: &Arc<Thread>) {
    let before = thread.state.fetch_and(!state::NEW, Ordering::AcqRel);
    if before & state::NEW != 0 {
        tell(thread, Woken::Started);
        CPUS[thread.cpu()].load.fetch_add(1, Ordering::Relaxed);
        table::keep(thread);
        enqueue(thread);
    }
}

/// Wakes a thread, or spares it its next sleep.
#[inline]
pub fn unpark(thread: &Thread) {
    let mut now = thread.state.load(Ordering::Relaxed);
    loop {
        let next = match now & state::PARKED {
            0 => now | state::TOKEN,
            _ => now & !state::PARKED,
        };
        match exchange(&thread.state, now, next) {
            Ok(()) => break,
            Err(changed) => now = changed,
        }
    }
    if now & state::PARKED != 0 {
        tell(thread, Woken::Unparked);
        enqueue(thread);
    }
}

/// Counts that a thread is about to be made ready, and tells the trace, if one is taken.
#[inline(always)]
fn tell(thread: &Thread, why: Woken) {
    match why {
        Woken::TimedOut => stats::count_timeout(),
        Woken::Unparked | Woken::Ending => stats::count_wake(),
        Woken::Started => {}
    }
    if trace::is_on() {
        trace::woke(thread, why);
    }
}

/// Takes the state PARKED from a thread, and gives it others; false: it has none. Whoever got it has
/// to make the thread run.
#[inline(always)]
fn take_parked(thread: &Thread, others: u32) -> bool {
    let mut now = thread.state.load(Ordering::Relaxed);
    while now & state::PARKED != 0 {
        match exchange(&thread.state, now, now & !state::PARKED | others) {
            Ok(()) => return true,
            Err(changed) => now = changed,
        }
    }
    false
}

#[inline(always)]
fn exchange(word: &AtomicU32, from: u32, to: u32) -> Result<(), u32> {
    word.compare_exchange_weak(from, to, Ordering::AcqRel, Ordering::Relaxed)
        .map(drop)
}

/// Makes a thread end as soon as it leaves the kernel, or sleeps in it. Until it has ended, nothing
/// is more urgent.
pub fn end(thread: &Arc<Thread>) {
    thread.state.fetch_or(state::ENDING, Ordering::AcqRel);
    if !mm::sabotaged!("reaper_not_boosted") {
        let above_all = !mm::sabotaged!("reaper_beside_the_most_urgent");
        change_level(thread, if above_all { TOP } else { MAX_PRIORITY as u8 });
    }
    start(thread);
    if !mm::sabotaged!("sleeper_not_killed") && take_parked(thread, 0) {
        tell(thread, Woken::Ending);
        enqueue(thread);
    }
    look_again(thread.cpu());
}

/// Sets how urgent a thread is asked to be and, unless it has to end, what it competes at: at once, so that of two
/// who do so one comes first in both.
pub fn set_priority(thread: &Thread, priority: u8) {
    let mut queue = queue_of(thread);
    debug_assert!(
        thread.is_ending() || thread.level() == thread.priority(),
        "a thread competes at what it is asked to be"
    );
    if mm::sabotaged!("priority_in_two_steps") {
        drop(queue);
        thread.set_priority(priority);
        // Another CPU of an emulated machine has its turn.
        core::hint::spin_loop();
        queue = queue_of(thread);
    } else {
        thread.set_priority(priority);
    }
    // Whoever ends it says so first, and takes this lock afterwards.
    if !thread.is_ending() {
        requeue(thread, &mut queue, priority);
    }
    drop(queue);
    look_again(thread.cpu());
}

/// The queue of the CPU that a thread lives on.
fn queue_of(thread: &Thread) -> IrqGuard<'static, Queue> {
    CPUS[thread.cpu()].queue.lock()
}

/// Has a thread compete at a level.
fn change_level(thread: &Thread, level: u8) {
    requeue(thread, &mut queue_of(thread), level);
}

fn requeue(thread: &Thread, queue: &mut Queue, level: u8) {
    thread.set_level(level);
    if let Some(slot) = thread.slot()
        && queue.ready.remove(slot)
    {
        queue.ready.push_back(slot, level);
    }
}

/// Has a CPU compare what runs there with what is ready, and see whether it has to end.
fn look_again(home: usize) {
    if home == cpu::current() {
        cpu::request_user_return_work();
    } else {
        apic::send_ipi(1 << home, Ipi::Reschedule);
    }
}

/// Puts a thread behind the others of its level.
fn enqueue(thread: &Thread) {
    let Some(slot) = thread.slot() else { return };
    let home = thread.cpu();
    let cpu = &CPUS[home];
    let mut queue = cpu.queue.lock();
    let level = thread.level();
    queue.ready.push_back(slot, level);
    // A direct switch meanwhile can only have raised it.
    let running = cpu.level.load(Ordering::Relaxed);
    let unlimited = level == running && queue.slice_end_ns == u64::MAX;
    if level <= running && !unlimited {
        return;
    }
    if home == cpu::current() && unlimited {
        slice::limit(cpu, &mut queue);
    } else {
        drop(queue);
        look_again(home);
    }
}

/// Lets the others that are ready on this CPU, and at least as urgent, run first.
pub fn yield_now() {
    cpu::without_interrupts(|| {
        with_current(|thread| {
            if give_way(thread, |top, level| top >= level) {
                switch::run_next(thread);
            } else {
                // Whoever yields waits for somebody, who may be on another CPU.
                cpu::pause();
            }
        });
    });
}

/// Puts the current thread into its list if it is to give way to the most urgent ready one.
fn give_way(thread: &Thread, wanted: impl FnOnce(u8, u8) -> bool) -> bool {
    let cpu = this();
    let mut queue = cpu.queue.lock();
    let level = thread.level();
    cpu.level.store(level, Ordering::Relaxed);
    let (Some(slot), Some(top)) = (thread.slot(), queue.ready.top()) else {
        return false;
    };
    if !wanted(top, level) {
        if top == level {
            slice::arm(cpu, &mut queue, clock::now_ns());
        }
        return false;
    }
    if top > level && slice::keep_rest(thread, &queue) {
        queue.ready.push_front(slot, level);
    } else {
        queue.ready.push_back(slot, level);
    }
    true
}

/// The hook before a return to user mode, when there was work.
pub fn before_user_return() {
    if deferred::is_due() {
        cpu::enable_interrupts();
        deferred::run();
        cpu::disable_interrupts();
    }
    table::drop_departed();
    if with_current(Thread::is_ending) {
        cpu::enable_interrupts();
        crate::process::leave_current();
    }
    let over = this().preempt.swap(false, Ordering::Relaxed);
    with_current(|thread| {
        if give_way(thread, |top, level| top > level || over && top == level) {
            switch::run_next(thread);
        }
    });
}

/// Does between two steps of a long call what would be done on the way back to the program. True: the
/// thread has to end. With interrupts on, and no lock held.
pub fn pause() -> bool {
    if deferred::is_due() {
        deferred::run();
    }
    cpu::without_interrupts(|| {
        table::drop_departed();
        let over = this().preempt.swap(false, Ordering::Relaxed);
        with_current(|thread| {
            if give_way(thread, |top, level| top > level || over && top == level) {
                switch::run_next(thread);
            }
        });
    });
    let ending = with_current(Thread::is_ending);
    if ending {
        sleep::leave_soon();
    }
    ending
}

/// Leaves the CPU for good. The thread was taken out of everything, and its space is not loaded.
pub fn leave() -> ! {
    cpu::disable_interrupts();
    this().load.fetch_sub(1, Ordering::Relaxed);
    with_current(|thread| {
        alarm::end(thread);
        table::give_up(thread);
        switch::run_next(thread);
    });
    unreachable!("a thread that left was switched to");
}
