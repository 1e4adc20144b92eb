//! Calls and replies as messages.

use alloc::sync::Arc;

use abi::limits::MAX_MESSAGE;
use abi::{Error, Handle, ObjectKind, Rights};
use arrayvec::ArrayVec;

use super::message::Bills;
use super::queue::{Load, Offers, WORDS_LEN, to_bytes, to_words};
use super::reply::{Answer, Fit, answer, record};
use super::send::Posted;
use super::{EndOf, Inbox, Outgoing, Preview, Received};
use crate::node::{HOME, PENDING};
use crate::wait::{Ticket, WAIT_WORDS};
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
        mut show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<Received, Error> {
        message.check()?;
        let end = self.channel_end(caller, end, Rights::SEND)?;
        let words = self.call_and_wait(caller, &end, &message, space, deadline_ns)?;
        match words[answer::KIND] {
            kind @ (answer::WORDS | answer::MET | answer::BYTES) => {
                let bytes = to_bytes([words[0], words[1], words[2], words[3]]);
                let len = match kind {
                    answer::BYTES => words[answer::LEN] as usize,
                    _ => WORDS_LEN,
                };
                show(&Preview::answer(&bytes[..len], 0))?;
                Ok(Received::of(len, 0))
            }
            answer::MESSAGE => self.take_answer(caller, &mut show),
            _ => Err(Error::TooLarge),
        }
    }

    /// Calls, and returns what the caller was woken with.
    pub(super) fn call_and_wait(
        &self,
        caller: &Arc<Domain<P>>,
        end: &EndOf<P>,
        message: &Outgoing<'_>,
        fit: Fit,
        deadline_ns: u64,
    ) -> Result<[u64; WAIT_WORDS], Error> {
        if deadline_ns == 0 {
            return Err(Error::WouldBlock);
        }
        let task = self.platform().current_task();
        let right = self.right_to_reply(caller, &task)?;
        record(&right)?.begin(task.clone(), fit);
        let posted = self.post(caller, end, message, Some(&right), deadline_ns);
        let (ticket, woken) = match posted {
            Ok(Posted { ticket, woken }) => (ticket, woken),
            Err(error) => {
                record(&right)?.give_up();
                right.pass(HOME);
                return Err(error);
            }
        };
        let Some(ticket) = ticket else {
            return Err(Error::Invalid);
        };
        let slept = match woken {
            Some(woken) => self.sleep_unparking(&woken, &ticket, deadline_ns),
            None => self.sleep(&ticket, deadline_ns),
        };
        self.end_call(end, &ticket, slept, &right)?;
        match slept {
            Ok(()) => Ok(ticket.words()),
            Err(error) => {
                self.take_call_back(end, &right)?;
                Err(error)
            }
        }
    }

    /// Takes a caller off the list of those who wait for an answer, and counts what it slept for.
    fn end_call(
        &self,
        end: &EndOf<P>,
        ticket: &Ticket<P>,
        slept: Result<(), Error>,
        right: &Node<P>,
    ) -> Result<(), Error> {
        let words = ticket.words();
        let len = match words[answer::KIND] {
            answer::WORDS | answer::MET => Some(WORDS_LEN as u64),
            answer::BYTES => Some(words[answer::LEN]),
            answer::MESSAGE => Some(record(right)?.answer_len()),
            _ => None,
        };
        let (channel, side) = end.parts()?;
        let mut inbox = channel.inbox(side.peer()).lock();
        inbox.callers.withdraw(ticket);
        self.count_answer(&mut inbox, slept, len);
        Ok(())
    }

    /// Counts, where a call went to, what its caller slept for: an answer of so many bytes, if it took
    /// one, or that there is none. Whoever ended its wait otherwise has counted that.
    pub(super) fn count_answer(
        &self,
        inbox: &mut Inbox<P>,
        slept: Result<(), Error>,
        len: Option<u64>,
    ) {
        if let (Ok(()), Some(bytes)) = (slept, len) {
            inbox.answered.count(bytes);
            self.platform().count(Counted::Message { bytes });
        }
        if matches!(slept, Ok(()) | Err(Error::PeerClosed)) {
            inbox.callers.count_wake();
        }
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
        let mut received = Received::of(bytes.len(), 0);
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
        let fits = record(&right)?.fits(bytes.len(), 0);
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
        let told = self.answer(&right, answer).ok_or(Error::Cancelled)?;
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
    #[inline]
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
        let mut woken = None;
        if reply != Handle::NONE {
            answer.check()?;
            woken = match self.answer_call(server, reply, answer) {
                Ok(task) => Some(task),
                // That no message can be so large was asked before.
                Err(Error::Cancelled | Error::TooLarge) if answer.transfers.is_empty() => None,
                Err(error) => return Err(error),
            };
        }
        let received = self.receive_by(server, &end, deadline_ns, &mut woken, show);
        // Whoever did not go on while this slept does now.
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        received
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
