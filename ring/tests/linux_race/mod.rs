//! Rounds in which what one end publishes races with the other end as it goes to sleep.
//!
//! Where the two meet in a round is left to chance, moved about by pauses. That both do sleep is not: from time to time an
//! end does nothing before it has seen the other asleep in its system call, off its CPU, as then only a wake ends it. The two
//! are threads of one process or of two.
#![allow(dead_code, reason = "each test program uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ring::linux::{Futex, Geometry, Setup, deadline_in};
use ring::{Consumer, Error, Producer, RingKind, Wait};

/// How long somebody waits for what has to come.
const SOON: Duration = Duration::from_secs(30);

/// Each end waits once in so many rounds for the other one to sleep.
const SEEN_ASLEEP_EVERY: u32 = 1000;

/// How many messages are sent, each with two races of a publication against a sleeper: as many as usual unless asked for more.
pub fn rounds(usual: u32) -> u32 {
    let asked = std::env::var("HANDOVER_RING_ROUNDS").ok();
    asked.map_or(usual, |rounds| rounds.parse().unwrap())
}

/// A kind of ring of which one message takes all, so that each end has to wait for the other after each.
///
/// The message is large: its stores wait for cache lines that the consumer has read, and what publishes it waits behind them,
/// in the store buffer, while the producer looks whether somebody sleeps.
pub trait Kind: RingKind + Send {
    const GEOMETRY: Geometry;

    fn send(producer: &mut Producer<Self, Futex>, bytes: &[u8]) -> Result<(), Error>;

    fn receive(consumer: &mut Consumer<Self, Futex>, target: &mut [u8]) -> Result<(), Error>;

    /// What the producer waits for: room for a message.
    fn room(producer: &Producer<Self, Futex>) -> u32;
}

impl Kind for ring::slot::Slot {
    const GEOMETRY: Geometry = Geometry::slot(4096, 1);

    fn send(producer: &mut Producer<Self, Futex>, bytes: &[u8]) -> Result<(), Error> {
        producer.try_send(bytes)
    }

    fn receive(consumer: &mut Consumer<Self, Futex>, target: &mut [u8]) -> Result<(), Error> {
        let length = consumer.try_receive(target)?;
        assert_eq!(length, target.len());
        Ok(())
    }

    fn room(_: &Producer<Self, Futex>) -> u32 {
        1
    }
}

impl Kind for ring::packet::Packet {
    const GEOMETRY: Geometry = Geometry::packet(4096);

    fn send(producer: &mut Producer<Self, Futex>, bytes: &[u8]) -> Result<(), Error> {
        producer.try_send(7, bytes)
    }

    fn receive(consumer: &mut Consumer<Self, Futex>, target: &mut [u8]) -> Result<(), Error> {
        let received = consumer.try_receive(target)?;
        assert_eq!(received, (7, target.len()));
        Ok(())
    }

    fn room(producer: &Producer<Self, Futex>) -> u32 {
        let longest = producer.max_message_bytes();
        producer.bytes_of_ring(longest).unwrap()
    }
}

impl Kind for ring::byte::Byte {
    const GEOMETRY: Geometry = Geometry::byte(4096);

    fn send(producer: &mut Producer<Self, Futex>, bytes: &[u8]) -> Result<(), Error> {
        let written = producer.try_write(bytes)?;
        assert_eq!(written, bytes.len());
        Ok(())
    }

    fn receive(consumer: &mut Consumer<Self, Futex>, target: &mut [u8]) -> Result<(), Error> {
        let read = consumer.try_read(target)?;
        assert_eq!(read, target.len());
        Ok(())
    }

    fn room(producer: &Producer<Self, Futex>) -> u32 {
        producer.capacity()
    }
}

/// A thread, as the system tells of it.
pub struct Thread(PathBuf);

impl Thread {
    pub fn current() -> Self {
        let of_process = fs::read_link("/proc/thread-self").unwrap();
        Self(PathBuf::from("/proc").join(of_process))
    }

    /// Tells another process of this thread, by a file.
    pub fn tell_of_current(file: &Path) {
        // SAFETY: it only lets other processes look at this one.
        unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
        fs::write(file, Self::current().0.to_str().unwrap()).unwrap();
    }

    /// The thread that a file tells of.
    pub fn told_by(file: &Path) -> Self {
        Self(fs::read_to_string(file).unwrap().into())
    }

    /// Whether it is off its CPU in the system call in which an end sleeps.
    fn is_asleep(&self) -> bool {
        let call = fs::read_to_string(self.0.join("syscall")).unwrap();
        let number = call.split_whitespace().next().unwrap();
        number.parse() == Ok(libc::SYS_futex_waitv)
    }

    /// Returns once it has been seen asleep.
    fn watch_until_asleep(&self) {
        let begun = Instant::now();
        while !self.is_asleep() {
            assert!(begun.elapsed() < SOON, "an end with nothing to do is awake");
            thread::yield_now();
        }
    }

    /// How often it has gone off its CPU of its own accord.
    fn times_off_cpu(&self) -> u64 {
        let status = fs::read_to_string(self.0.join("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }
}

/// Passes some time, so that what one side does moves across what the other does meanwhile.
fn pause(random: &mut fastrand::Rng) {
    for _ in 0..random.u32(0..200) {
        std::hint::spin_loop();
    }
}

/// How an end passed all rounds.
pub struct Passed {
    /// How often it has seen the other end asleep, and has woken it then.
    pub other_seen: u32,
    /// How often it went off its CPU of its own accord.
    pub off_cpu: u64,
}

/// Sends a message in each round, to who is in another thread.
pub fn send_all<K: Kind>(
    mut producer: Producer<K, Futex>,
    receiver: &Thread,
    rounds: u32,
) -> Passed {
    let sender = Thread::current();
    let before = sender.times_off_cpu();
    let mut random = fastrand::Rng::with_seed(1);
    let mut message = vec![0; producer.max_message_bytes()];
    let mut other_seen = 0;
    for round in 0..rounds {
        match round % SEEN_ASLEEP_EVERY {
            // Everything sent before is received, or will be, and then nothing is there.
            0 => {
                receiver.watch_until_asleep();
                other_seen += 1;
            }
            _ => pause(&mut random),
        }
        message.fill(round as u8);
        while let Err(error) = K::send(&mut producer, &message) {
            assert_eq!(error, Error::Full);
            if let Some(seen) = producer.arm(K::room(&producer)).unwrap() {
                let waited = producer.waiter().wait(seen, deadline_in(SOON));
                assert_eq!(waited, Ok(()), "the producer was not woken");
            }
            producer.disarm();
        }
    }
    let off_cpu = sender.times_off_cpu() - before;
    Passed {
        other_seen,
        off_cpu,
    }
}

/// Receives the message of each round, from who is in another thread.
pub fn receive_all<K: Kind>(
    mut consumer: Consumer<K, Futex>,
    sender: &Thread,
    rounds: u32,
) -> Passed {
    let receiver = Thread::current();
    let before = receiver.times_off_cpu();
    let mut random = fastrand::Rng::with_seed(2);
    let length = consumer.max_message_bytes();
    let (mut bytes, mut expected) = (vec![0; length], vec![0; length]);
    let mut other_seen = 0;
    for round in 0..rounds {
        match round % SEEN_ASLEEP_EVERY {
            // It sends this message, has another one, and no room for it.
            2 if round + 1 < rounds => {
                sender.watch_until_asleep();
                other_seen += 1;
            }
            _ => pause(&mut random),
        }
        while let Err(error) = K::receive(&mut consumer, &mut bytes) {
            assert_eq!(error, Error::Empty);
            if let Some(seen) = consumer.arm().unwrap() {
                let waited = consumer.waiter().wait(seen, deadline_in(SOON));
                assert_eq!(waited, Ok(()), "the consumer was not woken");
            }
            consumer.disarm();
        }
        expected.fill(round as u8);
        assert!(bytes == expected, "another message in round {round}");
    }
    let off_cpu = receiver.times_off_cpu() - before;
    Passed {
        other_seen,
        off_cpu,
    }
}

/// Sends so many messages, each with two races: either end sleeps as soon as it has nothing to do, without looking for long.
/// Returns how the producer and the consumer passed them.
pub fn race<K: Kind>(form: impl Fn(Setup) -> Setup, rounds: u32) -> (Passed, Passed) {
    let (producer, consumer) = form(Setup::new(K::GEOMETRY)).pair().unwrap();
    let producer = producer.attach::<K>().unwrap();
    let consumer = consumer.attach::<K>().unwrap();
    let receiver = Thread::current();
    thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let sends = scope.spawn(move || {
            tell.send(Thread::current()).unwrap();
            send_all(producer, &receiver, rounds)
        });
        let sender = told.recv().unwrap();
        let received = receive_all(consumer, &sender, rounds);
        (sends.join().unwrap(), received)
    })
}

/// Says how often the ends slept: a wakeup can be lost of who sleeps alone.
pub fn assert_both_slept(name: &str, rounds: u32, (producer, consumer): (Passed, Passed)) {
    for (end, of_it, of_other) in [
        ("producer", &producer, &consumer),
        ("consumer", &consumer, &producer),
    ] {
        let (off_cpu, seen) = (of_it.off_cpu, of_other.other_seen);
        println!(
            "{name}: {rounds} messages; the {end} was off its CPU {off_cpu} times, and seen asleep there {seen} times"
        );
        assert!(
            seen > 0 && off_cpu >= seen.into(),
            "{name}: the {end} never slept"
        );
    }
}
