//! Looks over the whole machine and compares it with the model.
//!
//! It reads the bytes of the page tables as a CPU would, and counts owners, states and promises
//! anew: nothing that the crates believe is taken from them but which leaf tables a region has.

use std::collections::BTreeMap;
use std::ops::Range;

use abi::Rights;
use abi::limits::LEAF_SIZE;
use fake::{FakeMachine, Translation};
use mm::{EntryFlags, Frame, FrameState, Frames};

use crate::spec::{LEAF_PAGES, Mapping, Page, Region, WORDS};
use crate::{CPUS, PROCESSES, Run};

/// What is counted anew of each frame.
#[derive(Clone, Default)]
struct Counted {
    /// Regions that have it as a leaf table.
    tables: u32,
    /// Leaf tables that lead to it.
    pages: u32,
    /// It is an upper table of a space.
    upper: bool,
}

/// Where the upper tables of a space lead: attachments of leaf tables, by address.
struct Upper {
    tables: Vec<Frame>,
    attached: BTreeMap<u64, mm::Entry>,
}

impl Run {
    /// Compares everything. `whole` looks at every word of every page, not only at those that
    /// programs use.
    ///
    /// # Panics
    /// When something is not as the model says: bytes that a CPU can read (I7), reach that it must
    /// not have (I5, I6), rights (I3, I4, I14), states and counts of frames (I1, I2, I11).
    pub fn check(&self, whole: bool) {
        let machine = self.subject.machine();
        let frames = machine.config().frames as usize;
        // Frame 0 is the kernel's, and one more is the zero frame.
        let mut counted = vec![Counted::default(); frames + 2];
        let mut leaves: Vec<Vec<Frame>> = Vec::new();
        for (number, region) in self.regions.iter().enumerate() {
            let Some(real) = region else {
                leaves.push(Vec::new());
                continue;
            };
            let spec = &self.spec.regions[number];
            let leaf_tables = if spec.lost { 0 } else { spec.leaves() };
            let tables: Vec<Frame> = (0..leaf_tables as usize)
                .map(|leaf| {
                    real.leaf_table(0, leaf)
                        .expect("it has as many leaf tables")
                })
                .collect();
            assert_eq!(real.leaf_table(0, tables.len()), None);
            for table in &tables {
                let count = &mut counted[table.number() as usize];
                count.tables += 1;
                if count.tables == 1 {
                    self.count_pages(*table, &mut counted);
                }
            }
            self.check_pages(spec, &tables, whole);
            assert_eq!(real.is_sealed(), spec.sealed, "seal of region {number}");
            leaves.push(tables);
        }
        for process in 0..PROCESSES {
            if !self.subject.ended[process] {
                let upper = self.upper(process);
                for table in &upper.tables {
                    counted[table.number() as usize].upper = true;
                }
                self.check_space(process, &upper, &leaves);
            }
        }
        self.check_frames(machine, &counted);
        self.check_writable(&counted, &leaves);
        for cpu in 0..CPUS {
            self.check_cpu(cpu, &leaves);
        }
        self.check_authority();
        self.check_pinned();
    }

    /// The frame that shows zeros to whoever reads what nobody has written.
    fn zero(&self) -> Frame {
        self.subject.machine().zero_frame()
    }

    fn count_pages(&self, table: Frame, counted: &mut [Counted]) {
        for index in 0..LEAF_PAGES as usize {
            let entry = self.subject.machine().page_table_entry(table, index);
            if let Some(frame) = entry.frame().filter(|frame| *frame != self.zero()) {
                counted[frame.number() as usize].pages += 1;
            }
        }
    }

    /// Every page of a region holds what the model says, or will when it is touched.
    fn check_pages(&self, region: &Region, tables: &[Frame], whole: bool) {
        let machine = self.subject.machine();
        for (leaf, table) in tables.iter().enumerate() {
            for index in 0..LEAF_PAGES {
                let page = leaf as u64 * LEAF_PAGES + index;
                let entry = machine.page_table_entry(*table, index as usize);
                let exists = page < region.pages;
                match entry.frame() {
                    Some(frame) => {
                        assert!(exists, "page {page} is behind the end and present");
                        let found = read_page(machine, frame);
                        assert_eq!(found, region.page(page), "page {page}");
                        if whole {
                            check_rest(machine, frame);
                        }
                    }
                    None => {
                        let fills = entry.has(EntryFlags::FILL);
                        assert_eq!(fills, exists, "whether page {page} can be filled");
                        assert_eq!(region.page(page), Page::default(), "page {page} is lost");
                    }
                }
                let writable = entry.has(EntryFlags::WRITABLE);
                assert!(!writable || entry.has(EntryFlags::MAY_WRITE));
            }
        }
    }

    /// The frames of a region in the order of its pages, as its leaf tables say.
    fn frames_of(&self, number: usize) -> Vec<Option<Frame>> {
        let machine = self.subject.machine();
        let pages = self.spec.regions[number].pages;
        let real = self.regions[number].as_ref();
        let frame = |page: u64| {
            let table = real?.leaf_table(0, (page / LEAF_PAGES) as usize)?;
            let entry = machine.page_table_entry(table, (page % LEAF_PAGES) as usize);
            entry.frame().filter(|frame| *frame != self.zero())
        };
        (0..pages).map(frame).collect()
    }

    /// Pages that were committed have frames.
    pub(crate) fn check_committed(&self, handle: usize, pages: Range<u64>) {
        let capability = self.spec.handles[handle].capability;
        let frames = self.frames_of(self.spec.capabilities[capability].region);
        for page in pages {
            assert!(frames[page as usize].is_some(), "page {page} was committed");
        }
    }

    /// Remembers where the frames of a region are that has just been pinned.
    pub(crate) fn note_pinned(&mut self, handle: usize) {
        let capability = self.spec.handles[handle].capability;
        let region = self.spec.capabilities[capability].region;
        let frames = self.frames_of(region);
        let frames = frames
            .into_iter()
            .map(|frame| frame.expect("it is pinned and not there"));
        let frames = frames.collect();
        let before = self
            .pinned
            .entry(region)
            .or_insert_with_key(|_| Vec::clone(&frames));
        assert_eq!(*before, frames, "a pinned region was pinned again");
    }

    /// What is pinned stays where it is.
    fn check_pinned(&self) {
        for (region, frames) in &self.pinned {
            if !self.spec.regions[*region].pins.is_empty() {
                let now = self.frames_of(*region);
                let same = now.iter().flatten().eq(frames);
                assert!(same, "region {region} is pinned and has other frames");
            }
        }
    }

    /// The tables of a space that no region owns, as a walk from its root finds them.
    fn upper(&self, process: usize) -> Upper {
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
    fn check_space(&self, process: usize, upper: &Upper, leaves: &[Vec<Frame>]) {
        let number = self.processes[process];
        let live = self
            .spec
            .mappings
            .iter()
            .filter(|m| m.process == number && !m.dead);
        let mut expected = 0;
        for mapping in live {
            let region = self.spec.capabilities[mapping.capability].region;
            for leaf in 0..mapping.leaves {
                let va = mapping.va + leaf * LEAF_SIZE;
                let entry = upper.attached.get(&va).unwrap_or_else(|| {
                    panic!("{va:#x} of process {process} is mapped and not attached")
                });
                let table = leaves[region][(mapping.first_leaf + leaf) as usize];
                assert_eq!(entry.frame(), Some(table), "leaf table at {va:#x}");
                let execute = mapping.access.contains(Rights::EXECUTE);
                assert_eq!(!entry.has(EntryFlags::NO_EXECUTE), execute, "X at {va:#x}");
                let writable = entry.has(EntryFlags::WRITABLE);
                let may =
                    mapping.access.contains(Rights::WRITE) && !self.spec.regions[region].sealed;
                assert!(!writable || may, "W at {va:#x}");
                expected += 1;
            }
        }
        assert_eq!(upper.attached.len(), expected, "something else is attached");
    }

    /// Every frame is what the walks found it to be, with as many owners (I1, I2, I11).
    fn check_frames(&self, machine: &FakeMachine, counted: &[Counted]) {
        let (mut free, mut upper_tables) = (0, 0);
        for (number, count) in counted.iter().enumerate().skip(1) {
            let frame = Frame::from_number(number as u64);
            let meta = machine.meta(frame);
            if frame == self.zero() {
                assert_eq!(meta.owners(), 0, "owners of the zero frame");
                check_rest(machine, frame);
                continue;
            }
            upper_tables += u64::from(count.upper);
            let state = match count {
                Counted {
                    tables: 1..,
                    pages: 0,
                    upper: false,
                } => FrameState::Table,
                Counted {
                    tables: 0,
                    pages: 0,
                    upper: true,
                } => FrameState::Table,
                Counted {
                    tables: 0,
                    pages: 1..,
                    upper: false,
                } => FrameState::Region,
                Counted {
                    tables: 0,
                    pages: 0,
                    upper: false,
                } => FrameState::Free,
                _ => panic!("{frame:?} is several things at once"),
            };
            assert_eq!(meta.state(), state, "{frame:?}");
            assert_eq!(
                meta.owners(),
                count.tables + count.pages,
                "owners of {frame:?}"
            );
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
    fn check_writable(&self, counted: &[Counted], leaves: &[Vec<Frame>]) {
        let machine = self.subject.machine();
        for table in leaves.iter().flatten() {
            for index in 0..LEAF_PAGES as usize {
                let entry = machine.page_table_entry(*table, index);
                if let Some(frame) = entry.frame().filter(|_| entry.has(EntryFlags::WRITABLE)) {
                    let owners = counted[frame.number() as usize].pages;
                    assert_eq!(owners, 1, "{frame:?} can be written and has other owners");
                }
            }
        }
        for process in (0..PROCESSES).filter(|process| !self.subject.ended[*process]) {
            for (va, entry) in self.upper(process).attached {
                if let Some(table) = entry.frame().filter(|_| entry.has(EntryFlags::WRITABLE)) {
                    let owners = counted[table.number() as usize].tables;
                    assert_eq!(
                        owners, 1,
                        "the leaf table at {va:#x} is writable and shared"
                    );
                }
            }
        }
    }

    /// What a CPU has cached is what it would find now, or less (I2, I5, I6, I7).
    fn check_cpu(&self, cpu: usize, leaves: &[Vec<Frame>]) {
        let machine = self.subject.machine();
        let running = self.subject.running[cpu];
        let root = running.map_or(machine.kernel_root(), |place| {
            self.subject.domains[place].space().root()
        });
        assert_eq!(machine.loaded_root(cpu), Some(root), "what CPU {cpu} runs");
        for cached in machine.cached_tables(cpu) {
            let (mapping, table) = self.shown(cpu, cached.va, leaves);
            assert_eq!(
                table, cached.frame,
                "the leaf table of CPU {cpu} at {:#x}",
                cached.va
            );
            check_cached(
                cpu,
                cached,
                mapping.access,
                machine.meta(table).owners() == 1,
            );
        }
        for cached in machine.cached(cpu) {
            let (mapping, table) = self.shown(cpu, cached.va, leaves);
            let index = mapping.page_of(cached.va) % LEAF_PAGES;
            let entry = machine.page_table_entry(table, index as usize);
            assert_eq!(
                entry.frame(),
                Some(cached.frame),
                "CPU {cpu} at {:#x}",
                cached.va
            );
            let one_owner = machine.meta(table).owners() == 1;
            let writable = one_owner && entry.has(EntryFlags::WRITABLE);
            check_cached(cpu, cached, mapping.access, writable);
        }
    }

    /// The mapping that shows something at an address of the process that a CPU runs, and the leaf
    /// table there.
    fn shown(&self, cpu: usize, va: u64, leaves: &[Vec<Frame>]) -> (&Mapping, Frame) {
        let place = self.subject.running[cpu]
            .unwrap_or_else(|| panic!("CPU {cpu} has {va:#x} cached and runs no process"));
        let found = self.spec.find(self.processes[place], va);
        let mapping = found
            .map(|at| &self.spec.mappings[at])
            .filter(|mapping| !mapping.dead)
            .unwrap_or_else(|| panic!("CPU {cpu} reaches {va:#x}, where nothing is mapped"));
        let region = self.spec.capabilities[mapping.capability].region;
        let leaf = mapping.page_of(va) / LEAF_PAGES;
        (mapping, leaves[region][leaf as usize])
    }

    /// Every handle is good for what the model says, and as many objects exist (I4, I5).
    fn check_authority(&self) {
        let subject = &self.subject;
        for process in (0..PROCESSES).filter(|process| !subject.ended[*process]) {
            let domain = &subject.domains[process];
            for (register, real) in subject.handles[process].iter().enumerate() {
                let Some(real) = real else { continue };
                let expected = self
                    .spec
                    .look_up(self.handles[process][register], Rights::empty())
                    .map(|at| self.spec.capabilities[at].rights);
                let found = domain
                    .look_up(*real, None, Rights::empty())
                    .map(|capability| capability.node.rights());
                assert_eq!(found, expected, "handle {register} of process {process}");
            }
            let number = self.processes[process];
            let held = self
                .spec
                .handles
                .iter()
                .filter(|handle| handle.process == number && !handle.dropped);
            assert_eq!(domain.handle_count(), held.count() + PROCESSES, "handles");
        }
        let running = subject.ended.iter().filter(|ended| !**ended).count();
        let regions = self
            .spec
            .regions
            .iter()
            .filter(|region| !region.gone)
            .count();
        let objects = (regions + running * PROCESSES) as u64;
        assert_eq!(subject.ipc.object_count(), objects, "objects");
    }
}

fn read_page(machine: &FakeMachine, frame: Frame) -> Page {
    WORDS.map(|word| machine.word(frame, word))
}

/// Nobody ever wrote the other words of a page, so they are as they were made (I15).
fn check_rest(machine: &FakeMachine, frame: Frame) {
    for word in (0..LEAF_PAGES as usize).filter(|word| !WORDS.contains(word)) {
        let found = machine.word(frame, word);
        assert_eq!(found, 0, "word {word} of {frame:?}, which nobody wrote");
    }
}

/// What is cached allows no more than the mapping, and writing only what has one owner (I3).
fn check_cached(cpu: usize, cached: Translation, access: Rights, may_write: bool) {
    let write = may_write && access.contains(Rights::WRITE);
    assert!(
        !cached.write || write,
        "CPU {cpu} can write {:#x}",
        cached.va
    );
    let execute = access.contains(Rights::EXECUTE);
    assert!(
        !cached.execute || execute,
        "CPU {cpu} can execute {:#x}",
        cached.va
    );
}
