//! The short ways of who [serves](super::serve) again and again: to answer a call and wait for the next one
//! in one hold of one lock, by a right that is [lent](super::loan) or by one that is put into the table each
//! time.

use abi::{Error, Handle, Rights, Words};

use super::answer::take_home;
use super::loan::{NO_LOAN, next_name};
use super::reply::{Answered, record};
use super::serve::{found, install};
use super::words::{Calling, Registers};
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
        if mm::sabotaged!("reply_twice") {
            return None;
        }
        let answered = self
            .platform()
            .with_current_task(|task| self.answer_again(domain, (end, reply), &*registers, task));
        let served = match answered {
            None => self.answer_and_serve(domain, (end, reply), &*registers)?,
            Some(caller) => self.platform().with_current_task(|task| {
                match self.sleep_to_meet(&caller, P::wait_cell(task), abi::FOREVER) {
                    Ok(()) => Ok(found_again::<P>(task, reply)),
                    Err(slept) => self.after_loan(domain, (end, reply), slept),
                }
            }),
        };
        Some(served.map(|came| registers.give(came)))
    }

    /// The same in a few hundred instructions if nothing is in the way: the platform [goes over](Platform::go_over) to who
    /// called. What is needed later is found anew then, so that a call has less to keep.
    #[inline(always)]
    pub fn answer_at_once(
        &self,
        end: Handle,
        reply: Handle,
        registers: &mut impl Calling<P>,
    ) -> Option<Result<(), Error>> {
        if mm::sabotaged!("reply_twice") {
            return None;
        }
        let answered = registers.with_domain(|domain| {
            self.platform().with_current_task(|task| {
                self.answer_again(domain, (end, reply), &*registers, task)
            })
        });
        let served = match answered {
            None => {
                self.platform().take_time();
                registers.with_domain(|domain| {
                    self.answer_and_serve(domain, (end, reply), &*registers)
                })?
            }
            Some(caller) => {
                let met = |task: &P::Task| registers.give(found_again::<P>(task, reply));
                match self.go_over_to_meet(&caller, met) {
                    Ok(()) => return Some(Ok(())),
                    Err(slept) => {
                        registers.with_domain(|domain| self.after_loan(domain, (end, reply), slept))
                    }
                }
            }
        };
        Some(served.map(|came| registers.give(came)))
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
            let (by, words) = ((domain.koid(), reply), || registers.handed());
            let woken = inbox.meeting.answer_again(by, words, task);
            woken.ok_or(Error::Invalid)
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
        slept: Result<(), Error>,
    ) -> Result<Words, Error> {
        let task = &self.platform().current_task();
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
    ) -> Option<Result<Words, Error>> {
        let platform = self.platform();
        platform
            .with_current_task(|task| self.answer_by_hand(domain, (end, reply), registers, task))
    }

    #[inline(always)]
    fn answer_by_hand(
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
                    Err(slept) => self.after_loan(domain, (end, reply), slept),
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

/// What a task was woken with by a call by the right that it is lent, which a handle named until it answered.
#[inline(always)]
fn found_again<P: Platform>(task: &P::Task, reply: Handle) -> Words {
    let cell = P::wait_cell(task);
    Words {
        words: [0, 1, 2, 3].map(|index| cell.word(index)),
        reply: next_name(reply),
        badge: cell.word(4),
    }
}
