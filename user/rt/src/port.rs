//! Ports: one thread waits for many objects.

use abi::limits::MAX_PACKETS;
use abi::{BindFlags, Error, Events, Handle, PortPacket, UserPtr};

use crate::owned::owned;
use crate::sys;

/// A capability of a port.
#[derive(Debug)]
pub struct Port {
    handle: Handle,
}

owned!(Port, Port);

impl Port {
    /// A new one, that is told of nothing.
    pub fn create() -> Result<Port, Error> {
        // SAFETY: the call touches no memory.
        let handle = unsafe { sys::port_create() }?;
        Ok(Port { handle })
    }

    /// Has the port told of events of an object as long as they hold, under a key. Needs MANAGE here
    /// and WAIT there. The binding ends with the object, and with the capability that it was made by;
    /// it keeps neither.
    pub fn bind(&self, object: Handle, events: Events, key: u64) -> Result<(), Error> {
        self.bind_with(object, events, BindFlags::empty(), key)
    }

    /// The same, once or at the beginning of an event only, as the flags say.
    pub fn bind_with(
        &self,
        object: Handle,
        events: Events,
        flags: BindFlags,
        key: u64,
    ) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { sys::port_bind(self.handle, object, events, flags, key) }
    }

    /// Takes a binding back, with its packet if that was not taken. `NotFound`: there is no such key.
    pub fn unbind(&self, key: u64) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { sys::port_unbind(self.handle, key) }
    }

    /// Waits until there is something to tell, and returns the packets that fit; needs WAIT.
    pub fn wait<'a>(
        &self,
        packets: &'a mut [PortPacket],
        deadline_ns: u64,
    ) -> Result<&'a [PortPacket], Error> {
        let len = (packets.len() as u64).min(MAX_PACKETS);
        let pointer = UserPtr::new(packets.as_mut_ptr() as u64);
        // SAFETY: the pointer leads to `packets`, which the kernel fills in during the call.
        let count = unsafe { sys::port_wait(self.handle, pointer, len, deadline_ns) }?;
        Ok(packets.get(..count as usize).unwrap_or(&[]))
    }

    /// Waits for one packet.
    pub fn next(&self, deadline_ns: u64) -> Result<PortPacket, Error> {
        let mut packet = [PortPacket::default()];
        self.wait(&mut packet, deadline_ns)?;
        Ok(packet[0])
    }

    /// The packets as they come, fetched by several at a time; after an error it ends. What was
    /// fetched is told even if its binding is taken back meanwhile: a key that is used again at once
    /// may be told of its former object.
    pub fn packets(&self, deadline_ns: u64) -> Packets<'_> {
        Packets {
            port: self,
            deadline_ns,
            fetched: [PortPacket::default(); FETCHED],
            next: 0,
            len: 0,
            failed: false,
        }
    }
}

/// Packets that are fetched by one call.
const FETCHED: usize = 16;

/// The packets of a port, from [`Port::packets`].
#[derive(Debug)]
pub struct Packets<'a> {
    port: &'a Port,
    deadline_ns: u64,
    fetched: [PortPacket; FETCHED],
    next: usize,
    len: usize,
    failed: bool,
}

impl Iterator for Packets<'_> {
    type Item = Result<PortPacket, Error>;

    fn next(&mut self) -> Option<Result<PortPacket, Error>> {
        if self.failed {
            return None;
        }
        if self.next == self.len {
            match self.port.wait(&mut self.fetched, self.deadline_ns) {
                Ok(packets) => (self.next, self.len) = (0, packets.len()),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        let packet = self.fetched.get(self.next).copied()?;
        self.next += 1;
        Some(Ok(packet))
    }
}

/// The events that a packet tells.
pub fn events_of(packet: &PortPacket) -> Events {
    Events::from_bits_truncate(packet.events)
}
