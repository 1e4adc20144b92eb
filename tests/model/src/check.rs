//! Looks over the whole machine and compares it with the model.
//!
//! It reads the bytes of the page tables as a CPU would, and counts owners, states and promises
//! anew: nothing that the crates believe is taken from them but which leaves a region has.

use std::ops::Range;

use abi::limits::{LEAF_SIZE, PAGE_SIZE};
use abi::{CapInfo, DeriveFlags, Rights};
use mm::{Entry, EntryFlags, Frame, Frames};

use crate::spec::{Covered, LEAF_PAGES, Page, Region, WORDS};
use crate::{CPUS, PROCESSES, Run};

/// What stands for 2 MiB of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// A page table.
    Table(Frame),
    /// 512 frames in a row, of which this is the first.
    Large(Frame),
}

impl Leaf {
    /// Its first or only frame.
    pub(crate) fn frame(self) -> Frame {
        match self {
            Leaf::Table(frame) | Leaf::Large(frame) => frame,
        }
    }
}

/// What is counted anew of each frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Regions that have it as a leaf table.
    pub(crate) tables: u32,
    /// Regions that have the large leaf which begins with it.
    pub(crate) large: u32,
    /// Leaves that lead to it, or have it.
    pub(crate) pages: u32,
    /// It is an upper table of a space.
    pub(crate) upper: bool,
}

impl Run {
    /// Compares everything. `whole` looks at every word of every page, not only at those that
    /// programs use.
    ///
    /// # Panics
    /// When something is not as the model says: bytes that a CPU can read (I7), reach that it must
    /// not have (I5, I6), rights (I3, I4, I14), states and counts of frames (I1, I2, I11).
    pub fn check(&self, whole: bool) {
        let frames = self.subject.machine().config().frames as usize;
        // Frame 0 is the kernel's, and one more is the zero frame.
        let mut counted = vec![Counted::default(); frames + 2];
        let mut leaves: Vec<Vec<Leaf>> = Vec::new();
        for (number, region) in self.regions.iter().enumerate() {
            let held = self.leaves_of(number);
            if let Some(real) = region {
                let spec = &self.spec.regions[number];
                let expected = if spec.lost { 0 } else { spec.leaves() };
                assert_eq!(held.len() as u64, expected, "leaves of region {number}");
                assert_eq!(real.is_sealed(), spec.sealed, "seal of region {number}");
                self.check_pages(spec, &held, whole);
                if spec.contiguous {
                    self.check_run(number, real.physical_address());
                }
            }
            for leaf in &held {
                self.count(*leaf, &mut counted);
            }
            leaves.push(held);
        }
        let mut uppers = Vec::new();
        for process in (0..PROCESSES).filter(|process| !self.subject.ended[*process]) {
            let upper = self.upper(process);
            for table in &upper.tables {
                counted[table.number() as usize].upper = true;
            }
            self.check_space(process, &upper, &leaves);
            uppers.push(upper);
        }
        self.check_frames(&counted);
        self.check_writable(&counted, &leaves, &uppers);
        for cpu in 0..CPUS {
            self.check_cpu(cpu, &leaves);
        }
        self.check_authority(whole);
        self.check_pinned();
    }

    /// The frame that shows zeros to whoever reads what nobody has written.
    pub(crate) fn zero(&self) -> Frame {
        self.subject.machine().zero_frame()
    }

    /// The leaves of a region, in order.
    fn leaves_of(&self, number: usize) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        if let Some(real) = &self.regions[number] {
            let memory = self.subject.memory();
            memory.for_each_leaf(real, |frame, large| {
                leaves.push(match large {
                    true => Leaf::Large(frame),
                    false => Leaf::Table(frame),
                });
            });
        }
        leaves
    }

    /// The entry of a page of a leaf; for a large leaf, which has none, its frame and nothing more.
    pub(crate) fn entry_of(&self, leaf: Leaf, index: u64) -> Entry {
        match leaf {
            Leaf::Table(table) => self
                .subject
                .machine()
                .page_table_entry(table, index as usize),
            Leaf::Large(first) => {
                let frame = Frame::from_number(first.number() + index);
                Entry::new(frame, EntryFlags::PRESENT)
            }
        }
    }

    /// Counts one more region that has a leaf, and the first time what the leaf leads to.
    fn count(&self, leaf: Leaf, counted: &mut [Counted]) {
        let count = &mut counted[leaf.frame().number() as usize];
        let holders = match leaf {
            Leaf::Table(_) => &mut count.tables,
            Leaf::Large(_) => &mut count.large,
        };
        *holders += 1;
        if *holders > 1 {
            return;
        }
        for index in 0..LEAF_PAGES {
            let frame = self.entry_of(leaf, index).frame();
            if let Some(frame) = frame.filter(|frame| *frame != self.zero()) {
                counted[frame.number() as usize].pages += 1;
            }
        }
    }

    /// Every page of a region holds what the model says, or will when it is touched.
    fn check_pages(&self, region: &Region, leaves: &[Leaf], whole: bool) {
        let machine = self.subject.machine();
        for (number, leaf) in leaves.iter().enumerate() {
            for index in 0..LEAF_PAGES {
                let page = number as u64 * LEAF_PAGES + index;
                let entry = self.entry_of(*leaf, index);
                let exists = page < region.pages;
                match entry.frame() {
                    Some(frame) => {
                        assert!(exists, "page {page} is behind the end and present");
                        let found: Page = WORDS.map(|word| machine.word(frame, word));
                        assert_eq!(found, region.page(page), "page {page}");
                        if whole {
                            self.check_rest(frame);
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

    /// Nobody ever wrote the other words of a page, so they are as they were made (I15).
    pub(crate) fn check_rest(&self, frame: Frame) {
        for word in (0..LEAF_PAGES as usize).filter(|word| !WORDS.contains(word)) {
            let found = self.subject.machine().word(frame, word);
            assert_eq!(found, 0, "word {word} of {frame:?}, which nobody wrote");
        }
    }

    /// The frames of a region in the order of its pages.
    fn frames_of(&self, number: usize) -> Vec<Option<Frame>> {
        let pages = self.spec.regions[number].pages;
        let leaves = self.leaves_of(number);
        let frame = |page: u64| {
            let leaf = *leaves.get((page / LEAF_PAGES) as usize)?;
            let frame = self.entry_of(leaf, page % LEAF_PAGES).frame();
            frame.filter(|frame| *frame != self.zero())
        };
        (0..pages).map(frame).collect()
    }

    /// Frames follow one another from an address on.
    fn check_run(&self, number: usize, address: Option<u64>) {
        let frames = self.frames_of(number);
        let first = frames[0].map(Frame::address);
        assert_eq!(first, address, "where region {number} begins");
        for (before, after) in frames.iter().zip(&frames[1..]) {
            let next = before.map(|frame| frame.number() + 1);
            assert_eq!(
                after.map(Frame::number),
                next,
                "region {number} is in pieces"
            );
        }
    }

    /// Pages that were committed have frames.
    pub(crate) fn check_committed(&self, handle: usize, pages: Range<u64>) {
        let capability = self.spec.handles[handle].capability;
        let frames = self.frames_of(self.spec.capabilities[capability].of.region);
        for page in pages {
            assert!(frames[page as usize].is_some(), "page {page} was committed");
        }
    }

    /// Remembers where the frames are of what was pinned just now: of the part that the capability is of.
    pub(crate) fn note_pinned(&mut self, handle: usize) {
        let capability = self.spec.handles[handle].capability;
        let Covered { region, part } = self.spec.capabilities[capability].of;
        let pages = part.pages(&self.spec.regions[region], 0, 0);
        let now = self.frames_of(region);
        let noted = self.pinned.entry(region).or_default();
        noted.resize(now.len(), None);
        for page in pages.expect("what was pinned is part of it") {
            let frame = now[page as usize].expect("it is pinned and not there");
            let before = noted[page as usize].get_or_insert(frame);
            assert_eq!(*before, frame, "a pinned page was pinned again");
        }
    }

    /// What is pinned stays where it is.
    fn check_pinned(&self) {
        for (region, noted) in &self.pinned {
            let now = self.frames_of(*region);
            let mut pages = noted.iter().zip(&now);
            let same = pages.all(|(noted, now)| noted.is_none() || noted == now);
            assert!(same, "region {region} is pinned and has other frames");
        }
    }

    /// Every handle is good for what the model says, and as many objects exist (I4, I5). `whole`
    /// looks at all that is told of each.
    fn check_authority(&self, whole: bool) {
        let subject = &self.subject;
        for process in (0..PROCESSES).filter(|process| !subject.ended[*process]) {
            let domain = &subject.domains[process];
            for (register, real) in subject.handles[process].iter().enumerate() {
                let Some(real) = real else { continue };
                let number = self.handles[process][register];
                let expected = self
                    .spec
                    .look_up(number, Rights::empty())
                    .map(|at| self.spec.capabilities[at].rights);
                let found = domain
                    .look_up(*real, None, Rights::empty())
                    .map(|capability| capability.node.rights());
                subject.settle(false);
                assert_eq!(found, expected, "handle {register} of process {process}");
                if let (true, Ok(at)) = (whole, self.spec.look_up(number, Rights::empty())) {
                    let told = subject.ipc.capability_info(domain, *real);
                    self.check_told(at, told.expect("it is good"));
                }
            }
            let number = self.processes[process];
            let handles = self.spec.handles.iter();
            let held = handles.filter(|handle| handle.process == number && !handle.dropped);
            assert_eq!(domain.handle_count(), held.count() + PROCESSES, "handles");
        }
        let running = subject.ended.iter().filter(|ended| !**ended).count();
        let regions = self.spec.regions.iter().filter(|region| !region.gone);
        let objects = (regions.count() + running * PROCESSES) as u64;
        assert_eq!(subject.ipc.object_count(), objects, "objects");
    }

    /// What is told of a capability is so.
    fn check_told(&self, at: usize, told: CapInfo) {
        let known = &self.spec.capabilities[at];
        let region = &self.spec.regions[known.of.region];
        let leaves = known.of.part.leaves(region, 0, 0);
        let leaves = leaves.expect("a part is never empty");
        let start = leaves.start * LEAF_SIZE;
        let end = (region.pages * PAGE_SIZE).min(leaves.end * LEAF_SIZE);
        assert_eq!((told.offset, told.len), (start, end - start), "the part");
        assert_eq!((told.badge, told.deadline), (known.badge, known.until));
        let once = told.flags & DeriveFlags::ONE_SHOT.bits() != 0;
        assert_eq!(once, known.once, "whether it is for one use");
        assert_eq!(told.nodes_left, self.spec.nodes_left(at), "nodes left");
        assert_eq!(told.descendants, self.spec.descendants(at), "descendants");
    }
}
