//! What whoever serves a submission ring has to itself: the indices of the kernel, the cells that are
//! kept, and the operations that wait.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Error;
use abi::submission::{Completion, MAX_CHAIN, Submission, SubmissionFlags};
use mm::{Account, RecordCharge};

use super::SubmissionRing;
use super::pending::Pending;
use crate::Platform;

/// Places for operations that wait, of which a ring pays for so many at once. The first are part of it.
pub(super) const PLACES: usize = 64;

/// The desk of a ring.
pub(super) struct Desk<P: Platform> {
    /// Entries that were taken.
    pub(super) head: u32,
    /// The tail of the entries when somebody looked for some last.
    pub(super) looked_at: u32,
    /// The head of the completions, as the process had written it, at which entries were left when somebody
    /// looked for some last.
    pub(super) left_at: Option<u32>,
    /// Completions that were posted.
    pub(super) tail: u32,
    /// Completions that the process has taken, as it said last.
    released: u32,
    /// Cells that are kept for entries that were taken.
    kept: u32,
    /// Where the operations that wait are; a place is used again.
    pub(super) pending: Vec<Option<Box<Pending<P>>>>,
    /// Which places are free; there is room for all.
    pub(super) free: Vec<u32>,
    /// For how many places the ring pays, as the lists of them never get shorter.
    pub(super) paid: usize,
    pub(super) charge: RecordCharge,
    /// Copies of entries that are linked.
    pub(super) chain: Vec<Submission>,
    /// The rest of a chain that is too long is still to come.
    pub(super) cut: bool,
    pub(super) taken: u64,
    pub(super) posted: u64,
}

impl<P: Platform> Desk<P> {
    /// The desk of a new ring whose first indices are `start`. `payer` pays for what it grows by. `NoMemory`.
    pub(super) fn new(start: u32, payer: &Arc<Account>) -> Result<Box<Desk<P>>, Error> {
        let mut chain = Vec::new();
        chain
            .try_reserve_exact(MAX_CHAIN)
            .map_err(|_| Error::NoMemory)?;
        Ok(mm::boxed(Desk {
            head: start,
            looked_at: start,
            left_at: None,
            tail: start,
            released: start,
            kept: 0,
            pending: Vec::new(),
            free: Vec::new(),
            paid: PLACES,
            charge: payer.charge_nothing(),
            chain,
            cut: false,
            taken: 0,
            posted: 0,
        }))
    }

    /// Keeps cells for so many completions more. False: there are not as many. `PeerFault`: the head that
    /// the process wrote can't be. Either leaves the entries for which they were to be.
    #[inline(always)]
    pub(super) fn keep(
        &mut self,
        ring: &SubmissionRing<P>,
        machine: &P,
        count: u32,
    ) -> Result<bool, Error> {
        if !self.has_room(ring, count) {
            self.look_at_head(ring, machine)?;
            if !self.has_room(ring, count) && !mm::sabotaged!("completion_without_cell") {
                return Ok(false);
            }
            self.left_at = None;
        }
        self.kept += count;
        Ok(true)
    }

    #[inline(always)]
    fn has_room(&self, ring: &SubmissionRing<P>, count: u32) -> bool {
        let used = self.tail.wrapping_sub(self.released) + self.kept;
        used + count <= ring.geometry.completions
    }

    /// Reads once how far the process has taken completions: never back, and never past what was posted.
    #[cold]
    fn look_at_head(&mut self, ring: &SubmissionRing<P>, machine: &P) -> Result<(), Error> {
        let head = ring.completions.head(machine);
        self.left_at = Some(head);
        if head.wrapping_sub(self.released) > self.tail.wrapping_sub(self.released) {
            return Err(Error::PeerFault);
        }
        self.released = match mm::sabotaged!("completion_head_read_twice") {
            true => ring.completions.head(machine),
            false => head,
        };
        Ok(())
    }

    /// Completes an entry for which a cell is kept.
    #[inline(always)]
    pub(super) fn complete(
        &mut self,
        ring: &SubmissionRing<P>,
        machine: &P,
        entry: &Submission,
        outcome: Result<u64, Error>,
    ) {
        self.kept = self.kept.wrapping_sub(1);
        let skips = entry.flags & SubmissionFlags::SKIP_SUCCESS.bits() != 0;
        if skips && outcome.is_ok() {
            return;
        }
        let completion = Completion::new(entry, outcome);
        ring.completions.put(machine, self.tail, completion);
        self.tail = self.tail.wrapping_add(1);
        self.posted += 1;
    }

    /// Releases what was taken and publishes what was posted: who finds a completion knows that its entry is
    /// not in the ring any more.
    #[inline(always)]
    pub(super) fn publish(&self, ring: &SubmissionRing<P>, machine: &P) {
        ring.submissions.release(machine, self.head);
        ring.completions.publish(machine, self.tail);
    }
}
