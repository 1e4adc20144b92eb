//! Both directions between two programs: a ring for each, with states that have nothing to do with one another.
//!
//! Each direction is open, then draining (its producer has finished, and what it sent is being received), then closed.
//! Who has finished sending still receives, and who has received the end still sends. The end of a direction is state in
//! the header of its ring: it needs no room, can't be lost and is told as often as one asks.
//!
//! ```
//! # use ring::duplex::Duplex;
//! # use ring::{Close, Error, packet};
//! fn ask<W: Close>(
//!     link: &mut Duplex<packet::Producer<W>, packet::Consumer<W>>,
//!     questions: &[&[u8]],
//!     mut answered: impl FnMut(&[u8]),
//! ) -> Result<(), Error> {
//!     for question in questions {
//!         link.sender.send(0, question, u64::MAX)?;
//!     }
//!     link.finish()?;
//!     let mut answer = [0; 1024];
//!     loop {
//!         match link.receiver.receive(&mut answer, u64::MAX) {
//!             Ok((_, length)) => answered(&answer[..length]),
//!             Err(Error::PeerClosed) => return Ok(()),
//!             Err(error) => return Err(error),
//!         }
//!     }
//! }
//! ```
//!
//! What is *not* guaranteed: that two programs that both send without receiving get on. Both rings fill up, and both
//! sleep until their deadlines.

mod exchange;

use abi::ring::EndState;

use crate::ends::RingKind;
use crate::{Close, Consumer, Error, Producer, Wait};

pub use exchange::Deferring;

/// The two ends that one side has.
#[derive(Debug)]
pub struct Duplex<S, R> {
    /// What this side sends by.
    pub sender: S,
    /// What this side receives by.
    pub receiver: R,
}

/// How far a direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ends are open.
    Open,
    /// One end is closed, and what was sent can still be received.
    Draining,
    /// Nothing will be received any more, or this side does not believe the other any more.
    Closed,
}

impl<S, R> Duplex<S, R> {
    /// What sends and what receives, as one.
    pub fn new(sender: S, receiver: R) -> Self {
        Self { sender, receiver }
    }

    /// The two ends on their own, for two threads.
    pub fn split(self) -> (S, R) {
        (self.sender, self.receiver)
    }
}

impl<K: RingKind, L: RingKind, W: Wait, V: Wait> Duplex<Producer<K, W>, Consumer<L, V>> {
    /// How far the direction has come in which this side sends, as the other side would say, as far as it has given back what
    /// it received.
    ///
    /// What is *not* guaranteed: that it comes to an end. Who closes its end in order and then goes leaves what it has not
    /// received, and the direction as it was.
    pub fn sending(&mut self) -> Direction {
        let (own, peer) = (self.sender.own_state(), self.sender.peer_state());
        // After the states, as below.
        match (own, peer, self.sender.is_empty()) {
            (EndState::Open, EndState::Open, Ok(_)) => Direction::Open,
            // Who has closed its end in order may receive what is left.
            (_, EndState::Open | EndState::Draining, Ok(false)) => Direction::Draining,
            _ => Direction::Closed,
        }
    }

    /// How far the direction has come in which this side receives.
    pub fn receiving(&mut self) -> Direction {
        let early = crate::sabotaged!("direction_judged_by_an_earlier_look");
        let early = early.then(|| self.receiver.check());
        let open = self.receiver.own_state() == EndState::Open && self.receiver.is_peer_alive();
        // After the states: what was sent before its end closed is there for who sees that it is. It is what can be received
        // that counts, which a tail need not tell: a producer of slots may have died before it stored it.
        match (open, early.unwrap_or_else(|| self.receiver.check())) {
            (true, Ok(()) | Err(Error::Empty)) => Direction::Open,
            (false, Ok(())) => Direction::Draining,
            (_, Err(_)) => Direction::Closed,
        }
    }
}

impl<K: RingKind, L: RingKind, W: Close, V: Close> Duplex<Producer<K, W>, Consumer<L, V>> {
    /// Ends the direction in which this side sends, and leaves the other as it is.
    ///
    /// # Errors
    /// As [`Producer::finish`].
    pub fn finish(&mut self) -> Result<(), Error> {
        self.sender.finish()
    }

    /// Ends both directions. Each is ended whatever becomes of the other.
    ///
    /// # Errors
    /// As [`Producer::finish`], of the first that could not be ended; one that had ended is none.
    pub fn close(&mut self) -> Result<(), Error> {
        let ended = |answer| match answer {
            Err(Error::Closed) => Ok(()),
            answer => answer,
        };
        let (sending, receiving) = (self.sender.finish(), self.receiver.finish());
        ended(sending).and(ended(receiving))
    }
}
