//! `ring_wait`, `ring_wake` and `ring_close` of the model checker: a lock, and a queue of two places.
#![cfg(loom)]
#![allow(dead_code, reason = "each test program uses its part")]

use abi::ring::{End, EndState};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use ring::memory::Owner;
use ring::{Close, Consumer, Error, Polling, Producer, RingKind, Wait, index};

pub const FOREVER: u64 = u64::MAX;

/// Explores a test with so many preemptions.
pub fn explore(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}

#[derive(Default)]
struct Queue {
    /// What each end sleeps for.
    asleep: [Option<u32>; 2],
    lost_wakeups: u32,
}

/// `ring_wait`, `ring_wake` and `ring_close`, and an eye on sleepers that were forgotten.
pub struct Kernel {
    owner: Owner,
    queue: Mutex<Queue>,
    woken: [Condvar; 2],
}

pub struct Calls {
    pub kernel: Arc<Kernel>,
    pub end: End,
}

impl Kernel {
    pub fn close(&self, end: End, state: EndState) {
        let mut queue = self.queue.lock().unwrap();
        self.owner.set_state(end, state);
        queue.asleep = [None; 2];
        self.woken.iter().for_each(Condvar::notify_all);
    }

    /// `end` does nothing more, so a peer that still sleeps for something that is there was forgotten.
    ///
    /// It is counted and woken: loom would call it a deadlock too, but not survive its own report of it.
    fn rests(&self, queue: &mut Queue, end: End) {
        let peer = end.peer() as usize;
        if queue.asleep[peer].is_some_and(|seen| index::has_reached(self.owner.index(end), seen)) {
            queue.lost_wakeups += 1;
            queue.asleep[peer] = None;
            self.woken[peer].notify_all();
        }
    }

    pub fn finish(&self, end: End) {
        self.rests(&mut self.queue.lock().unwrap(), end);
    }

    pub fn assert_no_wakeup_was_lost(&self) {
        let lost = self.queue.lock().unwrap().lost_wakeups;
        assert_eq!(lost, 0, "wakeups were lost");
    }
}

impl Wait for Calls {
    fn wait(&self, seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        let owner = &self.kernel.owner;
        let me = self.end as usize;
        let mut queue = self.kernel.queue.lock().unwrap();
        self.kernel.rests(&mut queue, self.end);
        let peer = self.end.peer();
        if index::wait_is_over(owner.state(peer), owner.index(peer), seen) {
            return Ok(());
        }
        queue.asleep[me] = Some(seen);
        while queue.asleep[me].is_some() {
            queue = self.kernel.woken[me].wait(queue).unwrap();
        }
        Ok(())
    }

    fn wake(&self) {
        let peer = self.end.peer() as usize;
        self.kernel.queue.lock().unwrap().asleep[peer] = None;
        self.kernel.woken[peer].notify_all();
    }
}

impl Close for Calls {
    fn close(&self) -> Result<(), Error> {
        if self.kernel.owner.state(self.end) != EndState::Open {
            return Err(Error::Closed);
        }
        self.kernel.close(self.end, EndState::Draining);
        Ok(())
    }

    fn accuse(&self) -> Result<(), Error> {
        self.kernel.close(self.end, EndState::Poisoned);
        Ok(())
    }
}

/// The calls of both ends of a ring: the producer's and the consumer's.
pub fn kernel(owner: &Owner) -> (Arc<Kernel>, Calls, Calls) {
    let kernel = Arc::new(Kernel {
        owner: owner.clone(),
        queue: Mutex::new(Queue::default()),
        woken: [Condvar::new(), Condvar::new()],
    });
    let calls = |end| Calls {
        kernel: kernel.clone(),
        end,
    };
    let (producer, consumer) = (calls(End::Producer), calls(End::Consumer));
    (kernel, producer, consumer)
}

/// Both ends of a ring, and its kernel.
pub fn ends<K: RingKind>(owner: &Owner) -> (Producer<K, Calls>, Consumer<K, Calls>, Arc<Kernel>) {
    let (kernel, sends, receives) = kernel(owner);
    let producer = Producer::attach(owner.producer(), sends).unwrap();
    let consumer = Consumer::attach(owner.consumer(), receives).unwrap();
    (producer, consumer, kernel)
}

/// The payload of the message of this number: no word of it is that of another message.
pub fn bytes(number: u64) -> [u8; 8] {
    (number ^ 0x5a5a_5a5a_5a5a_5a5a).to_ne_bytes()
}

/// One end sends three times what comes next if there is room, beginning with message `first`, those before which are
/// in the ring. The other one receives meanwhile, and then what is left: all of it, in order. `receive` looks whether
/// it is the message of that number.
pub fn everything_arrives<K: RingKind + Send + 'static>(
    owner: &Owner,
    first: u64,
    send: impl Fn(&mut Producer<K, Polling>, u64) -> Result<(), Error> + Send + 'static,
    receive: impl Fn(&mut Consumer<K, Polling>, u64) -> Result<(), Error>,
) {
    let mut producer = Producer::attach(owner.producer(), Polling).unwrap();
    let mut consumer = Consumer::attach(owner.consumer(), Polling).unwrap();
    for number in 0..first {
        send(&mut producer, number).unwrap();
    }
    let sender = thread::spawn(move || {
        let mut sent = first;
        for _ in 0..3 {
            match send(&mut producer, sent) {
                Ok(()) => sent += 1,
                Err(error) => assert_eq!(error, Error::Full),
            }
        }
        sent
    });
    let mut received = 0;
    let mut next = || match receive(&mut consumer, received) {
        Ok(()) => {
            received += 1;
            true
        }
        Err(error) => {
            assert_eq!(error, Error::Empty);
            false
        }
    };
    next();
    next();
    let sent = sender.join().unwrap();
    while next() {}
    assert_eq!(received, sent);
}
