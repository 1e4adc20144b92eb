//! The side of the host.

use abi::hub::Standing;
use abi::{Error, Handle, HubGeometry, HubHandles, HubInfo, HubPeers, HubSeat, RingEnds, UserPtr};
use ring::byte::Byte;
use ring::hub::recovery::{Recovered, recover};
use ring::packet::Packet;
use ring::slot::Slot;
use ring::{Consumer, Producer, RingKind, sabotaged};

use super::recovery::{Left, LinkKind, MessageKind, Unrecovered};
use super::{Payloads, Received, Table};
use crate::ring_end::{RingWait, memory_of_both, to_abi};
use crate::{drop_handle, sys};

/// A hub, as its host has it. When it is dropped, every guest is told that the host is gone.
#[derive(Debug)]
pub struct Host {
    hub: Handle,
    table: Table,
    /// A [`Kind`](abi::ring::Kind): of the rings.
    kind: u32,
}

/// What the host has of one guest, over rings of kind `K`. When it is dropped, the guest receives what was sent and then
/// sees that the rings are closed.
pub struct LinkOf<K> {
    /// Which guest.
    pub seat: HubSeat,
    /// To the guest.
    pub sender: Producer<K, RingWait>,
    /// From the guest.
    pub receiver: Consumer<K, RingWait>,
    handle: LinkHandle,
}

/// Of a hub of SLOT rings.
pub type Link = LinkOf<Slot>;
/// Of a hub of PACKET rings.
pub type PacketLink = LinkOf<Packet>;
/// Of a hub of BYTE rings.
pub type ByteLink = LinkOf<Byte>;

/// Gives the link back after both ends.
struct LinkHandle(Handle);

impl Drop for LinkHandle {
    fn drop(&mut self) {
        let _ = drop_handle(self.0);
    }
}

impl<K> LinkOf<K> {
    /// What leads to the guest in [`grant`](crate::grant) and [`accept`](crate::accept).
    pub fn via(&self) -> Handle {
        self.handle.0
    }
}

impl<K: RingKind> LinkOf<K> {
    /// Receives by one of the ways of the receiving end that do not wait. `None`: there is nothing more, and the host can
    /// sleep. A guest that has the host be told for ever of what is not there is found out by that.
    ///
    /// # Errors
    /// `PeerFault`: the guest has written nonsense, and is to be [dismissed](Host::dismiss) and recovered; what else `receive`
    /// answers, but that the guest is gone or the hub is over.
    pub fn receive_by<T>(
        &mut self,
        mut receive: impl FnMut(&mut Consumer<K, RingWait>) -> Result<T, ring::Error>,
    ) -> Result<Option<T>, Error> {
        loop {
            match receive(&mut self.receiver) {
                Ok(received) => return Ok(Some(received)),
                // As its standing tells, and what it has written stays.
                Err(
                    ring::Error::Empty
                    | ring::Error::Closed
                    | ring::Error::PeerClosed
                    | ring::Error::PeerDied
                    | ring::Error::Revoked,
                ) => {}
                Err(error) => return Err(to_abi(error)),
            }
            if !self.receiver.is_told().map_err(to_abi)? {
                return Ok(None);
            }
        }
    }
}

impl Link {
    /// Receives the next message of a guest that the host [was told of](Host::wait), without waiting; `None`: there is
    /// nothing more, as of [`receive_by`](LinkOf::receive_by).
    ///
    /// # Errors
    /// As there; `TooLarge`: it is longer than `target`, and stays.
    pub fn receive(&mut self, target: &mut [u8]) -> Result<Option<usize>, Error> {
        self.receive_by(|receiver| receiver.try_receive(target))
    }
}

impl<K> core::fmt::Debug for LinkOf<K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Link")
            .field("seat", &self.seat)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Makes a hub. This process is its host, and pays for the rings of all guests.
    ///
    /// # Errors
    /// `Invalid`, `Unsupported`: the geometry; `Quota`, `NoMemory`, `Limit`.
    pub fn create(geometry: &HubGeometry) -> Result<Host, Error> {
        let mut handles = HubHandles::default();
        // SAFETY: the pointers lead to what lives during the call.
        unsafe {
            sys::hub_create(
                UserPtr::new((&raw const *geometry) as u64),
                UserPtr::new((&raw mut handles) as u64),
            )
        }?;
        let table = Table::map(handles.table);
        let table = table.inspect_err(|_| _ = drop_handle(handles.hub))?;
        let hub = handles.hub;
        let kind = geometry.kind;
        Ok(Host { hub, table, kind })
    }

    /// The hub. Who is given it by Share with SEND joins by itself, with [`reserve`](super::reserve).
    pub fn handle(&self) -> Handle {
        self.hub
    }

    /// How everybody stands.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// How a guest stands at this moment. `NotFound`.
    pub fn standing(&self, peer: u32) -> Result<Standing, Error> {
        self.table.standing(peer)
    }

    /// A seat for somebody who is then given the membership. Errors of [`reserve`](super::reserve).
    pub fn reserve(&self) -> Result<(Handle, HubSeat), Error> {
        super::reserve(self.hub)
    }

    /// Facts about it.
    pub fn info(&self) -> Result<HubInfo, Error> {
        let mut info = HubInfo::default();
        // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
        unsafe { sys::hub_info(self.hub, UserPtr::new((&raw mut info) as u64)) }?;
        Ok(info)
    }

    /// Waits until guests have something to look at, and tells which: something to receive, or another standing. A
    /// guest that is told of may have nothing by now, and one whose messages were not all received is told again.
    ///
    /// # Errors
    /// `WouldBlock`, `TimedOut`, `Cancelled`, `Interrupted`.
    pub fn wait(&self, deadline_ns: u64) -> Result<HubPeers, Error> {
        let mut peers = HubPeers::default();
        // SAFETY: the pointer leads to `peers`, which the kernel fills in during the call.
        unsafe { sys::hub_wait(self.hub, UserPtr::new((&raw mut peers) as u64), deadline_ns) }?;
        Ok(peers)
    }

    /// What the host needs to speak with a guest over SLOT rings. The guest may be gone already.
    ///
    /// # Errors
    /// `NotFound`: not in this tenancy; `Exists`: there is a link; `Unsupported`: the rings of this hub are of another
    /// kind; `PeerFault`: the guest has written nonsense; `Quota`, `NoMemory`, `Limit`. A guest that is attached still, as
    /// its [standing](Host::standing) says, can be connected to later; what fails when the link is there has the guest
    /// dismissed, as there is none but one in a tenancy, and its seat is to be [recovered](Host::recover_seat).
    pub fn connect(&self, peer: u32, epoch: u32) -> Result<Link, Error> {
        self.connect_of(peer, epoch)
    }

    /// The same over rings of any kind.
    ///
    /// # Errors
    /// As [`connect`](Host::connect).
    pub fn connect_of<K: LinkKind>(&self, peer: u32, epoch: u32) -> Result<LinkOf<K>, Error> {
        if self.kind != K::KIND as u32 {
            return Err(Error::Unsupported);
        }
        let mut ends = RingEnds {
            producer: Handle::NONE,
            consumer: Handle::NONE,
        };
        // SAFETY: the pointer leads to `ends`, which the kernel fills in during the call.
        let handle = unsafe {
            sys::hub_connect(self.hub, peer, epoch, UserPtr::new((&raw mut ends) as u64))
        }?;
        // Each is given back by what it becomes a part of, or here, once the guest was told.
        let handle = LinkHandle(handle);
        let [to_guest, from_guest] = [ends.producer, ends.consumer].map(RingWait::of);
        let seat = HubSeat { peer, epoch };
        let lost = |error| {
            if !sabotaged!("lost_link_dismisses_nobody") {
                let _ = self.dismiss(seat);
            }
            error
        };
        let memory = memory_of_both::<K>(ends.producer, ends.consumer);
        let (there, back) = memory.map_err(lost)?;
        let sender = Producer::attach(there, to_guest).map_err(|error| lost(to_abi(error)))?;
        let receiver = Consumer::attach(back, from_guest).map_err(|error| lost(to_abi(error)))?;
        Ok(LinkOf {
            seat,
            sender,
            receiver,
            handle,
        })
    }

    /// Ends a guest: what it sent can still be received. `NotFound`: not in this tenancy.
    pub fn dismiss(&self, seat: HubSeat) -> Result<(), Error> {
        // SAFETY: the call touches no memory of this process.
        unsafe { sys::hub_dismiss(self.hub, seat.peer, seat.epoch) }
    }

    /// Tells every guest that the host goes; nobody joins any more. What was sent can still be received on both
    /// sides.
    pub fn goodbye(&self) -> Result<(), Error> {
        self.dismiss(HubSeat { peer: 0, epoch: 0 })
    }

    /// Recovers the seat of a guest that is gone: receives what it has sent and nobody wants, gives up the rings, and makes
    /// the seat empty.
    ///
    /// # Errors
    /// `Busy`: the guest is there, and the link is given back.
    pub fn recover<K: LinkKind>(
        &self,
        link: LinkOf<K>,
    ) -> Result<Recovered, Unrecovered<LinkOf<K>>> {
        if self.is_there(link.seat) {
            return Err(Unrecovered::busy(link));
        }
        recover(Left::new(self, link, None, |_, _| {})).map_err(Unrecovered::lost)
    }

    /// The same of a guest with payloads: hands what it has sent to `each`, gives back the slots and leases that it had,
    /// and only then makes the seat empty.
    ///
    /// # Errors
    /// As [`recover`](Host::recover); the payloads are given back too.
    pub fn recover_payloads<K: MessageKind>(
        &self,
        link: LinkOf<K>,
        payloads: Payloads,
        each: impl FnMut(&Payloads, &Received),
    ) -> Result<Recovered, Unrecovered<(LinkOf<K>, Payloads)>> {
        if self.is_there(link.seat) {
            return Err(Unrecovered::busy((link, payloads)));
        }
        recover(Left::new(self, link, Some(payloads), each)).map_err(Unrecovered::lost)
    }

    /// Makes the seat of a guest empty that is gone, and that there is no link to. `Busy`: the guest is there.
    pub fn recover_seat(&self, seat: HubSeat) -> Result<(), Error> {
        // SAFETY: views that the call unmaps belong to ends that nobody in this process uses: the links are gone.
        unsafe { sys::hub_recover(self.hub, seat.peer, seat.epoch) }
    }

    pub(super) fn is_there(&self, seat: HubSeat) -> bool {
        use abi::hub::PeerState::{Attached, Reserved};
        let standing = self.standing(seat.peer);
        standing.is_ok_and(|standing| {
            standing.epoch == seat.epoch && matches!(standing.state, Reserved | Attached)
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = drop_handle(self.hub);
    }
}
