//! Ring memory of loom's atomics, so that the model checker runs the very code of both ends.
//!
//! Same types and methods as the real one, save that the constructors are safe. Payload is relaxed words: a missing
//! acquire or release shows as bytes of a lap before.

use core::sync::atomic::Ordering;
use std::vec::Vec;

use abi::ring::{End, EndState, Geometry};
use loom::sync::Arc;

use crate::Error;
use crate::sync::{AtomicU32, AtomicU64, PeerWord};
use crate::words::copy_out;

struct Slot {
    word: AtomicU64,
    payload: Vec<AtomicU64>,
}

struct View {
    geometry: Geometry,
    states: [AtomicU32; 2],
    indices: [AtomicU32; 2],
    waits_until: [AtomicU32; 2],
    slots: Vec<Slot>,
}

impl View {
    fn slot(&self, index: u32) -> &Slot {
        &self.slots[(index & (self.geometry.capacity - 1)) as usize]
    }
}

/// The kernel's part.
#[derive(Clone)]
pub struct Owner(Arc<View>);

impl Owner {
    /// A ring whose slots have `payload_words` words that can be used, since loom pays for each.
    pub fn model(geometry: Geometry, start: u32, payload_words: usize) -> Self {
        let pair = |value: u32| [AtomicU32::new(value), AtomicU32::new(value)];
        let slots = (0..geometry.capacity).map(|position| Slot {
            word: AtomicU64::new(geometry.initial_word(start, position)),
            payload: (0..payload_words).map(|_| AtomicU64::new(0)).collect(),
        });
        Self(Arc::new(View {
            geometry,
            states: pair(EndState::Open as u32),
            indices: pair(start),
            waits_until: pair(start),
            slots: slots.collect(),
        }))
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

    pub(crate) fn check_header(&self) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn state(&self, end: End) -> PeerWord<'_, AtomicU32> {
        PeerWord(&self.0.states[end as usize])
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
        PeerWord(&self.0.waits_until[End::Consumer as usize])
    }

    pub(crate) fn slot_word(&self, index: u32) -> &AtomicU64 {
        &self.0.slot(index).word
    }

    pub(crate) fn write_payload(&mut self, index: u32, offset: usize, bytes: &[u8]) {
        assert!(offset.is_multiple_of(8), "the model writes whole words");
        let words = &self.0.slot(index).payload[offset / 8..];
        for (word, chunk) in words.iter().zip(bytes.chunks(8)) {
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
        }
    }
}

/// A view as the consumer may use it.
pub struct ConsumerMemory(Arc<View>);

impl ConsumerMemory {
    pub(crate) fn geometry(&self) -> Geometry {
        self.0.geometry
    }

    pub(crate) fn check_header(&self) -> Result<(), Error> {
        Ok(())
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
        PeerWord(&self.0.waits_until[End::Producer as usize])
    }

    pub(crate) fn slot_word(&self, index: u32) -> PeerWord<'_, AtomicU64> {
        PeerWord(&self.0.slot(index).word)
    }

    pub(crate) fn read_payload(&self, index: u32, offset: usize, target: &mut [u8]) {
        copy_out(|word| &self.0.slot(index).payload[word], offset, target);
    }
}
