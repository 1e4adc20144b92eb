//! What the program of a submission ring does to have entries taken: it publishes them, and enters the kernel only if the
//! thread of the ring rests.
//!
//! The thread says in the header that it rests, and then looks once more for entries. Whoever has published looks for
//! that note afterwards. With a full fence on both sides one of the two sees the other; it is the wake protocol of a ring
//! once more, over two other words.

use core::sync::atomic::Ordering;

use abi::submission::RESTING;

use crate::sync::{AtomicU32, fence};

/// Publishes the entries before `index`, which are written, to whoever takes them in a call that follows.
#[inline(always)]
pub fn publish(tail: &AtomicU32, index: u32) {
    // SYNC(submission.tail): the entries before it are written.
    tail.store(index, Ordering::Release);
}

/// Publishes the entries before `index`, which are written, to the thread of the ring. Returns whether that rests, or is
/// about to, so that somebody has to enter the kernel for it to go on; `notes` is that word of the header, which may be
/// read-only.
#[inline]
pub fn publish_to_thread(tail: &AtomicU32, index: u32, notes: &AtomicU32) -> bool {
    let rests = || notes.load(Ordering::Relaxed) & RESTING != 0;
    if crate::sabotaged!("submission_looks_before_publishing") {
        let rests = rests();
        publish(tail, index);
        return rests;
    }
    publish(tail, index);
    // SYNC(submission.rest): the tail is published before this look; the thread says that it rests before its last look
    // at the tail.
    if !crate::sabotaged!("submission_published_without_fence") {
        fence(Ordering::SeqCst);
    }
    rests()
}
