//! The short ways of who [serves](super::serve) again and again: to answer a call and wait for the next one
//! in one hold of one lock, by a right that is [lent](super::loan) or by one that is put into the table each
//! time.

use abi::{Error, Handle, Words};

use super::answer::take_home;
use super::loan::{NO_LOAN, next_name};
use super::reply::{Answered, record};
use super::serve::{found, install};
use crate::{Counted, Domain, Ipc, Node, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Serves as [`serve_words`](Ipc::serve_words) where that is to answer a call by a right that is there. What it uses on the way is
    /// [settled](Ipc::settle). None: nothing was done.
    #[inline(always)]
    pub(super) fn answer_and_serve_on(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        words: [u64; 4],
    ) -> Option<Result<Words, Error>> {
        if mm::sabotaged!("reply_twice") {
            return None;
        }
        self.platform().with_current_task(|task| {
            match self.answer_lent(domain, (end, reply), words, task) {
                None => self.answer_by_hand(domain, (end, reply), words, task),
                Some(caller) => Some(self.sleep_by_loan(domain, (end, reply), &caller, task)),
            }
        })
    }

    /// Answers a call whose right to reply is lent to who serves, the current task, and begins to serve the
    /// next one. Returns who is to go on. None: nothing was done.
    #[inline(always)]
    fn answer_lent(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        words: [u64; 4],
        task: &P::Task,
    ) -> Option<P::Task> {
        let answer = |node: &Node<P>| {
            let Payload::ChannelEnd(channel, side) = node.object().payload() else {
                return Err(Error::WrongKind);
            };
            let mut inbox = channel.inbox(*side).lock();
            if !inbox.is_open_to_server(node, domain.koid()) {
                return Err(Error::Invalid);
            }
            let words = || {
                self.platform().count(Counted::Handed);
                words
            };
            let by = (domain.koid(), reply);
            let woken = inbox
                .meeting
                .answer_again(by, words, task, |caller| Some(caller.clone()));
            woken.ok_or(Error::Invalid)
        };
        domain.table.with(end, answer).ok()
    }

    /// Lets a caller go on, and waits for the next call by the right that is lent.
    fn sleep_by_loan(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        caller: &P::Task,
        task: &P::Task,
    ) -> Result<Words, Error> {
        match self.sleep_to_meet(caller, P::wait_cell(task), abi::FOREVER) {
            Ok(()) => Ok(found::<P>(task, next_name(reply))),
            Err(slept) => self.after_loan(domain, (end, reply), slept),
        }
    }

    /// What follows a wait by a loan that no call by it has ended.
    #[cold]
    #[inline(never)]
    pub(super) fn after_loan(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        slept: Result<(), Error>,
    ) -> Result<Words, Error> {
        let task = &self.platform().current_task();
        let kept = self.end_loan(domain, reply);
        let served = self.after_serving(domain, end, task, slept, kept);
        served.map(|reply| found::<P>(task, reply))
    }

    /// Answers a call by a right that is there, and serves on. None: nothing was done.
    #[inline(never)]
    fn answer_by_hand(
        &self,
        domain: &Domain<P>,
        (end, reply): (Handle, Handle),
        words: [u64; 4],
        task: &P::Task,
    ) -> Option<Result<Words, Error>> {
        let (right, kept) = take_home(domain, reply).ok()?;
        let begun = match &kept {
            Some(_) => self.answer_and_begin(domain, (end, reply), &right, words, task),
            // The place was used up.
            None => Err(Error::Limit),
        };
        let (Ok(Some(answered)), Some(place)) = (&begun, &kept) else {
            let (missed, to) = (begun.map(drop), (end, reply));
            return Some(self.answer_apart(domain, to, (right, kept), missed, words));
        };
        match answered.lent {
            // A call by the loan may have come, but nobody knows by which handle yet.
            Some(loan) => domain.table.lend(place, loan, right),
            None => drop(right),
        }
        if answered.lent.is_some() {
            return Some(self.sleep_by_loan(domain, (end, reply), &answered.task, task));
        }
        let slept = self.sleep_in_turn(&answered.task, P::wait_cell(task), abi::FOREVER);
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
        words: [u64; 4],
        task: &P::Task,
    ) -> Result<Option<Answered<P>>, Error> {
        domain.table.with(end, |node| {
            let Payload::ChannelEnd(channel, side) = node.object().payload() else {
                return Err(Error::WrongKind);
            };
            let mut inbox = channel.inbox(*side).lock();
            let inbox = &mut *inbox;
            let open = inbox.is_open_to_server(node, domain.koid());
            if !open || !inbox.meeting.has_no_server() {
                return Err(Error::Invalid);
            }
            let meeting = &mut inbox.meeting;
            let by = (domain.koid(), reply);
            let answered = record(right)?.answer_words(right, words, meeting, by)?;
            if let Some(answered) = &answered {
                meeting.serve(task, answered.lent.map_or(NO_LOAN, u64::from));
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
