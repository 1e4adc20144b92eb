//! What is derived, narrowed, reduced, revoked and runs out (I4, I5).
//!
//! A capability is *kept* while somebody has it, or one below it is kept.

use abi::{Error, Rights};

use super::{Capability, Holder, Spec};
use crate::tree::{self, Budget, Narrowed};

/// What is told of a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it allows.
    pub rights: Rights,
    /// What whoever receives through it is told.
    pub badge: u64,
    /// When it dies.
    pub until: u64,
    /// Whether it is good for one call.
    pub once: bool,
    /// How many are below it.
    pub descendants: u64,
    /// How many more may be.
    pub nodes_left: u32,
}

impl Spec {
    /// Whether each capability is kept.
    pub(super) fn kept(&self) -> Vec<bool> {
        let held = |c: &Capability| !c.revoked && c.holder != Holder::Nobody;
        let mut kept: Vec<bool> = self.capabilities.iter().map(held).collect();
        tree::keep_above(&self.capabilities, &mut kept);
        kept
    }

    /// Whether each capability is below this one.
    pub(super) fn below(&self, top: usize) -> Vec<bool> {
        tree::below(&self.capabilities, top)
    }

    /// How many more may be derived below a capability.
    fn nodes_left(&self, at: usize) -> u32 {
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

    /// Makes a capability below what a handle stands for.
    pub fn derive(&mut self, handle: usize, rights: Rights) -> Result<usize, Error> {
        let parent = self.look_up(handle, Rights::DUPLICATE)?;
        let child = self.derive_from(parent, rights, Budget::Shared)?;
        Ok(self.issue(self.handles[handle].process, child))
    }

    /// The same, narrowed further.
    pub fn narrow(&mut self, handle: usize, wanted: Narrowed) -> Result<usize, Error> {
        let parent = self.look_up(handle, Rights::DUPLICATE)?;
        let (kept, all) = (self.kept(), &mut self.capabilities);
        let child = tree::narrow(all, &kept, parent, wanted, self.now, Ok)?;
        Ok(self.issue(self.handles[handle].process, child))
    }

    /// Takes rights away from a capability and all below it.
    pub fn reduce(&mut self, handle: usize, rights: Rights) -> Result<(), Error> {
        let top = self.look_up(handle, Rights::empty())?;
        let below = self.below(top);
        for (at, capability) in self.capabilities.iter_mut().enumerate() {
            if below[at] || at == top {
                capability.rights &= rights;
            }
        }
        Ok(())
    }

    /// Gives a handle back.
    pub fn drop_handle(&mut self, handle: usize) -> Result<(), Error> {
        match self.look_up(handle, Rights::empty()) {
            Ok(capability) => self.capabilities[capability].holder = Holder::Nobody,
            Err(Error::Revoked) => {}
            Err(error) => return Err(error),
        }
        self.handles[handle].dropped = true;
        Ok(())
    }

    /// Takes back what was derived, and `itself` too, and tells how many that were.
    pub fn revoke(&mut self, handle: usize, itself: bool) -> Result<u64, Error> {
        let capability = self.use_by(handle, Rights::REVOKE)?;
        let (kept, mut dies) = (self.kept(), self.below(capability));
        dies[capability] = itself;
        let count = (0..kept.len()).filter(|at| kept[*at] && dies[*at]).count();
        self.kill(&dies);
        Ok(count as u64)
    }

    /// Capabilities are no more, nor tokens that stand for them.
    pub(super) fn kill(&mut self, dies: &[bool]) {
        for (capability, dies) in self.capabilities.iter_mut().zip(dies) {
            capability.revoked |= dies;
        }
        for token in &mut self.tokens {
            token.open &= !dies[token.carried.capability];
        }
    }

    /// Time passes, and what was to end until then ends.
    pub fn pass(&mut self, time: u64) {
        self.now += time;
        let now = self.now;
        let late: Vec<bool> = self.capabilities.iter().map(|c| c.until <= now).collect();
        self.kill(&late);
        self.return_tokens(|token| token.until <= now);
    }

    /// What is told of what a handle stands for.
    pub fn told(&self, handle: usize) -> Result<Told, Error> {
        let at = self.look_up(handle, Rights::empty())?;
        let (kept, below, known) = (self.kept(), self.below(at), &self.capabilities[at]);
        Ok(Told {
            rights: known.rights,
            badge: known.badge,
            until: known.until,
            once: known.once,
            descendants: (0..kept.len()).filter(|at| kept[*at] && below[*at]).count() as u64,
            nodes_left: self.nodes_left(at),
        })
    }

    /// Whether two handles stand for one object.
    pub fn same(&self, one: usize, other: usize) -> Result<bool, Error> {
        Ok(self.known(one)?.1 == self.known(other)?.1)
    }

    /// The rights and the object of a handle.
    pub fn known(&self, handle: usize) -> Result<(Rights, usize), Error> {
        let capability = &self.capabilities[self.look_up(handle, Rights::empty())?];
        Ok((capability.rights, capability.of))
    }

    /// Whether no capability that is kept allows more, for longer or under another badge than the one above it.
    pub fn only_shrinks(&self) -> bool {
        let kept = self.kept();
        let mut all = self.capabilities.iter().enumerate();
        all.all(|(at, one)| {
            let above = one.parent.filter(|_| kept[at]);
            above.is_none_or(|above| {
                let above = &self.capabilities[above];
                above.rights.contains(one.rights)
                    && one.until <= above.until
                    && (above.badge == 0 || one.badge == above.badge)
                    && !above.revoked
            })
        })
    }
}
