//! How a line of any bytes is shown on a console.

use core::fmt::{self, Write};

/// Bytes of a line that are shown.
pub const SHOWN: usize = 200;

/// A line as it is printed: text as it is, all else by its numbers, and a long one cut off.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(line) = self;
        for chunk in line[..line.len().min(SHOWN)].utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    // What would move the cursor or change colours.
                    '\t' => formatter.write_char('\t')?,
                    _ if character.is_control() => {
                        write!(formatter, "{}", character.escape_default())?
                    }
                    _ => formatter.write_char(character)?,
                }
            }
            for byte in chunk.invalid() {
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        match line.len() {
            0..=SHOWN => Ok(()),
            len => write!(formatter, "… ({len} bytes)"),
        }
    }
}
