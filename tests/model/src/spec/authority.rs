//! Who may do what (I4, I5).
//!
//! A capability is *kept* while somebody has it, something is mapped under it, or one below it is
//! kept; a region lives while one of its capabilities is kept.

use abi::{Error, Rights};

use super::{Capability, Covered, Holder, Issued, Part, Spec};
use crate::tree::{self, Budget};

impl Spec {
    /// A process that has nothing.
    pub fn start(&mut self) -> usize {
        self.ended.push(false);
        self.ended.len() - 1
    }

    /// The first capability of a region, that nobody has yet.
    pub(super) fn add_capability(&mut self, region: usize, rights: Rights) -> usize {
        let part = Part::WHOLE;
        let of = Covered { region, part };
        self.capabilities.push(Capability::first(of, rights));
        self.capabilities.len() - 1
    }

    /// A handle of a process for a capability.
    pub(super) fn issue(&mut self, process: usize, capability: usize) -> usize {
        self.capabilities[capability].holder = Holder::Process(process);
        self.handles.push(Issued {
            process,
            capability,
            dropped: false,
        });
        self.handles.len() - 1
    }

    /// The capability that a handle stands for, if it is good for `needed`.
    pub fn look_up(&self, handle: usize, needed: Rights) -> Result<usize, Error> {
        let issued = &self.handles[handle];
        if issued.dropped || self.ended[issued.process] {
            return Err(Error::BadHandle);
        }
        let capability = &self.capabilities[issued.capability];
        match capability.holder {
            _ if capability.revoked => Err(Error::Revoked),
            Holder::Transit => Err(Error::InTransit),
            holder if holder != Holder::Process(issued.process) => Err(Error::BadHandle),
            _ if !capability.rights.contains(needed) => Err(Error::Denied),
            _ => Ok(issued.capability),
        }
    }

    /// Whether each capability is kept.
    pub fn kept(&self) -> Vec<bool> {
        let mut kept: Vec<bool> = self
            .capabilities
            .iter()
            .map(|capability| !capability.revoked && capability.holder != Holder::Nobody)
            .collect();
        for mapping in self.mappings.iter().filter(|mapping| !mapping.dead) {
            kept[mapping.capability] = true;
        }
        tree::keep_above(&self.capabilities, &mut kept);
        kept
    }

    /// Whether each capability is below this one.
    pub(super) fn below(&self, top: usize) -> Vec<bool> {
        tree::below(&self.capabilities, top)
    }

    /// Whether somebody could reach memory by a capability, now or later.
    pub(super) fn has_access(&self, at: usize) -> bool {
        let capability = &self.capabilities[at];
        let held =
            capability.holder != Holder::Nobody && capability.rights.intersects(Rights::ACCESS);
        let mapped = |m: &super::Mapping| m.capability == at && !m.dead;
        !capability.revoked && (held || self.mappings.iter().any(mapped))
    }

    /// How many capabilities below one are kept.
    pub fn descendants(&self, capability: usize) -> u64 {
        let kept = self.kept();
        let below = self.below(capability);
        (0..kept.len()).filter(|at| kept[*at] && below[*at]).count() as u64
    }

    /// Makes a capability below what a handle stands for.
    pub fn derive(&mut self, handle: usize, rights: Rights) -> Result<usize, Error> {
        let parent = self.look_up(handle, Rights::DUPLICATE)?;
        let child = self.derive_from(parent, rights, Budget::Shared)?;
        Ok(self.issue(self.handles[handle].process, child))
    }

    /// Gives a handle back. What is mapped stays.
    pub fn drop_handle(&mut self, handle: usize) -> Result<(), Error> {
        match self.look_up(handle, Rights::empty()) {
            Ok(capability) => {
                self.capabilities[capability].holder = Holder::Nobody;
                self.unpin_all(|pinned| pinned == capability);
            }
            Err(Error::Revoked) => {}
            Err(error) => return Err(error),
        }
        self.handles[handle].dropped = true;
        Ok(())
    }

    /// Takes back what was derived, and tells how many that were.
    pub fn revoke(&mut self, handle: usize, itself: bool) -> Result<u64, Error> {
        let capability = self.look_up(handle, Rights::REVOKE)?;
        let count = self.descendants(capability) + u64::from(itself);
        let mut below = self.below(capability);
        below[capability] = itself;
        self.kill(|at| below[at]);
        Ok(count)
    }

    /// Ends a region for everybody.
    pub fn destroy(&mut self, handle: usize) -> Result<(), Error> {
        let capability = self.look_up(handle, Rights::DESTROY)?;
        let region = self.capabilities[capability].of.region;
        if !self.regions[region].pins.is_empty() {
            return Err(Error::Pinned);
        }
        let all: Vec<bool> = self
            .capabilities
            .iter()
            .map(|capability| capability.of.region == region)
            .collect();
        self.kill(|at| all[at]);
        self.handles[handle].dropped = true;
        Ok(())
    }

    /// Capabilities are no more, and what rests on them.
    pub(super) fn kill(&mut self, which: impl Fn(usize) -> bool) {
        for (at, capability) in self.capabilities.iter_mut().enumerate() {
            capability.revoked |= which(at);
        }
        for mapping in &mut self.mappings {
            mapping.dead |= which(mapping.capability);
        }
        for token in &mut self.tokens {
            token.open &= !which(token.capability);
        }
        self.unpin_all(which);
    }

    /// A process ends: what it has is given back, what was offered to it returns.
    pub fn exit(&mut self, process: usize) {
        for mapping in &mut self.mappings {
            mapping.dead |= mapping.process == process;
        }
        for token in 0..self.tokens.len() {
            if self.tokens[token].open && self.tokens[token].to == process {
                self.take_back(token);
            }
        }
        let held: Vec<bool> = self
            .capabilities
            .iter()
            .map(|capability| capability.holder == Holder::Process(process))
            .collect();
        self.unpin_all(|capability| held[capability]);
        for (capability, held) in self.capabilities.iter_mut().zip(held) {
            if held {
                capability.holder = Holder::Nobody;
            }
        }
        self.ended[process] = true;
    }

    /// What nobody can reach any more is gone. Called after each step.
    pub fn collect(&mut self) {
        let kept = self.kept();
        let mut alive = vec![false; self.regions.len()];
        for (at, capability) in self.capabilities.iter().enumerate() {
            alive[capability.of.region] |= kept[at];
        }
        for (region, alive) in self.regions.iter_mut().zip(alive) {
            region.gone |= !alive;
        }
        let ended = &self.ended;
        self.mappings
            .retain(|mapping| !mapping.dead || !ended[mapping.process]);
    }
}
