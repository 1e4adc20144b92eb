//! `println!` on the serial line: what one call writes is a line of its own, whatever programs wrote before.

/// Writes a line.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => { arch::serial::write_line(format_args!($($argument)*)) };
}
