//! What no program can measure, because it is within a call. Asked for by `measure` on the command
//! line; the figures are lines for the runner's benchmark, as those of the program `bench` are.
//!
//! Each is the least of many samples after a warm-up, less what reading the counter takes. Under
//! `-icount shift=0` the counter counts instructions.

use arch::{clock, cpu};
use mm::{Budget, FrameState, Frames};

use crate::machine::{Kernel, ipc};

const SAMPLES: usize = 32;

/// Measures and prints.
pub fn run() {
    let memory = ipc().platform();
    report("frame_cached", || frame_cached(memory));
}

/// A frame is taken, becomes a page, stops being one and is given back.
#[inline(always)]
fn frame_cached(memory: &Kernel) {
    let Some(frame) = memory.allocate(None, Budget::Open) else {
        return;
    };
    let meta = memory.meta(frame);
    meta.transition(FrameState::Free, FrameState::Region);
    meta.transition(FrameState::Region, FrameState::Free);
    memory.free(frame, Budget::Open);
}

fn report(key: &str, work: impl Fn()) {
    let counts =
        cpu::without_interrupts(|| least(Some(key), work).saturating_sub(least(None, || ())));
    println!("#bench key={key} instructions={counts}");
}

/// The last sample is shown under `key` to whoever watches.
fn least(key: Option<&str>, work: impl Fn()) -> u64 {
    let sample = |index| {
        let shown = key.filter(|_| index + 1 == SAMPLES);
        if let Some(key) = shown {
            bench_window_begins(key.as_ptr(), key.len());
        }
        let start = clock::rdtsc();
        work();
        let taken = clock::rdtsc() - start;
        if shown.is_some() {
            bench_window_ends();
        }
        taken
    };
    (0..SAMPLES).map(sample).min().unwrap_or(0)
}

/// The runner, when it traces, looks for it by name and stops the machine here. The instructions of
/// the figure are those between the two readings of the counter that follow.
#[inline(never)]
extern "C" fn bench_window_begins(key: *const u8, len: usize) {
    core::hint::black_box((key, len));
}

/// As above, where the sample is over.
#[inline(never)]
extern "C" fn bench_window_ends() {
    core::hint::black_box(());
}
