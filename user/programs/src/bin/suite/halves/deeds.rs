//! What a side of a conversation does between two turns.

use alloc::boxed::Box;

use rt::{Handle, Region};

use crate::threads::word_of_fs;

/// The turn before which a side becomes unlike the other one.
pub const MIDDLE: u64 = 100;
/// Turns after which traces begin and end again, and when those of each side do.
pub const PERIOD: u64 = 40;
pub const OF_CALLER: [u64; 2] = [10, 25];
pub const OF_SERVER: [u64; 2] = [30, 38];

/// What a side does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Nothing,
    /// Begins a trace and ends it, in these turns of each period.
    Traces([u64; 2]),
    /// Uses SSE for the first time in the middle.
    UsesVectors,
    /// Sets the base of FS for the first time in the middle.
    SetsBase,
}

/// All that a server may do, which is told of it by its place here.
pub const DEEDS: [Deed; 4] = [
    Deed::Nothing,
    Deed::Traces(OF_SERVER),
    Deed::UsesVectors,
    Deed::SetsBase,
];

/// Who does it.
pub struct Doer {
    deed: Deed,
    /// A number that nobody else has, by which it knows what is its own.
    number: u64,
    devices: Handle,
    trace: Option<Region>,
}

impl Doer {
    pub fn new(deed: Deed, number: u64, devices: Handle) -> Doer {
        Doer {
            deed,
            number,
            devices,
            trace: None,
        }
    }

    pub fn before(&mut self, turn: u64) {
        match self.deed {
            Deed::Nothing => {}
            Deed::Traces([first, last]) => {
                if turn % PERIOD == first {
                    let trace = rt::trace_start(self.devices, 64);
                    self.trace = Some(done!(trace, "a trace that begins in turn {turn}"));
                } else if turn % PERIOD == last {
                    // By its last capability.
                    self.trace = None;
                }
            }
            Deed::UsesVectors => {
                if turn == MIDDLE {
                    fill_vectors(self.number);
                }
                check!(
                    turn < MIDDLE || vectors_hold(self.number),
                    "the vectors of {} in turn {turn}",
                    self.number
                );
            }
            Deed::SetsBase => {
                if turn == MIDDLE {
                    let word: &'static u64 = Box::leak(Box::new(self.number));
                    // SAFETY: nothing but `word_of_fs` uses the segment.
                    let set = unsafe { rt::set_tls_base(core::ptr::from_ref(word) as u64) };
                    done!(set, "the base of FS");
                }
                check!(
                    turn < MIDDLE || word_of_fs() == self.number,
                    "the word of {} in turn {turn}",
                    self.number
                );
            }
        }
    }
}

#[cfg(target_os = "none")]
fn fill_vectors(pattern: u64) {
    // SAFETY: programs are compiled without SSE, so nobody else uses the registers.
    unsafe {
        core::arch::asm!(
            "movq xmm0, {0}",
            "movq xmm15, {0}",
            "pslldq xmm15, 8",
            in(reg) pattern,
            options(nomem, nostack),
        );
    }
}

#[cfg(target_os = "none")]
fn vectors_hold(pattern: u64) -> bool {
    let (low, high): (u64, u64);
    // SAFETY: as above; the upper half is where it was afterwards.
    unsafe {
        core::arch::asm!(
            "movq {0}, xmm0",
            "psrldq xmm15, 8",
            "movq {1}, xmm15",
            "pslldq xmm15, 8",
            out(reg) low,
            out(reg) high,
            options(nomem, nostack),
        );
    }
    low == pattern && high == pattern
}

#[cfg(not(target_os = "none"))]
fn fill_vectors(_: u64) {}

#[cfg(not(target_os = "none"))]
fn vectors_hold(_: u64) -> bool {
    true
}
