//! A case of the suite, in a machine whose kernel does without a mechanism.
//!
//! The guest is built once, with every sabotage in it; the kernel learns by its command line which one
//! is meant.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use super::{Outcome, reason};
use crate::boot::Boot;
use crate::build::{self, Guest, Profile};
use crate::console::complain;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::options::Job;
use crate::qemu::{Ending, Qemu};
use crate::suite;

/// How long a case may take, with the boot; it takes a second or two.
const TIME_LIMIT: Duration = Duration::from_secs(100);

/// Cases that want what only chance mixes, by what they begin with, and the schedule in which they have it.
const BY_CHANCE: [(&str, u64); 2] = [("halves.", 20), ("submissions.polled", 26)];

/// The target directory of the guest.
pub fn directory() -> PathBuf {
    super::target().join("guest")
}

/// Builds the machine's kernel and programs, once; what does not build is said.
pub fn build(flags: &str) -> Option<&'static Guest> {
    static GUEST: OnceLock<Option<Guest>> = OnceLock::new();
    let build = || {
        let guest = build::guest_with(Profile::GuestChecked, &directory(), flags);
        guest
            .inspect_err(|failure| complain(&failure.to_string()))
            .ok()
    };
    GUEST.get_or_init(build).as_ref()
}

/// Runs a case with everything in place, or without one mechanism; what it said when it failed.
///
/// # Errors
/// When QEMU is not there or can't be started.
pub fn run(case: &str, flags: &str, sabotage: Option<&str>) -> Result<(Outcome, String), Failure> {
    let Some(guest) = build(flags) else {
        return Ok((Outcome::NotBuilt, String::new()));
    };
    let by_chance = BY_CHANCE.iter().find(|(start, _)| case.starts_with(start));
    let machine = Machine {
        kernel_words: Vec::from_iter(sabotage.map(|name| format!("sabotage={name}"))),
        time_limit: Some(TIME_LIMIT),
        seed: by_chance.map(|(_, seed)| *seed),
        ..Machine::default()
    }
    .for_suite();
    let boot = Boot {
        qemu: &Qemu::find()?,
        guest,
        machine: &machine,
        programs: &[],
        input: b"",
        arguments: &Job::Suite(Some(case.to_owned()), None).arguments(),
    };
    let run = boot.run(|_| {}, &mut |_| {})?;
    let cases = run.transcript.records("case").count();
    let outcome = match (&run.ending, run.exit_status()) {
        (Ending::TimedOut(_), _) => Outcome::Hung,
        (_, Ok(_)) if cases == 0 => Outcome::Absent,
        (_, Ok(0)) if suite::judge(&run.transcript).is_empty() => Outcome::Passed,
        // A kernel that panics has noticed, too.
        _ => Outcome::Failed,
    };
    Ok((outcome, reason(&run.transcript.lines().join("\n"))))
}
