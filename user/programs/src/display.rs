//! The display, as the program that draws on it gets it.

use rt::{Error, Handle};

use crate::pci;

/// Vendor and device of the display that `draw` knows.
const BOCHS_DISPLAY: (u16, u16) = (0x1234, 0x1111);
/// The BARs of its framebuffer and its registers.
const FRAMEBUFFER: u8 = 0;
const REGISTERS: u8 = 2;

/// What a program needs to drive the display: a resource each.
pub struct Display {
    /// What is shown.
    pub framebuffer: Handle,
    /// What sets the mode.
    pub registers: Handle,
}

/// The first display that `draw` knows, if there is one. `devices` is the resource of all devices.
pub fn find(devices: Handle) -> Result<Option<Display>, Error> {
    let Some(mut function) = pci::find(devices, BOCHS_DISPLAY)? else {
        return Ok(None);
    };
    let (framebuffer, registers) = (function.memory(FRAMEBUFFER), function.memory(REGISTERS));
    let (Some(framebuffer), Some(registers)) = (framebuffer, registers) else {
        return Ok(None);
    };
    Ok(Some(Display {
        framebuffer: rt::resource_part(devices, framebuffer.0, framebuffer.1)?,
        registers: rt::resource_part(devices, registers.0, registers.1)?,
    }))
}
