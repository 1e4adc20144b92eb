//! What `mm` asks of the machine.

use std::sync::atomic::{Ordering, fence};

use abi::Error;
use mm::{
    Budget, CpuId, CpuSet, Cpus, Entry, EntryFlags, Frame, FrameMeta, FrameState, Frames, Mmu,
};

use crate::machine::lock;
use crate::ranks::heap_may_grow;
use crate::{FakeMachine, current_cpu};

/// Turns of a waiting loop after which it is taken to wait for ever.
const MAX_TURNS: u64 = 1_000_000;

impl Frames for FakeMachine {
    fn check_device(&self, first: Frame, count: u64) -> Result<(), Error> {
        let end = first.number() + count;
        if end > self.arena.frames() {
            return Err(Error::Range);
        }
        let device = self.device().number()..self.config.first_frame();
        if first.number() < device.start || end > device.end {
            return Err(Error::Overlap);
        }
        Ok(())
    }

    fn allocate(&self, node: Option<usize>, budget: Budget) -> Option<Frame> {
        if budget == Budget::Open && self.fails_now() {
            return None;
        }
        self.pool.allocate(self, node, budget)
    }

    fn free(&self, frame: Frame, budget: Budget) {
        assert_eq!(self.pool.meta(frame).owners(), 0, "{frame:?} has owners");
        self.pool.free(self, frame, budget);
    }

    fn allocate_run(&self, order: u32, node: Option<usize>, budget: Budget) -> Option<Frame> {
        if order > 0 && self.refuses_runs() || budget == Budget::Open && self.fails_now() {
            return None;
        }
        self.pool.allocate_run(self, order, node, budget)
    }

    fn free_run(&self, first: Frame, order: u32, budget: Budget) {
        for number in first.number()..first.number() + (1 << order) {
            let frame = Frame::from_number(number);
            assert_eq!(self.pool.meta(frame).owners(), 0, "{frame:?} has owners");
        }
        self.pool.free_run(self, first, order, budget);
    }

    fn reserve(&self, count: u64) -> bool {
        !self.fails_now() && self.pool.reserve(count)
    }

    fn unreserve(&self, count: u64) {
        self.pool.unreserve(count);
    }

    fn ensure_memory(&self) -> Result<(), Error> {
        self.promise().then_some(()).ok_or(Error::NoMemory)
    }

    fn zero_frame(&self) -> Frame {
        Frame::from_number(self.config.first_frame() + self.config.frames)
    }

    fn meta(&self, frame: Frame) -> &FrameMeta {
        self.pool.meta(frame)
    }

    fn zero(&self, frame: Frame) {
        assert!(
            heap_may_grow(),
            "a frame is zeroed while a lock of the allocator is held"
        );
        self.arena.fill(frame, 0);
        self.run_hook(&self.while_zeroing);
    }

    fn copy(&self, from: Frame, to: Frame) {
        self.arena.copy(from, to);
    }

    fn read(&self, frame: Frame, offset: usize, bytes: &mut [u8]) {
        self.arena.read(frame, offset, bytes);
    }

    fn write(&self, frame: Frame, offset: usize, bytes: &[u8]) {
        self.arena.write(frame, offset, bytes);
    }

    fn load_u32(&self, frame: Frame, offset: usize) -> u32 {
        let word = self.arena.load_u32(frame, offset);
        self.run_hook(&self.after_word_load);
        word
    }

    fn store_u32(&self, frame: Frame, offset: usize, value: u32) {
        self.arena.store_u32(frame, offset, value);
    }

    fn store_u64(&self, frame: Frame, offset: usize, value: u64) {
        self.arena.store_u64(frame, offset, value);
    }
}

impl Mmu for FakeMachine {
    fn load(&self, table: Frame, index: usize) -> Entry {
        assert_eq!(self.pool.meta(table).state(), FrameState::Table);
        let entry = self.entry(table, index);
        self.entry_loaded(table, index);
        entry
    }

    fn store(&self, table: Frame, index: usize, entry: Entry) {
        assert_eq!(self.pool.meta(table).state(), FrameState::Table);
        self.arena
            .word(table, index)
            .store(entry.bits(), Ordering::Release);
    }

    fn compare_exchange(&self, table: Frame, index: usize, old: Entry, new: Entry) -> bool {
        assert_eq!(self.pool.meta(table).state(), FrameState::Table);
        self.arena
            .word(table, index)
            .compare_exchange(old.bits(), new.bits(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    fn clear_writable(&self, table: Frame, index: usize) {
        assert_eq!(self.pool.meta(table).state(), FrameState::Table);
        self.arena
            .word(table, index)
            .fetch_and(!EntryFlags::WRITABLE.bits(), Ordering::AcqRel);
    }

    fn load_root(&self, root: Frame) {
        fence(Ordering::SeqCst);
        {
            let mut tlb = lock(&self.cpus[current_cpu()].tlb);
            tlb.flush_all();
            tlb.root = Some(root);
        }
        self.run_hook(&self.after_root_load);
    }

    fn flush_page(&self, va: u64) {
        let cpu = &self.cpus[current_cpu()];
        cpu.page_flushes.fetch_add(1, Ordering::Relaxed);
        lock(&cpu.tlb).flush_page(va);
    }

    fn flush_all(&self) {
        let cpu = &self.cpus[current_cpu()];
        cpu.full_flushes.fetch_add(1, Ordering::Relaxed);
        lock(&cpu.tlb).flush_all();
    }

    fn init_root(&self, root: Frame) {
        for index in 256..512 {
            self.store(root, index, self.entry(self.kernel_root(), index));
        }
    }
}

impl Cpus for FakeMachine {
    fn current(&self) -> CpuId {
        current_cpu()
    }

    fn kick(&self, cpus: CpuSet) {
        assert!(cpus.iter().all(|cpu| cpu < self.config.cpus));
        self.cpus[current_cpu()].turns.store(0, Ordering::Relaxed);
        for cpu in cpus.iter() {
            self.cpus[cpu].kicks.fetch_add(1, Ordering::Relaxed);
        }
        self.pending.fetch_or(cpus.0, Ordering::AcqRel);
    }

    /// Interrupts arrive here, some of them and in no particular order: at other CPUs while this
    /// one waits. Several threads may do so at once, each as another CPU.
    fn relax(&self) {
        let me = current_cpu();
        let turns = self.cpus[me].turns.fetch_add(1, Ordering::Relaxed);
        assert!(turns < MAX_TURNS, "CPU {me} waits for ever");
        self.run_hook(&self.while_waiting);
        let mut targets: Vec<CpuId> = CpuSet(self.pending.load(Ordering::Acquire))
            .iter()
            .collect();
        {
            let mut random = lock(&self.random);
            random.shuffle(&mut targets);
            targets.retain(|cpu| *cpu != me && random.bool());
        }
        for cpu in targets {
            self.deliver(cpu);
        }
        std::thread::yield_now();
    }
}
