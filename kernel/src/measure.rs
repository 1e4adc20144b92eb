//! What no program can measure, because it is within a call. Asked for by `measure` on the command
//! line; the figures are lines for the runner's benchmark, as those of the program `bench` are.
//!
//! Each is the least of many samples after a warm-up, less what reading the counter takes. Under
//! `-icount shift=0` the counter counts instructions.

use core::hint::black_box;

use arch::{clock, cpu};
use mm::{Budget, FrameState, Frames};

use crate::machine::ipc;

const SAMPLES: usize = 32;

/// Measures and prints.
pub fn run() {
    report("frame_cached", frame_cached);
}

/// A frame is taken, becomes a page, stops being one and is given back.
fn frame_cached() {
    let memory = ipc().platform();
    let Some(frame) = memory.allocate(black_box(None), Budget::Open) else {
        return;
    };
    let meta = memory.meta(frame);
    meta.transition(FrameState::Free, FrameState::Region);
    meta.transition(FrameState::Region, FrameState::Free);
    memory.free(black_box(frame), Budget::Open);
}

fn report(key: &str, work: fn()) {
    let least = |work: fn()| {
        let sample = |_| {
            let start = clock::rdtsc();
            work();
            clock::rdtsc() - start
        };
        (0..SAMPLES).map(sample).min().unwrap_or(0)
    };
    let counts = cpu::without_interrupts(|| least(work) - least(|| ()));
    println!("#bench key={key} instructions={counts}");
}
