//! The measurements: each runs one batch and answers what a message took, or nothing when the batch was disturbed.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::beside::{Cpus, Milestone, Patience, Place, preemptions, sleeps};
use crate::contender::{Contender, Receiver, Sender};
use crate::message::{Sink, Source};

/// What a batch needs to know.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// Memory of both ends; everything in it is lost afterwards.
    pub arena: &'a Arena,
    /// Where the two ends run.
    pub cpus: Cpus,
    /// Threads or processes.
    pub place: Place,
    /// Messages that the way has room for, as [`crate::figure::Row::slots`] says.
    pub slots: usize,
    /// Messages, or round trips, that are timed.
    pub count: u64,
}

#[derive(Default)]
struct Control {
    far: Milestone,
    near: Milestone,
    far_preemptions: AtomicU64,
    stamp_ns: AtomicU64,
}

/// In place of a time: who was to sleep has not.
const AWAKE: u64 = u64::MAX;

fn lower_quartile(mut samples: Vec<u64>) -> Option<f64> {
    samples.sort_unstable();
    samples.get(samples.len() / 4).map(|sample| *sample as f64)
}

fn nanoseconds(time: Duration, count: u64) -> f64 {
    time.as_nanos() as f64 / count as f64
}

#[inline]
fn send_count<const N: usize>(sender: &mut impl Sender<N>, source: &mut Source<N>, count: u64) {
    let mut patience = Patience::default();
    for _ in 0..count {
        let message = source.message();
        while !sender.try_send(message) {
            patience.spin();
        }
    }
}

#[inline]
fn receive_until<const N: usize>(receiver: &mut impl Receiver<N>, sink: &mut Sink<N>, count: u64) {
    let mut patience = Patience::default();
    while sink.count() < count {
        let before = sink.count();
        receiver.try_receive(sink);
        if sink.count() == before {
            patience.spin();
        }
    }
}

impl Batch<'_> {
    /// Twice round the ring: caches, page tables and branch predictors are warm then.
    fn warm_up(&self) -> u64 {
        2 * self.slots as u64
    }

    /// # Safety
    /// As [`Arena::reuse`].
    unsafe fn finish(&self) {
        // SAFETY: passed on.
        unsafe { self.arena.reuse() };
    }

    /// Nanoseconds a message when one end does nothing but send and the other nothing but receive.
    pub fn throughput<C: Contender<N>, const N: usize>(self) -> Option<f64> {
        self.streamed::<C, N>(send_count)
    }

    /// The same with `BATCH` messages given to the sender at a time.
    pub fn batches<C: Contender<N>, const N: usize, const BATCH: usize>(self) -> Option<f64> {
        self.streamed::<C, N>(|sender, source, count| {
            let mut patience = Patience::default();
            let mut messages = [[0; N]; BATCH];
            let mut left = count as usize;
            while left > 0 {
                let messages = &mut messages[..BATCH.min(left)];
                source.fill(messages);
                let mut sent = 0;
                while sent < messages.len() {
                    match sender.try_send_all(&messages[sent..]) {
                        0 => patience.spin(),
                        more => sent += more,
                    }
                }
                left -= sent;
            }
        })
    }

    fn streamed<C: Contender<N>, const N: usize>(
        self,
        send: impl Fn(&mut C::Sender, &mut Source<N>, u64),
    ) -> Option<f64> {
        let control: &Control = self.arena.place(Control::default());
        let (sender, receiver) = C::open(self.arena, self.slots);
        let (warm_up, count) = (self.warm_up(), self.count);
        let far = move || {
            let mut receiver = receiver();
            let mut sink = Sink::default();
            control.far.reach(1);
            receive_until(&mut receiver, &mut sink, warm_up);
            let before = preemptions();
            control.far.reach(2);
            receive_until(&mut receiver, &mut sink, warm_up + count);
            control.far.reach(3);
            assert!(sink.is_sound(), "a message was lost or torn");
            control.tell_preemptions(before);
        };
        let near = move || {
            let mut sender = sender();
            let mut source = Source::default();
            control.far.wait(1);
            send(&mut sender, &mut source, warm_up);
            control.far.wait(2);
            let before = preemptions();
            let begun = Instant::now();
            send(&mut sender, &mut source, count);
            control.far.wait(3);
            let time = begun.elapsed();
            (control.undisturbed(before)).then(|| nanoseconds(time, count))
        };
        let answer = self.cpus.beside(self.place, far, near);
        // SAFETY: both parts have ended and their ends with them.
        unsafe { self.finish() };
        answer
    }

    /// Nanoseconds for sending and receiving one message in one thread.
    pub fn one_thread<C: Contender<N>, const N: usize>(self) -> Option<f64> {
        let (sender, receiver) = C::open(self.arena, self.slots);
        let (mut sender, mut receiver) = (sender(), receiver());
        let (mut source, mut sink) = (Source::default(), Sink::default());
        let mut rounds = |count: u64| {
            for _ in 0..count {
                assert!(sender.try_send(source.message()));
                receiver.try_receive(&mut sink);
            }
        };
        rounds(self.warm_up());
        let before = preemptions();
        let begun = Instant::now();
        rounds(self.count);
        let time = begun.elapsed();
        let disturbed = preemptions() != before;
        assert_eq!(sink.count(), self.warm_up() + self.count);
        assert!(sink.is_sound(), "a message was lost or torn");
        drop((sender, receiver));
        // SAFETY: the ends are gone.
        unsafe { self.finish() };
        (!disturbed).then(|| nanoseconds(time, self.count))
    }

    /// Nanoseconds until a message has come back.
    pub fn round_trip<C: Contender<N>, const N: usize>(self) -> Option<f64> {
        let control: &Control = self.arena.place(Control::default());
        let (there_sender, there_receiver) = C::open(self.arena, self.slots);
        let (back_sender, back_receiver) = C::open(self.arena, self.slots);
        let (warm_up, count) = (self.warm_up().min(self.count), self.count);
        let far = move || {
            let (mut receiver, mut sender) = (there_receiver(), back_sender());
            let (mut source, mut sink) = (Source::default(), Sink::default());
            control.far.reach(1);
            let before = preemptions();
            for number in 1..=warm_up + count {
                receive_until(&mut receiver, &mut sink, number);
                send_count(&mut sender, &mut source, 1);
            }
            assert!(sink.is_sound(), "a message was lost or torn");
            control.tell_preemptions(before);
            control.near.wait(1);
        };
        let near = move || {
            let (mut sender, mut receiver) = (there_sender(), back_receiver());
            let (mut source, mut sink) = (Source::default(), Sink::default());
            control.far.wait(1);
            let mut trips = |count| {
                for _ in 0..count {
                    send_count(&mut sender, &mut source, 1);
                    let number = sink.count() + 1;
                    receive_until(&mut receiver, &mut sink, number);
                }
            };
            trips(warm_up);
            let before = preemptions();
            let begun = Instant::now();
            trips(count);
            let time = begun.elapsed();
            control.near.reach(1);
            assert!(sink.is_sound(), "a message was lost or torn");
            control
                .undisturbed(before)
                .then(|| nanoseconds(time, count))
        };
        let answer = self.cpus.beside(self.place, far, near);
        // SAFETY: both parts have ended and their ends with them.
        unsafe { self.finish() };
        answer
    }

    /// Nanoseconds until a message has come back when both ends sleep until theirs comes, the quickest quarter of `count`.
    /// Each message is sent only after its receiver had the time to fall asleep, which is not counted; a trip on which
    /// one of them has not slept is thrown away.
    pub fn sleeping_round_trip<C: Contender<N>, const N: usize>(self) -> Option<f64> {
        let control: &Control = self.arena.place(Control::default());
        let (there_sender, there_receiver) = C::open(self.arena, self.slots);
        let (back_sender, back_receiver) = C::open(self.arena, self.slots);
        let count = self.count;
        let far = move || {
            let (mut receiver, mut sender) = (there_receiver(), back_sender());
            let (mut source, mut sink) = (Source::default(), Sink::default());
            control.far.reach(1);
            for number in 1..=count {
                let before = sleeps();
                receive_until(&mut receiver, &mut sink, number);
                let begun = Instant::now();
                let slept = sleeps() != before;
                fall_asleep();
                let pause = begun.elapsed().as_nanos() as u64;
                let told = if slept { pause } else { AWAKE };
                // Before the message, which makes it visible.
                control.stamp_ns.store(told, Ordering::Relaxed);
                send_count(&mut sender, &mut source, 1);
            }
            assert!(sink.is_sound(), "a message was lost or torn");
            control.near.wait(1);
        };
        let near = move || {
            let (mut sender, mut receiver) = (there_sender(), back_receiver());
            let (mut source, mut sink) = (Source::default(), Sink::default());
            let mut samples = Vec::new();
            control.far.wait(1);
            for number in 1..=count {
                fall_asleep();
                let before = sleeps();
                let begun = Instant::now();
                send_count(&mut sender, &mut source, 1);
                receive_until(&mut receiver, &mut sink, number);
                let time = begun.elapsed().as_nanos() as u64;
                let pause = control.stamp_ns.load(Ordering::Relaxed);
                if sleeps() != before && pause != AWAKE {
                    samples.push(time.saturating_sub(pause));
                }
            }
            control.near.reach(1);
            assert!(sink.is_sound(), "a message was lost or torn");
            lower_quartile(samples)
        };
        let answer = self.cpus.beside(self.place, far, near);
        // SAFETY: both parts have ended and their ends with them.
        unsafe { self.finish() };
        answer
    }

    /// Nanoseconds of waking a receiver that sleeps, the lower quartile of `count` or fewer: from before the message is sent
    /// until the receiver has it, or until the sender goes on. A message for which it has not slept is thrown away.
    pub fn wake<C: Contender<N>, const N: usize>(self, part: WakePart) -> Option<f64> {
        let control: &Control = self.arena.place(Control::default());
        let (sender, receiver) = C::open(self.arena, self.slots);
        let count = self.count;
        let begun = Instant::now();
        let far = move || {
            let mut receiver = receiver();
            let mut sink = Sink::default();
            for number in 1..=count {
                let before = sleeps();
                control.far.reach(number as u32);
                receive_until(&mut receiver, &mut sink, number);
                let now = begun.elapsed().as_nanos() as u64;
                let slept = sleeps() != before;
                let told = if slept { now } else { AWAKE };
                control.stamp_ns.store(told, Ordering::Relaxed);
            }
            assert!(sink.is_sound(), "a message was lost or torn");
            control.far.reach(count as u32 + 1);
        };
        let near = move || {
            let mut sender = sender();
            let mut source = Source::default();
            let mut samples = Vec::new();
            for number in 1..=count as u32 {
                control.far.wait(number);
                fall_asleep();
                let before = begun.elapsed().as_nanos() as u64;
                send_count(&mut sender, &mut source, 1);
                let sent = begun.elapsed().as_nanos() as u64;
                control.far.wait(number + 1);
                let received = control.stamp_ns.load(Ordering::Relaxed);
                if received != AWAKE {
                    samples.push(match part {
                        WakePart::Latency => received.saturating_sub(before),
                        WakePart::Sender => sent - before,
                    });
                }
            }
            lower_quartile(samples)
        };
        let answer = self.cpus.beside(self.place, far, near);
        // SAFETY: both parts have ended and their ends with them.
        unsafe { self.finish() };
        answer
    }
}

/// What of a wakeup is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakePart {
    /// Until the sleeper has the message.
    Latency,
    /// Until the sender goes on.
    Sender,
}

/// Long enough for the other end to have stopped looking and to sleep in the system.
fn fall_asleep() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(150) {
        black_box(());
    }
}

impl Control {
    fn tell_preemptions(&self, before: i64) {
        let after = (preemptions() - before) as u64;
        self.far_preemptions.store(after, Ordering::Relaxed);
        self.far.reach(4);
    }

    fn undisturbed(&self, before: i64) -> bool {
        let disturbed = preemptions() != before;
        self.far.wait(4);
        !disturbed && self.far_preemptions.load(Ordering::Relaxed) == 0
    }
}
