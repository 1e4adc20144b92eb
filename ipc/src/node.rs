//! Nodes: capabilities as their objects know them. Each is at once the permit of its mappings.

use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use abi::{Error, Rights};
use mm::lock::{Lock, Rank};
use mm::{Account, Permit, RecordCharge};

use crate::{Object, Platform};

/// The holder of a node whose handle was dropped.
pub(crate) const NOBODY: u64 = 0;
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
pub(crate) const NONE: u32 = u32::MAX;
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
    pub(crate) index: u32,
    pub(crate) parent: u32,
    pub(crate) first_child: Link,
    pub(crate) previous: Link,
    pub(crate) next: Link,
    /// Of its record; the first pays for the object's too.
    charge: Lock<RecordCharge>,
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
    /// Bytes that it takes, with the counts in front of it.
    pub(crate) const RECORD: usize = size_of::<Permit<Branch<P>>>() + 16;

    /// A live node that nothing is below, at a place of its tree. `next` is its younger sibling.
    #[inline(always)]
    pub(crate) fn new(
        object: &Arc<Object<P>>,
        rights: Rights,
        holder: u64,
        index: u32,
        parent: u32,
        next: Option<u32>,
        charge: RecordCharge,
    ) -> Node<P> {
        Node(Arc::new(Permit::of(Branch {
            object: object.clone(),
            rights: AtomicU32::new(rights.bits()),
            state: AtomicU8::new(NodeState::Live as u8),
            holder: AtomicU64::new(holder),
            index,
            parent,
            first_child: Link(AtomicU32::new(NONE)),
            previous: Link(AtomicU32::new(NONE)),
            next: Link(AtomicU32::new(next.unwrap_or(NONE))),
            charge: Lock::new(Rank::Account, charge),
        })))
    }

    /// The authority of its mappings.
    pub fn permit(&self) -> Arc<Permit> {
        self.0.clone()
    }

    /// Whether anybody but its tree and who asks refers to it, as every mapping and pin does.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 2
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
    pub(crate) fn has_access(&self) -> bool {
        let held = self.holder() != NOBODY && self.rights().intersects(Rights::ACCESS);
        held || self.mappings() > 0
    }

    /// Whether something keeps it in the tree.
    pub(crate) fn is_kept(&self) -> bool {
        self.holder() != NOBODY || self.mappings() > 0 || self.first_child.get().is_some()
    }
}

impl<P: Platform> Branch<P> {
    /// The object.
    pub fn object(&self) -> &Arc<Object<P>> {
        &self.object
    }

    /// What whoever receives through it is told; 0 if it has no badge.
    pub fn badge(&self) -> u64 {
        0
    }

    /// What it allows.
    pub fn rights(&self) -> Rights {
        Rights::from_bits_truncate(self.rights.load(Ordering::Relaxed))
    }

    pub(crate) fn set_rights(&self, rights: Rights) {
        self.rights.store(rights.bits(), Ordering::Relaxed);
    }

    /// Whether it is the first of its object, which whoever has it pays for.
    pub(crate) fn is_root(&self) -> bool {
        self.parent == NONE
    }

    /// Makes another account pay for it; see [`RecordCharge::hand_over`].
    pub(crate) fn hand_over_charge(&self, payer: &Arc<Account>) -> Result<Arc<Account>, Error> {
        self.charge.lock().hand_over(payer)
    }

    /// Undoes that; see [`RecordCharge::hand_back`].
    pub(crate) fn hand_back_charge(&self, payer: &Arc<Account>, to: Arc<Account>) {
        self.charge.lock().hand_back(payer, to);
    }

    /// Charges whoever pays for it with more bytes.
    pub(crate) fn extend_charge(&self, more: u64) -> Result<(), Error> {
        self.charge.lock().extend(more)
    }

    pub(crate) fn release_charge(&self, part: u64) {
        self.charge.lock().release(part);
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
        if !self.rights().contains(rights) && !mm::sabotaged!("right_not_checked") {
            return Err(Error::Denied);
        }
        Ok(())
    }

    /// Whether `domain` still has it, which is sure only under the lineage lock: since a handle was
    /// looked up, somebody may have moved or revoked the node, and its place may be another's.
    pub(crate) fn check_held(&self, domain: u64) -> Result<(), Error> {
        if self.holder() == domain && self.state.load(Ordering::Acquire) == NodeState::Live as u8 {
            return Ok(());
        }
        Err(self.why_not_held(domain))
    }

    #[cold]
    fn why_not_held(&self, domain: u64) -> Error {
        match self.state() {
            // A handle that was moved away may still be in its slot for a moment.
            _ if self.holder() != domain => Error::BadHandle,
            // It may have changed a moment ago, when nobody has locked the tree.
            NodeState::Live | NodeState::InTransit => Error::InTransit,
            NodeState::Dead => Error::Revoked,
        }
    }
}

/// The place of a neighbour, or none. Changes under the lineage lock.
pub(crate) struct Link(AtomicU32);

impl Link {
    pub(crate) fn get(&self) -> Option<u32> {
        match self.0.load(Ordering::Relaxed) {
            NONE => None,
            index => Some(index),
        }
    }

    pub(crate) fn set(&self, index: Option<u32>) {
        self.0.store(index.unwrap_or(NONE), Ordering::Relaxed);
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
