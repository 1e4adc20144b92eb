//! What is derived from what, and out of which budget, for both models (I4).
//!
//! A capability has a higher number than what it came from.

use abi::limits::DEFAULT_NODES;
use abi::{Error, Rights};

/// Out of what capabilities below one are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// What its parent has.
    Shared,
    /// So many, which its parent gives up.
    Own(u32),
    /// As many as is usual for who is handed something, which its parent gives up.
    Usual,
}

/// A capability as far as what is derived from what goes.
pub trait Derived {
    /// The one that it was derived from.
    fn parent(&self) -> Option<usize>;
    /// What it allows.
    fn rights(&self) -> Rights;
    /// How many may be below it; nothing if it shares the budget of its parent.
    fn nodes(&self) -> Option<u32>;
    /// One like it below it, whose number is `number`, and which nobody has yet.
    fn child(&self, number: usize, rights: Rights, nodes: Option<u32>) -> Self;
}

/// Those are kept, too, that have some below them which are.
pub fn keep_above(all: &[impl Derived], kept: &mut [bool]) {
    for at in (0..kept.len()).rev() {
        if let (true, Some(parent)) = (kept[at], all[at].parent()) {
            kept[parent] = true;
        }
    }
}

/// Whether each is below this one.
pub fn below(all: &[impl Derived], top: usize) -> Vec<bool> {
    let mut below = vec![false; all.len()];
    for (at, one) in all.iter().enumerate() {
        below[at] = one
            .parent()
            .is_some_and(|parent| parent == top || below[parent]);
    }
    below
}

/// The one out of whose budget those below one are derived.
fn purse_of(all: &[impl Derived], mut at: usize) -> usize {
    while let (None, Some(parent)) = (all[at].nodes(), all[at].parent()) {
        at = parent;
    }
    at
}

/// How many more may be derived below one, where some are kept.
pub fn nodes_left(all: &[impl Derived], kept: &[bool], at: usize) -> u32 {
    let purse = purse_of(all, at);
    let draws = |one: &usize| {
        let parent = all[*one].parent().filter(|_| kept[*one]);
        parent.is_some_and(|parent| purse_of(all, parent) == purse)
    };
    let drawn = (0..all.len()).filter(draws);
    let taken: u32 = drawn.map(|one| 1 + all[one].nodes().unwrap_or(0)).sum();
    all[purse].nodes().unwrap_or(0) - taken
}

/// Derives one, where some are kept, and tells its number.
pub fn derive<C: Derived>(
    all: &mut Vec<C>,
    kept: &[bool],
    parent: usize,
    rights: Rights,
    budget: Budget,
) -> Result<usize, Error> {
    let left = nodes_left(all, kept, parent)
        .checked_sub(1)
        .ok_or(Error::Limit)?;
    let above = &all[parent];
    let rights = above.rights() & rights;
    let nodes = match budget {
        Budget::Shared => None,
        _ if !rights.contains(Rights::DUPLICATE) => Some(0),
        Budget::Own(asked) if asked > left => return Err(Error::Limit),
        Budget::Own(asked) => Some(asked),
        Budget::Usual => Some(DEFAULT_NODES.min(left / 2)),
    };
    let child = above.child(parent, rights, nodes);
    all.push(child);
    Ok(all.len() - 1)
}
