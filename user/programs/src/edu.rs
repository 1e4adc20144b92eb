//! QEMU's educational device, as its driver gets it. The device is told here where to send its
//! interrupts: whoever can choose that, can interrupt any CPU at any vector.

use rt::{Error, Handle, Interrupt, Notification};

use crate::pci::{self, Function};

/// Vendor and device (QEMU, docs/specs/edu.txt).
const EDU: (u16, u16) = (0x1234, 0x11e8);
/// The BAR of its registers.
const REGISTERS: u8 = 0;
/// The bit that an interrupt sets.
const INTERRUPTED: u64 = 1 << 0;

/// The device.
pub struct Edu {
    function: Function,
    /// The resource of its registers.
    pub registers: Handle,
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
    Ok(Some(Edu {
        function,
        registers,
    }))
}

impl Edu {
    /// A new interrupt of the device, which signals a notification as long as this process can; what it had
    /// interrupted by before is told no more. `NotFound`: it sends no messages.
    pub fn connect(&mut self, notification: &Notification) -> Result<Interrupt, Error> {
        let (interrupt, message) = Interrupt::create(self.registers, notification, INTERRUPTED)?;
        match self.function.interrupt_by(&message) {
            true => Ok(interrupt),
            false => Err(Error::NotFound),
        }
    }
}
