//! The tests that entries name, those of a package built at once, with every sabotage in them. Which one is
//! meant, a test learns from its environment.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{CHOICE, Entry, Kind, Outcome, bounded_output, guest, outcome, reason, target};
use crate::build::{self, GUEST_DIRECTORY};
use crate::console;
use crate::failure::Failure;

/// The executables.
pub struct Built {
    /// By how they are built, package and name.
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
        let mut tests = HashMap::new();
        let mut groups: Vec<(Kind, &str)> = Vec::new();
        for entry in entries {
            let group = (entry.kind, entry.package);
            if entry.kind != Kind::Guest && !groups.contains(&group) {
                groups.push(group);
            }
        }
        for (kind, package) in groups {
            let of_group = |entry: &&&Entry| (entry.kind, entry.package) == (kind, package);
            let mut binaries: Vec<String> = entries
                .iter()
                .filter(of_group)
                .map(|e| binary(e).0)
                .collect();
            binaries.sort_unstable();
            binaries.dedup();
            console::complain(&format!("building tests of {package} …"));
            let messages = build(kind, package, &binaries)?;
            tests.extend(
                executables(&messages)
                    .map(|(binary, executable)| ((kind, package.to_owned(), binary), executable)),
            );
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
        let key = (entry.kind, entry.package.to_owned(), binary);
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
    let package = entry.package.trim_start_matches("handover-");
    let tests = build::repository().join(package).join("tests");
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

/// Builds tests of a package, and returns cargo's messages.
fn build(kind: Kind, package: &str, binaries: &[String]) -> Result<String, Failure> {
    let mut command = build::cargo();
    command.args(["test", "--no-run", "--quiet", "--package", package]);
    match (kind, package) {
        (Kind::Loom, _) => _ = command.arg("--release"),
        (_, "handover-ring") => _ = command.args(["--features", "std"]),
        _ => {}
    }
    for binary in binaries {
        command.args(["--test", binary]);
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

/// The tests that were built, by their files.
fn executables(messages: &str) -> impl Iterator<Item = (String, Executable)> {
    messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_test = message["profile"]["test"].as_bool()?;
        let directory = Path::new(message["manifest_path"].as_str()?).parent()?;
        let executable = Executable {
            path: message["executable"].as_str()?.into(),
            directory: directory.into(),
        };
        is_test.then_some((message["target"]["name"].as_str()?.to_owned(), executable))
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
        let (file, executable) = &found[0];
        assert_eq!(file, "rings");
        assert_eq!(executable.path.to_str(), Some("/t/rings"));
        assert_eq!(executable.directory.to_str(), Some("/a"));
    }
}
