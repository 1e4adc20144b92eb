//! Waiting: each task has one cell, in which whatever it waits for is completed exactly once, and a
//! place in the list of those who wait at the same object.
//!
//! A wait begins under the lock of what the task waits for: it looks whether there is something to
//! wait for, and enlists if so. Whoever has something for a waiter takes it off the list under the
//! same lock. A wake, a time-out, a cancel, a revoke and the end of the task race for the cell, and
//! the first one counts. The list is made of the cells themselves, so that a wait neither allocates
//! nor fails, however many there are, and leaves from the middle in constant time.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5 (S19: revoke marks nodes and then looks through the
//! lists; whoever enlists looks at its node under the lock of the list), I10. Lock rank: Waits, above
//! that of the list.

use core::fmt;
use core::mem;
use core::sync::atomic::Ordering;

use abi::Error;
use mm::lock::{Lock, Rank};

use crate::sync::AtomicU64;
use crate::{Ipc, Node, Parked, Platform};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// What it waited for is there.
    Ready = 1,
    /// Its deadline passed.
    TimedOut = 2,
    /// Somebody of the same process withdrew it, or the capability that it went through.
    Cancelled = 3,
    /// The task has to end.
    Interrupted = 4,
    /// The capability that it went through was revoked.
    Revoked = 5,
    /// The other side is gone.
    PeerClosed = 6,
}

impl Outcome {
    fn into_result(self) -> Result<(), Error> {
        match self {
            Outcome::Ready => Ok(()),
            Outcome::TimedOut => Err(Error::TimedOut),
            Outcome::Cancelled => Err(Error::Cancelled),
            Outcome::Interrupted => Err(Error::Interrupted),
            Outcome::Revoked => Err(Error::Revoked),
            Outcome::PeerClosed => Err(Error::PeerClosed),
        }
    }

    fn from_code(code: u64) -> Option<Outcome> {
        Some(match code {
            1 => Outcome::Ready,
            2 => Outcome::TimedOut,
            3 => Outcome::Cancelled,
            4 => Outcome::Interrupted,
            5 => Outcome::Revoked,
            6 => Outcome::PeerClosed,
            _ => return None,
        })
    }
}

/// The words that whoever completes a wait can pass.
pub const WAIT_WORDS: usize = 6;

/// The low bits of a cell's state: 0 while it waits, then the outcome.
const CODE_BITS: u32 = 8;
const CODE: u64 = (1 << CODE_BITS) - 1;

/// What a task has for its waits: one at a time.
pub struct WaitCell<P: Platform> {
    /// `number of the wait << CODE_BITS | code`.
    state: AtomicU64,
    /// Written by who wakes it, under the lock of the list that it is in.
    words: [AtomicU64; WAIT_WORDS],
    place: Lock<Place<P>>,
}

/// Where a task is in a list. Changes under the lock of that list.
struct Place<P: Platform> {
    /// Through which capability it waits, while it is in a list.
    authority: Option<(Node<P>, u64)>,
    /// Which of several things it waits for.
    mask: u32,
    previous: Option<P::Task>,
    next: Option<P::Task>,
}

impl<P: Platform> Default for Place<P> {
    fn default() -> Self {
        Place {
            authority: None,
            mask: 0,
            previous: None,
            next: None,
        }
    }
}

impl<P: Platform> WaitCell<P> {
    /// The cell of a task that does not wait.
    pub fn new() -> WaitCell<P> {
        WaitCell {
            state: AtomicU64::new(Outcome::Ready as u64),
            words: core::array::from_fn(|_| AtomicU64::new(0)),
            place: Lock::new(Rank::Waits, Place::default()),
        }
    }

    /// Begins the next wait, by its own task, and returns its number.
    fn begin(&self) -> u64 {
        let number = (self.state.load(Ordering::Relaxed) >> CODE_BITS) + 1;
        self.state.store(number << CODE_BITS, Ordering::Relaxed);
        number
    }

    /// Ends the wait if it has not ended. Whoever made it end unparks the task.
    #[inline]
    pub(crate) fn complete(&self, outcome: Outcome) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        let ended = state | outcome as u64;
        state & CODE == 0
            // SYNC(wait.complete): the words are there for whoever sees the outcome.
            && self
                .state
                .compare_exchange(state, ended, Ordering::Release, Ordering::Relaxed)
                .is_ok()
    }

    /// The same with [`Outcome::Ready`] and words for the task, by the only one who may pass any.
    #[inline]
    pub(crate) fn complete_with<const N: usize>(&self, words: [u64; N]) -> bool {
        for (to, word) in self.words.iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
        self.complete(Outcome::Ready)
    }

    /// How a wait ended, if it has. Asked by its own task.
    #[inline]
    fn outcome(&self) -> Option<Outcome> {
        // SYNC(wait.complete)
        Outcome::from_code(self.state.load(Ordering::Acquire) & CODE)
    }
}

impl<P: Platform> Default for WaitCell<P> {
    fn default() -> Self {
        WaitCell::new()
    }
}

impl<P: Platform> fmt::Debug for WaitCell<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitCell")
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}

/// A wait that has begun: to be slept on by its task, and then withdrawn from its list.
#[must_use = "a wait that has begun is slept on"]
pub struct Ticket<P: Platform> {
    task: P::Task,
}

impl<P: Platform> Ticket<P> {
    /// What it was woken with, after a sleep that was woken with words.
    pub fn words(&self) -> [u64; WAIT_WORDS] {
        let words = &P::wait_cell(&self.task).words;
        core::array::from_fn(|index| words[index].load(Ordering::Relaxed))
    }
}

impl<P: Platform> fmt::Debug for Ticket<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        P::wait_cell(&self.task).fmt(f)
    }
}

/// Those who wait at an object, the first to come first. It is part of what the lock of the object
/// protects.
pub struct Waiters<P: Platform> {
    first: Option<P::Task>,
    last: Option<P::Task>,
}

impl<P: Platform> Waiters<P> {
    /// Nobody.
    pub const fn new() -> Waiters<P> {
        Waiters {
            first: None,
            last: None,
        }
    }

    /// Whether nobody is in the list. Those in it may have been told already.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Begins a wait of the current task, `task`, through a capability of a domain. The capability
    /// is kept by the caller until the wait is withdrawn.
    ///
    /// # Errors
    /// Why `holder` does not have the capability any more: `Revoked`, `BadHandle`, `InTransit`.
    pub fn enlist(
        &mut self,
        task: P::Task,
        node: &Node<P>,
        holder: u64,
    ) -> Result<Ticket<P>, Error> {
        self.enlist_for(task, node, holder, u32::MAX)
    }

    /// The same for some of several things.
    pub(crate) fn enlist_for(
        &mut self,
        task: P::Task,
        node: &Node<P>,
        holder: u64,
        mask: u32,
    ) -> Result<Ticket<P>, Error> {
        // A revoke marks its nodes first and looks through the list afterwards.
        if !mm::sabotaged!("enlist_does_not_recheck") {
            node.check_held(holder)?;
        }
        let cell = P::wait_cell(&task);
        cell.begin();
        let previous = self.last.replace(task.clone());
        match &previous {
            Some(previous) => P::wait_cell(previous).place.lock().next = Some(task.clone()),
            None => self.first = Some(task.clone()),
        }
        let place = Place {
            authority: Some((node.clone(), holder)),
            mask,
            previous,
            next: None,
        };
        let before = mem::replace(&mut *cell.place.lock(), place);
        debug_assert!(before.authority.is_none(), "a task waits at one place");
        Ok(Ticket { task })
    }

    /// Takes a task out of the list, if it is in it.
    fn unlink(&mut self, task: &P::Task) -> bool {
        let place = mem::take(&mut *P::wait_cell(task).place.lock());
        if place.authority.is_none() {
            return false;
        }
        match &place.previous {
            Some(previous) => P::wait_cell(previous).place.lock().next = place.next.clone(),
            None => self.first = place.next.clone(),
        }
        match &place.next {
            Some(next) => P::wait_cell(next).place.lock().previous = place.previous,
            None => self.last = place.previous,
        }
        true
    }

    /// Ends the wait of the first in the list that is not told already. The caller unparks it, best
    /// after unlocking.
    #[must_use = "who was told is to be unparked"]
    pub fn wake_first(&mut self, outcome: Outcome) -> Option<P::Task> {
        self.wake_first_if(|cell| cell.complete(outcome))
    }

    /// The same with [`Outcome::Ready`] and words for it, at most [`WAIT_WORDS`]; they are its own if
    /// there is a task.
    #[must_use = "who was told is to be unparked"]
    #[inline]
    pub fn wake_first_with<const N: usize>(&mut self, words: [u64; N]) -> Option<P::Task> {
        const { assert!(N <= WAIT_WORDS) }
        self.wake_first_if(|cell| {
            // It is in this list, so nobody else passes it words.
            cell.complete_with(words)
        })
    }

    #[inline(always)]
    fn wake_first_if(&mut self, complete: impl Fn(&WaitCell<P>) -> bool) -> Option<P::Task> {
        self.wake_first_by(|task| complete(P::wait_cell(task)))
    }

    /// Ends the wait of the first in the list that `complete` can end.
    #[inline(always)]
    pub(crate) fn wake_first_by(
        &mut self,
        mut complete: impl FnMut(&P::Task) -> bool,
    ) -> Option<P::Task> {
        while let Some(task) = self.first.clone() {
            self.unlink(&task);
            if complete(&task) {
                return Some(task);
            }
        }
        None
    }

    /// Ends the waits of all in the list that wait for some of a mask, as far as `batch` has room:
    /// with that part of the mask as their first word and `value` as the second. Returns how many.
    pub(crate) fn wake_matching(&mut self, mask: u32, value: u64, batch: &mut Batch<P>) {
        self.wake_some(batch, |cell, place| {
            let matching = place.mask & mask;
            if matching == 0 {
                return Fate::Stays;
            }
            cell.words[0].store(matching.into(), Ordering::Relaxed);
            cell.words[1].store(value, Ordering::Relaxed);
            Fate::Ends(Outcome::Ready)
        });
    }

    /// Ends the waits of those in the list whose capability is not their process's any more, as far
    /// as `batch` has room.
    pub(crate) fn wake_unheld(&mut self, batch: &mut Batch<P>) {
        self.wake_some(batch, |_, place| match &place.authority {
            Some((node, holder)) => match node.check_held(*holder) {
                Ok(()) => Fate::Stays,
                Err(Error::Revoked) => Fate::Ends(Outcome::Revoked),
                Err(_) => Fate::Ends(Outcome::Cancelled),
            },
            None => Fate::Stays,
        });
    }

    fn wake_some(&mut self, batch: &mut Batch<P>, fate: impl Fn(&WaitCell<P>, &Place<P>) -> Fate) {
        let mut next = self.first.clone();
        while let Some(task) = next
            && !batch.is_full()
        {
            let cell = P::wait_cell(&task);
            let fate = {
                let place = cell.place.lock();
                next = place.next.clone();
                fate(cell, &place)
            };
            if let Fate::Ends(outcome) = fate {
                self.unlink(&task);
                if cell.complete(outcome) {
                    batch.push(task);
                }
            }
        }
    }

    /// Takes a wait off the list, if it is still there. It ends, if it has not.
    pub fn withdraw(&mut self, ticket: &Ticket<P>) {
        self.unlink(&ticket.task);
        P::wait_cell(&ticket.task).complete(Outcome::Cancelled);
    }
}

impl<P: Platform> Default for Waiters<P> {
    fn default() -> Self {
        Waiters::new()
    }
}

impl<P: Platform> fmt::Debug for Waiters<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters")
            .field("empty", &self.is_empty())
            .finish()
    }
}

/// What becomes of a wait.
enum Fate {
    Stays,
    Ends(Outcome),
}

/// Tasks of a batch.
const BATCH: usize = 16;

/// Tasks that are unparked together, after unlocking.
pub(crate) struct Batch<P: Platform> {
    tasks: [Option<P::Task>; BATCH],
    len: usize,
}

impl<P: Platform> Batch<P> {
    fn new() -> Batch<P> {
        Batch {
            tasks: [const { None }; BATCH],
            len: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.len == BATCH
    }

    fn push(&mut self, task: P::Task) {
        self.tasks[self.len] = Some(task);
        self.len += 1;
    }
}

impl<P: Platform> Ipc<P> {
    /// Sleeps until a wait of the current task has ended. Its list may still have it if this fails.
    ///
    /// # Errors
    /// `TimedOut`, `Cancelled`, `Interrupted`: the task has to end; `Revoked`, `PeerClosed`.
    pub fn sleep(&self, ticket: &Ticket<P>, deadline_ns: u64) -> Result<(), Error> {
        self.sleep_by(ticket, || self.platform().park(deadline_ns), deadline_ns)
    }

    /// The same, unparking another task on the way.
    pub fn sleep_unparking(
        &self,
        woken: &P::Task,
        ticket: &Ticket<P>,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let park = || self.platform().unpark_and_park(woken, deadline_ns);
        self.sleep_by(ticket, park, deadline_ns)
    }

    #[inline(always)]
    fn sleep_by(
        &self,
        ticket: &Ticket<P>,
        park: impl FnOnce() -> Parked,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let cell = P::wait_cell(&ticket.task);
        let mut parked = park();
        loop {
            if let Some(outcome) = cell.outcome() {
                return outcome.into_result();
            }
            // If somebody is faster, that counts. An unpark without an outcome was for a wait before.
            match parked {
                Parked::Unparked => {}
                Parked::TimedOut => _ = cell.complete(Outcome::TimedOut),
                Parked::Ending => _ = cell.complete(Outcome::Interrupted),
            }
            if cell.outcome().is_none() {
                parked = self.platform().park(deadline_ns);
            }
        }
    }

    /// Sleeps until a wait of the current task has ended, and takes it off its list, which is part of
    /// what `lock` protects. Errors as of [`sleep`](Ipc::sleep).
    pub fn sleep_in<S>(
        &self,
        ticket: &Ticket<P>,
        deadline_ns: u64,
        lock: &Lock<S>,
        waiters: impl FnOnce(&mut S) -> &mut Waiters<P>,
    ) -> Result<(), Error> {
        let slept = self.sleep(ticket, deadline_ns);
        if slept.is_err() {
            waiters(&mut lock.lock()).withdraw(ticket);
        }
        slept
    }

    /// Ends the wait of a task, which gets `Cancelled`. `NotFound`: it does not wait.
    pub fn cancel_wait(&self, task: &P::Task) -> Result<(), Error> {
        if !P::wait_cell(task).complete(Outcome::Cancelled) {
            return Err(Error::NotFound);
        }
        self.platform().unpark(task);
        Ok(())
    }

    /// Ends all waits in a list whose capability is not their process's any more: with `Revoked` if it
    /// was revoked, else with `Cancelled`.
    pub fn end_unheld_waits<S>(&self, lock: &Lock<S>, waiters: impl Fn(&mut S) -> &mut Waiters<P>) {
        self.wake_batches(|batch| waiters(&mut lock.lock()).wake_unheld(batch));
    }

    /// Unparks batch by batch, until one has room left.
    pub(crate) fn wake_batches(&self, wake: impl Fn(&mut Batch<P>)) {
        loop {
            let mut batch = Batch::new();
            wake(&mut batch);
            let was_full = batch.is_full();
            for task in batch.tasks.iter().flatten() {
                self.platform().unpark(task);
            }
            if !was_full {
                return;
            }
        }
    }
}
