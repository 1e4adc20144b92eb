//! A service with many clients, served by one thread.

use alloc::collections::BTreeMap;

use abi::{Error, Events, FOREVER};

use super::client::Listener;
use super::ends::{Ends, KeptEnd};
use crate::{ChannelEnd, Port, Received};

/// The key of the listener at the port; those of clients follow.
const LISTENER: u64 = 0;
/// What is waited for at every end.
const HEARD: Events = Events::READABLE.union(Events::PEER_CLOSED);

/// What a service hears next.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // A message is handed on at once; a box would be an allocation each.
pub enum Event {
    /// A client has connected. Its number is never used again.
    Joined(u64),
    /// A client has sent something.
    Message(u64, Received),
    /// A client is gone, after its last message.
    Left(u64),
}

/// The clients of a service, each with its end of a channel, all waited for at one port. They are
/// heard in turn, a message each, so that none keeps the others from being served.
#[derive(Debug)]
pub struct Service {
    port: Port,
    listener: Option<Listener>,
    ends: Ends,
    clients: BTreeMap<u64, KeptEnd>,
    limit: usize,
    next: u64,
}

impl Service {
    /// A service for at most `limit` clients at once, who connect at the listener. Who comes when it is
    /// full finds `PeerClosed`, and so does who gives it both ends of one channel, or one without the
    /// rights WAIT and INSPECT.
    pub fn new(listener: Listener, limit: usize) -> Result<Service, Error> {
        let port = Port::create()?;
        port.bind(listener.end().handle(), HEARD, LISTENER)?;
        Ok(Service {
            port,
            listener: Some(listener),
            ends: Ends::new(),
            clients: BTreeMap::new(),
            limit,
            next: LISTENER + 1,
        })
    }

    /// The end of a client.
    pub fn client(&self, number: u64) -> Option<&ChannelEnd> {
        self.clients.get(&number).map(|end| &**end)
    }

    /// Clients that are connected.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Sends a client away, who finds `PeerClosed`.
    pub fn dismiss(&mut self, number: u64) {
        // The binding goes with the capability.
        self.clients.remove(&number);
    }

    /// Waits for the next event. `PeerClosed`: the name was withdrawn, and the last client has left.
    /// Another error than `TimedOut` and `Cancelled` is one of the listener or the port.
    pub fn next(&mut self, deadline_ns: u64) -> Result<Event, Error> {
        loop {
            if self.listener.is_none() && self.clients.is_empty() {
                return Err(Error::PeerClosed);
            }
            let packet = self.port.next(deadline_ns)?;
            let event = match packet.key {
                LISTENER => self.welcome()?,
                number => self.hear(number),
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Answers messages by a function until there is nobody left to come, or something is wrong. A call
    /// whose right to reply it does not use is answered with `PeerClosed`.
    pub fn serve(&mut self, mut answer: impl FnMut(u64, Received)) -> Error {
        loop {
            match self.next(FOREVER) {
                Ok(Event::Message(client, received)) => answer(client, received),
                Ok(Event::Joined(_) | Event::Left(_)) => {}
                Err(error) => return error,
            }
        }
    }

    fn welcome(&mut self) -> Result<Option<Event>, Error> {
        let Some(listener) = &self.listener else {
            return Ok(None);
        };
        let end = match listener.accept(0) {
            Ok(end) => end,
            Err(Error::WouldBlock) => return Ok(None),
            Err(Error::PeerClosed) => {
                self.listener = None;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if self.clients.len() == self.limit {
            return Ok(None);
        }
        let Ok(end) = self.ends.keep(end) else {
            return Ok(None);
        };
        let number = self.next;
        // Who gave an end that can't be waited for does not keep the others from being served.
        if self.port.bind(end.handle(), HEARD, number).is_err() {
            return Ok(None);
        }
        self.next += 1;
        self.clients.insert(number, end);
        Ok(Some(Event::Joined(number)))
    }

    fn hear(&mut self, number: u64) -> Option<Event> {
        // One that was dismissed meanwhile is not there any more.
        match self.clients.get(&number)?.receive(0) {
            Ok(received) => Some(Event::Message(number, received)),
            Err(Error::WouldBlock) => None,
            // It is gone, or has sent what can't be received, by which nobody else may be held up.
            Err(_) => {
                self.clients.remove(&number);
                Some(Event::Left(number))
            }
        }
    }
}
