//! Where the words and the bytes of a ring are, whoever looks.
//!
//! What is reached by an index is in range whatever the index is; what is reached by a place or a length is checked here,
//! once more than the ends do, so that no mistake of theirs leads out of the ring.

use core::mem::offset_of;
use core::ptr::NonNull;

use abi::ring::{
    DATA_OFFSET, End, Form, Geometry, HEADER_OFFSET, Header, IndexPage, Kind, PAGE_BYTES,
    SLOT_ALIGN, SLOT_HEAD_BYTES, packet,
};

use super::copy;
use crate::Error;
use crate::sync::{AtomicU32, AtomicU64, PeerWord};

/// A view and the private copy of its geometry.
///
/// Invariant: `base` is page-aligned, the bytes from `base` to the end of the data are mapped and readable while this
/// lives, every word in them was written at least once, and `geometry` was checked. Where the kind has no slots, the same
/// data follows once more. Places in the data are offsets from its beginning, below [`Geometry::contiguous_bytes`].
#[derive(Clone, Copy)]
pub(super) struct View {
    base: NonNull<u8>,
    pub(super) geometry: Geometry,
    /// [`Geometry::contiguous_bytes`] of it.
    data_end: usize,
    /// What reduces an index: a capacity is a power of two.
    mask: u32,
    /// So many bytes from a reduced index on are in the data, where bytes are counted; 0 in a ring of slots.
    reach: usize,
    /// From one slot to the next; 0 where there are none.
    stride: usize,
}

/// So many bytes from any reduced index on are in the data of any ring: it has at least as many for each index.
const NEAR: usize = SLOT_ALIGN as usize;

impl View {
    /// # Safety
    /// The invariant of [`View`] holds for `base` if `geometry` is possible.
    pub(super) unsafe fn new(base: NonNull<u8>, geometry: Geometry) -> Result<Self, Error> {
        if geometry.check().is_err() || !base.addr().get().is_multiple_of(PAGE_BYTES) {
            return Err(Error::Invalid);
        }
        let data_end = geometry.contiguous_bytes() as usize;
        let reach = match geometry.kind {
            Kind::Slot => 0,
            Kind::Byte | Kind::Packet => geometry.capacity as usize,
        };
        Ok(Self {
            base,
            geometry,
            data_end,
            mask: geometry.capacity - 1,
            reach,
            stride: geometry.slot_size as usize,
        })
    }

    #[inline]
    pub(super) fn word(&self, offset: usize) -> &AtomicU32 {
        debug_assert!(offset.is_multiple_of(4) && offset + 4 <= DATA_OFFSET);
        // SAFETY: all callers pass the constant offset of an aligned word of H, P or C, which the view contains; shared
        // words are accessed only atomically.
        unsafe { AtomicU32::from_ptr(self.base.add(offset).cast().as_ptr()) }
    }

    #[inline]
    pub(super) fn state(&self, end: End) -> &AtomicU32 {
        self.word(HEADER_OFFSET + Header::state_offset(end))
    }

    /// The capacity that the header tells of now.
    pub(super) fn shared_capacity(&self) -> u32 {
        PeerWord(self.word(HEADER_OFFSET + offset_of!(Header, capacity))).load_relaxed()
    }

    /// Whether the states of both ends are these, the producer's in the low half.
    #[inline(always)]
    pub(super) fn states_are(&self, expected: u64) -> bool {
        const { assert!(Header::state_offset(End::Consumer) == Header::state_offset(End::Producer) + 4) };
        // SAFETY: both are words of H, one behind the other, which the view contains.
        unsafe {
            copy::are::<{ HEADER_OFFSET + Header::state_offset(End::Producer) }>(
                self.base.as_ptr(),
                expected,
            )
        }
    }

    #[inline]
    pub(super) fn index(&self, end: End) -> &AtomicU32 {
        self.word(IndexPage::offset(end) + offset_of!(IndexPage, index))
    }

    #[inline]
    pub(super) fn waits_until(&self, end: End) -> &AtomicU32 {
        self.word(IndexPage::offset(end) + offset_of!(IndexPage, waits_until))
    }

    /// The first of `length` bytes at `place` in the data.
    #[inline]
    pub(super) fn data(&self, place: usize, length: usize) -> NonNull<u8> {
        assert!(place <= self.data_end && length <= self.data_end - place);
        // SAFETY: the bytes lie within the data, which the view contains.
        unsafe { self.base.add(DATA_OFFSET + place) }
    }

    /// Where in the data the slot of `index` begins, which is reduced, so that any is in range. It is in the data whole; where
    /// there are no slots the place is 0.
    #[inline(always)]
    fn slot_place(&self, index: u32) -> usize {
        (index & self.mask) as usize * self.stride
    }

    /// The beginning of the slot of `index`.
    #[inline(always)]
    fn slot(&self, index: u32) -> NonNull<u8> {
        // SAFETY: a place in the data.
        unsafe { self.base.add(DATA_OFFSET + self.slot_place(index)) }
    }

    /// Refuses a message of `length` bytes, as many as a slice has, that is longer than a slot has room for.
    #[inline(always)]
    fn check_in_slot(&self, length: usize) {
        let end = SLOT_HEAD_BYTES + length;
        // Of a length that is known when this is compiled, only one of the two is asked.
        assert!(end <= SLOT_ALIGN as usize || end <= self.stride);
    }

    /// The word at the beginning of the slot of `index`.
    #[inline(always)]
    pub(super) fn slot_word(&self, index: u32) -> &AtomicU64 {
        // SAFETY: a slot has room for its word, and a checked size keeps it aligned; while it is shared it is accessed only
        // atomically.
        unsafe { AtomicU64::from_ptr(self.slot(index).cast().as_ptr()) }
    }

    /// The first of `length` bytes, as many as a slice has, of the payload of the slot of `index`.
    #[inline(always)]
    pub(super) fn slot_payload(&self, index: u32, length: usize) -> NonNull<u8> {
        self.check_in_slot(length);
        // SAFETY: it lies within the slot: none is shorter than what its size is a multiple of, if there are slots at all,
        // and `NEAR` says it where there are none.
        unsafe { self.slot(index).add(SLOT_HEAD_BYTES) }
    }

    /// The place that is `offset` behind `index` where bytes are counted, and the first of `length` bytes there, as many as
    /// a slice has.
    #[inline(always)]
    pub(super) fn behind(&self, index: u32, offset: u32, length: usize) -> (usize, NonNull<u8>) {
        let end = offset as usize + length;
        // Of a length that is known when this is compiled, only one of the two is asked.
        assert!(end <= NEAR || end <= self.reach);
        let place = (index & self.mask) as usize + offset as usize;
        // SAFETY: the bytes lie near a reduced index, or within `reach` of it.
        (place, unsafe { self.base.add(DATA_OFFSET + place) })
    }

    /// The same for a length that is not.
    #[inline(always)]
    pub(super) fn far_behind(
        &self,
        index: u32,
        offset: u32,
        length: usize,
    ) -> (usize, NonNull<u8>) {
        assert!(offset as usize + length <= self.reach);
        let place = (index & self.mask) as usize + offset as usize;
        // SAFETY: the bytes lie within `reach` of a reduced index.
        (place, unsafe { self.base.add(DATA_OFFSET + place) })
    }

    /// The place of the record at `index`. So rounded, a word there is below the capacity in bytes if that is a page or more,
    /// and there are 64 bytes for each of a smaller one.
    #[inline(always)]
    fn head_place(&self, index: u32) -> usize {
        (index & self.mask & !(packet::ALIGN - 1)) as usize
    }

    /// The place of the record at `index`, and its head.
    #[inline(always)]
    pub(super) fn head(&self, index: u32) -> (usize, NonNull<u64>) {
        let place = self.head_place(index);
        // SAFETY: a word in the data.
        (place, unsafe { self.base.add(DATA_OFFSET + place).cast() })
    }

    /// The form, if the header is complete and tells of this geometry.
    pub(super) fn check_header(&self) -> Result<Form, Error> {
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
        Form::from_raw(field(offset_of!(Header, form))).ok_or(Error::Invalid)
    }

    pub(super) fn epoch(&self) -> u32 {
        PeerWord(self.word(HEADER_OFFSET + offset_of!(Header, epoch))).load_relaxed()
    }
}

/// The slot of an index. The base is taken along, since what is loaded before a look at a word of the peer is loaded again
/// after it.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    view: &'a View,
    base: NonNull<u8>,
    /// Where in the data it begins.
    place: usize,
}

impl<'a> Slot<'a> {
    #[inline(always)]
    pub(super) fn new(view: &'a View, index: u32) -> Self {
        let (base, place) = (view.base, view.slot_place(index));
        Self { view, base, place }
    }

    /// Its word. Who sees the sequence of an index in it sees the payload.
    #[inline(always)]
    pub(crate) fn word(self) -> u64 {
        // SAFETY: as for `slot_word`; the base is that of the view.
        let word = unsafe { self.base.add(DATA_OFFSET + self.place).cast().as_ptr() };
        // SAFETY: as above.
        // SYNC(ring.publish): who sees the word sees the payload.
        PeerWord(unsafe { AtomicU64::from_ptr(word) }).load_acquire()
    }

    /// Copies out of the beginning of its payload, which somebody else may be writing.
    #[inline(always)]
    pub(crate) fn read(self, target: &mut [u8]) {
        if let Ok(word) = <&mut [u8; 8]>::try_from(&mut *target) {
            // SAFETY: the first 8 bytes behind the word lie in the slot, none of which is shorter than `NEAR`, or near the
            // place 0 where there are none.
            let loaded = unsafe {
                copy::load_8::<{ DATA_OFFSET + SLOT_HEAD_BYTES }>(self.base.as_ptr(), self.place)
            };
            *word = loaded.to_ne_bytes();
            return;
        }
        self.view.check_in_slot(target.len());
        // SAFETY: so many bytes lie in the slot, and the target is a reference to other memory. In one process with an honest
        // producer this is only after SYNC(ring.publish), so that no plain write of it is concurrent.
        unsafe {
            let source = self.base.add(DATA_OFFSET + SLOT_HEAD_BYTES + self.place);
            copy::copy_out(source.as_ptr(), target.as_mut_ptr(), target.len());
        }
    }
}

/// What is at an index where bytes are counted, before it is known to be there. The base is taken along, as in a [`Slot`].
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    view: &'a View,
    base: NonNull<u8>,
    index: u32,
}

impl<'a> At<'a> {
    #[inline(always)]
    pub(super) fn new(view: &'a View, index: u32) -> Self {
        let base = view.base;
        Self { view, base, index }
    }

    /// The head of the record that begins here.
    #[inline(always)]
    pub(crate) fn head(self) -> u64 {
        let place = self.view.head_place(self.index);
        // SAFETY: as for `head` of the view, whose base this is.
        let word = unsafe { self.base.add(DATA_OFFSET + place).cast().as_ptr() };
        // SAFETY: the word lies in the data and is aligned; while it is shared it is read only as an atomic.
        PeerWord(unsafe { AtomicU64::from_ptr(word) }).load_relaxed()
    }

    /// Copies out of what somebody else may be writing.
    #[inline(always)]
    pub(crate) fn read(self, target: &mut [u8]) {
        self.read_from::<DATA_OFFSET>(target);
    }

    /// The same of what is behind the head of a record.
    #[inline(always)]
    pub(crate) fn read_packed(self, target: &mut [u8]) {
        self.read_from::<{ DATA_OFFSET + packet::HEAD_BYTES as usize }>(target);
    }

    /// The same of what is so far behind the index, `FROM` having what is before the data in it.
    #[inline(always)]
    fn read_from<const FROM: usize>(self, target: &mut [u8]) {
        const { assert!(FROM - DATA_OFFSET + 8 <= NEAR) };
        if let Ok(word) = <&mut [u8; 8]>::try_from(&mut *target) {
            let place = (self.index & self.view.mask) as usize;
            // SAFETY: 8 bytes lie near a reduced index.
            let loaded = unsafe { copy::load_8::<FROM>(self.base.as_ptr(), place) };
            *word = loaded.to_ne_bytes();
            return;
        }
        self.read_behind((FROM - DATA_OFFSET) as u32, target);
    }

    /// The same `offset` behind the index.
    #[inline(always)]
    pub(crate) fn read_behind(self, offset: u32, target: &mut [u8]) {
        let (_, source) = self.view.far_behind(self.index, offset, target.len());
        // SAFETY: `far_behind` keeps the source in the data, and the target is a reference to other memory. In one process with an
        // honest producer this is only after SYNC(ring.publish), so that no plain write of it is concurrent.
        unsafe { copy::copy_out(source.as_ptr(), target.as_mut_ptr(), target.len()) };
    }
}
