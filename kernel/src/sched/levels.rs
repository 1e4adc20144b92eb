//! What is ready on a CPU: a list of threads for each level of urgency, and a bitmap of the levels
//! that have somebody. Every operation takes constant time and no memory.
//!
//! It knows threads by their slots alone, and nothing of this kernel: the host tests have it too.

use alloc::vec::Vec;

/// Levels; the last one is the most urgent. Level 0 is that of a CPU that has nothing to do.
pub const LEVELS: usize = u64::BITS as usize;

/// No slot, and the level of a slot that is in no list.
const NONE: u16 = u16::MAX;
const NOWHERE: u8 = u8::MAX;

/// The neighbours of a slot in the list of its level.
#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u16,
    next: u16,
    level: u8,
}

/// The ends of a list.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u16,
    last: u16,
}

/// The ready threads of one CPU.
#[derive(Debug)]
pub struct Levels {
    /// A bit for each level that has somebody.
    used: u64,
    lists: [List; LEVELS],
    links: Vec<Link>,
}

impl Levels {
    /// Nobody, and room for nobody.
    pub const fn new() -> Levels {
        Levels {
            used: 0,
            lists: [List {
                first: NONE,
                last: NONE,
            }; LEVELS],
            links: Vec::new(),
        }
    }

    /// Makes room for the slots below `count`. Nobody is ready yet.
    pub fn make_room(&mut self, count: usize) {
        let nowhere = Link {
            previous: NONE,
            next: NONE,
            level: NOWHERE,
        };
        self.links.resize(count, nowhere);
    }

    /// The most urgent level that has somebody.
    #[inline]
    pub fn top(&self) -> Option<u8> {
        self.used.checked_ilog2().map(|level| level as u8)
    }

    /// Puts a slot that is in no list behind all others of its level.
    #[inline]
    pub fn push_back(&mut self, slot: u16, level: u8) {
        let last = self.lists[usize::from(level)].last;
        self.insert(slot, level, last, NONE);
    }

    /// Puts a slot that is in no list before all others of its level.
    #[inline]
    pub fn push_front(&mut self, slot: u16, level: u8) {
        let first = self.lists[usize::from(level)].first;
        self.insert(slot, level, NONE, first);
    }

    /// Takes the first slot of the most urgent level out.
    #[inline]
    pub fn pop(&mut self) -> Option<u16> {
        let level = self.top()?;
        let list = &mut self.lists[usize::from(level)];
        let slot = list.first;
        let link = &mut self.links[usize::from(slot)];
        link.level = NOWHERE;
        list.first = link.next;
        match link.next {
            NONE => {
                list.last = NONE;
                self.used &= !(1 << level);
            }
            next => self.links[usize::from(next)].previous = NONE,
        }
        Some(slot)
    }

    /// Takes a slot out; false: it is in no list.
    #[inline]
    pub fn remove(&mut self, slot: u16) -> bool {
        let links = &mut self.links;
        let link = &mut links[usize::from(slot)];
        let Link {
            previous,
            next,
            level,
        } = *link;
        if level == NOWHERE {
            return false;
        }
        link.level = NOWHERE;
        let list = &mut self.lists[usize::from(level) % LEVELS];
        match previous {
            NONE => list.first = next,
            _ => links[usize::from(previous)].next = next,
        }
        match next {
            NONE => list.last = previous,
            _ => links[usize::from(next)].previous = previous,
        }
        if list.first == NONE {
            self.used &= !(1 << level);
        }
        true
    }

    #[inline]
    fn insert(&mut self, slot: u16, level: u8, previous: u16, next: u16) {
        let links = &mut self.links;
        debug_assert_eq!(links[usize::from(slot)].level, NOWHERE, "ready twice");
        links[usize::from(slot)] = Link {
            previous,
            next,
            level,
        };
        let list = &mut self.lists[usize::from(level) % LEVELS];
        match previous {
            NONE => list.first = slot,
            _ => links[usize::from(previous)].next = slot,
        }
        match next {
            NONE => list.last = slot,
            _ => links[usize::from(next)].previous = slot,
        }
        self.used |= 1 << level;
    }
}
