//! What it takes to tell the other CPU: the same revoke, and the same sleep at a ring, while a partner runs there and
//! while it sleeps. Only the first has to make its CPU forget a page, or execute a barrier.

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

/// The least that each takes beside a partner.
#[derive(Clone, Copy)]
struct Least {
    /// Taking a mapping of one page away from it.
    revoke: u64,
    /// A sleep at an asymmetric ring to it, which ends at once.
    wait: u64,
}

impl Least {
    const NONE: Least = Least {
        revoke: u64::MAX,
        wait: u64::MAX,
    };

    fn and(self, other: Least) -> Least {
        Least {
            revoke: self.revoke.min(other.revoke),
            wait: self.wait.min(other.wait),
        }
    }
}

/// The differences, over both CPUs: one tick counts an instruction of either. Returns what the barrier takes that
/// a sleeper at a ring brings for its peer.
pub fn measure(env: &Env) -> u64 {
    let least = |role| {
        let each = (0..STARTS).map(|_| least_beside(env.handle(1), role));
        each.fold(Least::NONE, Least::and)
    };
    let (asleep, running) = (least("asleep"), least("running"));
    report("revoke_mapping_asleep", asleep.revoke);
    report("revoke_mapping_running", running.revoke);
    report(
        "shootdown_extra",
        running.revoke.saturating_sub(asleep.revoke),
    );
    report("ring_wait_asleep", asleep.wait);
    report("ring_wait_running", running.wait);
    running.wait.saturating_sub(asleep.wait)
}

/// The least of some samples beside a partner on CPU 1.
fn least_beside(image: Handle, role: &str) -> Least {
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
        let revoke = now() - start;
        expect!(count, "bench: revoke");
        let start = now();
        // SAFETY: the call gets no memory. The partner takes nothing, and the deadline is over.
        let waited = unsafe { sys::ring_wait(wake, 1, 1) };
        let wait = now() - start;
        if waited != Err(rt::Error::TimedOut) {
            rt::println!("bench: a wait ended otherwise: {waited:?}");
            rt::exit(1);
        }
        Least { revoke, wait }
    });
    let least = samples.fold(Least::NONE, Least::and);
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
