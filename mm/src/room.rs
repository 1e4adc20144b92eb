//! Vectors that grow and shrink without an allocation that can't fail.

use alloc::vec::Vec;

use abi::Error;

/// An empty vector with room for so many. `NoMemory`.
pub(crate) fn room_for<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut vector = Vec::new();
    let room = vector.try_reserve_exact(count);
    room.map(|()| vector).map_err(|_| Error::NoMemory)
}

/// Leaves a vector room for `count`, or for what it has if that is more. It stays as it is when there
/// is no memory for a shorter one.
pub fn shrink_to<T>(vector: &mut Vec<T>, count: usize) {
    let count = count.max(vector.len());
    if vector.capacity() > count
        && let Ok(mut shorter) = room_for(count)
    {
        shorter.append(vector);
        *vector = shorter;
    }
}
