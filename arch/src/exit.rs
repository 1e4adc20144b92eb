//! The end of the machine: QEMU's devices `pvpanic` and `isa-debug-exit`.

use core::fmt;

use x86_64::instructions::port::Port;

use crate::cpu;

const DEBUG_EXIT: u16 = 0xf4;
/// Where QEMU is told that the guest has nothing more to say (QEMU, docs/specs/pvpanic.txt).
const PVPANIC: u16 = 0x505;
const PVPANIC_PANICKED: u8 = 1 << 0;

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
///
/// A machine with `pvpanic` stops first, so that somebody can look at its screen.
pub fn exit(code: ExitCode) -> ! {
    // SAFETY: the port belongs to this device or to none, and stopping harms nothing.
    unsafe { Port::new(PVPANIC).write(PVPANIC_PANICKED) };
    // An emulated CPU stops at the end of a block of code, and here is one.
    cpu::pause();
    // SAFETY: the port belongs to this device, which has no other effect.
    unsafe { Port::new(DEBUG_EXIT).write(code as u32) };
    cpu::halt_forever()
}
