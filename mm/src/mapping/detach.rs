//! Taking mappings away, from the side of their region: one, those under some authority, and what
//! all of them may write.

use alloc::sync::Arc;
use core::iter;
use core::sync::atomic::Ordering;

use abi::{Error, RegionKind, Rights};

use super::{DEAD, Mapping, Permit};
use crate::region::State;
use crate::{Entry, Machine, Memory, Region, Stale};

impl<M: Machine> Memory<M> {
    /// Removes every mapping of `region` whose permit `condemned` names, in all spaces, with one
    /// shootdown, and returns their number. The permits must not be live any more, or the region
    /// is being destroyed.
    pub fn detach(&self, region: &Region, condemned: impl Fn(&Arc<Permit>) -> bool) -> usize {
        self.detach_locked(&mut region.lock(), condemned)
    }

    /// The same of a region that nobody has pinned; else `Pinned`, and nothing was removed.
    #[inline]
    pub fn detach_unpinned(
        &self,
        region: &Region,
        condemned: impl Fn(&Arc<Permit>) -> bool,
    ) -> Result<(), Error> {
        let mut state = region.lock();
        if !state.pins.is_empty() {
            return Err(Error::Pinned);
        }
        self.detach_mappings(&mut state, condemned);
        Ok(())
    }

    /// The same for a region whose lock is held.
    pub(crate) fn detach_locked(
        &self,
        state: &mut State,
        condemned: impl Fn(&Arc<Permit>) -> bool,
    ) -> usize {
        state.unpin(|permit| !condemned(permit));
        self.detach_mappings(state, condemned)
    }

    #[inline(always)]
    fn detach_mappings(
        &self,
        state: &mut State,
        condemned: impl Fn(&Arc<Permit>) -> bool,
    ) -> usize {
        let count = self.clear_attachments(state, condemned);
        if count > 0 {
            let gone = state.mappings.iter().filter(|m| !m.is_attached());
            let spaces = gone.map(|m| &*m.space);
            if crate::sabotaged!("round_for_each_mapping") {
                spaces.for_each(|space| Stale::in_spaces(self, (), iter::once(space)).wait(self));
            } else {
                Stale::in_spaces(self, (), spaces).wait(self);
            }
            self.bury_detached(state);
        }
        count
    }

    /// Takes from every mapping of `region` what its permit allows no more, in all spaces, with one
    /// shootdown; those that may not even be read are gone. The permits were narrowed before.
    pub fn restrict(&self, region: &Region) {
        let mut state = region.lock();
        let mut changed = false;
        for place in 0..state.mappings.len() {
            let mapping = state.mappings[place].clone();
            let (access, allowed) = (mapping.access(), mapping.permit.access());
            if allowed.contains(access) {
                continue;
            }
            changed = true;
            if allowed.contains(Rights::READ) {
                self.set_access(&mut state, &mapping, access & allowed);
            } else {
                self.detach_leaves(&mapping);
            }
        }
        if changed {
            Stale::in_spaces(self, (), state.mappings.iter().map(|m| &*m.space)).wait(self);
            self.bury_detached(&mut state);
        }
    }

    /// Clears the entries of condemned mappings. The flush is the caller's.
    pub(crate) fn clear_attachments(
        &self,
        state: &mut State,
        condemned: impl Fn(&Arc<Permit>) -> bool,
    ) -> usize {
        let mut count = 0;
        for mapping in state.mappings.iter().filter(|m| condemned(&m.permit)) {
            if crate::sabotaged!("revoke_skips_one_mapping") && state.mappings.len() == count + 1 {
                break;
            }
            self.detach_leaves(mapping);
            count += 1;
        }
        count
    }

    /// Takes everything out of the mappings of a region that is lost. They stay what they are, and
    /// whoever touches them is told. The flush is the caller's.
    pub(crate) fn empty_attachments(&self, state: &State) {
        for mapping in &state.mappings {
            self.write_attachments(mapping, mapping.leaves(), |_| Entry::HOLE);
        }
    }

    /// After the acknowledgement of a detach from the region's side: takes the mappings off its list.
    /// Their spaces sweep them later.
    pub(crate) fn bury_detached(&self, state: &mut State) {
        let mut place = 0;
        while let Some(mapping) = state.mappings.get(place) {
            if mapping.is_attached() {
                place += 1;
                continue;
            }
            let mapping = state.unlist(place);
            mapping.state.store(DEAD, Ordering::Release);
            mapping.space.dead.fetch_add(1, Ordering::Release);
            mapping.permit.mappings.fetch_sub(1, Ordering::Release);
        }
    }

    /// Takes writing away from every mapping of a region, waits until no CPU can write, and lets
    /// nobody have it again.
    ///
    /// `Unsupported`: fixed frames, or an image. `Revoked`: destroyed meanwhile. `NoMemory`: it had
    /// overcommitted and is lost.
    pub fn seal(&self, region: &Region) -> Result<(), Error> {
        if !matches!(region.kind(), RegionKind::Anonymous | RegionKind::Initrd) {
            return Err(Error::Unsupported);
        }
        let mut state = region.lock();
        state.check_alive()?;
        for place in 0..state.mappings.len() {
            let mapping = state.mappings[place].clone();
            let access = mapping.access() - Rights::WRITE;
            self.set_access(&mut state, &mapping, access);
        }
        Stale::in_spaces(self, (), state.mappings.iter().map(|m| &*m.space)).wait(self);
        // Visible to others only now: who reads it may rely on it.
        state.sealed = true;
        Ok(())
    }

    /// Removes one mapping from its region, unless a revoke has done so.
    pub(super) fn detach_one(&self, mapping: &Arc<Mapping>) {
        let mut state = mapping.region.lock();
        if !mapping.is_attached() {
            return;
        }
        state.unlist(mapping.place.load(Ordering::Relaxed) as usize);
        self.detach_leaves(mapping);
        Stale::in_space(self, (), &mapping.space, mapping.plan()).wait(self);
        mapping.permit.mappings.fetch_sub(1, Ordering::Release);
    }
}
