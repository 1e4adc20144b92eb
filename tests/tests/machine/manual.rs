//! The programs of `docs/programs.md`, built as somebody would build them who has only the document, and
//! run: what they print is what the document says.

use std::path::Path;

use crate::machines::{boot_with, exec, said};
use handover_tests::build::{self, Profile};
use handover_tests::machine::Machine;
use handover_tests::program::ProgramFile;
use handover_tests::qemu::Run;

const TARGET: &str = "x86_64-unknown-none";

/// The blocks of the document that are files: the last quoted path before each, and what is in it.
fn files(document: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (before, after) in document
        .match_indices("```rust\n")
        .map(|(at, fence)| (&document[..at], &document[at + fence.len()..]))
    {
        let path = before.rsplit('`').nth(1).expect("a path in quotes");
        let content = after.split("```").next().expect("the end of the block");
        files.push((path.to_owned(), content.to_owned()));
    }
    files
}

/// Builds a package of these files and returns where its programs are.
fn build(directory: &Path, files: &[(String, String)]) -> std::path::PathBuf {
    let rt = build::repository().join("user/rt");
    let manifest = format!(
        "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nhandover-rt = {{ path = {rt:?} }}\n\n[workspace]\n"
    );
    std::fs::write(directory.join("Cargo.toml"), manifest).expect("it is written");
    // The versions that are there already.
    let lock = build::repository().join("Cargo.lock");
    std::fs::copy(lock, directory.join("Cargo.lock")).expect("it is copied");
    for (path, content) in files {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("it is made");
        std::fs::write(path, content).expect("it is written");
    }
    let output = build::cargo()
        .current_dir(directory)
        .args(["build", "--release", "--offline", "--target", TARGET])
        .env_remove("RUSTFLAGS")
        .env("CARGO_TARGET_DIR", directory.join("target"))
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    directory.join("target").join(TARGET).join("release")
}

#[test]
fn the_programs_of_the_document_build_and_print_what_it_says() {
    let path = build::repository().join("docs/programs.md");
    let document = std::fs::read_to_string(path).expect("the document");
    let files = files(&document);
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        ["src/main.rs", "src/bin/greeter.rs", "src/bin/guest.rs"]
    );
    let directory = tempfile::tempdir().expect("a directory");
    let built = build(directory.path(), &files);
    let programs: Vec<(ProgramFile, Vec<u8>)> = ["hello", "greeter", "guest"]
        .map(|name| {
            let path = built.join(name);
            let name = name.to_owned();
            let file = ProgramFile { path, name };
            let bytes = file.read().expect("a program");
            (file, bytes)
        })
        .into();
    // Each line, and how it begins in the document.
    for (words, says, status) in [
        ("hello Ada", "hello, Ada, at 0x", 3),
        ("greeter + guest Ada", "hello, Ada, client 1", 0),
        ("guest Ada + greeter + guest Ada", "hello, Ada, client ", 0),
    ] {
        let run = boot(Profile::Guest, 2, &programs, words);
        let said = said(&run);
        assert_eq!(run.exit_status().ok(), Some(status), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(document.contains(says), "the document does not say {says}");
    }
}

fn boot(profile: Profile, cpus: u32, programs: &[(ProgramFile, Vec<u8>)], words: &str) -> Run {
    let machine = Machine {
        cpus,
        ..Machine::default()
    };
    boot_with(profile, &machine, programs, b"", &exec(words))
}

#[test]
fn a_service_that_dies_is_started_again_and_its_clients_lose_nothing() {
    for cpus in [1, 2, 4] {
        let run = boot(Profile::GuestChecked, cpus, &[], "services");
        let said = said(&run);
        assert_eq!(run.exit_status().ok(), Some(0), "{said}");
        for expected in [
            "store: begins with 0 values",
            "stopped by a page fault, read at 0x10",
            "ended with status 101",
            "again in 40 ms (3 of 5)",
            "services: 256 values, 0 lost",
        ] {
            assert!(said.contains(expected), "{expected} is missing:\n{said}");
        }
    }
}
