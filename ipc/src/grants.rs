//! Grants: offers that wait for their addressee, and the tokens that name them.
//!
//! A token is refused, and tells nothing, unless the process that shows it is the addressee, the
//! grant was made by the other end of `via` (rule S15), its time is not over, and it is the first time.
//! Over a channel the addressee is who had the first capability of the other end when the grant was
//! made, and it is accepted at that end alone; when that closes, it comes back, as it does when its
//! addressee ends. An end of a channel is granted only over an older channel, as it is sent: so nothing
//! waits at an end that it keeps open itself (docs/adr/0022). Lock rank: grants.

mod lists;
mod pending;
mod receivers;

use alloc::sync::Arc;
use mm::Region;

use abi::{Error, FOREVER, GrantFlags, Handle, Mode, ObjectKind, Rights, Token};

use crate::channel::check_goes_over;
use crate::domain::Peer;
use crate::limits::Ending;
use crate::platform::Moment;
use crate::{
    Capability, Channel, ChannelSide, Domain, Ipc, Node, Object, Offer, Payload, Platform,
};

pub(crate) use lists::First;
pub(crate) use pending::Grants;
use pending::{Address, Promise, Slot, Taken};

/// What leads to another process.
const LEADS: [ObjectKind; 4] = [
    ObjectKind::RingEnd,
    ObjectKind::HubMember,
    ObjectKind::Process,
    ObjectKind::ChannelEnd,
];

impl<P: Platform> Ipc<P> {
    /// Who is at the other end of `via`, a ring end, a channel end, a seat at a hub, or a process, what `of` makes of
    /// a channel end, and the capability. It needs `rights`: GRANT to offer something, none to take what was offered.
    #[inline(always)]
    fn way<T>(
        &self,
        domain: &Domain<P>,
        via: Handle,
        rights: Rights,
        of: impl FnOnce(&Arc<Channel<P>>, ChannelSide) -> T,
    ) -> Result<(Peer, Option<T>, Capability<P>), Error> {
        let found = domain.with_node(via, None, rights, |via| {
            let (peer, at) = match via.object().payload() {
                Payload::RingEnd(ring, end) => (ring.peer_of(*end), None),
                Payload::HubMember(member, side) => (member.peer_of(*side), None),
                Payload::Process(process) => {
                    (Peer::Present(self.platform().domain_of(process)), None)
                }
                Payload::ChannelEnd(channel, side) => {
                    (channel.peer_of(*side), Some(of(channel, *side)))
                }
                _ => return Err(Error::WrongKind),
            };
            Ok((peer, at, domain.found(via, rights)))
        });
        // What leads nowhere need not have the right to lead there.
        match (found, via.kind()) {
            (Err(Error::Denied), Some(kind)) if !LEADS.contains(&kind) => Err(Error::WrongKind),
            (found, _) => found,
        }
    }

    /// Offers what `handle` stands for to the domain at the other end of `via` until a deadline, and
    /// returns the token. See [`begin`](Ipc::begin) for what is refused; `PeerClosed`: nobody is
    /// there (if the way ended in this very moment, mappings of what was to be moved are gone, and so are the others that
    /// were to be revoked);
    /// `Invalid`: an end of a channel that is not younger than the one it goes over; `Limit`: the sender has
    /// [`MAX_GRANTS`](abi::limits::MAX_GRANTS) pending; `TimedOut`: the deadline has passed.
    #[allow(clippy::too_many_arguments)] // The registers of the call.
    pub fn grant(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        via: Handle,
        mode: Mode,
        rights: Rights,
        flags: GrantFlags,
        deadline_ns: u64,
    ) -> Result<Token, Error> {
        let there = |channel: &Arc<Channel<P>>, side: ChannelSide| (channel.clone(), side.peer());
        let (peer, at, via) = self.way(sender, via, Rights::GRANT, there)?;
        let Peer::Present(domain) = peer else {
            return Err(via.refuse(Error::PeerClosed));
        };
        let number = self.number_for(sender, deadline_ns)?;
        let to = Address {
            domain,
            at,
            deadline: deadline_ns,
            number,
        };
        let promise = self.grants.lock().promise(sender, &to);
        let promise = promise.map_err(|error| via.refuse(error))?;
        let over = to.at.as_ref().map(|(channel, _)| &**channel);
        let offer = self.mark_if(sender, handle, mode, rights, flags, |node| {
            check_goes_over(node, over)?;
            check_way_stays(node, &via.node, flags)
        });
        let offer = offer.and_then(|offer| self.clear_if_unpinned(offer));
        let (offer, careless) = match offer {
            Ok(offer) => offer,
            Err(error) => {
                self.grants.lock().take_back(sender, promise);
                return Err(self.refuse_handing_over(sender, handle, mode, flags, error));
            }
        };
        let published = self.publish(&via, promise, to, offer);
        if let Some(node) = careless {
            self.clear_node(&node);
        }
        let token = published.map_err(|(offer, error)| {
            self.withdraw(offer);
            error
        })?;
        if deadline_ns != FOREVER {
            self.list_grant(deadline_ns, number, token);
        }
        Ok(token)
    }

    /// Lets the addressee have the offer, if `via` leads there still: a revoke of it comes before this or behind it.
    #[inline(always)]
    fn publish(
        &self,
        via: &Capability<P>,
        promise: Promise,
        to: Address<P>,
        offer: Offer<P>,
    ) -> Result<Token, (Offer<P>, Error)> {
        let mut grants = self.grants.lock();
        // What is moved over itself was asked as it was marked.
        if via.node.is(&offer.node) {
            return grants.publish(promise, to, offer);
        }
        match via.stay() {
            Ok(_lineage) => grants.publish(promise, to, offer),
            Err(error) => {
                grants.take_back(&offer.sender, promise);
                Err((offer, error))
            }
        }
    }

    /// Takes the sender's access to what is moved away, unless something has to stay where it is. A
    /// kernel without that step has still to do it to what it returns besides.
    #[inline(always)]
    fn clear_if_unpinned(&self, offer: Offer<P>) -> Result<(Offer<P>, Option<Node<P>>), Error> {
        if mm::sabotaged!("move_publishes_before_ack") {
            let node = offer.node.clone();
            return Ok((offer, Some(node)));
        }
        match self.clear_unpinned(&offer) {
            Ok(()) => Ok((offer, None)),
            Err(_) => Err(self.refuse_pinned(offer)),
        }
    }

    /// Has a grant end in time, unless it has ended already.
    #[cold]
    fn list_grant(&self, deadline_ns: u64, number: u64, token: Token) {
        let ending = Ending::Grant(token);
        self.change_timed(|timed| timed.add(deadline_ns, number, ending));
        let pending = self.grants.lock().pending(token).is_some();
        if pending {
            self.expire_at(self.next_lapse());
        } else {
            // Whoever took it may have looked before it was listed.
            self.unlist_grant(deadline_ns, number);
        }
    }

    #[inline(always)]
    fn unlist(&self, taken: Taken<P>) -> Offer<P> {
        if taken.deadline != FOREVER {
            self.unlist_grant(taken.deadline, taken.number);
        }
        taken.offer
    }

    #[cold]
    fn unlist_grant(&self, deadline: u64, number: u64) {
        drop(self.change_timed(|timed| timed.remove(deadline, number)));
    }

    /// Takes what the domain at the other end of `via` offered to `receiver`. `NotFound`: the token
    /// is not for it, not from there, used, withdrawn or too late; `Quota`: its account does not cover what it
    /// would pay for from now on. When it fails for want of memory or quota, the token is still
    /// good.
    pub fn accept(&self, receiver: &Domain<P>, token: Token, via: Handle) -> Result<Handle, Error> {
        // Who is gone may have left offers behind.
        let koid = |channel: &Arc<Channel<P>>, side| channel.koid(side);
        let (peer, here, via) = self.way(receiver, via, Rights::empty(), koid)?;
        let (Peer::Present(grantor) | Peer::Gone(grantor)) = peer;
        let genuine = |slot: &Slot<P>, offer: &Offer<P>| {
            let from_there = match here {
                Some(end) => slot.through() == end,
                None => slot.through() == 0 && offer.sender.koid() == grantor,
            };
            slot.token == token
                && slot.is_for(receiver.koid(), || receiver.moment.now_ns())
                && (from_there || mm::sabotaged!("accept_without_grantor_check"))
        };
        let mut table = receiver.table.lock();
        table.prepare(1)?;
        let (taken, bill) = {
            let mut grants = self.grants.lock();
            let _lineage = via.stay()?;
            let pending = grants.get(token.index());
            let pending = pending.filter(|(slot, offer)| genuine(slot, offer));
            let (_, offer) = pending.ok_or(Error::NotFound)?;
            let bill = self.bill(&offer.node, receiver)?;
            let taken = grants.take(token.index());
            (taken.ok_or(Error::NotFound)?, bill)
        };
        // If it was revoked in this moment, it was withdrawn.
        self.deliver(self.unlist(taken), bill, receiver, table)
            .map_err(|_| Error::NotFound)
    }

    /// Withdraws a grant of `sender` that was not accepted. The handle of what was moved works again;
    /// its mappings are gone.
    pub fn cancel(&self, sender: &Domain<P>, token: Token) -> Result<(), Error> {
        let taken = {
            let mut grants = self.grants.lock();
            let pending = grants.pending(token);
            let own = pending.filter(|(_, offer)| offer.sender.koid() == sender.koid());
            own.ok_or(Error::NotFound)?;
            grants.take(token.index())
        };
        let offer = self.unlist(taken.ok_or(Error::NotFound)?);
        self.withdraw(offer);
        Ok(())
    }

    /// Withdraws a grant whose time is over.
    pub(crate) fn expire_grant(&self, token: Token) {
        let taken = {
            let mut grants = self.grants.lock();
            let pending = grants.pending(token).is_some();
            pending.then(|| grants.take(token.index())).flatten()
        };
        if let Some(taken) = taken {
            self.withdraw(taken.offer);
        }
    }

    /// The region that a pending grant stands for, for whoever audits memory: a snapshot on its way
    /// is nobody's.
    pub fn offered_region(&self, token: Token) -> Option<Arc<Region>> {
        self.grants.lock().region_of(token)
    }

    /// An offer that waits for a domain that ends; no more can be made to it from now on.
    pub(crate) fn take_grant_for(&self, domain: u64) -> Option<Offer<P>> {
        let taken = self.grants.lock().take_for(domain);
        taken.map(|taken| self.unlist(taken))
    }

    /// An offer that can be accepted at an end only, which is closed.
    pub(crate) fn take_grant_at(
        &self,
        channel: &Channel<P>,
        side: ChannelSide,
    ) -> Option<Offer<P>> {
        let taken = self.grants.lock().take_at(channel, side);
        taken.map(|taken| self.unlist(taken))
    }

    /// Drops the grants of capabilities of an object that were revoked.
    pub(crate) fn drop_dead_grants(&self, object: &Object<P>) {
        let mut seen = None;
        loop {
            let dead = self.grants.lock().take_dead(object, &mut seen);
            let Some(taken) = dead else { return };
            drop(self.unlist(taken));
        }
    }
}

/// `Invalid`: what is to go over `via` would revoke that first, with all else that is below it. Nodes stay below one
/// another, so this need not be asked again.
#[inline(always)]
fn check_way_stays<P: Platform>(
    node: &Node<P>,
    via: &Node<P>,
    flags: GrantFlags,
) -> Result<(), Error> {
    let takes_others = flags.contains(GrantFlags::REVOKE_OTHERS);
    if !takes_others || !Arc::ptr_eq(node.object(), via.object()) || via.is(node) {
        return Ok(());
    }
    let lineage = node.object().lineage.lock();
    let takes_way = via.is_live() && lineage.is_below(via, node.index);
    match takes_way && !mm::sabotaged!("move_takes_its_way") {
        true => Err(Error::Invalid),
        false => Ok(()),
    }
}
