//! The short ways of who [serves](super::serve) again and again: to answer a call and wait for the next one
//! in one hold of one lock, by a right that is [lent](super::loan) or by one that is put into the table each
//! time.

use abi::{Error, Handle, Rights, Words};

use super::answer::take_home;
use super::loan::{NO_LOAN, next_name};
use super::reply::{Answered, record};
use super::serve::{found, install};
use super::words::Registers;
use crate::wait::WaitCell;
use crate::{Counted, Domain, Ipc, Node, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Serves as [`serve_words`](Ipc::serve_words) where that is to answer a call by a right that is there. What it uses on the way is
    /// [settled](Ipc::settle). None: nothing was done.
    #[inline(always)]
    pub fn answer_and_serve_on(
        &self,
        domain: &Domain<P>,
        end: Handle,
        reply: Handle,
        registers: &mut impl Registers,
    ) -> Option<Result<(), Error>> {
        let sleep = |caller: &P::Task, cell: &_| self.sleep_to_meet(caller, cell, abi::FOREVER);
        self.answer_and_serve_on_by(domain, (end, reply), registers, sleep)
    }

    /// The same in a few hundred instructions if nothing is in the way: the platform [goes over](Platform::go_over) to who
    /// called.
    #[inline(always)]
    pub fn answer_at_once(
        &self,
        domain: &Domain<P>,
        end: Handle,
        reply: Handle,
        registers: &mut impl Registers,
    ) -> Option<Result<(), Error>> {
        let sleep = |caller: &P::Task, cell: &_| self.go_over_to_meet(caller, cell);
        self.answer_and_serve_on_by(domain, (end, reply), registers, sleep)
    }

    #[inline(always)]
    fn answer_and_serve_on_by(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        registers: &mut impl Registers,
        sleep: impl FnOnce(&P::Task, &WaitCell<P>) -> Result<(), Result<(), Error>>,
    ) -> Option<Result<(), Error>> {
        if mm::sabotaged!("reply_twice") {
            return None;
        }
        self.platform().with_current_task(|task| {
            let Some(caller) = self.answer_again(domain, (end, reply), &*registers, task) else {
                self.platform().take_time();
                let served = self.answer_and_serve(domain, (end, reply), &*registers, task)?;
                return Some(served.map(|came| registers.give(came)));
            };
            let Err(slept) = sleep(&caller, P::wait_cell(task)) else {
                registers.give(found_again::<P>(task, reply));
                return Some(Ok(()));
            };
            let served = self.after_loan(domain, (end, reply), task, slept);
            Some(served.map(|came| registers.give(came)))
        })
    }

    /// Answers a call whose right to reply is lent to who serves, the current task, and begins to serve the
    /// next one. Returns who is to go on. None: nothing was done.
    #[inline(always)]
    fn answer_again(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        registers: &impl Registers,
        task: &P::Task,
    ) -> Option<P::Task> {
        let answer = |node: &Node<P>| {
            let Payload::ChannelEnd(channel, side) = node.object().payload() else {
                return Err(Error::WrongKind);
            };
            let mut inbox = channel.inbox(*side).lock();
            let inbox = &mut *inbox;
            // As for who calls.
            if !node.is_plainly(domain.koid(), None, Rights::RECEIVE) {
                return Err(Error::Invalid);
            }
            if !inbox.queue.is_empty() || inbox.peer_closed {
                return Err(Error::Invalid);
            }
            let (by, words) = ((domain.koid(), reply), || registers.words());
            let woken = inbox.meeting.answer_again(by, words, task);
            let woken = woken.ok_or(Error::Invalid)?;
            self.platform().count(Counted::Handed);
            Ok(woken)
        };
        domain.table.with(end, answer).ok()
    }

    /// What follows a wait by a loan that no call by it has ended.
    #[cold]
    #[inline(never)]
    fn after_loan(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        task: &P::Task,
        slept: Result<(), Error>,
    ) -> Result<Words, Error> {
        let kept = self.end_loan(domain, reply);
        let served = self.after_serving(domain, end, task, slept, kept);
        served.map(|reply| found::<P>(task, reply))
    }

    /// Answers a call by a right that is there, and serves on. None: nothing was done.
    #[inline(never)]
    fn answer_and_serve(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        registers: &impl Registers,
        task: &P::Task,
    ) -> Option<Result<Words, Error>> {
        let (right, kept) = take_home(domain, reply).ok()?;
        let begun = match &kept {
            Some(_) => {
                let (to, words) = ((end, reply), || registers.words());
                self.answer_and_begin(domain, to, &right, &words, task)
            }
            // The place was used up.
            None => Err(Error::Limit),
        };
        let (Ok(Some(answered)), Some(place)) = (&begun, &kept) else {
            let (missed, to) = (begun.map(drop), (end, reply));
            let words = registers.words();
            return Some(self.answer_apart(domain, to, (right, kept), missed, words));
        };
        match answered.lent {
            // A call by the loan may have come, but nobody knows by which handle yet.
            Some(loan) => domain.table.lend(place, loan, right),
            None => drop(right),
        }
        let cell = P::wait_cell(task);
        if answered.lent.is_some() {
            return Some(
                match self.sleep_to_meet(&answered.task, cell, abi::FOREVER) {
                    Ok(()) => Ok(found_again::<P>(task, reply)),
                    Err(slept) => self.after_loan(domain, (end, reply), task, slept),
                },
            );
        }
        let slept = self.sleep_in_turn(&answered.task, cell, abi::FOREVER);
        if slept.is_ok()
            && let Some(right) = P::call_cell(task).take_handed()
        {
            return Some(Ok(found::<P>(task, install(domain, place, right))));
        }
        let served = self.after_serving(domain, end, task, slept, kept);
        Some(served.map(|reply| found::<P>(task, reply)))
    }

    /// Answers a call and begins to serve the next one, or only finds that nobody waits for the answer
    /// any more. When it fails, nothing was done.
    #[inline(always)]
    fn answer_and_begin(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        right: &Node<P>,
        words: &impl Fn() -> [u64; 4],
        task: &P::Task,
    ) -> Result<Option<Answered<P>>, Error> {
        domain.table.with(end, |node| {
            let Payload::ChannelEnd(channel, side) = node.object().payload() else {
                return Err(Error::WrongKind);
            };
            let mut inbox = channel.inbox(*side).lock();
            let inbox = &mut *inbox;
            let ready = inbox.meeting.has_no_server() && inbox.queue.is_empty();
            // As for who calls.
            let allowed = node.is_plainly(domain.koid(), None, Rights::RECEIVE);
            if !ready || !allowed || inbox.peer_closed {
                return Err(Error::Invalid);
            }
            let meeting = &mut inbox.meeting;
            let by = (domain.koid(), reply);
            let answered = record(right)?.answer_words(right, words, meeting, by)?;
            if let Some(answered) = &answered {
                meeting.serve(task, answered.lent.unwrap_or(NO_LOAN));
                match answered.met {
                    true => {
                        meeting.count_answer();
                        self.platform().count(Counted::Handed);
                    }
                    // The caller counts the answer when it goes on.
                    false => self.platform().count(Counted::Wait),
                }
            }
            Ok(answered)
        })
    }
}

/// What a task was woken with by a call by the right that it is lent, which a handle named until it answered.
#[inline(always)]
fn found_again<P: Platform>(task: &P::Task, reply: Handle) -> Words {
    let cell = P::wait_cell(task);
    Words {
        words: [0, 1, 2, 3].map(|index| cell.word(index)),
        reply: next_name(reply).unwrap_or(Handle::NONE),
        badge: cell.word(4),
    }
}
