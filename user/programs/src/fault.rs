//! A fault, in words.

use core::fmt;

use rt::FaultInfo;

/// Writes what has stopped a thread and where.
#[derive(Debug)]
pub struct Described<'a>(pub &'a FaultInfo);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WRITE: u32 = 1 << 1;
        const FETCH: u32 = 1 << 4;
        let info = self.0;
        match info.vector {
            0 => f.write_str("a division by zero")?,
            6 => f.write_str("an invalid instruction")?,
            13 => f.write_str("a general protection fault")?,
            14 => {
                let access = match info.error_code {
                    code if code & FETCH != 0 => "execute",
                    code if code & WRITE != 0 => "write",
                    _ => "read",
                };
                write!(f, "a page fault, {access} at {:#x}", info.address)?;
            }
            vector => write!(f, "exception {vector}")?,
        }
        write!(f, ", instruction at {:#x}", info.instruction)
    }
}
