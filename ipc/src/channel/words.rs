//! Calls of four words in registers: the shortest way from one program to another.
//!
//! A caller [meets](super::meeting) whoever [serves](super::serve): it puts the words into that task's
//! hand, waits for the answer, and the CPU goes over, in one hold of one lock. Nothing lies in a queue
//! or a list, and nothing is allocated. Whatever else may be the case goes the way of all messages. Who
//! met before has a [shorter](super::again) way still.

use alloc::sync::Arc;

use abi::{Error, Handle, ObjectKind, Rights};

use super::Outgoing;
use super::meeting::Meeting;
use super::queue::to_bytes;
use super::reply::{Fit, answer, record};
use super::traffic::Came;
use crate::node::PENDING;
use crate::{Counted, Domain, Ipc, Node, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Calls with four words and waits until a time for four. Errors as of [`call`](Ipc::call);
    /// `TooLarge`: the answer was something else.
    pub fn call_words(
        &self,
        caller: &Arc<Domain<P>>,
        end: Handle,
        words: [u64; 4],
        deadline_ns: u64,
    ) -> Result<[u64; 4], Error> {
        let handed = self
            .platform()
            .with_current_task(|task| self.hand_over(caller, end, words, task, deadline_ns));
        let Some(server) = handed else {
            self.call_by_queue(caller, end, words, deadline_ns)?;
            return Ok(self.platform().with_current_task(answered::<P>));
        };
        let met = self
            .platform()
            .with_current_task(|task| self.sleep_to_meet(&server, P::wait_cell(task), deadline_ns));
        if let Err(slept) = met {
            self.end_meeting(caller, end, slept)?;
        }
        Ok(self.platform().with_current_task(answered::<P>))
    }

    /// Hands a call to who serves at the other end, and begins to wait for the answer. None: nothing was
    /// done.
    #[inline(always)]
    fn hand_over(
        &self,
        caller: &Domain<P>,
        end: Handle,
        words: [u64; 4],
        task: &P::Task,
        deadline_ns: u64,
    ) -> Option<P::Task> {
        let meet = |node: &Node<P>| {
            let Payload::ChannelEnd(channel, side) = node.object().payload() else {
                return Err(Error::WrongKind);
            };
            let mut inbox = channel.inbox(side.peer()).lock();
            if !inbox.is_open_to_caller(node, caller.koid()) || deadline_ns == 0 {
                return Err(Error::Invalid);
            }
            let counted = || {
                self.platform().count(Counted::Handed);
                words
            };
            let meeting = &mut inbox.meeting;
            match meeting.call_again(task, node, counted, |_| Some(())) {
                Some((server, ())) => Ok(server),
                None => self
                    .hand_right(meeting, node, caller.koid(), task, counted)
                    .ok_or(Error::Invalid),
            }
        };
        caller.table.with(end, meet).ok()
    }

    /// The same as a message. The current task finds the answer in its cell.
    #[cold]
    fn call_by_queue(
        &self,
        caller: &Arc<Domain<P>>,
        end: Handle,
        words: [u64; 4],
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let end = self.channel_end(caller, end, Rights::SEND)?;
        let bytes = to_bytes(words);
        let message = Outgoing {
            bytes: &bytes,
            transfers: &[],
        };
        let task = self.platform().current_task();
        self.call_and_wait(caller, &task, &end, &message, Fit::Words, deadline_ns)?;
        match P::wait_cell(&task).word(answer::KIND) {
            // It may still be where it met the server of a call before this.
            answer::WORDS | answer::MET => Ok(()),
            _ => Err(Error::TooLarge),
        }
    }

    /// Ends a call that was handed over and was not answered by who served it, where they met.
    #[cold]
    pub(super) fn end_meeting(
        &self,
        caller: &Domain<P>,
        end: Handle,
        slept: Result<(), Error>,
    ) -> Result<(), Error> {
        let task = &self.platform().current_task();
        if slept.is_ok() && P::wait_cell(task).word(answer::KIND) == answer::MET {
            return Ok(());
        }
        let right = P::call_cell(task).right();
        let came = Came::of(P::wait_cell(task), right.as_ref(), slept)?;
        // Whoever took the handle away since has looked there, and taken the caller out.
        let _ = caller.table.with(end, |node| {
            if let Payload::ChannelEnd(channel, side) = node.object().payload() {
                let mut inbox = channel.inbox(side.peer()).lock();
                if let Some(right) = &right {
                    inbox.meeting.leave_caller(record(right)?);
                }
                self.count_what_came(&mut inbox, came);
            }
            Ok(())
        });
        if slept.is_err()
            && let Some(right) = &right
        {
            record(right)?.give_up();
        }
        slept?;
        match P::wait_cell(task).word(answer::KIND) {
            answer::WORDS | answer::MET => Ok(()),
            _ => Err(Error::TooLarge),
        }
    }

    /// Answers a call with four words and uses the right to reply up. `Cancelled`: the caller does not
    /// wait any more; `TooLarge`: it does not take them, and gets `TooLarge` too.
    pub fn reply_words(
        &self,
        domain: &Domain<P>,
        reply: Handle,
        words: [u64; 4],
    ) -> Result<(), Error> {
        // What is wrong with the handle comes first.
        domain.look_up(reply, Some(ObjectKind::Reply), Rights::SEND)?;
        let right = self.use_up(domain, reply)?;
        let task = self.answer_words_by(&right, words)?;
        self.platform().unpark(&task);
        Ok(())
    }
}

impl<P: Platform> Ipc<P> {
    /// Hands a call over with the right to answer it, if somebody serves and the right is at home, and begins the
    /// wait of its caller, the current task. Returns who served. When it fails, the call was not handed
    /// over; a loan of the right may have ended, and a server that does not wait any more has been taken out.
    fn hand_right(
        &self,
        meeting: &mut Meeting<P>,
        node: &Node<P>,
        holder: u64,
        task: &P::Task,
        words: impl FnOnce() -> [u64; 4],
    ) -> Option<P::Task> {
        if !meeting.is_ready() {
            return None;
        }
        let right = P::call_cell(task).right_at_home()?;
        let record = record(&right).ok()?;
        let server = meeting.take_server()?;
        let claim = server.claim()?;
        record.begin(task.clone(), Fit::Words);
        right.pass(PENDING);
        meeting.call(task, record, node, holder);
        meeting.count_call();
        P::call_cell(&server.task).hand(right);
        let [a, b, c, d] = words();
        claim.finish_with([a, b, c, d, node.badge()]);
        Some(server.task)
    }
}

/// What a task was answered.
#[inline(always)]
pub(super) fn answered<P: Platform>(task: &P::Task) -> [u64; 4] {
    let cell = P::wait_cell(task);
    [0, 1, 2, 3].map(|index| cell.word(index))
}
