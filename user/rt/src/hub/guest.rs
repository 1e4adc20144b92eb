//! The side of a guest.

use core::sync::atomic::{Ordering, fence};

use abi::{Error, Handle, HubGuestEnds, HubSeat, HubSignal, UserPtr};
use ring::memory::{ConsumerMemory, ProducerMemory};
use ring::slot::{Consumer, Producer};

use super::Table;
use crate::ring_end::{RingWait, open, to_abi};
use crate::{drop_handle, sys};

/// Takes a seat of a hub for this process, or for whoever is given the membership: the handle, and what to
/// [claim](Guest::claim). Tries every free seat.
///
/// # Errors
/// `Full`, `PeerClosed`, `Quota`, `NoMemory`, `Limit`.
pub fn reserve(hub: Handle) -> Result<(Handle, HubSeat), Error> {
    let mut seat = HubSeat::default();
    // SAFETY: the pointer leads to `seat`, which the kernel fills in during the call.
    let member = unsafe { sys::hub_reserve(hub, UserPtr::new((&raw mut seat) as u64)) }?;
    Ok((member, seat))
}

/// Sleeps at a ring of a guest, and wakes the host wherever it sleeps.
#[derive(Debug)]
pub struct GuestWait {
    end: RingWait,
    member: Handle,
}

impl ring::Wait for GuestWait {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), ring::Error> {
        self.end.wait(seen, deadline_ns)
    }

    fn wake(&self) {
        signal(self.member, HubSignal::Work);
    }
}

/// A host that is gone needs no signal.
fn signal(member: Handle, what: HubSignal) {
    // SAFETY: the call touches no memory of this process.
    let _ = unsafe { sys::hub_signal(member, what) };
}

/// A guest. Dropping it leaves the hub.
pub struct Guest {
    sender: Producer<GuestWait>,
    receiver: Consumer<GuestWait>,
    table: Table,
    /// Given back after the ends.
    member: Membership,
}

struct Membership(Handle);

impl Drop for Membership {
    fn drop(&mut self) {
        let _ = drop_handle(self.0);
    }
}

impl core::fmt::Debug for Guest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Guest")
            .field("member", &self.member.0)
            .finish_non_exhaustive()
    }
}

impl Guest {
    /// Begins to use a seat in the tenancy that was told with the membership.
    ///
    /// # Errors
    /// `NotFound`: the tenancy is another; `Exists`; `PeerClosed`: the host is gone; `Quota`, `NoMemory`, `Limit`:
    /// the seat is given back.
    pub fn claim(member: Handle, epoch: u32) -> Result<Guest, Error> {
        let member = Membership(member);
        let mut ends = HubGuestEnds::default();
        // SAFETY: the pointer leads to `ends`, which the kernel fills in during the call.
        unsafe { sys::hub_claim(member.0, epoch, UserPtr::new((&raw mut ends) as u64)) }?;
        // Each is given back by what it becomes a part of, or here.
        let wait = |end| GuestWait {
            end: RingWait::of(end),
            member: member.0,
        };
        let (to_host, from_host) = (wait(ends.producer), wait(ends.consumer));
        let table = Table::map(ends.table)?;
        let (base, geometry) = open(ends.producer)?;
        // SAFETY: the kernel mapped this end's view just now, and lets it be mapped only once.
        let memory = unsafe { ProducerMemory::from_raw(base, geometry) }.map_err(to_abi)?;
        let sender = Producer::attach(memory, to_host).map_err(to_abi)?;
        let (base, geometry) = open(ends.consumer)?;
        // SAFETY: as above.
        let memory = unsafe { ConsumerMemory::from_raw(base, geometry) }.map_err(to_abi)?;
        let receiver = Consumer::attach(memory, from_host).map_err(to_abi)?;
        Ok(Guest {
            sender,
            receiver,
            table,
            member,
        })
    }

    /// How everybody stands.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What leads to the host in [`grant`](crate::grant) and [`accept`](crate::accept).
    pub fn via(&self) -> Handle {
        self.member.0
    }

    /// Sends a message, waiting until a deadline for room.
    ///
    /// # Errors
    /// As of [`Producer::send`].
    pub fn send(&mut self, message: &[u8], deadline_ns: u64) -> Result<(), ring::Error> {
        self.sender.send(message, deadline_ns)?;
        self.wake_host();
        Ok(())
    }

    /// The same without waiting. `Full`.
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), ring::Error> {
        self.sender.try_send(message)?;
        self.wake_host();
        Ok(())
    }

    /// Receives a message, waiting for it until a deadline.
    ///
    /// # Errors
    /// `PeerClosed`: the host has said goodbye, `PeerDied`: it is gone, and everything was received; as of
    /// [`Consumer::receive`] else.
    pub fn receive(&mut self, target: &mut [u8], deadline_ns: u64) -> Result<usize, ring::Error> {
        self.receiver.receive(target, deadline_ns)
    }

    /// Says that this guest lives. Only for a hub with a heartbeat, at least that often.
    pub fn beat(&self) {
        signal(self.member.0, HubSignal::Beat);
    }

    /// Enters the kernel only if the host sleeps.
    fn wake_host(&self) {
        // SYNC(hub.sleep): what was published is visible before the look; see the kernel's `hub_wait`.
        fence(Ordering::SeqCst);
        if self.table.is_host_asleep() {
            signal(self.member.0, HubSignal::Work);
        }
    }
}
