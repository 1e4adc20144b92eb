//! What the calls on rings take and tell. The memory of a ring is [`ring`](crate::ring).

use core::fmt;

use static_assertions::const_assert_eq;

use crate::ring::{DATA_OFFSET, EndState, Form, Geometry, Kind};
use crate::{Argument, Error, Handle};

/// What ring `ring_create` makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RingGeometry {
    /// The number of a [`Kind`].
    pub kind: u32,
    /// SLOT: bytes of a slot, its head of 8 bytes included: a multiple of 64. Else 0.
    pub slot_size: u32,
    /// Slots of a SLOT ring, bytes of the others: a power of two, and of bytes at least a page.
    pub capacity: u32,
    /// The number of a [`Form`]; 0 is [`Form::Asymmetric`].
    pub form: u32,
    /// The index at which both ends begin; of a PACKET ring a multiple of 8.
    pub start: u32,
    /// 0.
    pub reserved: u32,
}

const_assert_eq!(size_of::<RingGeometry>(), 24);

/// A [`RingGeometry`] that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    /// Kind and size.
    pub geometry: Geometry,
    /// Who pays for the barrier between publishing and looking for a sleeper.
    pub form: Form,
    /// Where both ends begin.
    pub start: u32,
}

impl From<Geometry> for RingShape {
    /// The form that is made unless another is asked for, from index 0 on.
    fn from(geometry: Geometry) -> RingShape {
        RingShape {
            geometry,
            form: Form::Asymmetric,
            start: 0,
        }
    }
}

impl RingGeometry {
    /// A SLOT ring of `capacity` slots of `slot_size` bytes.
    pub const fn slot(slot_size: u32, capacity: u32) -> RingGeometry {
        RingGeometry::of(Kind::Slot, slot_size, capacity)
    }

    /// A BYTE ring of `capacity` bytes.
    pub const fn byte(capacity: u32) -> RingGeometry {
        RingGeometry::of(Kind::Byte, 0, capacity)
    }

    /// A PACKET ring of `capacity` bytes, the heads of its records included.
    pub const fn packet(capacity: u32) -> RingGeometry {
        RingGeometry::of(Kind::Packet, 0, capacity)
    }

    const fn of(kind: Kind, slot_size: u32, capacity: u32) -> RingGeometry {
        RingGeometry {
            kind: kind as u32,
            slot_size,
            capacity,
            form: 0,
            start: 0,
            reserved: 0,
        }
    }

    /// The same in a form of the caller's choice.
    #[must_use]
    pub const fn with_form(self, form: Form) -> RingGeometry {
        RingGeometry {
            form: form as u32,
            ..self
        }
    }

    /// The same from another index on.
    #[must_use]
    pub const fn starting_at(self, start: u32) -> RingGeometry {
        RingGeometry { start, ..self }
    }

    /// The largest ring for messages of up to `message_bytes` bytes (of a BYTE ring: for so much at once) that
    /// takes at most `memory_bytes` bytes of memory, its three pages of indices and states included.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: no such ring carries such a message; [`Error::Quota`]: one would, but takes more memory.
    pub fn for_messages(
        kind: Kind,
        message_bytes: u64,
        memory_bytes: u64,
    ) -> Result<RingGeometry, Error> {
        let mut fitting = Geometry::for_messages(kind, message_bytes).peekable();
        if fitting.peek().is_none() {
            return Err(Error::TooLarge);
        }
        let shape = fitting.find(|shape| memory(shape) <= memory_bytes);
        let Geometry {
            slot_size,
            capacity,
            ..
        } = shape.ok_or(Error::Quota)?;
        Ok(RingGeometry::of(kind, slot_size, capacity))
    }

    /// What it says, checked. `Invalid`: no such ring can be.
    pub fn decode(&self) -> Result<RingShape, Error> {
        let kind = Kind::from_raw(self.kind).ok_or(Error::Invalid)?;
        let form = match self.form {
            0 => Form::Asymmetric,
            form => Form::from_raw(form).ok_or(Error::Invalid)?,
        };
        let geometry = Geometry {
            kind,
            slot_size: self.slot_size,
            capacity: self.capacity,
        };
        geometry.check().map_err(|_| Error::Invalid)?;
        if self.reserved != 0 || !geometry.allows_start(self.start) {
            return Err(Error::Invalid);
        }
        Ok(RingShape {
            geometry,
            form,
            start: self.start,
        })
    }
}

/// The memory that a ring takes, in bytes.
const fn memory(shape: &Geometry) -> u64 {
    DATA_OFFSET as u64 + shape.data_bytes()
}

/// The two ends that `ring_create` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RingEnds {
    /// Sends.
    pub producer: Handle,
    /// Receives.
    pub consumer: Handle,
}

const_assert_eq!(size_of::<RingEnds>(), 16);

/// What `ring_info` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RingInfo {
    /// Kind, size, form and where both ends began.
    pub geometry: RingGeometry,
    /// How often an end got another holder, or the ring was made anew, plus 1.
    pub epoch: u32,
    /// The number of the [`End`](crate::ring::End) that was asked about.
    pub end: u32,
    /// The number of the [`EndState`] of the producing end.
    pub producer_state: u32,
    /// The same of the consuming end.
    pub consumer_state: u32,
    /// What the producer last said to have published. It may be anything.
    pub tail: u32,
    /// What the consumer last said to have released. It may be anything.
    pub head: u32,
}

const_assert_eq!(size_of::<RingInfo>(), 48);

/// How `ring_close` closes an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RingClose {
    /// In order: the peer receives what was sent before, and learns that no more will come.
    Orderly = 0,
    /// Because the peer broke the protocol: it learns that it is believed no more.
    Faulty = 1,
}

impl RingClose {
    /// The one of this number.
    pub const fn from_code(code: u64) -> Option<RingClose> {
        match code {
            0 => Some(RingClose::Orderly),
            1 => Some(RingClose::Faulty),
            _ => None,
        }
    }

    /// The state of an end that was closed so.
    pub const fn ends_as(self) -> EndState {
        match self {
            RingClose::Orderly => EndState::Draining,
            RingClose::Faulty => EndState::Poisoned,
        }
    }
}

impl Argument for RingClose {
    const NAME: &'static str = "RingClose";
    const C_NAME: &'static str = "uint32_t";

    fn from_raw(raw: u64) -> Result<Self, Error> {
        RingClose::from_code(raw).ok_or(Error::Invalid)
    }

    fn into_raw(self) -> u64 {
        self as u64
    }

    fn show(raw: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::from_raw(raw) {
            Ok(how) => write!(f, "{how:?}"),
            Err(_) => write!(f, "{raw:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PAGE_SIZE;

    #[test]
    fn only_possible_rings_are_decoded() {
        let good = RingGeometry::slot(64, 16);
        let shape = good.decode().unwrap();
        assert_eq!(shape.geometry, Geometry::slot(64, 16));
        assert_eq!((shape.form, shape.start), (Form::Asymmetric, 0));
        let symmetric = good.with_form(Form::Symmetric).starting_at(u32::MAX);
        let shape = symmetric.decode().unwrap();
        assert_eq!((shape.form, shape.start), (Form::Symmetric, u32::MAX));
        assert!(RingGeometry::byte(4096).starting_at(3).decode().is_ok());
        assert!(RingGeometry::packet(4096).starting_at(8).decode().is_ok());
        for bad in crate::impossible::RINGS {
            assert_eq!(bad.decode(), Err(Error::Invalid), "{bad:?}");
        }
    }

    #[test]
    fn a_ring_for_messages_carries_them_in_the_memory_that_there_is() {
        let pages = |pages: u64| pages * PAGE_SIZE;
        let made = RingGeometry::for_messages(Kind::Slot, 56, pages(4)).unwrap();
        assert_eq!(made, RingGeometry::slot(64, 64));
        let made = RingGeometry::for_messages(Kind::Slot, 57, pages(4)).unwrap();
        assert_eq!(made, RingGeometry::slot(128, 32));
        let made = RingGeometry::for_messages(Kind::Byte, 0, pages(6)).unwrap();
        assert_eq!(made, RingGeometry::byte(8192));
        for kind in [Kind::Slot, Kind::Byte, Kind::Packet] {
            let made = |message, memory| RingGeometry::for_messages(kind, message, memory);
            assert_eq!(made(1, pages(4) - 1), Err(Error::Quota));
            assert_eq!(made(1, 0), Err(Error::Quota));
            assert_eq!(made(u64::MAX, u64::MAX), Err(Error::TooLarge));
            assert_eq!(made(u64::MAX - 7, u64::MAX), Err(Error::TooLarge));
            for message in [0, 1, 55, 56, 57, 4000, 4096, 60_000] {
                for memory in (4..64).map(pages).chain([u64::MAX]) {
                    let Ok(found) = made(message, memory) else {
                        continue;
                    };
                    let shape = found.decode().unwrap().geometry;
                    assert!(shape.max_message_bytes() as u64 >= message);
                    assert!(super::memory(&shape) <= memory);
                    let double = Geometry {
                        capacity: shape.capacity.wrapping_mul(2),
                        ..shape
                    };
                    assert!(double.check().is_err() || super::memory(&double) > memory);
                }
            }
        }
    }

    #[test]
    fn a_way_to_close_survives_the_register() {
        for how in [RingClose::Orderly, RingClose::Faulty] {
            assert_eq!(RingClose::from_raw(how.into_raw()), Ok(how));
        }
        for raw in [2, 1 << 32, u64::MAX] {
            assert_eq!(RingClose::from_raw(raw), Err(Error::Invalid));
        }
    }
}
