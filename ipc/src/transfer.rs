//! Handing over: begin, clear, deliver; or withdraw.
//!
//! *Begin* checks everything and marks; it is the last step that can fail. *Clear* removes what
//! the sender had mapped and waits for every CPU. Only then is the offer shown to the receiver
//! (I6): at no instant can both reach what is moved.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Error, GrantFlags, Handle, Mode, ObjectKind, Rights};

use mm::{Account, Region};

use crate::lineage::{Budget, Child, Extent};
use crate::node::{NodeState, PENDING};
use crate::table::Locked;
use crate::{Domain, Ipc, Node, Object, Payload, Platform};

/// A capability on its way to another domain. It is delivered or withdrawn, never just dropped.
#[must_use = "an offer is delivered or withdrawn"]
pub struct Offer<P: Platform> {
    /// The capability that the receiver will have.
    pub(crate) node: Node<P>,
    pub(crate) sender: Arc<Domain<P>>,
    source: Source,
}

/// What happens to the sender's capability.
enum Source {
    /// It stays, and the offered one is below it.
    Shared,
    /// It is the offered one.
    Moved {
        handle: Handle,
        /// What it allowed, in case it comes back.
        rights: Rights,
    },
    /// It stays, and the offered one is the first of a snapshot.
    Copied,
}

/// The accounts that paid before the receiver's took over, so that they can be made to pay again.
pub(crate) struct Bill {
    /// For the capability.
    node: Arc<Account>,
    /// For the memory of the region, if it goes along: with its first capability.
    region: Option<Arc<Account>>,
}

impl<P: Platform> Offer<P> {
    /// How it is handed over.
    pub fn mode(&self) -> Mode {
        match self.source {
            Source::Shared => Mode::Share,
            Source::Moved { .. } => Mode::Move,
            Source::Copied => Mode::CopyOnWrite,
        }
    }

    /// Another for the same, which no mechanism makes.
    #[cfg(sabotage)]
    pub(crate) fn again(&self) -> Offer<P> {
        Offer {
            node: self.node.clone(),
            sender: self.sender.clone(),
            source: Source::Shared,
        }
    }

    /// What kind of object it is.
    pub fn kind(&self) -> ObjectKind {
        self.node.object().kind()
    }
}

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
        let offer = |node, source| Offer {
            node,
            sender: sender.clone(),
            source,
        };
        if mode == Mode::CopyOnWrite {
            let overcommit = flags.contains(GrantFlags::OVERCOMMIT);
            let (snapshot, all) = self.snapshot_of(sender, handle, needed, 0, 0, overcommit)?;
            let payload = Payload::Region(snapshot);
            let node = self.create_object(sender.account(), payload, all & rights, PENDING)?;
            if let Ok(source) = sender.examine(handle, Rights::empty()) {
                source.node.object().count_transfer(Mode::CopyOnWrite);
            }
            return Ok(offer(node, Source::Copied));
        }
        if mode == Mode::Share {
            let node = sender.look_up(handle, None, needed)?.node;
            let mut lineage = node.object().lineage.lock();
            node.check_allowed(sender.koid(), needed)?;
            let mut child = Child::like(&node, rights, PENDING);
            child.budget = Budget::Usual;
            let derived = lineage.derive(&node, child, sender.account())?;
            return Ok(offer(derived, Source::Shared));
        }
        let node = sender.examine(handle, needed)?.node;
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

    /// Makes `receiver` pay for what it is about to be given. `Quota`: its account does not cover it,
    /// and nothing has changed.
    pub(crate) fn bill(&self, node: &Node<P>, receiver: &Domain<P>) -> Result<Bill, Error> {
        let payer = receiver.account();
        let before = node.hand_over_charge(payer)?;
        let region = region_that_goes_with(node).map(|region| region.hand_over_charge(payer));
        match region.transpose() {
            Ok(region) => Ok(Bill {
                node: before,
                region,
            }),
            Err(error) => {
                node.hand_back_charge(payer, before);
                Err(error)
            }
        }
    }

    /// Makes those pay again who did, since `receiver` was given nothing.
    pub(crate) fn withdraw_bill(&self, bill: Bill, node: &Node<P>, receiver: &Domain<P>) {
        let payer = receiver.account();
        node.hand_back_charge(payer, bill.node);
        if let (Some(region), Some(before)) = (region_that_goes_with(node), bill.region) {
            region.hand_back_charge(payer, before);
        }
    }

    /// Gives what was offered to `receiver`, whose table is locked and prepared for it, and who pays
    /// from now on. `Revoked`: it was revoked on the way, and nothing is left of it.
    pub(crate) fn deliver(
        &self,
        offer: Offer<P>,
        bill: Bill,
        receiver: &Domain<P>,
        mut table: Locked<'_, P>,
    ) -> Result<Handle, Error> {
        let to_itself = offer.sender.koid() == receiver.koid();
        if let Source::Moved { handle, .. } = offer.source
            && to_itself
        {
            table.remove(handle);
        }
        {
            let _lineage = offer.node.object().lineage.lock();
            if offer.node.state() == NodeState::Dead {
                self.withdraw_bill(bill, &offer.node, receiver);
                return Err(Error::Revoked);
            }
            offer.node.set_holder(receiver.koid());
            offer.node.set_state(NodeState::Live);
            offer.node.object().tally.count_transfer(offer.mode());
        }
        match offer.node.object().payload() {
            Payload::RingEnd(ring, end) => ring.set_holder(*end, receiver.koid()),
            Payload::ChannelEnd(channel, side) if offer.node.is_root() => {
                channel.set_holder(*side, receiver.koid());
            }
            _ => {}
        }
        let handle = table.insert(offer.node);
        drop(table);
        // The node has another holder by now, so the old handle is already worth nothing.
        if let Source::Moved { handle, .. } = offer.source
            && !to_itself
        {
            offer.sender.table.lock().remove(handle);
        }
        Ok(handle)
    }

    /// Gives offers to a domain that nobody else uses yet, in order. When it fails, none is given.
    pub fn deliver_all(
        &self,
        offers: Vec<Offer<P>>,
        receiver: &Domain<P>,
        mut each: impl FnMut(Handle),
    ) -> Result<(), Error> {
        // Withdrawing takes the sender's table, so the receiver's is not held meanwhile.
        let prepared = receiver.table.lock().prepare(offers.len());
        let mut bills = Vec::new();
        let billed = prepared.and_then(|()| {
            offers.iter().try_for_each(|offer| {
                bills.push(self.bill(&offer.node, receiver)?);
                Ok(())
            })
        });
        if let Err(error) = billed {
            for (offer, bill) in offers.iter().zip(bills) {
                self.withdraw_bill(bill, &offer.node, receiver);
            }
            offers.into_iter().for_each(|offer| self.withdraw(offer));
            return Err(error);
        }
        for (offer, bill) in offers.into_iter().zip(bills) {
            // One that was revoked on the way is a handle that names nothing.
            each(
                self.deliver(offer, bill, receiver, receiver.table.lock())
                    .unwrap_or(Handle::NONE),
            );
        }
        Ok(())
    }

    /// Takes an offer back: what was moved is the sender's again under its old handle if the
    /// sender still has it, else nobody's.
    pub fn withdraw(&self, offer: Offer<P>) {
        if let Some(object) = self.take_back(offer) {
            self.destroy_object(&object);
        }
    }

    /// The same, but for destroying the object if that was its last capability: that is the caller's.
    #[must_use = "an object without capabilities is to be destroyed"]
    pub(crate) fn take_back(&self, offer: Offer<P>) -> Option<Arc<Object<P>>> {
        match offer.source {
            Source::Shared | Source::Copied => self.unlink(&offer.node),
            Source::Moved { handle, rights } => {
                let table = offer.sender.table.lock();
                let kept = table.holds(handle, &offer.node);
                if kept {
                    let lineage = offer.node.object().lineage.lock();
                    if offer.node.state() == NodeState::InTransit {
                        // Those above may have been reduced meanwhile.
                        let above = lineage.rights_above(&offer.node);
                        offer.node.set_rights(rights & above);
                        offer.node.set_state(NodeState::Live);
                    }
                }
                drop(table);
                if kept { None } else { self.unlink(&offer.node) }
            }
        }
    }

    /// What becomes of a node that is in nobody's table.
    pub(crate) fn lose(&self, node: &Node<P>) {
        if let Some(object) = self.unlink(node) {
            self.destroy_object(&object);
        }
    }

    /// Takes a node that is in nobody's table out of its tree, and returns the object if that was its
    /// last.
    pub(crate) fn unlink(&self, node: &Node<P>) -> Option<Arc<Object<P>>> {
        let object = node.object();
        let released = {
            let mut lineage = object.lineage.lock();
            if node.state() == NodeState::Dead {
                return None;
            }
            node.drop_holder();
            lineage.release(node, &|above| self.unlist_timed(above))
        };
        self.unlist_dead(node);
        released.emptied.then(|| object.clone())
    }
}

/// The region whose charge goes with a node: that of the object that it is the first node of.
fn region_that_goes_with<P: Platform>(node: &Node<P>) -> Option<&Arc<Region>> {
    match node.object().payload() {
        Payload::Region(region) | Payload::Image(region, _) if node.is_root() => Some(region),
        _ => None,
    }
}
