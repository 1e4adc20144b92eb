//! The grants that are pending: their slots, and what a token has to match.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::limits::MAX_PROCESSES;
use abi::{Error, Token};
use mm::Region;

use crate::chunks::{BLOCK, Chunks};
use crate::places::next_generation;
use crate::{Node, Offer, Platform};

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
    pub(super) fn reserve(
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
    pub(super) fn publish(&mut self, index: u32, offer: Offer<P>) -> Result<Token, Offer<P>> {
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
        self.vacate(index);
        offer.sender.pending_grants.fetch_sub(1, Ordering::Relaxed);
        Some((offer, deadline, number))
    }

    /// Takes out an offer that waits for a domain that ends; no more can be made to it from now on.
    pub(super) fn take_for(&mut self, domain: u64) -> Option<(Offer<P>, u64, u64)> {
        if let Ok(place) = self.receivers.binary_search(&domain) {
            self.receivers.remove(place);
        }
        if self.live == 0 {
            return None;
        }
        (0..self.slots.len()).find_map(|index| {
            if let Some(Grant {
                addressee,
                offer: None,
                ..
            }) = &mut self.slots[index].grant
                && *addressee == domain
            {
                *addressee = GONE;
            }
            self.take(index as u32, |pending| pending.addressee == domain)
        })
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

    /// Slots that there are.
    pub(super) fn slot_count(&self) -> u32 {
        self.slots.len() as u32
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

/// A grant that can be accepted.
pub(super) struct Pending<'a, P: Platform> {
    pub(super) offer: &'a Offer<P>,
    pub(super) addressee: u64,
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
            through: grant.through,
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
