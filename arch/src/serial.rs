//! Output on COM1. What one call writes stays together, whichever CPUs write at the same time.

use core::fmt::{self, Write};

use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};

use crate::cpu;

const COM1: u16 = 0x3f8;

static PORT: Mutex<Option<Uart16550<PioBackend>>> = Mutex::new(None);

/// Sets the port up. Without a working port all output is dropped.
pub(crate) fn init() {
    // SAFETY: COM1 belongs to this module alone.
    let Ok(mut port) = (unsafe { Uart16550::new_port(COM1) }) else {
        return;
    };
    if port.init(Config::default()).is_ok() {
        *PORT.lock() = Some(port);
    }
}

/// Writes formatted text as a whole. Interrupts are off meanwhile.
pub fn write_fmt(text: fmt::Arguments) {
    with_port(|port| {
        // The port accepts everything; an error can only come from a `Display` that fails, and its text is lost.
        let _ = Output(port).write_fmt(text);
    });
}

/// Writes bytes as they are, as a whole.
pub fn write_bytes(bytes: &[u8]) {
    with_port(|port| port.send_bytes_exact(bytes));
}

fn with_port(f: impl FnOnce(&mut Uart16550<PioBackend>)) {
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

struct Output<'a>(&'a mut Uart16550<PioBackend>);

impl Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.send_bytes_exact(text.as_bytes());
        Ok(())
    }
}
