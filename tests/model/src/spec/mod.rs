//! The model: what the design documents say, by value.
//!
//! A region is its bytes, a snapshot is a copy of them, a capability is an entry in a list with the
//! number of the one it came from. There are no trees, tables, counts of owners or page tables
//! here, and nothing of `mm` and `ipc` is used, so that both can't be wrong in the same way.

mod authority;
mod memory;
mod narrowing;
mod regions;
mod transfers;

use std::collections::BTreeMap;

use abi::{Mode, Rights};

use crate::tree;
pub use memory::Wanted;
pub use regions::Copied;
pub use transfers::Given;
pub use tree::Narrowed;

/// The words of a page that programs use; all others stay zero.
pub const WORDS: [usize; 4] = [0, 1, 300, 511];

/// Pages behind one leaf table.
pub const LEAF_PAGES: u64 = 512;

/// What is in the words of a page that programs use.
pub type Page = [u64; WORDS.len()];

/// Memory, by value.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its length in pages.
    pub pages: u64,
    /// The pages that are not all zero.
    pub bytes: BTreeMap<u64, Page>,
    /// Nobody may write it any more.
    pub sealed: bool,
    /// It may be written in one mapping and executed in another at once.
    pub jit: bool,
    /// Its frames follow one another and are there from the beginning (S3).
    pub contiguous: bool,
    /// It is promised nothing.
    pub overcommit: bool,
    /// It had overcommitted, and its memory was needed.
    pub lost: bool,
    /// The capabilities that have pinned it, once for each pin.
    pub pins: Vec<usize>,
    /// The region that it descends from by snapshots, itself if by none.
    pub family: usize,
    /// Nothing is left of it.
    pub gone: bool,
}

impl Region {
    /// Its leaf tables.
    pub fn leaves(&self) -> u64 {
        self.pages.div_ceil(LEAF_PAGES)
    }

    /// The frames that it can come to hold: its pages and its tables.
    pub fn worst(&self) -> u64 {
        self.pages + self.leaves()
    }

    /// The frames that it has taken or been promised.
    pub fn charge(&self) -> u64 {
        if self.overcommit { 0 } else { self.worst() }
    }

    /// What a page holds.
    pub fn page(&self, page: u64) -> Page {
        self.bytes.get(&page).copied().unwrap_or_default()
    }
}

/// Who has a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// Nobody, or nobody any more.
    #[default]
    Nobody,
    /// A process, by number.
    Process(usize),
    /// A token that stands for a Share.
    Token,
    /// A token that stands for a Move.
    Transit,
}

/// Some leaf tables of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first.
    pub first: u64,
    /// How many; none for whatever the region has.
    pub count: Option<u64>,
}

impl Part {
    /// All of any region.
    pub const WHOLE: Part = Part {
        first: 0,
        count: None,
    };
}

/// What a capability is of.
#[derive(Clone, Copy, Debug)]
pub struct Covered {
    /// The number of the region.
    pub region: usize,
    /// How much of it.
    pub part: Part,
}

/// A way to a region.
pub type Capability = tree::Capability<Covered, Holder>;

/// A handle that was given out once.
#[derive(Clone, Copy, Debug)]
pub struct Issued {
    /// To this process.
    pub process: usize,
    /// For this capability.
    pub capability: usize,
    /// It was given back or moved away.
    pub dropped: bool,
}

/// Part of a region at an address of a process.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// The process.
    pub process: usize,
    /// Its first address.
    pub va: u64,
    /// The capability that it was made under.
    pub capability: usize,
    /// The first leaf table that it shows.
    pub first_leaf: u64,
    /// How many leaf tables it shows.
    pub leaves: u64,
    /// Nothing else may be 2 MiB before and behind it.
    pub guard: bool,
    /// What it allows.
    pub access: Rights,
    /// What it may be changed to allow.
    pub limit: Rights,
    /// It was taken away. Only an answer that tells so is left of it.
    pub dead: bool,
}

/// What a grant returned.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// Who granted.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// The capability that it stands for.
    pub capability: usize,
    /// How it is handed over.
    pub mode: Mode,
    /// The handle that was moved, and what it allowed.
    pub source: (usize, Rights),
    /// When it is worth nothing any more.
    pub until: u64,
    /// It can still be accepted.
    pub open: bool,
}

/// Everything there is. Numbers are places in these lists and are never used twice.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Frames that the machine has.
    pub frames: u64,
    /// The time of the clock.
    pub now: u64,
    /// Whether each process has ended.
    pub ended: Vec<bool>,
    /// All regions.
    pub regions: Vec<Region>,
    /// All capabilities of regions.
    pub capabilities: Vec<Capability>,
    /// All handles.
    pub handles: Vec<Issued>,
    /// All mappings.
    pub mappings: Vec<Mapping>,
    /// All tokens.
    pub tokens: Vec<Token>,
}
