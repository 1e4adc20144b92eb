//! Lineage: the tree of capabilities of one object, from the first to those derived from it.
//!
//! Rights only shrink on the way down (I4), and revoking a node takes everything below it. A node
//! stays in the tree while somebody holds it, a mapping was made under it, or it has children.

use alloc::sync::Arc;
use core::fmt;

use abi::limits::MAX_NODES;
use abi::{Error, Rights, cost};
use mm::{Account, RecordCharge};

use crate::chunks::{BLOCK, Chunks};
use crate::node::{Branch, NONE, Node, NodeState, PENDING};
use crate::object::PAYLOAD_BYTES;
use crate::{Object, Platform};

/// The place of the first node.
const ROOT: u32 = 0;

/// What was killed at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Killed {
    /// How many nodes.
    pub(crate) count: u64,
    /// Whether a grant of one of them may be pending.
    pub(crate) granted: bool,
}

impl Killed {
    fn add<P: Platform>(&mut self, node: &Node<P>) {
        self.count += 1;
        self.granted |= node.holder() == PENDING || node.state() == NodeState::InTransit;
        node.set_state(NodeState::Dead);
    }
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
}

impl<P: Platform> Lineage<P> {
    pub(crate) const fn new() -> Lineage<P> {
        Lineage {
            root: None,
            slots: Chunks::new(),
            free: NONE,
            live: 0,
        }
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// The first node. What is charged is for the object too.
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
            assert!((object + places + 64) as u64 <= cost::OBJECT);
        }
        let node = Node::new(object, rights, holder, ROOT, NONE, None, charge);
        self.root = Some(node.clone());
        self.live += 1;
        node
    }

    /// A node below `parent`, which is live, with at most its rights; `payer` pays for it. `Limit`:
    /// the object has [`MAX_NODES`]; `Quota`.
    #[inline(always)]
    pub(crate) fn derive(
        &mut self,
        parent: &Branch<P>,
        rights: Rights,
        holder: u64,
        payer: &Arc<Account>,
    ) -> Result<Node<P>, Error> {
        if self.live >= MAX_NODES {
            return Err(Error::Limit);
        }
        let charge = payer.charge_record(cost::CAPABILITY)?;
        let place = match self.free {
            NONE => self.add_place()?,
            place => place as usize,
        };
        let index = place as u32 + 1;
        let next = parent.first_child.get();
        let rights = rights & parent.rights();
        let object = parent.object();
        let node = Node::new(object, rights, holder, index, parent.index, next, charge);
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

    /// One more empty place, which is not in the list of those.
    #[cold]
    fn add_place(&mut self) -> Result<usize, Error> {
        self.slots.reserve(1)?;
        Ok(self.slots.push(Slot::default()))
    }

    /// Takes a node out of the tree if nothing keeps it, and then its parent likewise. True when
    /// that emptied the tree.
    pub(crate) fn release(&mut self, branch: &Branch<P>) -> bool {
        if branch.state() == NodeState::Dead {
            return false;
        }
        match self.node(branch.index).cloned() {
            Some(node) => self.release_node(&node),
            None => false,
        }
    }

    /// The same of a live node, or one in transit.
    #[inline(always)]
    pub(crate) fn release_node(&mut self, node: &Node<P>) -> bool {
        if node.is_kept() {
            return false;
        }
        self.release_unkept(node)
    }

    /// The same of a node that nothing keeps.
    #[inline(always)]
    fn release_unkept(&mut self, node: &Node<P>) -> bool {
        // So that whoever releases it once more finds nothing to do.
        node.set_state(NodeState::Dead);
        match self.unlink(node.index) {
            Some(parent) if parent.is_kept() => false,
            Some(parent) => {
                let index = parent.index;
                self.release_from(index)
            }
            None => self.live == 0,
        }
    }

    /// Says that nobody holds a live node any more. True when that emptied the tree.
    #[inline(always)]
    pub(crate) fn give_up(&mut self, node: &Node<P>) -> bool {
        node.drop_holder();
        if node.mappings() > 0 || node.first_child.get().is_some() {
            return false;
        }
        self.release_unkept(node)
    }

    /// The same of the node at a place, and of those above it.
    #[cold]
    fn release_from(&mut self, index: u32) -> bool {
        let mut next = Some(index);
        while let Some(index) = next {
            let Some(node) = self.node(index).filter(|node| !node.is_kept()) else {
                return false;
            };
            node.set_state(NodeState::Dead);
            next = self.unlink(index).map(|parent| parent.index);
        }
        self.live == 0
    }

    /// Marks every node below `branch` dead and takes it out of the tree. Mappings under them are
    /// then to be detached.
    pub(crate) fn kill_descendants(&mut self, branch: &Branch<P>) -> Killed {
        let mut killed = Killed::default();
        while let Some(mut leaf) = branch.first_child.get() {
            while let Some(child) = self.node(leaf).and_then(|node| node.first_child.get()) {
                leaf = child;
            }
            if let Some(node) = self.node(leaf) {
                killed.add(node);
            }
            self.unlink(leaf);
        }
        killed
    }

    /// Marks every node dead and empties the tree; it kills none when it was empty.
    pub(crate) fn kill_all(&mut self) -> Killed {
        let Some(root) = self.root.clone() else {
            return Killed::default();
        };
        let mut killed = self.kill_descendants(&root);
        killed.add(&root);
        self.unlink(ROOT);
        killed
    }

    /// Whether a node other than this, and not below it if those are `spared`, gives access to the
    /// memory of the object.
    pub(crate) fn others_have_access(&self, branch: &Branch<P>, spared: bool) -> bool {
        // Alone, as what is moved mostly is.
        self.live > 1
            && self.nodes().any(|node| {
                node.index != branch.index
                    && node.has_access()
                    && !(spared && self.is_below(node, branch.index))
            })
    }

    fn is_below(&self, branch: &Branch<P>, top: u32) -> bool {
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
        let top = branch.index;
        let after = move |node: &Branch<P>| {
            let mut next = node.first_child.get();
            let mut at = Some(node);
            while let (None, Some(node)) = (next, at.filter(|node| node.index != top)) {
                next = node.next.get();
                at = self.node(node.parent).map(|parent| &**parent);
            }
            next.and_then(|index| self.node(index))
        };
        core::iter::successors(after(branch), move |node| after(node))
    }

    /// Takes a node without children out of the tree and returns its parent.
    #[inline(always)]
    fn unlink(&mut self, index: u32) -> Option<&Node<P>> {
        let node = match index.checked_sub(1) {
            None => self.root.take()?,
            Some(place) => {
                let slot = self.slots.get_mut(place as usize)?;
                let node = slot.node.take()?;
                slot.next_free = self.free;
                self.free = place;
                node
            }
        };
        self.live -= 1;
        let (previous, next) = (node.previous.get(), node.next.get());
        if let Some(next) = next.and_then(|next| self.node(next)) {
            next.previous.set(previous);
        }
        let parent = self.node(node.parent);
        match (previous, parent) {
            (None, Some(parent)) => parent.first_child.set(next),
            (None, None) => {}
            (Some(previous), _) => {
                if let Some(previous) = self.node(previous) {
                    previous.next.set(next);
                }
            }
        }
        parent
    }

    #[inline(always)]
    fn node(&self, index: u32) -> Option<&Node<P>> {
        let Some(place) = index.checked_sub(1) else {
            return self.root.as_ref();
        };
        self.slots.get(place as usize)?.node.as_ref()
    }
}

impl<P: Platform> fmt::Debug for Lineage<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lineage of {} nodes", self.live)
    }
}
