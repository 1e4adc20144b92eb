//! What takes a second process: starting it, sharing with it, and sleeping rings.

use core::hint::spin_loop;

use programs::expect;
use ring::Unanswered;
use rt::{Duplex, DuplexEnds, Env, FOREVER, Handle, Mode, Process, Region, Rights, Spawn};

use crate::measure::{now, report, watched};
use crate::messages;

/// Round trips and starts of each figure.
const ROUNDS: usize = 64;
const STARTS: usize = 8;
/// Pauses after which the other CPU has found nothing to do and sleeps.
const TURNS: u32 = 4096;

/// Pages that one side has filled when the other touches them.
const SHARED_PAGES: u64 = 512;
const PAGE: u64 = 4096;

/// What the partner writes for this side.
const SHARED: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MAP)
    .union(Rights::INSPECT);

/// `barrier`: with several CPUs, what the barrier takes that a sleeper at a ring brings for a peer which runs.
pub fn measure(env: &Env, barrier: Option<u64>) {
    let image = env.handle(1);
    let page = expect!(Region::create(SHARED_PAGES * PAGE), "bench: a region");
    let mut view = expect!(page.map(Rights::READ | Rights::WRITE), "bench: map");
    // SAFETY: the partner writes the first word only while this side waits for it.
    let bytes = unsafe { view.as_mut_slice((SHARED_PAGES * PAGE) as usize) };
    let Some(bytes) = bytes else { return };
    for offset in (0..bytes.len()).step_by(PAGE as usize) {
        bytes[offset] = 1;
    }
    let word = bytes.as_ptr().cast::<u64>();
    // SAFETY: the word is mapped as long as `view`.
    let answer = || unsafe { word.read_volatile() };

    let start_one = |what: &str| {
        let spawn = Spawn::new(image, "bench").arg("partner").arg(what);
        let spawn = spawn.handle(page.handle(), Mode::Share, SHARED).cpus(1);
        let start = now();
        let partner = expect!(spawn.start(), "bench: starting a partner");
        finish(&partner);
        answer() - start
    };
    let spawned = (0..STARTS).map(|_| start_one("start")).min();
    report("spawn_second", spawned.unwrap_or(0));
    watched("spawn_second", || start_one("start"));

    start_one("touch");
    report("fault_shared", answer());

    match barrier {
        None => report("ring_sleep_round_trip", round_trip(image, 1 << 0)),
        Some(barrier) => {
            let woken = wake_other_cpu(image);
            report("ring_wake_other_cpu", woken);
            report("ring_sleep_other_cpu", woken + barrier);
        }
    }
}

/// A partner that answers, and a ring in each direction to it.
struct Echo {
    rings: Duplex,
    process: Process,
}

impl Echo {
    fn start(image: Handle, cpus: u64) -> Echo {
        let (here, there) = expect!(rt::duplex(64, 8), "bench: two rings");
        let partner = Spawn::new(image, "bench")
            .arg("partner")
            .arg("echo")
            .handle(there.producer, Mode::Move, Rights::all())
            .handle(there.consumer, Mode::Move, Rights::all())
            .cpus(cpus);
        Echo {
            process: expect!(partner.start(), "bench: starting a partner"),
            rings: expect!(rt::open_duplex(here), "bench: two rings"),
        }
    }

    /// Sends a message and waits for the answer: when the partner received it.
    fn pass(&mut self) -> u64 {
        let mut message = [0; 8];
        let received = self.rings.exchange(&[0; 8], &mut message, FOREVER);
        expect!(received, "bench: an exchange");
        u64::from_le_bytes(message)
    }

    /// Lets the partner look in vain until it sleeps: where instructions are the clock, a pause
    /// gives the other CPU its turn, and an end looks a few hundred times at most. Answers the
    /// system calls that the partner has made; each sleep is one.
    fn calls_until_asleep(&self) -> u64 {
        for _ in 0..TURNS {
            spin_loop();
        }
        expect!(self.process.info(), "bench: facts about a partner").syscalls
    }

    fn finish(self) {
        drop(self.rings);
        finish(&self.process);
    }
}

/// The least that a message there and back takes on one CPU, where each side has to sleep for the
/// other to run.
fn round_trip(image: Handle, cpus: u64) -> u64 {
    let mut echo = Echo::start(image, cpus);
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        let start = now();
        echo.pass();
        least = least.min(now() - start);
    }
    watched("ring_sleep_round_trip", || {
        now();
        echo.pass();
        now();
    });
    echo.finish();
    least
}

/// The least from before a message is sent until a sleeper on the other CPU has it. One tick
/// counts an instruction of either CPU, so this is the sum over both. The sleeper's barrier is not in
/// it: it was executed before, and asked no CPU, as the peer slept as well.
fn wake_other_cpu(image: Handle) -> u64 {
    let mut echo = Echo::start(image, 1 << 1);
    let (mut least, mut calls) = (u64::MAX, 0);
    for _ in 0..ROUNDS {
        let before = core::mem::replace(&mut calls, echo.calls_until_asleep());
        if calls == before {
            rt::println!("bench: a partner did not go to sleep");
            rt::exit(1);
        }
        let start = now();
        least = least.min(echo.pass() - start);
    }
    echo.finish();
    least
}

/// Waits for a partner that has to end in order.
pub fn finish(partner: &Process) {
    let status = expect!(partner.wait(FOREVER), "bench: waiting for a partner");
    if !status.succeeded() {
        rt::println!("bench: a partner failed");
        rt::exit(1);
    }
}

/// The other process.
pub fn run(env: &Env, what: &str) -> u8 {
    let begun = now();
    if let Some(status) = messages::partner(env, what) {
        return status;
    }
    match what {
        "echo" => {
            let ends = DuplexEnds {
                producer: env.handle(0),
                consumer: env.handle(1),
            };
            let mut rings = expect!(rt::open_duplex(ends), "bench: two rings");
            let mut message = [0; 8];
            let mut received = rings.receiver.receive(&mut message, FOREVER);
            // Until the other side drops its end.
            while received.is_ok() {
                let answer = now().to_le_bytes();
                let exchanged = rings.exchange(&answer, &mut message, FOREVER);
                received = exchanged.map_err(Unanswered::error);
            }
        }
        _ => {
            let region = Region::from_handle(env.handle(0));
            let mut view = expect!(region.map(Rights::READ | Rights::WRITE), "bench: map");
            // SAFETY: the other side waits until this process has ended.
            let bytes = unsafe { view.as_mut_slice((SHARED_PAGES * PAGE) as usize) };
            let Some(bytes) = bytes else { return 1 };
            let value = if what == "touch" {
                faults_of_touching(bytes)
            } else {
                begun
            };
            bytes[..8].copy_from_slice(&value.to_le_bytes());
        }
    }
    0
}

/// How many faults touching each page takes.
fn faults_of_touching(bytes: &[u8]) -> u64 {
    let faults = || expect!(rt::system_info(), "bench: counters").faults;
    // So that reading the counters itself takes no fault.
    faults();
    let before = faults();
    let mut sum = 0;
    for offset in (0..bytes.len()).step_by(PAGE as usize) {
        sum += u64::from(bytes[offset]);
    }
    core::hint::black_box(sum);
    faults() - before
}
