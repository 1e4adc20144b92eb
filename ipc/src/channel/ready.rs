//! Who is ready for a message while there is none: one of those who receive at an end, in no list.
//!
//! It is told with the wake what its message is, so it looks into the queue only to take it. It waits by
//! a capability that it has looked up, and whoever takes that away has it look at it, under the lock of
//! the inbox; so nothing is kept here but the task. One that is given away may be back by then, so the inbox
//! numbers the departures, each capability knows its last one, and who is to look is told from which on.
//! Whoever comes while it waits, or while somebody is in the list of receivers, goes into that list: who
//! waits longest gets the message.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5. Lock rank: Queue, of the inbox that it is part of.

use core::ptr;
use core::sync::atomic::Ordering;

use abi::Error;
use abi::limits::{MAX_MESSAGE, MAX_MESSAGE_HANDLES};
use mm::lock::Lock;

use super::Inbox;
use super::queue::{Packet, to_words};
use super::receive::{Seen, Waiting};
use crate::wait::{Outcome, Ticket, WaitCell};
use crate::{Counted, Ipc, Node, Platform, Traffic};

/// The task that is ready, if one is.
pub(super) struct Ready<P: Platform> {
    task: Option<P::Task>,
    /// How often one waited.
    waits: u64,
    /// How often one was told.
    wakes: u64,
}

/// Where a task that was told finds the badge, and what else the message is.
const BADGE: usize = 4;
const SHAPE: usize = 5;

/// A shape that says nothing. One without [`KNOWN`] says from where on to look for what was given away.
const UNKNOWN: u64 = 0;
const KNOWN: u64 = 1 << 15;
const IS_CALL: u64 = 1 << 14;
const HANDLES_SHIFT: u32 = 10;
const NUMBER_SHIFT: u32 = 16;
const _: () = assert!(MAX_MESSAGE < 1 << HANDLES_SHIFT && MAX_MESSAGE_HANDLES < 1 << 4);

/// What the next message is, as whoever was woken for it is told. Its bytes are in the words.
pub(super) struct Told {
    pub(super) len: usize,
    pub(super) handles: usize,
    pub(super) is_call: bool,
    pub(super) badge: u64,
    /// Which one it is. With a number that is too great for this it is just not found.
    pub(super) number: u64,
}

/// How often capabilities of an end were given away. Each knows which time was its last one, so that whoever waits by it
/// and was woken finds out whether it left meanwhile, though it may be back, and however many others left.
pub(super) struct Departures(u64);

/// What a task that waits by a capability, and looks whether it may go on, is told: from which departure on
/// the ones that it may have missed are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Left(u64);

impl Departures {
    pub(super) const fn new() -> Departures {
        Departures(0)
    }

    /// Notes that a capability was given away, if one was; what those are told who wait now.
    pub(super) fn add<P: Platform>(&mut self, left: Option<&Node<P>>) -> Left {
        let next = self.0 + 1;
        if let Some(node) = left {
            self.0 = next;
            node.departure.set(next);
        }
        Left(next << NUMBER_SHIFT)
    }

    /// Whether a capability has left since the wait of the current task was ended, if it was told to look. Under
    /// the lock of the inbox.
    pub(super) fn has<P: Platform>(&self, node: &Node<P>, cell: &WaitCell<P>) -> bool {
        let shape = cell.word(SHAPE);
        if shape & KNOWN != 0 || shape == UNKNOWN || mm::sabotaged!("back_before_looked") {
            return false;
        }
        let (left, told) = (node.departure.get(), shape >> NUMBER_SHIFT);
        match mm::sabotaged!("first_departure_counts") {
            true => left == told,
            false => left >= told,
        }
    }
}

impl Left {
    /// Nothing.
    pub(super) const NOTHING: Left = Left(UNKNOWN);

    /// Tells a task, whose wait is claimed.
    pub(super) fn tell<P: Platform>(self, cell: &WaitCell<P>) {
        cell.words[SHAPE].store(self.0, Ordering::Relaxed);
    }
}

impl<P: Platform> Ready<P> {
    /// Nobody.
    pub(super) const fn new() -> Ready<P> {
        Ready {
            task: None,
            waits: 0,
            wakes: 0,
        }
    }

    /// The waits here.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            waits: self.waits,
            wakes: self.wakes,
            ..Traffic::NONE
        }
    }

    #[inline(always)]
    pub(super) fn is_nobody(&self) -> bool {
        self.task.is_none()
    }

    /// Begins the wait of the current task, while nobody else is here.
    #[inline(always)]
    pub(super) fn enter(&mut self, task: &P::Task) {
        let cell = P::wait_cell(task);
        cell.words[SHAPE].store(UNKNOWN, Ordering::Relaxed);
        cell.begin();
        self.task = Some(task.clone());
        self.waits += 1;
    }

    /// Takes a task out that does not wait any more.
    pub(super) fn leave(&mut self, task: &P::Task) {
        let cell = ptr::from_ref(P::wait_cell(task));
        let is_here = |ready: &P::Task| ptr::eq(P::wait_cell(ready), cell);
        if self.task.as_ref().is_some_and(is_here) {
            self.task = None;
        }
    }

    /// Has whoever is here look whether it may go on. The caller unparks it.
    pub(super) fn look(&mut self, left: Left) -> Option<P::Task> {
        if mm::sabotaged!("revoke_skips_who_is_ready") {
            return None;
        }
        let task = self.task.take()?;
        let cell = P::wait_cell(&task);
        let claim = cell.claim(cell.number())?;
        self.wakes += 1;
        left.tell(cell);
        claim.finish_with([]);
        Some(task)
    }

    /// Ends the wait of whoever is here; with [`Outcome::Ready`] it is to look what there is. The caller
    /// unparks it.
    pub(super) fn end(&mut self, outcome: Outcome) -> Option<P::Task> {
        let task = self.task.take()?;
        let told = P::wait_cell(&task).complete(outcome);
        self.wakes += u64::from(told);
        told.then_some(task)
    }

    /// Ends it with the message that is the first in the queue from now on. The caller unparks who waited.
    #[inline(always)]
    pub(super) fn tell(&mut self, packet: &Packet<P>, number: u64) -> Option<P::Task> {
        let task = self.task.take()?;
        // It leaves before it waits elsewhere.
        let cell = P::wait_cell(&task);
        let claim = cell.claim(cell.number())?;
        self.wakes += 1;
        let len = packet.len as u64;
        let known = len == 0 || tell_bytes(cell, packet);
        let call = if packet.reply.is_some() { IS_CALL } else { 0 };
        let handles = (packet.handles() as u64) << HANDLES_SHIFT;
        let shape = match known {
            true => number << NUMBER_SHIFT | KNOWN | call | handles | len,
            false => UNKNOWN,
        };
        cell.words[BADGE].store(packet.badge, Ordering::Relaxed);
        cell.words[SHAPE].store(shape, Ordering::Relaxed);
        claim.finish_with([]);
        Some(task)
    }
}

impl Told {
    /// What the current task was woken with, if that says what the message is.
    #[inline(always)]
    pub(super) fn of<P: Platform>(cell: &WaitCell<P>) -> Option<Told> {
        let shape = cell.word(SHAPE);
        if shape & KNOWN == 0 {
            return None;
        }
        Some(Told {
            len: (shape & ((1 << HANDLES_SHIFT) - 1)) as usize,
            handles: (shape >> HANDLES_SHIFT & 0xf) as usize,
            is_call: shape & IS_CALL != 0,
            badge: cell.word(BADGE),
            number: shape >> NUMBER_SHIFT,
        })
    }
}

/// Puts the bytes of a message into the words of a task, if there is room for them.
#[inline(always)]
fn tell_bytes<P: Platform>(cell: &WaitCell<P>, packet: &Packet<P>) -> bool {
    let words = to_words(packet.bytes());
    if let Some((words, _)) = words {
        cell.set_words(words);
    }
    words.is_some()
}

impl<P: Platform> Ipc<P> {
    /// Sleeps until the current task, which is ready at an inbox, is told what there is or is to look.
    /// `woken` is somebody who is to go on.
    #[inline(always)]
    pub(super) fn sleep_ready(
        &self,
        by: &Waiting<'_, P>,
        inbox: &Lock<Inbox<P>>,
        task: &P::Task,
        woken: Option<&P::Task>,
        seen: &mut Seen,
    ) -> Result<(), Error> {
        let cell = P::wait_cell(task);
        let slept = match woken {
            Some(woken) => {
                self.platform().count(Counted::Wait);
                self.sleep_in_turn(woken, cell, by.deadline_ns)
            }
            None => self.sleep(&Ticket { task: task.clone() }, by.deadline_ns),
        };
        if slept.is_ok() && seen.hear(cell) {
            return Ok(());
        }
        self.after_ready(by, inbox, task, slept)
    }

    /// What follows a wait that did not end with a message.
    #[cold]
    fn after_ready(
        &self,
        by: &Waiting<'_, P>,
        inbox: &Lock<Inbox<P>>,
        task: &P::Task,
        slept: Result<(), Error>,
    ) -> Result<(), Error> {
        if slept.is_err() {
            inbox.lock().ready.leave(task);
            return slept;
        }
        let held = by.end.check(by.domain).and_then(|()| {
            let cell = P::wait_cell(task);
            match inbox.lock().departures.has(&by.end.node, cell) {
                true => Err(Error::Cancelled),
                false => Ok(()),
            }
        });
        held.inspect_err(|_| self.wake_next_receiver(inbox))
    }
}
