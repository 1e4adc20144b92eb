//! For programs of a kernel that takes its calls from a submission ring, not for Linux.
//!
//! What the program of such a ring does to have entries taken: it publishes them, gives back the cells of
//! completions that it has copied, and enters the kernel only if the thread of the ring rests.
//!
//! The thread says in the header that it rests, and then looks once more for entries, and for room if it has left entries
//! for want of that. Whoever has published, or given room back while entries are left, looks for that note afterwards.
//! With a full fence on both sides one of the two sees the other; it is the wake protocol of a ring once more, over other
//! words.

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
    if crate::sabotaged!("submission_looks_before_publishing") {
        let rests = rests(notes);
        publish(tail, index);
        return rests;
    }
    publish(tail, index);
    // SYNC(submission.rest): the tail is published before this look; the thread says that it rests before its last look
    // at the tail.
    if !crate::sabotaged!("submission_published_without_fence") {
        fence(Ordering::SeqCst);
    }
    rests(notes)
}

/// Gives back the cells of the completions before `index`, which are copied.
#[inline(always)]
pub fn give_back(head: &AtomicU32, index: u32) {
    // SYNC(submission.head): the completions before it are copied.
    head.store(index, Ordering::Release);
}

/// Gives back the cells of the completions before `index`, which are copied, of a ring with a thread in which entries are
/// left that were published. Returns whether that thread rests, or is about to, so that somebody has to enter the kernel
/// for it to go on.
///
/// Where the head of the entries says that all were taken, none waits for room, and [`give_back`] is enough.
#[inline]
pub fn give_back_to_thread(head: &AtomicU32, index: u32, notes: &AtomicU32) -> bool {
    give_back(head, index);
    // SYNC(submission.rest): the room is there before this look; the thread says that it rests before its last look for
    // room.
    if !crate::sabotaged!("submission_given_back_without_fence") {
        fence(Ordering::SeqCst);
    }
    rests(notes) && !crate::sabotaged!("submission_given_back_without_look")
}

/// What the thread of a ring notes.
#[inline(always)]
fn rests(notes: &AtomicU32) -> bool {
    notes.load(Ordering::Relaxed) & RESTING != 0
}
