//! Sending: admitted by room and limit, then put where it is received.
//!
//! A message without capabilities is checked and sent in one hold of the lock. One with capabilities
//! keeps a place first, then begins to hand them over, and can fail only if the other end closes or
//! the sender's own capability is revoked meanwhile; then everything is the sender's again.

use alloc::sync::Arc;
use core::cell::Cell;

use abi::{Error, Handle, Mode, Rights};
use mm::lock::{Guard, Lock};

use super::message::check_goes_over;
use super::queue::Offers;
use super::receive::Waiting;
use super::reply::{put, record};
use super::{EndOf, Inbox, Passage, unheld};
use crate::node::PENDING;
use crate::{Counted, Domain, Ipc, Node, Offer, Outgoing, Platform};

/// Who calls: the current task, by its right to reply.
pub(super) struct Asking<'a, P: Platform> {
    pub(super) task: &'a P::Task,
    pub(super) right: &'a Node<P>,
    /// Whether it waits where it met who answers, and in no list.
    pub(super) met: Cell<bool>,
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
        let woken = self.post(sender, &end, &message, None, deadline_ns)?;
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        Ok(())
    }

    /// Calls with bytes and at most one capability, which is shared, where there is room for it at once.
    /// Begins to wait for the answer, and returns who is to go on, which has the call to look at. None:
    /// nothing was done.
    #[inline(always)]
    pub(super) fn post_short(
        &self,
        sender: &Arc<Domain<P>>,
        end: &EndOf<P>,
        message: &Outgoing<'_>,
        asking: &Asking<'_, P>,
    ) -> Option<Option<P::Task>> {
        let (channel, side) = end.parts().ok()?;
        // What is shared takes nothing from the sender, so it is begun before there is a place.
        let offer = match message.transfers {
            [] => None,
            [transfer] => {
                let (Mode::Share, rights) = transfer.decode().ok()? else {
                    return None;
                };
                let allowed = |node: &Node<P>| check_goes_over(node, Some(channel));
                let offer = self.begin_share(sender, transfer.handle, rights, allowed);
                Some(offer.ok()?)
            }
            _ => return None,
        };
        let mut state = channel.inbox(side.peer()).lock();
        let allowed = state.is_open() && end.check(sender).is_ok();
        if !allowed || state.await_answer(sender, end, asking).is_err() {
            drop(state);
            if let Some(offer) = offer {
                self.withdraw(offer);
            }
            return None;
        }
        let woken = state.put(end, message.bytes, (offer, []), Some(asking));
        let bytes = message.bytes.len() as u64;
        self.platform().count(Counted::Message { bytes });
        drop(state);
        self.fire(channel.events(side.peer()), abi::Events::READABLE, 0);
        Some(woken)
    }

    /// Sends a message, as a call if somebody asks, whose wait for the answer begins. Its right to reply
    /// is still the caller's when this fails. Returns who is to go on: it has a message to look at.
    #[inline(never)]
    pub(super) fn post(
        &self,
        sender: &Arc<Domain<P>>,
        end: &EndOf<P>,
        message: &Outgoing<'_>,
        asking: Option<&Asking<'_, P>>,
        deadline_ns: u64,
    ) -> Result<Option<P::Task>, Error> {
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
            if let Err(refused) = begun {
                self.leave(state, len);
                self.tell_room(channel, side.peer(), kept_last, None);
                return Err(self.refuse_transfer(sender, refused));
            }
        }
        // For the last time.
        let mut allowed = end.check(sender).and_then(|()| match state.closed {
            true => Err(Error::PeerClosed),
            false => Ok(()),
        });
        if let Some(asking) = asking {
            allowed = allowed.and_then(|()| state.await_answer(sender, end, asking));
        }
        if let Err(error) = allowed {
            self.leave(state, len);
            self.tell_room(channel, side.peer(), kept_last, None);
            self.withdraw_all(&mut offers);
            return Err(error);
        }
        let only = match offers.len() {
            1 => offers.pop(),
            _ => None,
        };
        let others = offers.into_iter().rev();
        let woken = state.put(end, message.bytes, (only, others), asking);
        let bytes = len as u64;
        self.platform().count(Counted::Message { bytes });
        drop(state);
        self.fire(channel.events(side.peer()), abi::Events::READABLE, 0);
        Ok(woken)
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
        // A revoke or reduce marks the node first and takes this lock afterwards.
        end.check(sender)?;
        if state.closed {
            return Err(Error::PeerClosed);
        }
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
            Passage::NotBefore(time) if deadline_ns == 0 => {
                self.note_rate(time);
                Err(Error::Limit)
            }
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

impl<P: Platform> Inbox<P> {
    /// Whether anything can be put here at once.
    #[inline(always)]
    fn is_open(&self) -> bool {
        !self.closed && self.queue.has_room() && self.limits.is_none()
    }

    /// Begins the wait of a caller, which mostly is the only one. Why its capability is not there any more.
    #[inline(always)]
    fn await_answer(
        &mut self,
        sender: &Domain<P>,
        end: &EndOf<P>,
        asking: &Asking<'_, P>,
    ) -> Result<(), Error> {
        if !self.ready.is_nobody() && self.meeting.has_no_caller() {
            let record = record(asking.right).map_err(unheld)?;
            let koid = sender.koid();
            self.meeting.call(asking.task, record, &end.node, koid);
            self.callers.count_wait();
            asking.met.set(true);
            return Ok(());
        }
        self.enlist_caller(sender, end, asking)
    }

    #[cold]
    fn enlist_caller(
        &mut self,
        sender: &Domain<P>,
        end: &EndOf<P>,
        asking: &Asking<'_, P>,
    ) -> Result<(), Error> {
        let (task, callers) = (asking.task.clone(), &mut self.callers);
        let listed = callers.enlist(task, &end.node, sender.koid(), end.needed);
        listed.map(drop)
    }

    /// Puts a message into the queue, in which there is a place, with the only offer in it, or all of
    /// several, the last one first. Returns who is to look at it.
    #[inline(always)]
    fn put(
        &mut self,
        end: &EndOf<P>,
        bytes: &[u8],
        (only, others): (Option<Offer<P>>, impl IntoIterator<Item = Offer<P>>),
        asking: Option<&Asking<'_, P>>,
    ) -> Option<P::Task> {
        self.sent.count(bytes.len() as u64);
        let right = asking.map(|asking| asking.right);
        if let Some(right) = right {
            right.pass(PENDING);
        }
        let is_next = self.queue.is_empty();
        let number = self.queue.first_number();
        let packet = self.queue.push();
        packet.set_bytes(bytes);
        if let Some(offer) = only {
            put(&mut packet.only, offer);
        }
        packet.offers.extend(others);
        if let Some(right) = right {
            put(&mut packet.reply, right.clone());
        }
        packet.badge = end.node.badge();
        let told = match is_next {
            true => self.ready.tell(packet, number),
            false => None,
        };
        match told {
            None => self.wake_receiver(),
            told => told,
        }
    }
}
