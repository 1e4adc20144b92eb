//! Looks over the whole machine and compares what `mm` believes with what is there.

use std::collections::HashMap;
use std::sync::Arc;

use abi::RegionKind;
use mm::{AddressSpace, Entry, EntryFlags, Frame, FrameState, Frames, Region};

use crate::Memory;
use crate::machine::lock;
use crate::tlb::{below, walk};

/// The frames of a machine by state, and what is promised of them (I11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Free frames.
    pub free: u64,
    /// Free frames that are promised to nobody.
    pub available: u64,
    /// Page tables.
    pub tables: u64,
    /// Pages of regions.
    pub pages: u64,
}

/// Counts the frames by state.
///
/// # Panics
/// When the allocator counts other ones free.
pub fn counts(memory: &Memory) -> Counts {
    let pool = memory.machine().pool();
    let mut counts = Counts {
        available: pool.available(),
        ..Counts::default()
    };
    for frame in frames(memory) {
        match pool.meta(frame).state() {
            FrameState::Free => counts.free += 1,
            FrameState::Table => counts.tables += 1,
            FrameState::Region => counts.pages += 1,
            FrameState::Reserved | FrameState::Kernel => {}
        }
    }
    assert_eq!(counts.free, pool.free_frames(), "free frames");
    counts
}

/// Checks the machine while nobody changes anything, given everything that lives on it.
///
/// # Panics
/// When a frame or table is lost, reached although it is free, or counted wrongly (I1, I2, I11);
/// when accounts are charged with something else than what is held (I11);
/// when an entry allows writing what may not be written, or writing and executing (I3, I14); when
/// a frame has two cache policies, or memory another than write-back (S16); when promises do not
/// add up; when a CPU has cached more than the tables allow (I5).
pub fn audit(memory: &Memory, spaces: &[Arc<AddressSpace>], regions: &[Arc<Region>]) {
    let machine = memory.machine();
    let counts = counts(memory);

    // A family of snapshots has one promise.
    let promised: HashMap<u64, u64> = regions
        .iter()
        .map(|region| (region.family(), region.reserved_frames()))
        .collect();
    let promised: u64 = promised.values().sum();
    assert_eq!(counts.available + promised, counts.free, "promises");

    // The owners of leaves, counted anew.
    let mut tables_held: HashMap<Frame, u32> = HashMap::new();
    let mut large_held: HashMap<Frame, u32> = HashMap::new();
    for region in regions {
        memory.for_each_leaf(region, |frame, large| {
            let held = if large {
                &mut large_held
            } else {
                &mut tables_held
            };
            *held.entry(frame).or_default() += 1;
        });
    }
    let owners = |frame: Frame| machine.meta(frame).owners();
    for (table, held) in &tables_held {
        assert_eq!(owners(*table), *held, "owners of leaf table {table:?}");
    }
    for (first, held) in &large_held {
        let owners = machine.meta(*first).leaf_owners();
        assert_eq!(owners, *held, "owners of the large leaf at {first:?}");
    }
    let leaf_tables = frames(memory)
        .filter(|frame| machine.meta(*frame).state() == FrameState::Table && owners(*frame) > 0)
        .count();
    assert_eq!(tables_held.len(), leaf_tables, "leaf tables");
    let leaf_tables = leaf_tables as u64;
    let upper_tables: u64 = spaces.iter().map(|space| upper(memory, space.root())).sum();
    assert_eq!(leaf_tables + upper_tables, counts.tables, "page tables");
    let taken = counts.tables + counts.pages;
    let held = tables_held.values().chain(large_held.values());
    let edges = held.copied().map(u64::from).sum::<u64>();
    audit_accounts(memory, edges + upper_tables, taken, regions);

    let fixed: Vec<Frame> = regions
        .iter()
        .flat_map(|region| (0..).map_while(|index| region.fixed_frame(index)))
        .collect();
    // What others allow is for their mappings to say.
    let mut images: Vec<Frame> = Vec::new();
    let of_images = |region: &&Arc<Region>| region.kind() == RegionKind::Image;
    for region in regions.iter().filter(of_images) {
        memory.for_each_leaf(region, |frame, _| images.push(frame));
    }
    let mut reached: HashMap<Frame, u32> = HashMap::new();
    let mut policies: HashMap<Frame, EntryFlags> = HashMap::new();
    for table in frames(memory) {
        let meta = machine.meta(table);
        // The upper tables belong to a space and have no owners to count.
        if meta.state() != FrameState::Table || meta.owners() == 0 {
            continue;
        }
        for index in 0..512 {
            let entry = machine.entry(table, index);
            let Some(frame) = entry.frame() else { continue };
            let is_memory = frame.number() >= machine.config.first_frame();
            let may_be_written = is_memory && entry.has(EntryFlags::WRITABLE) && meta.owners() == 1;
            assert!(
                !may_be_written || machine.meta(frame).owners() == 1,
                "{frame:?} can be written and is shared"
            );
            *reached.entry(frame).or_default() += 1;
            let policy = entry.flags() & EntryFlags::CACHE;
            let other = policies.insert(frame, policy).unwrap_or(policy);
            assert_eq!(policy, other, "two cache policies of {frame:?}");
            assert!(
                !is_memory || policy.is_empty(),
                "memory is cached by {policy:?}"
            );
            if entry.has(EntryFlags::WRITABLE) {
                assert!(entry.has(EntryFlags::MAY_WRITE), "W without the permission");
                let by_pages = images.contains(&table);
                assert!(!by_pages || entry.has(EntryFlags::NO_EXECUTE), "W and X");
            }
        }
    }
    for first in large_held.keys() {
        for number in first.number()..first.number() + 512 {
            *reached.entry(Frame::from_number(number)).or_default() += 1;
        }
    }
    for frame in frames(memory) {
        let meta = machine.meta(frame);
        let entries = reached.get(&frame).copied().unwrap_or(0);
        match meta.state() {
            FrameState::Region if fixed.contains(&frame) => assert_eq!(meta.owners(), 1),
            FrameState::Region => assert_eq!(meta.owners(), entries, "owners of {frame:?}"),
            state => assert_eq!(entries, 0, "{frame:?} is {state:?} and reached"),
        }
    }
    audit_tlbs(memory);
}

/// Accounts are charged with what regions hold and may come to hold (I11): every edge to a leaf table
/// and to a page, shared or not, and never less than what was taken.
fn audit_accounts(memory: &Memory, edges: u64, taken: u64, regions: &[Arc<Region>]) {
    let used = memory.account().used();
    assert_eq!(used.tables, edges, "tables charged");
    let mut pages = 0;
    for region in regions {
        let (payer, charged) = region.charged();
        if !matches!(region.kind(), RegionKind::Initrd | RegionKind::Device) && !region.is_lost() {
            let held = region.present_pages()..=region.pages();
            assert!(held.contains(&charged.frames), "{charged:?}: {region:?}");
        }
        let of_payer = payer.used();
        assert!(
            charged.frames <= of_payer.frames && charged.tables <= of_payer.tables,
            "{payer:?} pays for {charged:?}"
        );
        pages += charged.frames;
    }
    assert_eq!(used.frames, pages, "pages charged");
    assert!(
        used.frames + used.tables >= taken,
        "less is charged than was taken"
    );
}

/// What no CPU may have cached: anything that its tables do not say, more than they allow, or a
/// frame by two policies.
fn audit_tlbs(memory: &Memory) {
    let machine = memory.machine();
    let load = |table, index| machine.entry(table, index);
    let mut policies: HashMap<Frame, EntryFlags> = HashMap::new();
    for (number, cpu) in machine.cpus.iter().enumerate() {
        let tlb = lock(&cpu.tlb);
        let Some(root) = tlb.root else { continue };
        for (part, cached) in &tlb.directories {
            let now = walk(root, part << 21, &load);
            assert!(
                now.is_some_and(
                    |now| now.frame == cached.frame && cached.allowed.within(now.allowed)
                ),
                "CPU {number} has {cached:?} cached for {:#x}, where {now:?} is",
                part << 21
            );
        }
        let large = tlb.large.iter().flat_map(|(part, cached)| {
            (part << 9..(part + 1) << 9).map(move |page| (page, cached.of_page(page)))
        });
        let small = tlb.pages.iter().map(|(page, cached)| (*page, *cached));
        for (page, cached) in small.chain(large) {
            let now = walk(root, page << 12, &load).and_then(|leaf| match leaf.large {
                true => Some(leaf.of_page(page)),
                false => below(leaf, load(leaf.frame, page as usize & 511)),
            });
            let policy = policies.entry(cached.frame).or_insert(cached.policy);
            assert_eq!(
                *policy, cached.policy,
                "CPU {number} has a second cache policy of {:?}",
                cached.frame
            );
            assert!(
                now.is_some_and(
                    |now| now.frame == cached.frame && cached.allowed.within(now.allowed)
                ),
                "CPU {number} has {cached:?} cached for {:#x}, where {now:?} is",
                page << 12
            );
        }
    }
}

/// The upper tables below a root, itself among them.
fn upper(memory: &Memory, root: Frame) -> u64 {
    let machine = memory.machine();
    let children = |table: Frame, entries: std::ops::Range<usize>| {
        entries.filter_map(move |index| machine.entry(table, index).frame())
    };
    let mut count = 1;
    for pdpt in children(root, 0..256) {
        count += 1;
        for directory in children(pdpt, 0..512) {
            count += 1;
            for index in 0..512 {
                let entry = machine.entry(directory, index);
                let Some(leaf) = entry.frame() else { continue };
                let meta = machine.meta(leaf);
                // What it allows is narrowed by the pages of a table (I14).
                let both = |entry: Entry| {
                    entry.has(EntryFlags::WRITABLE) && !entry.has(EntryFlags::NO_EXECUTE)
                };
                let is_large = entry.has(EntryFlags::LARGE);
                let mut pages = (0..512).map(|index| machine.entry(leaf, index));
                assert!(
                    !both(entry) || !is_large && !pages.any(both),
                    "{leaf:?} can be written and executed"
                );
                if is_large {
                    assert_eq!(meta.state(), FrameState::Region, "{leaf:?} is attached");
                    let owners = meta.leaf_owners();
                    assert!(owners > 0, "{leaf:?} is attached and nobody's");
                    let writable = entry.has(EntryFlags::WRITABLE);
                    assert!(!writable || owners == 1 && !meta.is_counted());
                    continue;
                }
                assert_eq!(meta.state(), FrameState::Table, "{leaf:?} is attached");
                assert!(meta.owners() > 0, "{leaf:?} is attached and nobody's");
            }
        }
    }
    count
}

fn frames(memory: &Memory) -> impl Iterator<Item = Frame> {
    let config = memory.machine().config();
    let first = config.first_frame();
    (first..first + config.frames).map(Frame::from_number)
}
