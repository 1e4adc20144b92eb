//! Waiting: each task has one cell, in which whatever it waits for is completed exactly once.
//!
//! A wait begins under the lock of what the task waits for: it looks whether there is something to
//! wait for, and enters the [list](crate::waiters) if so. Whoever has something for a waiter takes it off the
//! list under the same lock. A wake, a time-out, a cancel, a revoke and the end of the task race for the
//! cell, and the first one counts.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5, I9. Lock rank: Waits.

use core::fmt;
use core::sync::atomic::Ordering;

use abi::Error;
use mm::lock::{Lock, Rank};

use crate::sync::AtomicU64;
use crate::waiters::{Batch, Place};
use crate::{Counted, Ipc, Parked, Platform, Waiters};

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
    /// The capability that it went through does not allow it any more.
    Denied = 7,
    /// As ready, and it came from who met it before, by what is lent.
    Met = 8,
}

impl Outcome {
    fn into_result(self) -> Result<(), Error> {
        match self {
            Outcome::Ready | Outcome::Met => Ok(()),
            Outcome::TimedOut => Err(Error::TimedOut),
            Outcome::Cancelled => Err(Error::Cancelled),
            Outcome::Interrupted => Err(Error::Interrupted),
            Outcome::Revoked => Err(Error::Revoked),
            Outcome::PeerClosed => Err(Error::PeerClosed),
            Outcome::Denied => Err(Error::Denied),
        }
    }

    /// Of a wait through a capability that is not its process's any more, for this reason.
    pub(crate) fn of_unheld(error: Error) -> Outcome {
        match error {
            Error::Revoked => Outcome::Revoked,
            Error::Denied => Outcome::Denied,
            _ => Outcome::Cancelled,
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
            7 => Outcome::Denied,
            8 => Outcome::Met,
            _ => return None,
        })
    }
}

/// The words that whoever completes a wait can pass.
pub const WAIT_WORDS: usize = 6;

/// The low bits of a cell's state: 0 while it waits, then the outcome.
const CODE_BITS: u32 = 8;
const CODE: u64 = (1 << CODE_BITS) - 1;

/// It will be ready in a moment: whoever completes it is about to write what it is woken with.
const CLAIMED: u64 = CODE;

/// What a task has for its waits: one at a time.
pub struct WaitCell<P: Platform> {
    /// `number of the wait << CODE_BITS | code`.
    pub(crate) state: AtomicU64,
    /// Written by who completes it, between the claim and the outcome.
    pub(crate) words: [AtomicU64; WAIT_WORDS],
    pub(crate) place: Lock<Place<P>>,
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

    /// Begins the next wait, by its own task, and returns its number: its state without a code, never 0.
    pub(crate) fn begin(&self) -> u64 {
        let number = (self.state.load(Ordering::Relaxed) | CODE) + 1;
        self.state.store(number, Ordering::Relaxed);
        number
    }

    /// Which of the waits of its task it is at.
    pub(crate) fn number(&self) -> u64 {
        self.state.load(Ordering::Relaxed) & !CODE
    }

    /// Ends the wait if it has not ended. Whoever made it end unparks the task.
    #[inline]
    pub(crate) fn complete(&self, outcome: Outcome) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        self.change(state, outcome as u64)
    }

    /// The same if the wait has this number.
    pub(crate) fn complete_wait(&self, number: u64, outcome: Outcome) -> bool {
        self.end(number, outcome as u64)
    }

    /// Gives a wait that has not ended, as `state` says, a code.
    #[inline(always)]
    fn change(&self, state: u64, code: u64) -> bool {
        let waits = state & CODE == 0 || mm::sabotaged!("wait_completed_twice");
        waits && self.end(state & !CODE, code)
    }

    /// Gives the wait of a number a code, if it has not ended.
    #[inline(always)]
    fn end(&self, number: u64, code: u64) -> bool {
        let changed = number | code;
        if mm::sabotaged!("wait_completed_twice") {
            self.state.store(changed, Ordering::Release);
            return true;
        }
        // SYNC(wait.complete): what it waited for is there for whoever sees the outcome.
        self.state
            .compare_exchange(number, changed, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Makes sure that the wait of this number, if it has not ended, ends with what the claim is finished
    /// with.
    #[inline(always)]
    pub(crate) fn claim(&self, number: u64) -> Option<Claim<'_, P>> {
        self.end(number, CLAIMED)
            .then_some(Claim { cell: self, number })
    }

    /// Ends the wait with [`Outcome::Ready`] and words for the task, if it has not ended.
    #[inline]
    pub(crate) fn complete_with<const N: usize>(&self, words: [u64; N]) -> bool {
        match self.claim(self.number()) {
            Some(claim) => {
                claim.finish_with(words);
                true
            }
            None => false,
        }
    }

    /// Sets the words that its task finds: by whoever claimed its wait, or by the task itself.
    #[inline(always)]
    pub(crate) fn set_words<const N: usize>(&self, words: [u64; N]) {
        for (to, word) in self.words.iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
    }

    /// What it was completed with, if that was words. Asked by its own task.
    #[inline(always)]
    pub(crate) fn words(&self) -> [u64; WAIT_WORDS] {
        core::array::from_fn(|index| self.words[index].load(Ordering::Relaxed))
    }

    /// One of them.
    #[inline(always)]
    pub(crate) fn word(&self, index: usize) -> u64 {
        self.words[index].load(Ordering::Relaxed)
    }

    /// Whether it ended with [`Outcome::Met`]. Asked by its own task.
    #[inline(always)]
    pub(crate) fn has_met(&self) -> bool {
        // SYNC(wait.complete)
        self.state.load(Ordering::Acquire) as u8 == Outcome::Met as u8
    }

    /// How a wait ended, if it has. Asked by its own task.
    #[inline]
    fn outcome(&self) -> Option<Outcome> {
        // SYNC(wait.complete)
        Outcome::from_code(self.state.load(Ordering::Acquire) & CODE)
    }
}

/// The right to say what a wait ends with, which nothing else ends any more.
#[must_use = "a wait that was claimed has to end"]
pub(crate) struct Claim<'a, P: Platform> {
    cell: &'a WaitCell<P>,
    number: u64,
}

impl<P: Platform> Claim<'_, P> {
    /// Ends the wait with [`Outcome::Ready`] and words for the task, which the caller unparks.
    #[inline(always)]
    pub(crate) fn finish_with<const N: usize>(self, words: [u64; N]) {
        self.finish(words, Outcome::Ready);
    }

    /// The same with [`Outcome::Met`].
    #[inline(always)]
    pub(crate) fn finish_again<const N: usize>(self, words: [u64; N]) {
        self.finish(words, Outcome::Met);
    }

    #[inline(always)]
    fn finish<const N: usize>(self, words: [u64; N], outcome: Outcome) {
        self.cell.set_words(words);
        let state = self.number | outcome as u64;
        // SYNC(wait.complete): as for any outcome.
        self.cell.state.store(state, Ordering::Release);
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
    pub(crate) task: P::Task,
}

impl<P: Platform> Ticket<P> {
    /// What it was woken with, after a sleep that was woken with words.
    pub fn words(&self) -> [u64; WAIT_WORDS] {
        P::wait_cell(&self.task).words()
    }
}

impl<P: Platform> fmt::Debug for Ticket<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        P::wait_cell(&self.task).fmt(f)
    }
}

impl<P: Platform> Ipc<P> {
    /// Sleeps until a wait of the current task has ended. Its list may still have it if this fails.
    ///
    /// # Errors
    /// `TimedOut`, `Cancelled`, `Interrupted`: the task has to end; `Revoked`, `Denied`, `PeerClosed`.
    pub fn sleep(&self, ticket: &Ticket<P>, deadline_ns: u64) -> Result<(), Error> {
        let cell = P::wait_cell(&ticket.task);
        self.platform().count(Counted::Wait);
        self.sleep_by(cell, deadline_ns)
    }

    /// The same for a wait that the current task has begun in its cell, and that is counted.
    #[inline]
    pub(crate) fn sleep_by(&self, cell: &WaitCell<P>, deadline_ns: u64) -> Result<(), Error> {
        let parked = self.platform().park(deadline_ns);
        self.sleep_on(cell, parked, deadline_ns)
    }

    /// The same, unparking another task on the way.
    pub fn sleep_unparking(
        &self,
        woken: &P::Task,
        ticket: &Ticket<P>,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let cell = P::wait_cell(&ticket.task);
        self.platform().count(Counted::Wait);
        self.sleep_in_turn(woken, cell, deadline_ns)
    }

    /// The same for a wait that the current task has begun in its cell, without a list, and that is
    /// counted.
    #[inline(always)]
    pub(crate) fn sleep_in_turn(
        &self,
        woken: &P::Task,
        cell: &WaitCell<P>,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let parked = self.platform().unpark_and_park(woken, deadline_ns);
        match cell.outcome() {
            Some(Outcome::Ready) => Ok(()),
            _ => self.sleep_on(cell, parked, deadline_ns),
        }
    }

    /// Goes on sleeping until a wait has ended.
    pub(crate) fn sleep_on(
        &self,
        cell: &WaitCell<P>,
        mut parked: Parked,
        deadline_ns: u64,
    ) -> Result<(), Error> {
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
                // Only what has been claimed is left to wait for when the task has to end.
                self.platform().relax();
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

    /// Ends all waits in a list whose capability is not their process's any more, or does not allow them
    /// any more: with `Revoked` if it was revoked, `Denied` if it was reduced, else with `Cancelled`.
    pub fn end_unheld_waits<S>(&self, lock: &Lock<S>, waiters: impl Fn(&mut S) -> &mut Waiters<P>) {
        self.wake_batches(|batch| waiters(&mut lock.lock()).wake_unheld(batch));
    }

    /// Ends all waits in a list with an outcome, once each: those who wait again as fast as they are woken
    /// keep nobody here.
    pub fn end_all_waits<S>(
        &self,
        outcome: Outcome,
        lock: &Lock<S>,
        waiters: impl Fn(&mut S) -> &mut Waiters<P>,
    ) {
        self.wake_batches(|batch| waiters(&mut lock.lock()).wake_all(outcome, batch));
    }

    /// Unparks batch by batch, until one has room left.
    pub(crate) fn wake_batches(&self, wake: impl Fn(&mut Batch<P>)) {
        let mut batch = Batch::new();
        loop {
            wake(&mut batch);
            let was_full = batch.is_full();
            for task in batch.drain() {
                self.platform().unpark(&task);
            }
            if !was_full {
                return;
            }
        }
    }
}
