//! How messages and their payloads are written down: 8 bytes of head, `kind:8 | 0:24 | tag:32`, and then what the kind
//! says. All is little-endian, all that means nothing is zero, and every length is exact: anything else is
//! [`Error::PeerFault`].

use super::layout::{Class, MAX_CLASSES};
use super::lease::{RegionId, RegionRef};
use super::pool::SlotRef;
use crate::Error;

/// Bytes of the head.
pub const HEAD_BYTES: usize = 8;
/// Bytes of the longest frame that is not inline.
pub const MAX_FRAME_BYTES: usize = HEAD_BYTES + 8 + 8 * MAX_CLASSES;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The bytes themselves.
    Inline {
        /// What the sender says of the message.
        tag: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The bytes are in a slot.
    Slot {
        /// As above.
        tag: u32,
        /// Where.
        slot: SlotRef,
    },
    /// The bytes are in a region.
    Region {
        /// As above.
        tag: u32,
        /// Where.
        region: RegionRef,
    },
    /// The bytes are all of a region that the sender has published, for which it has granted a token, and that no other
    /// message refers to.
    Whole {
        /// As above.
        tag: u32,
        /// Its number.
        region: RegionId,
        /// The token.
        token: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// The sender has published a region, for which it has granted a token, and of which it sends parts.
    Published {
        /// Its number.
        region: RegionId,
        /// The token.
        token: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// The sender has read what it leased.
    Released {
        /// The region.
        region: RegionId,
    },
    /// The sender has withdrawn a region of which it sent parts: no other is on its way.
    Withdrawn {
        /// The region.
        region: RegionId,
    },
    /// The pool has grown by a region, for which the host has granted a token.
    Grown {
        /// Its number.
        extent: u16,
        /// The token.
        token: u64,
        /// Its classes; those of no bytes are none.
        classes: [Class; MAX_CLASSES],
    },
    /// The sender has given a slot back, for which the receiver [waited](super::Pool::arm).
    Freed,
}

const INLINE: u8 = 0;
const SLOT: u8 = 1;
const REGION: u8 = 2;
const PUBLISHED: u8 = 3;
const RELEASED: u8 = 4;
const GROWN: u8 = 5;
const FREED: u8 = 6;
const WHOLE: u8 = 7;
const WITHDRAWN: u8 = 8;

/// Writes fields one after the other.
struct Writer<'a> {
    target: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<&mut Self, Error> {
        let end = self.at + bytes.len();
        let place = self.target.get_mut(self.at..end).ok_or(Error::TooLarge)?;
        place.copy_from_slice(bytes);
        self.at = end;
        Ok(self)
    }

    fn region(&mut self, region: RegionId) -> Result<&mut Self, Error> {
        self.put(&region.slot.to_le_bytes())?
            .put(&region.generation.to_le_bytes())
    }

    fn head(&mut self, kind: u8, tag: u32) -> Result<&mut Self, Error> {
        self.put(&[kind, 0, 0, 0])?.put(&tag.to_le_bytes())
    }
}

/// Reads them.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Error> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Error::PeerFault)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_le_bytes)
    }

    fn region(&mut self) -> Result<RegionId, Error> {
        Ok(RegionId {
            slot: self.u32()?,
            generation: self.u32()?,
        })
    }
}

impl<'a> Frame<'a> {
    /// Writes it down and returns how many bytes it takes.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: more than there is room for.
    pub fn encode(&self, target: &mut [u8]) -> Result<usize, Error> {
        let mut out = Writer { target, at: 0 };
        match *self {
            Frame::Inline { tag, bytes } => {
                out.head(INLINE, tag)?.put(bytes)?;
            }
            Frame::Slot { tag, slot } => {
                out.head(SLOT, tag)?
                    .put(&slot.extent.to_le_bytes())?
                    .put(&slot.class.to_le_bytes())?
                    .put(&slot.index.to_le_bytes())?
                    .put(&slot.generation.to_le_bytes())?
                    .put(&slot.length.to_le_bytes())?;
            }
            Frame::Region { tag, region } => {
                out.head(REGION, tag)?
                    .region(region.region)?
                    .put(&region.offset.to_le_bytes())?
                    .put(&region.length.to_le_bytes())?;
            }
            Frame::Whole {
                tag,
                region,
                token,
                length,
            } => {
                out.head(WHOLE, tag)?
                    .region(region)?
                    .put(&token.to_le_bytes())?
                    .put(&length.to_le_bytes())?;
            }
            Frame::Published {
                region,
                token,
                length,
            } => {
                out.head(PUBLISHED, 0)?
                    .region(region)?
                    .put(&token.to_le_bytes())?
                    .put(&length.to_le_bytes())?;
            }
            Frame::Released { region } => {
                out.head(RELEASED, 0)?.region(region)?;
            }
            Frame::Withdrawn { region } => {
                out.head(WITHDRAWN, 0)?.region(region)?;
            }
            Frame::Grown {
                extent,
                token,
                classes,
            } => {
                out.head(GROWN, u32::from(extent))?
                    .put(&token.to_le_bytes())?;
                for class in classes {
                    out.put(&class.slot_bytes.to_le_bytes())?
                        .put(&class.count.to_le_bytes())?;
                }
            }
            Frame::Freed => {
                out.head(FREED, 0)?;
            }
        }
        Ok(out.at)
    }

    /// Reads one that was copied out of a ring.
    ///
    /// # Errors
    /// [`Error::PeerFault`]: no honest peer writes it.
    pub fn decode(bytes: &'a [u8]) -> Result<Frame<'a>, Error> {
        let mut from = Reader(bytes);
        let [kind, zeros @ ..] = from.take::<4>()?;
        let tag = from.u32()?;
        if zeros != [0; 3] {
            return Err(Error::PeerFault);
        }
        let frame = match kind {
            INLINE => {
                return Ok(Frame::Inline { tag, bytes: from.0 });
            }
            SLOT => Frame::Slot {
                tag,
                slot: SlotRef {
                    extent: from.u16()?,
                    class: from.u16()?,
                    index: from.u32()?,
                    generation: from.u32()?,
                    length: from.u32()?,
                },
            },
            REGION => Frame::Region {
                tag,
                region: RegionRef {
                    region: from.region()?,
                    offset: from.u64()?,
                    length: from.u64()?,
                },
            },
            WHOLE => Frame::Whole {
                tag,
                region: from.region()?,
                token: from.u64()?,
                length: from.u64()?,
            },
            PUBLISHED if tag == 0 => Frame::Published {
                region: from.region()?,
                token: from.u64()?,
                length: from.u64()?,
            },
            RELEASED if tag == 0 => Frame::Released {
                region: from.region()?,
            },
            WITHDRAWN if tag == 0 => Frame::Withdrawn {
                region: from.region()?,
            },
            FREED if tag == 0 => Frame::Freed,
            GROWN => {
                let extent = u16::try_from(tag).map_err(|_| Error::PeerFault)?;
                let token = from.u64()?;
                let mut classes = [Class::default(); MAX_CLASSES];
                for class in &mut classes {
                    class.slot_bytes = from.u32()?;
                    class.count = from.u32()?;
                    if class.slot_bytes == 0 && class.count != 0 {
                        return Err(Error::PeerFault);
                    }
                }
                Frame::Grown {
                    extent,
                    token,
                    classes,
                }
            }
            _ => return Err(Error::PeerFault),
        };
        match from.0.is_empty() {
            true => Ok(frame),
            false => Err(Error::PeerFault),
        }
    }
}
