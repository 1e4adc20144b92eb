//! QEMU's educational device, as its driver gets it. The device is told here where to send its
//! interrupts: whoever can choose that, can interrupt any CPU at any vector.

use programs::pci;
use rt::{Error, Handle, Interrupt, Notification};

/// Vendor and device (QEMU, docs/specs/edu.txt).
const EDU: (u16, u16) = (0x1234, 0x11e8);
/// The BAR of its registers.
const REGISTERS: u8 = 0;
/// The bit that an interrupt sets.
const INTERRUPTED: u64 = 1 << 0;

/// What a program needs to drive the device.
pub struct Edu {
    /// The resource of its registers.
    pub registers: Handle,
    /// What its interrupt signals, as long as this process has it.
    pub notification: Notification,
    /// Its interrupt.
    pub interrupt: Interrupt,
}

/// The first such device, if there is one. `devices` is the resource of all devices.
pub fn find(devices: Handle) -> Result<Option<Edu>, Error> {
    let Some(mut function) = pci::find(devices, EDU)? else {
        return Ok(None);
    };
    let Some((address, len)) = function.memory(REGISTERS) else {
        return Ok(None);
    };
    let registers = rt::resource_part(devices, address, len)?;
    let notification = Notification::create()?;
    let (interrupt, message) = Interrupt::create(registers, &notification, INTERRUPTED)?;
    if !function.interrupt_by(&message) {
        return Ok(None);
    }
    Ok(Some(Edu {
        registers,
        notification,
        interrupt,
    }))
}
