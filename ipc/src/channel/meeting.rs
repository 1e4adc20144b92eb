//! Where a call of words meets who serves it, without a list and a queue between them.
//!
//! One task that serves waits here at a time, and one whose call was handed to it. Both look under the
//! lock of the inbox whether their capability is theirs, and whoever takes that away looks here
//! afterwards, under the same lock. So whoever is here is kept by itself, and nothing dies when it is
//! taken out. Who leaves by itself and finds its capability gone may stay here for a moment, so each is
//! known by the number of its wait, and no later one is taken for it.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5. Lock rank: Queue, of the inbox that it is part of.

use alloc::sync::Arc;
use core::ptr;

use abi::Rights;
use mm::lock::Lock;

use super::Inbox;
use super::loan::NO_LOAN;
use super::queue::WORDS_LEN;
use super::ready::Left;
use super::reply::{Reply, put};
use crate::wait::{Claim, Outcome};
use crate::{Ipc, Node, Platform, Traffic};

/// Who meets at an end.
pub(super) struct Meeting<P: Platform> {
    pub(super) server: Option<Server<P>>,
    pub(super) caller: Option<Caller<P>>,
    pub(super) counts: Counts,
}

/// How often something happened that stands for several counts.
pub(super) struct Counts {
    /// Calls that were handed over: a server woke, and a caller waits.
    pub(super) calls: u64,
    /// Both of the next at once, by who is [lent](super::loan) the right.
    pub(super) rounds: u64,
    /// Answers of words by who serves on: a caller woke.
    answers: u64,
    /// Waits of those who serve.
    serves: u64,
}

/// Who serves.
pub(super) struct Server<P: Platform> {
    pub(super) task: P::Task,
    /// The number of its wait.
    pub(super) wait: u64,
    /// The number of what it is lent.
    pub(super) loan: u64,
}

impl<P: Platform> Server<P> {
    /// Makes sure that its wait, if it has not ended, ends with what the claim is finished with.
    #[inline(always)]
    pub(super) fn claim(&self) -> Option<Claim<'_, P>> {
        P::wait_cell(&self.task).claim(self.wait())
    }

    /// The number of its wait here.
    #[inline(always)]
    fn wait(&self) -> u64 {
        match mm::sabotaged!("who_served_is_taken_for_who_serves") {
            true => P::wait_cell(&self.task).number(),
            false => self.wait,
        }
    }
}

/// Who waits for the answer of a call that was handed over, or did, and the right is [lent](super::loan).
pub(super) struct Caller<P: Platform> {
    /// The record of its calls, which knows the task.
    pub(super) record: Arc<Reply<P>>,
    /// Where the cell of the task is: only to be compared, while the record is of a call or lent.
    cell: usize,
    /// The number of its wait; 0: it does not wait.
    pub(super) wait: u64,
    /// Through which capability, and whose that is.
    pub(super) node: Node<P>,
    holder: u64,
    /// What is told of that.
    pub(super) badge: u64,
}

impl<P: Platform> Caller<P> {
    /// Whether it is a task that calls through a capability. Not asked of one that may have ended.
    #[inline(always)]
    pub(super) fn is(&self, task: &P::Task, node: &Node<P>) -> bool {
        self.node.is(node) && self.cell == ptr::from_ref(P::wait_cell(task)).addr()
    }
}

impl<P: Platform> Meeting<P> {
    /// Nobody.
    pub(super) const fn new() -> Meeting<P> {
        Meeting {
            server: None,
            caller: None,
            counts: Counts {
                calls: 0,
                rounds: 0,
                answers: 0,
                serves: 0,
            },
        }
    }

    /// What of that counts at the end where one serves.
    pub(super) fn served(&self) -> Traffic {
        Traffic {
            messages: self.counts.calls,
            bytes: self.counts.calls * WORDS_LEN as u64,
            wakes: self.counts.calls,
            waits: self.counts.serves + self.counts.rounds,
        }
    }

    /// What of that counts at the end where one calls.
    pub(super) fn called(&self) -> Traffic {
        let answers = self.counts.answers + self.counts.rounds;
        Traffic {
            messages: answers,
            bytes: answers * WORDS_LEN as u64,
            wakes: answers,
            waits: self.counts.calls,
        }
    }

    /// Counts a call that was handed over.
    #[inline(always)]
    pub(super) fn count_call(&mut self) {
        self.counts.calls += 1;
    }

    /// Counts an answer of words to who met who serves on.
    #[inline(always)]
    pub(super) fn count_answer(&mut self) {
        self.counts.answers += 1;
    }

    /// Whether somebody serves, and no caller waits.
    #[inline(always)]
    pub(super) fn is_ready(&self) -> bool {
        self.server.is_some() && self.has_no_caller()
    }

    /// Whether nobody serves.
    #[inline(always)]
    pub(super) fn has_no_server(&self) -> bool {
        self.server.is_none()
    }

    /// Begins the wait of a task that serves: the current one.
    #[inline(always)]
    pub(super) fn serve(&mut self, task: &P::Task, loan: u64) {
        self.counts.serves += 1;
        let wait = P::wait_cell(task).begin();
        let task = task.clone();
        put(&mut self.server, Server { task, wait, loan });
    }

    /// Whether no caller waits.
    #[inline(always)]
    pub(super) fn has_no_caller(&self) -> bool {
        self.caller.as_ref().is_none_or(|caller| caller.wait == 0)
    }

    /// Takes who serves.
    #[inline(always)]
    pub(super) fn take_server(&mut self) -> Option<Server<P>> {
        self.server.take()
    }

    /// Ends the wait of who serves; with [`Outcome::Ready`] it is to look what there is, and whether it may
    /// go on. The caller unparks it.
    pub(super) fn end_server(&mut self, outcome: Outcome, left: Left) -> Option<P::Task> {
        let server = self.server.take()?;
        let told = match outcome {
            Outcome::Ready => server
                .claim()
                .map(|claim| {
                    left.tell(P::wait_cell(&server.task));
                    claim.finish_with([]);
                })
                .is_some(),
            outcome => P::wait_cell(&server.task).complete_wait(server.wait(), outcome),
        };
        told.then_some(server.task)
    }

    /// Takes a task out that does not serve any more.
    pub(super) fn leave_server(&mut self, task: &P::Task) {
        if self
            .server
            .as_ref()
            .is_some_and(|server| is::<P>(&server.task, task))
        {
            self.server = None;
        }
    }

    /// Begins the wait of a caller, the current task, while no other waits.
    #[inline(always)]
    pub(super) fn call(
        &mut self,
        task: &P::Task,
        record: &Arc<Reply<P>>,
        node: &Node<P>,
        holder: u64,
    ) {
        let caller = Caller {
            record: record.clone(),
            cell: ptr::from_ref(P::wait_cell(task)).addr(),
            wait: P::wait_cell(task).begin(),
            node: node.clone(),
            holder,
            badge: node.badge(),
        };
        // Who serves here, while this call goes to who is ready for a message, is met by a loan no more.
        if let Some(server) = &mut self.server {
            server.loan = NO_LOAN;
        }
        self.caller = Some(caller);
    }

    /// Takes a caller out, by the record of its calls; false: it does not wait here.
    #[inline(always)]
    pub(super) fn leave_caller(&mut self, record: &Reply<P>) -> bool {
        let waits = self.has_caller(record);
        if waits {
            drop(self.caller.take());
        }
        waits
    }

    /// Whether a caller waits here, by the record of its calls.
    #[inline(always)]
    pub(super) fn has_caller(&self, record: &Reply<P>) -> bool {
        let is_here = |caller: &Caller<P>| ptr::eq(&*caller.record, record) && caller.wait != 0;
        self.caller.as_ref().is_some_and(is_here)
    }

    /// Lets a caller stay here that does not wait any more.
    pub(super) fn rest_caller(&mut self) {
        if let Some(caller) = &mut self.caller {
            caller.wait = 0;
        }
    }

    /// Takes a caller out that does not wait.
    pub(super) fn take_resting(&mut self) -> Option<Caller<P>> {
        self.caller.take_if(|caller| caller.wait == 0)
    }

    /// Ends the wait of a caller whose capability is not its domain's any more. The caller unparks it.
    fn end_unheld_caller(&mut self) -> Option<P::Task> {
        if mm::sabotaged!("revoke_skips_meetings") {
            return None;
        }
        let caller = self.caller.as_ref()?;
        let allowed = caller.node.check_allowed(caller.holder, Rights::SEND);
        let outcome = Outcome::of_unheld(allowed.err()?);
        let Caller { record, wait, .. } = self.caller.take()?;
        let task = record.caller().filter(|_| wait != 0)?;
        let told = P::wait_cell(&task).complete_wait(wait, outcome);
        told.then_some(task)
    }
}

impl<P: Platform> Inbox<P> {
    /// Whether who calls in words through a capability may meet who serves here: what is true of each message is
    /// known to be, and nothing is before it. A revoke marks the node first and takes this lock afterwards.
    #[inline(always)]
    pub(super) fn is_open_to_caller(&self, node: &Node<P>, caller: u64) -> bool {
        let allowed = node.is_plainly(caller, None, Rights::SEND);
        allowed && self.queue.is_empty() && self.limits.is_none()
    }

    /// The same of who serves here and answers a call.
    #[inline(always)]
    pub(super) fn is_open_to_server(&self, node: &Node<P>, server: u64) -> bool {
        let allowed = node.is_plainly(server, None, Rights::RECEIVE);
        allowed && self.queue.is_empty() && !self.peer_closed
    }
}

/// Whether both are one task.
#[inline(always)]
pub(super) fn is<P: Platform>(task: &P::Task, other: &P::Task) -> bool {
    ptr::eq(P::wait_cell(task), P::wait_cell(other))
}

impl<P: Platform> Ipc<P> {
    /// Has who is ready and who serves at an end look whether they may go on, and remember what `left`.
    pub(super) fn end_looking_waits(&self, inbox: &Lock<Inbox<P>>, left: Option<&Node<P>>) {
        let woken = {
            let mut inbox = inbox.lock();
            let left = inbox.departures.add(left);
            [
                inbox.ready.look(left),
                inbox.end_server(Outcome::Ready, left),
            ]
        };
        for task in woken.iter().flatten() {
            self.platform().unpark(task);
        }
    }

    /// Ends the call that was handed over at an end, if its capability is not its domain's any more.
    pub(super) fn end_unheld_call(&self, inbox: &Lock<Inbox<P>>) {
        let woken = {
            let mut inbox = inbox.lock();
            let woken = inbox.meeting.end_unheld_caller();
            if woken.is_some() {
                inbox.callers.count_wake();
            }
            woken
        };
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
    }
}
