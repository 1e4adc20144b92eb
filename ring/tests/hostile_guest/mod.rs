//! The player of scripts of a guest, over a pool in memory of this process.

mod script;

use std::ptr::NonNull;

#[repr(align(64))]
struct Lines([u64; script::POOL_BYTES / 8]);

/// Plays a script.
pub fn play(script: &[u8]) {
    // In memory of its own, so that a sanitizer sees whoever reaches beyond it.
    let mut lines = Box::new(Lines([0; script::POOL_BYTES / 8]));
    let base = NonNull::from(&mut lines.0).cast();
    // SAFETY: the memory is this, and it is there until the end.
    unsafe { script::play(script, base, base) };
}
