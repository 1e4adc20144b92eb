//! What memory holds and where it is mapped (I3, I7, I11, I14).

use std::collections::BTreeMap;

use abi::limits::{LEAF_SIZE, PAGE_SIZE, USER_END, USER_START};
use abi::{Error, Rights};

use super::{LEAF_PAGES, Mapping, Region, Spec};
use crate::Place;

/// A mapping that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Where.
    pub place: Place,
    /// From which leaf table on.
    pub offset: u64,
    /// How many; 0 for the rest.
    pub len: u64,
    /// What it is to allow.
    pub access: Rights,
}

/// What a mapping may be asked to allow: reading and perhaps one of the others.
fn check_access(access: Rights) -> Result<(), Error> {
    let sound = [
        Rights::READ,
        Rights::READ | Rights::WRITE,
        Rights::READ | Rights::EXECUTE,
    ];
    if sound.contains(&access) {
        Ok(())
    } else {
        Err(Error::Invalid)
    }
}

impl Mapping {
    /// The address after its last.
    pub fn end(&self) -> u64 {
        self.va + self.leaves * LEAF_SIZE
    }

    /// Whether it shows something at an address.
    pub fn covers(&self, va: u64) -> bool {
        (self.va..self.end()).contains(&va)
    }

    /// The page of its region that it shows at an address.
    pub fn page_of(&self, va: u64) -> u64 {
        self.first_leaf * LEAF_PAGES + (va - self.va) / PAGE_SIZE
    }
}

impl Spec {
    /// Frames that are promised to nobody when spaces take up so many for their tables.
    pub fn available(&self, upper_tables: u64) -> u64 {
        let alive = self.regions.iter().filter(|region| !region.gone);
        let charged: u64 = alive.map(Region::charge).sum();
        self.frames - upper_tables - charged
    }

    /// A region of zeros.
    pub fn create(
        &mut self,
        process: usize,
        pages: u64,
        upper_tables: u64,
    ) -> Result<usize, Error> {
        let region = Region {
            pages,
            bytes: BTreeMap::new(),
            sealed: false,
            gone: false,
        };
        if pages == 0 {
            return Err(Error::Invalid);
        }
        if region.charge() > self.available(upper_tables) {
            return Err(Error::NoMemory);
        }
        Ok(self.own(process, region, Rights::REGION))
    }

    /// The first capability of a new region.
    pub(super) fn own(&mut self, process: usize, region: Region, rights: Rights) -> usize {
        self.regions.push(region);
        let capability = self.add_capability(self.regions.len() - 1, None, rights);
        self.issue(process, capability)
    }

    /// Nobody writes it any more.
    pub fn seal(&mut self, handle: usize) -> Result<(), Error> {
        let capability = self.look_up(handle, Rights::SEAL)?;
        let region = self.capabilities[capability].region;
        self.regions[region].sealed = true;
        for mapping in &mut self.mappings {
            if self.capabilities[mapping.capability].region == region {
                mapping.access -= Rights::WRITE;
            }
        }
        Ok(())
    }

    /// Whether a mapping would be made, given the address that was found for it if one was; and
    /// how many leaf tables it shows.
    pub fn check_map(&self, process: usize, handle: usize, wanted: Wanted) -> Result<u64, Error> {
        check_access(wanted.access)?;
        let capability = self.look_up(handle, Rights::MAP | wanted.access)?;
        let region = &self.regions[self.capabilities[capability].region];
        let rest = region
            .leaves()
            .checked_sub(wanted.offset)
            .filter(|rest| *rest > 0)
            .ok_or(Error::Range)?;
        let leaves = match wanted.len {
            0 => rest,
            len if len <= rest => len,
            _ => return Err(Error::Range),
        };
        if let Place::Fixed(unit) = wanted.place {
            let units = USER_START / LEAF_SIZE..=USER_END / LEAF_SIZE;
            let end = unit.checked_add(leaves).ok_or(Error::Range)?;
            if !units.contains(&unit) || !units.contains(&end) {
                return Err(Error::Range);
            }
            if !self.is_free(process, wanted.place.address(), leaves) {
                return Err(Error::Overlap);
            }
        }
        if region.sealed && wanted.access.contains(Rights::WRITE) {
            return Err(Error::Sealed);
        }
        Ok(leaves)
    }

    /// Whether nothing is mapped there.
    pub fn is_free(&self, process: usize, va: u64, leaves: u64) -> bool {
        let end = va + leaves * LEAF_SIZE;
        !self
            .mappings
            .iter()
            .any(|m| m.process == process && !m.dead && m.va < end && va < m.end())
    }

    /// A mapping that was made at `va`, which has to be where it may be.
    pub fn map(&mut self, process: usize, handle: usize, wanted: Wanted, va: u64) {
        let leaves = self
            .check_map(process, handle, wanted)
            .expect("it was checked");
        let end = va + leaves * LEAF_SIZE;
        assert!(va.is_multiple_of(LEAF_SIZE) && va >= USER_START && end <= USER_END);
        assert!(self.is_free(process, va, leaves), "{va:#x} is taken");
        let hint = wanted.place.address();
        let usable = hint >= USER_START
            && hint
                .checked_add(leaves * LEAF_SIZE)
                .is_some_and(|end| end <= USER_END)
            && self.is_free(process, hint, leaves);
        assert!(!usable || va == hint, "{va:#x} instead of {hint:#x}");
        self.mappings
            .retain(|m| m.process != process || !m.dead || m.end() <= va || end <= m.va);
        let capability = self.handles[handle].capability;
        self.mappings.push(Mapping {
            process,
            va,
            capability,
            first_leaf: wanted.offset,
            leaves,
            access: wanted.access,
            limit: self.capabilities[capability].rights & Rights::ACCESS,
            dead: false,
        });
    }

    /// The mapping that an address belongs to: the live one, if there is one.
    pub fn find(&self, process: usize, va: u64) -> Option<usize> {
        let covers = |m: &Mapping| m.process == process && m.covers(va);
        let live = self.mappings.iter().position(|m| covers(m) && !m.dead);
        live.or_else(|| self.mappings.iter().position(covers))
    }

    /// Removes the mapping that begins there. What was taken away may be gone already, so two
    /// answers are right.
    pub fn unmap(&mut self, process: usize, va: u64) -> Vec<Result<(), Error>> {
        let begins = |m: &Mapping| m.process == process && m.va == va;
        match self
            .find(process, va)
            .filter(|at| begins(&self.mappings[*at]))
        {
            None => vec![Err(Error::NotFound)],
            Some(at) if self.mappings.remove(at).dead => vec![Ok(()), Err(Error::NotFound)],
            Some(_) => vec![Ok(())],
        }
    }

    /// Changes what the mapping that begins there allows.
    pub fn protect(&mut self, process: usize, va: u64, access: Rights) -> Vec<Result<(), Error>> {
        if let Err(error) = check_access(access) {
            return vec![Err(error)];
        }
        let begins = |m: &Mapping| m.process == process && m.va == va;
        let Some(at) = self
            .find(process, va)
            .filter(|at| begins(&self.mappings[*at]))
        else {
            return vec![Err(Error::NotFound)];
        };
        let mapping = self.mappings[at];
        let region = self.capabilities[mapping.capability].region;
        if mapping.dead {
            return vec![
                Err(Error::Revoked),
                Err(Error::NotFound),
                Err(Error::Denied),
            ];
        }
        if !mapping.limit.contains(access) {
            return vec![Err(Error::Denied)];
        }
        if self.regions[region].sealed && access.contains(Rights::WRITE) {
            return vec![Err(Error::Sealed)];
        }
        self.mappings[at].access = access;
        vec![Ok(())]
    }

    /// The region and page that an access of a CPU reaches, or the answers that are right.
    pub fn reach(
        &self,
        process: usize,
        va: u64,
        access: Rights,
    ) -> Result<(usize, u64), Vec<Error>> {
        let Some(at) = self.find(process, va) else {
            return Err(vec![Error::NotFound]);
        };
        let mapping = &self.mappings[at];
        if mapping.dead {
            return Err(vec![Error::Revoked, Error::NotFound]);
        }
        if !mapping.access.contains(access) {
            return Err(vec![Error::Denied]);
        }
        let region = self.capabilities[mapping.capability].region;
        let page = mapping.page_of(va);
        if page >= self.regions[region].pages {
            return Err(vec![Error::Range]);
        }
        Ok((region, page))
    }

    /// What the kernel may read or write for the holder of a handle.
    pub fn kernel_reach(
        &self,
        handle: usize,
        page: u64,
        access: Rights,
    ) -> Result<(usize, u64), Error> {
        let capability = self.look_up(handle, access)?;
        let region = self.capabilities[capability].region;
        if page >= self.regions[region].pages {
            return Err(Error::Range);
        }
        if access.contains(Rights::WRITE) && self.regions[region].sealed {
            return Err(Error::Sealed);
        }
        Ok((region, page))
    }

    /// A word of a page was written.
    pub fn write(&mut self, region: usize, page: u64, word: usize, value: u64) {
        self.regions[region].bytes.entry(page).or_default()[word] = value;
    }
}
