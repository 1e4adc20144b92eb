//! Kind and size of a ring, and where in its data what lies.

use core::ops::Range;

use super::{
    DATA_OFFSET, Kind, MAX_CAPACITY, MAX_SLOT_BYTES, PAGE_BYTES, SLOT_ALIGN, SLOT_HEAD_BYTES,
    packet, sequence, slot_word,
};

/// What a [`Geometry`] has wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryError {
    /// The slot size is not a multiple of [`SLOT_ALIGN`] up to [`MAX_SLOT_BYTES`], or not 0 where there are no slots.
    SlotSize,
    /// The capacity is not a power of two up to [`MAX_CAPACITY`], or less than a page where it counts bytes.
    Capacity,
}

impl core::fmt::Display for GeometryError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::SlotSize => "slot size is not a multiple of 64 bytes within the limit",
            Self::Capacity => "capacity is not a power of two within the limits",
        })
    }
}

impl core::error::Error for GeometryError {}

/// Kind and size of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// How it carries its records.
    pub kind: Kind,
    /// Bytes of a slot, its head included; 0 for the kinds without slots.
    pub slot_size: u32,
    /// Slots of a SLOT ring, bytes of the other kinds; a power of two.
    pub capacity: u32,
}

impl Geometry {
    /// A SLOT ring of `capacity` slots of `slot_size` bytes each, of which a message can have 8 less.
    ///
    /// The slot size is a multiple of 64 up to [`MAX_SLOT_BYTES`], the capacity a power of two, 1 as well, up to
    /// [`MAX_CAPACITY`]; [`Geometry::check`] says whether they are.
    pub const fn slot(slot_size: u32, capacity: u32) -> Self {
        Self {
            kind: Kind::Slot,
            slot_size,
            capacity,
        }
    }

    /// Whether such a ring can exist. Whether there is memory for it is another question.
    pub const fn check(&self) -> Result<(), GeometryError> {
        if !self.capacity.is_power_of_two() || self.capacity > MAX_CAPACITY {
            return Err(GeometryError::Capacity);
        }
        match self.kind {
            Kind::Slot => {
                let aligned = self.slot_size.is_multiple_of(SLOT_ALIGN);
                if self.slot_size == 0 || !aligned || self.slot_size > MAX_SLOT_BYTES {
                    return Err(GeometryError::SlotSize);
                }
            }
            Kind::Byte | Kind::Packet => {
                if self.slot_size != 0 {
                    return Err(GeometryError::SlotSize);
                }
                if (self.capacity as usize) < PAGE_BYTES {
                    return Err(GeometryError::Capacity);
                }
            }
        }
        Ok(())
    }

    /// A BYTE ring of `capacity` bytes: a power of two, from a page of 4096 bytes up to [`MAX_CAPACITY`].
    pub const fn byte(capacity: u32) -> Self {
        Self {
            kind: Kind::Byte,
            slot_size: 0,
            capacity,
        }
    }

    /// A PACKET ring of `capacity` bytes: a power of two, from a page of 4096 bytes up to [`MAX_CAPACITY`]. The longest
    /// message that it carries has 64 bytes less ([`Geometry::max_message_bytes`]).
    pub const fn packet(capacity: u32) -> Self {
        Self {
            kind: Kind::Packet,
            slot_size: 0,
            capacity,
        }
    }

    /// The rings of a kind that carry messages of up to `message_bytes` bytes (of a BYTE ring: so much at once), the
    /// largest first. There is none if no such ring carries so long a message.
    pub fn for_messages(kind: Kind, message_bytes: u64) -> impl Iterator<Item = Self> {
        let slot_size = match kind {
            Kind::Slot => slot_size_for(message_bytes),
            Kind::Byte | Kind::Packet => Some(0),
        };
        let capacities = (0..u32::BITS).rev().map(|shift| 1 << shift);
        let rings = capacities.filter_map(move |capacity| {
            Some(Self {
                kind,
                slot_size: slot_size?,
                capacity,
            })
        });
        rings.filter(move |ring| {
            ring.check().is_ok() && ring.max_message_bytes() as u64 >= message_bytes
        })
    }

    /// What every index of such a ring is a multiple of.
    pub const fn granule(&self) -> u32 {
        match self.kind {
            Kind::Slot | Kind::Byte => 1,
            Kind::Packet => packet::ALIGN,
        }
    }

    /// Whether the ends may begin to count at `start`.
    pub const fn allows_start(&self, start: u32) -> bool {
        start.is_multiple_of(self.granule())
    }

    /// Bytes of data, in whole pages.
    pub const fn data_bytes(&self) -> u64 {
        let record = match self.kind {
            Kind::Slot => self.slot_size as u64,
            Kind::Byte | Kind::Packet => 1,
        };
        (self.capacity as u64 * record).next_multiple_of(PAGE_BYTES as u64)
    }

    /// Pages of data; the ring needs three more for H, P and C.
    pub const fn data_pages(&self) -> u64 {
        self.data_bytes() / PAGE_BYTES as u64
    }

    /// Bytes of address space of one view, with the data mapped twice.
    pub const fn view_bytes(&self) -> u64 {
        DATA_OFFSET as u64 + 2 * self.data_bytes()
    }

    /// Bytes of data that follow one another in a view of the ring: those of the kinds without slots are mapped twice.
    pub const fn contiguous_bytes(&self) -> u64 {
        match self.kind {
            Kind::Slot => self.data_bytes(),
            Kind::Byte | Kind::Packet => 2 * self.data_bytes(),
        }
    }

    /// Longest message, in bytes; of a BYTE ring the longest piece in a row.
    ///
    /// An empty ring has room for it wherever its indices are.
    pub const fn max_message_bytes(&self) -> usize {
        match self.kind {
            Kind::Slot => (self.slot_size as usize).saturating_sub(SLOT_HEAD_BYTES),
            Kind::Byte => self.capacity as usize,
            Kind::Packet => packet::max_payload(self.capacity) as usize,
        }
    }

    /// Where in the data the slot at `position` begins, in bytes.
    pub const fn slot_offset(&self, position: u32) -> u64 {
        position as u64 * self.slot_size as u64
    }

    /// Slots that fit into a page whole: 0 when one is larger than a page.
    pub const fn slots_per_page(&self) -> u32 {
        match (PAGE_BYTES as u32).checked_div(self.slot_size) {
            Some(slots) => slots,
            None => 0,
        }
    }

    /// Positions of the slots whose first word lies in data page `page`. A slot's word never straddles two pages.
    pub const fn slots_beginning_in(&self, page: u64) -> Range<u32> {
        Range {
            start: self.slots_before(page),
            end: self.slots_before(page.saturating_add(1)),
        }
    }

    const fn slots_before(&self, page: u64) -> u32 {
        if self.slot_size == 0 {
            return 0;
        }
        let bytes = page.saturating_mul(PAGE_BYTES as u64);
        let slots = bytes.div_ceil(self.slot_size as u64);
        if slots < self.capacity as u64 {
            slots as u32
        } else {
            self.capacity
        }
    }

    /// The word that the slot at `position` holds before either end of a ring that begins at `start` has touched it.
    ///
    /// It reads as the sequence of one lap before: neither published for the first lap nor damaged (rule S7).
    pub const fn initial_word(&self, start: u32, position: u32) -> u64 {
        let ahead = position.wrapping_sub(start) & self.capacity.wrapping_sub(1);
        let index = start.wrapping_add(ahead);
        slot_word(sequence(index).wrapping_sub(self.capacity), 0)
    }
}

/// The smallest slot for messages of up to so many bytes; `None`: they are longer than any slot.
const fn slot_size_for(message_bytes: u64) -> Option<u32> {
    if message_bytes > (MAX_SLOT_BYTES as usize - SLOT_HEAD_BYTES) as u64 {
        return None;
    }
    Some((message_bytes as u32 + SLOT_HEAD_BYTES as u32).next_multiple_of(SLOT_ALIGN))
}
