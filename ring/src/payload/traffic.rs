//! What passed between both sides of a seat, as one of them has counted it, and where it found no room.
//!
//! They are plain numbers of the side that counts, in no memory that the other reaches: nobody but it can be wrong about them.

use core::ops::{AddAssign, Index};

use super::frame::Frame;

/// What a message is, as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A payload in the message itself.
    Inline,
    /// A payload in a slot.
    Slot,
    /// A payload that is all of a region.
    Whole,
    /// A payload that is a part of a region.
    Part,
    /// A region was published that parts are sent of.
    Published,
    /// A payload in a region is finished.
    Released,
    /// A region was withdrawn.
    Withdrawn,
    /// The pool has grown.
    Grown,
    /// A slot is free again that was waited for.
    Freed,
}

/// How many there are.
const WHATS: usize = What::Freed as usize + 1;

/// Messages, and the bytes of what they are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// So many messages.
    pub messages: u64,
    /// So many bytes in all, of payloads and published regions.
    pub bytes: u64,
}

/// What passed in one direction: `flow[What::Slot]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow([Count; WHATS]);

impl Flow {
    /// Counts a message.
    #[inline]
    pub(super) fn count(&mut self, frame: &Frame<'_>) {
        let (what, bytes) = match *frame {
            Frame::Inline { bytes, .. } => (What::Inline, bytes.len() as u64),
            Frame::Slot { slot, .. } => (What::Slot, slot.length.into()),
            Frame::Whole { length, .. } => (What::Whole, length),
            Frame::Region { region, .. } => (What::Part, region.length),
            Frame::Published { length, .. } => (What::Published, length),
            Frame::Released { .. } => (What::Released, 0),
            Frame::Withdrawn { .. } => (What::Withdrawn, 0),
            Frame::Grown { .. } => (What::Grown, 0),
            Frame::Freed => (What::Freed, 0),
        };
        let count = &mut self.0[what as usize];
        count.messages += 1;
        // Lengths are the peer's word.
        count.bytes = count.bytes.saturating_add(bytes);
    }

    /// Messages with a payload, wherever it was.
    pub fn payloads(&self) -> Count {
        let mut sum = Count::default();
        for what in [What::Inline, What::Slot, What::Whole, What::Part] {
            sum += self[what];
        }
        sum
    }
}

impl Index<What> for Flow {
    type Output = Count;

    fn index(&self, what: What) -> &Count {
        &self.0[what as usize]
    }
}

/// What one side has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What was sent, each when it was in the ring.
    pub sent: Flow,
    /// What was received, each after it was judged.
    pub received: Flow,
    /// Payloads that were not sent since no slot was free.
    pub no_slot: u64,
    /// Payloads and regions that were not sent since the peer had not finished enough of those before.
    pub no_region: u64,
    /// Messages that were not sent since the ring had no room for them, until their deadline where they have one.
    pub no_ring: u64,
    /// Sleeps until there is room for a payload.
    pub sleeps: u64,
    /// Regions and pools of the peer that this side had no room for.
    pub unaffordable: u64,
    /// Regions that the peer had taken back before this side took them. One that was all of a payload is among the
    /// `faults` as well.
    pub gone: u64,
    /// Messages that no honest peer sends.
    pub faults: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.messages += other.messages;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl AddAssign for Flow {
    fn add_assign(&mut self, other: Flow) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        self.sent += other.sent;
        self.received += other.received;
        self.no_slot += other.no_slot;
        self.no_region += other.no_region;
        self.no_ring += other.no_ring;
        self.sleeps += other.sleeps;
        self.unaffordable += other.unaffordable;
        self.gone += other.gone;
        self.faults += other.faults;
    }
}
