//! Regions, images and mappings.

use alloc::sync::Arc;

use abi::{
    CachePolicy, Error, Handle, MapFlags, RegionFlags, RegionInfo, Rights, SnapshotFlags, UserPtr,
};
use arch::acpi;
use ipc::Payload;

use crate::machine::ipc;
use crate::process::Process;
use crate::{loader, user_memory};

/// The NUMA node that stands for "none preferred".
const ANY_NODE: u64 = u64::MAX;

pub fn region_create(
    process: &Arc<Process>,
    len: u64,
    flags: RegionFlags,
    policy: CachePolicy,
    node: u64,
) -> Result<Handle, Error> {
    // The direct map shows memory too, by write-back, and no frame has two policies (S16).
    if policy != CachePolicy::WriteBack {
        return Err(Error::Unsupported);
    }
    let node = match node {
        ANY_NODE => None,
        node if node < acpi::nodes() as u64 => Some(node as usize),
        _ => return Err(Error::Invalid),
    };
    ipc().create_region(process.domain(), len, flags, node)
}

pub fn region_info(
    process: &Arc<Process>,
    region: Handle,
    info: UserPtr<RegionInfo>,
) -> Result<(), Error> {
    let facts = ipc().region_info(process.domain(), region)?;
    user_memory::write(info, &facts)
}

pub fn region_seal(process: &Arc<Process>, region: Handle) -> Result<(), Error> {
    ipc().seal_region(process.domain(), region)
}

pub fn region_destroy(process: &Arc<Process>, region: Handle) -> Result<(), Error> {
    ipc().destroy_region(process.domain(), region)
}

pub fn region_commit(
    process: &Arc<Process>,
    region: Handle,
    offset: u64,
    len: u64,
) -> Result<(), Error> {
    ipc().commit_region(process.domain(), region, offset, len)
}

pub fn region_decommit(
    process: &Arc<Process>,
    region: Handle,
    offset: u64,
    len: u64,
) -> Result<(), Error> {
    ipc().decommit_region(process.domain(), region, offset, len)
}

pub fn region_snapshot(
    process: &Arc<Process>,
    region: Handle,
    offset: u64,
    len: u64,
    flags: SnapshotFlags,
) -> Result<Handle, Error> {
    ipc().snapshot_region(process.domain(), region, offset, len, flags)
}

pub fn region_pin(process: &Arc<Process>, region: Handle) -> Result<(), Error> {
    ipc().pin_region(process.domain(), region)
}

pub fn region_unpin(process: &Arc<Process>, region: Handle) -> Result<(), Error> {
    ipc().unpin_region(process.domain(), region)
}

pub fn image_create(
    process: &Arc<Process>,
    region: Handle,
    offset: u64,
    len: u64,
) -> Result<Handle, Error> {
    let domain = process.domain();
    let part = (offset, len);
    ipc().make_of_region(
        domain,
        region,
        part,
        Rights::IMAGE,
        |region, offset, len| {
            let (image, info) = loader::load(domain.account(), region, offset, len)?;
            Ok(Payload::Image(image, info))
        },
    )
}

pub fn map(
    process: &Arc<Process>,
    region: Handle,
    hint: u64,
    offset: u64,
    len: u64,
    rights: Rights,
    flags: MapFlags,
) -> Result<u64, Error> {
    ipc().map(process.domain(), region, hint, offset, len, rights, flags)
}

pub fn unmap(process: &Arc<Process>, address: u64) -> Result<(), Error> {
    ipc().unmap(process.domain(), address)
}

pub fn protect(process: &Arc<Process>, address: u64, rights: Rights) -> Result<(), Error> {
    ipc().protect(process.domain(), address, rights)
}
