//! What tests have happen at certain moments: in the middle of what a CPU does.

use std::sync::atomic::Ordering;

use mm::{CpuId, Frame};

use crate::machine::{FakeMachine, NO_ENTRY, entry_address, lock, page_index};
use crate::tlb::walk;

impl FakeMachine {
    /// Sets what happens at every turn of a loop that waits for other CPUs, before any of them is
    /// interrupted. Within it nothing else of the kind happens.
    pub fn set_while_waiting(&self, hook: impl FnMut(&FakeMachine) + Send + 'static) {
        *lock(&self.while_waiting) = Some(Box::new(hook));
    }

    /// Sets what happens right after a CPU loads a root: what others do at that moment, and what
    /// the CPU itself caches ahead of need.
    pub fn set_after_root_load(&self, hook: impl FnMut(&FakeMachine) + Send + 'static) {
        *lock(&self.after_root_load) = Some(Box::new(hook));
    }

    /// Sets what others do at the moment at which a task is about to sleep.
    pub fn set_before_park(&self, hook: impl FnMut(&FakeMachine) + Send + 'static) {
        *lock(&self.before_park) = Some(Box::new(hook));
    }

    /// Sets what others do whenever a call that takes long lets others run.
    pub fn set_while_paused(&self, hook: impl FnMut(&FakeMachine) + Send + 'static) {
        *lock(&self.while_paused) = Some(Box::new(hook));
    }

    /// Sets what others do whenever a port is told of faults of a process no more, in the middle of what
    /// takes its bindings away.
    pub fn set_after_watcher_left(&self, hook: impl FnMut(&FakeMachine) + Send + 'static) {
        *lock(&self.after_watcher_left) = Some(Box::new(hook));
    }

    /// Sets what others do between a load of a word that they may change and what is made of it.
    pub fn set_after_word_load(&self, hook: impl FnMut(&FakeMachine) + Send + 'static) {
        *lock(&self.after_word_load) = Some(Box::new(hook));
    }

    /// Sets what others do while a CPU fills a frame with zeros, which it does without a lock.
    pub fn set_while_zeroing(&self, hook: impl FnMut(&FakeMachine) + Send + 'static) {
        *lock(&self.while_zeroing) = Some(Box::new(hook));
    }

    /// Sets what others do, once, between the next load of the entry that translates `va` for a CPU
    /// and what is made of it.
    ///
    /// # Panics
    /// When no leaf table is attached there.
    pub fn set_after_entry_load(
        &self,
        cpu: CpuId,
        va: u64,
        hook: impl FnMut(&FakeMachine) + Send + 'static,
    ) {
        let root = lock(&self.cpus[cpu].tlb).root.expect("a root is loaded");
        let leaf = walk(root, va, &|table, index| self.entry(table, index));
        let table = leaf.expect("a leaf table is attached").frame;
        *lock(&self.after_entry_load) = Some(Box::new(hook));
        self.awaited_entry
            .store(entry_address(table, page_index(va)), Ordering::Release);
    }

    /// After the load of an entry.
    pub(crate) fn entry_loaded(&self, table: Frame, index: usize) {
        let address = entry_address(table, index);
        if self.awaited_entry.load(Ordering::Acquire) == address {
            self.awaited_entry.store(NO_ENTRY, Ordering::Release);
            self.run_hook(&self.after_entry_load);
        }
    }

    /// Sets no hook any more.
    pub fn clear_hooks(&self) {
        self.awaited_entry.store(NO_ENTRY, Ordering::Release);
        *lock(&self.after_entry_load) = None;
        *lock(&self.after_word_load) = None;
        *lock(&self.while_zeroing) = None;
        *lock(&self.while_waiting) = None;
        *lock(&self.after_root_load) = None;
        *lock(&self.before_park) = None;
        *lock(&self.while_paused) = None;
        *lock(&self.after_watcher_left) = None;
    }
}
