//! Spin locks that know their place.
//!
//! Locks are taken in rank order (I12). Debug builds tell an [`Observer`] of every lock that is
//! taken and given back, so that it can check the order for each CPU.
//!
//! Whoever spins, perhaps with interrupts off, does meanwhile what other CPUs ask of it
//! ([`serve_while_spinning`]): the holder may be waiting for just that.

use core::fmt;
use core::ops::{Deref, DerefMut};

/// The order in which locks are taken: one may be taken only while those held are all of lower
/// rank, or of the same rank in the order that its documentation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rank {
    /// A capability table.
    Capabilities = 1,
    /// One place of a capability table; never two.
    Places = 2,
    /// The pending grants.
    Grants = 3,
    /// The lineage of an object.
    Lineage = 4,
    /// The capabilities that end by time or by use. Those of the machine and those of a process are
    /// never held together.
    Limits = 5,
    /// The mappings of an address space.
    Mappings = 6,
    /// A region.
    Region = 7,
    /// What a family of snapshots has promised. Taken below a region, and never with `Tables`.
    /// Nothing is allocated while it is held.
    Reserve = 8,
    /// The upper page tables of an address space.
    Tables = 9,
    /// The schedule of a timer, or whether an interrupt has ended. Bits are set while it is held.
    Timers = 10,
    /// The seats of a hub, and who waits there. The rings of the seats are looked at while it is held.
    Hubs = 11,
    /// The state of a channel, a notification or a ring end, and who waits there.
    Queue = 12,
    /// A call that somebody waits for the answer of.
    Calls = 13,
    /// Who wants to be told of what happens to an object.
    Events = 14,
    /// The packets of a port.
    Ports = 15,
    /// The threads of a process. Above a lineage: a process is ended by whoever may at that moment.
    Processes = 16,
    /// The free frames that a CPU keeps. Above whatever allocates from the heap while it is held:
    /// the heap may grow.
    Frames = 17,
    /// The free frames of a node.
    Nodes = 18,
    /// The alarms of a CPU.
    Alarms = 19,
    /// A run queue.
    Scheduler = 20,
    /// What is charged for a capability or for a region. Nothing is taken above it.
    Account = 21,
    /// The place of a task among those who wait where it does. Nothing is taken above it.
    Waits = 22,
}

/// Is told of locks in debug builds.
pub trait Observer: Sync {
    /// A lock of this rank is about to be taken on the current CPU.
    fn acquire(&self, rank: Rank);
    /// A lock of this rank was given back on the current CPU.
    fn release(&self, rank: Rank);
}

static OBSERVER: spin::Once<&'static dyn Observer> = spin::Once::new();

static SERVE: spin::Once<fn()> = spin::Once::new();

/// Sets who is told; the first one stays.
pub fn observe(observer: &'static dyn Observer) {
    OBSERVER.call_once(|| observer);
}

/// Sets what is called at every turn of a loop that spins for a lock; the first one stays. It is to
/// call [`Memory::serve`](crate::Memory::serve), with whatever locks the spinning CPU holds and
/// interrupts on or off, so it takes no lock itself.
pub fn serve_while_spinning(serve: fn()) {
    SERVE.call_once(|| serve);
}

/// Takes a lock that has no rank as [`Lock::lock`] takes one that has: a CPU that spins serves.
#[inline]
pub fn take<T>(mutex: &::lock::Mutex<T>) -> ::lock::MutexGuard<'_, T> {
    match mutex.try_lock() {
        Some(guard) => guard,
        None => spin_for(mutex),
    }
}

#[cold]
fn spin_for<T>(mutex: &::lock::Mutex<T>) -> ::lock::MutexGuard<'_, T> {
    loop {
        // Looking leaves the line with its holder; trying takes it away.
        while mutex.is_locked() {
            if let Some(serve) = SERVE.get()
                && !crate::sabotaged!("lock_spin_does_not_serve")
            {
                serve();
            }
            core::hint::spin_loop();
        }
        if let Some(guard) = mutex.try_lock() {
            return guard;
        }
    }
}

/// A spin lock with a rank. Who holds one is not preempted, does not wait and does not touch the
/// memory of a program.
pub struct Lock<T> {
    rank: Rank,
    inner: ::lock::Mutex<T>,
    /// What loom sees of it: made when it is first taken, in whichever execution that is.
    #[cfg(loom)]
    model: spin::Once<loom::sync::Mutex<()>>,
}

impl<T> Lock<T> {
    /// A lock of this rank around a value.
    pub const fn new(rank: Rank, value: T) -> Lock<T> {
        Lock {
            rank,
            inner: ::lock::Mutex::new(value),
            #[cfg(loom)]
            model: spin::Once::new(),
        }
    }

    /// Takes the lock, spinning until it is free and serving shootdowns meanwhile.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        if cfg!(debug_assertions)
            && let Some(observer) = OBSERVER.get()
        {
            observer.acquire(self.rank);
        }
        #[cfg(loom)]
        let model = self.model().lock().expect("no model panics with a lock");
        Guard {
            rank: self.rank,
            inner: take(&self.inner),
            #[cfg(loom)]
            _model: model,
        }
    }

    /// Takes the lock if nobody holds it.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        #[cfg(loom)]
        let model = self.model().try_lock().ok()?;
        let inner = self.inner.try_lock()?;
        if cfg!(debug_assertions)
            && let Some(observer) = OBSERVER.get()
        {
            observer.acquire(self.rank);
        }
        Some(Guard {
            rank: self.rank,
            inner,
            #[cfg(loom)]
            _model: model,
        })
    }

    #[cfg(loom)]
    fn model(&self) -> &loom::sync::Mutex<()> {
        self.model.call_once(|| loom::sync::Mutex::new(()))
    }

    /// The value, when nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T: fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Holds a lock until it is dropped.
pub struct Guard<'a, T> {
    rank: Rank,
    inner: ::lock::MutexGuard<'a, T>,
    /// Given back after the value.
    #[cfg(loom)]
    _model: loom::sync::MutexGuard<'a, ()>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if cfg!(debug_assertions)
            && let Some(observer) = OBSERVER.get()
        {
            observer.release(self.rank);
        }
    }
}
