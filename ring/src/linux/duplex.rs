//! Two rings over one connection, one for each direction.

use abi::ring::{End, Geometry};

use super::connection::{Connection, Offer, Peer};
use super::ends::{ConsumerEnd, ProducerEnd};
use super::link::Futex;
use super::setup::Setup;
use super::{Error, Fault};
use crate::byte::Byte;
use crate::duplex::Duplex;
use crate::packet::Packet;
use crate::slot::Slot;
use crate::{Consumer, Producer, RingKind};

/// Both ends that one side of a duplex has, before it is known what they are used as.
pub type DuplexEnds = Duplex<ProducerEnd, ConsumerEnd>;

/// One side of a duplex: it sends by a ring of the kind `K` and receives by one of the kind `L`.
///
/// It has no [exchange](Duplex::turn): no call of Linux wakes one thread and puts another to sleep, so that a request and the
/// sleep for its answer are two. Sending and receiving are no more than that, and see an answer that comes at once
/// without any.
pub type Side<K, L = K> = Duplex<Producer<K, Futex>, Consumer<L, Futex>>;

impl Connection {
    /// Offers a ring in which this process sends and one in which it receives, and waits until the peer has answered.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ring::linux::{Connection, Geometry, deadline_in};
    ///
    /// let soon = || deadline_in(Duration::from_secs(5));
    /// # let (connection, their_connection) = Connection::pair()?;
    /// # let theirs = std::thread::spawn(move || -> Result<(), ring::linux::Error> {
    /// // One process takes what it is offered, and answers each question:
    /// let offer = their_connection.duplex_offer(soon())?;
    /// assert!(offer.sending().data_bytes() + offer.receiving().data_bytes() <= 1 << 20);
    /// let mut side = offer.accept()?.packet()?;
    /// let mut question = [0; 256];
    /// while let Ok((number, length)) = side.receiver.receive(&mut question, u64::MAX) {
    ///     question[..length].make_ascii_uppercase();
    ///     side.sender.send(number, &question[..length], soon())?;
    /// }
    /// # Ok(())
    /// # });
    /// // The other asks:
    /// let mut side = connection
    ///     .duplex(Geometry::packet(4096), Geometry::packet(4096), soon())?
    ///     .packet()?;
    /// side.sender.send(7, b"hello", soon())?;
    /// // It asks nothing more, and still receives.
    /// side.finish()?;
    /// let mut answer = [0; 256];
    /// let (number, length) = side.receiver.receive(&mut answer, soon())?;
    /// assert_eq!((number, &answer[..length]), (7, &b"HELLO"[..]));
    /// # theirs.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Setup::duplex`].
    pub fn duplex(
        self,
        sending: Geometry,
        receiving: Geometry,
        deadline_ns: u64,
    ) -> Result<DuplexEnds, Error> {
        Setup::new(sending).duplex(Setup::new(receiving), self, deadline_ns)
    }

    /// Waits for a peer that offers a duplex.
    ///
    /// # Errors
    /// As [`Connection::offer`].
    pub fn duplex_offer(self, deadline_ns: u64) -> Result<DuplexOffer, Error> {
        let [receiving, sending] = self.offers(deadline_ns)?;
        if (receiving.end(), sending.end()) != (End::Consumer, End::Producer) {
            return Err(Fault::Terms.into());
        }
        Ok(DuplexOffer { receiving, sending })
    }
}

/// Two rings that a peer offers, one for each direction. Nothing of them is mapped yet, and dropping it declines both.
#[derive(Debug)]
pub struct DuplexOffer {
    receiving: Offer,
    sending: Offer,
}

impl DuplexOffer {
    /// Kind and size of the ring in which this process is to receive.
    pub fn receiving(&self) -> Geometry {
        self.receiving.geometry()
    }

    /// Kind and size of the ring in which this process is to send. Look at it before you accept: this process provides
    /// memory for its data.
    pub fn sending(&self) -> Geometry {
        self.sending.geometry()
    }

    /// User, group and process of the peer.
    ///
    /// # Errors
    /// As [`Connection::peer`].
    pub fn peer(&self) -> Result<Peer, Error> {
        self.receiving.peer()
    }

    /// Has both sides execute a fence at each publication in either direction, as [`Setup::symmetric`].
    #[must_use]
    pub fn symmetric(self) -> Self {
        Self {
            receiving: self.receiving.symmetric(),
            sending: self.sending.symmetric(),
        }
    }

    /// Lets this process wait with futures in either direction, or for many rings at once, as [`Setup::for_tasks`].
    #[must_use]
    pub fn for_tasks(self) -> Self {
        Self {
            receiving: self.receiving.for_tasks(),
            sending: self.sending.for_tasks(),
        }
    }

    /// Accepts both.
    ///
    /// # Errors
    /// [`Error::PeerFault`], [`Error::PeerClosed`], [`Error::System`].
    pub fn accept(self) -> Result<DuplexEnds, Error> {
        let receiver = self.receiving.consume()?;
        Ok(Duplex::new(self.sending.produce()?, receiver))
    }
}

impl DuplexEnds {
    /// The ends as those of two SLOT rings.
    ///
    /// # Errors
    /// As [`ProducerEnd::slot`].
    pub fn slot(self) -> Result<Side<Slot>, Error> {
        self.attach()
    }

    /// The ends as those of two PACKET rings.
    ///
    /// # Errors
    /// As [`ProducerEnd::slot`].
    pub fn packet(self) -> Result<Side<Packet>, Error> {
        self.attach()
    }

    /// The ends as those of two BYTE rings.
    ///
    /// # Errors
    /// As [`ProducerEnd::slot`].
    pub fn byte(self) -> Result<Side<Byte>, Error> {
        self.attach()
    }

    /// The ends as those of two rings whose kinds need not be the same.
    ///
    /// # Errors
    /// As [`ProducerEnd::slot`].
    pub fn attach<K: RingKind, L: RingKind>(self) -> Result<Side<K, L>, Error> {
        let (sender, receiver) = self.split();
        Ok(Duplex::new(sender.attach()?, receiver.attach()?))
    }
}
