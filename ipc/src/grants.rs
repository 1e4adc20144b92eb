//! Grants: offers that wait for their addressee, and the tokens that name them.
//!
//! A token is refused, and tells nothing, unless the process that shows it is the addressee, the
//! grant was made by the other end of `via` (rule S15), its time is not over, and it is the first time.
//! Over a channel the addressee is who had the first capability of the other end when the grant was
//! made, and it is accepted at that end alone. Lock rank: grants.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::limits::{MAX_GRANTS, MAX_PROCESSES};
use mm::Region;

use abi::{Error, FOREVER, GrantFlags, Handle, Mode, Rights, Token};

use crate::chunks::{BLOCK, Chunks};
use crate::domain::Peer;
use crate::limits::Ending;
use crate::node::NodeState;
use crate::places::next_generation;
use crate::platform::Moment;
use crate::{Domain, Ipc, Node, Offer, Payload, Platform};

/// The addressee of a grant that was not published when the addressee ended.
const GONE: u64 = 0;

struct Slot<P: Platform> {
    generation: u32,
    grant: Option<Grant<P>>,
}

impl<P: Platform> Default for Slot<P> {
    fn default() -> Self {
        Slot {
            generation: 1,
            grant: None,
        }
    }
}

struct Grant<P: Platform> {
    addressee: u64,
    /// The end of a channel at which it has to be accepted, by its koid; 0 for any way that leads to
    /// the grantor.
    through: u64,
    /// When it ends, and its number among what does; `FOREVER` for never.
    deadline: u64,
    number: u64,
    /// Missing between the reservation of the slot and its publication.
    offer: Option<Offer<P>>,
}

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

/// The pending grants of a machine.
pub(crate) struct Grants<P: Platform> {
    slots: Chunks<Slot<P>>,
    free: Vec<u32>,
    /// Above those of all slots that were given back.
    next_generation: u32,
    /// Slots that have a grant.
    live: usize,
    /// The domains that can receive, in ascending order.
    receivers: Vec<u64>,
}

impl<P: Platform> Grants<P> {
    pub(crate) const fn new() -> Grants<P> {
        Grants {
            slots: Chunks::new(),
            free: Vec::new(),
            next_generation: 1,
            live: 0,
            receivers: Vec::new(),
        }
    }

    pub(crate) fn add_receiver(&mut self, domain: u64) {
        if self.receivers.is_empty() {
            // At once, so that what a process leaves is as it was before.
            self.receivers.reserve(MAX_PROCESSES);
        }
        // Numbers ascend, so this is mostly the end.
        let place = self.receivers.partition_point(|&other| other < domain);
        self.receivers.insert(place, domain);
    }

    /// A slot for a grant to `addressee`, not published yet, and its generation.
    fn reserve(
        &mut self,
        addressee: u64,
        through: u64,
        deadline: u64,
        number: u64,
    ) -> Result<(u32, u32), Error> {
        if self.receivers.binary_search(&addressee).is_err() {
            return Err(Error::PeerClosed);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.add_slot()?,
        };
        let slot = &mut self.slots[index as usize];
        slot.grant = Some(Grant {
            addressee,
            through,
            deadline,
            number,
            offer: None,
        });
        self.live += 1;
        Ok((index, slot.generation))
    }

    /// One more empty slot, and room for it among the empty ones.
    #[cold]
    fn add_slot(&mut self) -> Result<u32, Error> {
        self.slots.reserve(1)?;
        // Room for every slot of the block, so that vacating one never allocates.
        let slots = (self.slots.len() + 1).next_multiple_of(BLOCK);
        let room = slots - self.free.len();
        self.free
            .try_reserve_exact(room)
            .map_err(|_| Error::NoMemory)?;
        let slot = Slot {
            generation: self.next_generation,
            grant: None,
        };
        Ok(self.slots.push(slot) as u32)
    }

    /// Lets the addressee have the offer. Gives it back if the addressee has ended meanwhile.
    fn publish(&mut self, index: u32, offer: Offer<P>) -> Result<Token, Offer<P>> {
        let slot = &mut self.slots[index as usize];
        let token = Token::new(index, slot.generation, offer.kind(), offer.mode());
        match &mut slot.grant {
            Some(grant) if grant.addressee != GONE => {
                grant.offer = Some(offer);
                Ok(token)
            }
            _ => {
                self.vacate(index);
                Err(offer)
            }
        }
    }

    /// What the offer of a slot is for, if it is published and `wanted`.
    fn look_up(&self, index: u32, wanted: impl FnOnce(&Pending<'_, P>) -> bool) -> Option<Node<P>> {
        let slot = self.slots.get(index as usize)?;
        let pending = Pending::of(slot)?;
        wanted(&pending).then(|| pending.offer.node.clone())
    }

    /// Takes the offer of a slot out if it is published and `wanted`, and tells its deadline and
    /// number.
    fn take(
        &mut self,
        index: u32,
        wanted: impl FnOnce(&Pending<'_, P>) -> bool,
    ) -> Option<(Offer<P>, u64, u64)> {
        let slot = self.slots.get_mut(index as usize)?;
        if !wanted(&Pending::of(slot)?) {
            return None;
        }
        #[cfg(sabotage)]
        if mm::sabotaged!("accept_twice") {
            let offer = Pending::of(slot)?.offer.again();
            return Some((offer, FOREVER, 0));
        }
        let grant = slot.grant.as_mut()?;
        let offer = grant.offer.take()?;
        let (deadline, number) = (grant.deadline, grant.number);
        self.vacate(index);
        offer.sender.pending_grants.fetch_sub(1, Ordering::Relaxed);
        Some((offer, deadline, number))
    }

    fn vacate(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.grant = None;
        self.live -= 1;
        if let Some(next) = next_generation(slot.generation) {
            slot.generation = next;
            self.next_generation = self.next_generation.max(next);
            self.free.push(index);
        }
        // Nothing is pending. What comes later begins above the generations that are forgotten.
        if self.slots.len() > BLOCK && self.free.len() == self.slots.len() {
            self.slots.truncate(1);
            self.free.retain(|index| (*index as usize) < BLOCK);
            mm::shrink_to(&mut self.free, BLOCK);
        }
    }
}

/// A grant that can be accepted.
struct Pending<'a, P: Platform> {
    offer: &'a Offer<P>,
    addressee: u64,
    through: u64,
    deadline: u64,
    generation: u32,
}

impl<P: Platform> Pending<'_, P> {
    fn of(slot: &Slot<P>) -> Option<Pending<'_, P>> {
        let grant = slot.grant.as_ref()?;
        Some(Pending {
            offer: grant.offer.as_ref()?,
            addressee: grant.addressee,
            through: grant.through,
            deadline: grant.deadline,
            generation: slot.generation,
        })
    }

    /// Whether a token names it.
    fn is(&self, token: Token) -> bool {
        let (kind, mode) = (self.offer.kind(), self.offer.mode());
        Token::new(token.index(), self.generation, kind, mode) == token
    }

    /// Whether it is for a domain that accepts it at some time.
    fn is_for(&self, domain: u64, now_ns: u64) -> bool {
        let addressed =
            self.addressee == domain || mm::sabotaged!("accept_without_addressee_check");
        addressed && self.deadline > now_ns
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
        let pending = {
            let grants = self.grants.lock();
            let slot = grants.slots.get(index as usize);
            slot.is_some_and(|slot| slot.generation == generation && slot.grant.is_some())
        };
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
                self.withdraw_bill(bill, &offered, receiver);
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
        let grants = self.grants.lock();
        let grant = grants.slots.get(token.index() as usize)?.grant.as_ref()?;
        grant.offer.as_ref()?.node.object().region().cloned()
    }

    /// An offer that waits for a domain that ends; no more can be made to it from now on.
    pub(crate) fn take_grant_for(&self, domain: u64) -> Option<Offer<P>> {
        let (offer, deadline, number) = {
            let mut grants = self.grants.lock();
            if let Ok(place) = grants.receivers.binary_search(&domain) {
                grants.receivers.remove(place);
            }
            if grants.live == 0 {
                return None;
            }
            (0..grants.slots.len()).find_map(|index| {
                if let Some(Grant {
                    addressee,
                    offer: None,
                    ..
                }) = &mut grants.slots[index].grant
                    && *addressee == domain
                {
                    *addressee = GONE;
                }
                grants.take(index as u32, |pending| pending.addressee == domain)
            })?
        };
        self.unlist_grant(deadline, number);
        Some(offer)
    }

    /// Drops the grants of capabilities that were revoked.
    pub(crate) fn drop_dead_grants(&self) {
        let slots = self.grants.lock().slots.len() as u32;
        for index in 0..slots {
            let dead = |pending: &Pending<'_, P>| pending.offer.node.state() == NodeState::Dead;
            drop(self.take_grant(index, dead));
        }
    }
}
