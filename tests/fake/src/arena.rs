//! The bytes of the machine: frames of 512 words, each of which may be read and written by
//! several threads at once.

use std::sync::atomic::{AtomicU64, Ordering};

use mm::Frame;

/// Words of a frame.
pub(crate) const WORDS: usize = 512;

/// What every word holds at first.
const JUNK: u64 = 0xdead_f4a3_dead_f4a3;

#[derive(Debug)]
pub(crate) struct Arena(Vec<AtomicU64>);

impl Arena {
    /// So many frames, full of junk.
    pub(crate) fn new(frames: usize) -> Arena {
        let words = vec![JUNK; frames * WORDS];
        Arena(words.into_iter().map(AtomicU64::new).collect())
    }

    /// How many frames there are.
    pub(crate) fn frames(&self) -> u64 {
        (self.0.len() / WORDS) as u64
    }

    pub(crate) fn words(&self, frame: Frame) -> &[AtomicU64] {
        let first = frame.number() as usize * WORDS;
        &self.0[first..first + WORDS]
    }

    pub(crate) fn word(&self, frame: Frame, index: usize) -> &AtomicU64 {
        &self.words(frame)[index]
    }

    pub(crate) fn fill(&self, frame: Frame, value: u64) {
        for word in self.words(frame) {
            word.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn copy(&self, from: Frame, to: Frame) {
        for (source, target) in self.words(from).iter().zip(self.words(to)) {
            target.store(source.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self, frame: Frame, offset: usize, bytes: &mut [u8]) {
        if offset.is_multiple_of(8) && bytes.len().is_multiple_of(8) {
            let words = &self.words(frame)[offset / 8..];
            for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(8)) {
                bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
            }
            return;
        }
        for (at, byte) in (offset..).zip(bytes) {
            let word = self.word(frame, at / 8).load(Ordering::Relaxed);
            *byte = word.to_le_bytes()[at % 8];
        }
    }

    pub(crate) fn write(&self, frame: Frame, offset: usize, bytes: &[u8]) {
        if offset.is_multiple_of(8) && bytes.len().is_multiple_of(8) {
            let (chunks, _) = bytes.as_chunks();
            for (word, bytes) in self.words(frame)[offset / 8..].iter().zip(chunks) {
                word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
            }
            return;
        }
        for (at, byte) in (offset..).zip(bytes) {
            self.update(frame, at / 8, |word| {
                let mut parts = word.to_le_bytes();
                parts[at % 8] = *byte;
                u64::from_le_bytes(parts)
            });
        }
    }

    pub(crate) fn load_u32(&self, frame: Frame, offset: usize) -> u32 {
        assert!(offset.is_multiple_of(4));
        let word = self.word(frame, offset / 8).load(Ordering::Acquire);
        (word >> (offset % 8 * 8)) as u32
    }

    pub(crate) fn store_u32(&self, frame: Frame, offset: usize, value: u32) {
        assert!(offset.is_multiple_of(4));
        let shift = offset % 8 * 8;
        self.update(frame, offset / 8, |word| {
            word & !(0xffff_ffff << shift) | u64::from(value) << shift
        });
    }

    pub(crate) fn store_u64(&self, frame: Frame, offset: usize, value: u64) {
        assert!(offset.is_multiple_of(8));
        self.word(frame, offset / 8).store(value, Ordering::Release);
    }

    /// One word anew, without losing what others do to its other bytes.
    fn update(&self, frame: Frame, index: usize, change: impl Fn(u64) -> u64) {
        let word = self.word(frame, index);
        let mut before = word.load(Ordering::Relaxed);
        while let Err(now) =
            word.compare_exchange_weak(before, change(before), Ordering::Release, Ordering::Relaxed)
        {
            before = now;
        }
    }
}
