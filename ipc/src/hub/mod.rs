//! Hubs: one host, up to 255 guests, and two rings for each of them.
//!
//! A seat is reserved, which makes its rings, and claimed by whoever has the membership then. How it
//! stands is one word for each peer ([`PeerEntry`]), which names the tenancy too; everybody can read it
//! in the table, a page that only the kernel writes. A guest is gone when it leaves, when the host
//! dismisses it, or when nobody has its membership any more, for whatever reason; the host receives what
//! it sent and then has the seat recovered. The host is who made the hub, until it says goodbye, drops
//! it, or ends.
//!
//! A tenancy has rings of its own, so that nothing of one guest is left for the next (docs/adr/0034).
//!
//! Lock rank: Hubs. Nodes are given and killed with it free; under it the rings of a seat are only looked
//! at. Invariants kept here (docs/INVARIANTS.md): I5, I9, I10, I11.

mod guest;
mod host;
mod make;
mod wait;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::hub::{BEATS_OFFSET, PeerState, Standing, host_beat, host_word};
use abi::{Error, Handle, HubGeometry, HubSeat, ObjectKind, Rights, RingShape};
use mm::lock::Lock;
use mm::{Account, AddressSpace, Charge, Frame};
use ring::hub::PeerEntry;

use crate::domain::Peer;
use crate::{Capability, Counted, Domain, Events, Ipc, Node, Payload, Platform, Traffic, Waiters};

/// The place of the host among the peers.
const HOST: usize = 0;

/// Words of a set of peers.
const WORDS: usize = 4;

/// What guests join.
pub struct Hub<P: Platform> {
    /// The domain that made it.
    host: u64,
    geometry: HubGeometry,
    /// Of the rings to the host and to a guest.
    rings: (RingShape, RingShape),
    /// How the host and every guest stand.
    entries: Vec<PeerEntry>,
    state: Lock<State<P>>,
    events: Events<P>,
}

struct State<P: Platform> {
    /// The table; none once the hub is over.
    table: Option<Table<P>>,
    /// Who has which seat.
    seats: Vec<Option<Seat<P>>>,
    /// Guests that the host has not been told of.
    waiting: [u64; WORDS],
    /// Whether guests are to signal.
    asleep: bool,
    /// Whether they are although nobody may sleep here: somebody has looked in vain, who may wait at a port.
    is_watched: bool,
    waiters: Waiters<P>,
    messages: u64,
    /// Of its record and of the seats.
    charge: Charge,
}

/// The page that everybody can read.
struct Table<P: Platform> {
    /// In place while [`Table::root`] is.
    page: Frame,
    /// The kernel's own capability, of which all others are derived.
    root: Node<P>,
    /// Who pays for the rings.
    account: Arc<Account>,
    /// Of the host.
    space: Arc<AddressSpace>,
}

/// A tenancy of a seat.
struct Seat<P: Platform> {
    member: Arc<Member<P>>,
    /// What the guest has, until nobody has it any more.
    membership: Option<Node<P>>,
    /// What the host has with its ends, once it has connected.
    link: Option<Node<P>>,
    /// Whether a guest has claimed it, and so has or had its ends, whatever became of it since.
    claimed: bool,
    /// What the guest has of the hub's table, from when it claims the seat until its membership is gone.
    table: Option<Node<P>>,
    /// Producer, consumer; until the guest is gone, whose account pays for them.
    guest_ends: Option<[Node<P>; 2]>,
    host_ends: [Node<P>; 2],
}

impl<P: Platform> Clone for Seat<P> {
    fn clone(&self) -> Self {
        Seat {
            member: self.member.clone(),
            membership: self.membership.clone(),
            link: self.link.clone(),
            claimed: self.claimed,
            table: self.table.clone(),
            guest_ends: self.guest_ends.clone(),
            host_ends: self.host_ends.clone(),
        }
    }
}

/// A tenancy of a seat as its capabilities know it.
pub struct Member<P: Platform> {
    hub: Arc<Hub<P>>,
    /// `peer << 32 | epoch`; 0 until it has taken one.
    seat: AtomicU64,
    /// The domain that has the membership, or had it last.
    holder: AtomicU64,
    /// Who waits for the host to go, and for the guest.
    events: [Events<P>; 2],
}

/// The two sides of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberSide {
    /// The membership.
    Guest = 0,
    /// The link that the host has.
    Host = 1,
}

impl<P: Platform> Hub<P> {
    pub(crate) fn events(&self) -> &Events<P> {
        &self.events
    }

    /// Which events hold.
    pub(crate) fn level(&self) -> abi::Events {
        match self.state.lock().waiting == [0; WORDS] {
            true => abi::Events::empty(),
            false => abi::Events::READABLE,
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let state = self.state.lock();
        Traffic {
            messages: state.messages,
            ..state.waiters.traffic()
        }
    }

    /// Whether there may be a seat for one more. `PeerClosed`: the host has said goodbye or is gone; `Full`.
    fn may_be_joined(&self) -> Result<(), Error> {
        if !self.is_hosted() {
            return Err(Error::PeerClosed);
        }
        let is_empty = |entry: &PeerEntry| entry.standing().state == PeerState::Empty;
        match self.entries[HOST + 1..].iter().any(is_empty) {
            true => Ok(()),
            false => Err(Error::Full),
        }
    }

    /// Whether the host has neither said goodbye nor gone.
    fn is_hosted(&self) -> bool {
        self.entries[HOST].standing().state == PeerState::Attached
    }

    /// The entry of a guest. `NotFound`: there is no such seat.
    fn entry(&self, peer: u32) -> Result<&PeerEntry, Error> {
        match peer as usize {
            HOST => Err(Error::NotFound),
            place => self.entries.get(place).ok_or(Error::NotFound),
        }
    }
}

impl<P: Platform> State<P> {
    /// Who has a seat in a tenancy.
    fn seat(&mut self, peer: u32, epoch: u32) -> Result<&mut Seat<P>, Error> {
        let seat = self.seats.get_mut(peer as usize).and_then(Option::as_mut);
        seat.filter(|seat| seat.member.seat().epoch == epoch)
            .ok_or(Error::NotFound)
    }

    /// The host is to look at a guest; who of it waits is to be unparked.
    #[must_use = "who was told is to be unparked"]
    fn note(&mut self, machine: &P, peer: u32) -> Option<P::Task> {
        let place = peer as usize;
        self.waiting[place / 64] |= 1 << (place % 64);
        self.messages += 1;
        machine.count(Counted::Message { bytes: 0 });
        self.wake()
    }

    /// Who of the host is to be unparked, if there is a guest to look at.
    #[must_use = "who was told is to be unparked"]
    fn wake(&mut self) -> Option<P::Task> {
        if self.waiting == [0; WORDS] {
            return None;
        }
        self.waiters.wake_first(crate::Outcome::Ready)
    }
}

impl<P: Platform> Member<P> {
    /// Its seat, and in which tenancy. Of one that has none, which nobody else has seen: that of the host.
    fn seat(&self) -> HubSeat {
        let seat = self.seat.load(Ordering::Relaxed);
        HubSeat {
            peer: (seat >> 32) as u32,
            epoch: seat as u32,
        }
    }

    /// Says which it has; under the lock of the hub, and once.
    fn take(&self, seat: HubSeat) {
        let word = u64::from(seat.peer) << 32 | u64::from(seat.epoch);
        self.seat.store(word, Ordering::Relaxed);
    }

    /// How its seat stands, if it is in this tenancy still.
    fn state(&self) -> Option<PeerState> {
        let HubSeat { peer, epoch } = self.seat();
        let standing = self.hub.entry(peer).ok()?.standing();
        (standing.epoch == epoch).then_some(standing.state)
    }

    /// Whether the guest has it, claimed or not.
    fn is_taken(&self) -> bool {
        let state = self.state();
        matches!(state, Some(PeerState::Reserved | PeerState::Attached))
    }

    fn standing(&self, state: PeerState) -> Standing {
        Standing::new(state, self.seat().epoch)
    }

    /// The domain at the other side.
    pub(crate) fn peer_of(&self, side: MemberSide) -> Peer {
        let (there, domain) = match side {
            MemberSide::Guest => (self.hub.is_hosted() && self.is_taken(), self.hub.host),
            MemberSide::Host => (
                self.state() == Some(PeerState::Attached),
                self.holder.load(Ordering::Acquire),
            ),
        };
        match there {
            true => Peer::Present(domain),
            false => Peer::Gone(domain),
        }
    }

    pub(crate) fn set_holder(&self, domain: u64) {
        self.holder.store(domain, Ordering::Release);
    }

    pub(crate) fn events(&self, side: MemberSide) -> &Events<P> {
        &self.events[side as usize]
    }

    /// Which events hold.
    pub(crate) fn level(&self, side: MemberSide) -> abi::Events {
        let there = match side {
            MemberSide::Guest => self.hub.is_hosted() && self.is_taken(),
            MemberSide::Host => self.is_taken(),
        };
        match there {
            true => abi::Events::empty(),
            false => abi::Events::PEER_CLOSED,
        }
    }
}

impl<P: Platform> Ipc<P> {
    /// The hub that a handle stands for.
    fn hub(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
    ) -> Result<(Capability<P>, Arc<Hub<P>>), Error> {
        let capability = domain.look_up(handle, Some(ObjectKind::Hub), rights)?;
        match capability.object().payload() {
            Payload::Hub(hub) => {
                let hub = hub.clone();
                Ok((capability, hub))
            }
            _ => Err(Error::WrongKind),
        }
    }

    /// The membership that a handle stands for. A link lacks every right that a guest needs.
    fn member(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        rights: Rights,
    ) -> Result<(Capability<P>, Arc<Member<P>>), Error> {
        let capability = domain.look_up(handle, Some(ObjectKind::HubMember), rights)?;
        match capability.object().payload() {
            Payload::HubMember(member, MemberSide::Guest) => {
                let member = member.clone();
                Ok((capability, member))
            }
            _ => Err(Error::WrongKind),
        }
    }

    /// Shows in the table how a peer stands.
    fn show(&self, hub: &Hub<P>, state: &State<P>, peer: u32) {
        let Some(table) = &state.table else { return };
        let standing = hub.entries[peer as usize].standing();
        let word = match peer as usize {
            HOST => host_word(standing.state, hub.geometry.guests),
            _ => standing.to_word(),
        };
        self.platform()
            .store_u64(table.page, peer as usize * 8, word);
    }

    /// Shows when a guest was heard of last.
    fn show_beat(&self, state: &State<P>, peer: u32, beat: u64) {
        if let Some(table) = &state.table {
            self.platform()
                .store_u64(table.page, BEATS_OFFSET + peer as usize * 8, beat);
        }
    }

    /// Has guests signal, or not any more.
    fn set_asleep(&self, hub: &Hub<P>, state: &mut State<P>, asleep: bool) {
        if state.asleep != asleep {
            state.asleep = asleep;
            let beat = host_beat(asleep, hub.geometry.heartbeat_ns);
            self.show_beat(state, HOST as u32, beat);
        }
    }

    /// There is something to look at: guests signal on as long as somebody else sleeps here.
    fn set_awake(&self, hub: &Hub<P>, state: &mut State<P>) {
        state.is_watched = false;
        let others = !state.waiters.is_empty() && !mm::sabotaged!("hub_awake_with_sleepers");
        self.set_asleep(hub, state, others);
    }

    /// Tells the host, after unlocking, that there is a guest to look at.
    fn tell_host(&self, hub: &Hub<P>, woken: Option<P::Task>) {
        if let Some(task) = woken {
            self.platform().unpark(&task);
        }
        self.fire(&hub.events, abi::Events::READABLE, 0);
    }

    /// Ends the waits at a hub whose capability is not their process's any more.
    pub(crate) fn end_hub_waits(&self, hub: &Hub<P>) {
        self.end_unheld_waits(&hub.state, |state| &mut state.waiters);
    }
}

impl<P: Platform> fmt::Debug for Hub<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("host", &self.host)
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

impl<P: Platform> fmt::Debug for Member<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("seat", &self.seat())
            .finish_non_exhaustive()
    }
}
