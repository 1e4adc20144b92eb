//! Those who wait at one object: a list made of the cells of the tasks themselves.
//!
//! It has no lock of its own: it is part of what the lock of the object protects, and whoever enlists
//! looks under it whether there is something to wait for. A task is in one list at a time, so its place
//! is part of its cell, and a list needs no memory, however long it is.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5 (S19: a revoke marks nodes and then looks through the
//! lists; whoever enlists looks at its node under the lock of the list), I10. Lock rank: Waits, for
//! each place by itself, above that of the list.

use core::fmt;
use core::mem;
use core::sync::atomic::Ordering;

use abi::{Error, Rights};

use crate::wait::{Outcome, Ticket, WAIT_WORDS, WaitCell};
use crate::{Node, Platform};

/// Where a task is in a list. Changes under the lock of that list.
pub(crate) struct Place<P: Platform> {
    /// Through which capability it waits, while it is in a list.
    authority: Option<(Node<P>, u64)>,
    /// What that has to allow as long as the wait lasts.
    right: Rights,
    /// Which of several things it waits for.
    mask: u32,
    previous: Option<P::Task>,
    next: Option<P::Task>,
}

impl<P: Platform> Default for Place<P> {
    fn default() -> Self {
        Place {
            authority: None,
            right: Rights::empty(),
            mask: 0,
            previous: None,
            next: None,
        }
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

    /// Begins a wait of the current task, `task`, through a capability of a domain, which needs `right`
    /// for it until it ends. The capability is kept by the caller until the wait is withdrawn.
    ///
    /// # Errors
    /// Why `holder` can't wait by the capability any more: `Revoked`, `BadHandle`, `InTransit`, `Denied`.
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
        let cell = P::wait_cell(&task);
        cell.begin();
        let previous = self.last.replace(task.clone());
        match &previous {
            Some(previous) => P::wait_cell(previous).place.lock().next = Some(task.clone()),
            None => self.first = Some(task.clone()),
        }
        let place = Place {
            authority: Some((node.clone(), holder)),
            right,
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

    /// Ends the waits of those in the list whose capability is not their process's any more, or does not
    /// allow them any more, as far as `batch` has room.
    pub(crate) fn wake_unheld(&mut self, batch: &mut Batch<P>) {
        self.wake_some(batch, |_, place| match &place.authority {
            Some((node, holder)) => match node.check_allowed(*holder, place.right) {
                Ok(()) => Fate::Stays,
                Err(error) => Fate::Ends(Outcome::of_unheld(error)),
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
    pub(crate) fn new() -> Batch<P> {
        Batch {
            tasks: [const { None }; BATCH],
            len: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == BATCH
    }

    /// The tasks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &P::Task> {
        self.tasks.iter().flatten()
    }

    fn push(&mut self, task: P::Task) {
        self.tasks[self.len] = Some(task);
        self.len += 1;
    }
}
