//! Fuses: a process ends when its threads have entered the kernel so many times more.
//!
//! Entries are counted only while some fuse is armed: the ways into the kernel are [watched](crate::watch)
//! then, and cost nothing otherwise. The entry that burns the fuse is completed; the process ends
//! on the way out of it, or where it would sleep in it.

use core::sync::atomic::Ordering;

use crate::process::Process;
use crate::{sched, watch};

/// Has a process end after so many more entries; 0 takes that back.
pub fn set(process: &Process, entries: u64) {
    if entries != 0 {
        watch::begin();
    }
    let before = process.fuse.swap(entries, Ordering::AcqRel);
    if before != 0 {
        watch::end();
    }
    // It may have ended meanwhile, which took back what there was.
    if process.status().is_some() {
        clear(process);
    }
}

/// Takes back what there is.
pub fn clear(process: &Process) {
    if process.fuse.swap(0, Ordering::AcqRel) != 0 {
        watch::end();
    }
}

/// Counts an entry of the current thread.
pub fn burn() {
    sched::with_current(|thread| {
        let Some(process) = thread.process() else {
            return;
        };
        let left = |entries: u64| entries.checked_sub(1);
        let burnt = process
            .fuse
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, left);
        if burnt == Ok(1) {
            watch::end();
            if !mm::sabotaged!("fuse_does_not_burn") {
                process.kill();
            }
        }
    });
}
