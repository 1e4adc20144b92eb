//! Taking mappings away, from the side of their region: one, those under some authority, and what
//! all of them may write.

use alloc::sync::Arc;
use core::iter;
use core::ops::Range;
use core::sync::atomic::Ordering;

use abi::{Error, RegionKind, Rights};

use super::{DEAD, Mapping, Permit};
use crate::lock::Guard;
use crate::region::State;
use crate::{Entry, Machine, Memory, Region, Stale};

/// Mappings that are looked at in one hold of the lock of their region.
const STEP_MAPPINGS: usize = u64::BITS as usize;

/// Leaf tables after which none is begun.
const STEP_LEAVES: usize = 512;

/// What was looked at in one hold.
struct Step {
    places: Range<usize>,
    /// Which of them have changed: a bit each, the last place first.
    changed: u64,
}

impl Step {
    /// The places that have changed, from the last to the first.
    #[inline(always)]
    fn changed(&self) -> impl Iterator<Item = usize> {
        let (last, mut rest) = (self.places.end - 1, self.changed);
        iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(last - bit)
        })
    }
}

impl<M: Machine> Memory<M> {
    /// Removes every mapping of `region` whose permit `condemned` names, in all spaces, and returns
    /// their number. The permits must not be live any more.
    ///
    /// Up to 64 mappings go with one shootdown. Behind each step others have the region: they map it by
    /// what is live, and can't by what is condemned.
    pub fn detach(&self, region: &Region, condemned: impl Fn(&Arc<Permit>) -> bool) -> usize {
        let mut state = region.lock();
        state.unpin(|permit| !condemned(permit));
        self.detach_locked(region, state, condemned).0
    }

    /// The same of a region that nobody has pinned; else `Pinned`, and nothing was removed. Whoever pins it between two
    /// steps, by what is not condemned, comes too late to be asked.
    #[inline]
    pub fn detach_unpinned(
        &self,
        region: &Region,
        condemned: impl Fn(&Arc<Permit>) -> bool,
    ) -> Result<(), Error> {
        let state = region.lock();
        if !state.pins.is_empty() {
            return Err(Error::Pinned);
        }
        self.detach_locked(region, state, condemned);
        Ok(())
    }

    /// The same for a region whose lock is held, and is again when it returns.
    #[inline(always)]
    pub(crate) fn detach_locked<'a>(
        &self,
        region: &'a Region,
        state: Guard<'a, State>,
        condemned: impl Fn(&Arc<Permit>) -> bool,
    ) -> (usize, Guard<'a, State>) {
        self.in_steps(region, state, |state, place| {
            let mapping = &state.mappings[place];
            let skipped = crate::sabotaged!("revoke_skips_one_mapping") && place == 0;
            let goes = condemned(&mapping.permit) && !skipped;
            if goes {
                self.detach_leaves(mapping);
            }
            goes
        })
    }

    /// Takes from every mapping of `region` what its permit allows no more, in all spaces, in steps as
    /// [`detach`](Memory::detach) does; those that may not even be read are gone. The permits were narrowed before.
    pub fn restrict(&self, region: &Region) {
        self.in_steps(region, region.lock(), |state, place| {
            let mapping = &state.mappings[place];
            let (access, allowed) = (mapping.access(), mapping.permit.access());
            if allowed.contains(access) {
                return false;
            }
            if allowed.contains(Rights::READ) {
                let mapping = mapping.clone();
                self.set_access(state, &mapping, access & allowed);
            } else {
                self.detach_leaves(mapping);
            }
            true
        });
    }

    /// Has `edit` look at every mapping of a region, by its place, and say whether it has changed its entries. What it
    /// has is flushed, and what it has detached taken off the list, before the lock is let go of.
    ///
    /// From the last to the first: whatever is listed or taken off meanwhile, what was not looked at is below.
    #[inline(always)]
    fn in_steps<'a>(
        &self,
        region: &'a Region,
        mut state: Guard<'a, State>,
        edit: impl Fn(&mut State, usize) -> bool,
    ) -> (usize, Guard<'a, State>) {
        let mut count = 0;
        let mut rest = state.mappings.len();
        loop {
            let step = self.edit_step(&mut state, rest, &edit);
            rest = step.places.start;
            if step.changed != 0 {
                count += step.changed.count_ones() as usize;
                self.flush_step(&mut state, &step);
            }
            if rest == 0 {
                return (count, state);
            }
            if !crate::sabotaged!("revoke_in_one_hold") {
                drop(state);
                state = region.lock();
            }
            rest = rest.min(state.mappings.len());
        }
    }

    /// Looks at the mappings of one step, which ends below `end`.
    #[inline(always)]
    fn edit_step(
        &self,
        state: &mut State,
        end: usize,
        edit: impl Fn(&mut State, usize) -> bool,
    ) -> Step {
        let (mut start, mut changed, mut leaves) = (end, 0, 0);
        while start > 0 && end - start < STEP_MAPPINGS && leaves < STEP_LEAVES {
            start -= 1;
            if edit(state, start) {
                changed |= 1 << (end - 1 - start);
                leaves += state.mappings[start].leaves;
            }
        }
        let places = start..end;
        Step { places, changed }
    }

    #[inline(always)]
    fn flush_step(&self, state: &mut State, step: &Step) {
        let spaces = step.changed().map(|place| &*state.mappings[place].space);
        if crate::sabotaged!("round_for_each_mapping") {
            spaces.for_each(|space| Stale::in_spaces(self, (), iter::once(space)).wait(self));
        } else {
            Stale::in_spaces(self, (), spaces).wait(self);
        }
        for place in step.changed() {
            if !state.mappings[place].is_attached() {
                self.bury_detached(state, place);
            }
        }
    }

    /// Takes everything out of the mappings of a region that is lost. They stay what they are, and
    /// whoever touches them is told. The flush is the caller's.
    pub(crate) fn empty_attachments(&self, state: &State) {
        for mapping in &state.mappings {
            self.write_attachments(mapping, mapping.leaves(), |_| Entry::HOLE);
        }
    }

    /// After the acknowledgement of a detach from the region's side: takes a mapping off its list. Its space
    /// sweeps it later.
    fn bury_detached(&self, state: &mut State, place: usize) {
        let mapping = state.unlist(place, self.machine());
        mapping.state.store(DEAD, Ordering::Release);
        mapping.space.dead.fetch_add(1, Ordering::Release);
        mapping.permit.mappings.fetch_sub(1, Ordering::Release);
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
        let place = mapping.place.load(Ordering::Relaxed);
        state.unlist(place as usize, self.machine());
        self.detach_leaves(mapping);
        Stale::in_space(self, (), &mapping.space, mapping.plan()).wait(self);
        mapping.permit.mappings.fetch_sub(1, Ordering::Release);
    }
}
