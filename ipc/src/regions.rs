//! Regions as objects: made, mapped, sealed and destroyed by capability.

use alloc::sync::Arc;

use abi::trace::Cause;
use abi::{
    Error, Handle, MapFlags, ObjectKind, RegionFlags, RegionInfo, Rights, SnapshotFlags, cost,
};
use mm::{MapRequest, Permit, Region, RegionOptions};

use crate::node::Branch;
use crate::{Capability, Domain, Ipc, Node, Payload, Platform};

/// What a mapping may be asked to allow.
fn check_access(access: Rights) -> Result<(), Error> {
    let only_access = Rights::ACCESS.contains(access) && access.contains(Rights::READ);
    let write_or_execute = !access.contains(Rights::WRITE | Rights::EXECUTE);
    if only_access && write_or_execute {
        Ok(())
    } else {
        Err(Error::Invalid)
    }
}

impl<P: Platform> Ipc<P> {
    /// A region of zeroed memory, for which the domain pays; see
    /// [`Memory::create_region`](mm::Memory::create_region). `Invalid`: flags that contradict one another.
    pub fn create_region(
        &self,
        domain: &Domain<P>,
        len: u64,
        flags: RegionFlags,
        node: Option<usize>,
    ) -> Result<Handle, Error> {
        let execute = flags.contains(RegionFlags::EXECUTE);
        let options = RegionOptions {
            node,
            commit: flags.contains(RegionFlags::COMMIT),
            execute,
            jit: flags.contains(RegionFlags::JIT),
            overcommit: flags.contains(RegionFlags::OVERCOMMIT),
        };
        let contiguous = flags.contains(RegionFlags::CONTIGUOUS);
        let alone = RegionFlags::CONTIGUOUS | RegionFlags::COMMIT;
        if options.jit && !execute
            || options.commit && options.overcommit
            || contiguous && !alone.contains(flags)
        {
            return Err(Error::Invalid);
        }
        if contiguous {
            let region = self
                .memory
                .create_contiguous_region(domain.account(), len, node)?;
            return self.install_region(domain, region, Rights::REGION | Rights::MANAGE);
        }
        let region = self.memory.create_region(domain.account(), len, options)?;
        let mut rights = Rights::REGION;
        rights.set(Rights::EXECUTE, execute);
        self.install_region(domain, region, rights)
    }

    /// A snapshot of a region; see [`Memory::snapshot`](mm::Memory::snapshot). Needs READ and
    /// DUPLICATE.
    pub fn snapshot_region(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        offset: u64,
        len: u64,
        flags: SnapshotFlags,
    ) -> Result<Handle, Error> {
        let overcommit = flags.contains(SnapshotFlags::OVERCOMMIT);
        let (snapshot, rights) =
            self.snapshot_of(domain, handle, Rights::empty(), offset, len, overcommit)?;
        self.install_region(domain, snapshot, rights)
    }

    /// A snapshot under the authority of a handle that also has `needed`, and the rights that its
    /// first capability may have.
    pub(crate) fn snapshot_of(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        needed: Rights,
        offset: u64,
        len: u64,
        overcommit: bool,
    ) -> Result<(Arc<Region>, Rights), Error> {
        let needed = needed | Rights::READ | Rights::DUPLICATE;
        let kind = Some(ObjectKind::Region);
        // Meanwhile the region and the node stay in place.
        domain.with_node(handle, kind, needed, |node| {
            let region = node.object().region().ok_or(Error::WrongKind)?;
            let (offset, len) = node.part().locate(region, offset, len)?;
            // Nobody revokes or moves it between the check and the instant of the snapshot.
            let _lineage = node.object().lineage.lock();
            node.check_allowed(domain.koid(), needed)?;
            let snapshot =
                self.memory
                    .snapshot(domain.account(), region, offset, len, overcommit)?;
            Ok((snapshot, Rights::REGION | node.rights() & Rights::EXECUTE))
        })
    }

    /// Fills pages; see [`Memory::commit`](mm::Memory::commit).
    pub fn commit_region(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        offset: u64,
        len: u64,
    ) -> Result<(), Error> {
        let (capability, region) = self.region(domain, handle, Rights::WRITE)?;
        let (offset, len) = capability.node.part().locate(&region, offset, len)?;
        self.memory
            .commit_in_steps(&region, offset, len, |step| capability.commit(step))
    }

    /// Gives pages back; see [`Memory::decommit`](mm::Memory::decommit).
    pub fn decommit_region(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        offset: u64,
        len: u64,
    ) -> Result<(), Error> {
        let (capability, region) = self.region(domain, handle, Rights::WRITE)?;
        let (offset, len) = capability.node.part().locate(&region, offset, len)?;
        let permit = capability.node.permit();
        let given_back = self.memory.decommit_by(&region, &permit, offset, len);
        given_back.map_err(|error| capability.refuse(error))
    }

    /// Keeps the frames of a region where they are; see [`Memory::pin`](mm::Memory::pin). The pin is
    /// the capability's, and goes with it; who has that pays. `Denied`: also by one for one use, with which
    /// the pin would end.
    pub fn pin_region(&self, domain: &Domain<P>, handle: Handle) -> Result<(), Error> {
        let kind = Some(ObjectKind::Region);
        let by = domain.look_up_lasting(handle, kind, Rights::MAP)?;
        let node = &by.node;
        let region = node.object().region().ok_or(Error::WrongKind)?.clone();
        let (offset, len) = node.part().locate(&region, 0, 0)?;
        let pin = || {
            node.extend_charge(cost::PIN)?;
            let pinned = self.memory.pin(&region, &node.permit());
            pinned.inspect_err(|_| node.release_charge(cost::PIN))
        };
        // A reduce or a Move that is over finds no pin afterwards, not even until this one has filled the region.
        let pinned = match mm::sabotaged!("pin_without_recheck") {
            true => pin(),
            false => by.commit(pin),
        };
        let pinned = pinned.and_then(|()| {
            let filled = self.memory.fill_pinned(&region, offset, len);
            // Who dropped or reduced it meanwhile has not seen this pin.
            let held = filled.and_then(|()| {
                let _lineage = node.object().lineage.lock();
                node.check_allowed(domain.koid(), Rights::MAP)
            });
            held.inspect_err(|_| self.take_pin_back(&region, node))
        });
        pinned.map_err(|error| by.refuse(error))
    }

    /// Takes back the pin of a call that failed, unless somebody else has.
    fn take_pin_back(&self, region: &Region, node: &Node<P>) {
        let taken = self.memory.unpin(region, &node.permit()).is_ok();
        if taken || mm::sabotaged!("pin_paid_back_twice") {
            node.release_charge(cost::PIN);
        }
    }

    /// Takes back all pins of some capabilities, and what was paid for them.
    pub(crate) fn unpin_where(&self, region: &Region, over: impl Fn(&Arc<Permit>) -> bool) {
        self.memory.unpin_all(region, |permit| {
            let over = over(permit);
            if over && let Some(branch) = permit.authority().downcast_ref::<Branch<P>>() {
                branch.release_charge(cost::PIN);
            }
            over
        });
    }

    /// Takes one pin of the capability back.
    pub fn unpin_region(&self, domain: &Domain<P>, handle: Handle) -> Result<(), Error> {
        let (capability, region) = self.region(domain, handle, Rights::MAP)?;
        // The pins of who has it next are not this one's to take back.
        capability.commit(|| self.memory.unpin(&region, &capability.node.permit()))?;
        capability.node.release_charge(cost::PIN);
        Ok(())
    }

    /// Makes a region an object that `domain` has, or destroys it.
    pub fn install_region(
        &self,
        domain: &Domain<P>,
        region: Arc<Region>,
        rights: Rights,
    ) -> Result<Handle, Error> {
        self.install_new(domain, Payload::Region(region), rights)
    }

    fn region(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
    ) -> Result<(Capability<P>, Arc<Region>), Error> {
        let capability = domain.look_up(handle, Some(ObjectKind::Region), rights)?;
        let region = capability
            .object()
            .region()
            .ok_or(Error::WrongKind)?
            .clone();
        Ok((capability, region))
    }

    /// The capability of a region, by which whatever follows is [committed](Capability::commit), the region, and
    /// where `len` bytes from `offset` of what that covers are in it; a length of 0 stays 0 if that is the rest of
    /// the region. `Range`.
    pub fn part_of_region(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
        offset: u64,
        len: u64,
    ) -> Result<(Capability<P>, Arc<Region>, u64, u64), Error> {
        let (capability, region) = self.region(domain, handle, rights)?;
        let (offset, len) = capability.node.part().locate(&region, offset, len)?;
        Ok((capability, region, offset, len))
    }

    /// The region that a handle stands for.
    pub fn region_of(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
    ) -> Result<Arc<Region>, Error> {
        self.region(domain, handle, rights)
            .map(|(_, region)| region)
    }

    /// Facts about a region.
    pub fn region_info(&self, domain: &Domain<P>, handle: Handle) -> Result<RegionInfo, Error> {
        let (capability, region) = self.region(domain, handle, Rights::INSPECT)?;
        let told = capability.node.rights().contains(Rights::MANAGE);
        let (large, shared) = self.memory.large_and_shared_leaves(&region);
        capability.tell(RegionInfo {
            koid: region.koid(),
            len: region.len(),
            present_pages: region.present_pages(),
            leaf_tables: region.leaf_count() as u64 - large,
            mappings: region.mapping_count() as u64,
            kind: region.kind() as u32,
            sealed: region.is_sealed() as u32,
            large_leaves: large,
            shared_leaves: shared,
            pins: region.pin_count(),
            lost: region.is_lost() as u32,
            physical_address: region
                .physical_address()
                .filter(|_| told)
                .unwrap_or(u64::MAX),
        })
    }

    /// Takes writing away from everybody for good.
    pub fn seal_region(&self, domain: &Domain<P>, handle: Handle) -> Result<(), Error> {
        let (capability, region) = self.region(domain, handle, Rights::SEAL)?;
        capability.commit(|| self.memory.seal(&region))
    }

    /// Unmaps a region everywhere, kills every capability of it and returns its memory. `Pinned`.
    pub fn destroy_region(&self, domain: &Domain<P>, handle: Handle) -> Result<(), Error> {
        let (capability, region) = self.region(domain, handle, Rights::DESTROY)?;
        if region.is_pinned() {
            return Err(capability.refuse(Error::Pinned));
        }
        let object = capability.object();
        let killed = {
            let mut lineage = object.lineage.lock();
            if lineage.len() > 0 {
                capability
                    .node
                    .check_allowed(domain.koid(), Rights::DESTROY)?;
            }
            lineage.kill_all(&|node| self.unlist_timed(node))
        };
        if killed.count == 0 {
            // Somebody else is at it; both return when nothing can reach the memory any more.
            self.memory.destroy_region(&region);
        }
        self.bury(object, killed, Cause::Destroyed);
        let _ = domain.table.lock().remove(handle);
        Ok(())
    }

    /// Maps part of a region; see [`Memory::map`](mm::Memory::map). `Denied`: an access that the
    /// capability has no right for; `Invalid`: no access that makes sense.
    #[allow(clippy::too_many_arguments)] // The registers of the call.
    pub fn map(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        hint: u64,
        offset: u64,
        len: u64,
        access: Rights,
        flags: MapFlags,
    ) -> Result<u64, Error> {
        check_access(access)?;
        let kind = Some(ObjectKind::Region);
        // Meanwhile the region and the node stay in place.
        domain.with_node(handle, kind, Rights::MAP | access, |node| {
            let region = node.object().region().ok_or(Error::WrongKind)?;
            let (offset, len) = node.part().locate(region, offset, len)?;
            self.memory.map(
                domain.space(),
                MapRequest {
                    region,
                    permit: node.permit(),
                    view: 0,
                    hint,
                    fixed: flags.contains(MapFlags::FIXED),
                    guard: flags.contains(MapFlags::GUARD),
                    offset,
                    len,
                    access,
                },
            )
        })
    }

    /// Removes the mapping that begins at an address.
    pub fn unmap(&self, domain: &Domain<P>, address: u64) -> Result<(), Error> {
        let mapping = self.memory.unmap(domain.space(), address)?;
        self.release_mapping(&mapping);
        Ok(())
    }

    /// Changes what the mapping that begins at an address allows.
    pub fn protect(&self, domain: &Domain<P>, address: u64, access: Rights) -> Result<(), Error> {
        check_access(access)?;
        self.memory.protect(domain.space(), address, access)
    }
}
