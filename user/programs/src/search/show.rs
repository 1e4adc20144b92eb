//! How a line of any bytes is shown on a console.

use core::fmt::{self, Write};

/// Bytes of a line that are shown.
pub const SHOWN: usize = 200;

/// A line as it is printed: characters of ASCII as they are, all other bytes by their numbers, and a long
/// line cut off.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(line) = self;
        for &byte in line.iter().take(SHOWN) {
            match byte {
                b'\t' | b' '..=b'~' => formatter.write_char(char::from(byte))?,
                // The console has no others, and some would move its cursor.
                _ => write!(formatter, "\\x{byte:02x}")?,
            }
        }
        match line.len() {
            0..=SHOWN => Ok(()),
            len => write!(formatter, "... ({len} bytes)"),
        }
    }
}
