//! Lineage: the tree of capabilities of one object, from the first to those derived from it.
//!
//! Rights only shrink on the way down (I4), and revoking a node takes everything below it. A node
//! stays in the tree while somebody holds it, a mapping was made under it, or it has children.

use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;
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

/// No neighbour.
const NONE: u32 = u32::MAX;
/// The place of the first node.
const ROOT: u32 = 0;

/// One capability in the lineage of its object: the permit of its mappings and what else is known of
/// it, in one allocation.
pub struct Node<P: Platform>(Arc<Permit<Branch<P>>>);

/// A capability and its place in the tree.
pub struct Branch<P: Platform> {
    object: Arc<Object<P>>,
    rights: AtomicU32,
    state: AtomicU8,
    /// The koid of the domain that has the handle, or one of the constants above.
    holder: AtomicU64,
    /// Its place in the arena of its tree.
    index: u32,
    parent: u32,
    // Its neighbours change under the lineage lock.
    first_child: AtomicU32,
    previous: AtomicU32,
    next: AtomicU32,
}

impl<P: Platform> Clone for Node<P> {
    fn clone(&self) -> Self {
        Node(self.0.clone())
    }
}

impl<P: Platform> Deref for Node<P> {
    type Target = Branch<P>;

    fn deref(&self) -> &Branch<P> {
        self.0.authority()
    }
}

impl<P: Platform> Node<P> {
    /// The authority of its mappings.
    pub fn permit(&self) -> Arc<Permit> {
        self.0.clone()
    }

    /// Whether this is the authority of a mapping.
    pub fn is_permit(&self, permit: &Arc<Permit>) -> bool {
        core::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(permit))
    }

    /// Whether both are one.
    pub fn is(&self, other: &Node<P>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many mappings exist under it.
    pub fn mappings(&self) -> u32 {
        self.0.mappings()
    }

    /// Changes the state; under the lineage lock. Mappings can be made only under a live node.
    pub(crate) fn set_state(&self, state: NodeState) {
        self.0.set_live(state == NodeState::Live);
        // SYNC(node.state)
        self.state.store(state as u8, Ordering::Release);
    }

    /// Lets no mapping be made under it, while it stays as it is.
    pub(crate) fn forbid_mappings(&self) {
        self.0.set_live(false);
    }

    /// Whether somebody could reach memory by it, now or later.
    fn has_access(&self) -> bool {
        let held = self.holder() != NOBODY && self.rights().intersects(Rights::ACCESS);
        held || self.mappings() > 0
    }

    /// Whether something keeps it in the tree.
    fn is_kept(&self) -> bool {
        self.holder() != NOBODY || self.mappings() > 0 || get(&self.first_child).is_some()
    }
}

impl<P: Platform> Branch<P> {
    /// The object.
    pub fn object(&self) -> &Arc<Object<P>> {
        &self.object
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

    pub(crate) fn holder(&self) -> u64 {
        self.holder.load(Ordering::Acquire)
    }

    pub(crate) fn set_holder(&self, holder: u64) {
        self.holder.store(holder, Ordering::Release);
    }

    pub(crate) fn drop_holder(&self) {
        self.set_holder(NOBODY);
    }

    /// Whether `domain` has it and it allows all of `rights`.
    #[inline]
    pub(crate) fn check_allowed(&self, domain: u64, rights: Rights) -> Result<(), Error> {
        self.check_held(domain)?;
        if !self.rights().contains(rights) && !cfg!(sabotage = "right_not_checked") {
            return Err(Error::Denied);
        }
        Ok(())
    }

    /// Whether `domain` still has it, which is sure only under the lineage lock: since a handle was
    /// looked up, somebody may have moved or revoked the node, and its place may be another's.
    pub(crate) fn check_held(&self, domain: u64) -> Result<(), Error> {
        if self.holder() != domain {
            // A handle that was moved away may still be in its slot for a moment.
            return Err(Error::BadHandle);
        }
        match self.state() {
            NodeState::Live => Ok(()),
            NodeState::InTransit => Err(Error::InTransit),
            NodeState::Dead => Err(Error::Revoked),
        }
    }
}

fn get(link: &AtomicU32) -> Option<u32> {
    match link.load(Ordering::Relaxed) {
        NONE => None,
        index => Some(index),
    }
}

fn set(link: &AtomicU32, index: Option<u32>) {
    link.store(index.unwrap_or(NONE), Ordering::Relaxed);
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

    /// The first node.
    pub(crate) fn add_root(
        &mut self,
        object: &Arc<Object<P>>,
        rights: Rights,
        holder: u64,
    ) -> Node<P> {
        let node = make(object, rights, holder, ROOT, NONE, NONE);
        self.root = Some(node.clone());
        self.live += 1;
        node
    }

    /// A node below `parent`, which is live, with at most its rights. `Limit`: the object has
    /// [`MAX_NODES`].
    #[inline(always)]
    pub(crate) fn derive(
        &mut self,
        parent: &Branch<P>,
        rights: Rights,
        holder: u64,
    ) -> Result<Node<P>, Error> {
        if self.live >= MAX_NODES {
            return Err(Error::Limit);
        }
        let place = match self.free {
            NONE => self.add_place()?,
            place => place as usize,
        };
        let index = place as u32 + 1;
        let next = get(&parent.first_child);
        let rights = rights & parent.rights();
        let node = make(
            &parent.object,
            rights,
            holder,
            index,
            parent.index,
            next.unwrap_or(NONE),
        );
        if let Some(next) = next.and_then(|next| self.node(next)) {
            set(&next.previous, Some(index));
        }
        set(&parent.first_child, Some(index));
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
        // So that whoever releases it once more finds nothing to do.
        node.set_state(NodeState::Dead);
        match self.unlink(node.index) {
            Some(parent) if self.node(parent).is_some_and(Node::is_kept) => false,
            Some(parent) => self.release_from(parent),
            None => self.live == 0,
        }
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
            next = self.unlink(index);
        }
        self.live == 0
    }

    /// Marks every node below `branch` dead and takes it out of the tree. Mappings under them are
    /// then to be detached.
    pub(crate) fn kill_descendants(&mut self, branch: &Branch<P>) -> Killed {
        let mut killed = Killed::default();
        while let Some(mut leaf) = get(&branch.first_child) {
            while let Some(child) = self.node(leaf).and_then(|node| get(&node.first_child)) {
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

    /// Whether a node other than this gives access to the memory of the object.
    pub(crate) fn others_have_access(&self, branch: &Branch<P>) -> bool {
        // Alone, as what is moved mostly is.
        self.live > 1
            && self
                .nodes()
                .any(|node| node.index != branch.index && node.has_access())
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
            let mut next = get(&node.first_child);
            let mut at = Some(node);
            while let (None, Some(node)) = (next, at.filter(|node| node.index != top)) {
                next = get(&node.next);
                at = self.node(node.parent).map(|parent| &**parent);
            }
            next.and_then(|index| self.node(index))
        };
        core::iter::successors(after(branch), move |node| after(node))
    }

    /// Takes a node without children out of the tree and returns its parent.
    #[inline(always)]
    fn unlink(&mut self, index: u32) -> Option<u32> {
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
        let (previous, next) = (get(&node.previous), get(&node.next));
        if let Some(next) = next.and_then(|next| self.node(next)) {
            set(&next.previous, previous);
        }
        if let Some(previous) = previous.and_then(|previous| self.node(previous)) {
            set(&previous.next, next);
        } else if let Some(parent) = self.node(node.parent) {
            set(&parent.first_child, next);
        }
        (node.parent != NONE).then_some(node.parent)
    }

    #[inline(always)]
    fn node(&self, index: u32) -> Option<&Node<P>> {
        let Some(place) = index.checked_sub(1) else {
            return self.root.as_ref();
        };
        self.slots.get(place as usize)?.node.as_ref()
    }
}

/// A node with a younger sibling or none, and nothing below it.
fn make<P: Platform>(
    object: &Arc<Object<P>>,
    rights: Rights,
    holder: u64,
    index: u32,
    parent: u32,
    next: u32,
) -> Node<P> {
    Node(Arc::new(Permit::of(Branch {
        object: object.clone(),
        rights: AtomicU32::new(rights.bits()),
        state: AtomicU8::new(NodeState::Live as u8),
        holder: AtomicU64::new(holder),
        index,
        parent,
        first_child: AtomicU32::new(NONE),
        previous: AtomicU32::new(NONE),
        next: AtomicU32::new(next),
    })))
}

impl<P: Platform> fmt::Debug for Lineage<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lineage of {} nodes", self.live)
    }
}
