//! How nodes leave their tree: released when nothing keeps them, or killed; and how they get less.

use alloc::sync::Arc;

use abi::{Rights, cost};
use mm::Account;

use super::Lineage;
use crate::Platform;
use crate::node::{Branch, Node, NodeState, PENDING};

/// What was killed at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Killed {
    /// How many nodes.
    pub(crate) count: u64,
    /// Whether a grant of one of them may be pending.
    pub(crate) granted: bool,
    /// Whether submission rings know one of them.
    pub(crate) registered: bool,
    /// Whether nothing is left of the tree.
    pub(crate) emptied: bool,
    /// Whether somebody else is still taking away what rests on nodes that it has killed.
    pub(crate) joined: bool,
}

/// Is told of nodes that leave and are listed as ending in time.
pub(crate) type Unlist<'a, P> = &'a dyn Fn(&Branch<P>);

impl Killed {
    fn add<P: Platform>(&mut self, node: &Node<P>, unlist: Unlist<'_, P>) {
        self.count += 1;
        self.granted |= node.holder() == PENDING || node.state() == NodeState::InTransit;
        self.registered |= node.is_registered();
        node.set_state(NodeState::Dead);
        if node.timed != 0 {
            unlist(node);
        }
    }
}

/// How much of a tree is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What is below a node.
    Below,
    /// The node too.
    Itself,
}

/// What reducing a node did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reduced {
    /// Somebody has less than before.
    pub(crate) changed: bool,
    /// Somebody else is still taking away what rests on nodes that it has killed or reduced.
    pub(crate) joined: bool,
}

/// What releasing a node did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Released {
    /// That was the last node.
    pub(crate) emptied: bool,
}

impl<P: Platform> Lineage<P> {
    /// Takes a node out of the tree if nothing keeps it, and then its parent likewise. The node itself is
    /// the caller's to unlist.
    pub(crate) fn release(&mut self, branch: &Branch<P>, unlist: Unlist<'_, P>) -> Released {
        self.settle();
        if branch.state() == NodeState::Dead {
            return Released::default();
        }
        match self.node(branch.index).cloned() {
            Some(node) if !node.is_kept() => self.release_unkept(&node, unlist),
            _ => Released::default(),
        }
    }

    /// The same of a live node, or one in transit, that nothing keeps.
    #[inline(always)]
    fn release_unkept(&mut self, node: &Node<P>, unlist: Unlist<'_, P>) -> Released {
        // So that whoever releases it once more finds nothing to do.
        node.set_state(NodeState::Dead);
        self.unlink(node.index);
        match self.node(node.parent) {
            Some(parent) if parent.is_kept() => Released::default(),
            Some(_) => self.release_from(node.parent, unlist),
            None => self.released(),
        }
    }

    /// Says that nobody holds a live node any more. It is the caller's to unlist.
    #[inline(always)]
    pub(crate) fn give_up(&mut self, node: &Node<P>, unlist: Unlist<'_, P>) -> Released {
        self.settle();
        node.drop_holder();
        if node.mappings() > 0 || node.first_child.get().is_some() {
            return Released::default();
        }
        self.release_unkept(node, unlist)
    }

    /// The same of the node at a place, and of those above it.
    #[cold]
    fn release_from(&mut self, mut index: u32, unlist: Unlist<'_, P>) -> Released {
        while let Some(node) = self.node(index) {
            if node.is_kept() {
                break;
            }
            node.set_state(NodeState::Dead);
            if node.timed != 0 {
                unlist(node);
            }
            let parent = node.parent;
            self.unlink(index);
            index = parent;
        }
        self.released()
    }

    fn released(&self) -> Released {
        Released {
            emptied: self.live == 0,
        }
    }

    /// Leaves a node that its `holder`, for which `payer` pays, gives up where it is, if it is the first
    /// below another of the holder's, nothing is below it, and it is limited in no way.
    #[inline(always)]
    pub(crate) fn park(&mut self, node: &Node<P>, holder: u64, payer: &Arc<Account>) -> bool {
        let parks = self.parked.is_none()
            && node.is_plain_leaf_of(holder)
            && node.previous.get().is_none()
            && node.is_alone()
            && self
                .node(node.parent)
                .is_some_and(|parent| parent.is_plainly_of(holder));
        if parks {
            debug_assert!(node.is_charged(payer, cost::CAPABILITY));
            node.end();
            if !mm::sabotaged!("parked_stays_charged") {
                payer.suspend(cost::CAPABILITY);
            }
            self.parked = Some(node.clone());
        }
        parks
    }

    /// Has the node that is parked leave.
    #[inline(always)]
    pub(crate) fn settle(&mut self) {
        if self.parked.is_some() && !mm::sabotaged!("parked_not_settled") {
            self.settle_parked();
        }
    }

    #[cold]
    fn settle_parked(&mut self) {
        if let Some(node) = self.parked.take() {
            node.forgive();
            self.unlink(node.index);
        }
    }

    /// Marks every node below `branch`, and itself if asked to, dead and takes it out of the tree.
    /// Mappings under them are then to be detached.
    pub(crate) fn kill(
        &mut self,
        branch: &Branch<P>,
        extent: Extent,
        unlist: Unlist<'_, P>,
    ) -> Killed {
        self.settle();
        let mut killed = Killed {
            joined: self.burials > 0,
            ..Killed::default()
        };
        self.steps.begin(self.live);
        let mut next = branch.first_child.get();
        while let Some(mut leaf) = next {
            while let Some(child) = self.node(leaf).and_then(|node| node.first_child.get()) {
                if mm::sabotaged!("revoke_skips_one_level") {
                    break;
                }
                leaf = child;
            }
            let Some(node) = self.node(leaf) else { break };
            killed.add(node, unlist);
            let above = node.parent;
            self.unlink(leaf);
            // On from where it was, so that each is gone down to once.
            next = match above == branch.index || mm::sabotaged!("revoke_from_the_top") {
                true => branch.first_child.get(),
                false => Some(above),
            };
        }
        self.steps.end();
        if extent == Extent::Itself
            && branch.state() != NodeState::Dead
            && let Some(node) = self.node(branch.index)
        {
            killed.add(node, unlist);
            let parent = node.parent;
            self.unlink(branch.index);
            killed.emptied = self.release_from(parent, unlist).emptied;
        }
        self.burials += u32::from(killed.count > 0);
        killed
    }

    /// Marks every node dead and empties the tree; it kills none when it was empty.
    pub(crate) fn kill_all(&mut self, unlist: Unlist<'_, P>) -> Killed {
        match self.root.clone() {
            Some(root) => self.kill(&root, Extent::Itself, unlist),
            None => Killed::default(),
        }
    }

    /// Takes rights away from a node and from everything below it. Mappings that allow more are then
    /// to be restricted.
    pub(crate) fn reduce(&mut self, node: &Node<P>, rights: Rights) -> Reduced {
        let mut changed = false;
        let mut narrow = |node: &Node<P>| changed |= node.narrow(rights);
        narrow(node);
        if !mm::sabotaged!("reduce_skips_what_is_below") {
            self.descendants(node).for_each(narrow);
        }
        let joined = self.burials > 0;
        self.burials += u32::from(changed);
        Reduced { changed, joined }
    }

    /// Says that what rests on killed or reduced nodes is gone.
    pub(crate) fn end_burial(&mut self) {
        self.burials -= 1;
    }

    /// What the node above one allows.
    pub(crate) fn rights_above(&self, branch: &Branch<P>) -> Rights {
        self.node(branch.parent)
            .map_or(Rights::all(), |parent| parent.rights())
    }

    /// Takes a node without children out of the tree, and gives back what its parent had handed down.
    #[inline(always)]
    fn unlink(&mut self, index: u32) -> Option<Node<P>> {
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
        if let Some(parent) = self.node(node.parent) {
            let purse = match parent.purse == parent.index {
                true => Some(parent),
                false => self.node(parent.purse),
            };
            if let Some(purse) = purse {
                // What a node that shares a budget has left is nothing.
                let back = node.nodes_left.get() + 1;
                purse.nodes_left.set(purse.nodes_left.get() + back);
            }
            if previous.is_none() {
                parent.first_child.set(next);
            }
        }
        if let Some(previous) = previous.and_then(|previous| self.node(previous)) {
            previous.next.set(next);
        }
        Some(node)
    }
}
