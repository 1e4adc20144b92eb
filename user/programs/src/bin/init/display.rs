//! Finds the display among the PCI functions, through the configuration space that the firmware
//! tells of (PCI Express Base Specification, 7.2.2).

use alloc::vec;

use pci_types::{
    Bar, CommandRegister, ConfigRegionAccess, EndpointHeader, PciAddress, PciHeader,
    PciPciBridgeHeader,
};
use rt::{CachePolicy, Error, Handle, Registers};

/// Vendor and device of the display that `draw` knows.
const BOCHS_DISPLAY: (u16, u16) = (0x1234, 0x1111);
/// The BARs of its framebuffer and its registers.
const FRAMEBUFFER: u8 = 0;
const REGISTERS: u8 = 2;

/// Bytes of configuration space: of a bus, and of a function.
const BUS_BYTES: u64 = 1 << 20;
const FUNCTION_BYTES: u64 = 4096;

/// What a program needs to drive the display: a resource each.
pub struct Display {
    pub framebuffer: Handle,
    pub registers: Handle,
}

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

/// The first display that `draw` knows, if there is one. `devices` is the resource of all devices.
pub fn find(devices: Handle) -> Result<Option<Display>, Error> {
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
        for function in functions(&bus, number) {
            let header = PciHeader::new(function);
            if let Some(bridge) = PciPciBridgeHeader::from_header(PciHeader::new(function), &bus) {
                let below = bridge.secondary_bus_number(&bus);
                if !buses.contains(&below) {
                    buses.push(below);
                }
            } else if header.id(&bus) == BOCHS_DISPLAY
                && let Some(endpoint) = EndpointHeader::from_header(header, &bus)
            {
                return open(devices, endpoint, &bus);
            }
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

fn open(
    devices: Handle,
    mut endpoint: EndpointHeader,
    bus: &Bus,
) -> Result<Option<Display>, Error> {
    // To learn the size of a BAR it has to be written, and nothing may answer there meanwhile.
    endpoint.update_command(bus, |command| command - CommandRegister::MEMORY_ENABLE);
    let framebuffer = memory(endpoint.bar(FRAMEBUFFER, bus));
    let registers = memory(endpoint.bar(REGISTERS, bus));
    endpoint.update_command(bus, |command| command | CommandRegister::MEMORY_ENABLE);
    let (Some(framebuffer), Some(registers)) = (framebuffer, registers) else {
        return Ok(None);
    };
    Ok(Some(Display {
        framebuffer: rt::resource_part(devices, framebuffer.0, framebuffer.1)?,
        registers: rt::resource_part(devices, registers.0, registers.1)?,
    }))
}

/// Address and bytes of a BAR that is memory.
fn memory(bar: Option<Bar>) -> Option<(u64, u64)> {
    match bar? {
        Bar::Memory32 { address, size, .. } => Some((address.into(), size.into())),
        Bar::Memory64 { address, size, .. } => Some((address, size)),
        Bar::Io { .. } => None,
    }
}
