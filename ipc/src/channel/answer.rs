//! Answers to calls as messages, and a server that answers and takes the next message at once.

use alloc::sync::Arc;

use abi::limits::MAX_MESSAGE;
use abi::{Error, Handle, ObjectKind, Rights};
use mm::lock::Lock;

use super::queue::{Offers, WORDS_LEN, to_words};
use super::receive::{Seen, Waiting};
use super::reply::{Answer, record};
use super::{Inbox, Outgoing, Preview, Received};
use crate::node::PENDING;
use crate::table::Kept;
use crate::{Counted, Domain, Ipc, Node, Platform};

impl<P: Platform> Ipc<P> {
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
        self.begin_all(sender, message.transfers, None, &mut offers)
            .map_err(|refused| self.refuse_transfer(sender, refused))?;
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
        let mut none = Offers::new();
        let answer = match to_words(bytes) {
            Some((words, WORDS_LEN)) => Answer::Words(words),
            Some((words, len)) => Answer::Bytes(words, len),
            None => Answer::Message {
                bytes,
                offers: &mut none,
            },
        };
        self.answer_if_it_fits(right, bytes.len(), answer)
    }

    /// The same with four words.
    pub(super) fn answer_words_by(
        &self,
        right: &Node<P>,
        words: [u64; 4],
    ) -> Result<P::Task, Error> {
        self.answer_if_it_fits(right, WORDS_LEN, Answer::Words(words))
    }

    /// Answers with `len` bytes. `Cancelled`; `TooLarge`, which the caller is told.
    fn answer_if_it_fits(
        &self,
        right: &Node<P>,
        len: usize,
        answer: Answer<'_, P>,
    ) -> Result<P::Task, Error> {
        let fits = record(right)?.fits(len, 0);
        let answer = match fits {
            Ok(true) => answer,
            _ => Answer::Misfit,
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
    pub fn serve(
        &self,
        server: &Arc<Domain<P>>,
        end: Handle,
        reply: Handle,
        answer: &Outgoing<'_>,
        deadline_ns: u64,
        show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<Received, Error> {
        let mut received = Received::default();
        let answer = (reply, answer);
        self.serve_to(server, end, answer, deadline_ns, &mut received, show)?;
        Ok(received)
    }

    /// The same; says in `received`, where nothing is yet, what came.
    #[inline(always)]
    pub fn serve_to(
        &self,
        server: &Arc<Domain<P>>,
        end: Handle,
        (reply, answer): (Handle, &Outgoing<'_>),
        deadline_ns: u64,
        received: &mut Received,
        show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let end = self.channel_end(server, end, Rights::RECEIVE)?;
        let by = Waiting {
            domain: server,
            end: &end,
            deadline_ns,
        };
        let (mut woken, mut seen) = (None, Seen::new());
        let answer = (server, reply, answer);
        let served = self.serve_message(&by, answer, &mut woken, &mut seen, received, show);
        if let Some(place) = seen.kept() {
            server.table.lock().give_back(place);
        }
        // Whoever did not go on while this slept does now.
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        served
    }

    /// The same by an end that was looked up. Who is to go on still, and a place that was kept, are left to
    /// the caller.
    #[inline(always)]
    fn serve_message(
        &self,
        by: &Waiting<'_, P>,
        (server, reply, answer): (&Arc<Domain<P>>, Handle, &Outgoing<'_>),
        woken: &mut Option<P::Task>,
        seen: &mut Seen,
        received: &mut Received,
        show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if reply != Handle::NONE {
            answer.check()?;
            *woken = match answer.transfers.is_empty() {
                true => self.answer_and_get_ready(by, reply, answer.bytes, seen)?,
                false => Some(self.answer_call(server, reply, answer)?),
            };
        }
        self.receive_by(by, woken, seen, received, show)
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
        let right = match mm::sabotaged!("reply_twice") {
            true => self.use_up(by.domain, reply)?,
            false => {
                let (right, kept) = take_home(by.domain, reply)?;
                *seen.kept() = kept;
                right
            }
        };
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

/// The same out of a place that is kept for the next one.
#[inline(always)]
pub(super) fn take_home<P: Platform>(
    domain: &Domain<P>,
    reply: Handle,
) -> Result<(Node<P>, Option<Kept>), Error> {
    let mut tenant = domain.table.tenant(reply)?;
    start_home(domain, tenant.named(reply)?)?;
    domain.table.exchange_tenant(reply, tenant)
}

/// Takes a right to reply, in a place of a domain's table, from that domain, which uses it up.
#[inline(always)]
fn start_home<P: Platform>(domain: &Domain<P>, right: &Node<P>) -> Result<(), Error> {
    // Whoever moves it away marks it under this lock.
    let _lineage = right.object().lineage.lock();
    domain.check_usable(right, Some(ObjectKind::Reply), Rights::SEND)?;
    right.pass(PENDING);
    Ok(())
}
