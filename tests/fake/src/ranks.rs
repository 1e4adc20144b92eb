//! Watches the order of locks (I12), for each CPU by itself.

use std::cell::RefCell;

use mm::CpuId;
use mm::lock::{Observer, Rank};

use crate::{current_cpu, interrupts};

thread_local! {
    static HELD: RefCell<Vec<(CpuId, Rank)>> = const { RefCell::new(Vec::new()) };
}

struct RankChecker;

impl Observer for RankChecker {
    fn acquire(&self, rank: Rank) {
        let cpu = current_cpu();
        HELD.with_borrow_mut(|held| {
            let highest = held
                .iter()
                .filter(|(owner, _)| *owner == cpu)
                .map(|(_, rank)| *rank)
                .max();
            if let Some(highest) = highest
                && highest >= rank
                && !std::thread::panicking()
            {
                panic!("CPU {cpu} takes a {rank:?} lock while it holds a {highest:?} lock");
            }
            held.push((cpu, rank));
        });
    }

    fn release(&self, rank: Rank) {
        let cpu = current_cpu();
        HELD.with_borrow_mut(|held| {
            if let Some(at) = held.iter().rposition(|entry| *entry == (cpu, rank)) {
                held.remove(at);
            }
        });
    }
}

/// Whether the heap of a kernel could grow now, which takes the lock of the frames that the CPU keeps.
pub fn heap_may_grow() -> bool {
    let cpu = current_cpu();
    HELD.with(|held| {
        // While the list itself grows, nothing of the kernel does.
        let Ok(held) = held.try_borrow() else {
            return true;
        };
        let mut own = held.iter().filter(|(owner, _)| *owner == cpu);
        own.all(|(_, rank)| *rank < Rank::Frames)
    })
}

/// Makes every violation of the order a panic of the thread that does it.
pub(crate) fn watch() {
    mm::lock::observe(&RankChecker);
    mm::lock::serve_while_spinning(interrupts::serve_while_spinning);
}
