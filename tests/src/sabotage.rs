//! The sabotage matrix: take one mechanism away and see that a named test fails.
//!
//! A test that still passes without the mechanism holds nothing. Noticed means that the test was
//! built, ran and failed; not building, not being there and hanging are no notice.

mod built;
mod entries;
mod guest;

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::build;
use crate::failure::Failure;

use built::Built;
pub use entries::ENTRIES;

/// By this the imitated machine learns what to do without.
const CHOICE: &str = "HANDOVER_SABOTAGE";

/// Less than what `fake` allows a machine, whose test then ends without a result.
const TIME_LIMIT: Duration = Duration::from_secs(480);
/// Machines in which the cases of the suite pass with everything in place.
const BOOTS: usize = 4;
const POLL: Duration = Duration::from_millis(20);
/// Lines that are shown of why a test failed, besides where.
const REASON_LINES: usize = 3;

/// How the test of an entry is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// As an ordinary test.
    Host,
    /// Under `--cfg loom`, optimised.
    Loom,
    /// As a case of the suite, in a machine.
    Guest,
}

/// One mechanism, and the test that must fail without it.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What the code calls it.
    pub name: &'static str,
    /// What is taken away.
    pub takes_away: &'static str,
    /// The package of the test.
    pub package: &'static str,
    /// Its file in the package's `tests/`; the group of a case.
    pub file: &'static str,
    /// Its full name; of a case, without the group.
    pub test: &'static str,
    /// How it is built.
    pub kind: Kind,
}

/// What one run of a test came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and passed.
    Passed,
    /// It ran and failed.
    Failed,
    /// There is no test of this name.
    Absent,
    /// It did not build.
    NotBuilt,
    /// It reached the time limit.
    Hung,
}

/// What the matrix says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The test passes with the mechanism and fails without it.
    Noticed,
    /// The test does not even pass with the mechanism in place.
    Baseline(Outcome),
    /// The test did not fail without the mechanism.
    Unnoticed(Outcome),
}

impl Verdict {
    /// One cell of the matrix.
    pub fn describe(self) -> String {
        let what = |outcome| match outcome {
            Outcome::Passed => "the test passes",
            Outcome::Failed => "the test fails",
            Outcome::Absent => "no test of this name",
            Outcome::NotBuilt => "it does not build",
            Outcome::Hung => "the test hangs",
        };
        match self {
            Self::Noticed => "noticed".into(),
            Self::Baseline(outcome) => format!("UNTESTED: with all in place {}", what(outcome)),
            Self::Unnoticed(outcome) => format!("UNNOTICED: {}", what(outcome)),
        }
    }
}

/// By which tests are told apart: how they are built, package, file, name.
type Test = (Kind, &'static str, &'static str, &'static str);

/// What a run of a test came to, and what it said when it failed; nothing before it was run.
type Run = Arc<Mutex<Option<(Outcome, String)>>>;

/// The tests of some entries, built.
pub struct Matrix {
    built: Built,
    /// With everything in place, once for all entries that name the test.
    baselines: Mutex<HashMap<Test, Run>>,
    /// Cases of the suite whose baselines are one boot.
    together: Vec<guest::Together>,
}

impl Matrix {
    /// Builds what the tests of some entries need. What does not build is said, and the verdict of each
    /// entry says so.
    ///
    /// # Errors
    /// When cargo can't be started.
    pub fn build(entries: &[&Entry]) -> Result<Matrix, Failure> {
        let in_guest = entries.iter().filter(|entry| entry.kind == Kind::Guest);
        let cases = in_guest.map(|entry| entry.test_name());
        Ok(Matrix {
            built: Built::new(entries)?,
            baselines: Mutex::new(HashMap::new()),
            together: guest::Together::divide(cases, BOOTS),
        })
    }

    /// Runs the test of an entry with and without the mechanism. With the verdict comes what the test said
    /// when it failed.
    ///
    /// # Errors
    /// When a test or QEMU can't be started.
    pub fn check(&self, entry: &Entry) -> Result<(Verdict, String), Failure> {
        let (baseline, said) = self.baseline(entry)?;
        if baseline != Outcome::Passed {
            return Ok((Verdict::Baseline(baseline), said));
        }
        Ok(match self.built.run(entry, Some(entry.name))? {
            (Outcome::Failed, said) => (Verdict::Noticed, said),
            (outcome, said) => (Verdict::Unnoticed(outcome), said),
        })
    }

    fn baseline(&self, entry: &Entry) -> Result<(Outcome, String), Failure> {
        let run = {
            let mut baselines = self.baselines.lock().expect("no holder panics");
            let test = (entry.kind, entry.package, entry.file, entry.test);
            baselines.entry(test).or_default().clone()
        };
        // Who shares the test waits for the one run.
        let mut run = run.lock().expect("no holder panics");
        if let Some(known) = &*run {
            return Ok(known.clone());
        }
        let known = match self.passed_with_others(entry)? {
            true => (Outcome::Passed, String::new()),
            false => self.built.run(entry, None)?,
        };
        Ok(run.insert(known).clone())
    }

    fn passed_with_others(&self, entry: &Entry) -> Result<bool, Failure> {
        for together in &self.together {
            if entry.kind == Kind::Guest
                && together.passed(&entry.test_name(), entry.kind.flags())?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Entry {
    /// What documents and the matrix call the test.
    pub fn test_name(&self) -> String {
        let between = if self.kind == Kind::Guest { "." } else { "::" };
        format!("{}{between}{}", self.file, self.test)
    }
}

impl Kind {
    /// The compiler flags: every sabotage is in what is built, and chosen when it runs.
    fn flags(self) -> &'static str {
        match self {
            Kind::Host | Kind::Guest => "--cfg sabotage",
            Kind::Loom => "--cfg loom --cfg sabotage",
        }
    }
}

/// Where a test failed and what it said, of the output of libtest or of a machine: the first panic, or the
/// first line of a case about itself.
fn reason(output: &str) -> String {
    let mut lines = output.lines();
    let is_reason = |line: &&str| line.contains("panicked at ") || line.contains(".rs:");
    let Some(first) = lines.find(is_reason) else {
        return String::new();
    };
    let place = first.split("panicked at ").last().unwrap_or(first);
    let more = lines.take_while(|line| !line.starts_with("stack backtrace") && !line.is_empty());
    let more = more.take(REASON_LINES).map(|line| format!("\n    {line}"));
    format!("    {place}{}", more.collect::<String>())
}

/// The target directory of everything that is built with sabotages.
fn target() -> PathBuf {
    build::repository().join("target/sabotage")
}

/// Reads what became of `test` from the output of libtest.
pub fn outcome(output: &str, test: &str) -> Outcome {
    let result = output.lines().find_map(|line| {
        let rest = line.strip_prefix("test ")?.strip_prefix(test)?;
        // libtest says so behind the names of such tests.
        rest.strip_prefix(" - should panic")
            .unwrap_or(rest)
            .strip_prefix(" ... ")
    });
    match result {
        Some("ok") => Outcome::Passed,
        Some("FAILED") => Outcome::Failed,
        _ if output.lines().any(|line| line.starts_with("test result:")) => Outcome::Absent,
        _ => Outcome::NotBuilt,
    }
}

/// What `command` wrote to its two outputs; `None` when it and its children were killed at the
/// limit.
fn bounded_output(mut command: Command) -> Result<Option<(String, String)>, Failure> {
    let not_started = |error| Failure::failed(format!("cargo can't be started: {error}"));
    // A group of its own, so that a hanging test dies with the cargo that started it.
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(not_started)?;
    let output = child.stdout.take().map(read_all);
    let complaints = child.stderr.take().map(read_all);
    let deadline = Instant::now() + TIME_LIMIT;
    while child.try_wait().map_err(not_started)?.is_none() {
        if Instant::now() >= deadline {
            let group = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let _ = child.wait();
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
    let text = |reader: Option<JoinHandle<String>>| {
        reader
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default()
    };
    Ok(Some((text(output), text(complaints))))
}

/// Reads `source` to its end in a thread of its own.
fn read_all(mut source: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = source.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, Outcome, outcome, reason};

    #[test]
    fn the_output_of_libtest_is_understood() {
        let ran =
            |result: &str| format!("\nrunning 1 test\ntest a::b ... {result}\n\ntest result: …\n");
        assert_eq!(outcome(&ran("ok"), "a::b"), Outcome::Passed);
        assert_eq!(outcome(&ran("FAILED"), "a::b"), Outcome::Failed);
        assert_eq!(outcome(&ran("ok"), "a"), Outcome::Absent);
        assert_eq!(
            outcome("running 0 tests\n\ntest result: ok. 0 passed", "a"),
            Outcome::Absent
        );
        assert_eq!(outcome("", "a"), Outcome::NotBuilt);
    }

    #[test]
    fn why_a_test_failed_is_found_in_what_was_said() {
        let said = "---- a stdout ----\n\nthread 'a' (7) panicked at tests/a.rs:5:9:\nleft\nright\n\
            stack backtrace:\n   0: begin\n             at library/std.rs:1:1\n";
        assert_eq!(reason(said), "    tests/a.rs:5:9:\n    left\n    right");
        let case = "init: begins\nsuite/a.rs:3: it was not refused\n";
        assert_eq!(reason(case), "    suite/a.rs:3: it was not refused");
        assert_eq!(reason("test a ... ok\n"), "");
    }

    #[test]
    fn names_of_entries_are_unique() {
        for (index, entry) in ENTRIES.iter().enumerate() {
            assert!(
                ENTRIES[..index]
                    .iter()
                    .all(|other| other.name != entry.name)
            );
        }
    }
}
