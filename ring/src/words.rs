//! Copying payload out of words that somebody else may be writing.

use core::sync::atomic::Ordering;

use crate::sync::AtomicU64;

const WORD_BYTES: usize = size_of::<u64>();

/// Fills `target` from the bytes that begin `offset` bytes into the payload whose `n`th word is `word(n)`.
///
/// Each word is loaded once; words may come from different moments if the peer writes meanwhile.
pub(crate) fn copy_out<'a>(
    word: impl Fn(usize) -> &'a AtomicU64,
    offset: usize,
    target: &mut [u8],
) {
    let mut at = offset;
    let mut rest = target;
    while !rest.is_empty() {
        let bytes = word(at / WORD_BYTES).load(Ordering::Relaxed).to_ne_bytes();
        let skipped = at % WORD_BYTES;
        let count = rest.len().min(WORD_BYTES - skipped);
        let (now, later) = rest.split_at_mut(count);
        now.copy_from_slice(&bytes[skipped..skipped + count]);
        rest = later;
        at += count;
    }
}
