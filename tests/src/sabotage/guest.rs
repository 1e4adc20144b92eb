//! A case of the suite, in a machine whose kernel does without a mechanism.
//!
//! The guest is built once, with every sabotage in it; the kernel learns by its command line which one
//! is meant.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::{Outcome, reason};
use crate::boot::Boot;
use crate::build::{self, Guest, Profile};
use crate::console::complain;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::options::Job;
use crate::qemu::{Ending, Qemu, Run};
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

/// Whether a case wants a schedule of its own.
fn schedule(case: &str) -> Option<u64> {
    let by_chance = BY_CHANCE.iter().find(|(start, _)| case.starts_with(start));
    by_chance.map(|(_, seed)| *seed)
}

/// Runs a case with everything in place, or without one mechanism; what it said when it failed.
///
/// # Errors
/// When QEMU is not there or can't be started.
pub fn run(case: &str, flags: &str, sabotage: Option<&str>) -> Result<(Outcome, String), Failure> {
    let Some(guest) = build(flags) else {
        return Ok((Outcome::NotBuilt, String::new()));
    };
    let machine = Machine {
        kernel_words: Vec::from_iter(sabotage.map(|name| format!("sabotage={name}"))),
        time_limit: Some(TIME_LIMIT),
        seed: schedule(case),
        ..Machine::default()
    };
    let run = boot(guest, machine, case.to_owned())?;
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

/// Boots a machine for the cases that a filter takes.
fn boot(guest: &Guest, machine: Machine, filter: String) -> Result<Run, Failure> {
    let boot = Boot {
        qemu: &Qemu::find()?,
        guest,
        machine: &machine.for_suite(),
        programs: &[],
        input: b"",
        arguments: &Job::Suite(Some(filter), None).arguments(),
    };
    boot.run(|_| {}, &mut |_| {})
}

/// Cases that share a boot with everything in place.
pub struct Together {
    cases: Vec<String>,
    passed: Mutex<Option<BTreeSet<String>>>,
}

impl Together {
    /// Divides cases so that as many boots as are asked for take about the same time. Left out are those that want a
    /// schedule of their own.
    pub fn divide(cases: impl Iterator<Item = String>, boots: usize) -> Vec<Together> {
        let cases: BTreeSet<String> = cases.filter(|case| schedule(case).is_none()).collect();
        let of_boot = |first| cases.iter().skip(first).step_by(boots).cloned().collect();
        let divided = (0..boots)
            .map(of_boot)
            .filter(|cases: &Vec<_>| !cases.is_empty());
        let together = divided.map(|cases| Together {
            cases,
            passed: Mutex::default(),
        });
        together.collect()
    }

    /// Whether a case is among these, and passed in a machine in which all of them did: of no other it is known why.
    ///
    /// # Errors
    /// When QEMU is not there or can't be started.
    pub fn passed(&self, case: &str, flags: &str) -> Result<bool, Failure> {
        if !self.cases.iter().any(|other| other == case) {
            return Ok(false);
        }
        let mut passed = self.passed.lock().expect("no holder panics");
        if passed.is_none() {
            *passed = Some(self.run(flags)?);
        }
        Ok(passed.iter().any(|passed| passed.contains(case)))
    }

    fn run(&self, flags: &str) -> Result<BTreeSet<String>, Failure> {
        let Some(guest) = build(flags) else {
            return Ok(BTreeSet::new());
        };
        let machine = Machine {
            time_limit: Some(TIME_LIMIT * self.cases.len() as u32),
            ..Machine::default()
        };
        let run = boot(guest, machine, self.cases.join(","))?;
        if run.exit_status().ok() != Some(0) || !suite::judge(&run.transcript).is_empty() {
            return Ok(BTreeSet::new());
        }
        let cases = run.transcript.records("case");
        Ok(cases
            .filter_map(|case| case.word(0).map(str::to_owned))
            .collect())
    }
}
