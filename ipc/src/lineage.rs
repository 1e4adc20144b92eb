//! Lineage: the tree of capabilities of one object, from the first to those derived from it.
//!
//! Rights only shrink on the way down (I4), and revoking a node takes everything below it. A node
//! stays in the tree while somebody holds it, a mapping was made under it, or it has children.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use abi::limits::MAX_NODES;
use abi::{Error, Rights};
use mm::Permit;

use crate::chunks::Chunks;
use crate::{Object, Platform};

/// The holder of a node whose handle was dropped.
const NOBODY: u64 = 0;
/// The holder of a node that a token stands for.
pub(crate) const PENDING: u64 = u64::MAX;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum NodeState {
    Live = 0,
    /// Moved, and not accepted yet.
    InTransit = 1,
    /// Revoked.
    Dead = 2,
}

/// One capability in the lineage of its object.
pub struct Node<P: Platform> {
    object: Arc<Object<P>>,
    permit: Arc<Permit>,
    rights: AtomicU32,
    state: AtomicU8,
    /// The koid of the domain that has the handle, or one of the constants above.
    holder: AtomicU64,
    /// Its place in the arena of its tree.
    index: u32,
}

impl<P: Platform> Node<P> {
    /// The object.
    pub fn object(&self) -> &Arc<Object<P>> {
        &self.object
    }

    /// The authority of its mappings.
    pub fn permit(&self) -> &Arc<Permit> {
        &self.permit
    }

    /// What it allows.
    pub fn rights(&self) -> Rights {
        Rights::from_bits_truncate(self.rights.load(Ordering::Relaxed))
    }

    pub(crate) fn set_rights(&self, rights: Rights) {
        self.rights.store(rights.bits(), Ordering::Relaxed);
    }

    pub(crate) fn state(&self) -> NodeState {
        // SYNC(node.state)
        match self.state.load(Ordering::Acquire) {
            0 => NodeState::Live,
            1 => NodeState::InTransit,
            _ => NodeState::Dead,
        }
    }

    /// Changes the state; under the lineage lock. Mappings can be made only under a live node.
    pub(crate) fn set_state(&self, state: NodeState) {
        self.permit.set_live(state == NodeState::Live);
        // SYNC(node.state)
        self.state.store(state as u8, Ordering::Release);
    }

    pub(crate) fn holder(&self) -> u64 {
        self.holder.load(Ordering::Acquire)
    }

    pub(crate) fn set_holder(&self, holder: u64) {
        self.holder.store(holder, Ordering::Release);
    }

    pub(crate) fn drop_holder(&self) {
        self.set_holder(NOBODY);
    }

    /// Whether `domain` still has it, which is sure only under the lineage lock: since a handle was
    /// looked up, somebody may have moved or revoked the node, and its place may be another's.
    pub(crate) fn check_held(&self, domain: u64) -> Result<(), Error> {
        match self.state() {
            NodeState::Live if self.holder() == domain => Ok(()),
            NodeState::Live => Err(Error::BadHandle),
            NodeState::InTransit => Err(Error::InTransit),
            NodeState::Dead => Err(Error::Revoked),
        }
    }

    /// Whether somebody could reach memory by it, now or later.
    fn has_access(&self) -> bool {
        let held = self.holder() != NOBODY && self.rights().intersects(Rights::ACCESS);
        held || self.permit.mappings() > 0
    }
}

impl<P: Platform> fmt::Debug for Node<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("object", &self.object.koid())
            .field("rights", &self.rights())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// A node and its neighbours.
struct Branch<P: Platform> {
    node: Arc<Node<P>>,
    parent: Option<u32>,
    first_child: Option<u32>,
    previous: Option<u32>,
    next: Option<u32>,
}

/// The capabilities of one object.
pub(crate) struct Lineage<P: Platform> {
    branches: Chunks<Option<Branch<P>>>,
    /// Empty places among the branches.
    free: Vec<u32>,
    live: usize,
}

impl<P: Platform> Lineage<P> {
    pub(crate) const fn new() -> Lineage<P> {
        Lineage {
            branches: Chunks::new(),
            free: Vec::new(),
            live: 0,
        }
    }

    /// The first node.
    pub(crate) fn add_root(
        &mut self,
        object: &Arc<Object<P>>,
        rights: Rights,
        holder: u64,
    ) -> Result<Arc<Node<P>>, Error> {
        self.add(object, None, rights, holder)
    }

    /// A node below `parent`, which is live, with at most its rights. `Limit`: the object has
    /// [`MAX_NODES`].
    pub(crate) fn derive(
        &mut self,
        parent: &Node<P>,
        rights: Rights,
        holder: u64,
    ) -> Result<Arc<Node<P>>, Error> {
        let rights = rights & parent.rights();
        self.add(parent.object(), Some(parent.index), rights, holder)
    }

    fn add(
        &mut self,
        object: &Arc<Object<P>>,
        parent: Option<u32>,
        rights: Rights,
        holder: u64,
    ) -> Result<Arc<Node<P>>, Error> {
        if self.live >= MAX_NODES {
            return Err(Error::Limit);
        }
        let index = match self.free.pop() {
            Some(index) => index as usize,
            None => {
                self.branches.reserve(1)?;
                // Room for every branch, so that letting one go never allocates.
                let room = self.branches.len() + 1 - self.free.len();
                self.free.try_reserve(room).map_err(|_| Error::NoMemory)?;
                self.branches.push(None)
            }
        };
        let node = Arc::new_cyclic(|keeper: &alloc::sync::Weak<Node<P>>| Node {
            object: object.clone(),
            permit: Arc::new(Permit::kept_by(
                keeper.clone() as alloc::sync::Weak<dyn Any + Send + Sync>
            )),
            rights: AtomicU32::new(rights.bits()),
            state: AtomicU8::new(NodeState::Live as u8),
            holder: AtomicU64::new(holder),
            index: index as u32,
        });
        let next = parent.and_then(|parent| {
            self.branch_mut(parent)
                .and_then(|branch| branch.first_child.replace(index as u32))
        });
        if let Some(next) = next.and_then(|next| self.branch_mut(next)) {
            next.previous = Some(index as u32);
        }
        self.branches[index] = Some(Branch {
            node: node.clone(),
            parent,
            first_child: None,
            previous: None,
            next,
        });
        self.live += 1;
        Ok(node)
    }

    /// Takes a node out of the tree if nothing keeps it, and then its parent likewise. True when
    /// that emptied the tree.
    pub(crate) fn release(&mut self, node: &Node<P>) -> bool {
        if node.state() == NodeState::Dead {
            return false;
        }
        let mut next = Some(node.index);
        while let Some(index) = next {
            let Some(branch) = self.branch(index) else {
                return false;
            };
            let kept = branch.node.holder() != NOBODY
                || branch.node.permit.mappings() > 0
                || branch.first_child.is_some();
            if kept {
                return false;
            }
            next = branch.parent;
            // So that whoever releases it once more finds nothing to do.
            branch.node.set_state(NodeState::Dead);
            self.unlink(index);
        }
        self.live == 0
    }

    /// Marks every node below `node` dead and takes it out of the tree; returns their number.
    /// Mappings under them are then to be detached.
    pub(crate) fn kill_descendants(&mut self, node: &Node<P>) -> u64 {
        let mut killed = 0;
        while let Some(mut leaf) = self.branch(node.index).and_then(|b| b.first_child) {
            while let Some(child) = self.branch(leaf).and_then(|b| b.first_child) {
                leaf = child;
            }
            self.kill(leaf);
            killed += 1;
        }
        killed
    }

    /// Marks every node dead and empties the tree; false when it was empty.
    pub(crate) fn kill_all(&mut self) -> bool {
        let emptied = self.live > 0;
        for index in 0..self.branches.len() {
            if let Some(branch) = self.branches.get_mut(index).and_then(Option::take) {
                branch.node.set_state(NodeState::Dead);
                self.live -= 1;
                self.free.push(index as u32);
            }
        }
        emptied
    }

    /// Whether a node other than this, and not below it if those are `spared`, gives access to the
    /// memory of the object.
    pub(crate) fn others_have_access(&self, node: &Node<P>, spared: bool) -> bool {
        self.branches.iter().flatten().any(|branch| {
            let index = branch.node.index;
            index != node.index
                && branch.node.has_access()
                && !(spared && self.is_below(index, node.index))
        })
    }

    fn is_below(&self, mut index: u32, top: u32) -> bool {
        while let Some(parent) = self.branch(index).and_then(|branch| branch.parent) {
            if parent == top {
                return true;
            }
            index = parent;
        }
        false
    }

    /// How many nodes are below this one.
    pub(crate) fn count_descendants(&self, node: &Node<P>) -> u64 {
        self.descendants(node).count() as u64
    }

    /// Whether a node below this one has a right that is not among `rights`.
    pub(crate) fn descendants_exceed(&self, node: &Node<P>, rights: Rights) -> bool {
        let has_children = self
            .branch(node.index)
            .is_some_and(|branch| branch.first_child.is_some());
        let mut descendants = self.descendants(node);
        has_children && descendants.any(|below| !rights.contains(below.rights()))
    }

    fn descendants<'a>(&'a self, node: &'a Node<P>) -> impl Iterator<Item = &'a Arc<Node<P>>> {
        let nodes = self.branches.iter().flatten().map(|branch| &branch.node);
        nodes.filter(move |below| self.is_below(below.index, node.index))
    }

    fn kill(&mut self, index: u32) {
        if let Some(branch) = self.branch(index) {
            branch.node.set_state(NodeState::Dead);
        }
        self.unlink(index);
    }

    /// Takes a branch without children out of the tree.
    fn unlink(&mut self, index: u32) {
        let Some(branch) = self.branches.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        self.live -= 1;
        self.free.push(index);
        if let Some(next) = branch.next.and_then(|next| self.branch_mut(next)) {
            next.previous = branch.previous;
        }
        match (branch.previous, branch.parent) {
            (Some(previous), _) => {
                if let Some(previous) = self.branch_mut(previous) {
                    previous.next = branch.next;
                }
            }
            (None, Some(parent)) => {
                if let Some(parent) = self.branch_mut(parent) {
                    parent.first_child = branch.next;
                }
            }
            (None, None) => {}
        }
    }

    fn branch(&self, index: u32) -> Option<&Branch<P>> {
        self.branches.get(index as usize)?.as_ref()
    }

    fn branch_mut(&mut self, index: u32) -> Option<&mut Branch<P>> {
        self.branches.get_mut(index as usize)?.as_mut()
    }
}

impl<P: Platform> fmt::Debug for Lineage<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lineage of {} nodes", self.live)
    }
}
