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
    let counts = cpu::without_interrupts(|| least(work).saturating_sub(least(|| ())));
    println!("#bench key={key} instructions={counts}");
}

fn least(work: impl Fn()) -> u64 {
    let sample = |_| {
        let start = clock::rdtsc();
        work();
        clock::rdtsc() - start
    };
    (0..SAMPLES).map(sample).min().unwrap_or(0)
}
