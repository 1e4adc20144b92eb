//! Checks the order in which each CPU takes locks, in builds with debug assertions (I12).

use core::sync::atomic::{AtomicU32, Ordering};

use abi::limits::MAX_CPUS;
use arch::cpu;
use mm::lock::{Observer, Rank};

/// The ranks that each CPU holds, a bit each.
struct Held([AtomicU32; MAX_CPUS]);

static HELD: Held = Held([const { AtomicU32::new(0) }; MAX_CPUS]);

impl Observer for Held {
    fn acquire(&self, rank: Rank) {
        let bit = 1 << rank as u32;
        let held = self.0[cpu::current()].fetch_or(bit, Ordering::Relaxed);
        assert!(
            held < bit,
            "a lock of rank {rank:?} is taken while ranks {held:#b} are held"
        );
    }

    fn release(&self, rank: Rank) {
        self.0[cpu::current()].fetch_and(!(1 << rank as u32), Ordering::Relaxed);
    }
}

/// Turns the check on.
pub fn check() {
    mm::lock::observe(&HELD);
}
