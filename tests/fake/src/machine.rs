//! The machine: frames, page tables, CPUs and their interrupts.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use mm::{
    AddressSpace, CpuId, Entry, EntryFlags, Frame, FrameCache, FrameMeta, FramePool, FrameState,
};

use crate::arena::Arena;
use crate::lines::Lines;
use crate::platform::SystemCounts;
use crate::tlb::{Access, PageFault, Tlb};
use crate::watch::Watched;
use crate::{Config, Memory, on_cpu, ranks};

pub(crate) type Hook = Box<dyn FnMut(&FakeMachine) + Send>;

/// One CPU.
#[derive(Default)]
pub(crate) struct FakeCpu {
    pub(crate) tlb: Mutex<Tlb>,
    /// Turns that it has waited since it last sent an interrupt.
    pub(crate) turns: AtomicU64,
    pub(crate) kicks: AtomicU64,
    pub(crate) page_flushes: AtomicU64,
    pub(crate) full_flushes: AtomicU64,
}

/// A machine in which every translation stays cached until it is flushed.
pub struct FakeMachine {
    pub(crate) arena: Arena,
    pub(crate) pool: FramePool,
    pub(crate) config: Config,
    pub(crate) cpus: Vec<FakeCpu>,
    /// The CPUs that have an interrupt pending.
    pub(crate) pending: AtomicU64,
    /// The CPUs that take none.
    pub(crate) masked: AtomicU64,
    handler: OnceLock<Box<dyn Fn() + Send + Sync>>,
    pub(crate) random: Mutex<fastrand::Rng>,
    /// The monotonic clock.
    pub(crate) now_ns: Arc<AtomicU64>,
    pub(crate) lines: Lines,
    pub(crate) counts: Mutex<SystemCounts>,
    /// Deadlines pass when a test says so, task by task.
    pub(crate) holds_deadlines: AtomicBool,
    /// Calls that take memory until one fails; negative for never.
    failing: AtomicI64,
    failed: AtomicBool,
    no_runs: AtomicBool,
    /// How often memory of the heap was to be promised, and whether none is.
    promises: AtomicU64,
    no_promises: AtomicBool,
    pub(crate) while_waiting: Mutex<Option<Hook>>,
    pub(crate) after_root_load: Mutex<Option<Hook>>,
    pub(crate) before_park: Mutex<Option<Hook>>,
    pub(crate) while_paused: Mutex<Option<Hook>>,
    pub(crate) after_word_load: Mutex<Option<Hook>>,
    pub(crate) after_watcher_left: Mutex<Option<Hook>>,
    pub(crate) while_zeroing: Mutex<Option<Hook>>,
    /// The entry whose next load is followed by the hook below; [`NO_ENTRY`] for none.
    pub(crate) awaited_entry: AtomicU64,
    pub(crate) after_entry_load: Mutex<Option<Hook>>,
    pub(crate) watched: Watched,
}

/// No entry has this address.
pub(crate) const NO_ENTRY: u64 = u64::MAX;

/// A machine and the memory on it, with the interrupt of each CPU connected.
pub fn start(config: Config) -> Arc<Memory> {
    let memory = Arc::new(mm::Memory::new(FakeMachine::new(config)));
    let handler = Arc::downgrade(&memory);
    memory.machine().set_interrupt_handler(move || {
        if let Some(memory) = handler.upgrade() {
            memory.serve();
        }
    });
    memory
}

/// Chooses what a build with `--cfg sabotage` does without.
fn choose_sabotage() {
    #[cfg(sabotage)]
    if let Ok(name) = std::env::var("HANDOVER_SABOTAGE") {
        mm::sabotage::choose(name.leak());
    }
}

impl FakeMachine {
    /// A machine whose CPUs all translate by the kernel's tables. Whoever uses it without
    /// [`start`] sets the interrupt handler.
    pub fn new(config: Config) -> FakeMachine {
        assert!((1..=64).contains(&config.cpus) && config.nodes >= 1);
        choose_sabotage();
        ranks::watch();
        let boot = config.first_frame();
        // The zero frame is behind those that the pool has.
        let frames = config.frames;
        let total = (boot + frames + 1) as usize;
        let meta: Vec<FrameMeta> = std::iter::repeat_with(FrameMeta::new).take(total).collect();
        let caches: Vec<FrameCache> = std::iter::repeat_with(FrameCache::new)
            .take(config.cpus)
            .collect();
        let machine = FakeMachine {
            arena: Arena::new(total),
            pool: FramePool::new(Vec::leak(meta), Vec::leak(caches)),
            config,
            cpus: std::iter::repeat_with(FakeCpu::default)
                .take(config.cpus)
                .collect(),
            pending: AtomicU64::new(0),
            masked: AtomicU64::new(0),
            handler: OnceLock::new(),
            random: Mutex::new(fastrand::Rng::with_seed(config.seed)),
            now_ns: Arc::default(),
            lines: Lines::new(config.cpus),
            counts: Mutex::default(),
            holds_deadlines: AtomicBool::new(false),
            failing: AtomicI64::new(-1),
            failed: AtomicBool::new(false),
            no_runs: AtomicBool::new(false),
            promises: AtomicU64::new(0),
            no_promises: AtomicBool::new(false),
            while_waiting: Mutex::new(None),
            after_root_load: Mutex::new(None),
            before_park: Mutex::new(None),
            while_paused: Mutex::new(None),
            after_word_load: Mutex::new(None),
            after_watcher_left: Mutex::new(None),
            while_zeroing: Mutex::new(None),
            awaited_entry: AtomicU64::new(NO_ENTRY),
            after_entry_load: Mutex::new(None),
            watched: Watched::begin(),
        };
        let nodes = config.nodes as u64;
        for node in 0..nodes {
            let begin = boot + frames * node / nodes;
            let end = boot + frames * (node + 1) / nodes;
            machine.pool.add_range(begin, end, node as usize);
        }
        let zero = Frame::from_number(boot + frames);
        machine.arena.fill(zero, 0);
        machine
            .pool
            .meta(zero)
            .transition(FrameState::Reserved, FrameState::Region);
        for cpu in 0..config.cpus {
            machine.pool.set_home(cpu, cpu * config.nodes / config.cpus);
        }
        let kernel = machine.kernel_root();
        machine.arena.fill(kernel, 0);
        // The kernel maps itself, for itself only.
        let flags = EntryFlags::PRESENT | EntryFlags::WRITABLE | EntryFlags::ACCESSED;
        let own = Entry::new(kernel, flags);
        machine
            .arena
            .word(kernel, 511)
            .store(own.bits(), Ordering::Relaxed);
        for cpu in &machine.cpus {
            lock(&cpu.tlb).root = Some(kernel);
        }
        machine
    }

    /// Sets what a CPU does when it is interrupted: normally [`mm::Memory::serve`]. The first one
    /// stays.
    pub fn set_interrupt_handler(&self, handler: impl Fn() + Send + Sync + 'static) {
        let _ = self.handler.set(Box::new(handler));
    }

    /// From now on a task with a deadline sleeps until it is unparked or [timed
    /// out](crate::FakeTask::time_out).
    pub fn hold_deadlines(&self) {
        self.holds_deadlines.store(true, Ordering::Relaxed);
    }

    /// Whether the thread that made it has panicked since, so that nobody sleeps on it any more.
    pub fn has_failed(&self) -> bool {
        self.watched.has_failed()
    }

    /// Moves the monotonic clock on.
    pub fn advance_ns(&self, by: u64) {
        self.now_ns.fetch_add(by, Ordering::Relaxed);
    }

    /// How it was built.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The allocator.
    pub fn pool(&self) -> &FramePool {
        &self.pool
    }

    /// The kernel's own tables.
    pub fn kernel_root(&self) -> Frame {
        Frame::from_number(0)
    }

    /// The first of the frames that boot filled; they hold poison until a test writes them.
    pub fn initrd(&self) -> Frame {
        Frame::from_number(1)
    }

    /// The first frame of the device. What lies before it is boot's, what follows its last is the
    /// allocator's.
    pub fn device(&self) -> Frame {
        Frame::from_number(1 + self.config.initrd_frames)
    }

    /// Makes the call after `calls` more that take or promise open memory fail, once.
    pub fn fail_after(&self, calls: u64) {
        self.failed.store(false, Ordering::Relaxed);
        self.failing.store(calls as i64, Ordering::Relaxed);
    }

    /// Whether the failure asked for has happened; there is none to come from now on.
    pub fn stop_failing(&self) -> bool {
        self.failing.store(-1, Ordering::Relaxed);
        self.failed.load(Ordering::Relaxed)
    }

    /// Makes every call that asks for a run fail from now on, on a promise too, as where memory is
    /// in pieces; or no longer.
    pub fn refuse_runs(&self, refuse: bool) {
        self.no_runs.store(refuse, Ordering::Relaxed);
    }

    /// How often memory of the heap was to be promised for what can't fail.
    pub fn promises(&self) -> u64 {
        self.promises.load(Ordering::Relaxed)
    }

    /// Refuses to promise any from now on, or no longer. There is enough of it all the same.
    pub fn refuse_promises(&self, refuse: bool) {
        self.no_promises.store(refuse, Ordering::Relaxed);
    }

    pub(crate) fn promise(&self) -> bool {
        self.promises.fetch_add(1, Ordering::Relaxed);
        !self.no_promises.load(Ordering::Relaxed)
    }

    pub(crate) fn refuses_runs(&self) -> bool {
        self.no_runs.load(Ordering::Relaxed)
    }

    /// The page-directory entry of a space for an address, as the next walk would find it.
    pub fn attachment(&self, space: &AddressSpace, va: u64) -> Option<Entry> {
        let load = |table: Frame, level: u32| self.entry(table, (va >> level) as usize & 511);
        let pointers = load(space.root(), 39).frame()?;
        let directory = load(pointers, 30).frame()?;
        Some(load(directory, 21))
    }

    /// The frame that an instruction of ring 3 on a CPU would reach.
    pub fn translate(&self, cpu: CpuId, va: u64, access: Access) -> Result<Frame, PageFault> {
        self.translate_with(&mut lock(&self.cpus[cpu].tlb), cpu, va, access)
    }

    /// What an aligned load of 8 bytes by ring 3 on a CPU would give.
    pub fn read(&self, cpu: CpuId, va: u64) -> Result<u64, PageFault> {
        // Held until the access is done, as no CPU acknowledges in the middle of an instruction.
        let mut tlb = lock(&self.cpus[cpu].tlb);
        let frame = self.translate_with(&mut tlb, cpu, va, Access::Read)?;
        self.assert_reachable(cpu, va, frame);
        Ok(self.arena.word(frame, word_of(va)).load(Ordering::Acquire))
    }

    /// What an aligned store of 8 bytes by ring 3 on a CPU would do.
    pub fn write(&self, cpu: CpuId, va: u64, value: u64) -> Result<(), PageFault> {
        let mut tlb = lock(&self.cpus[cpu].tlb);
        let frame = self.translate_with(&mut tlb, cpu, va, Access::Write)?;
        self.assert_reachable(cpu, va, frame);
        self.arena
            .word(frame, word_of(va))
            .store(value, Ordering::Release);
        Ok(())
    }

    fn translate_with(
        &self,
        tlb: &mut Tlb,
        cpu: CpuId,
        va: u64,
        access: Access,
    ) -> Result<Frame, PageFault> {
        tlb.translate(cpu, va, access, |table, index| {
            let state = self.pool.meta(table).state();
            assert!(
                state == FrameState::Table || table == self.kernel_root(),
                "CPU {cpu} walks {table:?}, which is {state:?}, for {va:#x}"
            );
            self.entry(table, index)
        })
    }

    /// # Panics
    /// When the frame is free or no page: a translation has outlived it (I2).
    fn assert_reachable(&self, cpu: CpuId, va: u64, frame: Frame) {
        let state = self.pool.meta(frame).state();
        assert!(
            matches!(state, FrameState::Region | FrameState::Reserved),
            "CPU {cpu} reaches {frame:?}, which is {state:?}, at {va:#x}"
        );
    }

    pub(crate) fn entry(&self, table: Frame, index: usize) -> Entry {
        Entry::from_bits(self.arena.word(table, index).load(Ordering::Acquire))
    }

    pub(crate) fn fails_now(&self) -> bool {
        if self.failing.load(Ordering::Relaxed) < 0 {
            return false;
        }
        let fails = self.failing.fetch_sub(1, Ordering::Relaxed) == 0;
        self.failed.fetch_or(fails, Ordering::Relaxed);
        fails
    }

    pub(crate) fn run_hook(&self, slot: &Mutex<Option<Hook>>) {
        let taken = lock(slot).take();
        if let Some(mut hook) = taken {
            hook(self);
            lock(slot).get_or_insert(hook);
        }
    }

    /// How often a CPU was asked to interrupt its work.
    pub fn kicks(&self, cpu: CpuId) -> u64 {
        self.cpus[cpu].kicks.load(Ordering::Relaxed)
    }

    /// How often a CPU was told to forget one page, and how often everything, since it was last
    /// asked.
    pub fn take_flushes(&self, cpu: CpuId) -> (u64, u64) {
        let cpu = &self.cpus[cpu];
        (
            cpu.page_flushes.swap(0, Ordering::Relaxed),
            cpu.full_flushes.swap(0, Ordering::Relaxed),
        )
    }

    /// Lets a CPU run its interrupt handler, if an interrupt is pending for it and it takes any.
    pub fn deliver(&self, cpu: CpuId) {
        let bit = 1 << cpu;
        if self.masked.load(Ordering::Acquire) & bit == 0
            && self.pending.fetch_and(!bit, Ordering::AcqRel) & bit != 0
            && let Some(handler) = self.handler.get()
        {
            on_cpu(cpu, handler);
        }
    }
}

impl fmt::Debug for FakeMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeMachine")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Where an entry stands in physical memory.
pub(crate) fn entry_address(table: Frame, index: usize) -> u64 {
    table.address() + index as u64 * 8
}

/// The entry of its leaf table that an address goes through.
pub(crate) fn page_index(va: u64) -> usize {
    (va >> 12) as usize & 511
}

/// The word of its frame that an address names.
fn word_of(va: u64) -> usize {
    assert!(va.is_multiple_of(8), "{va:#x} is not aligned");
    (va % 4096) as usize / 8
}

/// Takes a lock, also after a test that held it has failed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
