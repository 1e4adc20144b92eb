//! What is to happen on a CPU at a time: sleepers wake up, and timers of programs go off.
//!
//! A thread sleeps on its own CPU, so each CPU has a queue of its own. Arming takes no memory: a
//! thread brings the place of its alarm along. The queues are locked with interrupts off, above
//! everything but the run queues and the sleep of a thread, which are taken without them.
//!
//! Timers have queues of theirs, in `ipc`, of which only the first time is known here. They go off outside of the
//! interrupt handler, and with pauses as long as that took, so that however many there are, at least
//! half of the CPU is left to programs.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::MAX_CPUS;
use arch::{clock, cpu};
use ipc::alarms::{Alarms, Key, Place};

use crate::irq_lock::IrqLock;
use crate::machine::ipc;
use crate::{deferred, random, sched};

struct Cpu {
    /// By their slots.
    sleepers: IrqLock<Alarms<u16>>,
    /// When the first of them goes off.
    earliest_ns: AtomicU64,
    /// When the first timer does, unless it is due.
    timer_ns: AtomicU64,
    /// No timer goes off before: never, while some do.
    pause_end_ns: AtomicU64,
}

/// The most timers that go off at once.
const MOST_TIMERS: usize = 64;

static CPUS: [Cpu; MAX_CPUS] = [const {
    Cpu {
        sleepers: IrqLock::new(Alarms::new()),
        earliest_ns: AtomicU64::new(u64::MAX),
        timer_ns: AtomicU64::new(u64::MAX),
        pause_end_ns: AtomicU64::new(0),
    }
}; MAX_CPUS];

impl Cpu {
    /// When timers are to be looked at.
    #[inline]
    fn next_timers_ns(&self) -> u64 {
        let pause_end_ns = self.pause_end_ns.load(Ordering::Relaxed);
        self.timer_ns.load(Ordering::Relaxed).max(pause_end_ns)
    }

    fn with_sleepers<R>(&self, f: impl FnOnce(&mut Alarms<u16>) -> R) -> R {
        let mut sleepers = self.sleepers.lock();
        let result = f(&mut sleepers);
        self.earliest_ns
            .store(sleepers.earliest_ns(), Ordering::Relaxed);
        result
    }
}

fn this() -> &'static Cpu {
    &CPUS[cpu::current()]
}

/// Makes what times do to the queues unpredictable, or repeatable for one seed.
pub fn seed() {
    for cpu in &CPUS {
        cpu.sleepers.lock().seed(random::word());
    }
    ipc().seed_timers(random::word);
}

/// When something is to happen on this CPU next; `u64::MAX` when nothing is. Whoever has armed
/// something sees to it that the timer is.
#[inline]
pub fn earliest_ns() -> u64 {
    let cpu = this();
    let sleepers_ns = cpu.earliest_ns.load(Ordering::Relaxed);
    sleepers_ns.min(cpu.next_timers_ns())
}

/// Has the timers of this CPU looked at from a time on, instead of the time before.
pub fn set_timer(cpu: usize, at_ns: u64) {
    // Threads stay where they are while they are in the kernel.
    debug_assert_eq!(cpu, cpu::current());
    let cpu = &CPUS[cpu];
    cpu.timer_ns.store(at_ns, Ordering::Relaxed);
    // At the end of an expiry that is done for all.
    if cpu.next_timers_ns() != u64::MAX {
        sched::rearm();
    }
}

/// Has timers go off soon, if their time has come. With interrupts off.
pub fn note_due(now_ns: u64) {
    let cpu = this();
    if cpu.next_timers_ns() <= now_ns {
        cpu.timer_ns.store(u64::MAX, Ordering::Relaxed);
        deferred::request();
    }
}

/// Has every timer go off whose time has come, as far as that is not too many.
pub fn expire_due() {
    let cpu = this();
    // What was noted has been looked at, or somebody has told a time since, which will be noted.
    if cpu.timer_ns.load(Ordering::Relaxed) != u64::MAX {
        return;
    }
    let pause_end_ns = &cpu.pause_end_ns;
    let begin_ns = clock::now_ns();
    pause_end_ns.store(u64::MAX, Ordering::Relaxed);
    ipc().expire_timers(cpu::current(), MOST_TIMERS);
    let now_ns = clock::now_ns();
    pause_end_ns.store(now_ns + (now_ns - begin_ns), Ordering::Relaxed);
    sched::rearm();
}

/// Has a thread of this CPU, by its slot, looked at at a time.
pub fn arm(slot: u16, place: Place<u16>, at_ns: u64) -> Key {
    this().with_sleepers(|sleepers| sleepers.arm(place, at_ns, slot))
}

/// Takes that back. `None`: [`expire`] was first, and has the place.
pub fn cancel(key: Key) -> Option<Place<u16>> {
    let taken = this().with_sleepers(|sleepers| sleepers.cancel(key));
    taken.map(|(place, _)| place)
}

/// Hands over every thread of this CPU that is to be looked at, and its place. With interrupts off.
pub fn expire(now_ns: u64, mut look_at: impl FnMut(u16, Place<u16>)) {
    while this().earliest_ns.load(Ordering::Relaxed) <= now_ns {
        match this().with_sleepers(|sleepers| sleepers.pop_due(now_ns)) {
            Some((place, slot)) => look_at(slot, place),
            None => break,
        }
    }
}
