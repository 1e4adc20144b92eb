//! Which physical addresses are devices': everything that this machine can address but memory
//! and what the kernel drives itself.

use abi::{Error, ResourceInfo};
use arch::{acpi, cpu};
use boot::{BootInfo, FRAME_SIZE, PhysicalRange};
use ipc::Resource;
use mm::Frame;
use spin::Once;

static BOOT_INFO: Once<&'static BootInfo> = Once::new();

/// Takes note of where memory is.
pub fn init(info: &'static BootInfo) {
    BOOT_INFO.call_once(|| info);
}

/// All that this machine can address.
pub fn everything() -> Result<Resource, Error> {
    Resource::new(0, address_end())
}

/// What programs learn of a resource.
pub fn describe(resource: &Resource) -> ResourceInfo {
    let range = resource.range();
    let configuration = acpi::pci_configuration()
        .filter(|space| range.start <= space.start && space.end <= range.end)
        .unwrap_or_default();
    ResourceInfo {
        address: range.start,
        len: range.end - range.start,
        configuration: configuration.start,
        configuration_len: configuration.len(),
    }
}

/// Whether programs may have these frames as a device's (S16). `Range`: beyond what the CPUs can
/// address, where a bit of an entry would be a reserved one; `Overlap`: memory, or the local APIC.
pub fn check(first: Frame, count: u64) -> Result<(), Error> {
    let start = first.address();
    let end = start + count * FRAME_SIZE;
    if end > address_end() {
        return Err(Error::Range);
    }
    let info = BOOT_INFO.get().ok_or(Error::Unsupported)?;
    let frame = |start| PhysicalRange::new(start, start + FRAME_SIZE);
    let others = [
        info.image,
        info.initrd_frames(),
        info.trampoline.map(frame).unwrap_or_default(),
        frame(acpi::local_apic()),
    ];
    let mut taken = info.memory.iter().chain(&others);
    if taken.any(|range| !range.is_empty() && range.start < end && start < range.end) {
        return Err(Error::Overlap);
    }
    Ok(())
}

/// One past the last physical address.
fn address_end() -> u64 {
    1 << cpu::physical_address_bits()
}
