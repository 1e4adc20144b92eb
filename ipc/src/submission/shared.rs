//! The memory of a submission ring, as the kernel reaches it: fixed frames, which are there until the
//! ring is gone and nobody serves it (S4).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::offset_of;

use abi::Error;
use abi::limits::PAGE_SIZE;
use abi::ring::IndexPage;
use abi::submission::{
    COMPLETION_BYTES, Completion, ENTRY_BYTES, MAGIC, Submission, SubmissionHeader, VERSION,
};
use mm::{Frame, Region};

use crate::Platform;

/// Pages before the data.
const CONTROL_PAGES: usize = 3;

/// The pages that the two sides of a ring write.
const HEADER: usize = 0;
const PRODUCER: usize = 1;
const CONSUMER: usize = 2;

/// One of the two rings.
pub(crate) struct Half {
    pub(super) region: Arc<Region>,
    frames: Box<[Frame]>,
    /// Its entries less 1.
    mask: u32,
}

impl Half {
    /// What is in a new region, laid out for `capacity` entries of `size` bytes, of which the first has the index
    /// `start`. `NoMemory`.
    pub(super) fn lay_out<P: Platform>(
        machine: &P,
        region: &Arc<Region>,
        (capacity, size): (u32, u32),
        start: u32,
    ) -> Result<Half, Error> {
        let count = CONTROL_PAGES + data_pages(capacity, size) as usize;
        let mut frames = Vec::new();
        frames
            .try_reserve_exact(count)
            .map_err(|_| Error::NoMemory)?;
        for index in 0..count {
            frames.push(region.fixed_frame(index).ok_or(Error::NoMemory)?);
        }
        let words = [
            (offset_of!(SubmissionHeader, version), VERSION),
            (offset_of!(SubmissionHeader, entry_size), size),
            (offset_of!(SubmissionHeader, capacity), capacity),
            (offset_of!(SubmissionHeader, magic), MAGIC),
        ];
        for (offset, word) in words {
            machine.store_u32(frames[HEADER], offset, word);
        }
        let half = Half {
            region: region.clone(),
            frames: frames.into_boxed_slice(),
            mask: capacity - 1,
        };
        half.publish(machine, start);
        half.release(machine, start);
        Ok(half)
    }

    /// How many entries it has room for.
    pub(super) fn capacity(&self) -> u32 {
        self.mask + 1
    }

    /// The frame and the offset of the entry of an index.
    #[inline(always)]
    fn place(&self, index: u32, size: u32) -> (Frame, usize) {
        let at = (index & self.mask) as usize * size as usize;
        let page = PAGE_SIZE as usize;
        (self.frames[CONTROL_PAGES + at / page], at % page)
    }

    /// A copy of an entry. Whoever writes it meanwhile is the process itself.
    #[inline(always)]
    pub(super) fn entry<P: Platform>(&self, machine: &P, index: u32) -> Submission {
        let (frame, offset) = self.place(index, ENTRY_BYTES);
        let mut bytes = [0; ENTRY_BYTES as usize];
        machine.read(frame, offset, &mut bytes);
        Submission::from_bytes(&bytes)
    }

    /// Writes a completion, which nobody reads before the tail has moved.
    #[inline(always)]
    pub(super) fn put<P: Platform>(&self, machine: &P, index: u32, completion: Completion) {
        let (frame, offset) = self.place(index, COMPLETION_BYTES);
        machine.write(frame, offset, &completion.to_bytes());
    }

    /// What the producing side has published.
    #[inline(always)]
    pub(super) fn tail<P: Platform>(&self, machine: &P) -> u32 {
        // SYNC(submission.tail): the entries before it are there.
        machine.load_u32(self.frames[PRODUCER], offset_of!(IndexPage, index))
    }

    /// What the consuming side has released.
    #[inline(always)]
    pub(super) fn head<P: Platform>(&self, machine: &P) -> u32 {
        // SYNC(submission.head): the consumer reads no cell before it any more.
        machine.load_u32(self.frames[CONSUMER], offset_of!(IndexPage, index))
    }

    /// Publishes what is before an index.
    #[inline(always)]
    pub(super) fn publish<P: Platform>(&self, machine: &P, tail: u32) {
        // SYNC(submission.tail)
        machine.store_u32(self.frames[PRODUCER], offset_of!(IndexPage, index), tail);
    }

    /// Releases what is before an index.
    #[inline(always)]
    pub(super) fn release<P: Platform>(&self, machine: &P, head: u32) {
        // SYNC(submission.head)
        machine.store_u32(self.frames[CONSUMER], offset_of!(IndexPage, index), head);
    }

    /// Tells the process what there is to be noted.
    pub(super) fn note<P: Platform>(&self, machine: &P, notes: u32) {
        let offset = offset_of!(SubmissionHeader, notes);
        machine.store_u32(self.frames[HEADER], offset, notes);
    }
}

/// Pages that so many entries take.
pub(super) fn data_pages(capacity: u32, size: u32) -> u64 {
    (u64::from(capacity) * u64::from(size)).div_ceil(PAGE_SIZE)
}
