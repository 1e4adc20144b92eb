//! A process that takes nothing out of its submission ring, or writes what can't be into it.

use core::sync::atomic::{AtomicBool, Ordering};

use abi::ring::{CONSUMER_OFFSET, DATA_OFFSET, PRODUCER_OFFSET};
use abi::{SubmissionArgs, SubmissionViews, UserPtr};
use rt::{Error, Handle, sys};

use crate::Case;
use crate::calls::{cap_drop, poke, poke_u32};

/// A ring whose pages a case writes itself.
pub(super) fn raw_ring(entries: u32, completions: u32) -> (Handle, SubmissionViews) {
    let args = SubmissionArgs::new(entries, completions);
    let mut views = SubmissionViews::default();
    // SAFETY: the pointers lead to `args` and `views`.
    let opened = unsafe {
        sys::sub_create(UserPtr::new((&raw const args) as u64)).and_then(|handle| {
            sys::sub_map(handle, UserPtr::new((&raw mut views) as u64)).map(|()| handle)
        })
    };
    (done!(opened, "a ring"), views)
}

pub(super) fn enter(ring: Handle, submit: u32) -> Result<u64, Error> {
    // SAFETY: the entries here lead nowhere.
    unsafe { sys::sub_enter(ring, submit, 0, 0) }
}

pub fn never_reaped(_: &Case) {
    let (ring, views) = raw_ring(64, 64);
    let tail = views.submissions + PRODUCER_OFFSET as u64;
    for round in 1..=10u32 {
        poke_u32(tail, (64 * round).min(128));
        let taken = done!(enter(ring, u32::MAX), "entering");
        same!(taken, if round == 1 { 64 } else { 0 }, "round {round}");
    }
    poke_u32(views.completions + CONSUMER_OFFSET as u64, 3);
    same!(enter(ring, u32::MAX), Ok(3), "as many as were taken out");
    done!(cap_drop(ring), "dropping");
}

/// Another thread writes every word that is shared, over and over, while the kernel works.
pub fn hostile(_: &Case) {
    static STOP: AtomicBool = AtomicBool::new(false);
    let (ring, views) = raw_ring(64, 64);
    let scribble = move || {
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        while !STOP.load(Ordering::Relaxed) {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let word = random >> 33;
            match random >> 62 {
                0 => poke_u32(views.submissions + PRODUCER_OFFSET as u64, word as u32),
                1 => poke_u32(views.completions + CONSUMER_OFFSET as u64, word as u32),
                _ => {
                    let at = DATA_OFFSET as u64 + (word % 512) * 8;
                    // Operations that do no harm to this program, with any arguments.
                    let operation = [0, 81, 82, 83, 40, 1024, 1025, 63, 112, 113];
                    let operation = operation[word as usize % 10];
                    poke(views.submissions + at, operation | (word << 13 & 0xf_0000));
                }
            }
        }
    };
    let thread = rt::ThreadSpawn::new()
        .cpus(crate::check::other_cpu())
        .start(scribble);
    let thread = done!(thread, "a thread");
    let mut taken = 0;
    for round in 0..3000 {
        match enter(ring, 64) {
            Ok(count) => taken += count,
            Err(error) => same!(error, Error::PeerFault, "round {round}"),
        }
    }
    STOP.store(true, Ordering::Relaxed);
    done!(thread.join(), "its end");
    check!(taken < 3000 * 64, "no more than there is room for");
    done!(cap_drop(ring), "dropping");
}
