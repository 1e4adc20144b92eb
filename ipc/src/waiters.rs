//! Those who wait at one object: a list made of the cells of the tasks themselves.
//!
//! It has no lock of its own: it is part of what the lock of the object protects, and whoever enlists
//! looks under it whether there is something to wait for. The first, who mostly is the only one, is in
//! the list itself. A task is in one list at a time, so the place of any other is part of its cell, and
//! a list needs no memory, however long it is.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5 (S19: a revoke marks nodes and then looks through the
//! lists; whoever enlists looks at its node under the lock of the list), I10. Lock rank: Waits, for
//! each place by itself, above that of the list.

mod batch;
mod place;

use core::fmt;
use core::mem;
use core::ptr;
use core::sync::atomic::Ordering;

use abi::{Error, Rights};

use crate::wait::{Outcome, Ticket, WAIT_WORDS, WaitCell};
use crate::{Node, Platform, Traffic};

pub(crate) use batch::Batch;
use batch::Seen;
use place::Authority;
pub(crate) use place::Place;

/// Somebody in a list.
struct Waiter<P: Platform> {
    task: P::Task,
    authority: Authority<P>,
}

/// Those who wait at an object, the first to come first. It is part of what the lock of the object
/// protects.
pub struct Waiters<P: Platform> {
    /// The first, who mostly is the only one: here, so that its cell is not locked.
    first: Option<Waiter<P>>,
    /// Those behind, in their cells; nobody without a first.
    second: Option<P::Task>,
    last: Option<P::Task>,
    /// Waits that began here.
    waits: u64,
    /// Those that were ended here.
    wakes: u64,
}

impl<P: Platform> Waiters<P> {
    /// Nobody.
    pub const fn new() -> Waiters<P> {
        Waiters {
            first: None,
            second: None,
            last: None,
            waits: 0,
            wakes: 0,
        }
    }

    /// The waits that began here, and those that were ended here. Who ends one without the list counts
    /// it elsewhere.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            waits: self.waits,
            wakes: self.wakes,
            ..Traffic::NONE
        }
    }

    /// Counts a wait that began beside the list.
    #[inline(always)]
    pub(crate) fn count_wait(&mut self) {
        self.waits += 1;
    }

    /// Counts that a wait which began here was ended because of what happened.
    #[inline(always)]
    pub(crate) fn count_wake(&mut self) {
        self.wakes += u64::from(!mm::sabotaged!("wake_not_counted"));
    }

    /// Whether nobody is in the list. Those in it may have been told already.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Begins a wait of the current task, `task`, through a capability of a domain, which needs `right`
    /// for it until it ends. The capability is kept by the caller until the wait is withdrawn.
    ///
    /// # Errors
    /// Why `holder` can't wait by the capability any more: `Revoked`, `BadHandle`, `InTransit`, `Denied`.
    #[inline]
    pub fn enlist(
        &mut self,
        task: P::Task,
        node: &Node<P>,
        holder: u64,
        right: Rights,
    ) -> Result<Ticket<P>, Error> {
        self.enlist_for(task, node, holder, right, u32::MAX)
    }

    /// The same for some of several things.
    #[inline]
    pub(crate) fn enlist_for(
        &mut self,
        task: P::Task,
        node: &Node<P>,
        holder: u64,
        right: Rights,
        mask: u32,
    ) -> Result<Ticket<P>, Error> {
        // A revoke or reduce marks its nodes first and looks through the list afterwards.
        if !mm::sabotaged!("enlisted_without_recheck") {
            node.check_allowed(holder, right)?;
        }
        self.enter(&task, node, holder, right, mask);
        Ok(Ticket { task })
    }

    /// The same without a look at the capability, which may be gone or on its way: for a wait that goes on without it.
    pub(crate) fn enter_as(
        &mut self,
        task: P::Task,
        node: &Node<P>,
        holder: u64,
        right: Rights,
    ) -> Ticket<P> {
        self.enter(&task, node, holder, right, u32::MAX);
        Ticket { task }
    }

    /// The same by a capability that was looked at under the lock of the list, without a ticket: the
    /// caller withdraws the wait by one of its own.
    #[inline(always)]
    pub(crate) fn enter(
        &mut self,
        task: &P::Task,
        node: &Node<P>,
        holder: u64,
        right: Rights,
        mask: u32,
    ) {
        P::wait_cell(task).begin();
        self.waits += 1;
        let waiter = Waiter {
            task: task.clone(),
            authority: Authority {
                node: node.clone(),
                holder,
                right,
                mask,
            },
        };
        match self.first {
            None => self.first = Some(waiter),
            Some(_) => self.append(waiter),
        }
    }

    /// Puts somebody behind the first.
    #[cold]
    fn append(&mut self, waiter: Waiter<P>) {
        let Waiter { task, authority } = waiter;
        let previous = self.last.replace(task.clone());
        match &previous {
            Some(previous) => P::wait_cell(previous).place.lock().next = Some(task.clone()),
            None => self.second = Some(task.clone()),
        }
        let place = Place {
            authority: Some(authority),
            previous,
            next: None,
        };
        let before = mem::replace(&mut *P::wait_cell(&task).place.lock(), place);
        debug_assert!(before.authority.is_none(), "a task waits at one place");
    }

    /// Takes the first out of the list.
    #[inline(always)]
    fn pop(&mut self) -> Option<P::Task> {
        let Waiter { task, .. } = self.first.take()?;
        if self.second.is_some() {
            self.advance();
        }
        Some(task)
    }

    /// Makes the second the first.
    #[cold]
    fn advance(&mut self) {
        if let Some(task) = self.second.clone()
            && let Some(authority) = self.unlink_behind(&task)
        {
            self.first = Some(Waiter { task, authority });
        }
    }

    /// Takes a task out of the list, if it is in it.
    fn unlink(&mut self, task: &P::Task) {
        match self.if_first(task) {
            Some(_) => drop(self.pop()),
            None => drop(self.unlink_behind(task)),
        }
    }

    /// The same of one who is not the first.
    fn unlink_behind(&mut self, task: &P::Task) -> Option<Authority<P>> {
        let place = mem::take(&mut *P::wait_cell(task).place.lock());
        let authority = place.authority?;
        match &place.previous {
            Some(previous) => P::wait_cell(previous).place.lock().next = place.next.clone(),
            None => self.second = place.next.clone(),
        }
        match &place.next {
            Some(next) => P::wait_cell(next).place.lock().previous = place.previous,
            None => self.last = place.previous,
        }
        Some(authority)
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
        while let Some(task) = self.pop() {
            if complete(&task) {
                self.count_wake();
                return Some(task);
            }
        }
        None
    }

    /// Ends the waits of all in the list with an outcome, as far as `batch` has room. Those who wait again
    /// meanwhile are not woken again for ever.
    pub(crate) fn wake_all(&mut self, outcome: Outcome, batch: &mut Batch<P>) {
        let rest = self.wake_some(batch, |_, _| Fate::Ends(outcome));
        self.limit(batch, rest);
    }

    /// Ends the waits of all in the list that wait for some of a mask, as far as `batch` has room:
    /// with that part of the mask as their first word and `value` as the second. Those who wait again
    /// meanwhile are not woken again for ever.
    pub(crate) fn wake_matching(&mut self, mask: u32, value: u64, batch: &mut Batch<P>) {
        let rest = self.wake_some(batch, |cell, authority| {
            let matching = authority.mask & mask;
            if matching == 0 {
                return Fate::Stays;
            }
            cell.words[0].store(matching.into(), Ordering::Relaxed);
            cell.words[1].store(value, Ordering::Relaxed);
            Fate::Ends(Outcome::Ready)
        });
        self.limit(batch, rest);
    }

    /// Lets no more be woken than there are from `rest` on, if one batch was not enough: whoever waits
    /// again is behind all of them.
    fn limit(&self, batch: &mut Batch<P>, rest: Option<P::Task>) {
        if batch.is_full() && batch.left.is_none() && !mm::sabotaged!("woken_without_end") {
            batch.left = Some(core::iter::successors(rest, |task| self.after(task)).count());
        }
    }

    /// Ends the waits of those in the list whose capability is not their process's any more, or does not
    /// allow them any more, as far as `batch` has room.
    pub(crate) fn wake_unheld(&mut self, batch: &mut Batch<P>) {
        let _ = self.wake_some(batch, |_, authority| {
            let Authority {
                node,
                holder,
                right,
                ..
            } = authority;
            match node.check_allowed(*holder, *right) {
                Ok(()) => Fate::Stays,
                Err(error) => Fate::Ends(Outcome::of_unheld(error)),
            }
        });
    }

    /// Wakes some, from where the batch before stopped if that is still known. Returns the first that was
    /// not looked at.
    fn wake_some(
        &mut self,
        batch: &mut Batch<P>,
        fate: impl Fn(&WaitCell<P>, &Authority<P>) -> Fate,
    ) -> Option<P::Task> {
        let mut next = match batch.seen.take().filter(|seen| self.has(seen)) {
            Some(seen) => {
                let next = self.after(&seen.task);
                batch.seen = Some(seen);
                next
            }
            None => self.first.as_ref().map(|first| first.task.clone()),
        };
        while batch.has_room()
            && let Some(task) = next.take()
        {
            next = self.after(&task);
            let cell = P::wait_cell(&task);
            let fate = |authority: &Authority<P>| fate(cell, authority);
            let fate = match self.if_first(&task) {
                Some(first) => Some(fate(&first.authority)),
                None => cell.place.lock().authority.as_ref().map(fate),
            };
            match fate {
                Some(Fate::Ends(outcome)) => {
                    self.unlink(&task);
                    if cell.complete(outcome) {
                        self.count_wake();
                        batch.push(task);
                    }
                }
                _ => batch.seen = Some(Seen::of(task)),
            }
        }
        next
    }

    /// The first in the list, if that is a task.
    fn if_first(&self, task: &P::Task) -> Option<&Waiter<P>> {
        let cell = ptr::from_ref(P::wait_cell(task));
        let first = self.first.as_ref();
        first.filter(|first| ptr::eq(P::wait_cell(&first.task), cell))
    }

    /// Who comes after somebody in the list.
    fn after(&self, task: &P::Task) -> Option<P::Task> {
        match self.if_first(task) {
            Some(_) => self.second.clone(),
            None => P::wait_cell(task).place.lock().next.clone(),
        }
    }

    /// Whether somebody is in the list still, for the same wait.
    fn has(&self, seen: &Seen<P>) -> bool {
        let cell = P::wait_cell(&seen.task);
        let listed = self.if_first(&seen.task).is_some() || cell.place.lock().authority.is_some();
        listed && cell.number() == seen.number
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
