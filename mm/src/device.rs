//! Device regions: ranges of physical addresses that are no memory, and the registry that gives
//! each frame of them one cache policy (S16).
//!
//! Their leaf tables are built once and never shared, cloned or retargeted (S3); the frames are
//! the device's, so that a region owns nothing but those tables.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use abi::limits::{MAX_DEVICE_REGIONS, MAX_REGION, PAGE_SIZE};
use abi::{CachePolicy, Error, RegionKind};

use crate::lock::{Lock, Rank};
use crate::{Account, Entry, EntryFlags, Frame, LEAF_PAGES, Machine, Memory, Region};

/// The frames of one live region.
#[derive(Debug)]
struct Claim {
    /// The koid of the region.
    region: u64,
    /// Numbers of frames.
    frames: Range<u64>,
    policy: CachePolicy,
}

/// Which frames have which policy, for as long as a region has them. Of the rank of a region; no
/// region is locked meanwhile.
#[derive(Debug)]
pub(crate) struct Claims(Lock<Vec<Claim>>);

impl Claims {
    pub(crate) const fn new() -> Claims {
        Claims(Lock::new(Rank::Region, Vec::new()))
    }

    /// `Exists`: another policy has one of the frames; `Limit`; `NoMemory`.
    fn claim(&self, region: &Region, frames: Range<u64>, policy: CachePolicy) -> Result<(), Error> {
        let mut claims = self.0.lock();
        let differs = |claim: &Claim| {
            claim.policy != policy
                && claim.frames.start < frames.end
                && frames.start < claim.frames.end
        };
        if claims.iter().any(differs) && !crate::sabotaged!("second_policy") {
            return Err(Error::Exists);
        }
        if claims.len() >= MAX_DEVICE_REGIONS {
            return Err(Error::Limit);
        }
        claims.try_reserve(1).map_err(|_| Error::NoMemory)?;
        claims.push(Claim {
            region: region.koid(),
            frames,
            policy,
        });
        Ok(())
    }

    /// Gives up what a region has, once no CPU can reach it any more.
    pub(crate) fn release(&self, region: &Region) {
        let mut claims = self.0.lock();
        claims.retain(|claim| claim.region != region.koid());
        if claims.is_empty() {
            // What was charged for them was their regions'.
            *claims = Vec::new();
        }
    }
}

impl<M: Machine> Memory<M> {
    /// A region of the `len` bytes of a device from physical address `address` on, all of them
    /// present, readable and writable, cached by `policy`. Several may show the same frames, by
    /// the same policy. The caller has checked the authority.
    ///
    /// `Align`: not whole pages; `Invalid`: no bytes; `Range`: more than the machine can address;
    /// `Overlap`: memory; `Exists`: a live region has some of it under another policy; `TooLarge`,
    /// `NoMemory`, `Limit`: as for [`create_region`](Memory::create_region), and more than
    /// [`MAX_DEVICE_REGIONS`].
    pub fn create_device_region(
        &self,
        account: &Arc<Account>,
        address: u64,
        len: u64,
        policy: CachePolicy,
    ) -> Result<Arc<Region>, Error> {
        if !address.is_multiple_of(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) {
            return Err(Error::Align);
        }
        if len == 0 {
            return Err(Error::Invalid);
        }
        address.checked_add(len).ok_or(Error::Range)?;
        if len > MAX_REGION {
            return Err(Error::TooLarge);
        }
        let first = Frame::containing(address);
        let pages = len / PAGE_SIZE;
        if !crate::sabotaged!("device_over_memory") {
            self.machine.check_device(first, pages)?;
        }
        let mut region = self.build(account, RegionKind::Device, len, 1, 0, None)?;
        let frames = first.number()..first.number() + pages;
        if let Err(error) = self.devices.claim(&region, frames, policy) {
            self.destroy_region(&region);
            return Err(error);
        }
        let flags = EntryFlags::USER_PRESENT
            | EntryFlags::NO_EXECUTE
            | EntryFlags::WRITABLE
            | EntryFlags::MAY_WRITE
            | EntryFlags::DIRTY
            | EntryFlags::cached(policy);
        let state = region.state_mut();
        for number in 0..pages.div_ceil(LEAF_PAGES) {
            let begin = number * LEAF_PAGES;
            let count = LEAF_PAGES.min(pages - begin);
            let leaf = state.leaf_mut(number as usize);
            leaf.present = count as u16;
            // What `build` makes are tables.
            let Some(table) = leaf.table() else { continue };
            for index in 0..count {
                let frame = Frame::from_number(first.number() + begin + index);
                self.machine
                    .store(table, index as usize, Entry::new(frame, flags));
            }
        }
        Ok(crate::shared(region))
    }
}
