//! Lists that pending grants are in: those for one addressee, those of one object, and those to be
//! accepted at one end of a channel.
//!
//! A grant knows its neighbours in each, and what a list is of knows the first: so finding the grants of
//! somebody never looks at those of others, and listing one takes no memory. Everything here changes
//! under the lock of the grants.

use core::sync::atomic::{AtomicU32, Ordering};

/// No grant.
pub(super) const NONE: u32 = u32::MAX;

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Who may accept.
    Addressee = 0,
    /// What is granted.
    Object = 1,
    /// Where it has to be accepted.
    End = 2,
}

/// The first of a list of pending grants, by its slot.
#[derive(Debug)]
pub(crate) struct First(AtomicU32);

impl First {
    /// Of an empty list.
    pub(crate) const fn new() -> First {
        First(AtomicU32::new(NONE))
    }

    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, index: u32) {
        self.0.store(index, Ordering::Relaxed);
    }
}

/// The neighbours of a grant in one list.
#[derive(Clone, Copy, Debug)]
struct Neighbours {
    previous: u32,
    next: u32,
}

/// The neighbours of a grant in all lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links([Neighbours; 3]);

impl Links {
    /// Of a grant that will be in front of these.
    #[inline(always)]
    pub(super) fn before(firsts: [u32; 3]) -> Links {
        Links(firsts.map(|next| Neighbours {
            previous: NONE,
            next,
        }))
    }

    /// Which comes after it.
    pub(super) fn next(&self, list: List) -> u32 {
        self.0[list as usize].next
    }
}

/// Where the links of each grant are.
pub(super) trait Linked {
    /// Those of the grant of a slot, if it has one.
    fn links(&mut self, index: u32) -> Option<&mut Links>;

    /// Puts a grant with these links in front of the `first` of a list, which it is from now on.
    #[inline(always)]
    fn enter(&mut self, list: List, links: &Links, first: &First, index: u32) {
        let list = list as usize;
        if let Some(next) = self.neighbour(links.0[list].next) {
            next.0[list].previous = index;
        }
        first.set(index);
    }

    /// Takes a grant that had these links out of a list.
    #[inline(always)]
    fn leave(&mut self, list: List, links: &Links, first: &First) {
        let list = list as usize;
        let Neighbours { previous, next } = links.0[list];
        match self.neighbour(previous) {
            Some(previous) => previous.0[list].next = next,
            None => first.set(next),
        }
        if let Some(next) = self.neighbour(next) {
            next.0[list].previous = previous;
        }
    }

    /// The links of a neighbour, if there is one.
    #[inline(always)]
    fn neighbour(&mut self, index: u32) -> Option<&mut Links> {
        match index {
            NONE => None,
            index => self.links(index),
        }
    }
}
