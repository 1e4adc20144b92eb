//! What is derived from what, and out of which budget, for both models (I4).
//!
//! A capability has a higher number than what it came from.

use abi::limits::{DEFAULT_NODES, MAX_NODES};
use abi::{Error, FOREVER, Rights};

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

/// A capability of something, and who has it.
#[derive(Clone, Debug)]
pub struct Capability<Of, Holder> {
    /// What it is a capability of.
    pub of: Of,
    /// The one that it was derived from.
    pub parent: Option<usize>,
    /// What it allows.
    pub rights: Rights,
    /// What whoever receives through it is told.
    pub badge: u64,
    /// When it dies.
    pub until: u64,
    /// It is good for one call.
    pub once: bool,
    /// How many may be below it; nothing if it shares the budget of its parent.
    pub nodes: Option<u32>,
    /// Who has it; nobody at first.
    pub holder: Holder,
    /// It was revoked, or what it is of destroyed.
    pub revoked: bool,
}

/// A narrower capability that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Narrowed {
    /// What it may allow.
    pub rights: Rights,
    /// How many may be below it; 0 for as many as below its parent.
    pub nodes: u32,
    /// What whoever receives through it is told; 0 for nothing new.
    pub badge: u64,
    /// When it dies.
    pub until: u64,
    /// Whether it is good for one call.
    pub once: bool,
}

impl<Of, Holder: Default> Capability<Of, Holder> {
    /// The first one of something.
    pub fn first(of: Of, rights: Rights) -> Self {
        Capability {
            of,
            parent: None,
            rights,
            badge: 0,
            until: FOREVER,
            once: false,
            nodes: Some(MAX_NODES as u32 - 1),
            holder: Holder::default(),
            revoked: false,
        }
    }
}

/// Those are kept, too, that have some below them which are.
pub fn keep_above<O, H>(all: &[Capability<O, H>], kept: &mut [bool]) {
    for at in (0..kept.len()).rev() {
        if let (true, Some(parent)) = (kept[at], all[at].parent) {
            kept[parent] = true;
        }
    }
}

/// Whether each is below this one.
pub fn below<O, H>(all: &[Capability<O, H>], top: usize) -> Vec<bool> {
    let mut below = vec![false; all.len()];
    for (at, one) in all.iter().enumerate() {
        below[at] = one
            .parent
            .is_some_and(|parent| parent == top || below[parent]);
    }
    below
}

/// The one out of whose budget those below one are derived.
fn purse_of<O, H>(all: &[Capability<O, H>], mut at: usize) -> usize {
    while let (None, Some(parent)) = (all[at].nodes, all[at].parent) {
        at = parent;
    }
    at
}

/// How many more may be derived below one, where some are kept.
pub fn nodes_left<O, H>(all: &[Capability<O, H>], kept: &[bool], at: usize) -> u32 {
    let purse = purse_of(all, at);
    let draws = |one: &usize| {
        let parent = all[*one].parent.filter(|_| kept[*one]);
        parent.is_some_and(|parent| purse_of(all, parent) == purse)
    };
    let drawn = (0..all.len()).filter(draws);
    let taken: u32 = drawn.map(|one| 1 + all[one].nodes.unwrap_or(0)).sum();
    all[purse].nodes.unwrap_or(0) - taken
}

/// Derives one, where some are kept, and tells its number.
pub fn derive<O: Copy, H: Default>(
    all: &mut Vec<Capability<O, H>>,
    kept: &[bool],
    parent: usize,
    rights: Rights,
    budget: Budget,
) -> Result<usize, Error> {
    let left = nodes_left(all, kept, parent)
        .checked_sub(1)
        .ok_or(Error::Limit)?;
    let above = &all[parent];
    let rights = above.rights & rights;
    let nodes = match budget {
        Budget::Shared => None,
        _ if !rights.contains(Rights::DUPLICATE) => Some(0),
        Budget::Own(asked) if asked > left => return Err(Error::Limit),
        Budget::Own(asked) => Some(asked),
        Budget::Usual => Some(DEFAULT_NODES.min(left / 2)),
    };
    let child = Capability {
        parent: Some(parent),
        nodes,
        badge: above.badge,
        until: above.until,
        once: above.once,
        ..Capability::first(above.of, rights)
    };
    all.push(child);
    Ok(all.len() - 1)
}

/// Derives one that is narrower at this time, and `of` what is told of what the other is of.
pub fn narrow<O: Copy, H: Default>(
    all: &mut Vec<Capability<O, H>>,
    kept: &[bool],
    parent: usize,
    wanted: Narrowed,
    now: u64,
    of: impl FnOnce(O) -> Result<O, Error>,
) -> Result<usize, Error> {
    let above = &all[parent];
    if wanted.badge != 0 && above.badge != 0 && wanted.badge != above.badge {
        return Err(Error::Exists);
    }
    let of = of(above.of)?;
    if wanted.until < above.until && wanted.until <= now {
        return Err(Error::TimedOut);
    }
    let mut rights = wanted.rights;
    if wanted.once {
        rights -= Rights::DUPLICATE;
    }
    let (badge, until) = (above.badge | wanted.badge, above.until.min(wanted.until));
    let budget = match wanted.nodes {
        0 => Budget::Shared,
        nodes => Budget::Own(nodes),
    };
    let child = derive(all, kept, parent, rights, budget)?;
    let made = &mut all[child];
    (made.of, made.badge, made.until, made.once) = (of, badge, until, wanted.once);
    Ok(child)
}
