//! What a ring is to be like, before it is there.

use std::sync::Arc;

use abi::ring::{End, Form, Geometry, Kind};

use super::connection::Connection;
use super::duplex::DuplexEnds;
use super::ends::{ConsumerEnd, ProducerEnd};
use super::handshake::Terms;
use super::link::{self, Link, Unused};
use super::memory::Mapping;
use super::remote::Sleeper;
use super::{Error, MAX_DATA_BYTES};

/// Makes rings: between threads by [`Setup::pair`], between processes over a [`Connection`].
#[derive(Clone, Copy, Debug)]
#[must_use = "it makes no ring by itself"]
pub struct Setup {
    geometry: Geometry,
    form: Form,
    start: u32,
    sleeper: Sleeper,
}

impl Setup {
    /// A ring of this kind and size, asymmetric where the system can.
    pub fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            form: Form::Asymmetric,
            start: 0,
            sleeper: Sleeper::Thread,
        }
    }

    /// The largest ring of a kind for messages of up to `message_bytes` bytes (of a BYTE ring: for so much at once) whose data
    /// takes at most `memory_bytes` bytes of memory. Three pages more are for its indices and states.
    ///
    /// ```
    /// use ring::linux::{Kind, Setup};
    ///
    /// let (producer, _consumer) = Setup::for_messages(Kind::Packet, 1500, 1 << 20)?.pair()?;
    /// assert!(producer.geometry().max_message_bytes() >= 1500);
    /// assert_eq!(producer.geometry().data_bytes(), 1 << 20);
    /// # Ok::<(), ring::linux::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Geometry`]: no such ring carries such a message, or none that takes so little.
    pub fn for_messages(
        kind: Kind,
        message_bytes: usize,
        memory_bytes: u64,
    ) -> Result<Self, Error> {
        let most = memory_bytes.min(MAX_DATA_BYTES);
        let ring = Geometry::for_messages(kind, message_bytes as u64)
            .find(|ring| ring.data_bytes() <= most);
        ring.map(Self::new).ok_or(Error::Geometry)
    }

    /// Has both sides execute a fence at each publication, instead of the sleeper one on all CPUs.
    ///
    /// Worth it where an end goes to sleep about as often as it finds something. It is what rings are anyway where
    /// `membarrier(2)` is not allowed.
    pub fn symmetric(self) -> Self {
        Self {
            form: Form::Symmetric,
            ..self
        }
    }

    /// Where the indices begin: of a PACKET ring a multiple of 8. They wrap at 2^32, which nobody notices.
    pub fn starting_at(self, start: u32) -> Self {
        Self { start, ..self }
    }

    /// Lets this process wait at its end with futures ([`crate::asynchronous`]), or for many rings at once
    /// ([`Gathering`](super::Gathering)).
    ///
    /// A peer in another process then wakes it by a byte over the socket and the thread that listens to it, which
    /// takes about twice as long as to wake a thread. The blocking calls work as well. In one process nothing changes, and
    /// nothing needs to be said.
    pub fn for_tasks(self) -> Self {
        Self {
            sleeper: Sleeper::Task,
            ..self
        }
    }

    /// Both ends of a ring in this process.
    ///
    /// # Errors
    /// [`Error::Geometry`], [`Error::System`].
    pub fn pair(self) -> Result<(ProducerEnd, ConsumerEnd), Error> {
        link::check_system()?;
        let terms = self.terms(End::Producer)?;
        let mapping = Mapping::own(terms.geometry, terms.start)?;
        let link = Arc::new(Link::new(mapping, &terms));
        Ok((
            ProducerEnd::new(Unused::new(link.clone(), End::Producer, None)),
            ConsumerEnd::new(Unused::new(link, End::Consumer, None)),
        ))
    }

    /// Offers the ring to the peer of a connection, and waits until `deadline_ns` for it to accept. This process sends.
    ///
    /// # Errors
    /// [`Error::Geometry`], [`Error::TimedOut`], [`Error::PeerFault`], [`Error::System`]; [`Error::PeerClosed`]: it declined.
    pub fn produce(self, connection: Connection, deadline_ns: u64) -> Result<ProducerEnd, Error> {
        let terms = self.terms(End::Producer)?;
        connection
            .negotiate(terms, deadline_ns)
            .map(ProducerEnd::new)
    }

    /// The same, and this process receives.
    ///
    /// # Errors
    /// As [`Setup::produce`].
    pub fn consume(self, connection: Connection, deadline_ns: u64) -> Result<ConsumerEnd, Error> {
        let terms = self.terms(End::Consumer)?;
        connection
            .negotiate(terms, deadline_ns)
            .map(ConsumerEnd::new)
    }

    /// Offers this ring and another to the peer of a connection, and waits until `deadline_ns` for it to accept. This process
    /// sends in this one and receives in `receiving`.
    ///
    /// # Errors
    /// As [`Setup::produce`].
    pub fn duplex(
        self,
        receiving: Self,
        connection: Connection,
        deadline_ns: u64,
    ) -> Result<DuplexEnds, Error> {
        let terms = [self.terms(End::Producer)?, receiving.terms(End::Consumer)?];
        let [sender, receiver] = connection.negotiate_both(terms, deadline_ns)?;
        Ok(DuplexEnds::new(
            ProducerEnd::new(sender),
            ConsumerEnd::new(receiver),
        ))
    }

    fn terms(self, end: End) -> Result<Terms, Error> {
        if self.geometry.check().is_err()
            || self.geometry.data_bytes() > MAX_DATA_BYTES
            || !self.geometry.allows_start(self.start)
        {
            return Err(Error::Geometry);
        }
        let asymmetric = self.form == Form::Asymmetric && link::register_for_barriers();
        Ok(Terms {
            geometry: self.geometry,
            form: match asymmetric {
                true => Form::Asymmetric,
                false => Form::Symmetric,
            },
            start: self.start,
            epoch: EPOCH,
            end,
            sleeper: self.sleeper,
        })
    }
}

/// A ring over a connection is there once; who wants another makes another.
const EPOCH: u32 = 1;
