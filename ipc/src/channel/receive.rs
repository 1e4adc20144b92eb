//! Receiving: shown, paid for, then taken.
//!
//! What comes next is copied and shown to the receiver without a lock held; writing it to the program
//! may fault. Then, if it is still the next one, the receiver is charged and the message taken, in one
//! hold of the lock. So whatever fails leaves it where it is, and somebody else who waits is told.

use abi::limits::MAX_MESSAGE;
use abi::{Error, Handle, ObjectKind, Rights};
use arrayvec::ArrayVec;
use mm::lock::{Guard, Lock};

use super::message::Bills;
use super::queue::{Load, Packet, to_bytes};
use super::ready::Told;
use super::{Channel, ChannelSide, EndOf, Inbox, Preview, Received, unheld};
use crate::table::{Kept, Locked};
use crate::wait::WaitCell;
use crate::{Domain, Ipc, Node, Platform, Waiters};

/// A copy of the next message, and which one that is.
pub(super) struct Seen {
    /// Whether it is of what is next, and not of what has been.
    is_new: bool,
    number: u64,
    bytes: ArrayVec<u8, MAX_MESSAGE>,
    handles: usize,
    is_call: bool,
    badge: u64,
    /// Where the right to reply goes.
    kept: Option<Kept>,
}

impl Seen {
    #[inline(always)]
    pub(super) fn new() -> Seen {
        Seen {
            is_new: false,
            number: 0,
            bytes: ArrayVec::new(),
            handles: 0,
            is_call: false,
            badge: 0,
            kept: None,
        }
    }

    fn look<P: Platform>(&mut self, packet: &Packet<P>, number: u64) {
        self.is_new = true;
        self.number = number;
        self.bytes.clear();
        self.bytes.extend(packet.bytes().iter().copied());
        self.handles = packet.handles();
        self.is_call = packet.reply.is_some();
        self.badge = packet.badge;
    }

    /// Takes over what the current task was told with its wake. False: nothing.
    #[inline(always)]
    pub(super) fn hear<P: Platform>(&mut self, cell: &WaitCell<P>) -> bool {
        let Some(told) = Told::of(cell) else {
            return false;
        };
        self.is_new = true;
        self.number = told.number;
        self.bytes.clear();
        if told.len > 0 {
            let [a, b, c, d, ..] = cell.words();
            let bytes = to_bytes([a, b, c, d]);
            self.bytes.extend(bytes[..told.len].iter().copied());
        }
        self.handles = told.handles;
        self.is_call = told.is_call;
        self.badge = told.badge;
        true
    }

    /// Whether it is the message of this number.
    #[inline(always)]
    fn is(&self, number: u64) -> bool {
        number == self.number || mm::sabotaged!("taken_unseen")
    }

    /// How many places of a table it takes besides that which is kept.
    #[inline(always)]
    fn places(&self) -> usize {
        self.handles + usize::from(self.is_call && self.kept.is_none())
    }

    /// The place of the right to reply, which is the caller's to give back or to fill.
    #[inline(always)]
    pub(super) fn kept(&mut self) -> &mut Option<Kept> {
        &mut self.kept
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
        let by = Waiting {
            domain: receiver,
            end: &end,
            deadline_ns,
        };
        let mut received = Received::default();
        self.receive_by(&by, &mut None, &mut Seen::new(), &mut received, show)?;
        Ok(received)
    }

    /// The same by an end that was looked up. `woken` is somebody who is to go on, at the latest when
    /// this sleeps; `seen` is what the current task was told of what is next, if it was. Says in `received`
    /// what came.
    #[inline(always)]
    pub(super) fn receive_by(
        &self,
        by: &Waiting<'_, P>,
        woken: &mut Option<P::Task>,
        seen: &mut Seen,
        received: &mut Received,
        mut show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (channel, side) = by.end.parts()?;
        let inbox = channel.inbox(side);
        loop {
            if !seen.is_new {
                self.next_message(by, inbox, woken, seen)?;
            }
            seen.is_new = false;
            let taken =
                show(&seen.preview()).and_then(|()| self.take(by, channel, side, seen, received));
            match taken {
                Ok(true) => return Ok(()),
                // Somebody else was faster.
                Ok(false) => {}
                Err(error) => {
                    self.wake_next_receiver(inbox);
                    return Err(error);
                }
            }
        }
    }

    #[inline(never)]
    fn next_message(
        &self,
        by: &Waiting<'_, P>,
        inbox: &Lock<Inbox<P>>,
        woken: &mut Option<P::Task>,
        seen: &mut Seen,
    ) -> Result<(), Error> {
        loop {
            let mut state = inbox.lock();
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
            if !state.ready.is_nobody() || !state.receivers.is_empty() {
                self.wait_in(inbox, state, by, woken.take(), |state| &mut state.receivers)?;
                continue;
            }
            let woken = woken.take();
            let task = self.platform().current_task();
            state.ready.enter(&task);
            drop(state);
            self.sleep_ready(by, inbox, &task, woken.as_ref(), seen)?;
            if seen.is_new {
                return Ok(());
            }
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
                return Err(unheld(*error));
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
        by: &Waiting<'_, P>,
        channel: &Channel<P>,
        side: ChannelSide,
        seen: &mut Seen,
        received: &mut Received,
    ) -> Result<bool, Error> {
        if seen.handles > 1 {
            return self.take_load(by, channel, side, seen, received);
        }
        let receiver = by.domain;
        let mut table = self.table_for(receiver, seen.places())?;
        let mut state = channel.inbox(side).lock();
        by.end.check(receiver)?;
        let was_full = !state.queue.has_room();
        let Some((packet, number)) = state.queue.first_mut() else {
            return Ok(false);
        };
        if !seen.is(number) {
            return Ok(false);
        }
        let bill = match &packet.only {
            Some(offer) => Some(self.bill(&offer.node, receiver)?),
            None => None,
        };
        let (offer, reply) = (packet.only.take(), packet.reply.take());
        state.queue.advance();
        let woken = state.wake_sender();
        drop(state);
        received.len = seen.bytes.len();
        received.badge = seen.badge;
        let (mut sent, mut lost) = (None, None);
        if let (Some(offer), Some(bill)) = (offer, &bill) {
            received.handles_len = 1;
            match self.deliver_one(offer, bill, receiver, &mut table) {
                Ok((handle, from)) => {
                    received.handles[0] = handle;
                    sent = Some(from);
                }
                // One that was revoked on the way is a handle that names nothing.
                Err((_, offer)) => lost = Some(offer),
            }
        }
        if let Some(reply) = reply {
            reply.pass(receiver.koid());
            received.reply = match seen.kept.take() {
                Some(kept) => receiver.table.fill(&kept, ObjectKind::Reply, reply),
                None => table.insert(reply),
            };
        }
        drop(table);
        if let Some(bill) = bill {
            bill.keep();
        }
        drop(lost);
        if let Some(sent) = sent {
            sent.leave_sender(receiver);
        }
        if was_full || woken.is_some() {
            self.tell_room(channel, side, was_full, woken);
        }
        Ok(true)
    }

    /// The table of who receives, with so many places. It may have slept since memory was made sure of.
    #[inline(always)]
    pub(super) fn table_for<'a>(
        &self,
        receiver: &'a Domain<P>,
        places: usize,
    ) -> Result<Locked<'a, Node<P>>, Error> {
        let mut table = receiver.table.lock();
        if !table.has_places(places) {
            self.platform().ensure_memory()?;
        }
        table.prepare(places)?;
        Ok(table)
    }

    /// The same of a message with several capabilities.
    #[cold]
    fn take_load(
        &self,
        by: &Waiting<'_, P>,
        channel: &Channel<P>,
        side: ChannelSide,
        seen: &Seen,
        received: &mut Received,
    ) -> Result<bool, Error> {
        let receiver = by.domain;
        let table = self.table_for(receiver, seen.handles + usize::from(seen.is_call))?;
        let (mut load, mut bills) = (Load::new(), Bills::new());
        let mut state = channel.inbox(side).lock();
        by.end.check(receiver)?;
        let was_full = !state.queue.has_room();
        let Some((packet, number)) = state.queue.first_mut() else {
            return Ok(false);
        };
        if !seen.is(number) {
            return Ok(false);
        }
        self.bill_all(receiver, &packet.offers, &mut bills)?;
        packet.unload_into(&mut load);
        state.queue.advance();
        let woken = state.wake_sender();
        drop(state);
        received.len = seen.bytes.len();
        received.badge = seen.badge;
        self.deliver_load(receiver, table, &mut load, &bills, received);
        self.tell_room(channel, side, was_full, woken);
        Ok(true)
    }

    /// Tells those at the other end that there is room at `side`.
    #[cold]
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
