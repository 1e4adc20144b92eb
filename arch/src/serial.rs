//! Output on COM1. What one call writes stays together, whichever CPUs write at the same time.

use core::fmt::{self, Write};

use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};

use crate::cpu;

const COM1: u16 = 0x3f8;

static PORT: Mutex<Option<Port>> = Mutex::new(None);

struct Port {
    uart: Uart16550<PioBackend>,
    /// Whether what was written last ended a line.
    at_line_start: bool,
}

impl Port {
    fn send(&mut self, bytes: &[u8]) {
        self.uart.send_bytes_exact(bytes);
        if let Some(last) = bytes.last() {
            self.at_line_start = *last == b'\n';
        }
    }
}

/// Sets the port up. Without a working port all output is dropped.
pub(crate) fn init() {
    // SAFETY: COM1 belongs to this module alone.
    let Ok(mut uart) = (unsafe { Uart16550::new_port(COM1) }) else {
        return;
    };
    if uart.init(Config::default()).is_ok() {
        *PORT.lock() = Some(Port {
            uart,
            at_line_start: true,
        });
    }
}

/// Writes formatted text on a line of its own: ends the line first that a program may have begun.
/// Interrupts are off meanwhile.
pub fn write_line(text: fmt::Arguments) {
    with_port(|port| {
        if !port.at_line_start {
            port.send(b"\n");
        }
        // The port accepts everything; an error can only come from a `Display` that fails, and its text is lost.
        let _ = port.write_fmt(text);
        port.send(b"\n");
    });
}

/// Writes bytes as they are, as a whole.
pub fn write_bytes(bytes: &[u8]) {
    with_port(|port| port.send(bytes));
}

fn with_port(f: impl FnOnce(&mut Port)) {
    cpu::without_interrupts(|| {
        if let Some(port) = PORT.lock().as_mut() {
            f(port);
        }
    });
}

/// Breaks the lock of a CPU that was stopped in the middle of a line.
///
/// # Safety
/// All other CPUs are stopped for ever, and this one is not inside a function of this module.
pub(crate) unsafe fn break_lock() {
    if PORT.is_locked() {
        // SAFETY: whoever held it never runs again.
        unsafe { PORT.force_unlock() };
    }
}

impl Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.send(text.as_bytes());
        Ok(())
    }
}
