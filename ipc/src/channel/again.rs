//! Who met meets again in some hundred instructions, and a call in words is two halves: what is done before
//! the CPU goes over to the other task, and what is left when it has come back. In between the kernel
//! switches, and keeps nothing for the second half, which finds anew what it needs.
//!
//! The first half waits for nobody: what is not as it should be, or in use at this moment, is in its way, and
//! then nothing was done. So it can run with interrupts off. Whoever finds something in the way calls
//! [`call_words`](Ipc::call_words) or [`serve_words`](Ipc::serve_words), which do the same at length.
//!
//! The second half is only to take the words out of the cell if its wait has ended by [meeting](WaitCell::MET)
//! again; a kernel may do that itself, on the way back to the program.

use core::mem::offset_of;

use abi::{Error, FOREVER, Handle, Words};

use super::loan::{NEXT, next_name};
use super::serve::found;
use super::words::answered;
use crate::wait::Outcome;
use crate::{Domain, Ipc, Node, Parked, Payload, Platform, WaitCell};

/// From the handle of a right to reply, which a server answered by, to the one that names the right of the next
/// call where they have met again.
pub const NEXT_REPLY: u64 = NEXT;

impl<P: Platform> WaitCell<P> {
    /// Where it has a byte that says how its wait ended.
    pub const OUTCOME: usize = offset_of!(Self, state);

    /// What that byte is where two have met again.
    pub const MET: u8 = Outcome::Met as u8;

    /// Where it has the words: four, and of a call the badge of who called.
    pub const WORDS: usize = offset_of!(Self, words);
}

impl<P: Platform> Ipc<P> {
    /// The first half of [`call_words`](Ipc::call_words) without a time, or with one that has not come: hands the words to who answered the
    /// current task last where it called last, and begins to wait for the answer. Before anything is done `fits`
    /// is asked of the current task and of who is to go on, with locks held, and what it says is returned. The words are
    /// asked for when it is sure that they are handed over; who counts [that](crate::Counted::Handed) is the caller
    /// of this. None: nothing was done.
    #[inline(always)]
    pub fn call_again<R>(
        &self,
        caller: &Domain<P>,
        end: Handle,
        words: impl FnOnce() -> [u64; 4],
        fits: impl FnOnce(&P::Task, &P::Task) -> Option<R>,
    ) -> Option<R> {
        let call = |task: &P::Task, node: &Node<P>| {
            let Payload::ChannelEnd(channel, side) = node.object().payload() else {
                return None;
            };
            let mut inbox = channel.inbox(side.peer()).try_lock()?;
            if !inbox.is_open_to_caller(node, caller.koid()) {
                return None;
            }
            let fits = |server: &P::Task| fits(task, server);
            let (_server, fit) = inbox.meeting.call_again(task, node, words, fits)?;
            Some(fit)
        };
        self.platform()
            .with_current_task(|task| caller.table.try_with(end, |node| call(task, node)))
    }

    /// The first half of [`serve_words`](Ipc::serve_words): answers who called by the right that is lent to the
    /// current task, and begins to serve the next call. As [`call_again`](Ipc::call_again).
    #[inline(always)]
    pub fn answer_again<R>(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        words: impl FnOnce() -> [u64; 4],
        fits: impl FnOnce(&P::Task, &P::Task) -> Option<R>,
    ) -> Option<R> {
        if mm::sabotaged!("reply_twice") {
            return None;
        }
        let answer = |task: &P::Task, node: &Node<P>| {
            let Payload::ChannelEnd(channel, side) = node.object().payload() else {
                return None;
            };
            let mut inbox = channel.inbox(*side).try_lock()?;
            if !inbox.is_open_to_server(node, domain.koid()) {
                return None;
            }
            let by = (domain.koid(), reply);
            let fits = |caller: &P::Task| fits(task, caller);
            inbox.meeting.answer_again(by, words, task, fits)
        };
        self.platform()
            .with_current_task(|task| domain.table.try_with(end, |node| answer(task, node)))
    }

    /// The second half of a call: sleeps on if need be, until a time, and returns what the call comes to. Errors as of
    /// [`call_words`](Ipc::call_words).
    pub fn called_again(
        &self,
        caller: &Domain<P>,
        end: Handle,
        deadline_ns: u64,
    ) -> Result<[u64; 4], Error> {
        if let Err(slept) = self.meet_again(deadline_ns) {
            self.end_meeting(caller, end, slept)?;
        }
        Ok(self.platform().with_current_task(answered::<P>))
    }

    /// The second half of an answer: sleeps on if need be, and returns the next call. Errors as of
    /// [`serve_words`](Ipc::serve_words).
    pub fn answered_again(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
    ) -> Result<Words, Error> {
        if let Err(slept) = self.meet_again(FOREVER) {
            return self.after_loan(domain, (end, reply), slept);
        }
        let found = |task: &P::Task| found::<P>(task, next_name(reply));
        Ok(self.platform().with_current_task(found))
    }

    /// Waits until the wait of the current task has ended, which is asleep no more. If it has not
    /// [met](WaitCell::MET) again: how it ended.
    fn meet_again(&self, deadline_ns: u64) -> Result<(), Result<(), Error>> {
        self.platform().with_current_task(|task| {
            let cell = P::wait_cell(task);
            match cell.has_met() {
                true => Ok(()),
                false => self.sleep_on_to_meet(cell, Parked::Unparked, deadline_ns),
            }
        })
    }
}
