//! What becomes of regions as wholes: made, copied, sealed, filled, given back, pinned (I7, I11).

use std::collections::BTreeMap;
use std::ops::Range;

use abi::{Error, RegionFlags, Rights};

use super::{LEAF_PAGES, Part, Region, Spec};

/// A snapshot that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    /// From which leaf table on.
    pub offset: u64,
    /// How many; 0 for the rest.
    pub len: u64,
    /// Whether it is to be promised nothing.
    pub overcommit: bool,
}

impl Spec {
    /// Frames that are promised to nobody when spaces take up so many for their tables: at least
    /// and at most. They differ by what overcommitted regions and their kin may hold.
    pub fn available(&self, upper_tables: u64) -> Range<u64> {
        let alive = || self.regions.iter().filter(|region| !region.gone);
        let charged: u64 = alive().map(Region::charge).sum();
        let loose = |family| {
            let mut kin = alive().filter(|region| region.family == family);
            kin.any(|region| region.overcommit && !region.lost)
        };
        let uncertain: u64 = alive()
            .filter(|region| loose(region.family))
            .map(Region::worst)
            .sum();
        let most = self.frames - upper_tables - charged;
        most.saturating_sub(uncertain)..most + 1
    }

    /// A region of zeros. Whether frames are there that follow one another only the machine knows.
    pub fn create(
        &mut self,
        process: usize,
        pages: u64,
        flags: RegionFlags,
        available: u64,
        run_found: bool,
    ) -> Result<usize, Error> {
        let [execute, jit, commit, overcommit, contiguous] = [
            RegionFlags::EXECUTE,
            RegionFlags::JIT,
            RegionFlags::COMMIT,
            RegionFlags::OVERCOMMIT,
            RegionFlags::CONTIGUOUS,
        ]
        .map(|flag| flags.contains(flag));
        let contradictory =
            jit && !execute || commit && overcommit || contiguous && (execute || overcommit);
        if pages == 0 || contradictory {
            return Err(Error::Invalid);
        }
        let region = Region {
            pages,
            bytes: BTreeMap::new(),
            sealed: false,
            jit,
            contiguous,
            overcommit,
            lost: false,
            pins: Vec::new(),
            family: self.regions.len(),
            gone: false,
        };
        let needed = match region.overcommit {
            true => region.leaves(),
            false => region.worst(),
        };
        let in_pieces = contiguous && pages > 1 && !run_found;
        if needed > available || in_pieces {
            return Err(Error::NoMemory);
        }
        let mut rights = Rights::REGION;
        rights.set(Rights::EXECUTE, execute);
        rights.set(Rights::MANAGE, contiguous);
        let capability = self.own(region, rights);
        Ok(self.issue(process, capability))
    }

    /// The first capability of a new region.
    pub(super) fn own(&mut self, region: Region, rights: Rights) -> usize {
        self.regions.push(region);
        self.add_capability(self.regions.len() - 1, rights)
    }

    /// A snapshot of what a handle with `needed` stands for.
    pub fn snapshot(
        &mut self,
        handle: usize,
        wanted: Copied,
        available: u64,
    ) -> Result<usize, Error> {
        let (region, rights) = self.copy(handle, Rights::empty(), wanted, available)?;
        let capability = self.own(region, rights);
        Ok(self.issue(self.handles[handle].process, capability))
    }

    /// The bytes of a part of a region at this instant, and what the first capability may allow.
    pub(super) fn copy(
        &self,
        handle: usize,
        needed: Rights,
        wanted: Copied,
        available: u64,
    ) -> Result<(Region, Rights), Error> {
        let needed = needed | Rights::READ | Rights::DUPLICATE;
        let capability = &self.capabilities[self.look_up(handle, needed)?];
        let source = &self.regions[capability.of.region];
        if source.contiguous {
            return Err(Error::Unsupported);
        }
        let leaves = capability
            .of
            .part
            .leaves(source, wanted.offset, wanted.len)?;
        if source.lost {
            return Err(Error::NoMemory);
        }
        if !source.pins.is_empty() {
            return Err(Error::Pinned);
        }
        let first = leaves.start * LEAF_PAGES;
        let pages = ((leaves.end - leaves.start) * LEAF_PAGES).min(source.pages - first);
        let copied = source.bytes.range(first..first + pages);
        let region = Region {
            pages,
            bytes: copied.map(|(page, bytes)| (page - first, *bytes)).collect(),
            sealed: false,
            jit: false,
            contiguous: false,
            overcommit: wanted.overcommit,
            lost: false,
            pins: Vec::new(),
            family: source.family,
            gone: false,
        };
        if region.charge() > available {
            return Err(Error::NoMemory);
        }
        let execute = capability.rights & Rights::EXECUTE;
        Ok((region, Rights::REGION | execute))
    }

    /// The region behind a handle that is good for `needed`, if it has not been lost.
    fn region_of(&mut self, handle: usize, needed: Rights) -> Result<(usize, &mut Region), Error> {
        let capability = self.look_up(handle, needed)?;
        let region = &mut self.regions[self.capabilities[capability].of.region];
        Ok((capability, region))
    }

    /// The capability that a handle which is good for `needed` stands for, and what it covers.
    pub(super) fn part_of(&self, handle: usize, needed: Rights) -> Result<(usize, Part), Error> {
        let capability = self.look_up(handle, needed)?;
        Ok((capability, self.capabilities[capability].of.part))
    }

    /// Nobody writes it any more.
    pub fn seal(&mut self, handle: usize) -> Result<(), Error> {
        let (capability, region) = self.region_of(handle, Rights::SEAL)?;
        if region.contiguous {
            return Err(Error::Unsupported);
        }
        if region.lost {
            return Err(Error::NoMemory);
        }
        region.sealed = true;
        let number = self.capabilities[capability].of.region;
        for mapping in &mut self.mappings {
            if self.capabilities[mapping.capability].of.region == number {
                mapping.access -= Rights::WRITE;
            }
        }
        Ok(())
    }

    /// Pages are present before they are touched. No byte changes.
    pub fn commit(&mut self, handle: usize, page: u64, pages: u64) -> Result<Range<u64>, Error> {
        let (capability, part) = self.part_of(handle, Rights::WRITE)?;
        let region = &mut self.regions[self.capabilities[capability].of.region];
        let part = part.pages(region, page, pages)?;
        if region.lost {
            return Err(Error::NoMemory);
        }
        Ok(part)
    }

    /// Pages are zero again.
    pub fn decommit(&mut self, handle: usize, page: u64, pages: u64) -> Result<(), Error> {
        let (capability, part) = self.part_of(handle, Rights::WRITE)?;
        let region = &mut self.regions[self.capabilities[capability].of.region];
        let part = part.pages(region, page, pages)?;
        match region {
            region if region.contiguous => Err(Error::Unsupported),
            region if region.lost => Err(Error::NoMemory),
            region if region.sealed => Err(Error::Sealed),
            region if !region.pins.is_empty() => Err(Error::Pinned),
            region => {
                region.bytes.retain(|page, _| !part.contains(page));
                Ok(())
            }
        }
    }

    /// Its frames stay where they are.
    pub fn pin(&mut self, handle: usize) -> Result<(), Error> {
        let (capability, _) = self.region_of(handle, Rights::MAP)?;
        if self.capabilities[capability].once {
            return Err(Error::Denied);
        }
        let (_, region) = self.region_of(handle, Rights::MAP)?;
        if region.lost {
            return Err(Error::NoMemory);
        }
        if region.overcommit {
            return Err(Error::Unsupported);
        }
        region.pins.push(capability);
        Ok(())
    }

    /// One pin less.
    pub fn unpin(&mut self, handle: usize) -> Result<(), Error> {
        let (capability, region) = self.region_of(handle, Rights::MAP)?;
        let place = region.pins.iter().position(|pin| *pin == capability);
        region.pins.swap_remove(place.ok_or(Error::NotFound)?);
        Ok(())
    }

    /// Pins that a capability has are no more.
    pub(super) fn unpin_all(&mut self, which: impl Fn(usize) -> bool) {
        for region in &mut self.regions {
            region.pins.retain(|capability| !which(*capability));
        }
    }

    /// A region that had overcommitted has lost its memory.
    pub fn lose(&mut self, number: usize) {
        let region = &mut self.regions[number];
        assert!(region.overcommit, "a region was lost that had a promise");
        region.lost = true;
        region.pins.clear();
        region.bytes.clear();
    }
}
