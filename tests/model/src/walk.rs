//! What page tables and TLBs say, against what the model allows.

use std::collections::BTreeMap;

use abi::Rights;
use abi::limits::LEAF_SIZE;
use fake::Translation;
use mm::{Entry, EntryFlags, Frame, FrameState, Frames};

use crate::check::{Counted, Leaf};
use crate::spec::{LEAF_PAGES, Mapping};
use crate::{PROCESSES, Run};

/// The tables of a space that no region owns, and where they lead, by address.
pub(crate) struct Upper {
    pub(crate) tables: Vec<Frame>,
    attached: BTreeMap<u64, Entry>,
}

/// The leaf that an entry of a directory attaches.
fn attached_leaf(entry: Entry) -> Option<Leaf> {
    let frame = entry.frame()?;
    Some(match entry.has(EntryFlags::LARGE) {
        true => Leaf::Large(frame),
        false => Leaf::Table(frame),
    })
}

impl Run {
    /// Walks the tables of a process from their root.
    pub(crate) fn upper(&self, process: usize) -> Upper {
        let machine = self.subject.machine();
        let root = self.subject.domains[process].space().root();
        let mut upper = Upper {
            tables: vec![root],
            attached: BTreeMap::new(),
        };
        for top in 0..256 {
            let Some(third) = machine.page_table_entry(root, top).frame() else {
                continue;
            };
            upper.tables.push(third);
            for middle in 0..512 {
                let Some(directory) = machine.page_table_entry(third, middle).frame() else {
                    continue;
                };
                upper.tables.push(directory);
                for index in 0..512 {
                    let entry = machine.page_table_entry(directory, index);
                    if entry.is_present() {
                        let va = (top << 39 | middle << 30 | index << 21) as u64;
                        upper.attached.insert(va, entry);
                    }
                }
            }
        }
        upper
    }

    /// How many tables all spaces take up that no region owns.
    pub fn upper_tables(&self) -> u64 {
        (0..PROCESSES)
            .filter(|process| !self.subject.ended[*process])
            .map(|process| self.upper(process).tables.len() as u64)
            .sum()
    }

    /// What is attached to a space is exactly what the model has mapped, and allows no more.
    pub(crate) fn check_space(&self, process: usize, upper: &Upper, leaves: &[Vec<Leaf>]) {
        let number = self.processes[process];
        let mappings = self.spec.mappings.iter();
        let mut expected = 0;
        for mapping in mappings.filter(|m| m.process == number && !m.dead) {
            let region = self.spec.capabilities[mapping.capability].of.region;
            let attached = if self.spec.regions[region].lost {
                0
            } else {
                mapping.leaves
            };
            for leaf in 0..attached {
                let va = mapping.va + leaf * LEAF_SIZE;
                let entry = upper.attached.get(&va).unwrap_or_else(|| {
                    panic!("{va:#x} of process {process} is mapped and not attached")
                });
                let leaf = leaves[region][(mapping.first_leaf + leaf) as usize];
                assert_eq!(attached_leaf(*entry), Some(leaf), "leaf at {va:#x}");
                let execute = mapping.access.contains(Rights::EXECUTE);
                assert_eq!(!entry.has(EntryFlags::NO_EXECUTE), execute, "X at {va:#x}");
                let sealed = self.spec.regions[region].sealed;
                let may_write = mapping.access.contains(Rights::WRITE) && !sealed;
                let writable = entry.has(EntryFlags::WRITABLE);
                assert!(!writable || may_write, "W at {va:#x}");
                expected += 1;
            }
        }
        assert_eq!(upper.attached.len(), expected, "something else is attached");
    }

    /// Every frame is what the walks found it to be, with as many owners (I1, I2, I11).
    pub(crate) fn check_frames(&self, counted: &[Counted]) {
        let machine = self.subject.machine();
        let (mut free, mut upper_tables) = (0, 0);
        for (number, count) in counted.iter().enumerate().skip(1) {
            let frame = Frame::from_number(number as u64);
            let meta = machine.meta(frame);
            if frame == self.zero() {
                // Its count means nothing, and nobody writes it.
                self.check_rest(frame);
                continue;
            }
            upper_tables += u64::from(count.upper);
            let state = match (count.upper, count.tables > 0, count.pages > 0) {
                (false, false, false) => FrameState::Free,
                (true, false, false) | (false, true, false) => FrameState::Table,
                (false, false, true) => FrameState::Region,
                _ => panic!("{frame:?} is several things at once: {count:?}"),
            };
            assert_eq!(meta.state(), state, "{frame:?}");
            let owners = count.tables + count.pages;
            assert_eq!(meta.owners(), owners, "owners of {frame:?}");
            if count.large > 0 {
                let owners = meta.leaf_owners();
                assert_eq!(owners, count.large, "owners of the large leaf at {frame:?}");
            }
            free += u64::from(state == FrameState::Free);
        }
        let pool = machine.pool();
        assert_eq!(pool.free_frames(), free, "free frames");
        let expected = self.spec.available(upper_tables);
        let available = pool.available();
        assert!(
            expected.contains(&available),
            "{available} frames are promised to nobody, not {expected:?}"
        );
    }

    /// An edge is writable only if its target has one owner (I3).
    pub(crate) fn check_writable(
        &self,
        counted: &[Counted],
        leaves: &[Vec<Leaf>],
        uppers: &[Upper],
    ) {
        let owners = |frame: Frame| counted[frame.number() as usize];
        for leaf in leaves.iter().flatten() {
            for index in 0..LEAF_PAGES {
                let entry = self.entry_of(*leaf, index);
                if let Some(frame) = entry.frame().filter(|_| entry.has(EntryFlags::WRITABLE)) {
                    let count = owners(frame);
                    assert_eq!(
                        count.pages, 1,
                        "{frame:?} is writable and shared: {count:?}"
                    );
                }
            }
        }
        for (va, entry) in uppers.iter().flat_map(|upper| &upper.attached) {
            if !entry.has(EntryFlags::WRITABLE) {
                continue;
            }
            match attached_leaf(*entry) {
                Some(Leaf::Table(table)) => {
                    let shared = owners(table).tables;
                    assert_eq!(
                        shared, 1,
                        "the leaf table at {va:#x} is writable and shared"
                    );
                }
                Some(Leaf::Large(first)) => {
                    let numbers = first.number()..first.number() + LEAF_PAGES;
                    let mut frames = numbers.map(Frame::from_number);
                    let alone = owners(first).large == 1;
                    let alone = alone && frames.all(|frame| owners(frame).pages == 1);
                    assert!(alone, "the large leaf at {va:#x} is writable and shared");
                }
                None => {}
            }
        }
    }

    /// What a CPU has cached is what it would find now, or less (I2, I5, I6, I7).
    pub(crate) fn check_cpu(&self, cpu: usize, leaves: &[Vec<Leaf>]) {
        let machine = self.subject.machine();
        let running = self.subject.running[cpu];
        let root = running.map_or(machine.kernel_root(), |place| {
            self.subject.domains[place].space().root()
        });
        assert_eq!(machine.loaded_root(cpu), Some(root), "what CPU {cpu} runs");
        for (cached, large) in machine.cached_leaves(cpu) {
            let (mapping, leaf) = self.shown(cpu, cached.va, leaves);
            let found = match large {
                true => Leaf::Large(cached.frame),
                false => Leaf::Table(cached.frame),
            };
            assert_eq!(found, leaf, "the leaf of CPU {cpu} at {:#x}", cached.va);
            check_cached(cpu, cached, mapping.access, self.has_one_owner(leaf));
        }
        for cached in machine.cached(cpu) {
            let va = cached.va;
            let (mapping, leaf) = self.shown(cpu, va, leaves);
            assert!(matches!(leaf, Leaf::Table(_)), "two sizes at {va:#x}");
            let entry = self.entry_of(leaf, mapping.page_of(va) % LEAF_PAGES);
            assert_eq!(entry.frame(), Some(cached.frame), "CPU {cpu} at {va:#x}");
            let writable = self.has_one_owner(leaf) && entry.has(EntryFlags::WRITABLE);
            check_cached(cpu, cached, mapping.access, writable);
        }
    }

    /// Whether a single region has a leaf, which [`check_frames`](Run::check_frames) has counted.
    fn has_one_owner(&self, leaf: Leaf) -> bool {
        let meta = self.subject.machine().meta(leaf.frame());
        match leaf {
            Leaf::Table(_) => meta.owners() == 1,
            Leaf::Large(_) => meta.leaf_owners() == 1,
        }
    }

    /// The mapping that shows something at an address of the process that a CPU runs, and the leaf
    /// there.
    fn shown(&self, cpu: usize, va: u64, leaves: &[Vec<Leaf>]) -> (&Mapping, Leaf) {
        let place = self.subject.running[cpu]
            .unwrap_or_else(|| panic!("CPU {cpu} has {va:#x} cached and runs no process"));
        let found = self.spec.find(self.processes[place], va);
        let mapping = found
            .map(|at| &self.spec.mappings[at])
            .filter(|mapping| !mapping.dead)
            .unwrap_or_else(|| panic!("CPU {cpu} reaches {va:#x}, where nothing is mapped"));
        let region = self.spec.capabilities[mapping.capability].of.region;
        let leaf = mapping.page_of(va) / LEAF_PAGES;
        (mapping, leaves[region][leaf as usize])
    }
}

/// What is cached allows no more than the mapping, and writing only what has one owner (I3).
fn check_cached(cpu: usize, cached: Translation, access: Rights, may_write: bool) {
    let va = cached.va;
    let write = may_write && access.contains(Rights::WRITE);
    assert!(!cached.write || write, "CPU {cpu} can write {va:#x}");
    let execute = access.contains(Rights::EXECUTE);
    assert!(!cached.execute || execute, "CPU {cpu} can execute {va:#x}");
}
