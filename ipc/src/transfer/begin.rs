//! The first half of handing over: what is shared, copied or moved is checked and marked, and then
//! out of the reach of who had it.

use alloc::sync::Arc;

use abi::{Error, GrantFlags, Handle, Mode, ObjectKind, Rights};

use super::{Offer, Source};
use crate::lineage::{Budget, Child, Extent};
use crate::node::{NodeState, PENDING};
use crate::{Domain, Ipc, Node, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Checks that `sender` may hand `handle` over in this way, and begins.
    ///
    /// `Denied`: GRANT, or for Share DUPLICATE, or for Move MOVE, or for CopyOnWrite READ or DUPLICATE
    /// is missing; `Shared`: a Move of memory that another capability gives access to, or one that
    /// would leave a capability derived from it with more rights than it; `Pinned`: memory that has to
    /// stay where it is; `Invalid`: a flag that says nothing about this mode. Of `rights`, those that
    /// the capability has not are not given; a snapshot may always be written. Until it is
    /// delivered, the sender pays.
    pub fn begin(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        mode: Mode,
        rights: Rights,
        flags: GrantFlags,
    ) -> Result<Offer<P>, Error> {
        self.begin_if(sender, handle, mode, rights, flags, |_| Ok(()))
    }

    /// The same if it is `allowed`, which is asked as soon as it is known what `handle` stands for,
    /// maybe with a lock of rank `Places`.
    #[inline(always)]
    pub(crate) fn begin_if(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        mode: Mode,
        rights: Rights,
        flags: GrantFlags,
        allowed: impl FnOnce(&Node<P>) -> Result<(), Error>,
    ) -> Result<Offer<P>, Error> {
        if mode == Mode::Share && flags.is_empty() {
            return self.begin_share(sender, handle, rights, allowed);
        }
        self.begin_whole(sender, handle, mode, rights, flags, allowed)
    }

    #[inline(always)]
    pub(crate) fn begin_share(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        rights: Rights,
        allowed: impl FnOnce(&Node<P>) -> Result<(), Error>,
    ) -> Result<Offer<P>, Error> {
        let place = sender.table.hold(handle)?;
        let node = place.named(handle)?;
        sender.check_to_use(handle, node, None, Rights::empty())?;
        allowed(node)?;
        let mut lineage = node.object().lineage.lock();
        node.check_allowed(sender.koid(), Rights::GRANT | Rights::DUPLICATE)?;
        let mut child = Child::like(node, rights, PENDING);
        child.budget = Budget::Usual;
        let payer = match mm::sabotaged!("pending_not_charged") {
            true => self.memory().account(),
            false => sender.account(),
        };
        let node = lineage.derive(node, child, payer)?;
        Ok(Offer {
            node,
            sender: sender.clone(),
            source: Source::Shared,
        })
    }

    /// Begins to move or to copy.
    fn begin_whole(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        mode: Mode,
        rights: Rights,
        flags: GrantFlags,
        allowed: impl FnOnce(&Node<P>) -> Result<(), Error>,
    ) -> Result<Offer<P>, Error> {
        let (mut needed, meaningful) = match mode {
            Mode::Move => (Rights::GRANT | Rights::MOVE, GrantFlags::REVOKE_OTHERS),
            Mode::Share => (Rights::GRANT | Rights::DUPLICATE, GrantFlags::empty()),
            Mode::CopyOnWrite => (Rights::GRANT, GrantFlags::OVERCOMMIT),
        };
        if !meaningful.contains(flags) {
            return Err(Error::Invalid);
        }
        if flags.contains(GrantFlags::REVOKE_OTHERS) {
            needed |= Rights::REVOKE;
        }
        let node = sender.examine(handle, Rights::empty())?.node;
        allowed(&node)?;
        let offer = |node, source| Offer {
            node,
            sender: sender.clone(),
            source,
        };
        if mode == Mode::CopyOnWrite {
            let overcommit = flags.contains(GrantFlags::OVERCOMMIT);
            let (snapshot, all) = self.snapshot_of(sender, handle, needed, 0, 0, overcommit)?;
            let payload = Payload::Region(snapshot);
            let copy = self.create_object(sender.account(), payload, all & rights, PENDING)?;
            node.object().count_transfer(Mode::CopyOnWrite);
            return Ok(offer(copy, Source::Copied));
        }
        let rights = self.begin_move(sender, &node, needed, rights, flags)?;
        Ok(offer(node, Source::Moved { handle, rights }))
    }

    /// Checks that a node may be moved and marks it; returns what it allowed. From here on nothing
    /// can be mapped under it.
    fn begin_move(
        &self,
        sender: &Domain<P>,
        node: &Node<P>,
        needed: Rights,
        rights: Rights,
        flags: GrantFlags,
    ) -> Result<Rights, Error> {
        let revokes = flags.contains(GrantFlags::REVOKE_OTHERS);
        let object = node.object();
        let mut lineage = object.lineage.lock();
        node.check_allowed(sender.koid(), needed)?;
        if node.is_claimed() {
            return Err(Error::Busy);
        }
        // Its holder changes.
        lineage.settle();
        let exclusive = object.kind() == ObjectKind::Region;
        let takes_all = revokes && mm::sabotaged!("revoke_others_takes_ancestor");
        if exclusive && !takes_all && lineage.others_have_access(node, revokes) {
            return Err(Error::Shared);
        }
        let before = node.rights();
        let after = before & rights;
        // What was derived from it must not be left with more than it has (I4).
        if !revokes && lineage.descendants_exceed(node, after) {
            return Err(Error::Shared);
        }
        node.begin_transit()?;
        // Whoever pins asks first whether the node is live.
        if object.region().is_some_and(|region| region.is_pinned()) {
            node.set_state(NodeState::Live);
            return Err(Error::Pinned);
        }
        node.set_rights(after);
        if revokes {
            let killed = lineage.kill(node, Extent::Below, &|node| self.unlist_timed(node));
            drop(lineage);
            self.bury(object, killed);
        }
        Ok(before)
    }

    /// Takes the sender's access to what is moved away; no CPU has any when this returns.
    pub fn clear(&self, offer: &Offer<P>) {
        if let Source::Moved { .. } = offer.source {
            self.clear_node(&offer.node);
        }
    }

    /// Removes every mapping of an object that was made under a node which is not live, with the pins.
    pub(crate) fn clear_node(&self, node: &Node<P>) {
        if let Some(region) = node.object().region() {
            self.memory.detach(region, |permit| !permit.is_live());
        }
        if node.is_shared() {
            self.complete_revoked_waits(node.object());
        }
    }
}
