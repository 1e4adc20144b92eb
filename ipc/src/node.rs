//! Nodes: capabilities as their objects know them. Each is at once the permit of its mappings.
//!
//! How a node stands is one word, and what it allows another, so that using a capability which is
//! limited neither in time nor to one use takes two comparisons. Both change under the lineage lock;
//! only that a call uses a one-shot capability is noted without it.

mod authority;
mod charge;
mod links;
mod standing;

use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::{Error, ObjectKind, Rights};
use mm::lock::{Lock, Rank};
use mm::{Permit, RecordCharge};

use crate::limits::Limits;
use crate::part::Part;
use crate::{Object, Payload, Platform};

use authority::{Authority, mappable};
pub(crate) use links::{Count, Departure, Link};
use standing::Standing;
pub(crate) use standing::{HOME, NOBODY, NodeState, PENDING};

/// No neighbour.
pub(crate) const NONE: u32 = u32::MAX;

/// One capability in the lineage of its object: the permit of its mappings and what else is known of
/// it, in one allocation.
pub struct Node<P: Platform>(Arc<Permit<Branch<P>>>);

/// A capability and its place in the tree.
pub struct Branch<P: Platform> {
    object: Arc<Object<P>>,
    /// Who has it, and how it stands.
    standing: Standing,
    /// What it allows, and the kind of the object.
    authority: Authority,
    /// Its place in the arena of its tree.
    pub(crate) index: u32,
    pub(crate) parent: u32,
    pub(crate) first_child: Link,
    pub(crate) previous: Link,
    pub(crate) next: Link,
    /// The node out of whose budget those below it are derived: itself, or one above it (S18).
    pub(crate) purse: u32,
    /// What is left of its own budget; nothing of a shared one. Changes under the lineage lock.
    pub(crate) nodes_left: Count,
    /// By what it is narrower than its rights say.
    limits: Option<Arc<Limits>>,
    /// Its number among those that end in time; 0 if it ends with one above it, or never.
    pub(crate) timed: u64,
    /// When it was given away last, among those of its channel end.
    pub(crate) departure: Departure,
    /// How often it is registered with submission rings. Grows under the lineage lock.
    registered: AtomicU32,
    /// Of its record; the first pays for the object's too. Nothing once it is gone.
    charge: Lock<Option<RecordCharge>>,
}

/// What a new node is to be.
pub(crate) struct Birth {
    pub(crate) rights: Rights,
    pub(crate) holder: u64,
    /// The node with its budget, and what that is if it is this one.
    pub(crate) purse: u32,
    pub(crate) nodes: u32,
    pub(crate) limits: Option<Arc<Limits>>,
    pub(crate) timed: u64,
}

/// Where a new node is in its tree.
#[derive(Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) index: u32,
    pub(crate) parent: u32,
    /// Its younger sibling.
    pub(crate) next: u32,
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
    /// Bytes that it takes at most, with its limits and the counts in front of both.
    pub(crate) const RECORD: usize = size_of::<Permit<Branch<P>>>() + 16 + size_of::<Limits>() + 16;

    /// A live node that nothing is below, at a place of its tree.
    #[inline(always)]
    pub(crate) fn new(
        object: &Arc<Object<P>>,
        birth: Birth,
        seat: Seat,
        charge: RecordCharge,
    ) -> Node<P> {
        let access = mappable(object.kind(), birth.rights);
        let branch = Branch {
            object: object.clone(),
            standing: Standing::new(birth.holder, limited(birth.limits.as_ref())),
            authority: Authority::new(object.kind(), birth.rights),
            index: seat.index,
            parent: seat.parent,
            first_child: Link::new(NONE),
            previous: Link::new(NONE),
            next: Link::new(seat.next),
            purse: birth.purse,
            nodes_left: Count::new(birth.nodes),
            limits: birth.limits,
            timed: birth.timed,
            departure: Departure::new(),
            registered: AtomicU32::new(0),
            charge: Lock::new(Rank::Account, Some(charge)),
        };
        Node(mm::shared(Permit::of(branch, access)))
    }

    /// Makes a node live again that [ended](Node::end).
    #[inline(always)]
    pub(crate) fn revive(&self, rights: Rights, holder: u64) {
        self.authority.set(rights);
        // The ends of rings, of which mappings may allow more, have one node each.
        self.0.revive(rights);
        self.standing.pass(holder);
    }

    /// Ends a node that nothing keeps.
    #[inline(always)]
    pub(crate) fn end(&self) {
        self.0.set_live(false);
        self.standing.end();
    }

    /// Whether `domain` has it, nothing was made under it, it is narrowed by nothing but its rights, and
    /// it has no budget of its own.
    #[inline(always)]
    pub(crate) fn is_plain_leaf_of(&self, domain: u64) -> bool {
        self.standing.is_plainly(domain)
            && self.mappings() == 0
            && self.first_child.get().is_none()
            && self.limits.is_none()
            && self.purse != self.index
    }

    /// Whether its tree and one more use it and nobody else, which under the lineage lock stays so if
    /// the other is known.
    #[inline(always)]
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 2 && !self.may_serve()
    }

    /// The authority of its mappings.
    pub fn permit(&self) -> Arc<Permit> {
        self.0.clone()
    }

    /// Whether a permit is the authority of its mappings.
    #[inline(always)]
    pub(crate) fn permits(&self, permit: &Arc<Permit>) -> bool {
        core::ptr::addr_eq(Arc::as_ptr(permit), Arc::as_ptr(&self.0))
    }

    /// Whether anybody but its tree and who asks may use it now, as every mapping, pin and wait does.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 2 || self.may_serve()
    }

    /// Whether somebody may wait by it without a reference to it: who serves at a channel does.
    #[inline(always)]
    fn may_serve(&self) -> bool {
        matches!(self.object().payload(), Payload::ChannelEnd(..))
            && !mm::sabotaged!("who_serves_is_forgotten")
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
    #[inline(always)]
    pub(crate) fn set_state(&self, state: NodeState) {
        self.0.set_live(state == NodeState::Live);
        self.standing.set_state(state);
    }

    /// Marks it as moved away, with these rights from then on; under the lineage lock. What was mapped under it stays
    /// as it is until who moves it takes it away, or is refused. `Busy`: a call is using it.
    #[inline(always)]
    pub(crate) fn begin_transit(&self, rights: Rights) -> Result<(), Error> {
        self.standing.begin_transit()?;
        self.authority.set(rights);
        let access = match mm::sabotaged!("moved_is_narrowed_at_once") {
            true => mappable(self.object.kind(), rights),
            false => self.0.access(),
        };
        self.0.halt(access);
        Ok(())
    }

    /// Gives it, which is in transit or in nobody's table, to somebody; under the lineage lock.
    #[inline(always)]
    pub(crate) fn deliver(&self, holder: u64) {
        self.0.revive(mappable(self.object.kind(), self.rights()));
        self.standing.deliver(holder);
    }

    /// Changes what it allows; under the lineage lock. No mapping under it allows more.
    pub(crate) fn set_rights(&self, rights: Rights) {
        self.authority.set(rights);
        self.0.set_access(mappable(self.object.kind(), rights));
    }

    /// Has it allow at most so much, also when it comes back from a Move; under the lineage lock. Returns whether it
    /// allowed more. Mappings that do are for [`restrict`](mm::Memory::restrict).
    pub(crate) fn narrow(&self, rights: Rights) -> bool {
        let (allowed, access) = (self.rights(), self.0.access());
        let mappable = mappable(self.object.kind(), rights);
        let stays = rights.contains(allowed) && mappable.contains(access);
        if !stays {
            self.authority.set(allowed & rights);
            self.0.set_access(access & mappable);
        }
        !stays
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

    /// What it allows.
    pub fn rights(&self) -> Rights {
        self.authority.rights()
    }

    /// What whoever receives through it is told; 0 if it has no badge.
    #[inline(always)]
    pub fn badge(&self) -> u64 {
        self.limits.as_ref().map_or(0, |limits| limits.badge)
    }

    /// The part of a region that it covers.
    #[inline(always)]
    pub fn part(&self) -> Part {
        self.limits
            .as_ref()
            .map_or(Part::WHOLE, |limits| limits.part)
    }

    /// Whether it is gone after one use.
    pub(crate) fn is_one_shot(&self) -> bool {
        self.limits.as_ref().is_some_and(|limits| limits.one_shot)
    }

    /// By what it is narrower than its rights say.
    pub(crate) fn limits(&self) -> Option<&Arc<Limits>> {
        self.limits.as_ref()
    }

    /// Whether it is usable at this moment; see [`Domain::look_up`](crate::Domain::look_up). For
    /// whoever enlists to wait by it: under the lock of the list, since a revoke marks nodes first.
    #[inline(always)]
    pub fn is_live(&self) -> bool {
        self.standing.is_live()
    }

    /// Whether it is the first of its object, which whoever has it pays for.
    #[inline(always)]
    pub(crate) fn is_root(&self) -> bool {
        self.parent == NONE
    }

    pub(crate) fn state(&self) -> NodeState {
        self.standing.state()
    }

    pub(crate) fn holder(&self) -> u64 {
        self.standing.holder()
    }

    /// Whether a domain has it and nothing limits it.
    #[inline(always)]
    pub(crate) fn is_plainly_of(&self, domain: u64) -> bool {
        self.standing.is_plainly(domain)
    }

    #[inline(always)]
    pub(crate) fn set_holder(&self, holder: u64) {
        self.standing.set_holder(holder);
    }

    /// Gives a right to reply, which is live and in nobody's table, to somebody. Nobody else can change how
    /// it stands: it has no relatives, and nothing narrower can be made of it.
    #[inline(always)]
    pub(crate) fn pass(&self, holder: u64) {
        self.standing.pass(holder);
    }

    #[inline(always)]
    pub(crate) fn drop_holder(&self) {
        self.set_holder(NOBODY);
    }

    /// Whether submission rings know it.
    #[inline(always)]
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Relaxed) > 0
    }

    /// They know it once more; under the lineage lock.
    pub(crate) fn add_registration(&self) {
        self.registered.fetch_add(1, Ordering::Relaxed);
    }

    /// They know it once less.
    pub(crate) fn remove_registration(&self) {
        self.registered.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether `domain` may use it so, now and later, without looking any further.
    #[inline(always)]
    pub(crate) fn is_plainly(&self, domain: u64, kind: Option<ObjectKind>, rights: Rights) -> bool {
        self.standing.is_plainly(domain) && self.authority.is_for(kind, rights)
    }

    /// Notes that a call uses a one-shot capability. `Busy`: another does.
    pub(crate) fn claim(&self, domain: u64) -> Result<(), Error> {
        self.standing.claim(domain)
    }

    /// Takes that note back.
    pub(crate) fn unclaim(&self) {
        self.standing.unclaim();
    }

    /// Whether a call is using it.
    pub(crate) fn is_claimed(&self) -> bool {
        self.standing.is_claimed()
    }

    /// Whether `domain` still has it, which is sure only under the lineage lock: since a handle was
    /// looked up, somebody may have moved or revoked the node, and its place may be another's.
    #[inline(always)]
    pub(crate) fn check_held(&self, domain: u64) -> Result<(), Error> {
        self.standing.check_held(domain)
    }

    /// Whether `domain` has it and it allows all of `rights`.
    #[inline(always)]
    pub(crate) fn check_allowed(&self, domain: u64, rights: Rights) -> Result<(), Error> {
        self.check_held(domain)?;
        if !self.rights().contains(rights) && !mm::sabotaged!("right_not_checked") {
            return Err(Error::Denied);
        }
        Ok(())
    }
}

#[inline(always)]
fn limited(limits: Option<&Arc<Limits>>) -> bool {
    limits.is_some_and(|limits| limits.end())
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
