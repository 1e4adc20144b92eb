//! Monotonic time from the time stamp counter.
//!
//! Calibrated once against channel 2 of the interval timer. The counters of all CPUs are taken to run in step, as
//! they do in an emulator and on all machines with an invariant TSC; nothing here checks it, but `timers.another_clock`
//! of the guest's suite does.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::instructions::port::Port;

const NS_PER_S: u64 = 1_000_000_000;
/// Input of the interval timer in Hz.
const PIT_HZ: u64 = 1_193_182;
/// 10 ms of it.
const PIT_WINDOW: u16 = 11_932;
/// Instructions between two looks at the timer: a port access is slow in an emulator.
const SPINS: u32 = 2_000;

/// Counter value at nanosecond 0.
static BASE: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds of one count, with 32 fractional bits.
static NS_PER_COUNT: AtomicU64 = AtomicU64::new(0);

/// The time stamp counter.
#[inline]
pub fn rdtsc() -> u64 {
    // SAFETY: every x86_64 CPU has it, and CR4.TSD does not bind ring 0.
    unsafe { _rdtsc() }
}

/// Nanoseconds since the clock was set up; never goes back on one CPU.
#[inline]
pub fn now_ns() -> u64 {
    let counts = rdtsc().wrapping_sub(BASE.load(Ordering::Relaxed));
    ((u128::from(counts) * u128::from(NS_PER_COUNT.load(Ordering::Relaxed))) >> 32) as u64
}

/// Spins for `duration_ns` nanoseconds.
pub fn delay_ns(duration_ns: u64) {
    let start = now_ns();
    while now_ns() - start < duration_ns {
        core::hint::spin_loop();
    }
}

/// Calibrates the clock, and with it another counter of unknown rate: returns that counter's rate in Hz.
/// `read` gives its value, which must grow.
pub(crate) fn calibrate(read: impl Fn() -> u64) -> u64 {
    let pit = Pit::start();
    let (first_pit, first_tsc, first_other) = (pit.elapsed(), rdtsc(), read());
    let mut last = first_pit;
    while last.wrapping_sub(first_pit) < PIT_WINDOW {
        for _ in 0..SPINS {
            core::hint::black_box(());
        }
        last = pit.elapsed();
    }
    let (tsc, other) = (rdtsc() - first_tsc, read() - first_other);
    let counts = u128::from(last.wrapping_sub(first_pit));
    let hz = |elapsed: u64| (u128::from(elapsed) * u128::from(PIT_HZ) / counts).max(1) as u64;
    set_rate(hz(tsc));
    BASE.store(rdtsc(), Ordering::Relaxed);
    hz(other)
}

/// Takes the counter to have so many counts a second.
fn set_rate(hz: u64) {
    let ns_per_count = (u128::from(NS_PER_S) << 32) / u128::from(hz);
    NS_PER_COUNT.store(ns_per_count as u64, Ordering::Relaxed);
}

/// Takes the counter to have another rate than was measured.
#[cfg(sabotage)]
pub fn pretend_rate(hz: u64) {
    set_rate(hz);
}

/// Channel 2 of the 8254 interval timer, counting down from 65535 in mode 0.
struct Pit;

impl Pit {
    const COMMAND: u16 = 0x43;
    const CHANNEL_2: u16 = 0x42;
    const GATE: u16 = 0x61;

    fn start() -> Self {
        // SAFETY: nobody else uses channel 2 or its gate (bit 0; bit 1 is the loudspeaker).
        unsafe {
            let mut gate = Port::<u8>::new(Self::GATE);
            let value = gate.read();
            gate.write(value & !0b11 | 0b01);
            Port::<u8>::new(Self::COMMAND).write(0b1011_0000);
            let mut channel = Port::<u8>::new(Self::CHANNEL_2);
            channel.write(0xff);
            channel.write(0xff);
        }
        Self
    }

    /// Counts since the start, modulo 2^16.
    fn elapsed(&self) -> u16 {
        // SAFETY: as in `start`; a latch command and two reads give one consistent value.
        let value = unsafe {
            Port::<u8>::new(Self::COMMAND).write(0b1000_0000);
            let mut channel = Port::<u8>::new(Self::CHANNEL_2);
            u16::from_le_bytes([channel.read(), channel.read()])
        };
        0xffff_u16.wrapping_sub(value)
    }
}
