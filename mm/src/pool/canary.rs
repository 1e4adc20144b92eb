//! The canary: in builds with debug assertions a freed frame is filled with poison, and the poison
//! is checked when the frame is taken again. Who wrote to it meanwhile, through a mapping or a
//! translation that outlived it, is found at the next allocation at the latest. No lock is held
//! meanwhile.

use abi::limits::PAGE_SIZE;

use crate::{Frame, Frames};

/// What every word of a poisoned frame holds. As an entry of a page table it is not present, and
/// as an address it is not canonical.
const POISON: u64 = 0xdead_f4ee_dead_f4ee;

/// Words that are compared at a time.
const WORDS: usize = 64;
const BYTES: usize = WORDS * size_of::<u64>();

static PATTERN: [u8; BYTES] = {
    let mut pattern = [0; BYTES];
    let mut at = 0;
    while at < BYTES {
        pattern[at] = POISON.to_le_bytes()[at % size_of::<u64>()];
        at += 1;
    }
    pattern
};

/// Fills a frame that nobody holds any more with poison.
pub(super) fn poison<M: Frames + ?Sized>(machine: &M, frame: Frame) {
    if !cfg!(debug_assertions) {
        return;
    }
    for offset in (0..PAGE_SIZE as usize).step_by(BYTES) {
        machine.write(frame, offset, &PATTERN);
    }
    machine.meta(frame).set_poisoned(true);
}

/// Checks the poison of a frame that was taken and not handed out yet.
///
/// # Panics
/// When it was written since it was poisoned.
pub(super) fn check<M: Frames + ?Sized>(machine: &M, frame: Frame) {
    if !cfg!(debug_assertions) || !machine.meta(frame).set_poisoned(false) {
        return;
    }
    let mut bytes = [0; BYTES];
    for offset in (0..PAGE_SIZE as usize).step_by(BYTES) {
        machine.read(frame, offset, &mut bytes);
        if bytes == PATTERN || crate::sabotaged!("poison_not_checked") {
            continue;
        }
        let changed = bytes.iter().zip(&PATTERN).position(|(is, was)| is != was);
        let at = offset + changed.unwrap_or(0);
        panic!(
            "{frame:?} at {:#x} was written while it was free: its byte {at} is {:#x}",
            frame.address(),
            bytes[at - offset],
        );
    }
}
