//! Calls and replies as messages.

use alloc::sync::Arc;
use core::cell::Cell;

use abi::limits::MAX_MESSAGE;
use abi::{Error, Handle, ObjectKind, Rights};
use arrayvec::ArrayVec;
use mm::lock::Lock;

use super::message::Bills;
use super::queue::{Load, Offers, WORDS_LEN, to_bytes, to_words};
use super::receive::{Seen, Waiting};
use super::reply::{Answer, Fit, answer, record};
use super::send::Asking;
use super::traffic::Came;
use super::{EndOf, Inbox, Outgoing, Preview, Received};
use crate::node::{HOME, PENDING};
use crate::wait::Ticket;
use crate::{Counted, Domain, Ipc, Node, Platform};

impl<P: Platform> Ipc<P> {
    /// Sends a message and waits until a time for the answer, which is shown as
    /// [`receive`](Ipc::receive) shows messages, once, before its capabilities are taken. `space`: what
    /// the answer may be.
    ///
    /// # Errors
    /// Those of [`send`](Ipc::send), then `TimedOut`, `Cancelled`, `Revoked`, `Interrupted`, after
    /// which a message that was not received is taken back with all that it carried; `PeerClosed`: the
    /// right to reply is gone; `TooLarge`: the answer did not fit; what `show` says; `Quota`,
    /// `NoMemory`, `Limit`: the caller can't have the capabilities. An answer that can't be taken is
    /// lost, and what it carried goes back. `WouldBlock`: the deadline is 0, and nothing was sent.
    #[inline(always)]
    pub fn call(
        &self,
        caller: &Arc<Domain<P>>,
        end: Handle,
        message: Outgoing<'_>,
        space: Fit,
        deadline_ns: u64,
        mut show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<Received, Error> {
        message.check()?;
        let end = self.channel_end(caller, end, Rights::SEND)?;
        let task = self.platform().current_task();
        let right = self.begin_call(caller, &task, space, deadline_ns)?;
        let asking = Asking {
            task: &task,
            right: &right,
            met: Cell::new(false),
        };
        let woken = match self.post_short(caller, &end, &message, &asking) {
            Some(woken) => woken,
            None => self.post_call(caller, &end, &message, &asking, deadline_ns)?,
        };
        self.await_answer(&end, &asking, woken, deadline_ns)?;
        let cell = P::wait_cell(&task);
        let len = match cell.word(answer::KIND) {
            answer::BYTES | answer::MET_BYTES => cell.word(answer::LEN) as usize,
            answer::WORDS | answer::MET => WORDS_LEN,
            answer::MESSAGE => return self.take_answer(caller, &mut show),
            _ => return Err(Error::TooLarge),
        };
        let [a, b, c, d, ..] = cell.words();
        show(&Preview::answer(&to_bytes([a, b, c, d])[..len], 0))?;
        Ok(Received {
            len,
            ..Received::default()
        })
    }

    /// Calls, and returns when the current task, `task`, was woken with words.
    #[cold]
    pub(super) fn call_and_wait(
        &self,
        caller: &Arc<Domain<P>>,
        task: &P::Task,
        end: &EndOf<P>,
        message: &Outgoing<'_>,
        fit: Fit,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let right = &self.begin_call(caller, task, fit, deadline_ns)?;
        let met = Cell::new(false);
        let asking = Asking { task, right, met };
        let woken = self.post_call(caller, end, message, &asking, deadline_ns)?;
        self.await_answer(end, &asking, woken, deadline_ns)
    }

    /// The right to reply to the current task, `task`, which is about to be sent.
    #[inline(always)]
    fn begin_call(
        &self,
        caller: &Domain<P>,
        task: &P::Task,
        fit: Fit,
        deadline_ns: u64,
    ) -> Result<Node<P>, Error> {
        if deadline_ns == 0 {
            return Err(Error::WouldBlock);
        }
        let right = self.right_to_reply(caller, task)?;
        record(&right)?.begin(task.clone(), fit);
        Ok(right)
    }

    /// Sends a call that has begun. When it fails, the right to reply is where it was.
    #[cold]
    fn post_call(
        &self,
        caller: &Arc<Domain<P>>,
        end: &EndOf<P>,
        message: &Outgoing<'_>,
        asking: &Asking<'_, P>,
        deadline_ns: u64,
    ) -> Result<Option<P::Task>, Error> {
        let posted = self.post(caller, end, message, Some(asking), deadline_ns);
        if posted.is_err() {
            record(asking.right)?.give_up();
            asking.right.pass(HOME);
        }
        posted
    }

    /// Sleeps until a call that was sent is answered; `woken` is who is to go on.
    #[inline(always)]
    fn await_answer(
        &self,
        end: &EndOf<P>,
        asking: &Asking<'_, P>,
        woken: Option<P::Task>,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let (task, cell) = (asking.task, P::wait_cell(asking.task));
        let slept = match woken {
            Some(woken) => {
                self.platform().count(Counted::Wait);
                self.sleep_in_turn(&woken, cell, deadline_ns)
            }
            None => self.sleep(&Ticket { task: task.clone() }, deadline_ns),
        };
        let told = matches!(cell.word(answer::KIND), answer::MET | answer::MET_BYTES);
        if slept.is_err() || !told || !asking.met.get() {
            self.end_call(end, asking, slept)?;
        }
        Ok(())
    }

    /// Takes a caller out of where it waits for an answer, counts what it slept for, and takes its call
    /// back if it has none.
    #[cold]
    fn end_call(
        &self,
        end: &EndOf<P>,
        asking: &Asking<'_, P>,
        slept: Result<(), Error>,
    ) -> Result<(), Error> {
        let (task, right) = (asking.task, asking.right);
        let (channel, side) = end.parts()?;
        let came = Came::of(P::wait_cell(task), Some(right), slept)?;
        {
            let mut inbox = channel.inbox(side.peer()).lock();
            self.count_what_came(&mut inbox, came);
            match asking.met.get() {
                true => _ = inbox.meeting.leave_caller(task),
                false => inbox.callers.withdraw(&Ticket { task: task.clone() }),
            }
        }
        if slept.is_err() {
            self.take_call_back(end, right)?;
        }
        slept
    }

    /// What becomes of a call whose caller does not wait any more: nothing answers it, and if nobody has
    /// received it, nobody will.
    #[cold]
    fn take_call_back(&self, end: &EndOf<P>, right: &Node<P>) -> Result<(), Error> {
        record(right)?.give_up();
        let (channel, side) = end.parts()?;
        let (load, was_full, woken) = {
            let mut state = channel.inbox(side.peer()).lock();
            let was_full = !state.queue.has_room();
            let load = state.queue.remove(right);
            (load, was_full, state.wake_sender())
        };
        if let Some(mut load) = load {
            self.tell_room(channel, side.peer(), was_full, woken);
            self.withdraw_all(&mut load.offers);
            right.pass(HOME);
        } else if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        Ok(())
    }

    /// Takes an answer that is in the record of the call, which is in the cell of the caller again.
    fn take_answer(
        &self,
        caller: &Domain<P>,
        show: &mut impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<Received, Error> {
        let task = self.platform().current_task();
        let right = P::call_cell(&task).right();
        let (mut bytes, mut load) = (ArrayVec::new(), Load::new());
        match &right {
            Some(right) => record(right)?.take_answer(&mut bytes, &mut load),
            None => return Err(Error::PeerClosed),
        }
        let count = load.offers.len();
        let mut received = Received {
            len: bytes.len(),
            ..Received::default()
        };
        let mut bills = Bills::new();
        let shown = show(&Preview::answer(&bytes, count));
        let billed = shown.and_then(|()| {
            let mut table = caller.table.lock();
            table.prepare(count)?;
            self.bill_all(caller, &load.offers, &mut bills)?;
            Ok(table)
        });
        match billed {
            Ok(table) => {
                bills.reverse();
                self.deliver_load(caller, table, &mut load, &bills, &mut received);
                Ok(received)
            }
            Err(error) => {
                self.withdraw_all(&mut load.offers);
                Err(error)
            }
        }
    }

    /// Answers a call and uses the right to reply up.
    ///
    /// # Errors
    /// `Cancelled`: the caller does not wait any more, and the right is used up; `TooLarge`: the answer
    /// does not fit what the caller takes, which gets `TooLarge` too, and the right is used up; else
    /// what [`send`](Ipc::send) says of a message, and the right is still good. Every handle is then
    /// still the sender's. Any channel end may be in an answer: it does not lie in a queue.
    pub fn reply(
        &self,
        sender: &Arc<Domain<P>>,
        reply: Handle,
        message: Outgoing<'_>,
    ) -> Result<(), Error> {
        let told = self.answer_call(sender, reply, &message)?;
        self.platform().unpark(&told);
        Ok(())
    }

    /// The same; returns who is to go on.
    #[inline(always)]
    pub(super) fn answer_call(
        &self,
        sender: &Arc<Domain<P>>,
        reply: Handle,
        message: &Outgoing<'_>,
    ) -> Result<P::Task, Error> {
        match message.transfers.is_empty() && message.bytes.len() <= MAX_MESSAGE {
            true => self.answer_bytes(sender, reply, message.bytes),
            false => self.answer_message(sender, reply, message),
        }
    }

    fn answer_message(
        &self,
        sender: &Arc<Domain<P>>,
        reply: Handle,
        message: &Outgoing<'_>,
    ) -> Result<P::Task, Error> {
        let right = self.look_up_reply(sender, reply)?;
        message.check()?;
        let mut offers = Offers::new();
        self.begin_all(sender, message.transfers, None, &mut offers)?;
        let fits = record(&right)?.fits(message.bytes.len(), message.transfers.len());
        if fits != Ok(true) {
            self.withdraw_all(&mut offers);
            let right = self.use_up(sender, reply)?;
            let told = self
                .answer(&right, Answer::Misfit)
                .ok_or(Error::Cancelled)?;
            self.platform().unpark(&told);
            return Err(Error::TooLarge);
        }
        self.clear_all(&offers);
        let right = match self.use_up(sender, reply) {
            Ok(right) => right,
            Err(error) => {
                self.withdraw_all(&mut offers);
                return Err(error);
            }
        };
        let bytes = message.bytes;
        let offered = &mut offers;
        let told = self.answer(
            &right,
            Answer::Message {
                bytes,
                offers: offered,
            },
        );
        if told.is_none() {
            self.withdraw_all(&mut offers);
        }
        told.ok_or(Error::Cancelled)
    }

    /// Answers with bytes alone, at most [`MAX_MESSAGE`].
    #[inline(always)]
    fn answer_bytes(
        &self,
        sender: &Domain<P>,
        reply: Handle,
        bytes: &[u8],
    ) -> Result<P::Task, Error> {
        let right = self.use_up(sender, reply)?;
        self.answer_bytes_by(&right, bytes)
    }

    /// The same by a right that was used up.
    fn answer_bytes_by(&self, right: &Node<P>, bytes: &[u8]) -> Result<P::Task, Error> {
        let fits = record(right)?.fits(bytes.len(), 0);
        let mut none = Offers::new();
        let answer = match to_words(bytes) {
            _ if fits != Ok(true) => Answer::Misfit,
            Some((words, WORDS_LEN)) => Answer::Words(words),
            Some((words, len)) => Answer::Bytes(words, len),
            None => Answer::Message {
                bytes,
                offers: &mut none,
            },
        };
        let told = self.answer(right, answer).ok_or(Error::Cancelled)?;
        match fits {
            Ok(true) => Ok(told),
            _ => {
                self.platform().unpark(&told);
                Err(Error::TooLarge)
            }
        }
    }

    /// Answers a call, unless `reply` is none, and takes the next message as [`receive`](Ipc::receive)
    /// does. An answer of bytes alone that the caller does not wait for any more, or does not take, is
    /// lost.
    ///
    /// # Errors
    /// As of [`reply`](Ipc::reply), and then nothing was received; else as of `receive`, and the answer
    /// was given.
    #[inline(always)]
    pub fn serve(
        &self,
        server: &Arc<Domain<P>>,
        end: Handle,
        reply: Handle,
        answer: &Outgoing<'_>,
        deadline_ns: u64,
        show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<Received, Error> {
        let end = self.channel_end(server, end, Rights::RECEIVE)?;
        let by = Waiting {
            domain: server,
            end: &end,
            deadline_ns,
        };
        let (mut woken, mut seen) = (None, Seen::new());
        if reply != Handle::NONE {
            answer.check()?;
            woken = match answer.transfers.is_empty() {
                true => self.answer_and_get_ready(&by, reply, answer.bytes, &mut seen)?,
                false => Some(self.answer_call(server, reply, answer)?),
            };
        }
        let mut received = Received::default();
        let taken = self.receive_by(&by, &mut woken, &mut seen, &mut received, show);
        // Whoever did not go on while this slept does now.
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        taken.map(|()| received)
    }

    /// Answers a call with bytes alone, at most [`MAX_MESSAGE`], and waits for the next message if
    /// none is there. Returns who is to go on if it has not slept.
    #[inline(always)]
    fn answer_and_get_ready(
        &self,
        by: &Waiting<'_, P>,
        reply: Handle,
        bytes: &[u8],
        seen: &mut Seen,
    ) -> Result<Option<P::Task>, Error> {
        let right = self.use_up(by.domain, reply)?;
        let (channel, side) = by.end.parts()?;
        let inbox = channel.inbox(side);
        let task = self.platform().current_task();
        match self.answer_where_met(by, inbox, &right, bytes, &task) {
            Some(Some(caller)) => {
                self.sleep_ready(by, inbox, &task, Some(&caller), seen)?;
                Ok(None)
            }
            Some(None) => Ok(None),
            None => match self.answer_bytes_by(&right, bytes) {
                // That no message can be so large was asked before.
                Err(Error::Cancelled | Error::TooLarge) => Ok(None),
                told => told.map(Some),
            },
        }
    }

    /// Answers a call and gets ready for the next message, in one hold of the lock. None: nothing was done.
    /// Else who is to go on, if the caller still waited; if not, nobody is ready.
    #[inline(always)]
    fn answer_where_met(
        &self,
        by: &Waiting<'_, P>,
        inbox: &Lock<Inbox<P>>,
        right: &Node<P>,
        bytes: &[u8],
        task: &P::Task,
    ) -> Option<Option<P::Task>> {
        let mut state = inbox.lock();
        let state = &mut *state;
        if by.deadline_ns == 0 || !state.is_idle() || by.end.check(by.domain).is_err() {
            return None;
        }
        let caller =
            record(right)
                .ok()?
                .answer_bytes(right, to_words(bytes)?, &mut state.meeting)?;
        let (caller, met) = caller;
        if caller.is_some() {
            state.ready.enter(task);
            if met {
                let bytes = bytes.len() as u64;
                state.count_answer(bytes);
                self.platform().count(Counted::Message { bytes });
            }
        }
        Some(caller)
    }

    /// Takes a right to reply out of a table for good. Nobody else can have it then.
    pub(super) fn use_up(&self, domain: &Domain<P>, reply: Handle) -> Result<Node<P>, Error> {
        if mm::sabotaged!("reply_twice") {
            return Ok(domain.look_up(reply, None, Rights::empty())?.node);
        }
        let mut table = domain.table.lock();
        table.remove_if(reply, |right| start_home(domain, right))
    }
}

/// Takes a right to reply, in a place of a domain's table, from that domain, which uses it up.
#[inline(always)]
pub(super) fn start_home<P: Platform>(domain: &Domain<P>, right: &Node<P>) -> Result<(), Error> {
    // Whoever moves it away marks it under this lock.
    let _lineage = right.object().lineage.lock();
    domain.check_usable(right, Some(ObjectKind::Reply), Rights::SEND)?;
    right.pass(PENDING);
    Ok(())
}
