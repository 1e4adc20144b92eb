//! The functions of the PCI buses, through the configuration space that the firmware tells of (PCI
//! Express Base Specification, 7.2.2).

#![allow(unsafe_code)] // The trait of `pci_types` calls its accesses unsafe; these are checked ones.

use alloc::vec;

use pci_types::capability::PciCapability;
use pci_types::{
    Bar, CommandRegister, ConfigRegionAccess, EndpointHeader, PciAddress, PciHeader,
    PciPciBridgeHeader,
};
use rt::{CachePolicy, Error, Handle, InterruptInfo, Registers};

/// Bytes of configuration space: of a bus, and of a function.
const BUS_BYTES: u64 = 1 << 20;
const FUNCTION_BYTES: u64 = 4096;

/// The configuration space of one bus.
struct Bus(Registers);

impl Bus {
    fn place(address: PciAddress, offset: u16) -> u64 {
        let function = u64::from(address.device()) << 3 | u64::from(address.function());
        function * FUNCTION_BYTES + u64::from(offset)
    }
}

impl ConfigRegionAccess for Bus {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        self.0.read(Bus::place(address, offset))
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        self.0.write(Bus::place(address, offset), value);
    }
}

/// A function of a device, not a bridge.
pub struct Function {
    bus: Bus,
    endpoint: EndpointHeader,
}

/// The first function with these numbers of vendor and device, if there is one. `devices` is the
/// resource of all devices.
pub fn find(devices: Handle, id: (u16, u16)) -> Result<Option<Function>, Error> {
    let space = rt::resource_info(devices)?;
    let mut buses = vec![0_u8];
    let mut next = 0;
    while let Some(&number) = buses.get(next) {
        next += 1;
        let start = u64::from(number) * BUS_BYTES;
        if start + BUS_BYTES > space.configuration_len {
            continue;
        }
        let start = space.configuration + start;
        let registers = Registers::create(devices, start, BUS_BYTES, CachePolicy::Uncached)?;
        let bus = Bus(registers);
        let mut found = None;
        for function in functions(&bus, number) {
            let header = PciHeader::new(function);
            if let Some(bridge) = PciPciBridgeHeader::from_header(PciHeader::new(function), &bus) {
                let below = bridge.secondary_bus_number(&bus);
                if !buses.contains(&below) {
                    buses.push(below);
                }
            } else if found.is_none() && header.id(&bus) == id {
                found = EndpointHeader::from_header(header, &bus);
            }
        }
        if let Some(endpoint) = found {
            return Ok(Some(Function { bus, endpoint }));
        }
    }
    Ok(None)
}

/// The functions that are there.
fn functions(bus: &Bus, number: u8) -> impl Iterator<Item = PciAddress> {
    let there = move |device, function| {
        let address = PciAddress::new(0, number, device, function);
        (PciHeader::new(address).id(bus).0 != 0xffff).then_some(address)
    };
    (0..32).flat_map(move |device| {
        let several =
            there(device, 0).is_some_and(|first| PciHeader::new(first).has_multiple_functions(bus));
        let count = if several { 8 } else { 1 };
        (0..count).filter_map(move |function| there(device, function))
    })
}

impl Function {
    /// Address and bytes of a BAR, if it is memory.
    pub fn memory(&mut self, bar: u8) -> Option<(u64, u64)> {
        // To learn the size of a BAR it has to be written, and nothing may answer there meanwhile.
        self.update(|command| command - CommandRegister::MEMORY_ENABLE);
        let bar = self.endpoint.bar(bar, &self.bus);
        self.update(|command| command | CommandRegister::MEMORY_ENABLE);
        match bar? {
            Bar::Memory32 { address, size, .. } => Some((address.into(), size.into())),
            Bar::Memory64 { address, size, .. } => Some((address, size)),
            Bar::Io { .. } => None,
        }
    }

    /// Has it interrupt by this message instead of a wire (PCI Local Bus Specification 3.0, 6.8). A
    /// message is a write like any other, so it becomes a master of its bus. False: it can't.
    pub fn interrupt_by(&mut self, message: &InterruptInfo) -> bool {
        let capability = self
            .endpoint
            .capabilities(&self.bus)
            .find_map(|capability| match capability {
                PciCapability::Msi(capability) => Some(capability),
                _ => None,
            });
        let Some(capability) = capability else {
            return false;
        };
        capability.set_message_info(message.address, message.data, &self.bus);
        capability.set_enabled(true, &self.bus);
        self.update(|command| {
            command | CommandRegister::BUS_MASTER_ENABLE | CommandRegister::INTERRUPT_DISABLE
        });
        true
    }

    fn update(&mut self, change: impl FnOnce(CommandRegister) -> CommandRegister) {
        self.endpoint.update_command(&self.bus, change);
    }
}
