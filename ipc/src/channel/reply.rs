//! The right to reply: a capability that works once, and comes back to the caller with the answer.
//!
//! A task knows one right to reply to itself, made at its first call. The right travels with the call
//! to whoever receives it, and is moved on like any capability; answering sends it home, where its
//! caller finds it for the next call, so that a call makes nothing. Whoever drops it, or ends with
//! it, destroys it: the caller gets `PeerClosed` and makes another one next time. So does a caller that
//! gives up, and what it leaves behind answers nothing any more.
//!
//! Invariant: a right to reply is at home, which its standing says; or in one message or table; or
//! on its way between two of them. It comes home in the hold of its record's lock in which its caller
//! is taken out of there, so nobody answers a call with the right of another. Lock ranks: Calls for
//! the record of a call, then Waits for the cell of a task.

use alloc::sync::Arc;
use core::fmt;
use core::mem;

use abi::limits::MAX_MESSAGE;
use abi::{Error, Handle, ObjectKind, Rights, cost};
use arrayvec::ArrayVec;
use mm::RecordCharge;
use mm::lock::{Guard, Lock, Rank};

use super::hand::is_whole;
use super::loan::{Loan, is_lendable, place_of};
use super::meeting::Meeting;
use super::queue::{Load, Offers, Packet, WORDS_LEN, pour};
use crate::node::HOME;
use crate::{Domain, Ipc, Node, Payload, Platform};

/// What an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Four words.
    Words,
    /// A message of at most so many bytes and capabilities.
    Message {
        /// Bytes.
        bytes: u64,
        /// Capabilities.
        handles: u64,
    },
}

impl Fit {
    /// Whether an answer of so many bytes and capabilities is one.
    fn takes(self, bytes: usize, handles: usize) -> bool {
        match self {
            Fit::Words => bytes == WORDS_LEN && handles == 0,
            Fit::Message {
                bytes: most,
                handles: most_handles,
            } => bytes as u64 <= most && handles as u64 <= most_handles,
        }
    }
}

/// What a caller finds among the words that it is woken with.
pub(super) mod answer {
    /// Where it finds it.
    pub const KIND: usize = 4;
    /// The answer is the first four.
    pub const WORDS: u64 = 0;
    /// The answer is in the record.
    pub const MESSAGE: u64 = 1;
    /// The answer did not fit.
    pub const MISFIT: u64 = 2;
    /// The answer is the first four, and the caller is out of where it met who answered.
    pub const MET: u64 = 3;
    /// The answer is of bytes of the first four.
    pub const BYTES: u64 = 4;
    /// Both of these.
    pub const MET_BYTES: u64 = 5;
    /// How many bytes.
    pub const LEN: usize = 5;
}

/// An answer.
pub(super) enum Answer<'a, P: Platform> {
    Words([u64; 4]),
    /// So many bytes of them.
    Bytes([u64; 4], usize),
    /// One that the caller does not take.
    Misfit,
    Message {
        bytes: &'a [u8],
        /// What is left in it stays with whoever answers.
        offers: &'a mut Offers<P>,
    },
}

/// What a right to reply refers to: the call that it answers.
pub struct Reply<P: Platform> {
    call: Lock<Call<P>>,
}

pub(super) struct Call<P: Platform> {
    /// Who waits for the answer, and for what; or did, and the right is lent.
    pub(super) caller: Option<(P::Task, Fit)>,
    pub(super) loan: Loan,
    /// Its caller pays, wherever it is.
    pub(super) charge: Option<RecordCharge>,
    /// The answer, if it is no four words. From the reply until the caller goes on.
    answer: Packet<P>,
}

impl<P: Platform> fmt::Debug for Reply<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = self.call.lock().caller.is_some();
        f.debug_struct("Reply").field("waits", &waits).finish()
    }
}

impl<P: Platform> Reply<P> {
    #[inline(always)]
    pub(super) fn lock(&self) -> Guard<'_, Call<P>> {
        self.call.lock()
    }

    #[inline(always)]
    pub(super) fn try_lock(&self) -> Option<Guard<'_, Call<P>>> {
        self.call.try_lock()
    }

    /// Who waits for the answer.
    pub(super) fn caller(&self) -> Option<P::Task> {
        let call = self.call.lock();
        call.caller.as_ref().map(|(task, _)| task.clone())
    }

    /// The call begins: the right is about to be sent.
    #[inline(always)]
    pub(super) fn begin(&self, task: P::Task, fit: Fit) {
        put(&mut self.call.lock().caller, (task, fit));
    }

    /// The caller does not wait any more.
    pub(super) fn give_up(&self) {
        let caller = self.call.lock().caller.take();
        drop(caller);
    }

    /// Answers a call with words, through a right that is on its way home or is lent to who answers, a domain
    /// in which a handle named it; and takes the caller out of where it met that. Returns who is to go on
    /// with them, or that nobody is any more. `Cancelled`: the caller gave up before, and nothing was done.
    #[inline(always)]
    pub(super) fn answer_words(
        &self,
        right: &Node<P>,
        [a, b, c, d]: [u64; 4],
        meeting: &mut Meeting<P>,
        by: (u64, Handle),
    ) -> Result<Option<Answered<P>>, Error> {
        let mut call = self.call.lock();
        let call = &mut *call;
        let (task, fit) = call.caller.take().ok_or(Error::Cancelled)?;
        let cell = P::wait_cell(&task);
        let claim = cell.claim(cell.number());
        let met = meeting.has_caller(self);
        let lendable = met && claim.is_some() && is_lendable(fit) && is_whole(right);
        let lent = match lendable {
            true => call.loan.begin(by, place_of(meeting)),
            false => None,
        };
        // Before the caller can go on and call again.
        match lent {
            Some(_) => {
                right.pass(by.0);
                meeting.rest_caller();
                put(&mut call.caller, (task.clone(), fit));
            }
            None => {
                right.pass(HOME);
                meeting.leave_caller(self);
            }
        }
        let Some(claim) = claim else {
            return Ok(None);
        };
        let takes =
            lendable || fit.takes(WORDS_LEN, 0) || mm::sabotaged!("words_for_who_takes_none");
        let (kind, met) = match (takes, met) {
            (true, true) => (answer::MET, true),
            (true, false) => (answer::WORDS, false),
            // The caller counts it, as any answer that it finds outside of where it met who answers.
            (false, _) => (answer::MISFIT, false),
        };
        claim.finish_with([a, b, c, d, kind]);
        Ok(Some(Answered { task, met, lent }))
    }

    /// The same with bytes of words, if they fit what the caller waits for, which is taken out of where it
    /// met who answers; whether it was there comes with it. None: nothing was done.
    #[inline(always)]
    pub(super) fn answer_bytes(
        &self,
        right: &Node<P>,
        ([a, b, c, d], len): ([u64; 4], usize),
        meeting: &mut Meeting<P>,
    ) -> Option<(Option<P::Task>, bool)> {
        let mut call = self.call.lock();
        let (task, _) = call.caller.take_if(|(_, fit)| fit.takes(len, 0))?;
        right.pass(HOME);
        let met = meeting.leave_caller(self);
        let kind = match (met, len) {
            (true, WORDS_LEN) => answer::MET,
            (true, _) => answer::MET_BYTES,
            (false, WORDS_LEN) => answer::WORDS,
            (false, _) => answer::BYTES,
        };
        let told = P::wait_cell(&task).complete_with([a, b, c, d, kind, len as u64]);
        Some((told.then_some(task), met))
    }

    /// Whether an answer fits what the caller waits for. `Cancelled`: it does not wait.
    pub(super) fn fits(&self, bytes: usize, handles: usize) -> Result<bool, Error> {
        let call = self.call.lock();
        let (_, fit) = call.caller.as_ref().ok_or(Error::Cancelled)?;
        Ok(fit.takes(bytes, handles))
    }

    /// Bytes of the answer that is here.
    pub(super) fn answer_len(&self) -> u64 {
        self.call.lock().answer.bytes().len() as u64
    }

    /// Takes the answer out, by the caller that was woken with it: its bytes, and what it carries.
    pub(super) fn take_answer(&self, bytes: &mut ArrayVec<u8, MAX_MESSAGE>, load: &mut Load<P>) {
        let answer = &mut self.call.lock().answer;
        bytes.extend(answer.bytes().iter().copied());
        answer.unload_into(load);
    }
}

/// A call that was answered with words.
pub(super) struct Answered<P: Platform> {
    /// Who is to go on with them.
    pub(super) task: P::Task,
    /// It met who answered, and takes the answer.
    pub(super) met: bool,
    /// The number of the loan by which who answered keeps the right.
    pub(super) lent: Option<u32>,
}

/// Fills a place that is empty; what it may have is not looked at.
#[inline(always)]
pub(super) fn put<T>(place: &mut Option<T>, value: T) {
    debug_assert!(place.is_none(), "what is not empty is lost");
    mem::forget(place.replace(value));
}

/// The record of the call that a right to reply answers.
pub(super) fn record<P: Platform>(right: &Node<P>) -> Result<&Arc<Reply<P>>, Error> {
    match right.object().payload() {
        Payload::Reply(reply) => Ok(reply),
        _ => Err(Error::WrongKind),
    }
}

impl<P: Platform> Ipc<P> {
    /// The right to reply that the next call of a task sends. `Quota`, `NoMemory`: there is none yet,
    /// and `domain` does not cover it.
    #[inline(always)]
    pub(super) fn right_to_reply(
        &self,
        domain: &Domain<P>,
        task: &P::Task,
    ) -> Result<Node<P>, Error> {
        if let Some(right) = P::call_cell(task).right_at_home() {
            return Ok(right);
        }
        self.first_right_to_reply(domain, task)
    }

    #[cold]
    fn first_right_to_reply(&self, domain: &Domain<P>, task: &P::Task) -> Result<Node<P>, Error> {
        let right = self.make_right_to_reply(domain)?;
        P::call_cell(task).keep(&right);
        Ok(right)
    }

    fn make_right_to_reply(&self, domain: &Domain<P>) -> Result<Node<P>, Error> {
        const {
            let records = size_of::<Reply<P>>() + size_of::<crate::Object<P>>() + Node::<P>::RECORD;
            assert!(records as u64 + 128 <= cost::REPLY);
        }
        self.platform().ensure_memory()?;
        let charge = domain.account().charge_record(cost::REPLY)?;
        let reply = mm::shared(Reply {
            call: Lock::new(
                Rank::Calls,
                Call {
                    caller: None,
                    loan: Loan::new(),
                    charge: Some(charge),
                    answer: Packet::empty(),
                },
            ),
        });
        // The right itself counts with its record, whoever has it.
        let nothing = domain.account().charge_record(0)?;
        let right = self.new_object(Payload::Reply(reply), Rights::REPLY, HOME, nothing);
        Ok(right)
    }

    /// Uses a right to reply up, which is on its way home, and returns who is to go on with the
    /// answer. None: the caller does not wait any more, and whoever answers keeps what it offered.
    pub(super) fn answer(&self, right: &Node<P>, answer: Answer<'_, P>) -> Option<P::Task> {
        let mut call = record(right).ok()?.call.lock();
        let Some((task, _)) = call.caller.take() else {
            drop(call);
            self.lose(right);
            return None;
        };
        // Before the caller can go on and call again.
        right.pass(HOME);
        let cell = P::wait_cell(&task);
        let told = match answer {
            Answer::Words([a, b, c, d]) => cell.complete_with([a, b, c, d, answer::WORDS]),
            Answer::Bytes([a, b, c, d], len) => {
                cell.complete_with([a, b, c, d, answer::BYTES, len as u64])
            }
            Answer::Misfit => cell.complete_with([0, 0, 0, 0, answer::MISFIT]),
            Answer::Message { bytes, offers } => {
                call.answer.set_bytes(bytes);
                pour(offers, &mut call.answer.offers);
                let told = cell.complete_with([0, 0, 0, 0, answer::MESSAGE]);
                if !told {
                    pour(&mut call.answer.offers, offers);
                }
                told
            }
        };
        told.then_some(task)
    }

    /// Tells a caller that it will not be answered: the right to reply is gone, and paid by nobody.
    pub(crate) fn abandon_call(&self, reply: &Reply<P>) {
        let (caller, charge) = {
            let mut call = reply.call.lock();
            let charge = match mm::sabotaged!("lost_right_stays_charged") {
                true => None,
                false => call.charge.take(),
            };
            (call.caller.take(), charge)
        };
        // Who sleeps where it was lent may keep the record for long.
        drop(charge);
        if let Some((task, _)) = caller
            && P::wait_cell(&task).complete(crate::wait::Outcome::PeerClosed)
        {
            self.platform().unpark(&task);
        }
    }

    /// Checks that a handle is a right to reply.
    pub(super) fn look_up_reply(
        &self,
        domain: &Domain<P>,
        reply: abi::Handle,
    ) -> Result<Node<P>, Error> {
        let capability = domain.look_up(reply, Some(ObjectKind::Reply), Rights::SEND)?;
        Ok(capability.node)
    }
}
