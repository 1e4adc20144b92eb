//! What is left of a guest that is gone, as [`ring::hub::recovery`] gives it up.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use abi::{Error, HubSeat};
use ring::byte::Byte;
use ring::hub::recovery::{Drained, Remains};
use ring::packet::Packet;
use ring::payload::Traffic;
use ring::slot::Slot;
use ring::{Consumer, RingKind, sabotaged};

use super::{Host, LinkOf, Payloads, Received};
use crate::ring_end::RingWait;

/// The kinds of rings that the seats of a hub can have.
pub trait LinkKind: RingKind {
    /// Receives what is next, whatever it means: a message, or bytes of a stream.
    ///
    /// # Errors
    /// As of receiving without waiting.
    fn take_next(
        receiver: &mut Consumer<Self, RingWait>,
        target: &mut [u8],
    ) -> Result<usize, ring::Error>;
}

impl LinkKind for Slot {
    fn take_next(
        receiver: &mut Consumer<Self, RingWait>,
        target: &mut [u8],
    ) -> Result<usize, ring::Error> {
        receiver.try_receive(target)
    }
}

impl LinkKind for Packet {
    fn take_next(
        receiver: &mut Consumer<Self, RingWait>,
        target: &mut [u8],
    ) -> Result<usize, ring::Error> {
        receiver.try_receive(target).map(|(_, length)| length)
    }
}

impl LinkKind for Byte {
    fn take_next(
        receiver: &mut Consumer<Self, RingWait>,
        target: &mut [u8],
    ) -> Result<usize, ring::Error> {
        receiver.try_read(target)
    }
}

/// Those that carry messages, and so the frames that refer to payloads.
pub trait MessageKind: LinkKind {}

impl MessageKind for Slot {}
impl MessageKind for Packet {}

/// Why a seat was not recovered.
#[derive(Debug)]
pub struct Unrecovered<T> {
    /// `Busy`: the guest is there, and nothing was done; else why the seat could not be made empty.
    pub error: Error,
    /// What was to be given up, of a guest that is there.
    pub kept: Option<Box<T>>,
}

impl<T> Unrecovered<T> {
    pub(super) fn busy(kept: T) -> Unrecovered<T> {
        Unrecovered {
            error: Error::Busy,
            kept: Some(Box::new(kept)),
        }
    }

    pub(super) fn lost(error: Error) -> Unrecovered<T> {
        Unrecovered { error, kept: None }
    }
}

impl<T> From<Unrecovered<T>> for Error {
    fn from(unrecovered: Unrecovered<T>) -> Error {
        unrecovered.error
    }
}

impl<T> fmt::Display for Unrecovered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// What the host has of a guest that is gone.
pub(super) struct Left<'a, K, F> {
    host: &'a Host,
    seat: HubSeat,
    link: Option<LinkOf<K>>,
    payloads: Option<Payloads>,
    each: F,
    /// What a message is received into.
    message: Vec<u8>,
}

impl<'a, K: LinkKind, F: FnMut(&Payloads, &Received)> Left<'a, K, F> {
    pub(super) fn new(
        host: &'a Host,
        link: LinkOf<K>,
        payloads: Option<Payloads>,
        each: F,
    ) -> Left<'a, K, F> {
        Left {
            host,
            seat: link.seat,
            message: vec![0; link.receiver.max_message_bytes()],
            link: Some(link),
            payloads,
            each,
        }
    }

    /// Takes one message out of the ring; `Ok(false)`: there is none.
    fn take(&mut self) -> Result<bool, Error> {
        let Some(link) = &mut self.link else {
            return Ok(false);
        };
        let length = match K::take_next(&mut link.receiver, &mut self.message) {
            Ok(length) => length,
            Err(ring::Error::PeerFault) => return Err(Error::PeerFault),
            Err(_) => return Ok(false),
        };
        // A host's receiving fails by a fault of the guest alone: what there is no room for is told to who reads it.
        if let Some(payloads) = &mut self.payloads
            && let Some(received) = payloads.receive(&self.message[..length])?
        {
            (self.each)(payloads, &received);
            payloads.discard(received)?;
        }
        Ok(true)
    }
}

impl<K: LinkKind, F: FnMut(&Payloads, &Received)> Remains for Left<'_, K, F> {
    type Error = Error;

    fn check_gone(&self) -> Result<(), Error> {
        match self.host.is_there(self.seat) {
            true => Err(Error::Busy),
            false => Ok(()),
        }
    }

    fn drain(&mut self) -> Drained {
        let mut drained = Drained::default();
        loop {
            match self.take() {
                Ok(true) => drained.messages += 1,
                Ok(false) => return drained,
                Err(_) => {
                    drained.fault = true;
                    return drained;
                }
            }
        }
    }

    fn reset_rings(&mut self) {
        // Those of the guest were taken away when it was gone, so that this was the last that reached them.
        self.link = None;
    }

    fn reclaim_slots(&mut self) -> u32 {
        if sabotaged!("gone_guest_keeps_slots") {
            return 0;
        }
        self.payloads.as_ref().map_or(0, Payloads::reclaim_slots)
    }

    fn drop_leases(&mut self) -> u64 {
        self.payloads.as_mut().map_or(0, Payloads::drop_leases)
    }

    fn traffic(&self) -> Traffic {
        self.payloads
            .as_ref()
            .map_or_else(Traffic::default, Payloads::traffic)
    }

    fn vacate(&mut self) -> Result<(), Error> {
        self.host.recover_seat(self.seat)
    }
}
