//! Rings as no ring can be, and those at the edge of what can.

use abi::submission::{MAX_COMPLETIONS, MAX_ENTRIES};
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
    for (args, error) in abi::impossible::SUBMISSIONS {
        refused!(create(args), *error, "{args:?}");
    }
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
