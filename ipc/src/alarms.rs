//! Alarms: what is to happen at a time, ordered by it.
//!
//! A queue is a treap: a search tree by time in which random numbers form a heap, so that it is flat
//! on average whatever times programs choose. Arming, cancelling and taking the first take
//! O(log n) steps and no memory: who wants to arm brings a [`Place`] and gets it back afterwards. What has
//! one time keeps its order.

use alloc::boxed::Box;
use core::{fmt, mem};

/// Room for one alarm in a queue. Whoever may arm has one from the beginning.
pub struct Place<T>(Box<Node<T>>);

impl<T> Place<T> {
    /// An allocation of [`Place::BYTES`], which can't fail.
    pub fn new() -> Place<T> {
        Place(mm::boxed(Node {
            key: Key::NONE,
            weight: 0,
            value: None,
            earlier: None,
            later: None,
        }))
    }

    /// What a place takes of the heap.
    pub const BYTES: usize = size_of::<Node<T>>();
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Place::new()
    }
}

impl<T> fmt::Debug for Place<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// Names an armed alarm in its queue, and nothing else ever after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    at_ns: u64,
    sequence: u64,
}

impl Key {
    const NONE: Key = Key {
        at_ns: 0,
        sequence: 0,
    };

    /// When it goes off.
    pub fn at_ns(&self) -> u64 {
        self.at_ns
    }
}

type Tree<T> = Option<Box<Node<T>>>;

struct Node<T> {
    key: Key,
    /// At least that of whatever is below.
    weight: u64,
    value: Option<T>,
    earlier: Tree<T>,
    later: Tree<T>,
}

/// A queue of alarms. Callers lock it.
pub struct Alarms<T> {
    root: Tree<T>,
    len: usize,
    earliest_ns: u64,
    sequence: u64,
    random: u64,
}

impl<T> Alarms<T> {
    /// An empty queue.
    pub const fn new() -> Alarms<T> {
        Alarms {
            root: None,
            len: 0,
            earliest_ns: u64::MAX,
            sequence: 0,
            random: 0,
        }
    }

    /// Begins the random numbers anew. Who knows them can choose times that make the tree deep.
    pub fn seed(&mut self, seed: u64) {
        self.random = seed;
    }

    /// How many are armed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is armed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When the first goes off; `u64::MAX` when none is armed.
    pub fn earliest_ns(&self) -> u64 {
        self.earliest_ns
    }

    /// Arms an alarm for a time.
    pub fn arm(&mut self, place: Place<T>, at_ns: u64, value: T) -> Key {
        let Place(mut node) = place;
        self.sequence += 1;
        let key = Key {
            at_ns,
            sequence: self.sequence,
        };
        node.key = key;
        node.weight = self.draw();
        node.value = Some(value);
        insert(&mut self.root, node);
        self.len += 1;
        self.earliest_ns = self.earliest_ns.min(at_ns);
        key
    }

    /// Takes an alarm back. `None`: it went off already.
    pub fn cancel(&mut self, key: Key) -> Option<(Place<T>, T)> {
        let mut tree = &mut self.root;
        while let Some(next) = tree.as_ref().map(|node| node.key).filter(|at| *at != key) {
            let node = tree.as_mut()?;
            tree = if key < next {
                &mut node.earlier
            } else {
                &mut node.later
            };
        }
        let taken = remove(tree);
        self.taken(taken)
    }

    /// Takes the first whose time has come, if there is one.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<(Place<T>, T)> {
        if self.earliest_ns > now_ns {
            return None;
        }
        let mut tree = &mut self.root;
        while tree.as_ref().is_some_and(|node| node.earlier.is_some()) {
            tree = &mut tree.as_mut()?.earlier;
        }
        let taken = remove(tree);
        self.taken(taken)
    }

    fn taken(&mut self, node: Tree<T>) -> Option<(Place<T>, T)> {
        let mut node = node?;
        let value = node.value.take()?;
        self.len -= 1;
        if node.key.at_ns == self.earliest_ns {
            self.earliest_ns = first(&self.root);
        }
        Some((Place(node), value))
    }

    /// The next number of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
    /// Generators, 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

impl<T> Default for Alarms<T> {
    fn default() -> Self {
        Alarms::new()
    }
}

impl<T> fmt::Debug for Alarms<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarms")
            .field("len", &self.len)
            .field("earliest_ns", &self.earliest_ns)
            .finish_non_exhaustive()
    }
}

fn first<T>(tree: &Tree<T>) -> u64 {
    let path = core::iter::successors(tree.as_deref(), |node| node.earlier.as_deref());
    path.last().map_or(u64::MAX, |node| node.key.at_ns)
}

/// Goes down to where the new node is the heaviest, and puts what was there below it.
fn insert<T>(root: &mut Tree<T>, mut node: Box<Node<T>>) {
    let mut tree = root;
    while tree.as_ref().is_some_and(|at| at.weight >= node.weight) {
        let Some(at) = tree else { break };
        tree = if node.key < at.key {
            &mut at.earlier
        } else {
            &mut at.later
        };
    }
    split(tree.take(), node.key, &mut node.earlier, &mut node.later);
    *tree = Some(node);
}

/// Parts a tree into what is before `key` and what is not. Both places are empty.
fn split<T>(tree: Tree<T>, key: Key, mut earlier: &mut Tree<T>, mut later: &mut Tree<T>) {
    let mut rest = tree;
    while let Some(mut node) = rest {
        if node.key < key {
            rest = node.later.take();
            earlier = &mut earlier.insert(node).later;
        } else {
            rest = node.earlier.take();
            later = &mut later.insert(node).earlier;
        }
    }
}

/// Takes the top of a tree out and joins what was below it.
fn remove<T>(tree: &mut Tree<T>) -> Tree<T> {
    let mut node = tree.take()?;
    let (mut earlier, mut later) = (node.earlier.take(), node.later.take());
    let mut place = tree;
    loop {
        match (earlier, later) {
            (None, rest) | (rest, None) => {
                *place = rest;
                return Some(node);
            }
            (Some(mut left), Some(right)) if left.weight >= right.weight => {
                earlier = left.later.take();
                later = Some(right);
                place = &mut place.insert(left).later;
            }
            (left, Some(mut right)) => {
                later = right.earlier.take();
                earlier = left;
                place = &mut place.insert(right).earlier;
            }
        }
    }
}

impl<T> Drop for Alarms<T> {
    /// Not by recursion, whatever the depth.
    fn drop(&mut self) {
        while let Some(node) = remove(&mut self.root) {
            mem::drop(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth<T>(tree: &Tree<T>) -> usize {
        tree.as_ref()
            .map_or(0, |node| 1 + depth(&node.earlier).max(depth(&node.later)))
    }

    #[test]
    fn times_in_order_do_not_make_it_deep() {
        const ALARMS: u64 = 10_000;
        let mut alarms = Alarms::new();
        alarms.seed(7);
        for at in 0..ALARMS {
            alarms.arm(Place::new(), at, ());
        }
        // 26.6 would be a random search tree's on average.
        assert!(depth(&alarms.root) < 60, "{}", depth(&alarms.root));
    }
}
