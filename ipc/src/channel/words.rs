//! Calls of four words in registers: the shortest way from one program to another and back.
//!
//! A message of words is handed to whoever waits for one, and an answer to its caller: neither lies in
//! a queue, and nothing is allocated. Who answers and waits for the next call goes over to the caller
//! at once where the platform can.

use alloc::sync::Arc;

use abi::{Error, Handle, ObjectKind, Rights, Words};
use mm::lock::Lock;

use super::queue::{Packet, to_bytes};
use super::reply::{Answer, Fit, Handed, answer};
use super::{EndOf, Inbox, Outgoing};
use crate::{Domain, Ipc, Platform};

/// What a server has before it may wait.
enum Next<P: Platform> {
    Taken(Handed<P>),
    /// It has slept, and somebody may have handed it something.
    Slept,
}

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
        let end = self.channel_end(caller, end, Rights::SEND)?;
        let bytes = to_bytes(words);
        let message = Outgoing {
            bytes: &bytes,
            transfers: &[],
        };
        let woken = self.call_and_wait(caller, &end, &message, Fit::Words, deadline_ns)?;
        match woken[answer::KIND] {
            answer::WORDS => Ok([woken[0], woken[1], woken[2], woken[3]]),
            _ => Err(Error::TooLarge),
        }
    }

    /// Answers a call with four words and uses the right to reply up. `Cancelled`: the caller does not
    /// wait any more.
    pub fn reply_words(
        &self,
        domain: &Domain<P>,
        reply: Handle,
        words: [u64; 4],
    ) -> Result<(), Error> {
        let task = self.answer_words(domain, reply, words)?;
        self.platform().unpark(&task);
        Ok(())
    }

    /// The same; returns who is to go on.
    fn answer_words(
        &self,
        domain: &Domain<P>,
        reply: Handle,
        words: [u64; 4],
    ) -> Result<P::Task, Error> {
        // What is wrong with the handle comes first.
        domain.look_up(reply, Some(ObjectKind::Reply), Rights::SEND)?;
        let right = self.use_up(domain, reply)?;
        self.answer(right, Answer::Words(words))
            .ok_or(Error::Cancelled)
    }

    /// Answers a call, if there is one, and takes the next message of four words that was sent to an
    /// end, waiting for it for ever. An answer that nobody waits for is lost.
    ///
    /// # Errors
    /// What is wrong with `reply`, and then nothing was done; else as of [`receive`](Ipc::receive), and
    /// the answer was given. `TooLarge`: what is next is not four words, and stays.
    pub fn serve_words(
        &self,
        domain: &Domain<P>,
        end: Handle,
        reply: Handle,
        words: [u64; 4],
    ) -> Result<Words, Error> {
        let end = self.channel_end(domain, end, Rights::RECEIVE)?;
        let mut woken = None;
        if reply != Handle::NONE {
            woken = match self.answer_words(domain, reply, words) {
                Ok(task) => Some(task),
                Err(Error::Cancelled) => None,
                Err(error) => return Err(error),
            };
        }
        let next = self.next_words(domain, &end, &mut woken);
        // Whoever did not go on while this slept does now.
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        let next = next?;
        let reply = match next.reply {
            Some(right) => self.install_reply(domain, right),
            None => {
                domain.table.lock().break_promise(1);
                Handle::NONE
            }
        };
        Ok(Words {
            words: next.words,
            reply,
            badge: next.badge,
        })
    }

    /// The next words, with a place in the table for a right to reply. `woken` is somebody who is
    /// to go on, at the latest when this sleeps.
    fn next_words(
        &self,
        domain: &Domain<P>,
        end: &EndOf<P>,
        woken: &mut Option<P::Task>,
    ) -> Result<Handed<P>, Error> {
        let (channel, side) = end.parts()?;
        domain.table.lock().promise(1)?;
        loop {
            let inbox = channel.inbox(side);
            let next = match self.take_words(domain, end, inbox, woken) {
                Ok(Next::Taken(words)) => return Ok(words),
                Ok(Next::Slept) => {
                    let task = self.platform().current_task();
                    P::call_cell(&task).lock().handed.take()
                }
                Err(error) => {
                    domain.table.lock().break_promise(1);
                    // Whatever it was told of is another's to take.
                    self.wake_next_receiver(inbox);
                    return Err(error);
                }
            };
            if let Some(handed) = next {
                return Ok(handed);
            }
        }
    }

    fn take_words(
        &self,
        domain: &Domain<P>,
        end: &EndOf<P>,
        inbox: &Lock<Inbox<P>>,
        woken: &mut Option<P::Task>,
    ) -> Result<Next<P>, Error> {
        let mut state = inbox.lock();
        end.node.check_allowed(domain.koid(), Rights::RECEIVE)?;
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
            return Ok(taken.map_or(Next::Slept, Next::Taken));
        }
        if state.peer_closed {
            return Err(Error::PeerClosed);
        }
        let task = self.platform().current_task();
        let ticket = state
            .servers
            .enlist(task, &end.node, domain.koid(), Rights::RECEIVE)?;
        state.traffic.count_wait();
        drop(state);
        let slept = match woken.take() {
            Some(woken) => self.sleep_unparking(&woken, &ticket, abi::FOREVER),
            None => self.sleep(&ticket, abi::FOREVER),
        };
        if slept.is_err() {
            inbox.lock().servers.withdraw(&ticket);
        }
        slept.map(|()| Next::Slept)
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
