//! Lineage: the tree of capabilities of one object, from the first to those derived from it.
//!
//! Rights only shrink on the way down (I4), and revoking a node takes everything below it. A node
//! stays in the tree while somebody holds it, a mapping was made under it, or it has children.
//!
//! Nodes are derived out of a budget. A node that was handed to another process has one of its own, taken
//! out of that above it and given back when it leaves the tree, so whoever has derived enough is refused, and
//! nobody else for it (S18); what a process derives for itself shares the budget of what it came from. Lock
//! rank: lineage.

mod leave;
mod steps;

use alloc::sync::Arc;
use core::fmt;

use abi::limits::{DEFAULT_NODES, MAX_NODES};
use abi::{Error, Rights, cost};
use mm::{Account, RecordCharge};

use crate::chunks::{BLOCK, Chunks};
use crate::limits::Limits;
use crate::node::{Birth, Branch, NONE, Node, NodeState, Seat};
use crate::object::PAYLOAD_BYTES;
use crate::{Object, Platform};

pub(crate) use leave::{Extent, Killed, Released};
use steps::Steps;

/// The place of the first node.
const ROOT: u32 = 0;

/// What a node is asked to be.
pub(crate) struct Child {
    /// At most what its parent allows.
    pub(crate) rights: Rights,
    pub(crate) holder: u64,
    pub(crate) budget: Budget,
    pub(crate) limits: Option<Arc<Limits>>,
    pub(crate) timed: u64,
}

impl Child {
    /// One that is limited as `parent` is.
    #[inline(always)]
    pub(crate) fn like<P: Platform>(parent: &Branch<P>, rights: Rights, holder: u64) -> Child {
        Child {
            rights,
            holder,
            budget: Budget::Shared,
            limits: parent.limits().cloned(),
            timed: 0,
        }
    }
}

/// Out of what may be derived below a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Out of that of its parent.
    Shared,
    /// Out of so many, which its parent gives up.
    Own(u32),
    /// Out of as many as is usual, which its parent gives up.
    Usual,
}

/// A place in the arena.
struct Slot<P: Platform> {
    node: Option<Node<P>>,
    /// Where the next empty place is, while this is one.
    next_free: u32,
}

impl<P: Platform> Default for Slot<P> {
    fn default() -> Self {
        Slot {
            node: None,
            next_free: NONE,
        }
    }
}

/// The capabilities of one object.
pub(crate) struct Lineage<P: Platform> {
    /// The first one, at place [`ROOT`]: most objects have no other.
    root: Option<Node<P>>,
    /// Those at the places behind it.
    slots: Chunks<Slot<P>>,
    /// The first empty place among the slots.
    free: u32,
    live: usize,
    /// Those who have killed or reduced nodes and not yet taken away what rests on that.
    burials: u32,
    /// A node that nobody has any more and that has not left yet, for the next to be derived from the same
    /// parent. The object pays for it, and everything else that is done with the tree has it
    /// [leave](Lineage::settle) first.
    parked: Option<Node<P>>,
    steps: Steps,
}

impl<P: Platform> Lineage<P> {
    pub(crate) const fn new() -> Lineage<P> {
        Lineage {
            root: None,
            slots: Chunks::new(),
            free: NONE,
            live: 0,
            burials: 0,
            parked: None,
            steps: Steps::new(),
        }
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.live - usize::from(self.parked.is_some())
    }

    /// The first node. What is charged is for the object too.
    #[inline(always)]
    pub(crate) fn add_root(
        &mut self,
        object: &Arc<Object<P>>,
        rights: Rights,
        holder: u64,
        charge: RecordCharge,
    ) -> Node<P> {
        const {
            // Two places in a table or in the grants, as the vectors may be half empty.
            assert!((Node::<P>::RECORD + 2 * 32) as u64 <= cost::CAPABILITY);
            let places = BLOCK * size_of::<Slot<P>>();
            let object = size_of::<Object<P>>() + PAYLOAD_BYTES;
            let spare = Node::<P>::RECORD;
            assert!((object + places + spare + 64) as u64 <= cost::OBJECT);
        }
        let birth = Birth {
            rights,
            holder,
            purse: ROOT,
            nodes: MAX_NODES as u32 - 1,
            limits: None,
            timed: 0,
        };
        let seat = Seat {
            index: ROOT,
            parent: NONE,
            next: NONE,
        };
        let node = Node::new(object, birth, seat, charge);
        self.root = Some(node.clone());
        self.live += 1;
        node
    }

    /// A node below `parent`, which its `holder` has, limited as that is and with at most its rights.
    /// Errors of [`derive`](Lineage::derive).
    #[inline(always)]
    pub(crate) fn derive_like(
        &mut self,
        parent: &Branch<P>,
        rights: Rights,
        holder: u64,
        payer: &Arc<Account>,
    ) -> Result<Node<P>, Error> {
        if self.parked.is_some()
            && let Some(node) = self.revive(parent, rights, holder, payer)?
        {
            return Ok(node);
        }
        self.derive(parent, Child::like(parent, rights, holder), payer)
    }

    /// A node below `parent`, which is live, with at most its rights; `payer` pays for it. `Limit`:
    /// the parent has derived as many as it may, or has not so many to hand down; `Quota`.
    #[inline(never)]
    pub(crate) fn derive(
        &mut self,
        parent: &Branch<P>,
        child: Child,
        payer: &Arc<Account>,
    ) -> Result<Node<P>, Error> {
        self.derive_here(parent, child, payer)
    }

    /// The same where it is short.
    #[inline(always)]
    pub(crate) fn derive_here(
        &mut self,
        parent: &Branch<P>,
        child: Child,
        payer: &Arc<Account>,
    ) -> Result<Node<P>, Error> {
        self.settle();
        if self.free == NONE {
            self.add_places()?;
        }
        let place = self.free as usize;
        // Most are derived from one that has its own budget.
        let purse = match parent.purse == parent.index {
            true => parent,
            false => self.node(parent.purse).ok_or(Error::Revoked)?,
        };
        let left = purse.nodes_left.get();
        let left = left.checked_sub(1).ok_or(Error::Limit)?;
        let rights = rights_below(parent, child.rights);
        let nodes = match child.budget {
            Budget::Shared => 0,
            budget => nodes_handed_down(budget, rights, left)?,
        };
        let charge = payer.charge_record(cost::CAPABILITY)?;
        let index = place as u32 + 1;
        let own = matches!(child.budget, Budget::Own(_) | Budget::Usual);
        let place_purse = if own { index } else { parent.purse };
        let next = parent.first_child.get();
        let birth = Birth {
            rights,
            holder: child.holder,
            purse: place_purse,
            nodes,
            limits: child.limits,
            timed: child.timed,
        };
        let seat = Seat {
            index,
            parent: parent.index,
            next: next.unwrap_or(NONE),
        };
        // Nothing fails from here on.
        purse.nodes_left.set(left - nodes);
        let node = Node::new(parent.object(), birth, seat, charge);
        if let Some(next) = next.and_then(|next| self.node(next)) {
            next.previous.set(Some(index));
        }
        parent.first_child.set(Some(index));
        let slot = &mut self.slots[place];
        slot.node = Some(node.clone());
        self.free = slot.next_free;
        self.live += 1;
        Ok(node)
    }

    /// The node that is parked, if it is below `parent` and nobody else refers to it: where it is,
    /// everything is as it has to be.
    #[inline(always)]
    fn revive(
        &mut self,
        parent: &Branch<P>,
        rights: Rights,
        holder: u64,
        payer: &Arc<Account>,
    ) -> Result<Option<Node<P>>, Error> {
        let fits = |node: &Node<P>| node.parent == parent.index && node.is_alone();
        if !self.parked.as_ref().is_some_and(fits) {
            self.settle();
            return Ok(None);
        }
        // Whoever parked it has its parent, and so is who derives now.
        payer.resume(cost::CAPABILITY)?;
        let node = self.parked.take();
        if let Some(node) = &node {
            node.revive(rights_below(parent, rights), holder);
        }
        Ok(node)
    }

    /// More empty places: those that the block of the next one has room for.
    #[cold]
    fn add_places(&mut self) -> Result<(), Error> {
        self.slots.reserve(1)?;
        let first = self.slots.len();
        let last = first - first % BLOCK + BLOCK - 1;
        for place in first..=last {
            let next_free = if place < last { place as u32 + 1 } else { NONE };
            let node = None;
            self.slots.push(Slot { node, next_free });
        }
        self.free = first as u32;
        Ok(())
    }

    /// How many may still be derived out of the budget of a node.
    pub(crate) fn nodes_left(&self, branch: &Branch<P>) -> u32 {
        self.node(branch.purse)
            .map_or(0, |purse| purse.nodes_left.get())
    }

    /// Whether it has one node alone, as that of what is moved mostly has.
    #[inline(always)]
    pub(crate) fn is_single(&self) -> bool {
        self.live == 1
    }

    /// Whether a node other than this, and not below it if those are `spared`, gives access to the
    /// memory of the object.
    pub(crate) fn others_have_access(&self, branch: &Branch<P>, spared: bool) -> bool {
        let is_other = |node: &Node<P>| node.index != branch.index && node.has_access();
        let Some(root) = self.root.as_ref().filter(|_| spared) else {
            return self.nodes().any(is_other);
        };
        self.steps.begin(self.live);
        let found = match mm::sabotaged!("each_climbs_to_the_top") {
            true => self
                .nodes()
                .any(|node| is_other(node) && !self.is_below(node, branch.index)),
            false => is_other(root) || self.descendants_beside(root, branch.index).any(is_other),
        };
        self.steps.end();
        found
    }

    pub(crate) fn is_below(&self, branch: &Branch<P>, top: u32) -> bool {
        let mut parent = branch.parent;
        while parent != top {
            match self.node(parent) {
                Some(node) => parent = node.parent,
                None => return false,
            }
        }
        true
    }

    /// How many nodes are below this one.
    pub(crate) fn count_descendants(&self, branch: &Branch<P>) -> u64 {
        self.descendants(branch).count() as u64
    }

    /// Whether a node below this one has a right that is not among `rights`.
    pub(crate) fn descendants_exceed(&self, branch: &Branch<P>, rights: Rights) -> bool {
        self.descendants(branch)
            .any(|below| !rights.contains(below.rights()))
    }

    fn nodes(&self) -> impl Iterator<Item = &Node<P>> {
        let further = self.slots.iter().filter_map(|slot| slot.node.as_ref());
        self.root.iter().chain(further)
    }

    /// The nodes below one: each before its children, then its siblings.
    fn descendants(&self, branch: &Branch<P>) -> impl Iterator<Item = &Node<P>> {
        self.descendants_beside(branch, NONE)
    }

    /// The same, but for those below the node at another place.
    fn descendants_beside(
        &self,
        branch: &Branch<P>,
        spared: u32,
    ) -> impl Iterator<Item = &Node<P>> {
        let top = branch.index;
        let after = move |node: &Branch<P>| {
            let mut next = match node.index == spared {
                true => None,
                false => node.first_child.get(),
            };
            let mut at = Some(node);
            while let (None, Some(node)) = (next, at.filter(|node| node.index != top)) {
                next = node.next.get();
                at = self.node(node.parent).map(|parent| &**parent);
            }
            next.and_then(|index| self.node(index))
        };
        let all = core::iter::successors(after(branch), move |node| after(node));
        // But for one that is parked.
        all.filter(|node| node.state() != NodeState::Dead)
    }

    #[inline(always)]
    fn node(&self, index: u32) -> Option<&Node<P>> {
        self.steps.take();
        let Some(place) = index.checked_sub(1) else {
            return self.root.as_ref();
        };
        self.slots.get(place as usize)?.node.as_ref()
    }
}

/// What a child is to have of the rights of its parent.
#[inline(always)]
fn rights_below<P: Platform>(parent: &Branch<P>, rights: Rights) -> Rights {
    if mm::sabotaged!("derive_keeps_right") {
        return parent.rights();
    }
    rights & parent.rights()
}

/// How many of `left` nodes a budget takes for one with these rights. `Limit`: more than there are.
#[cold]
fn nodes_handed_down(budget: Budget, rights: Rights, left: u32) -> Result<u32, Error> {
    match budget {
        // Nothing can be derived from it.
        _ if !rights.contains(Rights::DUPLICATE) => Ok(0),
        Budget::Own(asked) if asked > left => Err(Error::Limit),
        Budget::Own(asked) => Ok(asked),
        // Little is not given away at once.
        _ => Ok(DEFAULT_NODES.min(left / 2)),
    }
}

impl<P: Platform> fmt::Debug for Lineage<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lineage of {} nodes", self.live)
    }
}
