//! Watches the order of locks (I12), for each CPU by itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mm::CpuId;
use mm::lock::{Observer, Rank};

use crate::{current_cpu, interrupts};

thread_local! {
    static HELD: RefCell<Vec<(CpuId, Rank)>> = const { RefCell::new(Vec::new()) };
    static BEFORE_LOCK: RefCell<Option<Meanwhile>> = const { RefCell::new(None) };
}

/// What others do.
struct Meanwhile {
    /// While no lock above this is held.
    beside: Option<Rank>,
    deed: Box<dyn FnMut()>,
}

/// Does `deed`, and `meanwhile` whenever this thread is about to take a lock and holds none, or none above the rank
/// `beside`: what others do at these moments. Within it nothing of the kind happens. The locks of a build without
/// debug assertions tell nobody.
pub fn before_locks<R>(
    beside: Option<Rank>,
    meanwhile: impl FnMut() + 'static,
    deed: impl FnOnce() -> R,
) -> R {
    let deed_of_others = Box::new(meanwhile);
    BEFORE_LOCK.set(Some(Meanwhile {
        beside,
        deed: deed_of_others,
    }));
    let done = deed();
    BEFORE_LOCK.set(None);
    done
}

/// Does `deed`, and `other` at one of the moments at which [`before_locks`] has others do something, counted from 0. What
/// that came to; nothing if there is no such moment.
pub fn at_moment<R, T: 'static>(
    moment: usize,
    beside: Option<Rank>,
    other: impl FnOnce() -> T + 'static,
    deed: impl FnOnce() -> R,
) -> (R, Option<T>) {
    let came = Rc::new(Cell::new(None));
    let (told, mut other, mut turn) = (came.clone(), Some(other), 0);
    let meanwhile = move || {
        if turn == moment
            && let Some(other) = other.take()
        {
            told.set(Some(other()));
        }
        turn += 1;
    };
    let done = before_locks(beside, meanwhile, deed);
    (done, came.take())
}

fn run_before_lock() {
    // Missing while it runs.
    let Some(mut meanwhile) = BEFORE_LOCK.take() else {
        return;
    };
    let highest = HELD.with_borrow(|held| held.iter().map(|(_, rank)| *rank).max());
    if highest <= meanwhile.beside {
        (meanwhile.deed)();
    }
    BEFORE_LOCK.set(Some(meanwhile));
}

struct RankChecker;

impl Observer for RankChecker {
    fn acquire(&self, rank: Rank) {
        let cpu = current_cpu();
        run_before_lock();
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

/// Whether this CPU holds no lock, as far as that is watched.
pub(crate) fn holds_nothing() -> bool {
    let cpu = current_cpu();
    HELD.with_borrow(|held| held.iter().all(|(owner, _)| *owner != cpu))
}

/// Makes every violation of the order a panic of the thread that does it.
pub(crate) fn watch() {
    mm::lock::observe(&RankChecker);
    mm::lock::serve_while_spinning(interrupts::serve_while_spinning);
}
