//! What narrows a capability besides its rights: a part, a budget, a badge, an end in time, one use (I4).

use std::ops::Range;

use abi::{Error, Rights};

use super::{Covered, LEAF_PAGES, Part, Region, Spec};
use crate::tree::{self, Budget, Narrowed};

impl Part {
    /// The leaf table behind the last.
    fn end_in(self, region: &Region) -> u64 {
        let leaves = region.leaves();
        self.count
            .map_or(leaves, |count| leaves.min(self.first + count))
    }

    /// Which leaf tables of a region some of this part are; 0 stands for the rest.
    pub fn leaves(self, region: &Region, offset: u64, len: u64) -> Result<Range<u64>, Error> {
        let (start, end) = (self.first + offset, self.end_in(region));
        match len {
            _ if start >= end => Err(Error::Range),
            0 => Ok(start..end),
            len if start + len <= end => Ok(start..start + len),
            _ => Err(Error::Range),
        }
    }

    /// Which pages of a region some of this part are; 0 stands for the rest.
    pub fn pages(self, region: &Region, page: u64, pages: u64) -> Result<Range<u64>, Error> {
        let start = self.first * LEAF_PAGES + page;
        let end = region.pages.min(self.end_in(region) * LEAF_PAGES);
        match pages {
            _ if start >= end => Err(Error::Range),
            0 => Ok(start..end),
            pages if start + pages <= end => Ok(start..start + pages),
            _ => Err(Error::Range),
        }
    }
}

impl Spec {
    /// How many more may be derived below a capability.
    pub fn nodes_left(&self, at: usize) -> u32 {
        tree::nodes_left(&self.capabilities, &self.kept(), at)
    }

    /// A capability below another, that nobody has yet.
    pub(super) fn derive_from(
        &mut self,
        parent: usize,
        rights: Rights,
        budget: Budget,
    ) -> Result<usize, Error> {
        let kept = self.kept();
        tree::derive(&mut self.capabilities, &kept, parent, rights, budget)
    }

    /// Makes a narrower capability below what a handle stands for: for so many leaf tables, 0 for the rest, from some on.
    pub fn narrow(
        &mut self,
        handle: usize,
        (offset, len): (u64, u64),
        wanted: Narrowed,
    ) -> Result<usize, Error> {
        let parent = self.look_up(handle, Rights::DUPLICATE)?;
        let (kept, regions) = (self.kept(), &self.regions);
        let part = |of: Covered| {
            let region = &regions[of.region];
            let part = match (offset, len) {
                (0, 0) => of.part,
                _ if region.contiguous => return Err(Error::Unsupported),
                (offset, len) => {
                    let leaves = of.part.leaves(region, offset, len)?;
                    Part {
                        first: leaves.start,
                        count: Some(leaves.end - leaves.start),
                    }
                }
            };
            Ok(Covered { part, ..of })
        };
        let all = &mut self.capabilities;
        let child = tree::narrow(all, &kept, parent, wanted, self.now, part)?;
        let made = &mut self.capabilities[child];
        if made.of.part != Part::WHOLE {
            made.rights -= Rights::SEAL | Rights::DESTROY;
        }
        let issued = self.issue(self.handles[handle].process, child);
        self.pass(0);
        Ok(issued)
    }

    /// Takes rights away from a capability and all below it.
    pub fn reduce(&mut self, handle: usize, rights: Rights) -> Result<(), Error> {
        let top = self.look_up(handle, Rights::empty())?;
        let mut below = self.below(top);
        below[top] = true;
        for (capability, below) in self.capabilities.iter_mut().zip(&below) {
            if *below {
                capability.rights &= rights;
            }
        }
        let lost = Rights::all() - rights;
        for mapping in self.mappings.iter_mut().filter(|m| below[m.capability]) {
            mapping.limit -= lost;
            mapping.dead |= lost.contains(Rights::READ);
            mapping.access -= lost;
        }
        if lost.contains(Rights::MAP) {
            self.unpin_all(|capability| below[capability]);
        }
        Ok(())
    }

    /// Time passes, and what was to end until then ends.
    pub fn pass(&mut self, time: u64) {
        self.now += time;
        let late: Vec<bool> = self
            .capabilities
            .iter()
            .map(|c| c.until <= self.now)
            .collect();
        self.kill(|at| late[at]);
        for token in 0..self.tokens.len() {
            if self.tokens[token].open && self.tokens[token].until <= self.now {
                self.take_back(token);
            }
        }
    }

    /// A call with a handle has succeeded: what was good for one is used up.
    pub fn use_up(&mut self, handle: usize) {
        if self.capabilities[self.handles[handle].capability].once {
            // What was destroyed by it is gone already.
            let _ = self.drop_handle(handle);
        }
    }
}
