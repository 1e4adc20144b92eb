//! Resources and device regions.

use alloc::sync::Arc;

use abi::{CachePolicy, Error, Handle, ResourceInfo, Rights, UserPtr};

use crate::machine::ipc;
use crate::process::Process;
use crate::{devices, user_memory};

pub fn resource_info(
    process: &Arc<Process>,
    resource: Handle,
    info: UserPtr<ResourceInfo>,
) -> Result<(), Error> {
    let read = |resource| Ok(devices::describe(&resource));
    let facts = ipc().ask_resource(process.domain(), resource, Rights::INSPECT, read)?;
    user_memory::write(info, &facts)
}

pub fn resource_part(
    process: &Arc<Process>,
    resource: Handle,
    address: u64,
    len: u64,
) -> Result<Handle, Error> {
    ipc().part_of_resource(process.domain(), resource, address, len)
}

pub fn region_device(
    process: &Arc<Process>,
    resource: Handle,
    address: u64,
    len: u64,
    policy: CachePolicy,
) -> Result<Handle, Error> {
    ipc().create_device_region(process.domain(), resource, address, len, policy)
}
