//! Ring memory as each role may touch it: the only module of this crate with `unsafe` in it.
//!
//! A role's type has exactly the accesses that the role's page tables allow. Words that somebody else writes are reached
//! as atomics and never as plain references; payload becomes a slice only for the producer, the only one who writes it.
#![allow(unsafe_code)]

use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use abi::ring::{
    CONSUMER_OFFSET, DATA_OFFSET, End, EndState, Form, Geometry, HEADER_OFFSET, Header, IndexPage,
    Kind, PAGE_BYTES, PRODUCER_OFFSET, SLOT_HEAD_BYTES,
};

use crate::Error;
use crate::sync::{AtomicU32, AtomicU64, PeerWord};
use crate::words::copy_out;

pub mod trace;

/// A view and the private copy of its geometry.
///
/// Invariant: `base` is page-aligned, the bytes from `base` to the end of the first copy of the data are mapped and
/// readable while this lives, every word in them was written at least once, and `geometry` was checked.
struct View {
    base: NonNull<u8>,
    geometry: Geometry,
}

impl View {
    /// # Safety
    /// The invariant of [`View`] holds for `base` if `geometry` is possible.
    unsafe fn new(base: NonNull<u8>, geometry: Geometry) -> Result<Self, Error> {
        if geometry.check().is_err() || !base.addr().get().is_multiple_of(PAGE_BYTES) {
            return Err(Error::Invalid);
        }
        if geometry.kind != Kind::Slot {
            return Err(Error::Unsupported);
        }
        Ok(Self { base, geometry })
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        debug_assert!(offset.is_multiple_of(4) && offset + 4 <= DATA_OFFSET);
        // SAFETY: all callers pass the constant offset of an aligned word of H, P or C, which the view contains; shared
        // words are accessed only atomically.
        unsafe { AtomicU32::from_ptr(self.base.add(offset).cast().as_ptr()) }
    }

    fn state(&self, end: End) -> &AtomicU32 {
        self.word(HEADER_OFFSET + Header::state_offset(end))
    }

    fn index(&self, end: End) -> &AtomicU32 {
        self.word(IndexPage::offset(end) + offset_of!(IndexPage, index))
    }

    fn waits_until(&self, end: End) -> &AtomicU32 {
        self.word(IndexPage::offset(end) + offset_of!(IndexPage, waits_until))
    }

    /// The first byte of the slot of `index`; the index is reduced, so that any is in range.
    fn slot(&self, index: u32) -> NonNull<u8> {
        let position = index & (self.geometry.capacity - 1);
        // SAFETY: `position < capacity`, so the slot lies within the data, which the view contains.
        unsafe {
            self.base
                .add(DATA_OFFSET + self.geometry.slot_offset(position) as usize)
        }
    }

    fn slot_word(&self, index: u32) -> &AtomicU64 {
        // SAFETY: the slot lies in the view and is 64-byte aligned; its first word is accessed only atomically.
        unsafe { AtomicU64::from_ptr(self.slot(index).cast().as_ptr()) }
    }

    fn payload(&self, index: u32) -> NonNull<u8> {
        // SAFETY: a slot has at least `SLOT_ALIGN` bytes, more than its head.
        unsafe { self.slot(index).add(SLOT_HEAD_BYTES) }
    }

    fn read_payload(&self, index: u32, offset: usize, target: &mut [u8]) {
        let length = self.geometry.max_message_bytes();
        assert!(offset <= length && target.len() <= length - offset);
        let payload = self.payload(index).cast::<u64>();
        // SAFETY: the words asked for hold a byte below `length`, which is a multiple of 8, so they lie in the slot,
        // aligned. This side reads payload only through atomics, and in one process with an honest producer only
        // after SYNC(ring.publish), so that no plain write of it is concurrent.
        copy_out(
            |word| unsafe { AtomicU64::from_ptr(payload.add(word).as_ptr()) },
            offset,
            target,
        );
    }

    /// Whether the header is complete and tells of this geometry.
    fn check_header(&self) -> Result<(), Error> {
        let field = |offset| PeerWord(self.word(HEADER_OFFSET + offset)).load_acquire();
        // SYNC(ring.format): the magic comes last.
        if field(offset_of!(Header, magic)) != abi::ring::MAGIC
            || field(offset_of!(Header, version)) != abi::ring::VERSION
            || field(offset_of!(Header, kind)) != self.geometry.kind as u32
            || field(offset_of!(Header, slot_size)) != self.geometry.slot_size
            || field(offset_of!(Header, capacity)) != self.geometry.capacity
        {
            return Err(Error::Invalid);
        }
        match Form::from_raw(field(offset_of!(Header, form))) {
            Some(Form::Symmetric) => Ok(()),
            Some(Form::Asymmetric) => Err(Error::Unsupported),
            None => Err(Error::Invalid),
        }
    }
}

/// A view as the producer may use it.
pub struct ProducerMemory(View);

// SAFETY: the memory belongs to no thread, and the role may be played from any one at a time.
unsafe impl Send for ProducerMemory {}

impl ProducerMemory {
    /// Takes the producer's role on the view at `base`.
    ///
    /// # Errors
    /// [`Error::Invalid`]: an impossible geometry or a base that is not page-aligned. [`Error::Unsupported`]: not a SLOT ring.
    ///
    /// # Safety
    /// While the result lives:
    /// - from `base` on, [`DATA_OFFSET`] plus [`Geometry::data_bytes`] bytes are mapped and readable, P and D writable too;
    ///   an access may end the program (as after a revocation), but it may not reach other memory;
    /// - each of these bytes has been initialised, as memory from the kernel is;
    /// - nobody but this value writes P and D, and nobody in this program has references to them. Writes that another *program* makes in
    ///   H and C at any time are fine;
    /// - what this program itself does with H and C, it does by the types of this module.
    pub unsafe fn from_raw(base: NonNull<u8>, geometry: Geometry) -> Result<Self, Error> {
        // SAFETY: the contract implies the invariant of a view.
        unsafe { View::new(base, geometry) }.map(Self)
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.0.geometry
    }

    pub(crate) fn check_header(&self) -> Result<(), Error> {
        self.0.check_header()
    }

    pub(crate) fn state(&self, end: End) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.state(end))
    }

    pub(crate) fn tail(&self) -> &AtomicU32 {
        self.0.index(End::Producer)
    }

    pub(crate) fn waits_until(&self) -> &AtomicU32 {
        self.0.waits_until(End::Producer)
    }

    pub(crate) fn head(&self) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.index(End::Consumer))
    }

    pub(crate) fn consumer_waits_until(&self) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.waits_until(End::Consumer))
    }

    pub(crate) fn slot_word(&self, index: u32) -> &AtomicU64 {
        self.0.slot_word(index)
    }

    pub(crate) fn write_payload(&mut self, index: u32, offset: usize, bytes: &[u8]) {
        let length = self.0.geometry.max_message_bytes();
        assert!(offset <= length && bytes.len() <= length - offset);
        // SAFETY: the target lies in the slot of `index`. Only this value writes D; an honest consumer in this program
        // reads the slot only after it is published and before SYNC(ring.release), and the caller writes outside of that
        // time. `bytes` cannot overlap it: references to D exist only as borrows of `self`.
        unsafe {
            self.0
                .payload(index)
                .add(offset)
                .copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
    }

    /// The first `length` payload bytes of a slot that the consumer has given back.
    pub(crate) fn payload_mut(&mut self, index: u32, length: usize) -> &mut [u8] {
        assert!(length <= self.0.geometry.max_message_bytes());
        // SAFETY: the bytes lie in the slot and are initialised. Nobody else may write D, so the reference is exclusive
        // among writers; the caller hands it out only while the slot is free, when an honest consumer in this program
        // does not read it. A hostile consumer is another program: its reads cannot be observed here.
        unsafe { NonNull::slice_from_raw_parts(self.0.payload(index), length).as_mut() }
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

    pub(crate) fn geometry(&self) -> Geometry {
        self.0.geometry
    }

    pub(crate) fn check_header(&self) -> Result<(), Error> {
        self.0.check_header()
    }

    pub(crate) fn state(&self, end: End) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.state(end))
    }

    pub(crate) fn head(&self) -> &AtomicU32 {
        self.0.index(End::Consumer)
    }

    pub(crate) fn waits_until(&self) -> &AtomicU32 {
        self.0.waits_until(End::Consumer)
    }

    pub(crate) fn tail(&self) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.index(End::Producer))
    }

    pub(crate) fn producer_waits_until(&self) -> PeerWord<'_, AtomicU32> {
        PeerWord(self.0.waits_until(End::Producer))
    }

    pub(crate) fn slot_word(&self, index: u32) -> PeerWord<'_, AtomicU64> {
        PeerWord(self.0.slot_word(index))
    }

    pub(crate) fn read_payload(&self, index: u32, offset: usize, target: &mut [u8]) {
        self.0.read_payload(index, offset, target);
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
    /// Makes a symmetric ring, whose ends begin at index `start`, of the memory at `base`.
    ///
    /// # Errors
    /// As [`ProducerMemory::from_raw`].
    ///
    /// # Safety
    /// While the result lives, [`DATA_OFFSET`] plus [`Geometry::data_bytes`] bytes from `base` on are mapped, initialised
    /// and writable; nobody else writes H; and no end is attached before this returns.
    pub unsafe fn format(
        base: NonNull<u8>,
        geometry: Geometry,
        start: u32,
        epoch: u32,
    ) -> Result<Self, Error> {
        // SAFETY: the contract implies the invariant of a view.
        let view = unsafe { View::new(base, geometry) }?;
        for position in 0..geometry.capacity {
            view.slot_word(position)
                .store(geometry.initial_word(start, position), Ordering::Relaxed);
        }
        let header = Header {
            magic: 0,
            ..Header::new(geometry, Form::Symmetric, start, epoch)
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
