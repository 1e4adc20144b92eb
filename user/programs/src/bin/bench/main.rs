//! Measures what the kernel's paths cost, in instructions: under `-icount shift=0` the time-stamp
//! counter counts them.
//!
//! Each figure is the least of many samples after a warm-up, the stub of this side included, less
//! what reading the counter takes. Handles: the initrd, and the image of this program.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod basic;
mod growth;
mod measure;
mod memory;
mod messages;
mod partner;
mod shootdown;
mod snapshots;

use programs::expect;
use rt::Env;

rt::entry!(run);

fn run(env: &Env) -> u8 {
    let mut args = env.args().skip(1);
    match args.next() {
        Some("partner") => partner::run(env, args.next().unwrap_or_default()),
        Some("shootdown") => shootdown::run(env, args.next().unwrap_or_default()),
        _ => {
            let env = *env;
            programs::on_first_cpu(move || measure_all(&env));
            0
        }
    }
}

fn measure_all(env: &Env) {
    measure::check_counter();
    basic::run();
    memory::run();
    snapshots::run();
    let several = expect!(rt::system_info(), "bench: counters").cpus > 1;
    let barrier = several.then(|| shootdown::measure(env));
    partner::measure(env, barrier);
    if !several {
        messages::measure(env.handle(1));
        growth::run();
    }
}
