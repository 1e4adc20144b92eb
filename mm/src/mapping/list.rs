//! The mappings that a region has listed, and the pins.
//!
//! Invariant: a mapping knows its place in the list, so taking it off searches nothing. Everything here
//! changes under the lock of the region.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::{Error, Rights};

use super::{MapRequest, Mapping, Permit};
use crate::region::State;
use crate::room::{may_shrink, shrink_to};
use crate::{Frames, Region};

/// Mappings whose places a region never gives back.
const FEW_MAPPINGS: usize = 4;

impl State {
    /// Keeps the pins that `kept` names, and no room for more when there is none.
    pub(crate) fn unpin(&mut self, kept: impl FnMut(&Arc<Permit>) -> bool) {
        self.pins.retain(kept);
        if self.pins.is_empty() {
            self.pins = Vec::new();
        }
    }

    /// Whether a region that is locked can be mapped so, and room for one more mapping on the list.
    #[inline(always)]
    pub(super) fn check_new_mapping(
        &mut self,
        region: &Region,
        request: &MapRequest<'_>,
    ) -> Result<(), Error> {
        request.permit.check(request.access)?;
        self.check_alive()?;
        if self.sealed && request.access.contains(Rights::WRITE) {
            return Err(Error::Sealed);
        }
        if region.excludes_write_and_execute() {
            self.check_exclusion(Rights::empty(), request.access)?;
        }
        if self.mappings.len() == self.mappings.capacity() {
            self.mappings.try_reserve(1).map_err(|_| Error::NoMemory)?;
        }
        Ok(())
    }

    /// Puts a mapping on the list, for which there is room.
    #[inline(always)]
    pub(super) fn list(&mut self, mapping: Arc<Mapping>) {
        self.count_access(Rights::empty(), mapping.access());
        let place = self.mappings.len() as u32;
        mapping.place.store(place, Ordering::Relaxed);
        self.mappings.push(mapping);
    }

    /// Takes the mapping at a place off the list.
    pub(super) fn unlist(&mut self, place: usize, machine: &impl Frames) -> Arc<Mapping> {
        let mapping = self.mappings.swap_remove(place);
        if self.mappings.capacity() > FEW_MAPPINGS {
            self.shrink_list(machine);
        }
        self.count_access(mapping.access(), Rights::empty());
        if let Some(moved) = self.mappings.get(place) {
            moved.place.store(place as u32, Ordering::Relaxed);
        }
        mapping
    }

    /// What others made grow does not stay with the region, unless no memory is left for less.
    #[cold]
    fn shrink_list(&mut self, machine: &impl Frames) {
        let room = self.mappings.capacity();
        if self.mappings.len() <= room / 4 && may_shrink(machine) {
            shrink_to(&mut self.mappings, room / 2);
        }
    }
}
