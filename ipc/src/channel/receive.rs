//! Receiving: shown, paid for, then taken.
//!
//! What comes next is copied and shown to the receiver without a lock held; writing it to the program
//! may fault. Then the receiver is charged, and only then is the message taken, if it is still the
//! next one. So whatever fails leaves it where it is, and somebody else who waits is told.

use abi::limits::MAX_MESSAGE;
use abi::{Error, Handle, Rights};
use mm::lock::Lock;

use super::message::{Nodes, nodes_of};
use super::queue::Packet;
use super::{Channel, ChannelSide, EndOf, Inbox, Preview, Received};
use crate::{Domain, Ipc, Platform};

/// A copy of the next message, and which one that is.
struct Seen<P: Platform> {
    number: u64,
    bytes: [u8; MAX_MESSAGE],
    len: usize,
    nodes: Nodes<P>,
    is_call: bool,
    badge: u64,
}

impl<P: Platform> Seen<P> {
    fn of(packet: &Packet<P>, number: u64) -> Seen<P> {
        let mut bytes = [0; MAX_MESSAGE];
        bytes[..packet.len].copy_from_slice(packet.bytes());
        Seen {
            number,
            bytes,
            len: packet.len,
            nodes: nodes_of(&packet.offers),
            is_call: packet.reply.is_some(),
            badge: packet.badge,
        }
    }

    fn handles(&self) -> usize {
        self.nodes.iter().flatten().count()
    }

    fn preview(&self) -> Preview<'_> {
        Preview {
            bytes: &self.bytes[..self.len],
            handles: self.handles(),
            badge: self.badge,
        }
    }
}

impl<P: Platform> Ipc<P> {
    /// Takes the next message that was sent to an end, waiting for it until a time. `show` is called
    /// with no lock held, maybe more than once, with what is next; if it fails, that stays.
    ///
    /// # Errors
    /// What `show` says; `PeerClosed`: nothing is left and nothing will come; `WouldBlock`: the
    /// deadline is 0; `TimedOut`, `Cancelled`, `Interrupted`; `Quota`, `NoMemory`, `Limit`: the
    /// receiver can't have the capabilities.
    pub fn receive(
        &self,
        receiver: &Domain<P>,
        end: Handle,
        deadline_ns: u64,
        mut show: impl FnMut(&Preview<'_>) -> Result<(), Error>,
    ) -> Result<Received, Error> {
        let end = self.channel_end(receiver, end, Rights::RECEIVE)?;
        let (channel, side) = end.parts()?;
        let inbox = channel.inbox(side);
        loop {
            let seen = self.next_message(receiver, &end, inbox, deadline_ns)?;
            let taken = show(&seen.preview())
                .and_then(|()| self.take(receiver, &end, channel, side, &seen));
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

    fn next_message(
        &self,
        receiver: &Domain<P>,
        end: &EndOf<P>,
        inbox: &Lock<Inbox<P>>,
        deadline_ns: u64,
    ) -> Result<Seen<P>, Error> {
        loop {
            let ticket = {
                let mut state = inbox.lock();
                if let Err(error) = end.node.check_allowed(receiver.koid(), Rights::RECEIVE) {
                    drop(state);
                    // It may have been told of a message that is another's to take now.
                    self.wake_next_receiver(inbox);
                    return Err(error);
                }
                if let Some((packet, number)) = state.queue.first() {
                    return Ok(Seen::of(packet, number));
                }
                if state.peer_closed {
                    return Err(Error::PeerClosed);
                }
                if deadline_ns == 0 {
                    return Err(Error::WouldBlock);
                }
                let task = self.platform().current_task();
                state.traffic.count_wait();
                state
                    .receivers
                    .enlist(task, &end.node, receiver.koid(), Rights::RECEIVE)?
            };
            self.sleep_in(&ticket, deadline_ns, inbox, |state| &mut state.receivers)?;
        }
    }

    /// Takes what was seen, unless somebody else has.
    fn take(
        &self,
        receiver: &Domain<P>,
        end: &EndOf<P>,
        channel: &Channel<P>,
        side: ChannelSide,
        seen: &Seen<P>,
    ) -> Result<Option<Received>, Error> {
        let places = seen.handles() + usize::from(seen.is_call);
        let bills = self.bill_all(receiver, &seen.nodes, places)?;
        let (load, was_full, woken) = {
            let mut state = channel.inbox(side).lock();
            let held = end.node.check_allowed(receiver.koid(), Rights::RECEIVE);
            let is_next = |(_, number)| number == seen.number;
            let here = state.queue.first().is_some_and(is_next);
            if held.is_err() || !here {
                drop(state);
                self.withdraw_bills(receiver, &seen.nodes, bills, places);
                return held.map(|()| None);
            }
            let was_full = !state.queue.has_room();
            let load = state.queue.pop().map(Packet::unload);
            (load, was_full, state.wake_sender())
        };
        self.tell_room(channel, side, was_full, woken);
        let mut received = Received::of(seen.len, seen.badge);
        if let Some(load) = load {
            self.deliver_load(receiver, load, bills, &mut received);
        }
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
