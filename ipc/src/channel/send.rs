//! Sending: admitted by room and limit, then put where it is received.
//!
//! A message without capabilities is checked and sent in one hold of the lock. One with capabilities
//! keeps a place first, then begins to hand them over, and can fail only if the other end closes or
//! the sender's own capability is revoked meanwhile; then everything is the sender's again.

use alloc::sync::Arc;

use abi::{Error, Handle, Rights};
use mm::lock::{Guard, Lock};

use super::queue::{Offers, pour};
use super::receive::Waiting;
use super::{EndOf, Inbox, Passage};
use crate::node::PENDING;
use crate::wait::Ticket;
use crate::{Counted, Domain, Ipc, Node, Outgoing, Platform};

/// What sending came to.
pub(super) struct Posted<P: Platform> {
    /// Who is to go on: it has a message to look at.
    pub(super) woken: Option<P::Task>,
    /// Of a call: its wait for the answer.
    pub(super) ticket: Option<Ticket<P>>,
}

impl<P: Platform> Ipc<P> {
    /// Sends a message to the other end, waiting for room until a time.
    ///
    /// # Errors
    /// `TooLarge`, `Overlap`, `Invalid`: what no message can be, or a channel end that is not younger
    /// than this channel; what [`begin`](Ipc::begin) refuses; `PeerClosed`; with a deadline of 0
    /// `Full` and `Limit`, else `TimedOut`, `Cancelled`, `Interrupted`; `Limit` also for a message
    /// of more bytes than may be sent in a second. Every handle is then still the sender's.
    pub fn send(
        &self,
        sender: &Arc<Domain<P>>,
        end: Handle,
        message: Outgoing<'_>,
        deadline_ns: u64,
    ) -> Result<(), Error> {
        message.check()?;
        let end = self.channel_end(sender, end, Rights::SEND)?;
        let posted = self.post(sender, &end, &message, None, deadline_ns)?;
        if let Some(task) = posted.woken {
            self.platform().unpark(&task);
        }
        Ok(())
    }

    /// Sends a message, as a call if there is a right to reply. That is still the caller's when this
    /// fails.
    pub(super) fn post(
        &self,
        sender: &Arc<Domain<P>>,
        end: &EndOf<P>,
        message: &Outgoing<'_>,
        reply: Option<&Node<P>>,
        deadline_ns: u64,
    ) -> Result<Posted<P>, Error> {
        let (channel, side) = end.parts()?;
        let inbox = channel.inbox(side.peer());
        let len = message.bytes.len();
        let mut state = self.admit(sender, end, inbox, len, deadline_ns)?;
        let mut offers = Offers::new();
        // Whether its place, while it was kept, was all the room that others missed.
        let mut kept_last = false;
        if !message.transfers.is_empty() {
            state.queue.promise();
            drop(state);
            let begun = self.begin_all(sender, message.transfers, Some(channel), &mut offers);
            if begun.is_ok() {
                self.clear_all(&offers);
            }
            state = inbox.lock();
            kept_last = !state.queue.has_room();
            state.queue.break_promise();
            if let Err(error) = begun {
                self.leave(state, len);
                self.tell_room(channel, side.peer(), kept_last, None);
                return Err(error);
            }
        }
        let begun = self.begin_wait(&mut state, sender, end, reply);
        let ticket = match begun {
            Ok(ticket) => ticket,
            Err(error) => {
                self.leave(state, len);
                self.tell_room(channel, side.peer(), kept_last, None);
                self.withdraw_all(&mut offers);
                return Err(error);
            }
        };
        let bytes = len as u64;
        state.sent.count(bytes);
        self.platform().count(Counted::Message { bytes });
        let woken = put(&mut state, end, message.bytes, &mut offers, reply);
        drop(state);
        self.fire(channel.events(side.peer()), abi::Events::READABLE, 0);
        Ok(Posted { woken, ticket })
    }

    /// Looks for the last time whether a message may be sent, and lists who waits for its answer.
    fn begin_wait(
        &self,
        state: &mut Inbox<P>,
        sender: &Domain<P>,
        end: &EndOf<P>,
        reply: Option<&Node<P>>,
    ) -> Result<Option<Ticket<P>>, Error> {
        if state.closed {
            return Err(Error::PeerClosed);
        }
        end.check(sender)?;
        if reply.is_none() {
            return Ok(None);
        }
        let task = self.platform().current_task();
        let ticket = state
            .callers
            .enlist(task, &end.node, sender.koid(), end.needed)?;
        Ok(Some(ticket))
    }

    /// Waits until a message of `len` bytes may be sent, and returns with the lock under which it may.
    fn admit<'a>(
        &self,
        sender: &Domain<P>,
        end: &EndOf<P>,
        inbox: &'a Lock<Inbox<P>>,
        len: usize,
        deadline_ns: u64,
    ) -> Result<Guard<'a, Inbox<P>>, Error> {
        let mut slept = false;
        loop {
            let refused = match self.try_admit(sender, end, inbox, len, deadline_ns) {
                Ok(Admission::Now(state)) => return Ok(state),
                Ok(Admission::Slept) => None,
                Err(error) => Some(error),
            };
            slept |= refused.is_none();
            if let Some(error) = refused {
                // The place that it was told of is somebody else's.
                if slept {
                    self.wake_next_sender(inbox);
                }
                return Err(error);
            }
        }
    }

    fn try_admit<'a>(
        &self,
        sender: &Domain<P>,
        end: &EndOf<P>,
        inbox: &'a Lock<Inbox<P>>,
        len: usize,
        deadline_ns: u64,
    ) -> Result<Admission<'a, P>, Error> {
        let mut state = inbox.lock();
        if state.closed {
            return Err(Error::PeerClosed);
        }
        // A revoke or reduce marks the node first and takes this lock afterwards.
        end.check(sender)?;
        if !state.queue.has_room() {
            if deadline_ns == 0 {
                return Err(Error::Full);
            }
            let by = Waiting {
                domain: sender,
                end,
                deadline_ns,
            };
            self.wait_in(inbox, state, &by, None, |state| &mut state.senders)?;
            return Ok(Admission::Slept);
        }
        if state.limits.is_none() {
            return Ok(Admission::Now(state));
        }
        let now = self.platform().now_ns();
        match state.limits.pass(len as u64, now)? {
            Passage::Now => Ok(Admission::Now(state)),
            Passage::NotBefore(_) if deadline_ns == 0 => Err(Error::Limit),
            Passage::NotBefore(time) => {
                // Somebody with less to say may fit the place.
                let woken = state.wake_sender();
                let by = Waiting {
                    domain: sender,
                    end,
                    deadline_ns: time.min(deadline_ns),
                };
                let slept = self.wait_in(inbox, state, &by, woken, |state| &mut state.limited);
                match slept {
                    Err(Error::TimedOut) if time < deadline_ns => Ok(Admission::Slept),
                    slept => slept.map(|()| Admission::Slept),
                }
            }
        }
    }

    /// Takes an admission back.
    fn leave(&self, mut state: Guard<'_, Inbox<P>>, len: usize) {
        if !state.limits.is_none() {
            state.limits.put_back(len as u64);
        }
        let woken = state.wake_sender();
        drop(state);
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
    }

    pub(super) fn wake_next_sender(&self, inbox: &Lock<Inbox<P>>) {
        let woken = inbox.lock().wake_sender();
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
    }
}

/// Whether a message may be sent.
enum Admission<'a, P: Platform> {
    /// As long as the lock is held.
    Now(Guard<'a, Inbox<P>>),
    /// It may be worth to look again.
    Slept,
}

/// Puts a message into the queue. Returns who is to look at it.
fn put<P: Platform>(
    state: &mut Inbox<P>,
    end: &EndOf<P>,
    bytes: &[u8],
    offers: &mut Offers<P>,
    reply: Option<&Node<P>>,
) -> Option<P::Task> {
    if let Some(reply) = reply {
        reply.pass(PENDING);
    }
    let packet = state.queue.push();
    packet.set_bytes(bytes);
    pour(offers, &mut packet.offers);
    packet.reply = reply.cloned();
    packet.badge = end.node.badge();
    state.wake_receiver()
}
