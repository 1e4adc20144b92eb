//! SLOT rings: fixed slots, each published by its own sequence number.
//!
//! The slot of index `i` is published when its first word holds sequence `i + 1`; until then it holds that of a lap
//! before. A consumer that polls therefore touches one cache line a message, and the head goes back to the producer
//! seldom: when a quarter of the ring is free, when the ring is found empty, and while the producer waits for it.
//!
//! Order of a publish: payload, slot word (Release), tail (Release), fence, look whether the consumer's `waits_until`
//! was crossed. Order of going to sleep: `waits_until`, fence, last look, kernel. The other direction mirrors it.

mod consumer;
mod producer;

pub use consumer::{Consumer, Message};
pub use producer::{Producer, Reservation};

use abi::ring::EndState;

use crate::Error;

/// What an end that finds nothing to do answers, from the raw states of both ends; `Ok` if both are open.
fn answer_for_states(own: u32, peer: u32) -> Result<(), Error> {
    match EndState::from_raw(peer) {
        Some(EndState::Open) => {}
        Some(EndState::Draining | EndState::Closed) => return Err(Error::PeerClosed),
        Some(EndState::Revoked) => return Err(Error::Revoked),
        Some(EndState::Poisoned) | None => return Err(Error::PeerFault),
    }
    match EndState::from_raw(own) {
        Some(EndState::Open) => Ok(()),
        Some(EndState::Draining | EndState::Closed) => Err(Error::Closed),
        Some(EndState::Revoked) => Err(Error::Revoked),
        Some(EndState::Poisoned) | None => Err(Error::PeerFault),
    }
}
