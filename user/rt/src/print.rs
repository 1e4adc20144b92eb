//! Text for the console.

use core::fmt::{self, Write};

use abi::UserPtr;

use crate::sys;

/// Text that fits goes out in one call, so that lines of two processes are not mixed.
const BUFFER: usize = 512;

struct Line {
    bytes: [u8; BUFFER],
    len: usize,
}

impl Line {
    fn flush(&mut self) {
        // SAFETY: the kernel reads the buffer during the call.
        let _ =
            unsafe { sys::debug_write(UserPtr::new(self.bytes.as_ptr() as u64), self.len as u64) };
        self.len = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.len == BUFFER {
                self.flush();
            }
            self.bytes[self.len] = byte;
            self.len += 1;
        }
        Ok(())
    }
}

/// Writes formatted text to the console.
pub fn write(text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; BUFFER],
        len: 0,
    };
    let _ = line.write_fmt(text);
    line.flush();
}

/// Writes formatted text to the console.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => { $crate::print_fmt(format_args!($($text)*)) };
}

/// Writes a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($text:tt)*) => { $crate::print_fmt(format_args!("{}\n", format_args!($($text)*))) };
}
