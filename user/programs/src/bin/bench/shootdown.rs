//! What it takes to make the other CPU forget: the same revoke while a partner runs there and while
//! it sleeps. Both take a mapping of one page away from it; only the first has to tell its CPU.

use core::hint::spin_loop;

use programs::expect;
use rt::{Env, FOREVER, Handle, Mode, Region, Rights, Spawn, sys};

use crate::measure::{now, report};

/// Regions of each partner, one for each sample.
const SAMPLES: usize = 4;
/// Partners of each figure.
const STARTS: usize = 4;
/// Pauses after which the partner sleeps, if it is going to.
const TURNS: u32 = 4096;

const PAGE: u64 = 4096;
const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);
const SHARED: Rights = READ_WRITE.union(Rights::MAP).union(Rights::INSPECT);

/// What the flag says.
const BEGUN: u64 = 0;
const READY: u64 = 1;
const OVER: u64 = 2;

/// The difference, over both CPUs: one tick counts an instruction of either.
pub fn measure(env: &Env) {
    let least = |role| {
        (0..STARTS)
            .map(|_| least_revoke(env.handle(1), role))
            .min()
            .unwrap_or(0)
    };
    let (asleep, running) = (least("asleep"), least("running"));
    report("revoke_mapping_asleep", asleep);
    report("revoke_mapping_running", running);
    report("shootdown_extra", running.saturating_sub(asleep));
}

/// The least that it takes to take a mapping of one page away from a partner on CPU 1.
fn least_revoke(image: Handle, role: &str) -> u64 {
    let flag = expect!(Region::create(PAGE), "bench: a region");
    let view = expect!(flag.map(READ_WRITE), "bench: map");
    let word = view.address() as *mut u64;
    let (wake, sleep) = expect!(rt::ring(64, 2), "bench: a ring");
    let regions: [Region; SAMPLES] =
        core::array::from_fn(|_| expect!(Region::create(PAGE), "bench: a region"));
    let spawn = Spawn::new(image, "bench").arg("shootdown").arg(role);
    let spawn =
        spawn
            .handle(flag.handle(), Mode::Share, SHARED)
            .handle(sleep, Mode::Move, Rights::all());
    let spawn = regions.iter().fold(spawn, |spawn, region| {
        spawn.handle(region.handle(), Mode::Share, SHARED)
    });
    let partner = expect!(spawn.cpus(1 << 1).start(), "bench: starting a partner");
    // SAFETY: the word is mapped as long as `view`, and both sides access it by volatile means.
    while unsafe { word.read_volatile() } == BEGUN {
        spin_loop();
    }
    for _ in 0..TURNS {
        spin_loop();
    }
    let samples = regions.iter().map(|region| {
        let start = now();
        // SAFETY: nobody refers to what the partner has mapped.
        let count = unsafe { sys::cap_revoke(region.handle(), rt::RevokeFlags::empty()) };
        let taken = now() - start;
        expect!(count, "bench: revoke");
        taken
    });
    let least = samples.min().unwrap_or(0);
    // SAFETY: as above.
    unsafe { word.write_volatile(OVER) };
    expect!(rt::drop_handle(wake), "bench: drop");
    let status = expect!(partner.wait(FOREVER), "bench: waiting for a partner");
    if !status.succeeded() {
        rt::println!("bench: a partner failed");
        rt::exit(1);
    }
    least
}

/// The other process: its pages are in its TLB, and then it runs or sleeps until it is over.
pub fn run(env: &Env, role: &str) -> u8 {
    let flag = Region::from_handle(env.handle(0));
    let view = expect!(flag.map(READ_WRITE), "bench: map");
    let word = view.address() as *mut u64;
    let mut receiver = expect!(rt::open_receiver(env.handle(1)), "bench: a ring");
    for index in 0..SAMPLES {
        let region = Region::from_handle(env.handle(2 + index));
        let page = expect!(region.map(READ_WRITE), "bench: map");
        // SAFETY: the page is mapped, and nobody else touches it.
        unsafe { (page.address() as *mut u64).write_volatile(1) };
        // They are the other side's to take away.
        core::mem::forget((region, page));
    }
    // SAFETY: the word is mapped as long as `view`, and both sides access it by volatile means.
    unsafe { word.write_volatile(READY) };
    if role == "running" {
        // SAFETY: as above.
        while unsafe { word.read_volatile() } != OVER {
            spin_loop();
        }
    }
    // Until the other side drops its end.
    while receiver.receive(&mut [0; 8], FOREVER).is_ok() {}
    0
}
