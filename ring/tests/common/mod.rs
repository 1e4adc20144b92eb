//! A whole ring in one mapping, and a kernel that is a mutex and two condition variables.
#![cfg(not(loom))]
#![allow(dead_code, reason = "each test program uses its part")]

mod backing;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use abi::ring::{CONSUMER_OFFSET, End, EndState, Geometry};
use proptest::prelude::*;
use ring::memory::Owner;
use ring::slot::{Consumer, Producer};
use ring::{Close, Error, Polling, Turn, Wait, byte, index, packet, slot};

pub use backing::Backing;

/// So many random cases, or those few that there is time for under Miri.
pub fn cases(cases: u32, under_miri: u32) -> ProptestConfig {
    ProptestConfig::with_cases(if cfg!(miri) { under_miri } else { cases })
}

/// Any index to begin at, and more often 0 and one whose wrap is less than so much away.
pub fn start(before_wrap: u32) -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0),
        any::<u32>(),
        (0..before_wrap).prop_map(|below| u32::MAX - below)
    ]
}

/// How an end can end, and what its peer is answered then.
pub const ENDINGS: [(EndState, Error); 4] = [
    (EndState::Draining, Error::PeerClosed),
    (EndState::Closed, Error::PeerDied),
    (EndState::Revoked, Error::Revoked),
    (EndState::Poisoned, Error::PeerFault),
];

/// A ring whose ends only poll.
pub struct Polled<P, C> {
    pub producer: P,
    pub consumer: C,
    pub owner: Owner,
    pub backing: Backing,
}

pub type PolledRing = Polled<Producer<Polling>, Consumer<Polling>>;

#[derive(Default)]
struct Queue {
    asleep: [bool; 2],
    sleeps: [u32; 2],
    wakes: [u32; 2],
}

/// `ring_wait`, `ring_wake` and `ring_close` on the host.
pub struct Kernel {
    owner: Owner,
    started: Instant,
    queue: Mutex<Queue>,
    woken: [Condvar; 2],
}

impl Kernel {
    pub fn new(owner: Owner) -> Arc<Self> {
        let started = Instant::now();
        Arc::new(Self {
            owner,
            started,
            queue: Mutex::default(),
            woken: Default::default(),
        })
    }

    pub fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// How often `end` asked for its peer to be woken.
    pub fn wakes_by(&self, end: End) -> u32 {
        self.lock().wakes[end as usize]
    }

    /// How often `end` was put to sleep.
    pub fn sleeps_of(&self, end: End) -> u32 {
        self.lock().sleeps[end as usize]
    }

    pub fn close(&self, end: End, state: EndState) {
        let mut queue = self.lock();
        self.owner.set_state(end, state);
        queue.asleep = [false; 2];
        self.woken.iter().for_each(Condvar::notify_all);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The system calls of one end.
pub struct Calls {
    pub kernel: Arc<Kernel>,
    pub end: End,
}

impl Wait for Calls {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), Error> {
        let Self { kernel, end } = self;
        let peer = end.peer();
        let mut queue = kernel.lock();
        if index::wait_is_over(kernel.owner.state(peer), kernel.owner.index(peer), seen) {
            return Ok(());
        }
        queue.asleep[*end as usize] = true;
        queue.sleeps[*end as usize] += 1;
        while queue.asleep[*end as usize] {
            let left = deadline_ns.saturating_sub(kernel.now_ns());
            if left == 0 {
                queue.asleep[*end as usize] = false;
                return Err(Error::TimedOut);
            }
            let woken = &kernel.woken[*end as usize];
            let left = Duration::from_nanos(left);
            queue = woken
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(())
    }

    fn wake(&self) {
        let mut queue = self.kernel.lock();
        queue.wakes[self.end as usize] += 1;
        queue.asleep[self.end.peer() as usize] = false;
        self.kernel.woken[self.end.peer() as usize].notify_all();
    }
}

impl Turn<Calls> for Calls {}

impl Close for Calls {
    fn close(&self) -> Result<(), Error> {
        self.end_as(EndState::Draining)
    }

    fn accuse(&self) -> Result<(), Error> {
        self.end_as(EndState::Poisoned)
    }
}

impl Calls {
    fn end_as(&self, state: EndState) -> Result<(), Error> {
        if self.kernel.owner.state(self.end) != EndState::Open {
            return Err(Error::Closed);
        }
        self.kernel.close(self.end, state);
        Ok(())
    }
}

/// A ring whose ends sleep in the [`Kernel`].
pub struct Sleeping<P, C> {
    pub producer: P,
    pub consumer: C,
    pub kernel: Arc<Kernel>,
    pub backing: Backing,
}

impl<P, C> Sleeping<P, C> {
    /// The head, as the consumer last stored it.
    pub fn head(&self) -> u32 {
        let word = self.backing.word(CONSUMER_OFFSET);
        word.load(Ordering::Acquire)
    }
}

pub type SleepingRing = Sleeping<Producer<Calls>, Consumer<Calls>>;

macro_rules! constructors {
    ($($polled:ident, $sleeping:ident: $kind:ident;)*) => {$(
        pub fn $polled(geometry: Geometry, start: u32) -> Polled<$kind::Producer<Polling>, $kind::Consumer<Polling>> {
            let backing = Backing::new(geometry);
            let owner = backing.format(start);
            Polled {
                producer: $kind::Producer::attach(backing.producer_memory(), Polling).unwrap(),
                consumer: $kind::Consumer::attach(backing.consumer_memory(), Polling).unwrap(),
                owner,
                backing,
            }
        }

        pub fn $sleeping(geometry: Geometry, start: u32) -> Sleeping<$kind::Producer<Calls>, $kind::Consumer<Calls>> {
            let backing = Backing::new(geometry);
            let kernel = Kernel::new(backing.format(start));
            let calls = |end| Calls {
                kernel: kernel.clone(),
                end,
            };
            Sleeping {
                producer: $kind::Producer::attach(backing.producer_memory(), calls(End::Producer)).unwrap(),
                consumer: $kind::Consumer::attach(backing.consumer_memory(), calls(End::Consumer)).unwrap(),
                kernel,
                backing,
            }
        }
    )*};
}

constructors! {
    polled_ring, sleeping_ring: slot;
    polled_packets, sleeping_packets: packet;
    polled_bytes, sleeping_bytes: byte;
}
