//! What the kernel knows of the machine when it starts, whichever loader started it.

use arrayvec::{ArrayString, ArrayVec};

/// Bytes of a frame of physical memory.
pub const FRAME_SIZE: u64 = 4096;

/// Memory below this address is never handed out: firmware and real mode live there.
const LOW_MEMORY_END: u64 = 1 << 20;

/// A half-open range of physical addresses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhysicalRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl PhysicalRange {
    /// The range from `start` up to, not including, `end`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end }
    }

    /// Length in bytes.
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds no byte.
    pub const fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// The smallest range of whole frames around this one.
    pub const fn outer_frames(&self) -> Self {
        Self {
            start: self.start & !(FRAME_SIZE - 1),
            end: self.end.saturating_add(FRAME_SIZE - 1) & !(FRAME_SIZE - 1),
        }
    }

    /// The largest range of whole frames inside this one; it may be empty.
    pub const fn inner_frames(&self) -> Self {
        Self {
            start: self.start.saturating_add(FRAME_SIZE - 1) & !(FRAME_SIZE - 1),
            end: self.end & !(FRAME_SIZE - 1),
        }
    }
}

/// The machine as the loader described it. All of it is copied: nothing points into loader memory.
#[derive(Debug)]
pub struct BootInfo {
    /// Usable RAM from 1 MiB up in whole frames, ascending, without the kernel image and the initrd.
    pub memory: ArrayVec<PhysicalRange, { BootInfo::MAX_RANGES }>,
    /// The initial archive, byte for byte; empty when the loader brought none.
    pub initrd: PhysicalRange,
    /// The kernel's command line; what did not fit into its buffer is cut off.
    pub command_line: ArrayString<{ BootInfo::MAX_COMMAND_LINE }>,
    /// Physical address of the ACPI root pointer, 0 when the loader gave none.
    pub rsdp: u64,
    /// The frames of the kernel image, with its zeroed data.
    pub image: PhysicalRange,
    /// Frames that the loader calls usable, those counted whole that it calls so in part.
    pub usable_frames: u64,
    /// Those of them that are left alone: below 1 MiB, usable in part only, or in a piece more than
    /// are kept.
    pub unused_frames: u64,
    /// A usable frame below 1 MiB for the start of the other CPUs, `None` when there is none.
    pub trampoline: Option<u64>,
}

impl BootInfo {
    /// How many ranges of usable memory are kept; further ones are left unused.
    pub const MAX_RANGES: usize = 64;
    /// How many bytes of the command line are kept.
    pub const MAX_COMMAND_LINE: usize = 1024;

    /// Whether the command line contains `word` between blanks.
    pub fn has_word(&self, word: &str) -> bool {
        self.command_line
            .split_ascii_whitespace()
            .any(|candidate| candidate == word)
    }

    /// The frames that the initrd lies in.
    pub fn initrd_frames(&self) -> PhysicalRange {
        if self.initrd.is_empty() {
            return PhysicalRange::default();
        }
        self.initrd.outer_frames()
    }

    /// For loader modules: takes what the loader calls usable and keeps what the kernel may really use. Image and
    /// initrd have to be set before.
    pub fn set_memory(&mut self, usable: impl Iterator<Item = PhysicalRange>) {
        for given in usable {
            let range = given.inner_frames();
            if range.start < LOW_MEMORY_END && self.trampoline.is_none() {
                self.trampoline = trampoline_frame(range);
            }
            let high = PhysicalRange::new(range.start.max(LOW_MEMORY_END), range.end);
            // A machine with more ranges than fit loses the last of them, nothing else. Image and initrd
            // may split a range each.
            let kept = !high.is_empty() && self.memory.len() < Self::MAX_RANGES - 2;
            if kept {
                self.memory.push(high);
            }
            let all = given.outer_frames().len() / FRAME_SIZE;
            self.usable_frames += all;
            self.unused_frames += all - if kept { high.len() / FRAME_SIZE } else { 0 };
        }
        let (image, initrd) = (self.image, self.initrd_frames());
        remove_range(&mut self.memory, image);
        remove_range(&mut self.memory, initrd);
        self.memory.sort_unstable_by_key(|range| range.start);
    }
}

/// The first frame of low memory in `range` that is not in the first 32 KiB, where real-mode firmware data is.
fn trampoline_frame(range: PhysicalRange) -> Option<u64> {
    const FIRST: u64 = 0x8000;
    let start = range.start.max(FIRST);
    (start + FRAME_SIZE <= range.end.min(LOW_MEMORY_END)).then_some(start)
}

/// Cuts `hole` out of all `ranges`. A range that it splits needs a free slot: without one its upper part is dropped.
pub fn remove_range<const N: usize>(ranges: &mut ArrayVec<PhysicalRange, N>, hole: PhysicalRange) {
    let mut index = 0;
    while index < ranges.len() {
        let range = ranges[index];
        if hole.is_empty() || hole.end <= range.start || range.end <= hole.start {
            index += 1;
            continue;
        }
        let below = PhysicalRange::new(range.start, hole.start.max(range.start));
        let above = PhysicalRange::new(hole.end.min(range.end), range.end);
        match (below.is_empty(), above.is_empty()) {
            (true, true) => {
                ranges.remove(index);
            }
            (false, true) => {
                ranges[index] = below;
                index += 1;
            }
            (true, false) => {
                ranges[index] = above;
                index += 1;
            }
            (false, false) => {
                ranges[index] = below;
                let _ = ranges.try_insert(index + 1, above);
                index += 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> BootInfo {
        BootInfo {
            memory: ArrayVec::new(),
            initrd: PhysicalRange::new(0x70_0123, 0x70_1fff),
            command_line: ArrayString::from("trace selfcheck seed=4").unwrap(),
            rsdp: 0,
            image: PhysicalRange::new(0x20_0000, 0x30_0000),
            usable_frames: 0,
            unused_frames: 0,
            trampoline: None,
        }
    }

    #[test]
    fn usable_memory_excludes_low_memory_image_and_initrd() {
        let mut info = info();
        info.set_memory(
            [
                PhysicalRange::new(0, 0x9_fc00),
                PhysicalRange::new(0x10_0000, 0x80_0000),
            ]
            .into_iter(),
        );
        assert_eq!(
            info.memory.as_slice(),
            [
                PhysicalRange::new(0x10_0000, 0x20_0000),
                PhysicalRange::new(0x30_0000, 0x70_0000),
                PhysicalRange::new(0x70_2000, 0x80_0000),
            ]
        );
        assert_eq!(info.trampoline, Some(0x8000));
    }

    #[test]
    fn every_usable_frame_is_kept_taken_or_counted_as_unused() {
        let mut info = info();
        let pieces = [
            PhysicalRange::new(0, 0x9_fc00),
            PhysicalRange::new(0x10_0800, 0x80_0000),
        ];
        // More pieces than are kept, beside those that image and initrd split.
        let further = (1..BootInfo::MAX_RANGES as u64 + 4)
            .map(|piece| PhysicalRange::new(piece << 24, (piece << 24) + 0x2000));
        info.set_memory(pieces.into_iter().chain(further));
        let kept: u64 = info
            .memory
            .iter()
            .map(|range| range.len() / FRAME_SIZE)
            .sum();
        let taken = (info.image.len() + info.initrd_frames().len()) / FRAME_SIZE;
        assert_eq!(
            info.usable_frames,
            160 + 0x700 + 2 * (BootInfo::MAX_RANGES as u64 + 3)
        );
        assert_eq!(kept + taken + info.unused_frames, info.usable_frames);
        assert!(info.unused_frames > 161);
    }

    #[test]
    fn partial_frames_are_not_usable() {
        let mut info = info();
        info.set_memory([PhysicalRange::new(0x100_0001, 0x100_1fff)].into_iter());
        assert!(info.memory.is_empty());
    }

    #[test]
    fn a_hole_over_several_ranges_cuts_each() {
        let mut ranges: ArrayVec<PhysicalRange, 4> = [
            PhysicalRange::new(0, 10),
            PhysicalRange::new(20, 30),
            PhysicalRange::new(40, 50),
        ]
        .into_iter()
        .collect();
        remove_range(&mut ranges, PhysicalRange::new(5, 45));
        assert_eq!(
            ranges.as_slice(),
            [PhysicalRange::new(0, 5), PhysicalRange::new(45, 50)]
        );
    }

    #[test]
    fn words_are_whole() {
        assert!(info().has_word("selfcheck"));
        assert!(!info().has_word("self"));
    }
}
