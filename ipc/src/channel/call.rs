//! Calls as messages: sent with a right to reply, and what was answered taken.

use alloc::sync::Arc;
use core::cell::Cell;

use abi::{Error, Handle, Rights};
use arrayvec::ArrayVec;

use super::message::Bills;
use super::queue::{Load, WORDS_LEN, to_bytes};
use super::reply::{Fit, answer, record};
use super::send::Asking;
use super::traffic::Came;
use super::{EndOf, Outgoing, Preview, Received};
use crate::node::HOME;
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
    pub fn call(
        &self,
        caller: &Arc<Domain<P>>,
        end: Handle,
        message: Outgoing<'_>,
        space: Fit,
        deadline_ns: u64,
        show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<Received, Error> {
        let (mut received, call) = (None, (end, message));
        let len = self.call_to(caller, call, space, deadline_ns, &mut received, show)?;
        Ok(received.unwrap_or(Received {
            len,
            ..Received::default()
        }))
    }

    /// The same; returns the bytes of the answer, and says in `received`, where nothing is yet, what came if
    /// those are not all.
    #[inline(always)]
    pub fn call_to(
        &self,
        caller: &Arc<Domain<P>>,
        (end, message): (Handle, Outgoing<'_>),
        space: Fit,
        deadline_ns: u64,
        received: &mut Option<Received>,
        mut show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        message.check()?;
        let end = self.channel_end(caller, end, Rights::SEND)?;
        self.platform().with_current_task(|task| {
            let right = &self.begin_call(caller, task, space, deadline_ns)?;
            let met = Cell::new(false);
            let asking = Asking { task, right, met };
            let woken = match self.post_short(caller, &end, &message, &asking) {
                Some(woken) => woken,
                None => self.post_call(caller, &end, &message, &asking, deadline_ns)?,
            };
            self.await_answer(&end, &asking, woken, deadline_ns)?;
            let cell = P::wait_cell(task);
            let len = match cell.word(answer::KIND) {
                answer::BYTES | answer::MET_BYTES => cell.word(answer::LEN) as usize,
                answer::WORDS | answer::MET => WORDS_LEN,
                answer::MESSAGE => {
                    let received = received.insert(Received::default());
                    self.take_answer(caller, received, &mut show)?;
                    return Ok(received.len);
                }
                _ => return Err(Error::TooLarge),
            };
            if len == 0 {
                show(&Preview::answer(&[], 0))?;
            } else {
                let [a, b, c, d, ..] = cell.words();
                show(&Preview::answer(&to_bytes([a, b, c, d])[..len], 0))?;
            }
            Ok(len)
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
                true => _ = inbox.meeting.leave_caller(record(right)?),
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
        received: &mut Received,
        show: &mut impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let task = self.platform().current_task();
        let right = P::call_cell(&task).right();
        let (mut bytes, mut load) = (ArrayVec::new(), Load::new());
        match &right {
            Some(right) => record(right)?.take_answer(&mut bytes, &mut load),
            None => return Err(Error::PeerClosed),
        }
        let count = load.offers.len();
        received.len = bytes.len();
        let mut bills = Bills::new();
        let shown = show(&Preview::answer(&bytes, count));
        let billed = shown.and_then(|()| {
            let table = self.table_for(caller, count)?;
            self.bill_all(caller, &load.offers, &mut bills)?;
            Ok(table)
        });
        match billed {
            Ok(table) => {
                bills.reverse();
                self.deliver_load(caller, table, &mut load, &bills, received);
                Ok(())
            }
            Err(error) => {
                self.withdraw_all(&mut load.offers);
                Err(error)
            }
        }
    }
}
