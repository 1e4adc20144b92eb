//! Ring memory of loom's atomics, so that the model checker runs the very code of both ends.
//!
//! Same types and methods as the real one, save that the constructors are safe. Payload is relaxed words: a missing
//! acquire or release shows as bytes of a lap before.

use core::sync::atomic::Ordering;
use std::vec::Vec;

use abi::ring::{End, EndState, Form, Geometry, Kind, SLOT_HEAD_BYTES, packet};
use loom::sync::Arc;

use crate::Error;
use crate::sync::{AtomicU32, AtomicU64, PeerWord};

const WORD_BYTES: usize = size_of::<u64>();

/// What a CPU may be interrupted for.
type Interrupt = std::boxed::Box<dyn Fn() + Send + Sync>;

struct View {
    geometry: Geometry,
    form: Form,
    interrupt: Interrupt,
    states: [AtomicU32; 2],
    indices: [AtomicU32; 2],
    waits_until: [AtomicU32; 2],
    /// Words that a slot has here, its head included.
    slot_words: usize,
    data: Vec<AtomicU64>,
}

impl View {
    /// The word that holds the byte at `place`. The data follows itself, as it is mapped twice.
    fn word(&self, place: usize) -> &AtomicU64 {
        let word = match self.geometry.kind {
            Kind::Slot => {
                let size = self.geometry.slot_size as usize;
                let within = place % size / WORD_BYTES;
                assert!(within < self.slot_words, "the model has fewer words a slot");
                place / size * self.slot_words + within
            }
            Kind::Byte | Kind::Packet => place / WORD_BYTES,
        };
        &self.data[word % self.data.len()]
    }

    /// Where the slot of `index` begins, or what is so many bytes behind an index where bytes are counted.
    fn place(&self, index: u32, offset: usize) -> usize {
        let position = index & (self.geometry.capacity - 1);
        match self.geometry.kind {
            Kind::Slot => self.geometry.slot_offset(position) as usize + offset,
            Kind::Byte | Kind::Packet => position as usize + offset,
        }
    }

    fn read(&self, place: usize, target: &mut [u8]) {
        let mut loaded = None;
        for (place, target) in (place..).zip(target) {
            let (word, bytes) = match loaded {
                Some((word, bytes)) if word == place / WORD_BYTES => (word, bytes),
                _ => {
                    let bytes = self.word(place).load(Ordering::Relaxed).to_ne_bytes();
                    (place / WORD_BYTES, bytes)
                }
            };
            loaded = Some((word, bytes));
            *target = bytes[place % WORD_BYTES];
        }
    }

    fn write(&self, place: usize, bytes: &[u8]) {
        let mut rest = bytes;
        let mut place = place;
        while !rest.is_empty() {
            let within = place % WORD_BYTES;
            let (now, later) = rest.split_at(rest.len().min(WORD_BYTES - within));
            // Only the producer writes, so nothing is lost between the load and the store.
            let word = self.word(place);
            let mut value = word.load(Ordering::Relaxed).to_ne_bytes();
            value[within..within + now.len()].copy_from_slice(now);
            word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
            place += now.len();
            rest = later;
        }
    }
}

/// The kernel's part.
#[derive(Clone)]
pub struct Owner(Arc<View>);

impl Owner {
    /// A symmetric ring. Slots have `payload_words` words that can be used, since loom pays for each; for the same reason
    /// the other kinds may be smaller than a page.
    pub fn model(geometry: Geometry, start: u32, payload_words: usize) -> Self {
        Self::make(Form::Symmetric, geometry, (start, payload_words), || {})
    }

    /// The same of an asymmetric ring. `interrupt` is called between what an end publishes and its look for a sleeper,
    /// where there is no fence: by it a kernel has the CPU execute one.
    pub fn asymmetric(
        geometry: Geometry,
        start: u32,
        payload_words: usize,
        interrupt: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::make(
            Form::Asymmetric,
            geometry,
            (start, payload_words),
            interrupt,
        )
    }

    fn make(
        form: Form,
        geometry: Geometry,
        (start, payload_words): (u32, usize),
        interrupt: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let pair = |value: u32| [AtomicU32::new(value), AtomicU32::new(value)];
        let slot_words = 1 + payload_words;
        let data = match geometry.kind {
            Kind::Slot => (0..geometry.capacity as usize * slot_words)
                .map(|word| match word % slot_words {
                    0 => geometry.initial_word(start, (word / slot_words) as u32),
                    _ => 0,
                })
                .map(AtomicU64::new)
                .collect(),
            Kind::Byte | Kind::Packet => (0..geometry.capacity as usize / WORD_BYTES)
                .map(|_| AtomicU64::new(0))
                .collect(),
        };
        Self(Arc::new(View {
            geometry,
            form,
            interrupt: std::boxed::Box::new(interrupt),
            states: pair(EndState::Open as u32),
            indices: pair(start),
            waits_until: pair(start),
            slot_words,
            data,
        }))
    }

    /// Stores an index as a hostile `end` would.
    pub fn overwrite_index(&self, end: End, index: u32) {
        self.0.indices[end as usize].store(index, Ordering::Release);
    }

    /// Stores a word of the data as a hostile producer would.
    pub fn overwrite_word(&self, place: usize, word: u64) {
        self.0.word(place).store(word, Ordering::Release);
    }

    /// The producer's role.
    pub fn producer(&self) -> ProducerMemory {
        ProducerMemory(self.0.clone())
    }

    /// The consumer's role.
    pub fn consumer(&self) -> ConsumerMemory {
        ConsumerMemory(self.0.clone())
    }

    /// Tells both ends about the state of `end`.
    pub fn set_state(&self, end: End, state: EndState) {
        // SYNC(ring.close)
        self.0.states[end as usize].store(state as u32, Ordering::Release);
    }

    /// The index that `end` last stored.
    pub fn index(&self, end: End) -> u32 {
        PeerWord(&self.0.indices[end as usize]).load_acquire()
    }

    /// The state that was last set for `end`.
    pub fn state(&self, end: End) -> EndState {
        let raw = self.0.states[end as usize].load(Ordering::Acquire);
        EndState::from_raw(raw).unwrap_or(EndState::Poisoned)
    }
}

/// A view as the producer may use it.
pub struct ProducerMemory(Arc<View>);

impl ProducerMemory {
    pub(crate) fn geometry(&self) -> Geometry {
        self.0.geometry
    }

    pub(crate) fn check_header(&self) -> Result<Form, Error> {
        Ok(self.0.form)
    }

    pub(crate) fn epoch(&self) -> u32 {
        1
    }

    pub(crate) fn state(&self, end: End) -> PeerWord<'_, AtomicU32> {
        PeerWord(&self.0.states[end as usize])
    }

    pub(crate) fn states_are(&self, expected: u64) -> bool {
        let [low, high] = [End::Producer, End::Consumer].map(|end| self.state(end).load_relaxed());
        u64::from(low) | u64::from(high) << 32 == expected
    }

    pub(crate) fn tail(&self) -> &AtomicU32 {
        &self.0.indices[End::Producer as usize]
    }

    pub(crate) fn waits_until(&self) -> &AtomicU32 {
        &self.0.waits_until[End::Producer as usize]
    }

    pub(crate) fn head(&self) -> PeerWord<'_, AtomicU32> {
        PeerWord(&self.0.indices[End::Consumer as usize])
    }

    pub(crate) fn consumer_waits_until(&self) -> PeerWord<'_, AtomicU32> {
        (self.0.interrupt)();
        PeerWord(&self.0.waits_until[End::Consumer as usize])
    }

    pub(crate) fn slot_word(&self, index: u32) -> &AtomicU64 {
        self.0.word(self.0.place(index, 0))
    }

    pub(crate) fn publish_slot(&mut self, index: u32, bytes: &[u8], word: u64, tail: u32) {
        self.0.write(self.0.place(index, SLOT_HEAD_BYTES), bytes);
        // SYNC(ring.publish)
        self.slot_word(index).store(word, Ordering::Release);
        self.tail().store(tail, Ordering::Release);
    }

    pub(crate) fn publish_at(&mut self, index: u32, bytes: &[u8], tail: u32) {
        self.0.write(self.0.place(index, 0), bytes);
        // SYNC(ring.publish)
        self.tail().store(tail, Ordering::Release);
    }

    pub(crate) fn write_record(&mut self, index: u32, head: u64, offset: u32, bytes: &[u8]) {
        self.write_head(index, head);
        self.0.write(self.0.place(index, offset as usize), bytes);
    }

    pub(crate) fn publish_record(
        &mut self,
        index: u32,
        (head, offset): (u64, u32),
        bytes: &[u8],
        tail: u32,
    ) {
        self.write_record(index, head, offset, bytes);
        // SYNC(ring.publish)
        self.tail().store(tail, Ordering::Release);
    }

    pub(crate) fn write_head(&mut self, index: u32, head: u64) {
        let word = self.0.word(self.0.place(index, 0));
        word.store(head, Ordering::Relaxed);
    }

    pub(crate) fn write(&mut self, place: usize, bytes: &[u8]) {
        self.0.write(place, bytes);
    }

    pub(crate) fn move_bytes(&mut self, from: usize, to: usize, length: usize) {
        let mut bytes = std::vec![0; length];
        self.0.read(from, &mut bytes);
        self.0.write(to, &bytes);
    }

    pub(crate) fn mirror(&mut self, _place: usize, _length: usize) {}
}

/// A view as the consumer may use it.
pub struct ConsumerMemory(Arc<View>);

impl ConsumerMemory {
    pub(crate) fn geometry(&self) -> Geometry {
        self.0.geometry
    }

    pub(crate) fn check_header(&self) -> Result<Form, Error> {
        Ok(self.0.form)
    }

    pub(crate) fn epoch(&self) -> u32 {
        1
    }

    pub(crate) fn state(&self, end: End) -> PeerWord<'_, AtomicU32> {
        PeerWord(&self.0.states[end as usize])
    }

    pub(crate) fn head(&self) -> &AtomicU32 {
        &self.0.indices[End::Consumer as usize]
    }

    pub(crate) fn waits_until(&self) -> &AtomicU32 {
        &self.0.waits_until[End::Consumer as usize]
    }

    pub(crate) fn tail(&self) -> PeerWord<'_, AtomicU32> {
        PeerWord(&self.0.indices[End::Producer as usize])
    }

    pub(crate) fn producer_waits_until(&self) -> PeerWord<'_, AtomicU32> {
        (self.0.interrupt)();
        PeerWord(&self.0.waits_until[End::Producer as usize])
    }

    pub(crate) fn slot(&self, index: u32) -> Slot<'_> {
        Slot(&self.0, index)
    }

    pub(crate) fn at(&self, index: u32) -> At<'_> {
        At(&self.0, index)
    }

    pub(crate) fn read(&self, place: usize, target: &mut [u8]) {
        self.0.read(place, target);
    }
}

/// The slot of an index.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a>(&'a View, u32);

impl Slot<'_> {
    pub(crate) fn word(self) -> u64 {
        // SYNC(ring.publish)
        PeerWord(self.0.word(self.0.place(self.1, 0))).load_acquire()
    }

    pub(crate) fn read(self, target: &mut [u8]) {
        self.0.read(self.0.place(self.1, SLOT_HEAD_BYTES), target);
    }
}

/// What is at an index where bytes are counted.
#[derive(Clone, Copy)]
pub(crate) struct At<'a>(&'a View, u32);

impl At<'_> {
    pub(crate) fn head(self) -> u64 {
        PeerWord(self.0.word(self.0.place(self.1, 0))).load_relaxed()
    }

    pub(crate) fn read(self, target: &mut [u8]) {
        self.read_behind(0, target);
    }

    pub(crate) fn read_packed(self, target: &mut [u8]) {
        self.read_behind(packet::HEAD_BYTES, target);
    }

    pub(crate) fn read_behind(self, offset: u32, target: &mut [u8]) {
        self.0.read(self.0.place(self.1, offset as usize), target);
    }
}
