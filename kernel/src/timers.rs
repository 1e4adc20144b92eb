//! What is to happen on a CPU at a time: sleepers wake up.
//!
//! A thread sleeps on its own CPU, so each CPU has a queue of its own. Arming takes no memory: a
//! thread brings the place of its alarm along. The queues are locked with interrupts off, above
//! everything but the run queues and the sleep of a thread, which are taken without them.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::MAX_CPUS;
use arch::cpu;
use ipc::alarms::{Alarms, Key, Place};

use crate::irq_lock::IrqLock;
use crate::random;
use crate::thread::Thread;

struct Cpu {
    sleepers: IrqLock<Alarms<Arc<Thread>>>,
    /// When the first of them goes off.
    earliest_ns: AtomicU64,
}

static CPUS: [Cpu; MAX_CPUS] = [const {
    Cpu {
        sleepers: IrqLock::new(Alarms::new()),
        earliest_ns: AtomicU64::new(u64::MAX),
    }
}; MAX_CPUS];

impl Cpu {
    fn with_sleepers<R>(&self, f: impl FnOnce(&mut Alarms<Arc<Thread>>) -> R) -> R {
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
}

/// When something is to happen on this CPU next; `u64::MAX` when nothing is. Whoever has armed
/// something sees to it that the timer is.
#[inline]
pub fn earliest_ns() -> u64 {
    this().earliest_ns.load(Ordering::Relaxed)
}

/// Has a thread of this CPU woken at a time.
pub fn arm(thread: &Arc<Thread>, place: Place<Arc<Thread>>, at_ns: u64) -> Key {
    this().with_sleepers(|sleepers| sleepers.arm(place, at_ns, thread.clone()))
}

/// Takes that back. `None`: [`expire`] was first, and has the place.
pub fn cancel(key: Key) -> Option<Place<Arc<Thread>>> {
    let taken = this().with_sleepers(|sleepers| sleepers.cancel(key));
    taken.map(|(place, _)| place)
}

/// Hands over every thread of this CPU whose time has come, and its place. With interrupts off.
pub fn expire(now_ns: u64, mut wake: impl FnMut(Arc<Thread>, Place<Arc<Thread>>)) {
    while earliest_ns() <= now_ns {
        match this().with_sleepers(|sleepers| sleepers.pop_due(now_ns)) {
            Some((place, thread)) => wake(thread, place),
            None => break,
        }
    }
}
