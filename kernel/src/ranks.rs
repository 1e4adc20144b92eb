//! Checks the order in which each CPU takes locks, and that it holds none where it may fault, in builds
//! with debug assertions (I12).

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

/// Checks that this CPU holds no lock that has a rank: a copy from or to a program may fault, and filling
/// the page or ending the process takes any of them.
#[inline]
pub fn assert_none_held() {
    if cfg!(debug_assertions) {
        let held = HELD.0[cpu::current()].load(Ordering::Relaxed);
        assert!(
            held == 0,
            "memory of a program is touched while ranks {held:#b} are held"
        );
    }
}

/// Turns the check on.
pub fn check() {
    mm::lock::observe(&HELD);
}
