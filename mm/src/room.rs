//! What is asked of the heap: records, which have a small size of their own and can't fail, and room for more,
//! which can.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::sync::atomic::AtomicUsize;

use abi::Error;

use crate::Frames;

/// The most bytes of a record. Who embeds this keeps so much heap in hand that no piece up to this fails, where a
/// call has begun; what is larger is asked for in a way that can fail.
pub const MAX_RECORD: usize = 2048;

/// A record of its own. It can't fail, and one that is too large for that is not compiled.
#[inline(always)]
pub fn boxed<T>(record: T) -> Box<T> {
    const { assert!(size_of::<T>() <= MAX_RECORD) }
    #[expect(clippy::disallowed_methods, reason = "this is the place for it")]
    Box::new(record)
}

/// A record that is shared, likewise.
#[inline(always)]
pub fn shared<T>(record: T) -> Arc<T> {
    const { assert!(size_with_counts::<T>() <= MAX_RECORD) }
    #[expect(clippy::disallowed_methods, reason = "this is the place for it")]
    Arc::new(record)
}

/// Bytes of a shared record with its two counts.
const fn size_with_counts<T>() -> usize {
    let counts = Layout::new::<[AtomicUsize; 2]>();
    match counts.extend(Layout::new::<T>()) {
        Ok((both, _)) => both.pad_to_align().size(),
        Err(_) => usize::MAX,
    }
}

/// An empty vector with room for so many. `NoMemory`.
pub fn room_for<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut vector = Vec::new();
    let room = vector.try_reserve_exact(count);
    room.map(|()| vector).map_err(|_| Error::NoMemory)
}

/// Whether one more list may be made shorter by a call in which a program chooses how many are: that takes memory, too.
#[cold]
pub fn may_shrink(machine: &impl Frames) -> bool {
    crate::sabotaged!("shrinks_unasked") || machine.ensure_memory().is_ok()
}

/// Leaves a vector room for `count`, or for what it has if that is more. It stays as it is when there
/// is no memory for a shorter one. Where a program chooses how often a call does so, [`may_shrink`] says whether.
pub fn shrink_to<T>(vector: &mut Vec<T>, count: usize) {
    let count = count.max(vector.len());
    if vector.capacity() > count
        && let Ok(mut shorter) = room_for(count)
    {
        shorter.append(vector);
        *vector = shorter;
    }
}
