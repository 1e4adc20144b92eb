//! Many producers, one consumer: a ring for each producer, behind one port.
//!
//! A producer that dies in the middle of a message, or never gives one, keeps nobody else back: it has a ring of
//! its own. The rings are symmetric, since who sleeps at a port brings no barrier for their producers. Other
//! objects can be waited for at the same port: where producers arrive, for instance, or their processes.

use alloc::vec::Vec;
use core::cell::Cell;

use abi::ring::Form;
use abi::{Error, Events, FOREVER, Handle, PortPacket, RingGeometry};
use ring::mpsc::{self, Next};
use ring::sabotaged;
use ring::slot::Slot;

use crate::ring_end::{Receiver, RingWait, from_abi, open_receiver, ring_of, to_abi};
use crate::{Port, events_of};

/// The consumer of many rings, each by its key: [`mpsc::Receiver`], sleeping at a port.
pub struct Gather {
    rings: mpsc::Receiver<Slot, RingWait, Vec<Option<Receiver>>, Door>,
    /// Other objects that are waited for.
    watched: usize,
    /// Messages since other objects were looked at.
    messages: u32,
}

/// What marks the keys of other objects at the port.
const WATCHED: u64 = 1 << 63;
/// Messages in a row after which other objects are looked at.
const TURN: u32 = 64;

/// Where it sleeps.
struct Door {
    port: Port,
    /// What the last sleep was told of another object.
    told: Cell<Option<Gathered>>,
}

impl ring::Gather for Door {
    fn wait(&self, deadline_ns: u64) -> Result<(), ring::Error> {
        let packet = self.port.next(deadline_ns).map_err(from_abi)?;
        self.told.set(watched(&packet));
        Ok(())
    }
}

impl core::fmt::Debug for Gather {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Gather")
            .field("port", self.port())
            .field("watched", &self.watched)
            .finish_non_exhaustive()
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
        let door = Door {
            port: Port::create()?,
            told: Cell::new(None),
        };
        Ok(Gather {
            rings: mpsc::Receiver::new(Vec::new(), door).map_err(to_abi)?,
            watched: 0,
            messages: 0,
        })
    }

    fn port(&self) -> &Port {
        &self.rings.gather().port
    }

    /// A ring for one more producer: its key, and the end that it sends by.
    pub fn add(&mut self, slot_size: u32, capacity: u32) -> Result<(usize, Handle), Error> {
        let geometry = RingGeometry::slot(slot_size, capacity).with_form(Form::Symmetric);
        let (producer, consumer) = ring_of(&geometry)?;
        let places = self.rings.places();
        if places.iter().all(Option::is_some) {
            places.push(None);
        }
        let joined = open_receiver(consumer).and_then(|receiver| {
            let joined = self.rings.join(receiver);
            let key = joined.map_err(|(_, error)| to_abi(error))?;
            let events = Events::READABLE | Events::PEER_CLOSED;
            let bound = self.port().bind(consumer, events, key as u64);
            bound.inspect_err(|_| _ = self.rings.leave(key))?;
            Ok(key)
        });
        let key = joined.inspect_err(|_| {
            for end in [producer, consumer] {
                let _ = crate::drop_handle(end);
            }
        })?;
        Ok((key, producer))
    }

    /// Tells of events of another object as well, under a key below 2^63, as long as they hold. Needs WAIT on it.
    ///
    /// # Errors
    /// As of [`Port::bind`]; `Invalid`: the key.
    pub fn watch(&mut self, object: Handle, events: Events, key: u64) -> Result<(), Error> {
        if key & WATCHED != 0 {
            return Err(Error::Invalid);
        }
        self.port().bind(object, events, key | WATCHED)?;
        self.watched += 1;
        Ok(())
    }

    /// Tells of another object no longer, which was watched and has not been dropped. `NotFound`.
    pub fn unwatch(&mut self, key: u64) -> Result<(), Error> {
        self.port().unbind(key | WATCHED)?;
        self.watched -= 1;
        Ok(())
    }

    /// Takes a producer out, with whatever it has sent; dropping the result tells it that nobody receives. Its key is used
    /// again. `None`: there is none of this key.
    pub fn remove(&mut self, key: usize) -> Option<Receiver> {
        let receiver = self.rings.leave(key)?;
        let _ = self.port().unbind(key as u64);
        Some(receiver)
    }

    /// Producers that have not ended.
    pub fn len(&mut self) -> usize {
        self.rings.members()
    }

    /// Whether all have ended.
    pub fn is_empty(&mut self) -> bool {
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
            let turn = self.messages >= TURN && !sabotaged!("gather_looks_at_rings_alone");
            if self.watched > 0 && turn {
                self.messages = 0;
                if let Ok(packet) = self.port().next(0)
                    && let Some(gathered) = watched(&packet)
                {
                    return Ok(gathered);
                }
            }
            if self.watched == 0 && self.is_empty() {
                return Err(Error::PeerClosed);
            }
            if let Some(gathered) = self.next(target, deadline_ns)? {
                return Ok(gathered);
            }
        }
    }

    /// What is next, or nothing if it was woken and nothing is there.
    fn next(&mut self, target: &mut [u8], deadline_ns: u64) -> Result<Option<Gathered>, Error> {
        let next = self.rings.next(deadline_ns);
        let gathered = match next {
            Ok(Next::Ready { place, consumer }) => match consumer.try_receive(target) {
                Ok(length) => Gathered::Message { key: place, length },
                Err(ring::Error::TooLarge) => {
                    let length = consumer.peek().map_or(0, |message| message.len());
                    Gathered::TooLarge { key: place, length }
                }
                // The look that comes next tells what has befallen it.
                Err(_) => return Ok(None),
            },
            Ok(Next::Ended {
                place,
                consumer,
                why,
            }) => {
                let _ = self.port().unbind(place as u64);
                // Its end is given back when nothing tells of it any more.
                drop(consumer);
                Gathered::Ended { key: place, why }
            }
            Err(ring::Error::Empty) => return Ok(self.rings.gather().told.take()),
            Err(error) => return Err(to_abi(error)),
        };
        // What holds still is told again.
        self.rings.gather().told.set(None);
        self.messages = self.messages.saturating_add(1);
        Ok(Some(gathered))
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
