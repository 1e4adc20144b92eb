//! A whole ring in one allocation, and a kernel that is a mutex and two condition variables.
#![cfg(not(loom))]
#![allow(dead_code, reason = "each test program uses its part")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use abi::ring::{DATA_OFFSET, End, EndState, Geometry, PAGE_BYTES};
use ring::memory::{ConsumerMemory, Owner, ProducerMemory};
use ring::slot::{Consumer, Producer};
use ring::{Error, Polling, Wait, index};

#[repr(C, align(4096))]
struct Page([AtomicU64; PAGE_BYTES / 8]);

/// The memory of a ring. Words can be overwritten at any time, as a hostile peer would.
pub struct Backing {
    pages: Arc<[Page]>,
    pub geometry: Geometry,
}

impl Backing {
    pub fn new(geometry: Geometry) -> Self {
        let pages = DATA_OFFSET / PAGE_BYTES + geometry.data_pages() as usize;
        let zeroed = || Page([const { AtomicU64::new(0) }; PAGE_BYTES / 8]);
        Self {
            pages: (0..pages).map(|_| zeroed()).collect(),
            geometry,
        }
    }

    fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.pages).cast()
    }

    pub fn bytes(&self) -> usize {
        self.pages.len() * PAGE_BYTES
    }

    /// The word at a byte offset of the view.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.bytes());
        // SAFETY: in bounds and aligned; the pages are atomics, so shared writes are allowed.
        unsafe { AtomicU32::from_ptr(self.base().add(offset).cast().as_ptr()) }
    }

    /// Writes a word at a byte offset as a hostile peer would. Data is written in the size in which the ends read it,
    /// since mixed sizes are beyond what Miri models.
    pub fn overwrite(&self, offset: usize, value: u32) {
        if offset < DATA_OFFSET {
            self.word(offset).store(value, Ordering::Relaxed);
            return;
        }
        let word = &self.pages[offset / PAGE_BYTES].0[offset % PAGE_BYTES / 8];
        let kept = word.load(Ordering::Relaxed);
        let changed = match offset % 8 {
            0 => kept & !u64::from(u32::MAX) | u64::from(value),
            _ => kept & u64::from(u32::MAX) | u64::from(value) << 32,
        };
        word.store(changed, Ordering::Relaxed);
    }

    /// The bytes at a byte offset of the view.
    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        let words = self.pages.iter().flat_map(|page| &page.0);
        let bytes = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        bytes.skip(offset).take(length).collect()
    }

    pub fn format(&self, start: u32) -> Owner {
        // SAFETY: zeroed, aligned and large enough; a test keeps the backing alive to its end and attaches later.
        unsafe { Owner::format(self.base(), self.geometry, start, 1) }.unwrap()
    }

    pub fn producer_memory(&self) -> ProducerMemory {
        // SAFETY: as above; a test takes each role once at a time.
        unsafe { ProducerMemory::from_raw(self.base(), self.geometry) }.unwrap()
    }

    pub fn consumer_memory(&self) -> ConsumerMemory {
        // SAFETY: as above.
        unsafe { ConsumerMemory::from_raw(self.base(), self.geometry) }.unwrap()
    }
}

/// A ring whose ends only poll.
pub struct PolledRing {
    pub producer: Producer<Polling>,
    pub consumer: Consumer<Polling>,
    pub owner: Owner,
    pub backing: Backing,
}

pub fn polled_ring(geometry: Geometry, start: u32) -> PolledRing {
    let backing = Backing::new(geometry);
    let owner = backing.format(start);
    let producer = Producer::attach(backing.producer_memory(), Polling).unwrap();
    let consumer = Consumer::attach(backing.consumer_memory(), Polling).unwrap();
    PolledRing {
        producer,
        consumer,
        owner,
        backing,
    }
}

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

/// A ring whose ends sleep in the [`Kernel`].
pub struct SleepingRing {
    pub producer: Producer<Calls>,
    pub consumer: Consumer<Calls>,
    pub kernel: Arc<Kernel>,
    pub backing: Backing,
}

pub fn sleeping_ring(geometry: Geometry, start: u32) -> SleepingRing {
    let backing = Backing::new(geometry);
    let kernel = Kernel::new(backing.format(start));
    let calls = |end| Calls {
        kernel: kernel.clone(),
        end,
    };
    let producer = Producer::attach(backing.producer_memory(), calls(End::Producer)).unwrap();
    let consumer = Consumer::attach(backing.consumer_memory(), calls(End::Consumer)).unwrap();
    SleepingRing {
        producer,
        consumer,
        kernel,
        backing,
    }
}
