//! Rings as no ring can be, and those at the edge of what can.

use abi::limits::MAX_IDLE_US;
use abi::submission::{MAX_COMPLETIONS, MAX_ENTRIES, SubmissionRingFlags};
use abi::{SubmissionArgs, UserPtr};
use rt::{Error, Handle, Submissions, sys};

use super::taken_out;
use crate::Case;

/// As the kernel sees them: the run-time looks at them, too.
fn create(args: &SubmissionArgs) -> Result<Handle, Error> {
    // SAFETY: the pointer leads to `args`.
    unsafe { sys::sub_create(UserPtr::new((&raw const *args) as u64)) }
}

pub fn shapes(_: &Case) {
    let bad = |args, error, what: &str| refused!(create(&args), error, "{what}: {args:?}");
    for (entries, completions) in [
        (0, 0),
        (0, 8),
        (3, 0),
        (3, 4),
        (4, 6),
        (4, 2),
        (MAX_ENTRIES - 1, 0),
        (MAX_ENTRIES, MAX_COMPLETIONS - 1),
    ] {
        let args = SubmissionArgs::new(entries, completions);
        bad(args, Error::Invalid, "sizes");
    }
    for (entries, completions) in [
        (MAX_ENTRIES + 1, 0),
        (2 * MAX_ENTRIES, 0),
        (1, 2 * MAX_COMPLETIONS),
        (MAX_ENTRIES, MAX_COMPLETIONS + 1),
        (1 << 31, 0),
        (1 << 31, 1 << 31),
        (u32::MAX, u32::MAX),
        (0, u32::MAX),
    ] {
        let args = SubmissionArgs::new(entries, completions);
        bad(args, Error::TooLarge, "sizes");
    }
    let good = SubmissionArgs::new(4, 4);
    let flags = SubmissionRingFlags::POLL.bits();
    bad(
        SubmissionArgs {
            reserved: 1,
            ..good
        },
        Error::Invalid,
        "a reserved field",
    );
    bad(
        SubmissionArgs {
            flags: 1 << 31,
            ..good
        },
        Error::Invalid,
        "a flag",
    );
    bad(
        SubmissionArgs { idle_us: 1, ..good },
        Error::Invalid,
        "no thread",
    );
    bad(
        SubmissionArgs { cpus: 1, ..good },
        Error::Invalid,
        "no thread",
    );
    let idle_us = MAX_IDLE_US + 1;
    bad(
        SubmissionArgs {
            flags,
            idle_us,
            ..good
        },
        Error::TooLarge,
        "a time",
    );
    for (entries, completions) in [(1, 1), (1, MAX_COMPLETIONS), (MAX_ENTRIES, MAX_ENTRIES)] {
        let args = SubmissionArgs::new(entries, completions);
        let mut ring = done!(Submissions::with(&args), "{args:?}");
        for round in 0..3 {
            done!(ring.nop(round), "an entry");
            same!(ring.submit(), Ok(1), "submitting");
            same!(taken_out(&mut ring)[..], [(round, Ok(0))][..], "{args:?}");
        }
    }
}
