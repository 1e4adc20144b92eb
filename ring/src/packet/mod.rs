//! PACKET rings: records of any length with a tag, one behind the other, published by the tail.
//!
//! Where a record lies is told in [`abi::ring::packet`]: small ones share cache lines, long ones begin one. The data is
//! mapped twice in a row, so every record is in one piece on both sides, and an empty ring has room for the longest
//! wherever its indices are. A record that can never fit is [`crate::Error::TooLarge`] at once.

mod consumer;
mod producer;

pub use consumer::Message;
pub use producer::Reservation;

use abi::ring::{Kind, PAGE_BYTES, packet};

use crate::ends::RingKind;
use crate::ends::sealed::Sealed;
use crate::{Error, Wait};

/// The sending end of a PACKET ring.
pub type Producer<W> = crate::Producer<Packet, W>;
/// The receiving end of a PACKET ring.
pub type Consumer<W> = crate::Consumer<Packet, W>;

/// No ring is so small that a message of so many bytes is too long, those of the model aside, where none is sent that is.
const SHORT: usize = packet::max_payload(PAGE_BYTES as u32) as usize;

/// The kind of these rings.
#[derive(Debug)]
pub enum Packet {}

/// A record that was found and bounded.
// Words of one size: in an answer with an error they are then moved as they are, and not byte by byte.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    tag: u32,
    length: u32,
    /// Where its payload begins behind its index.
    offset: u32,
    /// Bytes to the next record.
    extent: u32,
}

impl Record {
    /// The record at `index` of a payload that is not too long.
    #[inline(always)]
    fn new(index: u32, length: u32, tag: u32) -> Self {
        Self {
            tag,
            length,
            offset: packet::payload_offset(index, length),
            extent: packet::extent(index, length),
        }
    }

    #[inline(always)]
    fn head(&self) -> u64 {
        packet::head(self.length, self.tag)
    }

    #[inline]
    fn length(&self) -> usize {
        self.length as usize
    }

    /// Where in the data its payload begins, from where it begins.
    #[inline]
    fn payload(&self, index: u32, capacity: u32) -> usize {
        (index & (capacity - 1)) as usize + self.offset as usize
    }
}

impl Sealed for Packet {}

impl RingKind for Packet {
    const KIND: Kind = Kind::Packet;

    type Found = Record;

    #[inline(always)]
    fn look<W: Wait>(consumer: &mut Consumer<W>) -> Result<Option<Record>, Error> {
        let available = consumer.available(packet::HEAD_BYTES);
        if available == 0 {
            return consumer.nothing();
        }
        // What is before the tail is there: SYNC(ring.publish).
        let head = consumer.memory.at(consumer.head).head();
        let length = packet::length(head);
        let bounded = u64::from(length) < consumer.lengths;
        if !bounded && !crate::sabotaged!("length_not_bounded") {
            return Err(consumer.poison());
        }
        let length = match crate::sabotaged!("record_head_read_twice") {
            true => packet::length(consumer.memory.at(consumer.head).head()),
            false => length,
        };
        let record = Record::new(consumer.head, length, packet::tag(head));
        if record.extent > available && !crate::sabotaged!("record_beyond_tail") {
            return Err(consumer.poison());
        }
        Ok(Some(record))
    }
}
