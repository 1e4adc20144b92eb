//! Payloads of any size beside the messages of a hub: inline, in a slot of a pool, or in a region of their own.
//!
//! The pool is one region for each guest, which the host makes and shares, so that no guest reaches what is another's and
//! none can take the pool away from the host. A region payload is read from a [snapshot of the reader's own](super::taken),
//! whatever the sender has granted: it neither changes nor goes away under the eyes of who reads it.
//!
//! What is refused has changed nothing, so that it can be tried again.

use alloc::vec::Vec;
use core::ptr::NonNull;

use abi::{Error, Handle, Mode, Rights, Token};
use ring::memory::pool::PoolMemory;
use ring::payload::layout::MAX_CLASSES;
use ring::payload::pools::MAX_EXTENTS;
use ring::payload::{
    Class, Frame, Known, Layout, Leases, Pool, Pools, RegionId, RegionRef, Side, SlotRef, frame,
};

use super::taken::{Taken, blame, take, take_region};
use crate::ring_end::to_abi;
use crate::{Mapping, Region, grant, sys};

/// Regions that one side can have published at a time.
pub const MAX_REGIONS: usize = 16;

/// How a message is sent: with the ring's errors.
pub type Send<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), ring::Error>;

/// One side's payloads of one seat.
pub struct Payloads {
    side: Side,
    /// What leads to the other side.
    via: Handle,
    /// Bytes of the longest message.
    message_bytes: usize,
    pools: Pools<PoolMemory>,
    leases: Leases<MAX_REGIONS>,
    /// By which the regions that are published were granted.
    tokens: [Option<Token>; MAX_REGIONS],
    known: Known<Taken, MAX_REGIONS>,
    /// Bytes of the longest region that is taken.
    longest: u64,
    /// What the pools are in; dropped after them.
    mappings: Vec<Mapping>,
}

/// A message that was received, whose payload can be copied out until it is [finished](Payloads::finish).
#[derive(Debug)]
#[must_use = "its payload is kept until it is finished"]
pub struct Received {
    /// What the sender says of it.
    pub tag: u32,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    Inline(Vec<u8>),
    Slot(SlotRef),
    Region(RegionRef),
}

impl Received {
    /// Bytes of the payload.
    pub fn len(&self) -> u64 {
        match &self.payload {
            Payload::Inline(bytes) => bytes.len() as u64,
            Payload::Slot(slot) => slot.length.into(),
            Payload::Region(region) => region.length,
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
            .field("side", &self.side)
            .field("extents", &self.pools.extents())
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
            side,
            via,
            message_bytes,
            pools: Pools::default(),
            leases: Leases::default(),
            tokens: [None; MAX_REGIONS],
            longest: u64::MAX,
            known: Known::default(),
            mappings: Vec::new(),
        }
    }

    /// Takes no region from the peer that is longer than this: a longer one is its fault. This side pays for up to
    /// [`MAX_REGIONS`] of that length, and of any length unless it says so.
    #[must_use]
    pub fn with_longest_region(mut self, bytes: u64) -> Payloads {
        self.longest = bytes;
        self
    }

    /// Bytes of the longest payload that goes inline.
    pub fn inline_bytes(&self) -> usize {
        self.message_bytes.saturating_sub(frame::HEAD_BYTES)
    }

    /// Adds slots of these classes to the pool. What anybody holds stays as it is. For the host alone.
    ///
    /// # Errors
    /// `Invalid`: the classes, or not the host; `Full`: it has grown as often as it can; what making, mapping and
    /// granting a region and sending a message answer. The pool has not grown then.
    pub fn grow(&mut self, classes: &[Class], send: Send<'_>) -> Result<(), Error> {
        if self.side != Side::Host {
            return Err(Error::Invalid);
        }
        let layout = Layout::new(classes).map_err(to_abi)?;
        let extent = self.pools.extents();
        if extent >= MAX_EXTENTS {
            return Err(Error::Full);
        }
        let region = Region::create(layout.bytes())?;
        let mapping = region.map(Rights::READ | Rights::WRITE)?;
        let pool = self.pool_in(&mapping, layout)?;
        let mut fields = [Class::default(); MAX_CLASSES];
        fields[..layout.classes().len()].copy_from_slice(layout.classes());
        let rights = Rights::READ | Rights::WRITE | Rights::MAP | Rights::INSPECT;
        let token = region.share(self.via, rights)?;
        let grown = Frame::Grown {
            extent: extent as u16,
            token: token.bits(),
            classes: fields,
        };
        send_frame(&grown, send).inspect_err(|_| take_back(token))?;
        self.add_pool(mapping, pool)
    }

    /// The pool in a mapping, which is to be kept for longer.
    fn pool_in(&self, mapping: &Mapping, layout: Layout) -> Result<Pool<PoolMemory>, Error> {
        let base = NonNull::new(mapping.address() as *mut u8).ok_or(Error::Fault)?;
        // SAFETY: every caller drops the pool before the mapping or hands both to `add_pool`, which keeps the mapping as
        // long as the pool, and nothing else here reaches it.
        let memory = unsafe { PoolMemory::from_raw(base, mapping.len(), &layout) };
        Ok(Pool::new(memory.map_err(to_abi)?, layout, self.side))
    }

    /// Adds a pool, with the mapping that it is in.
    fn add_pool(&mut self, mapping: Mapping, pool: Pool<PoolMemory>) -> Result<(), Error> {
        self.pools.grow(pool).map_err(to_abi)?;
        self.mappings.push(mapping);
        Ok(())
    }

    /// Sends a payload where it fits: inline, in the smallest slot, or, if it is larger than any, in a region of its own.
    ///
    /// # Errors
    /// `Full`: no slot is free, or the peer has not finished enough of what is in regions; what making and
    /// granting a region and sending a message answer. The payload was not sent then, and nothing is kept for it.
    pub fn send(&mut self, tag: u32, bytes: &[u8], send: Send<'_>) -> Result<(), Error> {
        if bytes.len() <= self.inline_bytes() {
            return send_frame_of(&Frame::Inline { tag, bytes }, bytes.len(), send);
        }
        match self.pools.allocate(bytes.len()) {
            Ok(slot) => {
                // Before anybody is told of it.
                let written = self.pools.write(slot, 0, bytes).map_err(to_abi);
                let sent = written.and_then(|()| send_frame(&Frame::Slot { tag, slot }, send));
                sent.inspect_err(|_| _ = self.pools.withdraw(slot))
            }
            Err(ring::Error::TooLarge) => {
                let region = self.publish(bytes, send)?;
                let sent = self.send_part(tag, region, 0, bytes.len() as u64, send);
                sent.inspect_err(|_| _ = self.withdraw(region))
            }
            Err(error) => Err(to_abi(error)),
        }
    }

    /// Makes bytes a region that messages can refer to parts of, and tells the peer, which gets them as they are now.
    ///
    /// # Errors
    /// `Full`: as many are published as can be; as of [`send`](Payloads::send).
    pub fn publish(&mut self, bytes: &[u8], send: Send<'_>) -> Result<RegionId, Error> {
        let length = bytes.len() as u64;
        let region = Region::create(length)?;
        {
            let mut mapping = region.map(Rights::READ | Rights::WRITE)?;
            // SAFETY: the region was made just now, and is known to nobody else.
            let target = unsafe { mapping.as_mut_slice(bytes.len()) };
            target.ok_or(Error::Denied)?.copy_from_slice(bytes);
        }
        let id = self.leases.publish(length).map_err(to_abi)?;
        let granted = grant(region.handle(), self.via, Mode::CopyOnWrite, Rights::all());
        let told = granted.and_then(|token| {
            self.tokens[id.slot as usize] = Some(token);
            let published = Frame::Published {
                region: id,
                token: token.bits(),
                length,
            };
            send_frame(&published, send)
        });
        told.inspect_err(|_| self.forget(id))?;
        Ok(id)
    }

    /// Publishes a region no longer, so that another can be. It is done by itself when the last part of it that was sent
    /// is finished.
    ///
    /// # Errors
    /// `Invalid`: it is not published; `Full`: parts of it were sent, and not all are finished.
    pub fn withdraw(&mut self, region: RegionId) -> Result<(), Error> {
        self.leases.withdraw(region).map_err(to_abi)
    }

    /// The same of one that the peer does not know, or not any more. It may not have taken it, for want of memory.
    fn forget(&mut self, region: RegionId) {
        if self.withdraw(region).is_ok()
            && let Some(token) = self.tokens[region.slot as usize].take()
        {
            take_back(token);
        }
    }

    /// Sends a part of a region that was published.
    ///
    /// # Errors
    /// `Invalid`: it is not published, or the part is not within it; as of [`send`](Payloads::send).
    pub fn send_part(
        &mut self,
        tag: u32,
        region: RegionId,
        offset: u64,
        length: u64,
        send: Send<'_>,
    ) -> Result<(), Error> {
        let part = self.leases.lease(region, offset, length).map_err(to_abi)?;
        let sent = send_frame(&Frame::Region { tag, region: part }, send);
        sent.inspect_err(|_| _ = self.leases.release(region))
    }

    /// What came in a message, after everything in it was checked; nothing if it was for this layer alone.
    ///
    /// # Errors
    /// `PeerFault`: no honest peer sends it. A host then dismisses the guest. Of a guest alone: `Quota`, `NoMemory`,
    /// `Limit`: it has no room for what the pool has grown by, and is to leave.
    pub fn receive(&mut self, message: &[u8]) -> Result<Option<Received>, Error> {
        let fault = |_| Error::PeerFault;
        let (tag, payload) = match Frame::decode(message).map_err(fault)? {
            Frame::Inline { tag, bytes } => (tag, Payload::Inline(bytes.into())),
            Frame::Slot { tag, slot } => {
                self.pools.check(slot).map_err(fault)?;
                (tag, Payload::Slot(slot))
            }
            Frame::Region { tag, region } => {
                self.known.resolve(region).map_err(fault)?;
                (tag, Payload::Region(region))
            }
            Frame::Published {
                region,
                token,
                length,
            } => {
                if length > self.longest {
                    return Err(Error::PeerFault);
                }
                // What this side has no room for is no fault of the peer's: it is told to who reads it.
                let taken = match take_region(Token::from_bits(token), self.via, length) {
                    Err(Error::PeerFault) => return Err(Error::PeerFault),
                    taken => taken,
                };
                self.known.learn(region, length, taken).map_err(fault)?;
                return Ok(None);
            }
            Frame::Released { region } => {
                self.leases.release(region).map_err(fault)?;
                if self.leases.leases(region) == 0 {
                    self.forget(region);
                }
                return Ok(None);
            }
            Frame::Grown {
                extent,
                token,
                classes,
            } => {
                if self.side == Side::Host || usize::from(extent) != self.pools.extents() {
                    return Err(Error::PeerFault);
                }
                let used = classes.iter().filter(|class| class.slot_bytes > 0).count();
                let layout = Layout::new(&classes[..used]).map_err(fault)?;
                let granted = take(Token::from_bits(token), self.via)?;
                let mapping = granted.map(Rights::READ | Rights::WRITE);
                let mapping = mapping.map_err(blame)?;
                let pool = self.pool_in(&mapping, layout);
                let pool = pool.map_err(|_| Error::PeerFault)?;
                let added = self.add_pool(mapping, pool);
                added.map_err(|_| Error::PeerFault)?;
                return Ok(None);
            }
        };
        Ok(Some(Received { tag, payload }))
    }

    /// Copies bytes of a payload out. What is in a slot may change until it is finished: copy once, then judge.
    ///
    /// # Errors
    /// `TooLarge`: they go beyond it; `PeerFault`: the peer took the slot back; `Quota`, `NoMemory`, `Limit`: it is in a region
    /// for which there was no room here when it was published. It is to be finished like any other.
    pub fn read(&self, received: &Received, offset: u64, target: &mut [u8]) -> Result<(), Error> {
        let len = target.len() as u64;
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > received.len()) {
            return Err(Error::TooLarge);
        }
        match &received.payload {
            Payload::Inline(bytes) => {
                let from = offset as usize;
                target.copy_from_slice(&bytes[from..from + target.len()]);
                Ok(())
            }
            Payload::Slot(slot) => self
                .pools
                .read(*slot, offset as usize, target)
                .map_err(to_abi),
            Payload::Region(region) => {
                let taken = self.known.resolve(*region).map_err(to_abi)?;
                let mapping = taken.as_ref().map_err(|error| *error)?;
                // SAFETY: the part is within the length that was published, which is within the region; the region is a
                // snapshot that this process made, of which nobody else has a capability, and which is promised its memory.
                let bytes = unsafe { mapping.as_slice(mapping.len() as usize) };
                let from = (region.offset + offset) as usize;
                target.copy_from_slice(&bytes[from..from + target.len()]);
                Ok(())
            }
        }
    }

    /// Gives a payload back that was read.
    ///
    /// # Errors
    /// With what was to be given back: `PeerFault`: the peer has taken the slot back; what sending a message answers, after
    /// which it can be tried again.
    pub fn finish(&mut self, received: Received, send: Send<'_>) -> Result<(), Unfinished> {
        let finished = match received.payload {
            Payload::Inline(_) => Ok(()),
            Payload::Slot(slot) => self.pools.release(slot).map_err(to_abi),
            Payload::Region(RegionRef { region, .. }) => {
                send_frame(&Frame::Released { region }, send)
            }
        };
        finished.map_err(|error| Unfinished { error, received })
    }

    /// Gives a payload back whose sender is gone and is told nothing. `PeerFault` as of [`finish`](Payloads::finish).
    pub(super) fn discard(&self, received: Received) -> Result<(), Error> {
        match received.payload {
            Payload::Slot(slot) => self.pools.release(slot).map_err(to_abi),
            Payload::Inline(_) | Payload::Region(_) => Ok(()),
        }
    }

    /// Gives back the slots of the other side, which is gone.
    pub(super) fn reclaim_slots(&self) -> u32 {
        self.pools.reclaim(self.side.peer())
    }

    /// Drops the leases of the other side, which is gone.
    pub(super) fn drop_leases(&mut self) -> u64 {
        self.leases.drop_peer()
    }
}

/// Withdraws what was offered. What was accepted by then is the peer's.
fn take_back(token: Token) {
    // SAFETY: nothing is mapped or unmapped by it.
    let _ = unsafe { sys::cancel(token) };
}

fn send_frame(frame: &Frame<'_>, send: Send<'_>) -> Result<(), Error> {
    send_frame_of(frame, frame::MAX_FRAME_BYTES, send)
}

fn send_frame_of(frame: &Frame<'_>, bytes: usize, send: Send<'_>) -> Result<(), Error> {
    let mut message = alloc::vec![0; frame::HEAD_BYTES + bytes];
    let len = frame.encode(&mut message).map_err(to_abi)?;
    send(&message[..len]).map_err(to_abi)
}
