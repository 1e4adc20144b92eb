//! The end of the machine: QEMU's `isa-debug-exit` device.

use core::fmt;

use x86_64::instructions::port::Port;

use crate::cpu;

const DEBUG_EXIT: u16 = 0xf4;

/// What the emulator is told; its exit status is `2 * code + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ExitCode {
    /// All went well; exit status 33.
    Success = 0x10,
    /// The kernel panicked; exit status 35.
    Panic = 0x11,
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::Panic => "panic",
        })
    }
}

/// Ends the emulator. On a machine without the device this CPU halts for ever.
pub fn exit(code: ExitCode) -> ! {
    // SAFETY: the port belongs to this device, which has no other effect.
    unsafe { Port::new(DEBUG_EXIT).write(code as u32) };
    cpu::halt_forever()
}
