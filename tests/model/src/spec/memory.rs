//! Where memory is mapped, and what is reached there (I3, I5, I14).

use std::ops::Range;

use abi::limits::{LEAF_SIZE, PAGE_SIZE, USER_END, USER_START};
use abi::{Error, Rights};

use super::{LEAF_PAGES, Mapping, Spec};
use crate::Place;

/// A mapping that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Where.
    pub place: Place,
    /// Whether nothing else may be 2 MiB before and behind it.
    pub guard: bool,
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

    /// The addresses that nothing else may take.
    pub fn kept(&self) -> Range<u64> {
        let guard = if self.guard { LEAF_SIZE } else { 0 };
        self.va - guard..self.end() + guard
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
    /// Whether a mapping would be made, given the address that was found for it if one was; and
    /// which leaf tables it shows.
    pub fn check_map(
        &self,
        process: usize,
        handle: usize,
        wanted: Wanted,
    ) -> Result<Range<u64>, Error> {
        check_access(wanted.access)?;
        let (capability, part) = self.part_of(handle, Rights::MAP | wanted.access)?;
        let number = self.capabilities[capability].of.region;
        let region = &self.regions[number];
        let shown = part.leaves(region, wanted.offset, wanted.len)?;
        let leaves = shown.end - shown.start;
        let guard = u64::from(wanted.guard);
        if let Place::Fixed(unit) = wanted.place {
            let units = USER_START / LEAF_SIZE..=USER_END / LEAF_SIZE;
            let start = unit.checked_sub(guard).ok_or(Error::Range)?;
            let end = unit.checked_add(leaves + guard).ok_or(Error::Range)?;
            if !units.contains(&start) || !units.contains(&end) {
                return Err(Error::Range);
            }
            if !self.is_free(process, wanted.place.address(), leaves, wanted.guard) {
                return Err(Error::Overlap);
            }
        }
        if region.lost {
            return Err(Error::NoMemory);
        }
        if region.sealed && wanted.access.contains(Rights::WRITE) {
            return Err(Error::Sealed);
        }
        self.check_exclusion(number, None, wanted.access)?;
        Ok(shown)
    }

    /// Nobody executes what another may write, unless the region was made for it (I14).
    fn check_exclusion(
        &self,
        region: usize,
        changed: Option<usize>,
        access: Rights,
    ) -> Result<(), Error> {
        let others = |right: Rights| {
            self.mappings.iter().enumerate().any(|(at, mapping)| {
                let same = self.capabilities[mapping.capability].of.region == region;
                same && Some(at) != changed && !mapping.dead && mapping.access.contains(right)
            })
        };
        let clash = access.contains(Rights::WRITE) && others(Rights::EXECUTE)
            || access.contains(Rights::EXECUTE) && others(Rights::WRITE);
        if clash && !self.regions[region].jit {
            return Err(Error::Busy);
        }
        Ok(())
    }

    /// Whether nothing keeps the addresses there, the guards on both sides included.
    pub fn is_free(&self, process: usize, va: u64, leaves: u64, guard: bool) -> bool {
        let guard = if guard { LEAF_SIZE } else { 0 };
        let (start, end) = (va - guard, va + leaves * LEAF_SIZE + guard);
        !self.mappings.iter().any(|m| {
            let kept = m.kept();
            m.process == process && !m.dead && kept.start < end && start < kept.end
        })
    }

    /// A mapping that was made at `va`, which has to be where it may be.
    pub fn map(&mut self, process: usize, handle: usize, wanted: Wanted, va: u64) {
        let shown = self.check_map(process, handle, wanted);
        let shown = shown.expect("it was checked");
        let leaves = shown.end - shown.start;
        let end = va + leaves * LEAF_SIZE;
        let guard = if wanted.guard { LEAF_SIZE } else { 0 };
        let user = |start: u64, end: u64| start >= USER_START + guard && end + guard <= USER_END;
        assert!(va.is_multiple_of(LEAF_SIZE) && user(va, end));
        let free = |va| self.is_free(process, va, leaves, wanted.guard);
        assert!(free(va), "{va:#x} is taken");
        let hint = wanted.place.address();
        let usable = hint
            .checked_add(leaves * LEAF_SIZE)
            .is_some_and(|end| user(hint, end) && free(hint));
        assert!(!usable || va == hint, "{va:#x} instead of {hint:#x}");
        self.mappings
            .retain(|m| m.process != process || !m.dead || m.end() <= va || end <= m.va);
        let capability = self.handles[handle].capability;
        self.mappings.push(Mapping {
            process,
            va,
            capability,
            first_leaf: shown.start,
            leaves,
            guard: wanted.guard,
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
        let region = self.capabilities[mapping.capability].of.region;
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
        if self.regions[region].lost {
            return vec![Err(Error::NoMemory)];
        }
        if self.regions[region].sealed && access.contains(Rights::WRITE) {
            return vec![Err(Error::Sealed)];
        }
        if let Err(error) = self.check_exclusion(region, Some(at), access) {
            return vec![Err(error)];
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
        let region = self.capabilities[mapping.capability].of.region;
        if mapping.dead {
            return Err(vec![Error::Revoked, Error::NotFound]);
        }
        if !mapping.access.contains(access) {
            return Err(vec![Error::Denied]);
        }
        let page = mapping.page_of(va);
        if page >= self.regions[region].pages {
            return Err(vec![Error::Range]);
        }
        if self.regions[region].lost {
            return Err(vec![Error::NoMemory]);
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
        let (capability, part) = self.part_of(handle, access)?;
        let region = self.capabilities[capability].of.region;
        let page = part.pages(&self.regions[region], page, 1)?.start;
        if access.contains(Rights::WRITE) && self.regions[region].sealed {
            return Err(Error::Sealed);
        }
        if self.regions[region].lost {
            return Err(Error::NoMemory);
        }
        Ok((region, page))
    }

    /// A word of a page was written.
    pub fn write(&mut self, region: usize, page: u64, word: usize, value: u64) {
        self.regions[region].bytes.entry(page).or_default()[word] = value;
    }
}
