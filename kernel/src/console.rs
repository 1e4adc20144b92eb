//! `print!` and `println!` on the serial line: what one call writes stays together.

/// Writes formatted text.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { arch::serial::write_fmt(format_args!($($argument)*)) };
}

/// Writes a line.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($argument:tt)*) => { $crate::print!("{}\n", format_args!($($argument)*)) };
}
