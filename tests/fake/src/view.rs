//! The machine from outside: its bytes and what its CPUs have cached, for whoever judges them.

use std::sync::atomic::Ordering;

use mm::{CpuId, Entry, Frame};

use crate::FakeMachine;
use crate::machine::lock;

/// A translation that a CPU has cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The address of the page.
    pub va: u64,
    /// Where it leads.
    pub frame: Frame,
    /// Whether ring 3 may write through it.
    pub write: bool,
    /// Whether ring 3 may execute through it.
    pub execute: bool,
}

impl FakeMachine {
    /// The entry of a page table, as a CPU would read it.
    pub fn page_table_entry(&self, table: Frame, index: usize) -> Entry {
        self.entry(table, index)
    }

    /// A word of a frame.
    pub fn word(&self, frame: Frame, index: usize) -> u64 {
        self.arena.word(frame, index).load(Ordering::Relaxed)
    }

    /// The tables that a CPU translates by.
    pub fn loaded_root(&self, cpu: CpuId) -> Option<Frame> {
        lock(&self.cpus[cpu].tlb).root
    }

    /// The leaves that a CPU has cached the way to, by the 2 MiB that each stands for: tables, and
    /// large leaves (true).
    pub fn cached_leaves(&self, cpu: CpuId) -> Vec<(Translation, bool)> {
        let tlb = lock(&self.cpus[cpu].tlb);
        let all = tlb.directories.iter().chain(&tlb.large);
        let user = all.filter(|(_, cached)| cached.allowed.user);
        user.map(|(part, cached)| {
            let translation = Translation {
                va: part << 21,
                frame: cached.frame,
                write: cached.allowed.write,
                execute: cached.allowed.execute,
            };
            (translation, cached.large)
        })
        .collect()
    }

    /// What a CPU has cached for ring 3, page by page.
    pub fn cached(&self, cpu: CpuId) -> Vec<Translation> {
        let tlb = lock(&self.cpus[cpu].tlb);
        let user = tlb.pages.iter().filter(|(_, cached)| cached.allowed.user);
        user.map(|(page, cached)| Translation {
            va: page << 12,
            frame: cached.frame,
            write: cached.allowed.write,
            execute: cached.allowed.execute,
        })
        .collect()
    }
}
