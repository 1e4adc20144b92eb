//! A sleeping round trip and a wakeup are measured of ends that slept, and of no others.

use std::num::NonZeroUsize;
use std::sync::{Mutex, mpsc};

use abi::ring::Geometry;
use handover_bench::arena::Arena;
use handover_bench::beside::{Cpus, Place};
use handover_bench::contender::{Contender, Receiver, Seed, Sender};
use handover_bench::figure::Run;
use handover_bench::measure::{Batch, WakePart};
use handover_bench::message::Sink;
use ring::linux::{self, Futex};
use ring::slot;

/// A ring whose ends look for a while before they sleep.
struct Looking;

struct Producing(slot::Producer<Futex>);
struct Consuming(slot::Consumer<Futex>);

impl Contender<8> for Looking {
    type Sender = Producing;
    type Receiver = Consuming;

    fn open(_: &Arena, slots: usize) -> (Seed<Producing>, Seed<Consuming>) {
        let (producer, consumer) = linux::pair(Geometry::slot(64, slots as u32)).unwrap();
        (
            Box::new(|| Producing(producer.slot().unwrap())),
            Box::new(|| Consuming(consumer.slot().unwrap())),
        )
    }
}

impl Sender<8> for Producing {
    fn try_send(&mut self, message: &[u8; 8]) -> bool {
        self.0.send(message, u64::MAX).is_ok()
    }
}

impl Receiver<8> for Consuming {
    fn try_receive(&mut self, sink: &mut Sink<8>) {
        if self.0.receive(sink.target(), u64::MAX).is_ok() {
            sink.arrived();
        }
    }
}

/// A queue whose ends never sleep.
struct Spinning;

struct Filling(mpsc::SyncSender<[u8; 8]>);
struct Taking(mpsc::Receiver<[u8; 8]>);

impl Contender<8> for Spinning {
    type Sender = Filling;
    type Receiver = Taking;

    fn open(_: &Arena, slots: usize) -> (Seed<Filling>, Seed<Taking>) {
        let (sender, receiver) = mpsc::sync_channel(slots);
        (Box::new(|| Filling(sender)), Box::new(|| Taking(receiver)))
    }
}

impl Sender<8> for Filling {
    fn try_send(&mut self, message: &[u8; 8]) -> bool {
        self.0.try_send(*message).is_ok()
    }
}

impl Receiver<8> for Taking {
    fn try_receive(&mut self, sink: &mut Sink<8>) {
        if let Ok(message) = self.0.try_recv() {
            sink.value(&message);
        }
    }
}

/// One at a time: what another test does to the memory of the process may have an end that looks sleep after all.
static TURN: Mutex<()> = Mutex::new(());

fn measure(run: Run) -> Option<f64> {
    let _turn = TURN.lock();
    let arena = Arena::new(NonZeroUsize::new(1 << 16).unwrap()).unwrap();
    let batch = Batch {
        arena: &arena,
        cpus: Cpus::any().expect("the test runs on one"),
        place: Place::Threads,
        slots: 64,
        count: 16,
    };
    run(batch)
}

/// Each way to measure, and what it gives of a contender.
fn each<C: Contender<8>>() -> [(&'static str, Run); 3] {
    [
        ("round trip", |batch| batch.sleeping_round_trip::<C, 8>()),
        ("latency", |batch| batch.wake::<C, 8>(WakePart::Latency)),
        ("cost", |batch| batch.wake::<C, 8>(WakePart::Sender)),
    ]
}

#[test]
fn ends_that_look_before_they_sleep_are_given_the_time_to() {
    for (name, run) in each::<Looking>() {
        // On a busy machine one of them may not come to it in time.
        let slept = (0..100).find_map(|_| measure(run));
        assert!(slept.is_some(), "{name}");
    }
}

#[test]
fn what_was_measured_while_nobody_slept_is_not_counted() {
    for (name, run) in each::<Spinning>() {
        assert_eq!(measure(run), None, "{name}");
    }
}
