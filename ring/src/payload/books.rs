//! What one side of a seat keeps of the payloads of both, and how it judges what the other side says of them.
//!
//! Every message is judged here, and nowhere else, before anything is done for it: whoever has regions
//! ([`Regions`]) is asked to take one only when all else that the message says is possible.

use super::frame::Frame;
use super::layout::Layout;
use super::lease::{Known, Leases, RegionId, RegionRef};
use super::pool::{Pool, Side, SlotRef, SlotWords};
use super::pools::{MAX_EXTENTS, Pools};
use super::traffic::Traffic;
use crate::Error;
use crate::sabotaged;

/// Why something was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused<E> {
    /// No honest peer says it.
    Fault,
    /// This side has no room for it, which is no fault of the peer's.
    NoRoom(E),
    /// It is not there any more. The peer has withdrawn it by now, or it never was: of which no message may speak.
    Gone,
}

/// Where regions come from that the peer tells of. What is in them is the peer's, and so are the tokens that name them.
pub trait Regions {
    /// The memory of a pool.
    type Pool: SlotWords;
    /// What this side has of a region that the peer has published.
    type Taken;
    /// Why this side has no room for one.
    type Error;

    /// Takes `length` bytes of a region that the peer has published.
    ///
    /// # Errors
    /// [`Refused`].
    fn take(&mut self, token: u64, length: u64) -> Result<Self::Taken, Refused<Self::Error>>;

    /// Takes the memory of a pool that the host has made.
    ///
    /// # Errors
    /// [`Refused`].
    fn take_pool(
        &mut self,
        token: u64,
        layout: &Layout,
    ) -> Result<Self::Pool, Refused<Self::Error>>;

    /// The peer reads a region of this side no more, or never began to.
    fn give_up(&mut self, region: RegionId);

    /// The peer is gone: takes back whatever it was to have of this side and has not taken, pools too.
    fn give_up_all(&mut self);
}

/// A payload that came, as far as it is not in the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// It is these bytes.
    Inline(&'a [u8]),
    /// It is in a slot.
    Slot(SlotRef),
    /// It is in a region.
    Region(RegionRef),
}

/// What one side knows: at most `N` regions of either.
#[derive(Debug)]
pub struct Books<R: Regions, const N: usize> {
    side: Side,
    pools: Pools<R::Pool>,
    leases: Leases<N>,
    known: Known<Result<R::Taken, R::Error>, N>,
    longest: u64,
    regions: R,
    traffic: Traffic,
}

impl<R: Regions, const N: usize> Books<R, N> {
    /// Of a side that has no pool yet.
    pub fn new(side: Side, regions: R) -> Self {
        Self {
            side,
            pools: Pools::default(),
            leases: Leases::default(),
            known: Known::default(),
            longest: u64::MAX,
            regions,
            traffic: Traffic::default(),
        }
    }

    /// Takes no region that is longer than this: it is the peer's fault.
    pub fn limit_regions(&mut self, bytes: u64) {
        self.longest = bytes;
    }

    /// Whose they are.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The pool.
    pub fn pools(&self) -> &Pools<R::Pool> {
        &self.pools
    }

    /// Where regions come from.
    pub fn regions(&mut self) -> &mut R {
        &mut self.regions
    }

    /// What has passed.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Counts what sending a message came to, and returns that.
    ///
    /// # Errors
    /// The same.
    #[inline]
    pub fn sent(&mut self, frame: &Frame<'_>, outcome: Result<(), Error>) -> Result<(), Error> {
        if outcome.is_ok() || sabotaged!("counted_before_sent") {
            self.traffic.sent.count(frame);
        }
        if let Err(Error::Full | Error::TimedOut) = outcome {
            self.traffic.no_ring += 1;
        }
        outcome
    }

    /// The number that the next pool has to have.
    ///
    /// # Errors
    /// [`Error::Invalid`]: this side is no host; [`Error::Full`]: there are as many as there can be.
    pub fn next_extent(&self) -> Result<u16, Error> {
        match (self.side, self.pools.extents()) {
            (Side::Guest, _) => Err(Error::Invalid),
            (Side::Host, MAX_EXTENTS) => Err(Error::Full),
            (Side::Host, extents) => Ok(extents as u16),
        }
    }

    /// Adds a pool in memory that was made for it and that the guest was told of.
    ///
    /// # Errors
    /// As of [`Pools::grow`].
    pub fn grow(&mut self, memory: R::Pool, layout: Layout) -> Result<(), Error> {
        let pool = Pool::new(memory, layout, self.side);
        self.pools.grow(pool).map(drop)
    }

    /// What a message says that was copied out of the ring, after everything in it was judged: its tag and its payload;
    /// nothing if there is nothing for anybody else in it.
    ///
    /// # Errors
    /// [`Refused::Fault`]: no honest peer sends it. [`Refused::NoRoom`] of a guest alone: for a pool. No other.
    pub fn receive<'a>(
        &mut self,
        message: &'a [u8],
    ) -> Result<Option<(u32, Payload<'a>)>, Refused<R::Error>> {
        let judged = Frame::decode(message)
            .map_err(|_| Refused::Fault)
            .and_then(|frame| self.judge(frame).map(|said| (frame, said)));
        match &judged {
            Ok((frame, _)) => self.traffic.received.count(frame),
            Err(Refused::NoRoom(_)) => self.traffic.unaffordable += 1,
            Err(_) => self.traffic.faults += 1,
        }
        judged.map(|(_, said)| said)
    }

    /// What a message says, and everything that it has this side do.
    fn judge<'a>(
        &mut self,
        frame: Frame<'a>,
    ) -> Result<Option<(u32, Payload<'a>)>, Refused<R::Error>> {
        let fault = |_| Refused::Fault;
        match frame {
            Frame::Inline { tag, bytes } => return Ok(Some((tag, Payload::Inline(bytes)))),
            Frame::Slot { tag, slot } => {
                self.pools.check(slot).map_err(fault)?;
                return Ok(Some((tag, Payload::Slot(slot))));
            }
            Frame::Region { tag, region } => {
                self.known.check_part(region).map_err(fault)?;
                return Ok(Some((tag, Payload::Region(region))));
            }
            Frame::Whole {
                tag,
                region,
                token,
                length,
            } => {
                self.take(region, token, length, true)?;
                let whole = RegionRef {
                    region,
                    offset: 0,
                    length,
                };
                return Ok(Some((tag, Payload::Region(whole))));
            }
            Frame::Published {
                region,
                token,
                length,
            } => {
                self.take(region, token, length, false)?;
            }
            Frame::Released { region } => {
                self.leases.release(region).map_err(fault)?;
                if self.leases.is_over(region) {
                    self.withdraw(region).map_err(fault)?;
                }
            }
            Frame::Withdrawn { region } => {
                // What was received of it and is not finished is lost with it, by the fault of the peer alone.
                if !sabotaged!("withdrawn_region_kept") {
                    self.known.withdraw(region).map_err(fault)?;
                }
            }
            Frame::Grown {
                extent,
                token,
                classes,
            } => {
                let extents = self.pools.extents();
                if self.side == Side::Host
                    || usize::from(extent) != extents
                    || extents >= MAX_EXTENTS
                {
                    return Err(Refused::Fault);
                }
                let used = classes.iter().filter(|class| class.slot_bytes > 0).count();
                let layout = Layout::new(&classes[..used]).map_err(fault)?;
                let memory = self.regions.take_pool(token, &layout);
                let memory = memory.map_err(|refused| match refused {
                    // No pool is ever withdrawn.
                    Refused::Gone => Refused::Fault,
                    refused => refused,
                })?;
                self.grow(memory, layout).map_err(fault)?;
            }
            // It is there to be received.
            Frame::Freed => {}
        }
        Ok(None)
    }

    /// Takes a region that the peer tells of, by the only message that refers to it if it is `whole`.
    fn take(
        &mut self,
        region: RegionId,
        token: u64,
        length: u64,
        whole: bool,
    ) -> Result<(), Refused<R::Error>> {
        let new = self.known.check_new(region).is_ok();
        if !new || length > self.longest {
            return Err(Refused::Fault);
        }
        let taken = self.regions.take(token, length);
        match &taken {
            Err(Refused::NoRoom(_)) => self.traffic.unaffordable += 1,
            Err(Refused::Gone) => self.traffic.gone += 1,
            Ok(_) | Err(Refused::Fault) => {}
        }
        let learnt = match (taken, whole) {
            (Ok(taken), true) => self.known.learn_whole(region, length, Ok(taken)),
            (Ok(taken), false) => self.known.learn(region, length, Ok(taken)),
            // What this side has no room for is told to who reads it.
            (Err(Refused::NoRoom(error)), true) => {
                self.known.learn_whole(region, length, Err(error))
            }
            (Err(Refused::NoRoom(error)), false) => self.known.learn(region, length, Err(error)),
            // An honest peer has withdrawn it before it sent a part of it.
            (Err(Refused::Gone), false) => self.known.learn_withdrawn(region, length),
            (Err(Refused::Gone), true) | (Err(Refused::Fault), _) => return Err(Refused::Fault),
        };
        learnt.map(drop).map_err(|_| Refused::Fault)
    }

    /// What this side has of a region that a payload is in.
    ///
    /// # Errors
    /// [`Error::PeerFault`]: it is known no more.
    pub fn resolve(&self, part: RegionRef) -> Result<&Result<R::Taken, R::Error>, Error> {
        self.known.resolve(part)
    }

    /// A payload that came in a region is finished: drops what this side has of the region if nothing else can be in it.
    pub fn finish(&mut self, region: RegionId) {
        if !sabotaged!("finished_region_kept") {
            self.known.forget(region);
        }
    }

    /// As of [`Pools::allocate`].
    ///
    /// # Errors
    /// As there.
    pub fn allocate(&mut self, length: usize) -> Result<SlotRef, Error> {
        let allocated = self.pools.allocate(length);
        self.traffic.no_slot += u64::from(allocated == Err(Error::Full));
        allocated
    }

    /// As of [`Leases::publish`].
    ///
    /// # Errors
    /// As there.
    pub fn publish(&mut self, length: u64) -> Result<RegionId, Error> {
        let published = self.leases.publish(length);
        self.traffic.no_region += u64::from(published == Err(Error::Full));
        published
    }

    /// As of [`Leases::publish_whole`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_whole(&mut self, length: u64) -> Result<RegionId, Error> {
        let published = self.leases.publish_whole(length);
        self.traffic.no_region += u64::from(published == Err(Error::Full));
        published
    }

    /// As of [`Leases::lease`].
    ///
    /// # Errors
    /// As there.
    pub fn lease(&mut self, id: RegionId, offset: u64, length: u64) -> Result<RegionRef, Error> {
        self.leases.lease(id, offset, length)
    }

    /// Takes a lease back that the peer was not told of.
    ///
    /// # Errors
    /// As of [`Leases::release`].
    pub fn unlease(&mut self, id: RegionId) -> Result<(), Error> {
        self.leases.release(id)
    }

    /// As of [`Leases::check_withdrawal`].
    ///
    /// # Errors
    /// As there.
    pub fn check_withdrawal(&mut self, id: RegionId) -> Result<(), Error> {
        self.leases.check_withdrawal(id)
    }

    /// As of [`Leases::withdraw`], whether the peer has heard of the region or not.
    ///
    /// # Errors
    /// As there.
    pub fn withdraw(&mut self, id: RegionId) -> Result<(), Error> {
        self.leases.withdraw(id)?;
        if !sabotaged!("withdrawn_stays_granted") {
            self.regions.give_up(id);
        }
        Ok(())
    }

    /// Whether there is nothing to be had for a payload of so many bytes that fits no message, before the peer has given
    /// something back. If so, it tells, by a message, until [`Books::disarm`]; it is asked again before each sleep.
    pub fn arm(&mut self, length: usize) -> bool {
        let waits = match self.pools.fits(length) {
            true => self.pools.arm(length),
            false => self.leases.awaits_peer(),
        };
        self.traffic.sleeps += u64::from(waits);
        waits
    }

    /// Nobody waits any more.
    pub fn disarm(&self) {
        self.pools.disarm();
    }

    /// Gives back the slots of the other side, which is gone; returns how many.
    pub fn reclaim_slots(&self) -> u32 {
        self.pools.reclaim(self.side.peer())
    }

    /// Drops the leases of the other side, which is gone, and takes back what it has not taken; returns how many
    /// leases there were.
    pub fn drop_leases(&mut self) -> u64 {
        self.regions.give_up_all();
        self.leases.drop_peer()
    }
}
