//! Payloads of any size beside the messages of a hub: inline, in a slot of a pool, or in a region of their own.
//!
//! The pool is one region for each guest, which the host makes and shares, so that no guest reaches what is another's and
//! none can take the pool away from the host. A region payload is read from a [snapshot of the reader's own](regions),
//! whatever the sender has granted: it neither changes nor goes away under the eyes of who reads it. What the other side
//! says is judged by [`ring::payload::Books`].
//!
//! What is refused has changed nothing, so that it can be tried again; who does not want to try again and again
//! [waits](Payloads::wait_for_room).

mod regions;
mod sending;

use alloc::vec::Vec;

use abi::{Error, Handle};
use ring::payload::{Books, Frame, Payload, Refused, RegionRef, Side, SlotRef, Traffic, frame};
use ring::sabotaged;

use crate::ring_end::to_abi;
use regions::Granted;

/// Regions that one side can have published at a time.
pub const MAX_REGIONS: usize = 16;

/// How a message is sent: with the ring's errors, and without a sleep where there is no patience.
pub type Send<'a> = &'a mut dyn FnMut(&[u8], Patience) -> Result<(), ring::Error>;

/// Whether who sends a message may sleep until there is room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as it likes.
    Any,
    /// Not at all: where there is no room, nothing needs to be told.
    None,
}

impl Patience {
    /// Until when a message is sent that may be until `deadline_ns`.
    pub fn until(self, deadline_ns: u64) -> u64 {
        match self {
            Patience::Any => deadline_ns,
            Patience::None => 0,
        }
    }
}

/// One side's payloads of one seat.
pub struct Payloads {
    /// Bytes of the longest message.
    message_bytes: usize,
    books: Books<Granted, MAX_REGIONS>,
}

/// A message that was received, whose payload can be copied out until it is [finished](Payloads::finish).
#[derive(Debug)]
#[must_use = "its payload is kept until it is finished"]
pub struct Received {
    /// What the sender says of it.
    pub tag: u32,
    payload: Place,
}

/// Where it is.
#[derive(Debug)]
enum Place {
    Here(Vec<u8>),
    Slot(SlotRef),
    Region(RegionRef),
}

impl Received {
    /// Bytes of the payload.
    pub fn len(&self) -> u64 {
        match &self.payload {
            Place::Here(bytes) => bytes.len() as u64,
            Place::Slot(slot) => slot.length.into(),
            Place::Region(region) => region.length,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What could not be given back yet.
#[derive(Debug)]
pub struct Unfinished {
    /// Why.
    pub error: Error,
    /// What is to be finished still.
    pub received: Received,
}

impl From<Unfinished> for Error {
    fn from(unfinished: Unfinished) -> Error {
        unfinished.error
    }
}

impl core::fmt::Display for Unfinished {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.error.fmt(f)
    }
}

impl core::fmt::Debug for Payloads {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Payloads")
            .field("side", &self.books.side())
            .field("extents", &self.books.pools().extents())
            .finish_non_exhaustive()
    }
}

impl Payloads {
    /// Of the host, for the guest at the other end of [`Link::via`](super::Link::via), whose rings carry messages of so many
    /// bytes.
    pub fn of_host(via: Handle, message_bytes: usize) -> Payloads {
        Payloads::new(Side::Host, via, message_bytes)
    }

    /// Of a guest, by its [`Guest::via`](super::Guest::via).
    pub fn of_guest(via: Handle, message_bytes: usize) -> Payloads {
        Payloads::new(Side::Guest, via, message_bytes)
    }

    fn new(side: Side, via: Handle, message_bytes: usize) -> Payloads {
        Payloads {
            message_bytes,
            books: Books::new(side, Granted::new(via)),
        }
    }

    /// Takes no region from the peer that is longer than this: a longer one is its fault. This side pays for up to
    /// [`MAX_REGIONS`] of that length, and of any length unless it says so.
    #[must_use]
    pub fn with_longest_region(mut self, bytes: u64) -> Payloads {
        self.books.limit_regions(bytes);
        self
    }

    /// What has passed, by where it was, and how often there was no room, as this side has counted it.
    pub fn traffic(&self) -> Traffic {
        *self.books.traffic()
    }

    /// Bytes of the longest payload that goes inline.
    pub fn inline_bytes(&self) -> usize {
        self.message_bytes.saturating_sub(frame::HEAD_BYTES)
    }

    /// What came in a message, after everything in it was checked; nothing if it was for this layer alone.
    ///
    /// # Errors
    /// `PeerFault`: no honest peer sends it. A host then dismisses the guest. Of a guest alone: `Quota`, `NoMemory`,
    /// `Limit`: it has no room for what the pool has grown by, and is to leave.
    pub fn receive(&mut self, message: &[u8]) -> Result<Option<Received>, Error> {
        let received = self
            .books
            .receive(message)
            .map_err(|refused| match refused {
                Refused::Fault | Refused::Gone => Error::PeerFault,
                Refused::NoRoom(error) => error,
            })?;
        Ok(received.map(|(tag, payload)| {
            let payload = match payload {
                Payload::Inline(bytes) => Place::Here(bytes.into()),
                Payload::Slot(slot) => Place::Slot(slot),
                Payload::Region(region) => Place::Region(region),
            };
            Received { tag, payload }
        }))
    }

    /// Copies bytes of a payload out. What is in a slot may change until it is finished: copy once, then judge.
    ///
    /// # Errors
    /// `TooLarge`: they go beyond it; `PeerFault`: the peer took the slot back, or withdrew the region; `Quota`, `NoMemory`, `Limit`: it is in a region
    /// for which there was no room here when it was published. It is to be finished like any other.
    pub fn read(&self, received: &Received, offset: u64, target: &mut [u8]) -> Result<(), Error> {
        let len = target.len() as u64;
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > received.len()) {
            return Err(Error::TooLarge);
        }
        match &received.payload {
            Place::Here(bytes) => {
                let from = offset as usize;
                target.copy_from_slice(&bytes[from..from + target.len()]);
                Ok(())
            }
            Place::Slot(slot) => {
                let read = self.books.pools().read(*slot, offset as usize, target);
                read.map_err(to_abi)
            }
            Place::Region(region) => {
                let taken = self.books.resolve(*region).map_err(to_abi)?;
                let taken = taken.as_ref().map_err(|error| *error)?;
                taken.read(region.offset + offset, target)
            }
        }
    }

    /// Gives a payload back that was read, with all that this side has of a region that was [sent](Payloads::send) for it,
    /// and tells the peer if it waits for that.
    ///
    /// # Errors
    /// With what was to be given back: `PeerFault`: the peer has taken the slot back; what sending a message answers, after
    /// which it can be tried again.
    pub fn finish(&mut self, received: Received, send: Send<'_>) -> Result<(), Unfinished> {
        let finished = match received.payload {
            Place::Here(_) => Ok(()),
            Place::Slot(slot) => {
                let released = self.books.pools().release(slot).map_err(to_abi);
                released.map(|()| self.tell_freed(slot, send))
            }
            Place::Region(RegionRef { region, .. }) => {
                let released = self.send_frame(&Frame::Released { region }, send);
                released.map(|()| self.books.finish(region))
            }
        };
        finished.map_err(|error| Unfinished { error, received })
    }

    /// Tells the peer of a slot that is free again, if it waits for one like it. Where there is no room for that, it has
    /// other messages to receive, after which it looks again: so nobody sleeps for it, whatever the peer says.
    fn tell_freed(&mut self, slot: SlotRef, send: Send<'_>) {
        if self.books.pools().must_tell_peer(slot) {
            let patience = match sabotaged!("freed_told_at_any_price") {
                true => Patience::Any,
                false => Patience::None,
            };
            let _ = self.send_frame_of(&Frame::Freed, 0, patience, send);
        }
    }

    /// Sleeps by `sleep` if [`send`](Payloads::send) of so many bytes would be `Full` for want of a slot or of a region, and
    /// returns what that came to; `None`: there is room, or only this side can make some by
    /// [withdrawing](Payloads::withdraw) a region, and it did not sleep.
    ///
    /// `sleep` returns when there is a message to be received: of a guest `receiver().wait_for_message(deadline)`,
    /// of a host [`Host::wait`](super::Host::wait). What has come by then is received before the next try, since it may be
    /// that there is room; it may also be that there is not, and then this is called again.
    ///
    /// # Errors
    /// What `sleep` answers.
    pub fn wait_for_room<T, E>(
        &mut self,
        bytes: usize,
        sleep: impl FnOnce() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let waits = bytes > self.inline_bytes() && self.books.arm(bytes);
        if !waits && !sabotaged!("room_awaited_without_look") {
            return Ok(None);
        }
        let slept = sleep();
        self.books.disarm();
        slept.map(Some)
    }

    /// Gives a payload back whose sender is gone and is told nothing. `PeerFault` as of [`finish`](Payloads::finish).
    pub(super) fn discard(&mut self, received: Received) -> Result<(), Error> {
        match received.payload {
            Place::Here(_) => {}
            Place::Slot(slot) => self.books.pools().release(slot).map_err(to_abi)?,
            Place::Region(part) => self.books.finish(part.region),
        }
        Ok(())
    }

    /// Gives back the slots of the other side, which is gone.
    pub(super) fn reclaim_slots(&self) -> u32 {
        self.books.reclaim_slots()
    }

    /// Drops the leases of the other side, which is gone, and takes back what it has not taken.
    pub(super) fn drop_leases(&mut self) -> u64 {
        self.books.drop_leases()
    }

    /// Takes back what was granted to the other side and it has not taken. For a guest whose host is gone or has dismissed
    /// it; a host does it where it [recovers](super::Host::recover_payloads) the seat. Who merely drops its payloads leaves
    /// what is on its way to be received. A host that still receives a message with a region which was taken back can't tell it
    /// from nonsense, and takes nothing more from this guest.
    pub fn take_back(mut self) {
        self.drop_leases();
    }

    fn send_frame(&mut self, frame: &Frame<'_>, send: Send<'_>) -> Result<(), Error> {
        self.send_frame_of(frame, frame::MAX_FRAME_BYTES, Patience::Any, send)
    }

    /// Every message goes out here, and is counted when it has.
    fn send_frame_of(
        &mut self,
        frame: &Frame<'_>,
        bytes: usize,
        patience: Patience,
        send: Send<'_>,
    ) -> Result<(), Error> {
        let mut message = alloc::vec![0; frame::HEAD_BYTES + bytes];
        let len = frame.encode(&mut message).map_err(to_abi)?;
        let sent = send(&message[..len], patience);
        self.books.sent(frame, sent).map_err(to_abi)
    }
}
