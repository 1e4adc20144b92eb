//! Builds the kernel and the programs for their own target, with the cargo that runs us.
//!
//! They have a target directory of their own, so that no lock is shared with the cargo command
//! that started the runner.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::console::{self, Progress};
use crate::failure::Failure;

const TARGET: &str = "x86_64-unknown-none";
const KERNEL: &str = "handover-kernel";
const PROGRAMS: &str = "handover-programs";

/// Names another target directory for the guest; the sabotage matrix keeps its builds apart.
pub const GUEST_DIRECTORY: &str = "HANDOVER_GUEST_DIR";

/// How the guest is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Optimised; for the demonstration and for measuring.
    Guest,
    /// Optimised, with every debug assertion and overflow check; for the suites.
    GuestChecked,
}

impl Profile {
    /// The name of the profile in the workspace's `Cargo.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::GuestChecked => "guest-checked",
        }
    }

    /// The features of the programs that are built with it.
    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Guest => &[],
            Self::GuestChecked => &["--features", "handover-programs/suite"],
        }
    }
}

/// The executables that a machine boots with.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The ELF file of the kernel.
    pub kernel: PathBuf,
    /// The ELF files of our programs, by name.
    pub programs: BTreeMap<String, PathBuf>,
}

/// The root of the repository.
///
/// Under cargo it follows a tree that was moved after it was built.
pub fn repository() -> PathBuf {
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .filter(|directory| directory.file_name() == compiled.file_name())
        .unwrap_or_else(|| compiled.to_path_buf());
    package.parent().map(Path::to_path_buf).unwrap_or(package)
}

/// The cargo to call: the one that runs us, else the one on the path.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository());
    // A job server of an outer make or cargo is not open in this process.
    for name in ["MAKEFLAGS", "MFLAGS", "CARGO_MAKEFLAGS"] {
        command.env_remove(name);
    }
    command
}

/// The target directory of the guest.
pub fn guest_directory() -> PathBuf {
    match std::env::var_os(GUEST_DIRECTORY) {
        Some(directory) => directory.into(),
        None => repository().join("target/guest"),
    }
}

/// Builds the kernel and the programs.
///
/// # Errors
/// Cargo's own words when the build fails; a line when cargo can't be started or a kernel is not
/// among what it made.
pub fn guest(profile: Profile) -> Result<Guest, Failure> {
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    guest_with(profile, &guest_directory(), &flags)
}

/// Builds them with further compiler flags, which spaces separate, into a target directory of its own.
///
/// # Errors
/// As [`guest`].
pub fn guest_with(profile: Profile, directory: &Path, flags: &str) -> Result<Guest, Failure> {
    let _progress = Progress::start("building the kernel and the programs …");
    let mut command = cargo();
    command
        .args(["build", "--target", TARGET, "--profile", profile.name()])
        .args(["-p", KERNEL, "-p", PROGRAMS, "--bins"])
        .args(profile.features())
        .args(["--message-format", "json-render-diagnostics", "--quiet"])
        .arg("--target-dir")
        .arg(directory);
    if std::io::stderr().is_terminal() {
        command.args(["--color", "always"]);
    }
    add_target_flags(&mut command, flags);
    let output = command
        .output()
        .map_err(|error| Failure::failed(format!("cargo can't be started: {error}")))?;
    if !output.status.success() {
        console::complain(String::from_utf8_lossy(&output.stderr).trim_end());
        return Err(Failure::failed(
            "the kernel and the programs do not build (see above)",
        ));
    }
    executables(&String::from_utf8_lossy(&output.stdout))
}

/// Hands flags to the guest without losing those of `.cargo/config.toml`.
///
/// Cargo takes flags from one place only, and the environment comes first; flags given with
/// `--config` are joined with those of the file.
fn add_target_flags(command: &mut Command, flags: &str) {
    let flags: Vec<&str> = flags.split_whitespace().collect();
    command.env_remove("RUSTFLAGS");
    if !flags.is_empty() {
        let list = serde_json::Value::from(flags);
        command
            .arg("--config")
            .arg(format!("target.{TARGET}.rustflags={list}"));
    }
}

/// Reads the executables from cargo's messages.
fn executables(messages: &str) -> Result<Guest, Failure> {
    let mut programs = BTreeMap::new();
    for message in messages.lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(message) else {
            continue;
        };
        if let (Some(name), Some(path)) = (
            message["target"]["name"].as_str(),
            message["executable"].as_str(),
        ) {
            programs.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    let kernel = programs
        .remove(KERNEL)
        .ok_or_else(|| Failure::failed(format!("cargo built no executable {KERNEL}")))?;
    Ok(Guest { kernel, programs })
}

#[cfg(test)]
mod tests {
    use super::executables;

    #[test]
    fn executables_are_told_apart_by_name() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"handover-kernel"},"executable":"/t/k"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"handover_abi"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"init"},"executable":"/t/init"}"#,
            "\nnot json\n",
        );
        let guest = executables(messages).expect("a kernel is there");
        assert_eq!(guest.kernel.to_str(), Some("/t/k"));
        assert_eq!(guest.programs.len(), 1);
        assert!(guest.programs.contains_key("init"));
    }

    #[test]
    fn a_build_without_a_kernel_is_refused() {
        assert!(executables("").is_err());
    }
}
