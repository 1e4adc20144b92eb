//! The grants that are pending: their slots, and what a token has to match.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::limits::MAX_PROCESSES;
use abi::{Error, Token};
use mm::Region;

use super::lists::{First, Linked, Links, List, NONE};
use crate::chunks::{BLOCK, Chunks};
use crate::node::NodeState;
use crate::places::next_generation;
use crate::{Channel, ChannelSide, Node, Object, Offer, Platform};

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

/// An end of a channel.
pub(super) type End<P> = (Arc<Channel<P>>, ChannelSide);

struct Grant<P: Platform> {
    addressee: u64,
    /// The end of a channel at which it has to be accepted; none for any way that leads to the grantor.
    at: Option<End<P>>,
    /// When it ends, and its number among what does; `FOREVER` for never.
    deadline: u64,
    number: u64,
    /// Missing between the reservation of the slot and its publication.
    offer: Option<Offer<P>>,
    /// Once it is published.
    links: Links,
}

/// Somebody who can be granted something.
struct Receiver {
    domain: u64,
    /// It ends.
    closed: bool,
    grants: First,
}

/// The pending grants of a machine.
pub(crate) struct Grants<P: Platform> {
    slots: Chunks<Slot<P>>,
    free: Vec<u32>,
    /// Above those of all slots that were given back.
    next_generation: u32,
    /// Slots that have a grant.
    live: usize,
    /// By their domains, in ascending order.
    receivers: Vec<Receiver>,
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
        let place = self
            .receivers
            .partition_point(|other| other.domain < domain);
        let receiver = Receiver {
            domain,
            closed: false,
            grants: First::new(),
        };
        self.receivers.insert(place, receiver);
    }

    fn receiver(&self, domain: u64) -> Option<usize> {
        let place = self
            .receivers
            .binary_search_by_key(&domain, |other| other.domain);
        place.ok()
    }

    /// Where somebody is who can be granted something at an end.
    fn open_receiver(&self, domain: u64, at: Option<&End<P>>) -> Option<usize> {
        let place = self.receiver(domain)?;
        let open = at.is_none_or(|(channel, side)| !channel.is_closed(*side));
        (open && !self.receivers[place].closed).then_some(place)
    }

    /// A slot for a grant to `addressee` to be accepted at an end, not published yet, and its generation.
    pub(super) fn reserve(
        &mut self,
        addressee: u64,
        at: Option<End<P>>,
        deadline: u64,
        number: u64,
    ) -> Result<(u32, u32), Error> {
        self.open_receiver(addressee, at.as_ref())
            .ok_or(Error::PeerClosed)?;
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.add_slot()?,
        };
        let slot = &mut self.slots[index as usize];
        slot.grant = Some(Grant {
            addressee,
            at,
            deadline,
            number,
            offer: None,
            links: Links::NONE,
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

    /// Lets the addressee have the offer. Gives it back if the addressee has ended meanwhile, or the end
    /// at which it would have to be accepted.
    pub(super) fn publish(&mut self, index: u32, offer: Offer<P>) -> Result<Token, Offer<P>> {
        let slot = &self.slots[index as usize];
        let token = Token::new(index, slot.generation, offer.kind(), offer.mode());
        let to = slot.grant.as_ref().and_then(|grant| {
            let place = self.open_receiver(grant.addressee, grant.at.as_ref())?;
            Some((place, grant.at.clone()))
        });
        let Some((place, at)) = to else {
            self.vacate(index);
            return Err(offer);
        };
        let slots = &mut self.slots;
        slots.enter(List::Addressee, &self.receivers[place].grants, index);
        slots.enter(List::Object, &offer.node.object().grants, index);
        if let Some((channel, side)) = &at {
            slots.enter(List::End, channel.grants(*side), index);
        }
        if let Some(grant) = &mut slots[index as usize].grant {
            grant.offer = Some(offer);
        }
        Ok(token)
    }

    /// What the offer of a slot is for, if it is published and `wanted`.
    pub(super) fn look_up(
        &self,
        index: u32,
        wanted: impl FnOnce(&Pending<'_, P>) -> bool,
    ) -> Option<Node<P>> {
        let slot = self.slots.get(index as usize)?;
        let pending = Pending::of(slot)?;
        wanted(&pending).then(|| pending.offer.node.clone())
    }

    /// Takes the offer of a slot out if it is published and `wanted`, and tells its deadline and
    /// number.
    pub(super) fn take(
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
            return Some((offer, abi::FOREVER, 0));
        }
        let grant = slot.grant.as_mut()?;
        let offer = grant.offer.take()?;
        let (deadline, number) = (grant.deadline, grant.number);
        let (addressee, at) = (grant.addressee, grant.at.take());
        if let Some(place) = self.receiver(addressee) {
            let first = &self.receivers[place].grants;
            self.slots.leave(List::Addressee, first, index);
        }
        let first = &offer.node.object().grants;
        self.slots.leave(List::Object, first, index);
        if let Some((channel, side)) = &at {
            self.slots.leave(List::End, channel.grants(*side), index);
        }
        self.vacate(index);
        offer.sender.uncount_grant();
        Some((offer, deadline, number))
    }

    /// Takes out an offer that waits for a domain that ends; no more can be made to it from now on.
    pub(super) fn take_for(&mut self, domain: u64) -> Option<(Offer<P>, u64, u64)> {
        let place = self.receiver(domain)?;
        let receiver = &mut self.receivers[place];
        receiver.closed = true;
        let first = receiver.grants.get();
        if first == NONE {
            self.receivers.remove(place);
            return None;
        }
        self.take(first, |_| true)
    }

    /// Takes out an offer that can be accepted at an end only, which is closed.
    pub(super) fn take_at(
        &mut self,
        channel: &Channel<P>,
        side: ChannelSide,
    ) -> Option<(Offer<P>, u64, u64)> {
        self.take(channel.grants(side).get(), |_| true)
    }

    /// Takes out an offer of a capability of an object that was revoked, behind a grant which was seen
    /// before and still is pending, else from the first on; `seen` is the last that stays.
    pub(super) fn take_dead(
        &mut self,
        object: &Object<P>,
        seen: &mut Option<(u32, u32)>,
    ) -> Option<(Offer<P>, u64, u64)> {
        let mut index = match *seen {
            Some((index, generation)) if self.is_pending(index, generation) => {
                self.next_of(index)?
            }
            _ => object.grants.get(),
        };
        loop {
            let pending = Pending::of(self.slots.get(index as usize)?)?;
            if pending.offer.node.state() == NodeState::Dead {
                return self.take(index, |_| true);
            }
            *seen = Some((index, pending.generation));
            index = self.next_of(index)?;
        }
    }

    /// The slot of the next grant of the same object.
    fn next_of(&self, index: u32) -> Option<u32> {
        let grant = self.slots.get(index as usize)?.grant.as_ref()?;
        Some(grant.links.next(List::Object))
    }

    /// Whether a slot still has this grant.
    pub(super) fn is_pending(&self, index: u32, generation: u32) -> bool {
        let slot = self.slots.get(index as usize);
        slot.is_some_and(|slot| slot.generation == generation && slot.grant.is_some())
    }

    /// The region that a grant stands for.
    pub(super) fn region_of(&self, token: Token) -> Option<Arc<Region>> {
        let slot = self.slots.get(token.index() as usize)?;
        Pending::of(slot)?.offer.node.object().region().cloned()
    }

    pub(super) fn vacate(&mut self, index: u32) {
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

impl<P: Platform> Linked for Chunks<Slot<P>> {
    fn links(&mut self, index: u32) -> Option<&mut Links> {
        let slot = self.get_mut(index as usize)?;
        slot.grant.as_mut().map(|grant| &mut grant.links)
    }
}

/// A grant that can be accepted.
pub(super) struct Pending<'a, P: Platform> {
    pub(super) offer: &'a Offer<P>,
    addressee: u64,
    /// The end of a channel at which it has to be accepted, by its koid; 0 for any way that leads to the
    /// grantor.
    pub(super) through: u64,
    deadline: u64,
    pub(super) generation: u32,
}

impl<P: Platform> Pending<'_, P> {
    fn of(slot: &Slot<P>) -> Option<Pending<'_, P>> {
        let grant = slot.grant.as_ref()?;
        Some(Pending {
            offer: grant.offer.as_ref()?,
            addressee: grant.addressee,
            through: grant
                .at
                .as_ref()
                .map_or(0, |(channel, side)| channel.koid(*side)),
            deadline: grant.deadline,
            generation: slot.generation,
        })
    }

    /// Whether a token names it.
    pub(super) fn is(&self, token: Token) -> bool {
        let (kind, mode) = (self.offer.kind(), self.offer.mode());
        Token::new(token.index(), self.generation, kind, mode) == token
    }

    /// Whether it is for a domain that accepts it at some time.
    pub(super) fn is_for(&self, domain: u64, now_ns: u64) -> bool {
        let addressed =
            self.addressee == domain || mm::sabotaged!("accept_without_addressee_check");
        addressed && self.deadline > now_ns
    }
}
