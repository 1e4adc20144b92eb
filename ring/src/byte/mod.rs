//! BYTE rings: a stream of bytes, published by the tail.
//!
//! The data is mapped twice in a row, so whatever is free and whatever is there is in one piece on both sides, up to the
//! whole capacity, wherever the indices are.

mod consumer;
mod producer;

pub use consumer::Chunk;
pub use producer::Reservation;

use abi::ring::Kind;

use crate::ends::RingKind;
use crate::ends::sealed::Sealed;
use crate::{Error, Wait};

/// The sending end of a BYTE ring.
pub type Producer<W> = crate::Producer<Byte, W>;
/// The receiving end of a BYTE ring.
pub type Consumer<W> = crate::Consumer<Byte, W>;

/// Pieces up to here go the short way: indices that are so far apart still tell which of them is ahead.
const SHORT: usize = i32::MAX as usize;

/// The kind of these rings.
#[derive(Debug)]
pub enum Byte {}

impl Sealed for Byte {}

impl RingKind for Byte {
    const KIND: Kind = Kind::Byte;

    /// How many bytes are known to be there.
    type Found = u32;

    #[inline]
    fn look<W: Wait>(consumer: &mut Consumer<W>) -> Result<Option<u32>, Error> {
        look_for(consumer, 1)
    }
}

/// How many bytes are there, with a look at the tail if fewer than `wanted` are known.
#[inline]
fn look_for<W: Wait>(consumer: &mut Consumer<W>, wanted: u32) -> Result<Option<u32>, Error> {
    match consumer.available(wanted) {
        0 => consumer.nothing(),
        available => Ok(Some(available)),
    }
}
