//! Hubs: what crosses the boundary, and the one page that tells everyone how each peer stands.
//!
//! The page is the kernel's alone to write. It begins with 256 entries, one a peer, each an aligned
//! `u64` that is read at once: `state:8 | epoch:32 | 0:24`, least significant field first. Behind them
//! are 256 aligned `u64`: when each peer was last heard of.
//!
//! | offset | word | of peer 0, the host | of a guest |
//! |---|---|---|---|
//! | 8·p | entry | `Attached` until its goodbye; how many guests there can be, in the upper bits | how it stands |
//! | 2048 + 8·p | beat | bit 0: the host sleeps, or is about to; the heartbeat interval in ns above it | monotonic ns |

use static_assertions::const_assert_eq;

use crate::ring;
use crate::{Argument, Error, Handle, RingShape};

/// Guests of one hub at most. Peers are numbered from 1; 0 is the host.
pub const MAX_GUESTS: u32 = 255;
/// Words in each half of the table.
pub const PEERS: usize = MAX_GUESTS as usize + 1;
/// Offset of the beats in the table, in bytes.
pub const BEATS_OFFSET: usize = PEERS * 8;

/// How a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PeerState {
    /// Nobody has the seat.
    Empty = 0,
    /// Somebody has a membership of it and has not claimed it.
    Reserved = 1,
    /// In use.
    Attached = 2,
    /// It has left, died or been dismissed, and the host has not recovered the seat yet.
    Goodbye = 3,
}

impl PeerState {
    /// The state of this number. No other number stands for any, least of all for `Empty`.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Self::Empty),
            1 => Some(Self::Reserved),
            2 => Some(Self::Attached),
            3 => Some(Self::Goodbye),
            _ => None,
        }
    }
}

/// An entry of the table: how a peer stands, and in which tenancy of its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// How.
    pub state: PeerState,
    /// Which tenancy: one more each time that a seat becomes empty.
    pub epoch: u32,
}

impl Standing {
    /// Of a peer in a tenancy.
    pub const fn new(state: PeerState, epoch: u32) -> Self {
        Self { state, epoch }
    }

    /// The word of the table.
    pub const fn to_word(self) -> u64 {
        self.state as u64 | (self.epoch as u64) << 8
    }

    /// What a word of the table says; `None` for one that no kernel wrote.
    pub const fn from_word(word: u64) -> Option<Self> {
        if word >> 40 != 0 {
            return None;
        }
        match PeerState::from_raw(word as u8) {
            Some(state) => Some(Self::new(state, (word >> 8) as u32)),
            None => None,
        }
    }
}

/// The entry of the host: whether it is there, and how many guests there can be.
pub const fn host_word(state: PeerState, guests: u32) -> u64 {
    Standing::new(state, 0).to_word() | (guests as u64) << 40
}

/// The guests that there can be, by the entry of the host.
pub const fn guests_of(host_word: u64) -> u32 {
    (host_word >> 40) as u32
}

/// The beat of the host.
pub const fn host_beat(asleep: bool, interval_ns: u64) -> u64 {
    interval_ns << 1 | asleep as u64
}

/// Whether the host sleeps or is about to, by its beat.
pub const fn is_host_asleep(host_beat: u64) -> bool {
    host_beat & 1 != 0
}

/// Whether a beat that was stamped at `stamped_ns` is so old at `now_ns` that a peer must hang: more than
/// two intervals. Never with an interval of 0.
pub const fn is_overdue(stamped_ns: u64, now_ns: u64, interval_ns: u64) -> bool {
    interval_ns != 0 && now_ns.saturating_sub(stamped_ns) > interval_ns.saturating_mul(2)
}

/// What `hub_create` makes. Each guest has two rings, one in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HubGeometry {
    /// How many guests there can be, 1 to [`MAX_GUESTS`].
    pub guests: u32,
    /// A [`Kind`](ring::Kind): of the rings.
    pub kind: u32,
    /// Bytes of a slot, a multiple of 64; 0 for kinds without slots.
    pub slot_size: u32,
    /// Capacity of the rings to the host; a power of two.
    pub to_host: u32,
    /// Capacity of the rings to the guests; a power of two.
    pub to_guest: u32,
    /// Zero.
    pub reserved: u32,
    /// How often a guest says that it lives, in ns; 0 for never. Less than 2^62.
    pub heartbeat_ns: u64,
}

impl HubGeometry {
    /// With SLOT rings.
    pub const fn slot(guests: u32, slot_size: u32, to_host: u32, to_guest: u32) -> Self {
        Self {
            guests,
            kind: ring::Kind::Slot as u32,
            slot_size,
            to_host,
            to_guest,
            reserved: 0,
            heartbeat_ns: 0,
        }
    }

    /// With PACKET rings of so many bytes.
    pub const fn packet(guests: u32, to_host: u32, to_guest: u32) -> Self {
        Self {
            kind: ring::Kind::Packet as u32,
            ..Self::slot(guests, 0, to_host, to_guest)
        }
    }

    /// With BYTE rings of so many bytes.
    pub const fn byte(guests: u32, to_host: u32, to_guest: u32) -> Self {
        Self {
            kind: ring::Kind::Byte as u32,
            ..Self::slot(guests, 0, to_host, to_guest)
        }
    }

    /// The rings to the host and to a guest.
    ///
    /// # Errors
    /// `Invalid`: such a hub can't exist.
    pub fn decode(&self) -> Result<(RingShape, RingShape), Error> {
        let one_of = 1..=MAX_GUESTS;
        if self.reserved != 0 || !one_of.contains(&self.guests) || self.heartbeat_ns >> 62 != 0 {
            return Err(Error::Invalid);
        }
        let ring = |capacity| {
            crate::RingGeometry {
                kind: self.kind,
                slot_size: self.slot_size,
                capacity,
                // A guest has a fence after each message anyway, for the host that sleeps at all rings.
                form: ring::Form::Symmetric as u32,
                start: 0,
                reserved: 0,
            }
            .decode()
        };
        Ok((ring(self.to_host)?, ring(self.to_guest)?))
    }
}

/// What `hub_create` returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HubHandles {
    /// The hub.
    pub hub: Handle,
    /// Its table, a region of one page that can only be read.
    pub table: Handle,
}

/// Which seat `hub_reserve` has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HubSeat {
    /// The number of the guest, from 1 on.
    pub peer: u32,
    /// The tenancy.
    pub epoch: u32,
}

/// What a guest gets by `hub_claim`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HubGuestEnds {
    /// Sends to the host.
    pub producer: Handle,
    /// Receives from the host.
    pub consumer: Handle,
    /// The table of the hub.
    pub table: Handle,
}

/// Which peers `hub_wait` tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HubPeers {
    /// Bit `peer % 64` of word `peer / 64`.
    pub bits: [u64; 4],
}

impl HubPeers {
    /// The peers whose bits are set.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let bits = self.bits;
        (0..MAX_GUESTS + 1).filter(move |peer| bits[*peer as usize / 64] >> (peer % 64) & 1 != 0)
    }
}

/// Facts about a hub, from `hub_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HubInfo {
    /// As it was made.
    pub geometry: HubGeometry,
    /// Seats that are reserved.
    pub reserved: u32,
    /// Seats with a guest.
    pub attached: u32,
    /// Seats to be recovered.
    pub leaving: u32,
    /// 1 after the goodbye of the host.
    pub goodbye: u32,
}

/// What a guest tells by `hub_signal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum HubSignal {
    /// There is something for the host to look at, which also proves life.
    Work = 0,
    /// It lives, and nothing else.
    Beat = 1,
}

impl Argument for HubSignal {
    const NAME: &'static str = "HubSignal";
    const C_NAME: &'static str = "uint32_t";

    fn from_raw(raw: u64) -> Result<Self, Error> {
        match raw {
            0 => Ok(Self::Work),
            1 => Ok(Self::Beat),
            _ => Err(Error::Invalid),
        }
    }

    fn into_raw(self) -> u64 {
        self as u64
    }
}

const_assert_eq!(size_of::<HubGeometry>(), 32);
const_assert_eq!(size_of::<HubHandles>(), 16);
const_assert_eq!(size_of::<HubSeat>(), 8);
const_assert_eq!(size_of::<HubGuestEnds>(), 24);
const_assert_eq!(size_of::<HubPeers>(), 32);
const_assert_eq!(size_of::<HubInfo>(), 48);
const_assert_eq!(BEATS_OFFSET, 2048);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_the_round_trip_and_an_unknown_one_is_never_empty() {
        for raw in 0..=u8::MAX {
            let Some(state) = PeerState::from_raw(raw) else {
                assert_eq!(Standing::from_word(u64::from(raw)), None);
                continue;
            };
            for epoch in [0, 1, u32::MAX] {
                let standing = Standing::new(state, epoch);
                assert_eq!(Standing::from_word(standing.to_word()), Some(standing));
            }
        }
        assert_eq!(Standing::from_word(1 << 40), None);
    }

    #[test]
    fn the_words_of_the_table_are_these() {
        let attached = Standing::new(PeerState::Attached, 0x0102_0304);
        assert_eq!(attached.to_word(), 0x01_0203_0402);
        assert_eq!(host_word(PeerState::Goodbye, 255), 0xff00_0000_0003);
        assert_eq!(guests_of(host_word(PeerState::Attached, 255)), 255);
        assert_eq!(host_beat(true, 5), 11);
    }

    #[test]
    fn a_beat_is_overdue_after_two_intervals_and_never_without_one() {
        assert!(!is_overdue(0, u64::MAX, 0));
        assert!(!is_overdue(100, 120, 10));
        assert!(is_overdue(100, 121, 10));
        // One that was stamped after the clock was read, and intervals that overflow.
        assert!(!is_overdue(200, 100, 10));
        assert!(!is_overdue(0, u64::MAX, u64::MAX / 2 + 1));
    }

    #[test]
    fn a_geometry_is_checked_whole() {
        assert!(HubGeometry::slot(255, 64, 8, 16).decode().is_ok());
        for geometry in crate::impossible::HUBS {
            assert_eq!(
                geometry.decode().err(),
                Some(Error::Invalid),
                "{geometry:?}"
            );
        }
    }
}
