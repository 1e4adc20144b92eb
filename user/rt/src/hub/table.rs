//! The table of a hub: how every peer stands, without a call.

use core::sync::atomic::AtomicU64;

use abi::hub::{BEATS_OFFSET, MAX_GUESTS, PeerState, Standing, is_overdue};
use abi::{Error, Handle, Rights};

use crate::{Mapping, Region};

/// The table, mapped for reading.
#[derive(Debug)]
pub struct Table {
    mapping: Mapping,
}

impl Table {
    /// Maps the table that a handle stands for, and gives the handle back.
    pub(crate) fn map(handle: Handle) -> Result<Table, Error> {
        let mapping = Region::from_handle(handle).map(Rights::READ)?;
        Ok(Table { mapping })
    }

    fn word(&self, offset: usize) -> u64 {
        // SAFETY: an aligned word of the page, which stays mapped as long as this; everybody accesses it atomically,
        // and a relaxed load is allowed where memory can only be read.
        let word =
            unsafe { AtomicU64::from_ptr((self.mapping.address() as usize + offset) as *mut u64) };
        ring::hub::table_word(word)
    }

    /// How a guest stands at this moment.
    ///
    /// # Errors
    /// `NotFound`: there is no such peer, or its entry says nothing; it is not empty then.
    pub fn standing(&self, peer: u32) -> Result<Standing, Error> {
        if !(1..=MAX_GUESTS).contains(&peer) {
            return Err(Error::NotFound);
        }
        Standing::from_word(self.word(peer as usize * 8)).ok_or(Error::NotFound)
    }

    /// Whether the host takes part: it has neither said goodbye nor ended.
    pub fn is_hosted(&self) -> bool {
        PeerState::from_raw(self.word(0) as u8) == Some(PeerState::Attached)
    }

    /// The beat of the host, by which a guest knows [whether to tell it](ring::hub::must_tell_host).
    pub(super) fn host_beat(&self) -> u64 {
        self.word(BEATS_OFFSET)
    }

    /// How often guests say that they live, in ns; 0 for never.
    pub fn heartbeat_ns(&self) -> u64 {
        self.host_beat() >> 1
    }

    /// Whether a guest that is attached has not been heard of for more than two heartbeats at `now_ns`: it hangs, or
    /// does not keep to it. One that is dead is not attached.
    pub fn is_overdue(&self, peer: u32, now_ns: u64) -> bool {
        let attached = self
            .standing(peer)
            .is_ok_and(|standing| standing.state == PeerState::Attached);
        let beat = || self.word(BEATS_OFFSET + peer as usize * 8);
        attached && is_overdue(beat(), now_ns, self.heartbeat_ns())
    }
}
