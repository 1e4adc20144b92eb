//! Grants: offers that wait for their addressee, and the tokens that name them.
//!
//! A token is refused, and tells nothing, unless the process that shows it is the addressee, the
//! grant was made by the other end of `via` (rule S15), and it is the first time.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::limits::{MAX_GRANTS, MAX_PROCESSES};
use mm::Region;

use abi::{Error, GrantFlags, Handle, Mode, Rights, Token};

use crate::chunks::{BLOCK, Chunks};
use crate::domain::Peer;
use crate::node::NodeState;
use crate::table::next_generation;
use crate::{Domain, Ipc, Node, Offer, Platform};

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

    /// A slot for a grant to `addressee`, not published yet.
    fn reserve(&mut self, addressee: u64) -> Result<u32, Error> {
        if self.receivers.binary_search(&addressee).is_err() {
            return Err(Error::PeerClosed);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.add_slot()?,
        };
        self.slots[index as usize].grant = Some(Grant {
            addressee,
            offer: None,
        });
        self.live += 1;
        Ok(index)
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
    fn look_up(
        &self,
        index: u32,
        wanted: impl FnOnce(&Offer<P>, u64, u32) -> bool,
    ) -> Option<Node<P>> {
        let slot = self.slots.get(index as usize)?;
        let grant = slot.grant.as_ref()?;
        let offer = grant.offer.as_ref()?;
        wanted(offer, grant.addressee, slot.generation).then(|| offer.node.clone())
    }

    /// Takes the offer of a slot out if it is published and `wanted`.
    fn take(
        &mut self,
        index: u32,
        wanted: impl FnOnce(&Offer<P>, u64, u32) -> bool,
    ) -> Option<Offer<P>> {
        let slot = self.slots.get_mut(index as usize)?;
        let grant = slot.grant.as_mut()?;
        let offer = grant.offer.as_ref()?;
        if !wanted(offer, grant.addressee, slot.generation) {
            return None;
        }
        let offer = grant.offer.take();
        self.vacate(index);
        if let Some(offer) = &offer {
            offer.sender.pending_grants.fetch_sub(1, Ordering::Relaxed);
        }
        offer
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

impl<P: Platform> Ipc<P> {
    /// Offers what `handle` stands for to the domain at the other end of `via`, and returns the
    /// token. See [`begin`](Ipc::begin) for what is refused; `PeerClosed`: nobody is there (if the
    /// addressee ended in this very moment, mappings of what was to be moved are gone);
    /// `Limit`: the sender has [`MAX_GRANTS`] pending.
    pub fn grant(
        &self,
        sender: &Arc<Domain<P>>,
        handle: Handle,
        via: Handle,
        mode: Mode,
        rights: Rights,
        flags: GrantFlags,
    ) -> Result<Token, Error> {
        let addressee = match self.peer_of(sender, via, Rights::GRANT)? {
            Peer::Present(domain) => domain,
            Peer::Gone(_) => return Err(Error::PeerClosed),
        };
        if sender.pending_grants.load(Ordering::Relaxed) as usize >= MAX_GRANTS {
            return Err(Error::Limit);
        }
        let index = self.grants.lock().reserve(addressee)?;
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
        published.map_err(|offer| {
            sender.pending_grants.fetch_sub(1, Ordering::Relaxed);
            self.withdraw(offer);
            Error::PeerClosed
        })
    }

    /// Takes what the domain at the other end of `via` offered to `receiver`. `NotFound`: the token
    /// is not for it, not from there, used or withdrawn; `Quota`: its account does not cover what it
    /// would pay for from now on. When it fails for want of memory or quota, the token is still
    /// good.
    pub fn accept(&self, receiver: &Domain<P>, token: Token, via: Handle) -> Result<Handle, Error> {
        // One that has ended may have left offers behind.
        let (Peer::Present(grantor) | Peer::Gone(grantor)) =
            self.peer_of(receiver, via, Rights::empty())?;
        let mut table = receiver.table.lock();
        table.prepare(1)?;
        let genuine = |offer: &Offer<P>, addressee: u64, generation: u32| {
            let genuine = Token::new(token.index(), generation, offer.kind(), offer.mode());
            genuine == token && addressee == receiver.koid() && offer.sender.koid() == grantor
        };
        let offered = self.grants.lock().look_up(token.index(), genuine);
        let offered = offered.ok_or(Error::NotFound)?;
        let bill = self.bill(&offered, receiver)?;
        let offer = self.grants.lock().take(token.index(), genuine);
        match offer {
            Some(offer) => self.deliver(offer, bill, receiver, table),
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
        let offer = self
            .grants
            .lock()
            .take(token.index(), |offer, _, generation| {
                let genuine = Token::new(token.index(), generation, offer.kind(), offer.mode());
                genuine == token && offer.sender.koid() == sender.koid()
            })
            .ok_or(Error::NotFound)?;
        self.withdraw(offer);
        Ok(())
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
            }) = &mut grants.slots[index].grant
                && *addressee == domain
            {
                *addressee = GONE;
            }
            grants.take(index as u32, |_, addressee, _| addressee == domain)
        })
    }

    /// Drops the grants of capabilities that were revoked.
    pub(crate) fn drop_dead_grants(&self) {
        let mut grants = self.grants.lock();
        for index in 0..grants.slots.len() as u32 {
            drop(grants.take(index, |offer, _, _| offer.node.state() == NodeState::Dead));
        }
    }
}
