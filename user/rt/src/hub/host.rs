//! The side of the host.

use abi::hub::Standing;
use abi::{Error, Handle, HubGeometry, HubHandles, HubInfo, HubPeers, HubSeat, RingEnds, UserPtr};

use super::Table;
use crate::ring_end::{Receiver, Sender};
use crate::{drop_handle, open_receiver, open_sender, sys};

/// A hub, as its host has it. When it is dropped, every guest is told that the host is gone.
#[derive(Debug)]
pub struct Host {
    hub: Handle,
    table: Table,
}

/// What the host has of one guest. When it is dropped, the guest receives what was sent and then sees that the rings
/// are closed.
pub struct Link {
    /// Which guest.
    pub seat: HubSeat,
    /// To the guest.
    pub sender: Sender,
    /// From the guest.
    pub receiver: Receiver,
    handle: LinkHandle,
}

/// Gives the link back after both ends.
struct LinkHandle(Handle);

impl Drop for LinkHandle {
    fn drop(&mut self) {
        let _ = drop_handle(self.0);
    }
}

impl Link {
    /// What leads to the guest in [`grant`](crate::grant) and [`accept`](crate::accept).
    pub fn via(&self) -> Handle {
        self.handle.0
    }
}

impl core::fmt::Debug for Link {
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
        Ok(Host { hub, table })
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

    /// What the host needs to speak with a guest, which may be gone already.
    ///
    /// # Errors
    /// `NotFound`: not in this tenancy; `Exists`: there is a link; `PeerFault`: the guest has written nonsense;
    /// `Quota`, `NoMemory`, `Limit`.
    pub fn connect(&self, peer: u32, epoch: u32) -> Result<Link, Error> {
        let mut ends = RingEnds {
            producer: Handle::NONE,
            consumer: Handle::NONE,
        };
        // SAFETY: the pointer leads to `ends`, which the kernel fills in during the call.
        let handle = unsafe {
            sys::hub_connect(self.hub, peer, epoch, UserPtr::new((&raw mut ends) as u64))
        }?;
        let handle = LinkHandle(handle);
        let sender = open_sender(ends.producer).inspect_err(|_| {
            for end in [ends.producer, ends.consumer] {
                let _ = drop_handle(end);
            }
        })?;
        let receiver = open_receiver(ends.consumer).inspect_err(|_| {
            let _ = drop_handle(ends.consumer);
        })?;
        Ok(Link {
            seat: HubSeat { peer, epoch },
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

    /// Makes the seat of a guest that is gone empty; everything that it sent was received, or is lost. `Busy`: the
    /// guest is there.
    pub fn recover(&self, link: Link) -> Result<(), Error> {
        let seat = link.seat;
        if self.is_there(seat) {
            return Err(Error::Busy);
        }
        // Its ends, before they are taken away.
        drop(link);
        self.recover_seat(seat)
    }

    /// The same of one that there is no link to.
    pub fn recover_seat(&self, seat: HubSeat) -> Result<(), Error> {
        // SAFETY: views that the call unmaps belong to ends that nobody in this process uses: the links are gone.
        unsafe { sys::hub_recover(self.hub, seat.peer, seat.epoch) }
    }

    fn is_there(&self, seat: HubSeat) -> bool {
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
