//! Receiving: shown, paid for, then taken.
//!
//! What comes next is copied and shown to the receiver without a lock held; writing it to the program
//! may fault. Then, if it is still the next one, the receiver is charged and the message taken, in one
//! hold of the lock. So whatever fails leaves it where it is, and somebody else who waits is told.

use abi::limits::MAX_MESSAGE;
use abi::{Error, Handle, Rights};
use arrayvec::ArrayVec;
use mm::lock::{Guard, Lock};

use super::message::Bills;
use super::queue::{Load, Packet};
use super::{Channel, ChannelSide, EndOf, Inbox, Preview, Received};
use crate::{Domain, Ipc, Platform, Waiters};

/// A copy of the next message, and which one that is.
struct Seen {
    number: u64,
    bytes: ArrayVec<u8, MAX_MESSAGE>,
    handles: usize,
    is_call: bool,
    badge: u64,
}

impl Seen {
    #[inline(always)]
    fn new() -> Seen {
        Seen {
            number: 0,
            bytes: ArrayVec::new(),
            handles: 0,
            is_call: false,
            badge: 0,
        }
    }

    #[inline(always)]
    fn look<P: Platform>(&mut self, packet: &Packet<P>, number: u64) {
        self.number = number;
        self.bytes.clear();
        self.bytes.extend(packet.bytes().iter().copied());
        self.handles = packet.offers.len();
        self.is_call = packet.reply.is_some();
        self.badge = packet.badge;
    }

    #[inline(always)]
    fn preview(&self) -> Preview<'_> {
        Preview {
            bytes: &self.bytes,
            handles: self.handles,
            badge: self.badge,
        }
    }
}

/// Who waits at an end, by what, and how long.
pub(super) struct Waiting<'a, P: Platform> {
    pub(super) domain: &'a Domain<P>,
    pub(super) end: &'a EndOf<P>,
    pub(super) deadline_ns: u64,
}

impl<P: Platform> Ipc<P> {
    /// Takes the next message that was sent to an end, waiting for it until a time. `show` is called
    /// with no lock held, maybe more than once, with what is next; if it fails, that stays.
    ///
    /// # Errors
    /// What `show` says; `PeerClosed`: nothing is left and nothing will come; `WouldBlock`: the
    /// deadline is 0; `TimedOut`, `Cancelled`, `Interrupted`; `Quota`, `NoMemory`, `Limit`: the
    /// receiver can't have the capabilities.
    #[inline]
    pub fn receive(
        &self,
        receiver: &Domain<P>,
        end: Handle,
        deadline_ns: u64,
        show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<Received, Error> {
        let end = self.channel_end(receiver, end, Rights::RECEIVE)?;
        self.receive_by(receiver, &end, deadline_ns, &mut None, show)
    }

    /// The same by an end that was looked up. `woken` is somebody who is to go on, at the latest when
    /// this sleeps.
    #[inline(always)]
    pub(super) fn receive_by(
        &self,
        receiver: &Domain<P>,
        end: &EndOf<P>,
        deadline_ns: u64,
        woken: &mut Option<P::Task>,
        mut show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<Received, Error> {
        let (channel, side) = end.parts()?;
        let inbox = channel.inbox(side);
        let mut seen = Seen::new();
        loop {
            let by = Waiting {
                domain: receiver,
                end,
                deadline_ns,
            };
            self.next_message(&by, inbox, woken, &mut seen)?;
            let taken =
                show(&seen.preview()).and_then(|()| self.take(receiver, end, channel, side, &seen));
            match taken {
                Ok(Some(received)) => return Ok(received),
                // Somebody else was faster.
                Ok(None) => {}
                Err(error) => {
                    self.wake_next_receiver(inbox);
                    return Err(error);
                }
            }
        }
    }

    #[inline(always)]
    fn next_message(
        &self,
        by: &Waiting<'_, P>,
        inbox: &Lock<Inbox<P>>,
        woken: &mut Option<P::Task>,
        seen: &mut Seen,
    ) -> Result<(), Error> {
        loop {
            let state = inbox.lock();
            if let Err(error) = by.end.check(by.domain) {
                drop(state);
                // It may have been told of a message that is another's to take now.
                self.wake_next_receiver(inbox);
                return Err(error);
            }
            if let Some((packet, number)) = state.queue.first() {
                seen.look(packet, number);
                return Ok(());
            }
            if state.peer_closed {
                return Err(Error::PeerClosed);
            }
            if by.deadline_ns == 0 {
                return Err(Error::WouldBlock);
            }
            self.wait_in(inbox, state, by, woken.take(), |state| &mut state.receivers)?;
        }
    }

    /// Waits in a list of an inbox, which was locked, until somebody wakes it. `woken` is somebody who
    /// is to go on.
    #[inline(always)]
    pub(super) fn wait_in(
        &self,
        inbox: &Lock<Inbox<P>>,
        mut state: Guard<'_, Inbox<P>>,
        by: &Waiting<'_, P>,
        woken: Option<P::Task>,
        list: impl Fn(&mut Inbox<P>) -> &mut Waiters<P>,
    ) -> Result<(), Error> {
        let (task, end) = (self.platform().current_task(), by.end);
        let enlisted = list(&mut state).enlist(task, &end.node, by.domain.koid(), end.needed);
        drop(state);
        let slept = match (&enlisted, woken) {
            (Ok(ticket), Some(woken)) => self.sleep_unparking(&woken, ticket, by.deadline_ns),
            (Ok(ticket), None) => self.sleep(ticket, by.deadline_ns),
            (Err(error), woken) => {
                if let Some(woken) = woken {
                    self.platform().unpark(&woken);
                }
                return Err(*error);
            }
        };
        if let (Err(_), Ok(ticket)) = (slept, &enlisted) {
            list(&mut inbox.lock()).withdraw(ticket);
        }
        slept
    }

    /// Takes what was seen, unless somebody else has. It is charged for and taken in one hold of the
    /// lock, so of several who try one at a time is.
    #[inline(always)]
    fn take(
        &self,
        receiver: &Domain<P>,
        end: &EndOf<P>,
        channel: &Channel<P>,
        side: ChannelSide,
        seen: &Seen,
    ) -> Result<Option<Received>, Error> {
        let places = seen.handles + usize::from(seen.is_call);
        let mut table = receiver.table.lock();
        table.prepare(places)?;
        let (mut load, mut bills) = (Load::new(), Bills::new());
        let mut state = channel.inbox(side).lock();
        end.check(receiver)?;
        let is_seen = |number| number == seen.number || mm::sabotaged!("taken_unseen");
        match state.queue.first() {
            Some((packet, number)) if is_seen(number) => {
                self.bill_all(receiver, &packet.offers, &mut bills)?;
            }
            _ => return Ok(None),
        }
        let was_full = !state.queue.has_room();
        if let Some(packet) = state.queue.pop() {
            packet.unload_into(&mut load);
        }
        let woken = state.wake_sender();
        drop(state);
        let mut received = Received::of(seen.bytes.len(), seen.badge);
        self.deliver_load(receiver, table, &mut load, &bills, &mut received);
        self.tell_room(channel, side, was_full, woken);
        Ok(Some(received))
    }

    /// Tells those at the other end that there is room at `side`.
    #[inline]
    pub(super) fn tell_room(
        &self,
        channel: &Channel<P>,
        side: ChannelSide,
        was_full: bool,
        woken: Option<P::Task>,
    ) {
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        if was_full {
            self.fire(channel.events(side.peer()), abi::Events::WRITABLE, 0);
        }
    }

    /// Tells somebody else of a message that stays.
    pub(super) fn wake_next_receiver(&self, inbox: &Lock<Inbox<P>>) {
        let woken = {
            let mut state = inbox.lock();
            match state.queue.is_empty() {
                true => None,
                false => state.wake_receiver(),
            }
        };
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
    }
}
