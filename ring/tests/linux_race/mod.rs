//! Rounds in which what one end publishes races with the other end as it goes to sleep.
//!
//! Where the two meet in a round is left to chance, moved about by pauses. That both do sleep is not: from time to time an
//! end does nothing before it has seen the other asleep in its system call, off its CPU, as then only a wake ends it.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use ring::linux::{Futex, Geometry, Setup, deadline_in};
use ring::{Consumer, Error, Producer, RingKind, Wait};

/// How long somebody waits for what has to come.
const SOON: Duration = Duration::from_secs(30);

/// Each end waits once in so many rounds for the other one to sleep.
const SEEN_ASLEEP_EVERY: u32 = 1000;

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
#[derive(Clone)]
struct Thread(PathBuf);

impl Thread {
    fn current() -> Self {
        let of_process = fs::read_link("/proc/thread-self").unwrap();
        Self(PathBuf::from("/proc").join(of_process))
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

/// What became of an end.
pub struct Slept {
    /// How often the other end has seen it asleep, and has woken it then.
    pub seen: u32,
    /// How often it went off its CPU altogether.
    pub off_cpu: u64,
}

/// Passes some time, so that what one side does moves across what the other does meanwhile.
fn pause(random: &mut fastrand::Rng) {
    for _ in 0..random.u32(0..200) {
        std::hint::spin_loop();
    }
}

/// Sends so many messages, each with two races: either end sleeps as soon as it has nothing to do, without looking for long.
/// Returns how the producer and the consumer slept.
pub fn race<K: Kind>(form: impl Fn(Setup) -> Setup, rounds: u32) -> (Slept, Slept) {
    let (producer, consumer) = form(Setup::new(K::GEOMETRY)).pair().unwrap();
    let mut producer = producer.attach::<K>().unwrap();
    let mut consumer = consumer.attach::<K>().unwrap();
    let length = producer.max_message_bytes();
    let receiver = Thread::current();
    thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let sends = scope.spawn({
            let receiver = receiver.clone();
            move || {
                let sender = Thread::current();
                tell.send(sender.clone()).unwrap();
                let mut random = fastrand::Rng::with_seed(1);
                let mut message = vec![0; length];
                let mut receiver_seen = 0;
                for round in 0..rounds {
                    match round % SEEN_ASLEEP_EVERY {
                        // Everything sent before is received, or will be, and then nothing is there.
                        0 => {
                            receiver.watch_until_asleep();
                            receiver_seen += 1;
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
                (sender.times_off_cpu(), receiver_seen)
            }
        });
        let sender = told.recv().unwrap();
        let before = receiver.times_off_cpu();
        let mut random = fastrand::Rng::with_seed(2);
        let (mut bytes, mut expected) = (vec![0; length], vec![0; length]);
        let mut sender_seen = 0;
        for round in 0..rounds {
            match round % SEEN_ASLEEP_EVERY {
                // It sends this message, has another one, and no room for it.
                2 if round + 1 < rounds => {
                    sender.watch_until_asleep();
                    sender_seen += 1;
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
        let consumer_off_cpu = receiver.times_off_cpu() - before;
        let (producer_off_cpu, receiver_seen) = sends.join().unwrap();
        let slept = |seen, off_cpu| Slept { seen, off_cpu };
        (
            slept(sender_seen, producer_off_cpu),
            slept(receiver_seen, consumer_off_cpu),
        )
    })
}
