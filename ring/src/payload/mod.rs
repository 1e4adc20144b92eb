//! Payloads beside a ring: three tiers for messages of any size between two sides that do not trust one another.
//!
//! It is for programs of a kernel that maps pools and regions for them and takes them back; nothing does so on Linux.
//!
//! | tier | for | what travels in the ring |
//! |---|---|---|
//! | inline | what fits the message | the bytes |
//! | [`pool`] | what fits a slot of a pool that both sides map | a [`SlotRef`] |
//! | [`lease`] | anything else | a [`RegionRef`]: which region, where in it, how much |
//!
//! [`frame`] is how each is written down. A payload is put where it belongs before its message is sent, so whoever
//! has the message can have the payload. Every field of a reference that came from the peer is checked against what
//! this side knows, and a reference that no honest peer sends is [`Error::PeerFault`](crate::Error::PeerFault). What a
//! reference leads to can only be copied out: the peer may be writing it. [`Books`] is where all of that is done, and
//! [counted](Traffic).

pub mod books;
pub mod frame;
pub mod layout;
pub mod lease;
pub mod pool;
pub mod pools;
pub mod traffic;

pub use books::{Books, Payload, Refused, Regions};
pub use frame::Frame;
pub use layout::{Class, Layout};
pub use lease::{Known, Leases, RegionId, RegionRef};
pub use pool::{Pool, Side, SlotRef, SlotWords};
pub use pools::Pools;
pub use traffic::{Traffic, What};
