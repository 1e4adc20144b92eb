//! Calls of four words in registers: the shortest way from one program to another and back.
//!
//! A caller [meets](super::meeting) whoever serves: it puts the words into that task's hand, waits for the
//! answer, and the CPU goes over, in one hold of one lock each way. Who answers and waits for the
//! next call does the same in the other direction. Nothing lies in a queue or a list, and nothing is
//! allocated. Whatever else may be the case goes the way of all messages.

use alloc::sync::Arc;

use abi::{Error, Handle, ObjectKind, Rights, Words};
use mm::lock::Lock;

use super::call::start_home;
use super::queue::{Packet, WORDS_LEN, to_bytes};
use super::reply::{Answer, Fit, Handed, answer, record};
use super::{EndOf, Inbox, Outgoing};
use crate::node::PENDING;
use crate::table::Kept;
use crate::wait::Ticket;
use crate::{Domain, Ipc, Node, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Calls with four words and waits until a time for four. Errors as of [`call`](Ipc::call);
    /// `TooLarge`: the answer was something else.
    #[inline(always)]
    pub fn call_words(
        &self,
        caller: &Arc<Domain<P>>,
        end: Handle,
        words: [u64; 4],
        deadline_ns: u64,
    ) -> Result<[u64; 4], Error> {
        self.platform().with_current_task(|task| {
            let Some(server) = self.hand_over(caller, end, words, task, deadline_ns) else {
                return self.call_by_queue(caller, end, words, deadline_ns);
            };
            let cell = P::wait_cell(task);
            let slept = self.sleep_in_turn(&server, cell, deadline_ns);
            let [a, b, c, d, kind, _] = cell.words();
            if slept.is_ok() && kind == answer::MET {
                return Ok([a, b, c, d]);
            }
            self.end_meeting(caller, end, task, slept)?;
            match kind {
                answer::WORDS => Ok([a, b, c, d]),
                _ => Err(Error::TooLarge),
            }
        })
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
            let ready = inbox.meeting.is_ready() && inbox.queue.is_empty();
            // A revoke marks the node first and takes this lock afterwards.
            let allowed = node.is_plainly(caller.koid(), None, Rights::SEND);
            if !ready || !allowed || !inbox.limits.is_none() || deadline_ns == 0 {
                return Err(Error::Invalid);
            }
            let right = P::call_cell(task).right_at_home();
            let right = right.ok_or(Error::Invalid)?;
            let server = inbox.meeting.take_server().ok_or(Error::Invalid)?;
            let claim = P::wait_cell(&server).claim().ok_or(Error::Invalid)?;
            record(&right)?.begin(task.clone(), Fit::Words);
            right.set_holder(PENDING);
            inbox.meeting.call(task, node, caller.koid());
            P::call_cell(&server).hand(Handed {
                words,
                badge: node.badge(),
                reply: Some(right),
            });
            claim.finish();
            inbox.traffic.count_message(WORDS_LEN as u64);
            inbox.traffic.count_wake();
            Ok(server)
        };
        caller.table.with(end, meet).ok()
    }

    #[cold]
    fn call_by_queue(
        &self,
        caller: &Arc<Domain<P>>,
        end: Handle,
        words: [u64; 4],
        deadline_ns: u64,
    ) -> Result<[u64; 4], Error> {
        let end = self.channel_end(caller, end, Rights::SEND)?;
        let bytes = to_bytes(words);
        let message = Outgoing {
            bytes: &bytes,
            transfers: &[],
        };
        let woken = self.call_and_wait(caller, &end, message, Fit::Words, deadline_ns)?;
        match woken[answer::KIND] {
            answer::WORDS => Ok([woken[0], woken[1], woken[2], woken[3]]),
            _ => Err(Error::TooLarge),
        }
    }

    /// Ends a call that was handed over and was not answered by who served it, where they met.
    #[cold]
    fn end_meeting(
        &self,
        caller: &Domain<P>,
        end: Handle,
        task: &P::Task,
        slept: Result<(), Error>,
    ) -> Result<(), Error> {
        // Whoever took the handle away since has looked there, and taken the caller out.
        let _ = caller.table.with(end, |node| {
            if let Payload::ChannelEnd(channel, side) = node.object().payload() {
                let mut inbox = channel.inbox(side.peer()).lock();
                inbox.meeting.leave_caller(task);
            }
            Ok(())
        });
        if slept.is_err()
            && let Some(right) = P::call_cell(task).right()
        {
            record(&right)?.give_up();
        }
        slept
    }

    /// Answers a call with four words and uses the right to reply up. `Cancelled`: the caller does not
    /// wait any more.
    pub fn reply_words(
        &self,
        domain: &Domain<P>,
        reply: Handle,
        words: [u64; 4],
    ) -> Result<(), Error> {
        // What is wrong with the handle comes first.
        domain.look_up(reply, Some(ObjectKind::Reply), Rights::SEND)?;
        let right = self.use_up(domain, reply)?;
        let task = self.answer(&right, Answer::Words(words));
        self.platform().unpark(&task.ok_or(Error::Cancelled)?);
        Ok(())
    }

    /// Answers a call, if there is one, and takes the next message of four words that was sent to an
    /// end, waiting for it for ever. An answer that nobody waits for is lost.
    ///
    /// # Errors
    /// What is wrong with `reply`, and then nothing was done; else as of [`receive`](Ipc::receive), and
    /// the answer was given. `TooLarge`: what is next is not four words, and stays.
    #[inline(always)]
    pub fn serve_words(
        &self,
        domain: &Domain<P>,
        end: Handle,
        reply: Handle,
        words: [u64; 4],
    ) -> Result<Words, Error> {
        if reply == Handle::NONE || mm::sabotaged!("reply_twice") {
            return self.serve_by_queue(domain, end, reply, words);
        }
        let take = |right: &Node<P>| start_home(right, domain.koid());
        let (right, kept) = domain.table.exchange(reply, take)?;
        self.platform().with_current_task(|task| {
            let caller = match self.answer_and_serve(domain, end, &right, words, task) {
                Ok(Some(caller)) => caller,
                Ok(None) => return self.serve_on(domain, end, task, None, kept),
                Err(_) => {
                    let woken = self.answer(&right, Answer::Words(words));
                    return self.serve_on(domain, end, task, woken, kept);
                }
            };
            drop(right);
            let cell = P::wait_cell(task);
            let slept = self.sleep_in_turn(&caller, cell, abi::FOREVER);
            drop(caller);
            match (slept, P::call_cell(task).take_handed(), &kept) {
                (Ok(()), Some(handed), Some(place)) => Ok(self.take_up(domain, place, handed)),
                (slept, handed, _) => {
                    self.after_serving(domain, end, task, (slept, handed), kept)
                }
            }
        })
    }

    /// Answers a call and begins to serve the next one, or only finds that nobody waits for the answer
    /// any more. When it fails, nothing was done.
    #[inline(always)]
    fn answer_and_serve(
        &self,
        domain: &Domain<P>,
        end: Handle,
        right: &Node<P>,
        words: [u64; 4],
        task: &P::Task,
    ) -> Result<Option<P::Task>, Error> {
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
            let leave = |caller: &P::Task| match meeting.leave_caller(caller) {
                true => answer::MET,
                false => answer::WORDS,
            };
            let caller = record(right)?.answer_words(right, words, leave)?;
            if caller.is_some() {
                inbox.meeting.serve(task);
                inbox.traffic.count_wait();
            }
            Ok(caller)
        })
    }

    /// Gives a task that serves what it was handed.
    #[inline(always)]
    fn take_up(&self, domain: &Domain<P>, place: &Kept, handed: Handed<P>) -> Words {
        let reply = match handed.reply {
            Some(right) => {
                right.set_holder(domain.koid());
                domain.table.fill(place, ObjectKind::Reply, right)
            }
            None => {
                domain.table.lock().give_back(place);
                Handle::NONE
            }
        };
        Words {
            words: handed.words,
            reply,
            badge: handed.badge,
        }
    }

    #[cold]
    fn serve_by_queue(
        &self,
        domain: &Domain<P>,
        end: Handle,
        reply: Handle,
        words: [u64; 4],
    ) -> Result<Words, Error> {
        let mut woken = None;
        if reply != Handle::NONE {
            let right = self.use_up(domain, reply)?;
            woken = self.answer(&right, Answer::Words(words));
        }
        self.platform()
            .with_current_task(|task| self.serve_on(domain, end, task, woken, None))
    }

    /// What follows a wait that did not end with a call in hand and a place for the right to answer.
    #[cold]
    fn after_serving(
        &self,
        domain: &Domain<P>,
        end: Handle,
        task: &P::Task,
        (slept, handed): (Result<(), Error>, Option<Handed<P>>),
        kept: Option<Kept>,
    ) -> Result<Words, Error> {
        if let Some(handed) = handed {
            return self.take_up_anywhere(domain, kept, handed);
        }
        if let Err(error) = slept {
            // As when a caller leaves.
            let _ = domain.table.with(end, |node| {
                if let Payload::ChannelEnd(channel, side) = node.object().payload() {
                    channel.inbox(*side).lock().meeting.leave_server(task);
                }
                Ok(())
            });
            if let Some(place) = kept {
                domain.table.lock().give_back(&place);
            }
            return Err(error);
        }
        let served = self.serve_on(domain, end, task, None, kept);
        served.map_err(unheld)
    }

    /// Gives a task that serves what it was handed, wherever there is a place for it.
    fn take_up_anywhere(
        &self,
        domain: &Domain<P>,
        kept: Option<Kept>,
        handed: Handed<P>,
    ) -> Result<Words, Error> {
        match place_for(domain, kept) {
            Ok(place) => Ok(self.take_up(domain, &place, handed)),
            Err(error) => {
                if let Some(right) = handed.reply {
                    self.lose(&right);
                }
                Err(error)
            }
        }
    }

    /// Takes the next words from the queue or from whoever calls. `woken` is somebody who is to go on,
    /// at the latest when this sleeps.
    #[cold]
    fn serve_on(
        &self,
        domain: &Domain<P>,
        end: Handle,
        task: &P::Task,
        mut woken: Option<P::Task>,
        kept: Option<Kept>,
    ) -> Result<Words, Error> {
        let served = place_for(domain, kept).and_then(|place| {
            let next = self.next_words(domain, end, task, &mut woken);
            let next = next.inspect_err(|_| domain.table.lock().give_back(&place))?;
            Ok(self.take_up(domain, &place, next))
        });
        // Whoever did not go on while this slept does now.
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        served
    }

    fn next_words(
        &self,
        domain: &Domain<P>,
        end: Handle,
        task: &P::Task,
        woken: &mut Option<P::Task>,
    ) -> Result<Handed<P>, Error> {
        let end = self.channel_end(domain, end, Rights::RECEIVE)?;
        let (channel, side) = end.parts()?;
        let inbox = channel.inbox(side);
        loop {
            let next = self.take_words(domain, &end, inbox, task, woken);
            let next = next.inspect_err(|_| {
                // Whatever it was told of is another's to take.
                self.wake_next_receiver(inbox);
            })?;
            if let Some(handed) = next.or_else(|| P::call_cell(task).take_handed()) {
                return Ok(handed);
            }
        }
    }

    /// Takes words from the queue, or sleeps until there may be some there or in hand.
    fn take_words(
        &self,
        domain: &Domain<P>,
        end: &EndOf<P>,
        inbox: &Lock<Inbox<P>>,
        task: &P::Task,
        woken: &mut Option<P::Task>,
    ) -> Result<Option<Handed<P>>, Error> {
        let mut state = inbox.lock();
        let allowed = end.node.check_allowed(domain.koid(), Rights::RECEIVE);
        allowed.map_err(unheld)?;
        if let Some((packet, _)) = state.queue.first() {
            if !packet.is_words() {
                return Err(Error::TooLarge);
            }
            let was_full = !state.queue.has_room();
            let taken = state.queue.pop().map(take_out);
            let sender = state.wake_sender();
            drop(state);
            let (channel, side) = end.parts()?;
            self.tell_room(channel, side, was_full, sender);
            return Ok(taken);
        }
        if state.peer_closed {
            return Err(Error::PeerClosed);
        }
        // One task meets callers; others look after it.
        let ticket = match state.meeting.has_no_server() {
            true => {
                state.meeting.serve(task);
                Ticket { task: task.clone() }
            }
            false => state.receivers.enlist(task.clone(), &end.node, domain.koid())?,
        };
        state.traffic.count_wait();
        drop(state);
        let slept = match woken.take() {
            Some(woken) => self.sleep_unparking(&woken, &ticket, abi::FOREVER),
            None => self.sleep(&ticket, abi::FOREVER),
        };
        if slept.is_err() {
            let mut state = inbox.lock();
            state.meeting.leave_server(task);
            state.receivers.withdraw(&ticket);
        }
        slept.map(|()| None)
    }
}

/// What somebody is told whose capability was taken away in a wait.
fn unheld(error: Error) -> Error {
    match error {
        Error::BadHandle | Error::InTransit => Error::Cancelled,
        error => error,
    }
}

/// The place that was kept, or another.
fn place_for<P: Platform>(domain: &Domain<P>, kept: Option<Kept>) -> Result<Kept, Error> {
    match kept {
        Some(place) => Ok(place),
        None => domain.table.lock().keep(),
    }
}

/// The words of a message that was taken.
fn take_out<P: Platform>(packet: &mut Packet<P>) -> Handed<P> {
    Handed {
        words: packet.words(),
        badge: packet.badge,
        reply: packet.reply.take(),
    }
}
