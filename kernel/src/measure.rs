//! What no program can measure, because it is within a call. Asked for by `measure` on the command
//! line; the figures are lines for the runner's benchmark, as those of the program `bench` are.
//!
//! Each is the least of many samples after a warm-up, less what reading the counter takes. Under
//! `-icount shift=0` the counter counts instructions.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Error, Handle, ObjectKind, Rights};
use arch::{clock, cpu};
use ipc::Domain;
use mm::{Budget, FrameState, Frames};

use crate::machine::{Kernel, ipc};
use crate::{heap, random};

const SAMPLES: usize = 32;

/// Measures and prints.
pub fn run() {
    let memory = ipc().platform();
    report("frame_cached", || frame_cached(memory));
    if measure_look_up().is_err() {
        println!("kernel: no memory to measure a look-up");
    }
}

/// A process finds what a handle stands for, as every call does first.
fn measure_look_up() -> Result<(), Error> {
    heap::ensure().map_err(|_| Error::NoMemory)?;
    let memory = ipc().memory();
    let domain = ipc().create_domain(memory.account(), random::mapping_base())?;
    let handle = ipc().create_notification(&domain);
    if let Ok(handle) = handle {
        let bits = AtomicU64::new(handle.bits());
        let process = Caller {
            domain: &domain,
            bits,
        };
        report_beyond("look_up", || process.look_up(), || _ = process.handle());
    }
    ipc().clear_domain(&domain);
    memory.destroy_space(domain.space());
    handle.map(drop)
}

/// A process that has a notification.
struct Caller<'a> {
    domain: &'a Domain<Kernel>,
    bits: AtomicU64,
}

impl Caller<'_> {
    /// Its handle, read anew each time, or half of the way from there would be gone before.
    #[inline(always)]
    fn handle(&self) -> Handle {
        Handle::from_bits(self.bits.load(Ordering::Relaxed))
    }

    /// The place of the handle is found and held, what is there is live, the process's, of this kind and with
    /// this right, and the place is let go.
    #[inline(always)]
    fn look_up(&self) {
        let (kind, rights) = (Some(ObjectKind::Notification), Rights::SIGNAL);
        let found = self.domain.with_node(self.handle(), kind, rights, |_| {
            // Only what has passed all checks comes here.
            core::hint::black_box(());
            Ok(())
        });
        debug_assert!(found.is_ok());
    }
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
    report_beyond(key, work, || ());
}

/// The same less what something else takes.
fn report_beyond(key: &str, work: impl Fn(), other: impl Fn()) {
    let counts =
        cpu::without_interrupts(|| least(Some(key), work).saturating_sub(least(None, other)));
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
