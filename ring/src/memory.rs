//! Ring memory as each role may touch it: the only module of this crate with `unsafe` in it.
//!
//! A role's type has exactly the accesses that the role's page tables allow. Words that somebody else writes are reached
//! as atomics and never as plain references; payload becomes a slice only for the producer, the only one who writes it.
#![allow(unsafe_code)]

use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

#[cfg(doc)]
use abi::ring::DATA_OFFSET;
use abi::ring::{
    CONSUMER_OFFSET, End, EndState, Form, Geometry, HEADER_OFFSET, Header, IndexPage, Kind,
    PRODUCER_OFFSET,
};

use crate::Error;
use crate::sync::{AtomicU32, AtomicU64, PeerWord};

mod copy;
pub mod pool;
pub mod trace;
mod view;

use view::{At, Slot, View};

/// A view as the producer may use it.
pub struct ProducerMemory(View);

// SAFETY: the memory belongs to no thread, and the role may be played from any one at a time.
unsafe impl Send for ProducerMemory {}

impl ProducerMemory {
    /// Takes the producer's role on the view at `base`.
    ///
    /// # Errors
    /// [`Error::Invalid`]: an impossible geometry or a base that is not page-aligned.
    ///
    /// # Safety
    /// While the result lives:
    /// - from `base` on, [`DATA_OFFSET`] plus [`Geometry::contiguous_bytes`] bytes are mapped and readable, P and D writable
    ///   too; an access may end the program (as after a revocation), but it may not reach other memory;
    /// - where these are twice [`Geometry::data_bytes`], the second half of the data is the memory of the first (under
    ///   Miri, which can't map twice, it is other memory);
    /// - each of these bytes has been initialised, as memory from the kernel is;
    /// - nobody but this value writes P and D, and nobody in this program has references to them. Writes that another
    ///   *program* makes in H and C at any time are fine;
    /// - what this program itself does with H and C, it does by the types of this module.
    pub unsafe fn from_raw(base: NonNull<u8>, geometry: Geometry) -> Result<Self, Error> {
        // SAFETY: the contract implies the invariant of a view.
        unsafe { View::new(base, geometry) }.map(Self)
    }

    #[inline]
    pub(crate) fn geometry(&self) -> Geometry {
        self.0.geometry
    }

    pub(crate) fn check_header(&self) -> Result<Form, Error> {
        self.0.check_header()
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.0.epoch()
    }

    #[inline]
    pub(crate) fn state(&self, end: End) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.state(end))
    }

    /// Whether the states of both ends are these, the producer's in the low half: each is loaded relaxed.
    #[inline(always)]
    pub(crate) fn states_are(&self, expected: u64) -> bool {
        self.0.states_are(expected)
    }

    #[inline]
    pub(crate) fn tail(&self) -> &AtomicU32 {
        self.0.index(End::Producer)
    }

    #[inline]
    pub(crate) fn waits_until(&self) -> &AtomicU32 {
        self.0.waits_until(End::Producer)
    }

    #[inline]
    pub(crate) fn head(&self) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.index(End::Consumer))
    }

    #[inline]
    pub(crate) fn consumer_waits_until(&self) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.waits_until(End::Consumer))
    }

    /// The capacity that the header tells of now: what must not be used.
    pub(crate) fn shared_capacity(&self) -> u32 {
        self.0.shared_capacity()
    }

    /// The word of the slot of an index.
    #[inline]
    pub(crate) fn slot_word(&self, index: u32) -> &AtomicU64 {
        self.0.slot_word(index)
    }

    /// Fills the beginning of the payload of the slot of an index, stores its word, and then tells of the tail.
    #[inline(always)]
    pub(crate) fn publish_slot(&mut self, index: u32, bytes: &[u8], word: u64, tail: u32) {
        // Its own view: what is written may be anywhere, as far as the compiler knows.
        let view = self.0;
        let payload = view.slot_payload(index, bytes.len());
        // SAFETY: as for `write`.
        unsafe { copy::copy_in(bytes.as_ptr(), payload.as_ptr(), bytes.len()) };
        // SYNC(ring.publish): the payload is visible to who sees this word.
        view.slot_word(index).store(word, Ordering::Release);
        view.index(End::Producer).store(tail, Ordering::Release);
    }

    /// Writes bytes behind an index of a ring that counts them, and then tells of the tail.
    #[inline(always)]
    pub(crate) fn publish_at(&mut self, index: u32, bytes: &[u8], tail: u32) {
        // Its own view, as for `publish_slot`.
        let view = self.0;
        let (place, target) = view.behind(index, 0, bytes.len());
        // SAFETY: as for `write`.
        unsafe { copy::copy_in(bytes.as_ptr(), target.as_ptr(), bytes.len()) };
        self.mirror(place, bytes.len());
        // SYNC(ring.publish): what is before the tail is visible to who sees it.
        view.index(End::Producer).store(tail, Ordering::Release);
    }

    /// Writes the record at an index: its head, and `offset` behind that its payload.
    #[inline(always)]
    pub(crate) fn write_record(&mut self, index: u32, head: u64, offset: u32, bytes: &[u8]) {
        self.write_head(index, head);
        let (place, target) = self.0.behind(index, offset, bytes.len());
        // SAFETY: as for `write`.
        unsafe { copy::copy_in(bytes.as_ptr(), target.as_ptr(), bytes.len()) };
        self.mirror(place, bytes.len());
    }

    /// The same, and then tells of the tail.
    #[inline(always)]
    pub(crate) fn publish_record(
        &mut self,
        index: u32,
        (head, offset): (u64, u32),
        bytes: &[u8],
        tail: u32,
    ) {
        // Its own view, as for `publish_slot`.
        let mut own = Self(self.0);
        own.write_record(index, head, offset, bytes);
        // SYNC(ring.publish): what is before the tail is visible to who sees it.
        own.tail().store(tail, Ordering::Release);
    }

    /// Writes the head of the record at an index, which the tail publishes, as plainly as the payload beside it.
    #[inline(always)]
    pub(crate) fn write_head(&mut self, index: u32, head: u64) {
        let (place, target) = self.0.head(index);
        // SAFETY: as for `write`, and aligned, since every record begins at a multiple of 8.
        unsafe { target.write(head) };
        self.mirror(place, size_of::<u64>());
    }

    #[inline]
    pub(crate) fn write(&mut self, place: usize, bytes: &[u8]) {
        let target = self.0.data(place, bytes.len());
        // SAFETY: the target lies in the data. Only this value writes D; an honest consumer in this program reads a byte
        // only after it is published and before SYNC(ring.release), and the caller writes outside of that time. `bytes`
        // cannot overlap it: references to D exist only as borrows of `self`.
        unsafe { copy::copy_in(bytes.as_ptr(), target.as_ptr(), bytes.len()) };
        self.mirror(place, bytes.len());
    }

    /// Moves bytes that are not published to a place that may overlap.
    pub(crate) fn move_bytes(&mut self, from: usize, to: usize, length: usize) {
        let (source, target) = (self.0.data(from, length), self.0.data(to, length));
        // SAFETY: as for `write`, and both lie in the data.
        unsafe { target.copy_from(source, length) };
        self.mirror(to, length);
    }

    /// Bytes of the data that the consumer has given back. When they were written, [`ProducerMemory::mirror`].
    #[inline]
    pub(crate) fn bytes_mut(&mut self, place: usize, length: usize) -> &mut [u8] {
        let bytes = self.0.data(place, length);
        // SAFETY: the bytes lie in the data and are initialised. Nobody else may write D, so the reference is exclusive
        // among writers; the caller hands it out only while the bytes are free, when an honest consumer in this program
        // does not read them. A hostile consumer is another program: its reads cannot be observed here.
        unsafe { NonNull::slice_from_raw_parts(bytes, length).as_mut() }
    }

    /// Shows in the second half of the data what was written in the first, and the other way round, where the two are
    /// not the same memory.
    #[cfg(not(miri))]
    #[inline(always)]
    pub(crate) fn mirror(&mut self, _place: usize, _length: usize) {}

    #[cfg(miri)]
    pub(crate) fn mirror(&mut self, place: usize, length: usize) {
        if self.0.geometry.kind == Kind::Slot {
            return;
        }
        let half = self.0.geometry.data_bytes() as usize;
        let within = length.min(half - place.min(half));
        for (from, to, length) in [
            (place, place + half, within),
            (place + within, (place + within) % half, length - within),
        ] {
            if length > 0 {
                let (source, target) = (self.0.data(from, length), self.0.data(to, length));
                // SAFETY: as for `write`: what is not published may be written, in either half; they do not overlap.
                unsafe { source.copy_to_nonoverlapping(target, length) };
            }
        }
    }
}

/// A view as the consumer may use it.
pub struct ConsumerMemory(View);

// SAFETY: the memory belongs to no thread, and the role may be played from any one at a time.
unsafe impl Send for ConsumerMemory {}

impl ConsumerMemory {
    /// Takes the consumer's role on the view at `base`.
    ///
    /// # Errors
    /// As [`ProducerMemory::from_raw`].
    ///
    /// # Safety
    /// As for [`ProducerMemory::from_raw`], with C in place of P and D: nobody but this value writes C. Writes that
    /// another *program* makes in H, P and D at any time are fine.
    pub unsafe fn from_raw(base: NonNull<u8>, geometry: Geometry) -> Result<Self, Error> {
        // SAFETY: the contract implies the invariant of a view.
        unsafe { View::new(base, geometry) }.map(Self)
    }

    #[inline]
    pub(crate) fn geometry(&self) -> Geometry {
        self.0.geometry
    }

    pub(crate) fn check_header(&self) -> Result<Form, Error> {
        self.0.check_header()
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.0.epoch()
    }

    #[inline]
    pub(crate) fn state(&self, end: End) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.state(end))
    }

    #[inline]
    pub(crate) fn head(&self) -> &AtomicU32 {
        self.0.index(End::Consumer)
    }

    #[inline]
    pub(crate) fn waits_until(&self) -> &AtomicU32 {
        self.0.waits_until(End::Consumer)
    }

    #[inline]
    pub(crate) fn tail(&self) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.index(End::Producer))
    }

    #[inline]
    pub(crate) fn producer_waits_until(&self) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.waits_until(End::Producer))
    }

    /// The slot of an index, to be looked at and then read.
    #[inline(always)]
    pub(crate) fn slot(&self, index: u32) -> Slot<'_> {
        Slot::new(&self.0, index)
    }

    /// What is at an index of a ring that counts bytes, to be read once it is known to be there.
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> At<'_> {
        At::new(&self.0, index)
    }

    /// Copies out of what somebody else may be writing.
    #[inline]
    pub(crate) fn read(&self, place: usize, target: &mut [u8]) {
        let source = self.0.data(place, target.len());
        // SAFETY: the source lies in the data, the target is a reference to other memory. In one process with an honest
        // producer this is only after SYNC(ring.publish), so that no plain write of it is concurrent.
        unsafe { copy::copy_out(source.as_ptr(), target.as_mut_ptr(), target.len()) };
    }

    /// The capacity that the header tells of now: what must not be used.
    pub(crate) fn shared_capacity(&self) -> u32 {
        self.0.shared_capacity()
    }
}

/// The kernel's part, for whoever plays it where one mapping holds a whole ring: formats it, tells of its ends, looks at
/// its indices.
pub struct Owner(View);

// SAFETY: the memory belongs to no thread, and all accesses after `format` are atomic.
unsafe impl Send for Owner {}
// SAFETY: as above.
unsafe impl Sync for Owner {}

impl Owner {
    /// Makes a ring, whose ends begin at index `start`, of the memory at `base`.
    ///
    /// # Errors
    /// As [`ProducerMemory::from_raw`]; [`Error::Invalid`] too if a ring of this kind can't begin at `start`.
    ///
    /// # Safety
    /// While the result lives, [`DATA_OFFSET`] plus [`Geometry::data_bytes`] bytes from `base` on are mapped, initialised
    /// and writable; nobody else writes H; and no end is attached before this returns.
    pub unsafe fn format(
        base: NonNull<u8>,
        geometry: Geometry,
        form: Form,
        start: u32,
        epoch: u32,
    ) -> Result<Self, Error> {
        // SAFETY: the contract implies the invariant of a view, as far as an owner uses it.
        let view = unsafe { View::new(base, geometry) }?;
        if !geometry.allows_start(start) {
            return Err(Error::Invalid);
        }
        if geometry.kind == Kind::Slot {
            for position in 0..geometry.capacity {
                let word = geometry.initial_word(start, position);
                view.slot_word(position).store(word, Ordering::Relaxed);
            }
        }
        let header = Header {
            magic: 0,
            ..Header::new(geometry, form, start, epoch)
        };
        // SAFETY: the three pages are writable, aligned, and nobody is attached.
        unsafe {
            base.add(PRODUCER_OFFSET)
                .cast()
                .write(IndexPage::new(start));
            base.add(CONSUMER_OFFSET)
                .cast()
                .write(IndexPage::new(start));
            base.add(HEADER_OFFSET).cast().write(header);
        }
        // SYNC(ring.format): pairs with the loads of `check_header`.
        view.word(HEADER_OFFSET + offset_of!(Header, magic))
            .store(abi::ring::MAGIC, Ordering::Release);
        Ok(Self(view))
    }

    /// Tells both ends about the state of `end`. Whoever sleeps must be woken afterwards.
    pub fn set_state(&self, end: End, state: EndState) {
        // SYNC(ring.close): pairs with the loads of the state before the last look.
        self.0.state(end).store(state as u32, Ordering::Release);
    }

    /// The index that `end` last stored, for [`crate::index::wait_is_over`]. It may be anything.
    pub fn index(&self, end: End) -> u32 {
        PeerWord(self.0.index(end)).load_acquire()
    }

    /// The state that was last set for `end`.
    pub fn state(&self, end: End) -> EndState {
        EndState::from_raw(self.0.state(end).load(Ordering::Acquire)).unwrap_or(EndState::Poisoned)
    }
}
