//! The canary of the frame allocator, once there is one.

use boot::BootInfo;
use mm::{Budget, Frames};

/// Writes to a frame that is free, if the command line says so, and takes it again.
///
/// # Panics
/// In builds with debug assertions the allocator does, which is what is checked; and otherwise
/// because it did not.
pub fn break_if_asked(info: &BootInfo) {
    if !info.has_word("selfcheck=canary") {
        return;
    }
    let memory = crate::machine::ipc().platform();
    let take = || memory.allocate(None, Budget::Open);
    let frame = take().expect("memory for the check");
    memory.free(frame, Budget::Open);
    memory.write(frame, 0x123, &[0x5a]);
    while take().is_some_and(|taken| taken != frame) {}
    panic!("selfcheck: nobody noticed a write to a free frame");
}
