//! How a seat at a hub stands: one atomic word, changed only by compare-and-swap on state *and* epoch.
//!
//! A hub is an object of a kernel: many programs, the guests, with one that serves them, and two rings for each. On Linux there is
//! none ([`crate::mpsc`] receives from many). The kernel keeps one for each peer and shows it in the table of the hub ([`abi::hub`]). Whoever changes a seat names
//! the tenancy that it means, so what was decided about one guest never falls on the next.
//! [`recovery`] is how a host clears up behind a guest, [`must_tell_host`] how a guest learns that it has to call.

pub mod recovery;

use core::sync::atomic::Ordering;

use abi::hub::{PeerState, Standing, is_host_asleep};

use crate::sync::{AtomicU64, PeerWord, fence};

/// A seat's word.
#[derive(Debug)]
pub struct PeerEntry(AtomicU64);

impl PeerEntry {
    /// Of a seat in a state, in tenancy 0.
    pub fn new(state: PeerState) -> Self {
        Self(AtomicU64::new(Standing::new(state, 0).to_word()))
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        decode(self.0.load(Ordering::Acquire))
    }

    /// Changes the state if it still stands so, and returns how it stands from then on. An empty seat is in the next
    /// tenancy.
    ///
    /// # Errors
    /// How it stands, if that is not `from`, or if there is no such step: a seat is only ever reserved, attached, left,
    /// and then empty again; after its last tenancy it is never empty again.
    pub fn advance(&self, from: Standing, to: PeerState) -> Result<Standing, Standing> {
        let now = self.standing();
        let from = match crate::sabotaged!("hub_entry_without_epoch") {
            true => Standing::new(from.state, now.epoch),
            false => from,
        };
        let Some(next) = step(from, to).filter(|_| now == from) else {
            return Err(now);
        };
        // SYNC(hub.entry): who sees the new state sees what was done before it.
        self.0
            .compare_exchange(
                from.to_word(),
                next.to_word(),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .map(|_| next)
            .map_err(decode)
    }
}

/// Where a step from a standing leads, if there is such a step.
fn step(from: Standing, to: PeerState) -> Option<Standing> {
    use PeerState::{Attached, Empty, Goodbye, Reserved};
    let epoch = match (from.state, to) {
        (Empty, Reserved) | (Reserved, Attached) | (Reserved | Attached, Goodbye) => from.epoch,
        // Of a seat whose numbers are used up, somebody may remember the first.
        (Reserved | Goodbye, Empty) => from.epoch.checked_add(1)?,
        _ => return None,
    };
    Some(Standing::new(to, epoch))
}

/// Only [`PeerEntry::advance`] writes it; should it hold anything else, it is nobody's seat.
fn decode(word: u64) -> Standing {
    Standing::from_word(word).unwrap_or(Standing::new(PeerState::Goodbye, u32::MAX))
}

/// The first seat of several that could be reserved, and its tenancy; a seat that somebody else was faster at is not
/// the end of the search.
pub fn reserve_first<'a>(
    entries: impl IntoIterator<Item = &'a PeerEntry>,
) -> Option<(usize, Standing)> {
    for (at, entry) in entries.into_iter().enumerate() {
        let from = entry.standing();
        if from.state != PeerState::Empty {
            continue;
        }
        match entry.advance(from, PeerState::Reserved) {
            Ok(reserved) => return Some((at, reserved)),
            Err(_) if crate::sabotaged!("hub_join_tries_once") => return None,
            Err(_) => {}
        }
    }
    None
}

/// Whether a guest has to tell the host of what it has published before, since the host sleeps or is about to; `beat`
/// reads the beat of the host in the table of the hub, which may be read-only.
///
/// The host says so in the table and then looks at every ring. One of the two sees the other.
#[inline]
pub fn must_tell_host(beat: impl FnOnce() -> u64) -> bool {
    // SYNC(hub.sleep): what was published is visible before the look; see the kernel's `hub_wait`.
    if !crate::sabotaged!("hub_guest_without_fence") {
        fence(Ordering::SeqCst);
    }
    is_host_asleep(beat())
}

/// A word of the table of a hub, which may be read-only. What the kernel and the host did before they had it changed is seen
/// after this: what was sent before a goodbye, for one.
#[inline]
pub fn table_word(word: &AtomicU64) -> u64 {
    PeerWord(word).load_acquire()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_nobodys_after_its_last_tenancy() {
        let entry = |standing: Standing| PeerEntry(AtomicU64::new(standing.to_word()));
        let last = |state| Standing::new(state, u32::MAX);
        let seat = entry(Standing::new(PeerState::Goodbye, u32::MAX - 1));
        let emptied = seat.advance(seat.standing(), PeerState::Empty);
        assert_eq!(emptied, Ok(last(PeerState::Empty)));
        for state in [PeerState::Reserved, PeerState::Attached, PeerState::Goodbye] {
            assert_eq!(seat.advance(seat.standing(), state), Ok(last(state)));
        }
        // It would be in tenancy 0, which somebody may still speak of.
        let gone = seat.standing();
        assert_eq!(seat.advance(gone, PeerState::Empty), Err(gone));
        let reserved = entry(last(PeerState::Reserved));
        let gone = reserved.standing();
        assert_eq!(reserved.advance(gone, PeerState::Empty), Err(gone));
        assert_eq!(reserve_first([&seat, &reserved]), None);
    }

    #[test]
    fn a_word_that_no_step_leads_to_is_nobodys_seat() {
        for word in [4, 0xff, 1 << 40, u64::MAX] {
            let seat = PeerEntry(AtomicU64::new(word));
            assert_eq!(seat.standing().state, PeerState::Goodbye);
            assert_eq!(reserve_first([&seat]), None);
            let emptied = seat.advance(seat.standing(), PeerState::Empty);
            assert_eq!(emptied, Err(seat.standing()));
        }
    }
}
