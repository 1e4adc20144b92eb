//! As much memory as a submission ring needs, of which the words that two tasks share are loom's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use mm::{Entry, Frame, FrameMeta, FrameState};

/// Frames that there are.
const FRAMES: usize = 64;
/// The first that is given out.
const FIRST: u64 = 16;

/// Frames that were given out, and what is in them. Nothing is ever used again.
pub struct Memory {
    metas: Vec<FrameMeta>,
    contents: Mutex<Contents>,
}

/// Reads a word that is kept elsewhere.
type Show = Arc<dyn Fn() -> u32 + Send + Sync>;

#[derive(Default)]
struct Contents {
    taken: u64,
    entries: BTreeMap<(u64, usize), Entry>,
    words: BTreeMap<(u64, usize), Arc<AtomicU32>>,
    long_words: BTreeMap<(u64, usize), Arc<AtomicU64>>,
    bytes: BTreeMap<(u64, usize), u8>,
    shown: BTreeMap<(u64, usize), Show>,
}

fn free() -> FrameMeta {
    let meta = FrameMeta::new();
    meta.transition(FrameState::Reserved, FrameState::Free);
    meta
}

impl Memory {
    pub fn new() -> Memory {
        Memory {
            metas: (0..FRAMES).map(|_| free()).collect(),
            contents: Mutex::default(),
        }
    }

    fn with<R>(&self, look: impl FnOnce(&mut Contents) -> R) -> R {
        look(&mut self.contents.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn allocate(&self) -> Frame {
        self.with(|contents| {
            contents.taken += 1;
            Frame::from_number(FIRST + contents.taken - 1)
        })
    }

    pub fn meta(&self, frame: Frame) -> &FrameMeta {
        &self.metas[frame.number() as usize]
    }

    pub fn entry(&self, table: Frame, index: usize) -> Entry {
        let entry = self.with(|contents| contents.entries.get(&(table.number(), index)).copied());
        entry.unwrap_or(Entry::HOLE)
    }

    pub fn set_entry(&self, table: Frame, index: usize, entry: Entry) {
        self.with(|contents| contents.entries.insert((table.number(), index), entry));
    }

    /// A word that is shared.
    pub fn word(&self, frame: Frame, offset: usize) -> Arc<AtomicU32> {
        self.with(|contents| {
            let word = contents.words.entry((frame.number(), offset));
            word.or_insert_with(|| Arc::new(AtomicU32::new(0))).clone()
        })
    }

    /// Has a word be what is kept elsewhere.
    pub fn show(
        &self,
        frame: Frame,
        offset: usize,
        read: impl Fn() -> u32 + Send + Sync + 'static,
    ) {
        let place = (frame.number(), offset);
        self.with(|contents| contents.shown.insert(place, Arc::new(read)));
    }

    /// A word, wherever it is kept.
    pub fn load(&self, frame: Frame, offset: usize) -> u32 {
        let shown = self.with(|contents| contents.shown.get(&(frame.number(), offset)).cloned());
        match shown {
            Some(read) => read(),
            None => self.word(frame, offset).load(Ordering::Acquire),
        }
    }

    /// A word of 64 bits that is shared.
    pub fn long_word(&self, frame: Frame, offset: usize) -> Arc<AtomicU64> {
        self.with(|contents| {
            let word = contents.long_words.entry((frame.number(), offset));
            word.or_insert_with(|| Arc::new(AtomicU64::new(0))).clone()
        })
    }

    /// The frames in which a word was set, in their order.
    pub fn frames_with(&self, offset: usize) -> Vec<Frame> {
        self.with(|contents| {
            let words = contents.words.keys().filter(|(_, at)| *at == offset);
            words.map(|(frame, _)| Frame::from_number(*frame)).collect()
        })
    }

    /// The frames in which a word of 64 bits was set, in their order.
    pub fn frames_with_long(&self, offset: usize) -> Vec<Frame> {
        self.with(|contents| {
            let words = contents.long_words.keys().filter(|(_, at)| *at == offset);
            words.map(|(frame, _)| Frame::from_number(*frame)).collect()
        })
    }

    pub fn read(&self, frame: Frame, offset: usize, target: &mut [u8]) {
        self.with(|contents| {
            for (at, byte) in target.iter_mut().enumerate() {
                let place = (frame.number(), offset + at);
                *byte = contents.bytes.get(&place).copied().unwrap_or(0);
            }
        });
    }

    pub fn write(&self, frame: Frame, offset: usize, bytes: &[u8]) {
        self.with(|contents| {
            let places = bytes.iter().enumerate();
            contents
                .bytes
                .extend(places.map(|(at, byte)| ((frame.number(), offset + at), *byte)));
        });
    }
}
