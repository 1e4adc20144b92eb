//! The display of QEMU: `bochs-display`, whose mode is set by registers in memory
//! (QEMU, docs/specs/standard-vga.rst).

use programs::picture::{BYTES, HEIGHT, WIDTH};
use rt::{CachePolicy, Error, Handle, Region, Registers};

/// Where the registers of the Bochs VBE interface are, 2 bytes each.
const VBE: u64 = 0x500;
const ID: u64 = 0;
const X_RESOLUTION: u64 = 1;
const Y_RESOLUTION: u64 = 2;
const BITS_PER_PIXEL: u64 = 3;
const ENABLE: u64 = 4;

/// All but the revision of the interface.
const ID_MASK: u16 = 0xfff0;
const ID_BOCHS: u16 = 0xb0c0;
const ENABLED: u16 = 1 << 0;
const LINEAR_FRAMEBUFFER: u16 = 1 << 6;

/// Sets the mode and makes a region of what is shown, to be written only.
pub fn open(framebuffer: Handle, registers: Handle) -> Result<Region, Error> {
    let place = rt::resource_info(registers)?;
    let policy = CachePolicy::Uncached;
    let registers = Registers::create(registers, place.address, place.len, policy)?;
    let at = |register: u64| VBE + 2 * register;
    if registers.read::<u16>(at(ID)) & ID_MASK != ID_BOCHS {
        return Err(Error::NotFound);
    }
    for (register, value) in [
        (ENABLE, 0),
        (X_RESOLUTION, WIDTH as u16),
        (Y_RESOLUTION, HEIGHT as u16),
        (BITS_PER_PIXEL, 32),
        (ENABLE, ENABLED | LINEAR_FRAMEBUFFER),
    ] {
        registers.write(at(register), value);
    }
    let place = rt::resource_info(framebuffer)?;
    let policy = CachePolicy::WriteCombining;
    Region::device(framebuffer, place.address, BYTES, policy)
}
