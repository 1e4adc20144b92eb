//! What one CPU has cached of page tables (Intel SDM volume 3, section 4.10).
//!
//! Translations stay until they are flushed, also those that allow less than the tables do by now.
//! The entries of page directories are cached too, as paging-structure caches do: one goes with the
//! flush of *any* page, or with a flush of everything. An address that is cached in two sizes is a
//! panic: which of them a CPU takes is undefined.

use std::collections::HashMap;

use mm::{CpuId, Entry, EntryFlags, Frame};

/// What an instruction does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// An access that a CPU refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// The CPU.
    pub cpu: CpuId,
    /// The address.
    pub va: u64,
    /// What was tried.
    pub access: Access,
    /// Whether there was a translation, which did not allow it.
    pub present: bool,
}

/// What ring 3 may do through an entry, and everything above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) user: bool,
    pub(crate) write: bool,
    pub(crate) execute: bool,
}

impl Allowed {
    pub(crate) const ALL: Allowed = Allowed {
        user: true,
        write: true,
        execute: true,
    };

    /// What is left below an entry that has `flags`.
    pub(crate) fn through(self, flags: EntryFlags) -> Allowed {
        Allowed {
            user: self.user && flags.contains(EntryFlags::USER),
            write: self.write && flags.contains(EntryFlags::WRITABLE),
            execute: self.execute && !flags.contains(EntryFlags::NO_EXECUTE),
        }
    }

    pub(crate) fn permits(self, access: Access) -> bool {
        self.user
            && match access {
                Access::Read => true,
                Access::Write => self.write,
                Access::Execute => self.execute,
            }
    }

    /// Whether it is at most what `other` is.
    pub(crate) fn within(self, other: Allowed) -> bool {
        self.user <= other.user && self.write <= other.write && self.execute <= other.execute
    }
}

/// Where a part of an address leads, and what it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) frame: Frame,
    /// Whether it leads to 2 MiB, and not to a table.
    pub(crate) large: bool,
    pub(crate) allowed: Allowed,
    /// The cache policy that its last entry says.
    pub(crate) policy: EntryFlags,
}

/// The caches of one CPU, and the tables that it translates by.
#[derive(Debug, Default)]
pub(crate) struct Tlb {
    pub(crate) root: Option<Frame>,
    /// By page number.
    pub(crate) pages: HashMap<u64, Cached>,
    /// Translations of 2 MiB, by their number.
    pub(crate) large: HashMap<u64, Cached>,
    /// Leaf tables, by the number of the 2 MiB that they stand for.
    pub(crate) directories: HashMap<u64, Cached>,
}

impl Tlb {
    pub(crate) fn flush_page(&mut self, va: u64) {
        self.pages.remove(&(va >> 12));
        self.large.remove(&(va >> 21));
        self.directories.clear();
    }

    pub(crate) fn flush_all(&mut self) {
        self.pages.clear();
        self.large.clear();
        self.directories.clear();
    }

    /// The frame that an access reaches. `load` reads an entry of a table.
    pub(crate) fn translate(
        &mut self,
        cpu: CpuId,
        va: u64,
        access: Access,
        load: impl Fn(Frame, usize) -> Entry,
    ) -> Result<Frame, PageFault> {
        let fault = |present| PageFault {
            cpu,
            va,
            access,
            present,
        };
        let page = va >> 12;
        let small = self.pages.get(&page).copied();
        let large = self.large.get(&(va >> 21)).copied();
        assert!(
            small.is_none() || large.is_none(),
            "CPU {cpu} has {va:#x} cached in two sizes: {small:?} and {large:?}"
        );
        let cached = match (small, large) {
            (Some(cached), _) => cached,
            (None, Some(cached)) => {
                // A CPU may walk the tables at any time, whatever it has cached.
                let now = self.root.and_then(|root| walk(root, va, &load));
                assert!(
                    now.is_none_or(|now| now.large),
                    "CPU {cpu} has 2 MiB around {va:#x} cached where a table is by now"
                );
                cached.of_page(page)
            }
            (None, None) => {
                let leaf = match self.directories.get(&(va >> 21)) {
                    Some(leaf) => *leaf,
                    None => {
                        let root = self.root.ok_or(fault(false))?;
                        let leaf = walk(root, va, &load).ok_or(fault(false))?;
                        if leaf.large {
                            self.cache_large(cpu, va >> 21, leaf);
                        } else {
                            self.directories.insert(va >> 21, leaf);
                        }
                        leaf
                    }
                };
                if leaf.large {
                    let cached = leaf.of_page(page);
                    return match cached.allowed.permits(access) {
                        true => Ok(cached.frame),
                        false => Err(fault(true)),
                    };
                }
                let entry = load(leaf.frame, page as usize & 511);
                let cached = below(leaf, entry).ok_or(fault(false))?;
                assert!(
                    !entry.has(EntryFlags::WRITABLE) || entry.has(EntryFlags::DIRTY),
                    "the CPU would have to write the D bit of {entry:?}"
                );
                self.pages.insert(page, cached);
                cached
            }
        };
        if cached.allowed.permits(access) {
            Ok(cached.frame)
        } else {
            Err(fault(true))
        }
    }
}

impl Tlb {
    fn cache_large(&mut self, cpu: CpuId, part: u64, leaf: Cached) {
        let small = self.pages.keys().find(|page| **page >> 9 == part);
        assert!(
            small.is_none(),
            "CPU {cpu} has page {small:?} cached and caches the 2 MiB around it"
        );
        self.large.insert(part, leaf);
    }
}

impl Cached {
    /// Where a page of 2 MiB leads.
    pub(crate) fn of_page(self, page: u64) -> Cached {
        Cached {
            frame: Frame::from_number(self.frame.number() + (page & 511)),
            large: false,
            ..self
        }
    }
}

/// The leaf table for an address, and what the levels above it allow.
pub(crate) fn walk(root: Frame, va: u64, load: &impl Fn(Frame, usize) -> Entry) -> Option<Cached> {
    let mut at = Cached {
        frame: root,
        large: false,
        allowed: Allowed::ALL,
        policy: EntryFlags::empty(),
    };
    for level in [3, 2, 1] {
        let entry = load(at.frame, (va >> (12 + 9 * level)) as usize & 511);
        at = below(at, entry)?;
        at.large = level == 1 && entry.has(EntryFlags::LARGE);
        if at.large {
            // The bit says the size here, not the policy.
            at.policy -= EntryFlags::ATTRIBUTE;
        }
    }
    Some(at)
}

/// Where an entry of a table leads.
pub(crate) fn below(table: Cached, entry: Entry) -> Option<Cached> {
    let frame = entry.frame()?;
    assert!(
        entry.has(EntryFlags::ACCESSED),
        "the CPU would have to write the A bit of {entry:?}"
    );
    Some(Cached {
        frame,
        large: false,
        allowed: table.allowed.through(entry.flags()),
        policy: entry.flags() & EntryFlags::CACHE,
    })
}
