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
        let rest = self.wake_some(batch, |cell, place| {
            let matching = place.mask & mask;
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
            let next = |task: &P::Task| P::wait_cell(task).place.lock().next.clone();
            batch.left = Some(core::iter::successors(rest, next).count());
        }
    }

    /// Ends the waits of those in the list whose capability is not their process's any more, or does not
    /// allow them any more, as far as `batch` has room.
    pub(crate) fn wake_unheld(&mut self, batch: &mut Batch<P>) {
        let _ = self.wake_some(batch, |_, place| match &place.authority {
            Some((node, holder)) => match node.check_allowed(*holder, place.right) {
                Ok(()) => Fate::Stays,
                Err(error) => Fate::Ends(Outcome::of_unheld(error)),
            },
            None => Fate::Stays,
        });
    }

    /// Wakes some, from where the batch before stopped if that is still known. Returns the first that was
    /// not looked at.
    fn wake_some(
        &mut self,
        batch: &mut Batch<P>,
        fate: impl Fn(&WaitCell<P>, &Place<P>) -> Fate,
    ) -> Option<P::Task> {
        let mut next = match batch.seen.take().filter(Seen::is_listed) {
            Some(seen) => {
                let next = P::wait_cell(&seen.task).place.lock().next.clone();
                batch.seen = Some(seen);
                next
            }
            None => self.first.clone(),
        };
        while batch.has_room()
            && let Some(task) = next.take()
        {
            let cell = P::wait_cell(&task);
            let fate = {
                let place = cell.place.lock();
                next = place.next.clone();
                fate(cell, &place)
            };
            match fate {
                Fate::Stays => batch.seen = Some(Seen::of(task)),
                Fate::Ends(outcome) => {
                    self.unlink(&task);
                    if cell.complete(outcome) {
                        batch.push(task);
                    }
                }
            }
        }
        next
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

/// One who was looked at and waits on.
struct Seen<P: Platform> {
    task: P::Task,
    /// Its wait.
    number: u64,
}

impl<P: Platform> Seen<P> {
    fn of(task: P::Task) -> Seen<P> {
        let number = P::wait_cell(&task).number();
        Seen { task, number }
    }

    /// Whether it is in the list still, for the same wait.
    fn is_listed(&self) -> bool {
        let cell = P::wait_cell(&self.task);
        cell.place.lock().authority.is_some() && cell.number() == self.number
    }
}

/// Tasks that are unparked together, after unlocking, and how far they have been looked for.
pub(crate) struct Batch<P: Platform> {
    tasks: [Option<P::Task>; BATCH],
    len: usize,
    /// The last that stays.
    seen: Option<Seen<P>>,
    /// How many may still be woken, in all batches.
    left: Option<usize>,
}

impl<P: Platform> Batch<P> {
    pub(crate) fn new() -> Batch<P> {
        Batch {
            tasks: [const { None }; BATCH],
            len: 0,
            seen: None,
            left: None,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == BATCH
    }

    fn has_room(&self) -> bool {
        !self.is_full() && self.left != Some(0)
    }

    /// Takes the tasks out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = P::Task> {
        let len = core::mem::take(&mut self.len);
        self.tasks[..len].iter_mut().filter_map(Option::take)
    }

    fn push(&mut self, task: P::Task) {
        self.tasks[self.len] = Some(task);
        self.len += 1;
        self.left = self.left.map(|left| left - 1);
    }
}
