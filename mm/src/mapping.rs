//! Mappings: the leaf tables of a region, attached to an address space under some authority.
//!
//! A page-directory entry is written only under the region lock, by somebody who has seen under it
//! that the mapping is listed and its permit is live (rule S19). Whoever takes authority away
//! first marks the permit, then takes the region lock: so either the mapping is not made, or it is
//! found and removed.

mod attach;
mod detach;
mod list;
mod permit;

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use abi::limits::LEAF_SIZE;
use abi::{Error, Rights, cost};

use crate::region::State;
use crate::space::Mappings;
use crate::{AddressSpace, Frame, Machine, Memory, Plan, Region, Stale};

pub use permit::Permit;

const ATTACHED: u8 = 0;
/// Its entries are cleared; a CPU may still have them cached.
const DETACHED: u8 = 1;
/// No CPU can reach the region through it; the address may be used again.
const DEAD: u8 = 2;

/// Part of a region at an address of a space.
#[derive(Debug)]
pub struct Mapping {
    space: Arc<AddressSpace>,
    region: Arc<Region>,
    permit: Arc<Permit>,
    va: u64,
    view: usize,
    first_leaf: usize,
    leaves: usize,
    /// The page directory in which its first entry is. It stays as long as the space.
    directory: Frame,
    /// Bytes before and behind it that are nobody's.
    guard: u64,
    /// What it allows now. Changes under the region lock.
    access: AtomicU32,
    state: AtomicU8,
    /// Its place in the list of its region. Changes under the region lock.
    place: AtomicU32,
}

impl Drop for Mapping {
    #[inline]
    fn drop(&mut self) {
        self.space.account().subtract_bytes(cost::MAPPING);
    }
}

// Its places in the space and in the region included.
const _: () = assert!(size_of::<Mapping>() as u64 + 128 <= cost::MAPPING);

impl Mapping {
    /// The region.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// The authority that it was made under.
    pub fn permit(&self) -> &Arc<Permit> {
        &self.permit
    }

    /// Its first address.
    pub fn start(&self) -> u64 {
        self.va
    }

    /// The address after its last.
    pub fn end(&self) -> u64 {
        self.va + self.leaves as u64 * LEAF_SIZE
    }

    /// Where the addresses begin that it keeps for itself, and where they end.
    pub(crate) fn kept(&self) -> Range<u64> {
        self.va - self.guard..self.end() + self.guard
    }

    /// What it allows.
    pub fn access(&self) -> Rights {
        Rights::from_bits_truncate(self.access.load(Ordering::Relaxed))
    }

    pub(crate) fn space(&self) -> &AddressSpace {
        &self.space
    }

    pub(crate) fn view(&self) -> usize {
        self.view
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.state.load(Ordering::Acquire) == ATTACHED
    }

    /// The page of the region that an address within the mapping shows.
    pub(crate) fn page_of(&self, va: u64) -> u64 {
        self.first_leaf as u64 * crate::LEAF_PAGES + (va - self.va) / abi::limits::PAGE_SIZE
    }

    /// The leaves that it attaches.
    pub(crate) fn leaves(&self) -> Range<usize> {
        self.first_leaf..self.first_leaf + self.leaves
    }

    /// Whether it attaches a leaf.
    pub(crate) fn covers(&self, leaf: usize) -> bool {
        self.leaves().contains(&leaf)
    }

    /// Where it shows a page of the region, if it does.
    pub(crate) fn address_of(&self, page: u64) -> Option<u64> {
        let first = self.first_leaf as u64 * crate::LEAF_PAGES;
        let within = self.covers((page / crate::LEAF_PAGES) as usize);
        within.then(|| self.va + (page - first) * abi::limits::PAGE_SIZE)
    }

    /// The pages that may be present behind it, and so may be cached.
    fn plan(&self) -> Plan {
        let first = self.first_leaf as u64 * crate::LEAF_PAGES;
        let covered = self.leaves as u64 * crate::LEAF_PAGES;
        Plan::range(self.va, covered.min(self.region.pages() - first))
    }
}

/// What [`Memory::map`] maps, and how.
#[derive(Debug)]
pub struct MapRequest<'a> {
    /// The region.
    pub region: &'a Arc<Region>,
    /// The authority.
    pub permit: Arc<Permit>,
    /// Which of its views: 0 but for rings.
    pub view: usize,
    /// Where, if it is free.
    pub hint: u64,
    /// Whether only there.
    pub fixed: bool,
    /// Whether nothing else may be mapped 2 MiB before and behind.
    pub guard: bool,
    /// From which byte of the region, a multiple of 2 MiB.
    pub offset: u64,
    /// How many bytes, a multiple of 2 MiB; 0, or whatever reaches the end, stands for the rest.
    pub len: u64,
    /// What the mapping allows.
    pub access: Rights,
}

impl<'a> MapRequest<'a> {
    /// All of a region, wherever there is room.
    #[inline]
    pub fn whole(region: &'a Arc<Region>, permit: Arc<Permit>, access: Rights) -> MapRequest<'a> {
        MapRequest {
            region,
            permit,
            view: 0,
            hint: 0,
            fixed: false,
            guard: false,
            offset: 0,
            len: 0,
            access,
        }
    }
}

/// Which leaf tables `len` bytes of a region from `offset` on are, in units of 2 MiB; a length of 0,
/// or one that reaches the end, stands for the rest. `Align`, `Range`.
#[inline(always)]
pub(crate) fn leaf_range(region: &Region, offset: u64, len: u64) -> Result<Range<usize>, Error> {
    match offset | len {
        0 => Ok(0..region.leaf_count()),
        _ => part_range(region, offset, len),
    }
}

#[inline(never)]
fn part_range(region: &Region, offset: u64, len: u64) -> Result<Range<usize>, Error> {
    let total = region.leaf_count() as u64 * LEAF_SIZE;
    if !offset.is_multiple_of(LEAF_SIZE) {
        return Err(Error::Align);
    }
    let rest = total
        .checked_sub(offset)
        .filter(|rest| *rest > 0)
        .ok_or(Error::Range)?;
    let reaches_end = |len| {
        let end = offset.checked_add(len);
        end.is_some_and(|end| end <= total && end >= region.len())
    };
    let len = match len {
        0 => rest,
        len if len <= rest && len.is_multiple_of(LEAF_SIZE) => len,
        len if reaches_end(len) => rest,
        len if len <= rest => return Err(Error::Align),
        _ => return Err(Error::Range),
    };
    let first = (offset / LEAF_SIZE) as usize;
    Ok(first..first + (len / LEAF_SIZE) as usize)
}

impl<M: Machine> Memory<M> {
    /// Attaches leaf tables of a region to a space and returns the address.
    ///
    /// The caller has checked the capability. `Invalid`: writing and executing at once; `Range`, `Align`, `Overlap`:
    /// the place or the part; `Revoked`: the authority is gone; `Denied`: it allows less by now; `Sealed`: writing is
    /// not to be had any more; `Busy`: it would be writable here and executable there; `Quota`: the account of the
    /// space does not cover it; `NoMemory`: no frame for upper tables.
    #[inline(always)]
    pub fn map(&self, space: &Arc<AddressSpace>, request: MapRequest<'_>) -> Result<u64, Error> {
        let region = request.region;
        region.check_access(request.access)?;
        let leaves = leaf_range(region, request.offset, request.len)?;
        let mut mappings = space.mappings.lock();
        if space.dead.load(Ordering::Relaxed) > 0 {
            sweep(space, &mut mappings);
        }
        // The record returns it when it is dropped.
        space.account().add_bytes(cost::MAPPING)?;
        let mapped = self.map_charged(space, &mut mappings, request, leaves);
        mapped.inspect_err(|_| space.account().subtract_bytes(cost::MAPPING))
    }

    /// The same for which the space is charged. When it fails, there is no record.
    #[inline(always)]
    fn map_charged(
        &self,
        space: &Arc<AddressSpace>,
        mappings: &mut Mappings,
        request: MapRequest<'_>,
        leaves: Range<usize>,
    ) -> Result<u64, Error> {
        let region = request.region;
        let len = leaves.len() as u64 * LEAF_SIZE;
        let guard = if request.guard { LEAF_SIZE } else { 0 };
        let (va, place) = mappings.place(request.hint, request.fixed, len, guard)?;
        let directory = self.make_directories(space, mappings, va, va + len)?;
        let mapping = {
            // The record is made under the lock of the region: when all is checked, and its permit looked at
            // where it is known what that is.
            let mut state = region.lock();
            state.check_new_mapping(region, &request)?;
            request.permit.mappings.fetch_add(1, Ordering::Relaxed);
            let mapping = crate::shared(Mapping {
                space: space.clone(),
                region: region.clone(),
                permit: request.permit,
                va,
                view: request.view,
                first_leaf: leaves.start,
                leaves: leaves.len(),
                directory,
                guard,
                access: AtomicU32::new(request.access.bits()),
                state: AtomicU8::new(ATTACHED),
                place: AtomicU32::new(0),
            });
            state.list(mapping.clone());
            self.attach(&state, &mapping, mapping.leaves());
            mapping
        };
        mappings.insert(place, mapping);
        Ok(va)
    }

    /// Removes the mapping that begins at `va` and returns it. No CPU can reach the region through
    /// it when this returns. `NotFound`: none begins there.
    pub fn unmap(&self, space: &AddressSpace, va: u64) -> Result<Arc<Mapping>, Error> {
        let mut mappings = space.mappings.lock();
        let (place, mapping) = mappings.find(va).ok_or(Error::NotFound)?;
        self.detach_one(mapping);
        mappings.remove(place).ok_or(Error::NotFound)
    }

    /// Removes every mapping of a space and passes each to `each`. For a process that ends.
    pub fn unmap_all(&self, space: &AddressSpace, mut each: impl FnMut(Arc<Mapping>)) {
        while let Some(mapping) = self.unmap_first(space) {
            each(mapping);
        }
    }

    /// The address is free only after the entries are cleared, or they would be somebody else's.
    fn unmap_first(&self, space: &AddressSpace) -> Option<Arc<Mapping>> {
        let mut mappings = space.mappings.lock();
        let first = mappings.by_va.first()?.1.va;
        let (place, mapping) = mappings.find(first)?;
        self.detach_one(mapping);
        mappings.remove(place)
    }

    /// Changes what the mapping that begins at `va` allows.
    ///
    /// `Invalid`: writing and executing at once; `Denied`: more than its capability; `Sealed`;
    /// `Revoked`; `Busy`: another mapping executes what this one would write, or the other way round;
    /// `NoMemory`: the region is lost; `Unsupported`: its pages decide for
    /// themselves (an image, a ring).
    pub fn protect(&self, space: &AddressSpace, va: u64, access: Rights) -> Result<(), Error> {
        let mappings = space.mappings.lock();
        let (_, mapping) = mappings.find(va).ok_or(Error::NotFound)?;
        if !mapping.region.has_uniform_access() {
            return Err(Error::Unsupported);
        }
        if !mapping.permit.access().contains(access) {
            return Err(Error::Denied);
        }
        mapping.region.check_access(access)?;
        let mut state = mapping.region.lock();
        if !mapping.is_attached() {
            return Err(Error::Revoked);
        }
        mapping.permit.check(access)?;
        state.check_alive()?;
        if state.sealed && access.contains(Rights::WRITE) {
            return Err(Error::Sealed);
        }
        let before = mapping.access();
        if mapping.region.excludes_write_and_execute() {
            state.check_exclusion(before, access)?;
        }
        // What is taken away is gone everywhere before anything is added (S17). More is allowed at
        // once: a CPU that has less cached faults, finds it allowed and goes on.
        if !access.contains(before) {
            self.set_access(&mut state, mapping, before & access);
            Stale::in_space(self, (), space, mapping.plan()).wait(self);
        }
        self.set_access(&mut state, mapping, access);
        Ok(())
    }

    /// Changes what a mapping allows, in its entries. The flush is the caller's.
    fn set_access(&self, state: &mut State, mapping: &Mapping, access: Rights) {
        let before = mapping.access();
        if before == access {
            return;
        }
        state.count_access(before, access);
        mapping.access.store(access.bits(), Ordering::Relaxed);
        // A region that is lost has no leaf tables, and its mappings show nothing.
        if state.check_alive().is_ok() {
            self.attach(state, mapping, mapping.leaves());
        }
    }
}

impl AddressSpace {
    /// Forgets the mappings that a revoke has ended, with all that their records keep: for who gives up what they
    /// showed and may never map anything again. What is mapped next does so, too.
    pub fn sweep(&self) {
        if self.dead.load(Ordering::Relaxed) > 0 {
            sweep(self, &mut self.mappings.lock());
        }
    }
}

/// Forgets the mappings that a revoke has ended.
#[cold]
fn sweep(space: &AddressSpace, mappings: &mut Mappings) {
    // Acquire: each that was counted says by now that it is dead. One that did not would be kept, counted no more, and
    // so stay charged until another one dies. The looks at the count before this call are hints.
    if space.dead.swap(0, Ordering::Acquire) > 0 {
        mappings.retain(|mapping| mapping.state.load(Ordering::Acquire) != DEAD);
    }
}
