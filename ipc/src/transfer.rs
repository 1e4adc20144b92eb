//! Handing over: begin, clear, deliver; or withdraw.
//!
//! *Begin* checks everything and marks; it is the last step that can fail. *Clear* removes what
//! the sender had mapped and waits for every CPU. Only then is the offer shown to the receiver
//! (I6): at no instant can both reach what is moved.

mod begin;

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Error, Handle, Mode, ObjectKind, Rights};
use mm::{Account, Region};

use crate::node::NodeState;
use crate::table::Locked;
use crate::{Counted, Domain, Ipc, MemberSide, Node, Object, Payload, Platform};

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
    /// It stays, and the offered one is the first of a snapshot.
    Copied,
    /// It is the offered one. By which handle the sender had it, and what it allowed, in case it comes back.
    Moved { handle: Handle, rights: Rights },
    /// The same, and others have lost it by this, after it was asked whether it is pinned: who pins it since does so
    /// behind the Move.
    Decided { handle: Handle, rights: Rights },
}

impl Source {
    /// By which handle the sender had what is moved, and what it allowed.
    #[inline(always)]
    fn before(&self) -> Option<(Handle, Rights)> {
        match *self {
            Source::Moved { handle, rights } | Source::Decided { handle, rights } => {
                Some((handle, rights))
            }
            Source::Shared | Source::Copied => None,
        }
    }
}

/// What is left of an offer that was delivered.
pub(crate) struct Sent<P: Platform> {
    sender: Arc<Domain<P>>,
    source: Source,
}

impl<P: Platform> Sent<P> {
    /// As of [`Offer`].
    #[inline(always)]
    pub(crate) fn leave_sender(&self, receiver: &Domain<P>) {
        leave_sender(&self.sender, &self.source, receiver);
    }
}

/// The accounts that paid before the receiver's took over, if they are others, so that they can be made to
/// pay again.
pub(crate) struct Bill {
    /// For the capability.
    node: Option<Arc<Account>>,
    /// For the memory of the region, if it goes along: with its first capability.
    region: Option<Arc<Account>>,
}

impl Bill {
    /// Lets what was paid stay so.
    #[inline(always)]
    pub(crate) fn keep(self) {
        let Bill { node, region } = self;
        drop(node);
        drop(region);
    }
}

impl<P: Platform> Offer<P> {
    /// How it is handed over.
    pub fn mode(&self) -> Mode {
        match self.source {
            Source::Shared => Mode::Share,
            Source::Moved { .. } | Source::Decided { .. } => Mode::Move,
            Source::Copied => Mode::CopyOnWrite,
        }
    }

    /// Whether it takes this capability away from its sender.
    pub(crate) fn moves(&self, node: &Node<P>) -> bool {
        self.mode() == Mode::Move && self.node.is(node)
    }

    /// Takes the handle of what was moved and delivered out of the table of who had it; with no table
    /// locked. The node has another holder by then, so the handle is already worth nothing.
    #[inline(always)]
    pub(crate) fn leave_sender(&self, receiver: &Domain<P>) {
        leave_sender(&self.sender, &self.source, receiver);
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
    /// Makes `receiver` pay for what it is about to be given. `Quota`: its account does not cover it,
    /// and nothing has changed. Nobody else does so at the same time; takes no lock of a rank below
    /// `Account`.
    #[inline(always)]
    pub(crate) fn bill(&self, node: &Node<P>, receiver: &Domain<P>) -> Result<Bill, Error> {
        let payer = receiver.account();
        if mm::sabotaged!("receiver_not_charged") {
            return Ok(Bill {
                node: None,
                region: None,
            });
        }
        let mut bill = Bill {
            node: node.hand_over_charge(payer)?,
            region: None,
        };
        if let Some(region) = region_that_goes_with(node) {
            match region.hand_over_charge(payer) {
                Ok(before) => bill.region = before,
                Err(error) => {
                    self.withdraw_bill(&bill, node, receiver);
                    return Err(error);
                }
            }
        }
        Ok(bill)
    }

    /// Makes those pay again who did, since `receiver` was given nothing.
    #[cold]
    pub(crate) fn withdraw_bill(&self, bill: &Bill, node: &Node<P>, receiver: &Domain<P>) {
        let payer = receiver.account();
        if let Some(before) = &bill.node {
            node.hand_back_charge(payer, before);
        }
        if let (Some(region), Some(before)) = (region_that_goes_with(node), &bill.region) {
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
        mut table: Locked<'_, Node<P>>,
    ) -> Result<Handle, Error> {
        match self.deliver_one(offer, &bill, receiver, &mut table) {
            Ok((handle, sent)) => {
                drop(table);
                sent.leave_sender(receiver);
                Ok(handle)
            }
            Err((error, offer)) => {
                drop(table);
                drop(offer);
                Err(error)
            }
        }
    }

    /// The same while the table stays locked, after which what was given leaves its sender.
    #[inline(always)]
    pub(crate) fn deliver_one(
        &self,
        offer: Offer<P>,
        bill: &Bill,
        receiver: &Domain<P>,
        table: &mut Locked<'_, Node<P>>,
    ) -> Result<(Handle, Sent<P>), (Error, Offer<P>)> {
        if let Err(error) = self.hand_to(&offer, receiver, table) {
            self.withdraw_bill(bill, &offer.node, receiver);
            return Err((error, offer));
        }
        let Offer {
            node,
            sender,
            source,
        } = offer;
        let handle = table.insert(node);
        Ok((handle, Sent { sender, source }))
    }

    /// The same of an offer that stays until the table is not locked any more.
    #[inline(always)]
    pub(crate) fn deliver_into(
        &self,
        table: &mut Locked<'_, Node<P>>,
        receiver: &Domain<P>,
        offer: &Offer<P>,
        bill: &Bill,
    ) -> Result<Handle, Error> {
        if let Err(error) = self.hand_to(offer, receiver, table) {
            self.withdraw_bill(bill, &offer.node, receiver);
            return Err(error);
        }
        Ok(table.insert(offer.node.clone()))
    }

    /// Makes `receiver`, whose table is locked, the holder of what was offered. `Revoked`.
    #[inline(always)]
    fn hand_to(
        &self,
        offer: &Offer<P>,
        receiver: &Domain<P>,
        table: &mut Locked<'_, Node<P>>,
    ) -> Result<(), Error> {
        match offer.source.before() {
            Some((old, _)) if offer.sender.koid() == receiver.koid() => {
                self.rename(offer, old, receiver, table)?;
            }
            _ => self.make_holder(offer, receiver)?,
        }
        let node = &offer.node;
        let object = node.object();
        match object.payload() {
            Payload::RingEnd(ring, end) => self.pass_end(ring, *end, receiver),
            Payload::HubMember(member, MemberSide::Guest) => member.set_holder(receiver.koid()),
            Payload::ChannelEnd(channel, side) if node.is_root() => {
                channel.set_holder(*side, receiver.koid());
            }
            _ => {}
        }
        Ok(())
    }

    /// The same of what was moved to its sender itself, which is to have it by another handle. Of what was revoked
    /// on the way it keeps the old one, which tells so.
    #[inline(always)]
    fn rename(
        &self,
        offer: &Offer<P>,
        old: Handle,
        receiver: &Domain<P>,
        table: &mut Locked<'_, Node<P>>,
    ) -> Result<(), Error> {
        if mm::sabotaged!("renamed_before_recheck") {
            table.remove(old);
            return self.make_holder(offer, receiver);
        }
        table.remove_if(old, |_| self.make_holder(offer, receiver))?;
        Ok(())
    }

    /// Makes `receiver` the holder of a node that is on its way. `Revoked`.
    #[inline(always)]
    fn make_holder(&self, offer: &Offer<P>, receiver: &Domain<P>) -> Result<(), Error> {
        let node = &offer.node;
        let object = node.object();
        let _lineage = object.lineage.lock();
        if node.state() == NodeState::Dead {
            return Err(Error::Revoked);
        }
        node.deliver(receiver.koid());
        object.tally.count_transfer(offer.mode());
        self.platform().count(Counted::Transfer(offer.mode()));
        Ok(())
    }

    /// Gives offers to a domain that nobody else uses yet, behind a step which is the last that can fail; returns what
    /// that has made, and the handles, in order. When it fails, none is given.
    pub fn deliver_all<R>(
        &self,
        offers: Vec<Offer<P>>,
        receiver: &Domain<P>,
        last: impl FnOnce() -> Result<R, Error>,
    ) -> Result<(R, Vec<Handle>), Error> {
        // Withdrawing takes the sender's table, so the receiver's is not held meanwhile.
        let prepared = receiver.table.lock().prepare(offers.len());
        let (mut bills, mut handles) = (Vec::new(), Vec::new());
        let billed = prepared.and_then(|()| {
            bills = mm::room_for(offers.len())?;
            handles = mm::room_for(offers.len())?;
            offers.iter().try_for_each(|offer| {
                bills.push(self.bill(&offer.node, receiver)?);
                Ok(())
            })
        });
        let done = match billed.and_then(|()| last()) {
            Ok(done) => done,
            Err(error) => {
                for (offer, bill) in offers.iter().zip(bills) {
                    self.withdraw_bill(&bill, &offer.node, receiver);
                }
                offers.into_iter().for_each(|offer| self.withdraw(offer));
                return Err(error);
            }
        };
        for (offer, bill) in offers.into_iter().zip(bills) {
            // One that was revoked on the way is a handle that names nothing.
            handles.push(
                self.deliver(offer, bill, receiver, receiver.table.lock())
                    .unwrap_or(Handle::NONE),
            );
        }
        Ok((done, handles))
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
        match offer.source.before() {
            None => self.unlink(&offer.node),
            Some((handle, rights)) => {
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

#[inline(always)]
fn leave_sender<P: Platform>(sender: &Domain<P>, source: &Source, receiver: &Domain<P>) {
    if let Some((handle, _)) = source.before()
        && sender.koid() != receiver.koid()
    {
        sender.table.lock().remove(handle);
    }
}

/// The region whose charge goes with a node: that of the object that it is the first node of.
#[inline(always)]
fn region_that_goes_with<P: Platform>(node: &Node<P>) -> Option<&Arc<Region>> {
    if !node.is_root() {
        return None;
    }
    match node.object().payload() {
        Payload::Region(region) | Payload::Image(region, _) => Some(region),
        _ => None,
    }
}
