//! The side of a guest.

use alloc::sync::Arc;

use abi::{Error, Handle, HubGuestEnds, HubSeat, HubSignal, UserPtr};
use ring::byte::Byte;
use ring::packet::Packet;
use ring::slot::Slot;
use ring::{Consumer, Producer, RingKind, Unfinished};

use super::Table;
use crate::ring_end::{RingWait, memory_of_both, to_abi};
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
    table: Arc<Table>,
}

impl ring::Wait for GuestWait {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), ring::Error> {
        // What was sent before this sleep may be what the host sleeps for.
        wake_host(self.member, &self.table);
        self.end.wait(seen, deadline_ns)
    }

    fn wake(&self) {
        signal(self.member, HubSignal::Work);
    }
}

/// Enters the kernel only if the host sleeps.
fn wake_host(member: Handle, table: &Table) {
    if ring::hub::must_tell_host(|| table.host_beat()) {
        signal(member, HubSignal::Work);
    }
}

/// A host that is gone needs no signal.
fn signal(member: Handle, what: HubSignal) {
    // SAFETY: the call touches no memory of this process.
    let _ = unsafe { sys::hub_signal(member, what) };
}

/// A guest, over rings of kind `K`. Dropping it leaves the hub.
pub struct GuestOf<K> {
    sender: Producer<K, GuestWait>,
    receiver: Consumer<K, GuestWait>,
    table: Arc<Table>,
    /// Given back after the ends.
    member: Membership,
}

/// Of a hub of SLOT rings.
pub type Guest = GuestOf<Slot>;
/// Of a hub of PACKET rings.
pub type PacketGuest = GuestOf<Packet>;
/// Of a hub of BYTE rings.
pub type ByteGuest = GuestOf<Byte>;

struct Membership(Handle);

impl Drop for Membership {
    fn drop(&mut self) {
        let _ = drop_handle(self.0);
    }
}

impl<K> core::fmt::Debug for GuestOf<K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Guest")
            .field("member", &self.member.0)
            .finish_non_exhaustive()
    }
}

impl<K: RingKind> GuestOf<K> {
    /// Begins to use a seat in the tenancy that was told with the membership.
    ///
    /// # Errors
    /// `NotFound`: the tenancy is another; `Exists`; `PeerClosed`: the host is gone; `Unsupported`: the rings of the hub
    /// are of another kind; `Quota`, `NoMemory`, `Limit`: the seat is given back.
    pub fn claim(member: Handle, epoch: u32) -> Result<GuestOf<K>, Error> {
        let member = Membership(member);
        let mut ends = HubGuestEnds::default();
        // SAFETY: the pointer leads to `ends`, which the kernel fills in during the call.
        unsafe { sys::hub_claim(member.0, epoch, UserPtr::new((&raw mut ends) as u64)) }?;
        // Each is given back by what it becomes a part of, or here.
        let [to_host, from_host] = [ends.producer, ends.consumer].map(RingWait::of);
        let table = Arc::new(Table::map(ends.table)?);
        let wait = |end| GuestWait {
            end,
            member: member.0,
            table: table.clone(),
        };
        let (there, back) = memory_of_both::<K>(ends.producer, ends.consumer)?;
        let sender = Producer::attach(there, wait(to_host)).map_err(to_abi)?;
        let receiver = Consumer::attach(back, wait(from_host)).map_err(to_abi)?;
        Ok(GuestOf {
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

    /// Sends in whatever way the sending end has, such as batches or in place, and then wakes the host if it sleeps.
    pub fn send_by<T>(&mut self, send: impl FnOnce(&mut Producer<K, GuestWait>) -> T) -> T {
        let sent = send(&mut self.sender);
        wake_host(self.member.0, &self.table);
        sent
    }

    /// What receives.
    pub fn receiver(&mut self) -> &mut Consumer<K, GuestWait> {
        &mut self.receiver
    }

    /// Says that this guest lives. Only for a hub with a heartbeat, at least that often.
    pub fn beat(&self) {
        signal(self.member.0, HubSignal::Beat);
    }
}

impl Guest {
    /// Sends a message, waiting until a deadline for room.
    ///
    /// # Errors
    /// As of [`Producer::send`].
    pub fn send(&mut self, message: &[u8], deadline_ns: u64) -> Result<(), ring::Error> {
        self.send_by(|sender| sender.send(message, deadline_ns))
    }

    /// The same without waiting. `Full`.
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), ring::Error> {
        self.send_by(|sender| sender.try_send(message))
    }

    /// Receives a message, waiting for it until a deadline.
    ///
    /// # Errors
    /// `PeerClosed`: the host has said goodbye, `PeerDied`: it is gone, and everything was received; as of
    /// [`Consumer::receive`] else.
    pub fn receive(&mut self, target: &mut [u8], deadline_ns: u64) -> Result<usize, ring::Error> {
        self.receiver.receive(target, deadline_ns)
    }
}

impl PacketGuest {
    /// Sends a message of any length with its tag, waiting until a deadline for room.
    ///
    /// # Errors
    /// As of [`Producer::send`].
    pub fn send(&mut self, tag: u32, message: &[u8], deadline_ns: u64) -> Result<(), ring::Error> {
        self.send_by(|sender| sender.send(tag, message, deadline_ns))
    }

    /// Receives a message, waiting for it until a deadline, and returns its tag and its length in bytes.
    ///
    /// # Errors
    /// As of [`Guest::receive`].
    pub fn receive(
        &mut self,
        target: &mut [u8],
        deadline_ns: u64,
    ) -> Result<(u32, usize), ring::Error> {
        self.receiver.receive(target, deadline_ns)
    }
}

impl ByteGuest {
    /// Writes all bytes, waiting until a deadline for room.
    ///
    /// # Errors
    /// How far it came, and why no further.
    pub fn write_all(&mut self, bytes: &[u8], deadline_ns: u64) -> Result<(), Unfinished> {
        self.send_by(|sender| sender.write_all(bytes, deadline_ns))
    }

    /// Fills `target`, waiting until a deadline for as many bytes.
    ///
    /// # Errors
    /// How far it came, and why no further.
    pub fn read_exact(&mut self, target: &mut [u8], deadline_ns: u64) -> Result<(), Unfinished> {
        self.receiver.read_exact(target, deadline_ns)
    }
}
