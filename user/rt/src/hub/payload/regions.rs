//! Regions that the peer has granted, and what this side has granted to it.
//!
//! Whatever it says, it can have granted a region that it still writes or can revoke at any time, or one that loses its memory
//! when somebody else needs it. What a payload is read from is therefore a snapshot that this process makes of it, and what
//! was granted is dropped at once.

use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64};

use abi::limits::LEAF_SIZE;
use abi::{Error, Handle, Rights, SnapshotFlags, Token};
use ring::memory::pool::PoolMemory;
use ring::payload::{Layout, Refused, RegionId, Regions, Side, SlotWords};
use ring::sabotaged;

use super::MAX_REGIONS;
use crate::ring_end::to_abi;
use crate::{Mapping, Region, accept, sys};

/// Where the regions of a seat come from.
pub struct Granted {
    /// What leads to the other side.
    via: Handle,
    /// By which the regions that are published were granted.
    tokens: [Option<Token>; MAX_REGIONS],
    /// By which the pools were, those of a host.
    pools: Vec<Token>,
}

impl Granted {
    pub(super) fn new(via: Handle) -> Granted {
        Granted {
            via,
            tokens: [None; MAX_REGIONS],
            pools: Vec::new(),
        }
    }

    pub(super) fn via(&self) -> Handle {
        self.via
    }

    /// Notes by what a region was granted that is published.
    pub(super) fn granted(&mut self, region: RegionId, token: Token) {
        self.tokens[region.slot as usize] = Some(token);
    }

    /// Notes by what a pool was.
    pub(super) fn granted_pool(&mut self, token: Token) {
        self.pools.push(token);
    }

    /// Takes what the peer has granted.
    fn accept(&self, token: u64) -> Result<Region, Refused<Error>> {
        match accept(Token::from_bits(token), self.via) {
            Ok(handle) => Ok(Region::from_handle(handle)),
            Err(Error::NotFound | Error::Revoked) => Err(Refused::Gone),
            Err(error) => Err(blame(error)),
        }
    }
}

/// Withdraws what was offered. What was accepted by then is the peer's.
pub(super) fn take_back(token: Token) {
    // SAFETY: nothing is mapped or unmapped by it.
    let _ = unsafe { sys::cancel(token) };
}

/// Whose fault an error is: what there is no room for here is not the peer's.
fn blame(error: Error) -> Refused<Error> {
    match error {
        Error::NoMemory | Error::Quota | Error::Limit => Refused::NoRoom(error),
        _ => Refused::Fault,
    }
}

impl Regions for Granted {
    type Pool = PoolView;
    type Taken = Taken;
    type Error = Error;

    /// A fault also if it has not so many bytes, can't be copied, or was taken back after it was accepted.
    fn take(&mut self, token: u64, length: u64) -> Result<Taken, Refused<Error>> {
        let granted = self.accept(token)?;
        let there = granted.info().map_err(blame)?.len;
        if length == 0 || length > there {
            return Err(Refused::Fault);
        }
        // It pays for no more than it is told of.
        let leaves = length.next_multiple_of(LEAF_SIZE);
        if sabotaged!("payload_read_in_place") {
            return granted.map(Rights::READ).map(Taken).map_err(blame);
        }
        let own = granted.snapshot_part(0, leaves, SnapshotFlags::empty());
        let own = own.map_err(blame)?;
        own.map(Rights::READ).map(Taken).map_err(blame)
    }

    fn take_pool(&mut self, token: u64, layout: &Layout) -> Result<PoolView, Refused<Error>> {
        let granted = self.accept(token)?;
        let mapping = granted.map(Rights::READ | Rights::WRITE).map_err(blame)?;
        PoolView::of(mapping, layout).map_err(|_| Refused::Fault)
    }

    /// The peer may not have taken it, for want of memory, or not yet.
    fn give_up(&mut self, region: RegionId) {
        if let Some(token) = self.tokens[region.slot as usize].take() {
            take_back(token);
        }
    }

    fn give_up_all(&mut self) {
        if sabotaged!("granted_to_who_is_gone") {
            return;
        }
        let tokens = self.tokens.iter_mut().filter_map(Option::take);
        tokens.chain(self.pools.drain(..)).for_each(take_back);
    }
}

/// A snapshot of this process alone.
pub struct Taken(Mapping);

impl Taken {
    /// Copies bytes out that lie within what was taken.
    pub(super) fn read(&self, from: u64, target: &mut [u8]) -> Result<(), Error> {
        // SAFETY: the region is a snapshot that this process made, of which nobody else has a capability, and which is
        // promised its memory; nobody writes it.
        let bytes = unsafe { self.0.as_slice(self.0.len() as usize) };
        let from = from as usize;
        let part = bytes.get(from..from + target.len());
        target.copy_from_slice(part.ok_or(Error::TooLarge)?);
        Ok(())
    }
}

/// The memory of a pool, mapped as long as this lives.
pub struct PoolView {
    memory: PoolMemory,
    /// Dropped after it.
    _mapping: Mapping,
}

impl PoolView {
    pub(super) fn of(mapping: Mapping, layout: &Layout) -> Result<PoolView, Error> {
        let base = NonNull::new(mapping.address() as *mut u8).ok_or(Error::Fault)?;
        // SAFETY: the mapping is kept as long as the memory, and nothing else here reaches it.
        let memory = unsafe { PoolMemory::from_raw(base, mapping.len(), layout) };
        Ok(PoolView {
            memory: memory.map_err(to_abi)?,
            _mapping: mapping,
        })
    }
}

impl SlotWords for PoolView {
    fn word(&self, slot: u32) -> Option<&AtomicU64> {
        self.memory.word(slot)
    }

    fn waits(&self, side: Side) -> &AtomicU32 {
        self.memory.waits(side)
    }

    fn write(&self, place: u64, bytes: &[u8]) -> Result<(), ring::Error> {
        self.memory.write(place, bytes)
    }

    fn read(&self, place: u64, target: &mut [u8]) -> Result<(), ring::Error> {
        self.memory.read(place, target)
    }
}
