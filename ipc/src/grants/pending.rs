//! The grants that are pending: their slots, and what a token has to match.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::limits::MAX_GRANTS;
use abi::{Error, FOREVER, Token, cost};
use mm::Region;

use super::lists::{First, Linked, Links, List, NONE};
use super::receivers::Receivers;
use crate::chunks::{BLOCK, Chunks};
use crate::node::NodeState;
use crate::places::next_generation;
use crate::{Channel, ChannelSide, Domain, Node, Object, Offer, Platform};

/// A place for a grant. What is said of the grant means nothing while there is no offer.
pub(super) struct Slot<P: Platform> {
    generation: u32,
    /// Which of those who can be granted something the addressee is.
    receiver: u32,
    addressee: u64,
    /// What names the grant.
    pub(super) token: Token,
    /// The end of a channel at which it has to be accepted; none for any way that leads to the grantor.
    at: Option<End<P>>,
    /// When it ends, and its number among what does; `FOREVER` for never.
    deadline: u64,
    number: u64,
    links: Links,
    offer: Option<Offer<P>>,
}

/// An end of a channel.
pub(super) type End<P> = (Arc<Channel<P>>, ChannelSide);

impl<P: Platform> Slot<P> {
    fn new(generation: u32) -> Slot<P> {
        Slot {
            generation,
            receiver: 0,
            addressee: 0,
            token: Token::from_bits(0),
            at: None,
            deadline: FOREVER,
            number: 0,
            links: Links::before([NONE; 3]),
            offer: None,
        }
    }

    /// The end of a channel at which it has to be accepted, by its koid; 0 for any way that leads to the
    /// grantor.
    #[inline(always)]
    pub(super) fn through(&self) -> u64 {
        let at = self.at.as_ref();
        at.map_or(0, |(channel, side)| channel.koid(*side))
    }

    /// Whether it is for a domain that accepts it `now`.
    #[inline(always)]
    pub(super) fn is_for(&self, domain: u64, now: impl FnOnce() -> u64) -> bool {
        let addressed =
            self.addressee == domain || mm::sabotaged!("accept_without_addressee_check");
        addressed && (self.deadline == FOREVER || self.deadline > now())
    }
}

impl<P: Platform> Default for Slot<P> {
    fn default() -> Self {
        Slot::new(1)
    }
}

/// Whom a grant is to go to, and where it has to be accepted.
pub(super) struct Address<P: Platform> {
    pub(super) domain: u64,
    pub(super) at: Option<End<P>>,
    /// When it ends, and its number among what does.
    pub(super) deadline: u64,
    pub(super) number: u64,
}

/// The promise of a slot for a grant.
pub(super) struct Promise {
    /// Which of those who can be granted something it is for.
    receiver: u32,
}

/// An offer that is not pending any more.
pub(crate) struct Taken<P: Platform> {
    pub(crate) offer: Offer<P>,
    /// When it would have ended, and its number among what does.
    pub(super) deadline: u64,
    pub(super) number: u64,
}

/// The pending grants of a machine.
pub(crate) struct Grants<P: Platform> {
    slots: Chunks<Slot<P>>,
    free: Vec<u32>,
    /// How many of the free ones are promised to grants that have begun.
    promised: usize,
    /// Above those of all slots that were given back.
    next_generation: u32,
    receivers: Receivers,
    /// The accounts of those who can be granted something, in a kernel that has them pay for what they have not accepted.
    #[cfg(sabotage)]
    payers: Vec<(u64, Arc<mm::Account>)>,
}

impl<P: Platform> Grants<P> {
    pub(crate) const fn new() -> Grants<P> {
        Grants {
            slots: Chunks::new(),
            free: Vec::new(),
            promised: 0,
            next_generation: 1,
            receivers: Receivers::new(),
            #[cfg(sabotage)]
            payers: Vec::new(),
        }
    }

    /// Notes a domain that can be granted something from now on.
    pub(crate) fn add_receiver(&mut self, domain: &Domain<P>) {
        self.receivers.add(domain.koid());
        #[cfg(sabotage)]
        if mm::sabotaged!("pending_charged_to_addressee") {
            self.payers.push((domain.koid(), domain.account().clone()));
        }
    }

    /// Whether a domain that was found at a place can still be granted something at an end.
    #[inline(always)]
    fn is_open(&self, receiver: u32, domain: u64, at: Option<&End<P>>) -> bool {
        let open = at.is_none_or(|(channel, side)| !channel.is_closed(*side));
        open && self.receivers.is_open(receiver, domain)
    }

    /// Promises a slot for a grant of `sender`. `PeerClosed`: nobody could accept it; `NoMemory`; `Limit`: it
    /// has [`MAX_GRANTS`] pending.
    #[inline(always)]
    pub(super) fn promise(
        &mut self,
        sender: &Domain<P>,
        to: &Address<P>,
    ) -> Result<Promise, Error> {
        let pending = sender.pending_grants.get();
        if pending >= MAX_GRANTS as u32 {
            return Err(Error::Limit);
        }
        let receiver = self.receivers.place_of(to.domain);
        let receiver = receiver.filter(|place| self.is_open(*place, to.domain, to.at.as_ref()));
        let receiver = receiver.ok_or(Error::PeerClosed)?;
        if self.free.len() == self.promised {
            self.add_slot()?;
        }
        self.promised += 1;
        sender.pending_grants.set(pending + 1);
        Ok(Promise { receiver })
    }

    /// Takes a promise back.
    #[cold]
    pub(super) fn take_back(&mut self, sender: &Domain<P>, _: Promise) {
        self.promised -= 1;
        uncount(sender);
    }

    /// One more empty slot, and room for it among the empty ones.
    #[cold]
    fn add_slot(&mut self) -> Result<(), Error> {
        const {
            // A capability is offered from one place of a table, which it still has when it is moved.
            let place = size_of::<Slot<P>>() + size_of::<u32>() + 32;
            assert!(cfg!(loom) || (Node::<P>::RECORD + place) as u64 <= cost::CAPABILITY);
        }
        self.slots.reserve(1)?;
        // Room for every slot of the block, so that vacating one never allocates.
        let slots = (self.slots.len() + 1).next_multiple_of(BLOCK);
        let room = slots - self.free.len();
        self.free
            .try_reserve_exact(room)
            .map_err(|_| Error::NoMemory)?;
        let slot = Slot::new(self.next_generation);
        let index = self.slots.push(slot) as u32;
        self.free.push(index);
        Ok(())
    }

    /// Lets the addressee have the offer, and returns its token. With an error it is given back.
    /// `PeerClosed`: the addressee has ended meanwhile, or the end at which it would have to be accepted;
    /// `Revoked`: whoever revoked it may have looked for tokens before.
    #[inline(always)]
    pub(super) fn publish(
        &mut self,
        promise: Promise,
        to: Address<P>,
        offer: Offer<P>,
    ) -> Result<Token, (Offer<P>, Error)> {
        let receiver = promise.receiver;
        if offer.node.state() == NodeState::Dead {
            self.take_back(&offer.sender, promise);
            return Err((offer, Error::Revoked));
        }
        if !self.is_open(receiver, to.domain, to.at.as_ref()) {
            self.take_back(&offer.sender, promise);
            return Err((offer, Error::PeerClosed));
        }
        self.promised -= 1;
        let Some(index) = self.free.pop() else {
            debug_assert!(false, "no slot is left of those that were promised");
            return Err((offer, Error::NoMemory));
        };
        let object = offer.node.object();
        let Some(of_receiver) = self.receivers.grants(receiver) else {
            debug_assert!(false, "who can be granted something has no place");
            self.free.push(index);
            return Err((offer, Error::PeerClosed));
        };
        let at_end = to.at.as_ref().map(|(channel, side)| channel.grants(*side));
        let links = Links::before([
            of_receiver.get(),
            object.grants.get(),
            at_end.map_or(NONE, First::get),
        ]);
        self.slots
            .enter(List::Addressee, &links, of_receiver, index);
        self.slots
            .enter(List::Object, &links, &object.grants, index);
        if let Some(first) = at_end {
            self.slots.enter(List::End, &links, first, index);
        }
        #[cfg(sabotage)]
        if let Some((_, payer)) = self.payers.iter().find(|(koid, _)| *koid == to.domain) {
            let _ = offer.node.hand_over_charge(payer);
        }
        let slot = &mut self.slots[index as usize];
        let token = Token::new(index, slot.generation, offer.kind(), offer.mode());
        slot.token = token;
        slot.addressee = to.domain;
        slot.receiver = receiver;
        slot.at = to.at;
        slot.deadline = to.deadline;
        slot.number = to.number;
        slot.links = links;
        slot.offer = Some(offer);
        Ok(token)
    }

    /// The grant of a slot, and what is offered.
    #[inline(always)]
    pub(super) fn get(&self, index: u32) -> Option<(&Slot<P>, &Offer<P>)> {
        let slot = self.slots.get(index as usize)?;
        Some((slot, slot.offer.as_ref()?))
    }

    /// Takes the offer of a slot out.
    #[inline(always)]
    pub(super) fn take(&mut self, index: u32) -> Option<Taken<P>> {
        let slot = self.slots.get_mut(index as usize)?;
        #[cfg(sabotage)]
        if mm::sabotaged!("accept_twice") {
            return Some(Taken {
                offer: slot.offer.as_ref()?.again(),
                deadline: FOREVER,
                number: 0,
            });
        }
        let offer = slot.offer.take()?;
        let (at, links, receiver) = (slot.at.take(), slot.links, slot.receiver);
        let (deadline, number) = (slot.deadline, slot.number);
        let next = next_generation(slot.generation);
        if let Some(next) = next {
            slot.generation = next;
            self.next_generation = self.next_generation.max(next);
            self.free.push(index);
        }
        if let Some(grants) = self.receivers.grants(receiver) {
            self.slots.leave(List::Addressee, &links, grants);
        }
        let first = &offer.node.object().grants;
        self.slots.leave(List::Object, &links, first);
        if let Some((channel, side)) = &at {
            self.slots.leave(List::End, &links, channel.grants(*side));
        }
        if self.slots.len() > BLOCK && self.free.len() == self.slots.len() {
            self.shrink();
        }
        uncount(&offer.sender);
        Some(Taken {
            offer,
            deadline,
            number,
        })
    }

    /// Gives memory back when nothing is pending. What comes later begins above the generations that are
    /// forgotten.
    #[cold]
    fn shrink(&mut self) {
        if self.promised > 0 {
            return;
        }
        self.slots.truncate(1);
        self.free.retain(|index| (*index as usize) < BLOCK);
        mm::shrink_to(&mut self.free, BLOCK);
    }

    /// Takes out an offer that waits for a domain that ends; no more can be made to it from now on.
    pub(super) fn take_for(&mut self, domain: u64) -> Option<Taken<P>> {
        let first = self.receivers.close(domain)?;
        self.take(first)
    }

    /// Takes out an offer that can be accepted at an end only, which is closed.
    pub(super) fn take_at(&mut self, channel: &Channel<P>, side: ChannelSide) -> Option<Taken<P>> {
        self.take(channel.grants(side).get())
    }

    /// Takes out an offer of a capability of an object that was revoked, behind a grant which was seen
    /// before and still is pending, else from the first on; `seen` is the last that stays.
    pub(super) fn take_dead(
        &mut self,
        object: &Object<P>,
        seen: &mut Option<Token>,
    ) -> Option<Taken<P>> {
        let next = |slot: &Slot<P>| slot.links.next(List::Object);
        let behind = seen.and_then(|token| self.pending(token));
        let behind = behind.map(|(slot, _)| next(slot));
        let mut index = behind.unwrap_or_else(|| object.grants.get());
        loop {
            let (slot, offer) = self.get(index)?;
            if offer.node.state() == NodeState::Dead {
                return self.take(index);
            }
            *seen = Some(slot.token);
            index = next(slot);
        }
    }

    /// The grant that a token names.
    pub(super) fn pending(&self, token: Token) -> Option<(&Slot<P>, &Offer<P>)> {
        self.get(token.index())
            .filter(|(slot, _)| slot.token == token)
    }

    /// The region that a grant stands for.
    pub(super) fn region_of(&self, token: Token) -> Option<Arc<Region>> {
        let (_, offer) = self.get(token.index())?;
        offer.node.object().region().cloned()
    }
}

/// Counts a grant of its own that is pending no more.
fn uncount<P: Platform>(sender: &Domain<P>) {
    sender.pending_grants.set(sender.pending_grants.get() - 1);
}

impl<P: Platform> Linked for Chunks<Slot<P>> {
    #[inline(always)]
    fn links(&mut self, index: u32) -> Option<&mut Links> {
        Some(&mut self.get_mut(index as usize)?.links)
    }
}
