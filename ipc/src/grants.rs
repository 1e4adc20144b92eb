//! Grants: offers that wait for their addressee, and the tokens that name them.
//!
//! A token is refused, and tells nothing, unless the process that shows it is the addressee, the
//! grant was made by the other end of `via` (rule S15), its time is not over, and it is the first time.
//! Over a channel the addressee is who had the first capability of the other end when the grant was
//! made, and it is accepted at that end alone. Lock rank: grants.

mod pending;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::limits::MAX_GRANTS;
use mm::Region;

use abi::{Error, FOREVER, GrantFlags, Handle, Mode, Rights, Token};

use crate::domain::Peer;
use crate::limits::Ending;
use crate::node::NodeState;
use crate::platform::Moment;
use crate::{Domain, Ipc, Offer, Payload, Platform};

pub(crate) use pending::Grants;
use pending::Pending;

/// Where a capability leads over which something is granted or accepted.
pub(crate) struct Way {
    peer: Peer,
    /// The end of a channel that it stands for, by its koid, and the other end; 0 for anything else.
    here: u64,
    there: u64,
}

impl Way {
    /// Whether a grant by `sender` came over this way.
    fn leads_to(&self, sender: u64, through: u64) -> bool {
        let (Peer::Present(grantor) | Peer::Gone(grantor)) = self.peer;
        if mm::sabotaged!("accept_without_grantor_check") {
            return true;
        }
        through == self.here && (through != 0 || sender == grantor)
    }
}

impl<P: Platform> Ipc<P> {
    /// Where `via` leads: a ring end, a channel end, or a process. It needs `rights`: GRANT to offer
    /// something, none to take what was offered.
    fn way(&self, domain: &Domain<P>, via: Handle, rights: Rights) -> Result<Way, Error> {
        let of = |peer| Way {
            peer,
            here: 0,
            there: 0,
        };
        domain.with_node(via, None, rights, |via| match via.object().payload() {
            Payload::RingEnd(ring, end) => Ok(of(ring.peer_of(*end))),
            Payload::Process(process) => Ok(of(Peer::Present(self.platform().domain_of(process)))),
            Payload::ChannelEnd(channel, side) => Ok(Way {
                peer: channel.peer_of(*side),
                here: channel.koid(*side),
                there: channel.koid(side.peer()),
            }),
            _ => Err(Error::WrongKind),
        })
    }

    /// Offers what `handle` stands for to the domain at the other end of `via` until a deadline, and
    /// returns the token. See [`begin`](Ipc::begin) for what is refused; `PeerClosed`: nobody is
    /// there (if the addressee ended in this very moment, mappings of what was to be moved are gone);
    /// `Limit`: the sender has [`MAX_GRANTS`] pending; `TimedOut`: the deadline has passed.
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
        if sender.pending_grants.load(Ordering::Relaxed) as usize >= MAX_GRANTS {
            return Err(Error::Limit);
        }
        let number = self.number_for(sender, deadline_ns)?;
        let (index, generation) =
            self.grants
                .lock()
                .reserve(addressee, way.there, deadline_ns, number)?;
        let offer = match self.begin(sender, handle, mode, rights, flags) {
            Ok(offer) => offer,
            Err(error) => {
                self.grants.lock().vacate(index);
                return Err(error);
            }
        };
        sender.pending_grants.fetch_add(1, Ordering::Relaxed);
        let careless = mm::sabotaged!("move_publishes_before_ack").then(|| offer.node.clone());
        if careless.is_none() {
            self.clear(&offer);
        }
        let published = self.grants.lock().publish(index, offer);
        if let Some(node) = careless {
            self.clear_node(&node);
        }
        let token = published.map_err(|offer| {
            sender.pending_grants.fetch_sub(1, Ordering::Relaxed);
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

    /// Drops the grants of capabilities that were revoked.
    pub(crate) fn drop_dead_grants(&self) {
        let slots = self.grants.lock().slot_count();
        for index in 0..slots {
            let dead = |pending: &Pending<'_, P>| pending.offer.node.state() == NodeState::Dead;
            drop(self.take_grant(index, dead));
        }
    }
}
