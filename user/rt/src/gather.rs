//! Many producers, one consumer: a ring for each producer, behind one port.
//!
//! A producer that dies in the middle of a message, or never gives one, keeps nobody else back: it has a ring of
//! its own. The rings are symmetric, since who sleeps at a port brings no barrier for their producers. Other
//! objects can be waited for at the same port: where producers arrive, for instance, or their processes.

use alloc::vec::Vec;

use abi::ring::Form;
use abi::{Error, Events, FOREVER, Handle, PortPacket, RingGeometry};

use crate::ring_end::{Receiver, open_receiver, ring_of};
use crate::{Port, events_of};

/// The consumer of many rings.
#[derive(Debug)]
pub struct Gather {
    port: Port,
    /// By their keys; those that have ended are missing.
    rings: Vec<Option<Slot>>,
    /// Where the next look begins, so that nobody is looked at last for ever.
    next: usize,
    /// Other objects that are waited for.
    watched: usize,
    /// Messages since other objects were looked at.
    messages: u32,
}

/// What marks the keys of other objects at the port.
const WATCHED: u64 = 1 << 63;
/// Messages in a row after which other objects are looked at.
const TURN: u32 = 64;

struct Slot {
    receiver: Receiver,
}

impl core::fmt::Debug for Slot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.receiver.waiter().fmt(f)
    }
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gathered {
    /// A message of so many bytes of the producer of this key.
    Message {
        /// The number of the producer, from [`Gather::add`].
        key: usize,
        /// Bytes of the message.
        length: usize,
    },
    /// The next message of the producer of this key is longer than the target and stays, which costs its producer the turn
    /// and nobody else anything. It is told again until it is received into more, or the producer is
    /// [taken out](Gather::remove).
    TooLarge {
        /// The number of the producer.
        key: usize,
        /// Bytes of the message.
        length: usize,
    },
    /// A producer will send no more, for this reason; its key is used again.
    Ended {
        /// The number of the producer.
        key: usize,
        /// [`PeerClosed`](ring::Error::PeerClosed): it said so; else what befell it.
        why: ring::Error,
    },
    /// Events of another object, from [`Gather::watch`].
    Watched {
        /// Its key.
        key: u64,
        /// Those that hold.
        events: Events,
    },
}

impl Gather {
    /// One without producers.
    pub fn create() -> Result<Gather, Error> {
        Ok(Gather {
            port: Port::create()?,
            rings: Vec::new(),
            next: 0,
            watched: 0,
            messages: 0,
        })
    }

    /// A ring for one more producer: its key, and the end that it sends by.
    pub fn add(&mut self, slot_size: u32, capacity: u32) -> Result<(usize, Handle), Error> {
        let geometry = RingGeometry::slot(slot_size, capacity).with_form(Form::Symmetric);
        let (producer, consumer) = ring_of(&geometry)?;
        let key = match self.rings.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.rings.push(None);
                self.rings.len() - 1
            }
        };
        let events = Events::READABLE | Events::PEER_CLOSED;
        let opened = open_receiver(consumer).and_then(|receiver| {
            self.port.bind(consumer, events, key as u64)?;
            Ok(receiver)
        });
        match opened {
            Ok(receiver) => {
                self.rings[key] = Some(Slot { receiver });
                Ok((key, producer))
            }
            Err(error) => {
                for end in [producer, consumer] {
                    let _ = crate::drop_handle(end);
                }
                Err(error)
            }
        }
    }

    /// Tells of events of another object as well, under a key below 2^63, as long as they hold. Needs WAIT on it.
    ///
    /// # Errors
    /// As of [`Port::bind`]; `Invalid`: the key.
    pub fn watch(&mut self, object: Handle, events: Events, key: u64) -> Result<(), Error> {
        if key & WATCHED != 0 {
            return Err(Error::Invalid);
        }
        self.port.bind(object, events, key | WATCHED)?;
        self.watched += 1;
        Ok(())
    }

    /// Tells of another object no longer, which was watched and has not been dropped. `NotFound`.
    pub fn unwatch(&mut self, key: u64) -> Result<(), Error> {
        self.port.unbind(key | WATCHED)?;
        self.watched -= 1;
        Ok(())
    }

    /// Takes a producer out, with whatever it has sent; dropping the result tells it that nobody receives. Its key is used
    /// again. `None`: there is none of this key.
    pub fn remove(&mut self, key: usize) -> Option<Receiver> {
        let slot = self.rings.get_mut(key)?.take()?;
        let _ = self.port.unbind(key as u64);
        Some(slot.receiver)
    }

    /// Producers that have not ended.
    pub fn len(&self) -> usize {
        self.rings.iter().flatten().count()
    }

    /// Whether all have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Receives the next message of any producer into the beginning of `target`, each in turn, sleeping until
    /// `deadline_ns` while there is none.
    ///
    /// # Errors
    /// `TimedOut`, `Cancelled`, `Interrupted`; `PeerClosed`: there is no producer, and nothing else is watched.
    pub fn receive(&mut self, target: &mut [u8], deadline_ns: u64) -> Result<Gathered, Error> {
        loop {
            // However much comes, other objects have their turn.
            if self.watched > 0 && self.messages >= TURN {
                self.messages = 0;
                if let Ok(packet) = self.port.next(0)
                    && let Some(gathered) = watched(&packet)
                {
                    return Ok(gathered);
                }
            }
            if let Some(gathered) = self.look(target)? {
                self.messages = self.messages.saturating_add(1);
                return Ok(gathered);
            }
            if self.is_empty() && self.watched == 0 {
                return Err(Error::PeerClosed);
            }
            if self.arm_all() {
                let waited = self.port.next(deadline_ns);
                self.disarm_all();
                match waited {
                    Ok(packet) => {
                        if let Some(gathered) = watched(&packet) {
                            return Ok(gathered);
                        }
                    }
                    Err(Error::WouldBlock) => return Err(Error::TimedOut),
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn look(&mut self, target: &mut [u8]) -> Result<Option<Gathered>, Error> {
        let count = self.rings.len();
        for key in (0..count).map(|step| (self.next + step) % count) {
            let Some(slot) = &mut self.rings[key] else {
                continue;
            };
            match slot.receiver.try_receive(target) {
                Ok(length) => {
                    self.next = key + 1;
                    return Ok(Some(Gathered::Message { key, length }));
                }
                Err(ring::Error::Empty) => {}
                Err(ring::Error::TooLarge) => {
                    self.next = key + 1;
                    let length = slot.receiver.peek().map_or(0, |message| message.len());
                    return Ok(Some(Gathered::TooLarge { key, length }));
                }
                Err(why) => {
                    let _ = self.port.unbind(key as u64);
                    self.rings[key] = None;
                    return Ok(Some(Gathered::Ended { key, why }));
                }
            }
        }
        Ok(None)
    }

    /// Says at every ring that a message would end the sleep; false: there is one.
    fn arm_all(&mut self) -> bool {
        let mut rings = self.rings.iter_mut().flatten();
        rings.all(|slot| matches!(slot.receiver.arm(), Ok(Some(_))))
    }

    fn disarm_all(&mut self) {
        for slot in self.rings.iter_mut().flatten() {
            slot.receiver.disarm();
        }
    }

    /// Receives until every producer has ended.
    ///
    /// # Errors
    /// As of [`receive`](Gather::receive); `TooLarge`: a message is longer than `target`, and stays.
    pub fn drain(
        &mut self,
        mut each: impl FnMut(usize, &[u8]),
        target: &mut [u8],
    ) -> Result<(), Error> {
        while !self.is_empty() {
            match self.receive(target, FOREVER)? {
                Gathered::Message { key, length } => {
                    each(key, target.get(..length).unwrap_or_default());
                }
                Gathered::TooLarge { .. } => return Err(Error::TooLarge),
                Gathered::Ended { .. } | Gathered::Watched { .. } => {}
            }
        }
        Ok(())
    }
}

/// What a packet tells of an object that is no ring.
fn watched(packet: &PortPacket) -> Option<Gathered> {
    (packet.key & WATCHED != 0).then(|| Gathered::Watched {
        key: packet.key & !WATCHED,
        events: events_of(packet),
    })
}
