//! Reading the counter, and what is made of the samples.

/// Samples of each figure. The first ones warm the tables up; the least counts.
const SAMPLES: usize = 32;

/// The time-stamp counter.
#[inline(always)]
pub fn now() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: RDTSC reads a counter, and the kernel leaves it to programs.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
}

/// What reading the counter twice takes.
fn overhead() -> u64 {
    (0..SAMPLES)
        .map(|_| {
            let start = now();
            now() - start
        })
        .min()
        .unwrap_or(0)
}

/// The least that `sample` counts, less the overhead of counting.
pub fn least(mut sample: impl FnMut() -> u64) -> u64 {
    let least = (0..SAMPLES).map(|_| sample()).min().unwrap_or(0);
    least.saturating_sub(overhead())
}

/// The instructions of one call.
#[inline(always)]
pub fn time<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let start = now();
    let value = work();
    (now() - start, value)
}

/// One figure.
pub fn report(key: &str, instructions: u64) {
    rt::println!("#bench key={key} instructions={instructions}");
}

/// Measures one figure, and shows one more sample of it to whoever watches.
pub fn figure(key: &str, mut sample: impl FnMut() -> u64) {
    report(key, least(&mut sample));
    watched(key, sample);
}

/// Runs `work` between two places where the runner, when it traces, stops the machine. The
/// instructions of the figure are those between the two readings of the counter in between.
pub fn watched<T>(key: &str, work: impl FnOnce() -> T) -> T {
    bench_window_begins(key.as_ptr(), key.len());
    let value = work();
    bench_window_ends();
    value
}

/// The runner looks for it by name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn bench_window_begins(key: *const u8, len: usize) {
    core::hint::black_box((key, len));
}

/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn bench_window_ends() {
    core::hint::black_box(());
}

/// Says what a loop of 2,001 instructions reads: anything else means that the counter does not
/// count instructions, and that no figure is worth anything.
pub fn check_counter() {
    let read = least(|| {
        let start = now();
        count_to_a_thousand();
        now() - start
    });
    rt::println!("#calibration expected=2001 instructions={read}");
    if read != 2001 {
        rt::println!("bench: 2,001 instructions read as {read}: is -icount shift=0 on?");
        rt::exit(1);
    }
}

/// 2,001 instructions: one, and a thousand times two.
#[inline(always)]
fn count_to_a_thousand() {
    #[cfg(target_os = "none")]
    // SAFETY: it changes one register that it declares.
    unsafe {
        core::arch::asm!(
            "mov {count:e}, 1000",
            "2: dec {count:e}",
            "jnz 2b",
            count = out(reg) _,
            options(nomem, nostack),
        );
    }
}
