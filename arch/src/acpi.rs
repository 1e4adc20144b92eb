//! What ACPI says of CPUs, interrupt controllers, NUMA nodes and PCI (ACPI 6.4, 5.2.12 MADT and 5.2.16 SRAT; MCFG).
//!
//! Read once, while the early tables show all memory below 4 GiB; afterwards the tables are out of reach.

use core::mem::size_of;
use core::ptr::NonNull;
use core::slice;

use acpi::madt::{Madt, MadtEntry};
use acpi::mcfg::{Mcfg, McfgEntry};
use acpi::sdt::{SdtHeader, Signature};
use acpi::{AcpiHandler, AcpiTable, AcpiTables, PhysicalMapping};
use arrayvec::ArrayVec;
use boot::PhysicalRange;
use spin::Once;

use crate::cpu::MAX_CPUS;
use crate::phys;

/// How many NUMA nodes are told apart; further ones count as the last.
pub const MAX_NODES: usize = 16;
const MAX_AFFINITIES: usize = 64;
const EARLY_MAP_END: usize = 4 << 30;

/// A CPU that the firmware describes as usable.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    /// Local APIC id.
    pub apic_id: u8,
    /// Dense NUMA node number.
    pub node: usize,
}

/// Memory of one node.
#[derive(Clone, Copy, Debug)]
pub struct MemoryAffinity {
    /// Where it is; not all of it need be RAM.
    pub range: PhysicalRange,
    /// Dense NUMA node number.
    pub node: usize,
}

#[derive(Debug, Default)]
struct Platform {
    local_apic: u64,
    pci_configuration: Option<PhysicalRange>,
    processors: ArrayVec<Processor, MAX_CPUS>,
    memory: ArrayVec<MemoryAffinity, MAX_AFFINITIES>,
    /// Proximity domains by dense node number.
    domains: ArrayVec<u32, MAX_NODES>,
}

static PLATFORM: Once<Platform> = Once::new();

/// The CPUs in the order of the firmware's table, the boot CPU among them. At most [`MAX_CPUS`].
pub fn processors() -> &'static [Processor] {
    PLATFORM.get().map_or(&[], |platform| &platform.processors)
}

/// Which memory belongs to which node; empty on a machine without nodes.
pub fn memory_affinities() -> &'static [MemoryAffinity] {
    PLATFORM.get().map_or(&[], |platform| &platform.memory)
}

/// How many NUMA nodes there are, at least 1.
pub fn nodes() -> usize {
    PLATFORM
        .get()
        .map_or(1, |platform| platform.domains.len().max(1))
}

/// Physical address of the local APICs' registers.
pub fn local_apic() -> u64 {
    PLATFORM
        .get()
        .map_or(0xfee0_0000, |platform| platform.local_apic)
}

/// The configuration space of the PCI Express buses of segment 0, from bus 0 on and 1 MiB a bus; `None` when the
/// firmware tells of none.
pub fn pci_configuration() -> Option<PhysicalRange> {
    PLATFORM.get()?.pci_configuration
}

/// Reads the tables. Panics when there are none: without a MADT there is nothing to say which CPUs exist.
///
/// # Safety
/// The early tables are loaded, and `rsdp` came from the loader.
pub(crate) unsafe fn init(rsdp: u64) {
    // SAFETY: the caller vouches for `rsdp`.
    let tables = unsafe { AcpiTables::from_rsdp(EarlyMap, rsdp as usize) }.expect("no ACPI tables");
    let mut platform = Platform::default();
    // The CPUs' nodes come from the SRAT, so it is read first.
    let mut cpu_nodes = [0; 256];
    if let Ok(srat) = tables.find_table::<Srat>() {
        platform.read_srat(srat_entries(&srat), &mut cpu_nodes);
    }
    let madt = tables.find_table::<Madt>().expect("no MADT");
    platform.local_apic = u64::from(madt.get().local_apic_address);
    for entry in madt.get().entries() {
        match entry {
            MadtEntry::LocalApic(cpu) if cpu.flags & 1 != 0 => {
                let apic_id = cpu.apic_id;
                let processor = Processor {
                    apic_id,
                    node: cpu_nodes[usize::from(apic_id)],
                };
                // CPUs beyond MAX_CPUS stay off.
                let _ = platform.processors.try_push(processor);
            }
            MadtEntry::LocalApicAddressOverride(address) => {
                platform.local_apic = address.local_apic_address
            }
            _ => {}
        }
    }
    if let Ok(mcfg) = tables.find_table::<Mcfg>() {
        platform.pci_configuration = mcfg.entries().iter().find_map(configuration_space);
    }
    PLATFORM.call_once(|| platform);
}

impl Platform {
    fn read_srat(&mut self, mut entries: &[u8], cpu_nodes: &mut [usize; 256]) {
        while let [kind, length, ..] = *entries {
            let Some((entry, rest)) = entries.split_at_checked(usize::from(length).max(2)) else {
                return;
            };
            entries = rest;
            match kind {
                // Processor local APIC affinity: the domain is split into a low byte and three high ones.
                0 if entry.len() >= 16 && entry[4] & 1 != 0 => {
                    let domain = u32::from_le_bytes([entry[2], entry[9], entry[10], entry[11]]);
                    cpu_nodes[usize::from(entry[3])] = self.node(domain);
                }
                // Memory affinity.
                1 if entry.len() >= 40 && entry[28] & 1 != 0 => {
                    let start = word(entry, 8) | word(entry, 12) << 32;
                    let length = word(entry, 16) | word(entry, 20) << 32;
                    let node = self.node(word(entry, 2) as u32);
                    let range = PhysicalRange::new(start, start.saturating_add(length));
                    if !range.is_empty() {
                        let _ = self.memory.try_push(MemoryAffinity { range, node });
                    }
                }
                _ => {}
            }
        }
    }

    /// The dense number of a proximity domain, by order of appearance.
    fn node(&mut self, domain: u32) -> usize {
        let known = self
            .domains
            .iter()
            .position(|candidate| *candidate == domain);
        known.unwrap_or_else(|| {
            let _ = self.domains.try_push(domain);
            self.domains.len() - 1
        })
    }
}

/// Where the MCFG says that segment 0 is (PCI Firmware Specification 3.0, 4.1.2), if it begins with bus 0.
fn configuration_space(entry: &McfgEntry) -> Option<PhysicalRange> {
    let start = entry.base_address;
    let len = (u64::from(entry.bus_number_end) + 1) << 20;
    let usable = entry.pci_segment_group == 0 && entry.bus_number_start == 0;
    (usable && start.is_multiple_of(1 << 20))
        .then(|| start.checked_add(len))?
        .map(|end| PhysicalRange::new(start, end))
}

fn word(entry: &[u8], offset: usize) -> u64 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&entry[offset..offset + 4]);
    u64::from(u32::from_le_bytes(bytes))
}

/// The fixed part of the System Resource Affinity Table; the crate has no type for it.
#[repr(C, packed)]
struct Srat {
    header: SdtHeader,
    reserved: [u8; 12],
}

// SAFETY: the layout is that of ACPI 6.4, 5.2.16: a header and 12 reserved bytes, then the entries.
unsafe impl AcpiTable for Srat {
    const SIGNATURE: Signature = Signature::SRAT;

    fn header(&self) -> &SdtHeader {
        &self.header
    }
}

fn srat_entries(srat: &PhysicalMapping<EarlyMap, Srat>) -> &[u8] {
    let start = srat.virtual_start().as_ptr().cast::<u8>();
    let length = srat.region_length().saturating_sub(size_of::<Srat>());
    // SAFETY: `region_length` bytes are the table whose checksum was verified; firmware tables are not written.
    unsafe { slice::from_raw_parts(start.add(size_of::<Srat>()), length) }
}

/// Shows tables where the early direct map has them.
#[derive(Clone, Copy, Debug)]
struct EarlyMap;

impl AcpiHandler for EarlyMap {
    unsafe fn map_physical_region<T>(
        &self,
        address: usize,
        size: usize,
    ) -> PhysicalMapping<Self, T> {
        assert!(
            address != 0 && address.saturating_add(size) <= EARLY_MAP_END,
            "ACPI table above 4 GiB"
        );
        let pointer = NonNull::new(phys::to_virtual(address as u64).cast())
            .expect("the direct map is not at 0");
        // SAFETY: the early tables map all physical memory below 4 GiB there, for as long as tables are read.
        unsafe { PhysicalMapping::new(address, pointer, size, size, *self) }
    }

    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}
}
