//! The tests that entries name, all of a kind built at once, with every sabotage in them. Which one is
//! meant, a test learns from its environment.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::{CHOICE, Entry, Kind, Outcome, bounded_output, guest, outcome, reason, target};
use crate::build::{self, GUEST_DIRECTORY};
use crate::console;
use crate::failure::Failure;

/// The executables.
pub struct Built {
    /// By how they are built, the directory of their package, and name.
    tests: HashMap<(Kind, String, String), Executable>,
}

struct Executable {
    path: PathBuf,
    /// The root of its package, where cargo would run it.
    directory: PathBuf,
}

impl Built {
    /// Builds the tests of entries.
    ///
    /// # Errors
    /// When cargo can't be started.
    pub fn new(entries: &[&Entry]) -> Result<Built, Failure> {
        let of_kind = |kind| entries.iter().copied().filter(move |e| e.kind == kind);
        let of_host = [Kind::Host, Kind::Loom].map(|kind| (kind, Vec::from_iter(of_kind(kind))));
        console::complain("building what the tests need …");
        // Each has a directory of its own, and times at which it keeps one CPU busy.
        let messages = thread::scope(|scope| {
            let builds = of_host
                .map(|(kind, entries)| scope.spawn(move || Ok((kind, build(kind, &entries)?))));
            if of_kind(Kind::Guest).next().is_some() {
                guest::build(Kind::Guest.flags());
            }
            builds.map(|build| build.join().expect("no build panics"))
        });
        let mut tests = HashMap::new();
        for built in messages {
            let (kind, messages) = built?;
            let of_kind = executables(&messages);
            tests.extend(of_kind.map(|((crate_, binary), test)| ((kind, crate_, binary), test)));
        }
        Ok(Built { tests })
    }

    /// Runs the test of an entry with everything in place, or without one mechanism.
    ///
    /// # Errors
    /// When it or QEMU can't be started.
    pub fn run(&self, entry: &Entry, sabotage: Option<&str>) -> Result<(Outcome, String), Failure> {
        let flags = entry.kind.flags();
        if entry.kind == Kind::Guest {
            return guest::run(&entry.test_name(), flags, sabotage);
        }
        let (binary, test) = binary(entry);
        let key = (entry.kind, directory(entry.package).to_owned(), binary);
        let Some(executable) = self.tests.get(&key) else {
            return Ok((Outcome::NotBuilt, String::new()));
        };
        let mut command = Command::new(&executable.path);
        command
            .args(["--exact", &test])
            .current_dir(&executable.directory)
            .env("CARGO_MANIFEST_DIR", &executable.directory)
            // For those that build the guest.
            .env("RUSTFLAGS", flags)
            .env(CHOICE, sabotage.unwrap_or_default())
            .env(GUEST_DIRECTORY, guest::directory())
            .stdin(Stdio::null());
        Ok(match bounded_output(command)? {
            Some((said, _)) => (outcome(&said, &test), reason(&said)),
            None => (Outcome::Hung, String::new()),
        })
    }
}

/// The binary in which the test of an entry is, and what that calls the test: a directory in `tests/` is one binary, with
/// a module for each file, and so is each file beside them.
fn binary(entry: &Entry) -> (String, String) {
    let tests = build::repository()
        .join(directory(entry.package))
        .join("tests");
    let module = format!("{}.rs", entry.file);
    let directories = std::fs::read_dir(tests).into_iter().flatten().flatten();
    let holds = |path: &PathBuf| path.join("main.rs").is_file() && path.join(&module).is_file();
    let name = directories.map(|entry| entry.path()).find(holds);
    match name.as_deref().and_then(Path::file_name) {
        Some(name) => {
            let test = format!("{}::{}", entry.file, entry.test);
            (name.to_string_lossy().into_owned(), test)
        }
        None => (entry.file.to_owned(), entry.test.to_owned()),
    }
}

/// Where a package is.
fn directory(package: &str) -> &str {
    package.trim_start_matches("handover-")
}

/// Builds the tests of entries of one kind, and returns cargo's messages.
fn build(kind: Kind, entries: &[&Entry]) -> Result<String, Failure> {
    let mut command = build::cargo();
    command.args(["test", "--no-run", "--quiet"]);
    if kind == Kind::Loom {
        command.arg("--release");
    }
    let packages = BTreeSet::from_iter(entries.iter().map(|entry| entry.package));
    for package in &packages {
        command.args(["--package", package]);
    }
    if kind == Kind::Host && packages.contains("handover-ring") {
        command.args(["--features", "handover-ring/std"]);
    }
    for binary in BTreeSet::from_iter(entries.iter().map(|entry| binary(entry).0)) {
        command.args(["--test", &binary]);
    }
    if packages.is_empty() {
        return Ok(String::new());
    }
    let output = command
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target())
        .env("RUSTFLAGS", kind.flags())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::failed(format!("cargo can't be started: {error}")))?;
    if !output.status.success() {
        console::complain(String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The tests that were built, by the directories of their packages and their names.
fn executables(messages: &str) -> impl Iterator<Item = ((String, String), Executable)> {
    messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_test = message["profile"]["test"].as_bool()?;
        let directory = Path::new(message["manifest_path"].as_str()?).parent()?;
        let package = directory.file_name()?.to_str()?.to_owned();
        let executable = Executable {
            path: message["executable"].as_str()?.into(),
            directory: directory.into(),
        };
        let name = message["target"]["name"].as_str()?.to_owned();
        is_test.then_some(((package, name), executable))
    })
}

#[cfg(test)]
mod tests {
    use super::executables;

    #[test]
    fn tests_are_told_from_programs() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","profile":{"test":false},"target":{"name":"p"},"executable":"/t/p"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","profile":{"test":true},"target":{"name":"rings"},"executable":"/t/rings"}"#,
            "\nnot json\n",
        );
        let found: Vec<_> = executables(messages).collect();
        assert_eq!(found.len(), 1);
        let (test, executable) = &found[0];
        assert_eq!(*test, ("a".to_owned(), "rings".to_owned()));
        assert_eq!(executable.path.to_str(), Some("/t/rings"));
        assert_eq!(executable.directory.to_str(), Some("/a"));
    }
}
