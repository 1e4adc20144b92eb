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

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::limits::MAX_GRANTS;
use mm::Region;

use abi::{Error, FOREVER, GrantFlags, Handle, Mode, Rights, Token};

use crate::channel::check_goes_over;
use crate::domain::Peer;
use crate::limits::Ending;
use crate::node::NodeState;
use crate::platform::Moment;
use crate::{Channel, ChannelSide, Domain, Ipc, Object, Offer, Payload, Platform};

pub(crate) use lists::First;
pub(crate) use pending::Grants;
use pending::{End, Pending};

/// Where a capability leads over which something is granted or accepted.
struct Way<P: Platform> {
    peer: Peer,
    /// The end of a channel that it stands for, if it does.
    end: Option<End<P>>,
}

impl<P: Platform> Way<P> {
    /// Where what is granted over it has to be accepted.
    fn there(&self) -> Option<End<P>> {
        let (channel, side) = self.end.as_ref()?;
        Some((channel.clone(), side.peer()))
    }

    /// Whether a grant by `sender` came over this way.
    fn leads_to(&self, sender: u64, through: u64) -> bool {
        let (Peer::Present(grantor) | Peer::Gone(grantor)) = self.peer;
        if mm::sabotaged!("accept_without_grantor_check") {
            return true;
        }
        let here = self.end.as_ref();
        let here = here.map_or(0, |(channel, side)| channel.koid(*side));
        through == here && (through != 0 || sender == grantor)
    }
}

impl<P: Platform> Ipc<P> {
    /// Where `via` leads: a ring end, a channel end, or a process. It needs `rights`: GRANT to offer
    /// something, none to take what was offered.
    fn way(&self, domain: &Domain<P>, via: Handle, rights: Rights) -> Result<Way<P>, Error> {
        let of = |peer| Way { peer, end: None };
        domain.with_node(via, None, rights, |via| match via.object().payload() {
            Payload::RingEnd(ring, end) => Ok(of(ring.peer_of(*end))),
            Payload::Process(process) => Ok(of(Peer::Present(self.platform().domain_of(process)))),
            Payload::ChannelEnd(channel, side) => Ok(Way {
                peer: channel.peer_of(*side),
                end: Some((channel.clone(), *side)),
            }),
            _ => Err(Error::WrongKind),
        })
    }

    /// Offers what `handle` stands for to the domain at the other end of `via` until a deadline, and
    /// returns the token. See [`begin`](Ipc::begin) for what is refused; `PeerClosed`: nobody is
    /// there (if the addressee ended in this very moment, mappings of what was to be moved are gone);
    /// `Invalid`: an end of a channel that is not younger than the one it goes over; `Limit`: the sender has
    /// [`MAX_GRANTS`] pending; `TimedOut`: the deadline has passed.
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
        let way = self.way(sender, via, Rights::GRANT)?;
        let Peer::Present(addressee) = way.peer else {
            return Err(Error::PeerClosed);
        };
        let number = self.number_for(sender, deadline_ns)?;
        let there = way.there();
        sender.count_grant()?;
        let reserved = self
            .grants
            .lock()
            .reserve(addressee, there, deadline_ns, number);
        let (index, generation) = reserved.inspect_err(|_| sender.uncount_grant())?;
        let over = way.end.as_ref().map(|(channel, _)| &**channel);
        let begun = self.begin_if(sender, handle, mode, rights, flags, |node| {
            check_goes_over(node, over)
        });
        let offer = match begun {
            Ok(offer) => offer,
            Err(error) => {
                self.grants.lock().vacate(index);
                sender.uncount_grant();
                return Err(error);
            }
        };
        let careless = mm::sabotaged!("move_publishes_before_ack").then(|| offer.node.clone());
        if careless.is_none() {
            self.clear(&offer);
        }
        let published = self.grants.lock().publish(index, offer);
        if let Some(node) = careless {
            self.clear_node(&node);
        }
        let token = published.map_err(|offer| {
            sender.uncount_grant();
            self.withdraw(offer);
            Error::PeerClosed
        })?;
        // Whoever revoked it may have looked for tokens before it was published.
        let dead = |pending: &Pending<'_, P>| {
            pending.generation == generation && pending.offer.node.state() == NodeState::Dead
        };
        if self.take_grant(index, dead).is_some() {
            return Err(Error::Revoked);
        }
        if deadline_ns != FOREVER {
            self.list_grant(deadline_ns, number, index, generation);
        }
        Ok(token)
    }

    /// Has a grant end in time, unless it has ended already.
    fn list_grant(&self, deadline_ns: u64, number: u64, index: u32, generation: u32) {
        let ending = Ending::Grant(index, generation);
        self.change_timed(|timed| timed.add(deadline_ns, number, ending));
        let pending = self.grants.lock().is_pending(index, generation);
        if pending {
            self.expire_at(self.next_lapse());
        } else {
            // Whoever took it may have looked before it was listed.
            self.unlist_grant(deadline_ns, number);
        }
    }

    /// Takes the offer of a slot out if it is published and `wanted`.
    fn take_grant(
        &self,
        index: u32,
        wanted: impl FnOnce(&Pending<'_, P>) -> bool,
    ) -> Option<Offer<P>> {
        let (offer, deadline, number) = self.grants.lock().take(index, wanted)?;
        self.unlist_grant(deadline, number);
        Some(offer)
    }

    fn unlist_grant(&self, deadline: u64, number: u64) {
        if deadline != FOREVER {
            drop(self.change_timed(|timed| timed.remove(deadline, number)));
        }
    }

    /// Takes what the domain at the other end of `via` offered to `receiver`. `NotFound`: the token
    /// is not for it, not from there, used, withdrawn or too late; `Quota`: its account does not cover what it
    /// would pay for from now on. When it fails for want of memory or quota, the token is still
    /// good.
    pub fn accept(&self, receiver: &Domain<P>, token: Token, via: Handle) -> Result<Handle, Error> {
        // Who is gone may have left offers behind.
        let way = self.way(receiver, via, Rights::empty())?;
        let now_ns = receiver.moment.now_ns();
        let mut table = receiver.table.lock();
        table.prepare(1)?;
        let genuine = |pending: &Pending<'_, P>| {
            pending.is(token)
                && pending.is_for(receiver.koid(), now_ns)
                && way.leads_to(pending.offer.sender.koid(), pending.through)
        };
        let offered = self.grants.lock().look_up(token.index(), genuine);
        let offered = offered.ok_or(Error::NotFound)?;
        let bill = self.bill(&offered, receiver)?;
        match self.take_grant(token.index(), genuine) {
            // If it was revoked in this moment, it was withdrawn.
            Some(offer) => self
                .deliver(offer, bill, receiver, table)
                .map_err(|_| Error::NotFound),
            // It was withdrawn in this moment.
            None => {
                self.withdraw_bill(&bill, &offered, receiver);
                Err(Error::NotFound)
            }
        }
    }

    /// Withdraws a grant of `sender` that was not accepted. The handle of what was moved works again;
    /// its mappings are gone.
    pub fn cancel(&self, sender: &Domain<P>, token: Token) -> Result<(), Error> {
        let offer = self.take_grant(token.index(), |pending| {
            pending.is(token) && pending.offer.sender.koid() == sender.koid()
        });
        self.withdraw(offer.ok_or(Error::NotFound)?);
        Ok(())
    }

    /// Withdraws a grant whose time is over.
    pub(crate) fn expire_grant(&self, index: u32, generation: u32) {
        let offer = self
            .grants
            .lock()
            .take(index, |pending| pending.generation == generation);
        if let Some((offer, ..)) = offer {
            self.withdraw(offer);
        }
    }

    /// The region that a pending grant stands for, for whoever audits memory: a snapshot on its way
    /// is nobody's.
    pub fn offered_region(&self, token: Token) -> Option<Arc<Region>> {
        self.grants.lock().region_of(token)
    }

    /// An offer that waits for a domain that ends; no more can be made to it from now on.
    pub(crate) fn take_grant_for(&self, domain: u64) -> Option<Offer<P>> {
        let (offer, deadline, number) = self.grants.lock().take_for(domain)?;
        self.unlist_grant(deadline, number);
        Some(offer)
    }

    /// An offer that can be accepted at an end only, which is closed.
    pub(crate) fn take_grant_at(
        &self,
        channel: &Channel<P>,
        side: ChannelSide,
    ) -> Option<Offer<P>> {
        let (offer, deadline, number) = self.grants.lock().take_at(channel, side)?;
        self.unlist_grant(deadline, number);
        Some(offer)
    }

    /// Drops the grants of capabilities of an object that were revoked.
    pub(crate) fn drop_dead_grants(&self, object: &Object<P>) {
        let mut seen = None;
        loop {
            let dead = self.grants.lock().take_dead(object, &mut seen);
            let Some((offer, deadline, number)) = dead else {
                return;
            };
            self.unlist_grant(deadline, number);
            drop(offer);
        }
    }
}

impl<P: Platform> Domain<P> {
    /// Counts one more grant of its own that is pending. `Limit`.
    fn count_grant(&self) -> Result<(), Error> {
        let more = |count| (count < MAX_GRANTS as u32).then_some(count + 1);
        let order = Ordering::Relaxed;
        let counted = self.pending_grants.fetch_update(order, order, more);
        counted.map(drop).map_err(|_| Error::Limit)
    }

    pub(super) fn uncount_grant(&self) {
        self.pending_grants.fetch_sub(1, Ordering::Relaxed);
    }
}
