//! Who met meets again: the right to reply stays in the place of its server, and only its name changes.
//!
//! A server that answers the same task where it answered it last lends the right a place of its table.
//! From then on both sides change words alone: the record of the call says whether a call is under way and
//! which handle names the right, and the place says by which loan it has it. Whoever looks at the place for
//! anything else, and whoever needs the right elsewhere, ends the loan under the lock of the record: then
//! all is as if nothing had been lent.
//!
//! Invariants: a right is lent to one place at most, that of its last loan, whose number is never used
//! twice; the place of an older loan stands for nothing. While no call is under way the right is at
//! home, whatever its standing says, and its name names nothing. What is lent is whole: who takes rights
//! from it holds its place, and has ended the loan.
//! Lock ranks: Places or Queue, then Calls for the record.

use core::ptr;

use abi::{Error, Handle, ObjectKind};

use super::meeting::{Caller, Meeting, Server};
use super::reply::{Fit, Reply, put, record};
use crate::node::{HOME, NOBODY};
use crate::table::Held;
use crate::wait::WaitCell;
use crate::{Domain, Ipc, Node, Parked, Platform};

/// How a right to reply is lent.
pub(super) struct Loan {
    /// The number of the last loan.
    number: u32,
    /// The same while it is lent and no call is under way; else [`NOT_READY`].
    ready: u64,
    /// Whose place it is lent; [`NOBODY`]: it is not.
    domain: u64,
    /// What names it there: the call that is under way, else the next one.
    name: Handle,
    /// The inbox where its caller was answered last, which is only compared.
    met_at: usize,
}

/// Of a loan: no caller can be met by it now.
const NOT_READY: u64 = 0;
/// Of who serves: nothing is lent.
pub(super) const NO_LOAN: u64 = u64::MAX;

impl Loan {
    /// Nothing was ever lent.
    pub(super) const fn new() -> Loan {
        Loan {
            number: 0,
            ready: NOT_READY,
            domain: NOBODY,
            name: Handle::NONE,
            met_at: 0,
        }
    }

    /// Ends it. False: nothing is lent.
    fn end(&mut self) -> bool {
        let lent = self.domain != NOBODY;
        (self.domain, self.ready) = (NOBODY, NOT_READY);
        lent
    }

    /// Lends the right to who answers, a domain, the place that a handle named, and returns the number of
    /// the loan. None: its caller was answered elsewhere before, or a number is used up.
    pub(super) fn begin(&mut self, (domain, reply): (u64, Handle), met_at: usize) -> Option<u32> {
        let again = self.met_at == met_at;
        self.met_at = met_at;
        let number = self.number.checked_add(1)?;
        let name = next_lent(reply)?;
        if !again {
            return None;
        }
        (self.number, self.ready) = (number, number.into());
        (self.domain, self.name) = (domain, name);
        Some(number)
    }
}

/// From a handle to that of the next tenant of its place, if that is a right to reply again.
pub(super) const NEXT: u64 =
    Handle::new(1, 1, ObjectKind::Reply).bits() - Handle::new(1, 0, ObjectKind::Reply).bits();
/// A bit of handles that the place has given away half of, by which nothing is lent any more: one look tells that
/// there is a next one.
const LATE: u64 = NEXT << 31;

/// What names a right next by its loan.
#[inline(always)]
pub(super) fn next_name(handle: Handle) -> Handle {
    let step = if mm::sabotaged!("generation_not_bumped") {
        0
    } else {
        NEXT
    };
    Handle::from_bits(handle.bits().wrapping_add(step))
}

/// The same if it may go on being lent.
#[inline(always)]
fn next_lent(handle: Handle) -> Option<Handle> {
    let next = next_name(handle);
    (next.bits() & LATE == 0).then_some(next)
}

impl<P: Platform> Reply<P> {
    /// Ends a loan whose place is looked at: true if the right is there, as a handle or, for a process that
    /// ends, whatever names it.
    fn recall(&self, number: u32, handle: Option<Handle>) -> bool {
        let mut call = self.lock();
        let loan = &mut call.loan;
        let is_last = loan.number == number || mm::sabotaged!("old_loan_counts");
        let named = handle.is_none_or(|handle| handle == loan.name);
        let under_way = loan.ready == NOT_READY || mm::sabotaged!("lent_right_is_always_there");
        is_last && named && under_way && loan.end()
    }

    /// Ends a loan, of this number or any, while no call is under way: the right is at home then. False:
    /// there is none.
    pub(super) fn take_home(&self, right: &Node<P>, number: Option<u32>) -> bool {
        let mut call = self.lock();
        let ready = call.loan.ready;
        if ready == NOT_READY || number.is_some_and(|number| u64::from(number) != ready) {
            return false;
        }
        call.loan.end();
        let caller = call.caller.take();
        right.pass(HOME);
        drop(call);
        drop(caller);
        true
    }
}

impl<P: Platform> Held for Node<P> {
    #[inline(always)]
    fn kind(&self) -> abi::ObjectKind {
        self.object().kind()
    }

    fn is(&self, other: &Self) -> bool {
        self.is(other)
    }

    fn recall(&self, number: u32, handle: Option<Handle>) -> bool {
        record(self).is_ok_and(|reply| reply.recall(number, handle))
    }
}

impl<P: Platform> Meeting<P> {
    /// Hands a call to who answered the same task before and serves since, and begins the wait of its
    /// caller, the current task. Returns who is to go on, and that it `fits`. None: nothing was done.
    #[inline(always)]
    pub(super) fn call_again<R>(
        &mut self,
        task: &P::Task,
        node: &Node<P>,
        words: impl FnOnce() -> [u64; 4],
        fits: impl FnOnce(&P::Task) -> Option<R>,
    ) -> Option<(P::Task, R)> {
        let server = self.server.take()?;
        match self.hand_again(&server, task, node, words, fits) {
            Some(fit) => {
                self.counts.calls += 1;
                Some((server.task, fit))
            }
            None => {
                put(&mut self.server, server);
                None
            }
        }
    }

    #[inline(always)]
    fn hand_again<R>(
        &mut self,
        server: &Server<P>,
        task: &P::Task,
        node: &Node<P>,
        words: impl FnOnce() -> [u64; 4],
        fits: impl FnOnce(&P::Task) -> Option<R>,
    ) -> Option<R> {
        let caller = self.caller.as_mut()?;
        if !caller.is(task, node) {
            return None;
        }
        let fit = fits(&server.task)?;
        let mut call = caller.record.try_lock()?;
        let loan = &mut call.loan;
        // A task that has ended has taken home what it lent.
        if loan.ready != server.loan && !mm::sabotaged!("any_loan_meets") {
            return None;
        }
        let claim = server.claim()?;
        loan.ready = NOT_READY;
        caller.wait = P::wait_cell(task).begin();
        let [a, b, c, d] = words();
        claim.finish_again([a, b, c, d, caller.badge]);
        Some(fit)
    }

    /// Answers a call that was handed over by [`call_again`](Meeting::call_again), by who has a reply right
    /// under a name, and begins its next wait. Returns that who is to go on `fits`. None: nothing was done.
    #[inline(always)]
    pub(super) fn answer_again<R>(
        &mut self,
        (domain, reply): (u64, Handle),
        words: impl FnOnce() -> [u64; 4],
        task: &P::Task,
        fits: impl FnOnce(&P::Task) -> Option<R>,
    ) -> Option<R> {
        let Caller { record, wait, .. } = self.caller.as_mut()?;
        let mut call = record.try_lock()?;
        let call = &mut *call;
        if self.server.is_some() {
            return None;
        }
        let loan = &mut call.loan;
        let is_here = loan.domain == domain || mm::sabotaged!("short_answer_by_any_process");
        let is_named = loan.name == reply || mm::sabotaged!("short_answer_by_any_name");
        if !is_here || !is_named {
            return None;
        }
        let next = next_lent(reply)?;
        let (woken, _) = call.caller.as_ref()?;
        let fit = fits(woken)?;
        // While no call is under way nobody waits, by a number that no wait has.
        let claim = P::wait_cell(woken).claim(*wait)?;
        let number = loan.number.into();
        (loan.ready, loan.name) = (number, next);
        *wait = 0;
        claim.finish_again(words());
        self.counts.rounds += 1;
        let (task, wait, loan) = (task.clone(), P::wait_cell(task).begin(), number);
        put(&mut self.server, Server { task, wait, loan });
        Some(fit)
    }
}

impl<P: Platform> Ipc<P> {
    /// Sleeps in turn until the wait of the current task has ended, mostly with [`Met`](crate::wait::Outcome::Met). If not: how it
    /// ended.
    #[inline(always)]
    pub(crate) fn sleep_to_meet(
        &self,
        woken: &P::Task,
        cell: &WaitCell<P>,
        deadline_ns: u64,
    ) -> Result<(), Result<(), Error>> {
        let parked = self.platform().unpark_and_park(woken, deadline_ns);
        match cell.has_met() {
            true => Ok(()),
            false => self.sleep_on_to_meet(cell, parked, deadline_ns),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn sleep_on_to_meet(
        &self,
        cell: &WaitCell<P>,
        parked: Parked,
        deadline_ns: u64,
    ) -> Result<(), Result<(), Error>> {
        let slept = self.sleep_on(cell, parked, deadline_ns);
        match cell.has_met() {
            true => Ok(()),
            false => Err(slept),
        }
    }

    /// Takes back the place of a loan, which a handle named before, for a server that no call by that loan has
    /// woken; its right is at home then, if it is not elsewhere.
    #[cold]
    pub(super) fn end_loan(&self, domain: &Domain<P>, reply: Handle) -> Option<crate::table::Kept> {
        let (kept, right, number) = domain.table.take_back(reply)?;
        if let Ok(record) = record(&right) {
            record.take_home(&right, Some(number));
        }
        Some(kept)
    }
}

/// Where a caller and a server meet, to be compared.
pub(super) fn place_of<P: Platform>(meeting: &Meeting<P>) -> usize {
    ptr::from_ref(meeting).addr()
}

/// Whether what waits for an answer may be lent.
pub(super) fn is_lendable(fit: Fit) -> bool {
    fit == Fit::Words
}
