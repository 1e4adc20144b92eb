//! Reading the counter, and what is made of the samples.

/// Samples of each figure. The first ones warm the tables up; the least counts.
pub const SAMPLES: usize = 32;

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
