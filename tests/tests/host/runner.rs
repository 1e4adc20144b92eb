//! What the runner says and answers for bad input and bad emulators. No machine is needed.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use handover_tests::failure::{EXIT_FAILED, EXIT_TIMED_OUT, EXIT_USAGE, Failure};
use handover_tests::qemu::{Ending, Qemu};

fn emulator(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("emulators")
        .join(name)
}

fn handover(arguments: &[&str], qemu: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_handover"))
        .args(arguments)
        .env("HANDOVER_QEMU", qemu)
        .env_remove("ACCEL")
        .output()
        .expect("the runner starts")
}

/// Checks that the runner said exactly one line, and `why` in it, with this status.
fn complains(output: &Output, status: u8, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(status)), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(why), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_missing_input_is_one_line_and_status_2() {
    let output = handover(&["--input", "/nonexistent/file"], "unused");
    complains(
        &output,
        EXIT_USAGE,
        "/nonexistent/file can't be read: No such file",
    );
}

#[test]
fn a_directory_as_input_is_one_line_and_status_2() {
    complains(
        &handover(&["--input", "/"], "unused"),
        EXIT_USAGE,
        "directory",
    );
}

#[test]
fn a_program_that_can_not_run_is_one_line_and_status_2() {
    let missing = handover(&["--program", "/nonexistent/file"], "unused");
    complains(&missing, EXIT_USAGE, "can't be read");
    let text = handover(
        &[
            "--program",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ],
        "unused",
    );
    complains(&text, EXIT_USAGE, "it is not an ELF file");
    let own = handover(&["--program", env!("CARGO_BIN_EXE_handover")], "unused");
    complains(&own, EXIT_USAGE, "dynamically linked");
}

#[test]
fn words_that_can_not_be_taken_apart_are_status_2() {
    complains(
        &handover(&["--exec", "a 'b"], "unused"),
        EXIT_USAGE,
        "missing closing quote",
    );
    complains(
        &handover(&["--exec", " "], "unused"),
        EXIT_USAGE,
        "needs the name",
    );
}

#[test]
fn a_file_that_can_not_be_written_is_status_2_before_anything_runs() {
    for option in ["--screenshot", "--trace"] {
        complains(
            &handover(&[option, "/nonexistent/file"], "unused"),
            EXIT_USAGE,
            "/nonexistent/file can't be written: No such file",
        );
    }
}

#[test]
fn a_missing_emulator_says_what_to_install() {
    complains(
        &handover(&[], "/nonexistent/qemu"),
        EXIT_FAILED,
        "install the package qemu-system-x86",
    );
}

#[test]
fn an_emulator_that_is_too_old_is_refused() {
    let old = emulator("old");
    complains(
        &handover(&[], &old.to_string_lossy()),
        EXIT_FAILED,
        "is version 6.2; 7.0 or later",
    );
}

#[test]
fn a_program_that_is_no_emulator_is_refused() {
    let other = emulator("other");
    complains(
        &handover(&[], &other.to_string_lossy()),
        EXIT_FAILED,
        "seems to be no QEMU",
    );
}

/// Runs a fake emulator; `limit_ms` is its time limit.
fn run(name: &str, limit_ms: u64) -> (Ending, Vec<String>, Result<u8, Failure>) {
    let qemu = Qemu::at(emulator(name)).expect("the fake tells a good version");
    let mut lines = Vec::new();
    let limit = Some(Duration::from_millis(limit_ms));
    let run = qemu
        .run(&[], limit, &mut |line| lines.push(line.to_owned()))
        .expect("it starts");
    assert_eq!(
        run.transcript.lines(),
        lines,
        "what is streamed is what is kept"
    );
    (run.ending, lines, run.exit_status())
}

/// More than any of the fakes needs; only a hang gets here.
const PLENTY_MS: u64 = 600_000;

fn fails(name: &str, limit_ms: u64, status: u8, why: &str) {
    let failure = run(name, limit_ms).2.expect_err("this is no success");
    assert_eq!(failure.exit_status(), status);
    let message = failure.to_string();
    assert!(
        message.contains(why) && message.lines().count() == 1,
        "{message}"
    );
}

#[test]
fn an_orderly_end_gives_the_status_of_init() {
    let (ending, lines, status) = run("orderly", PLENTY_MS);
    assert_eq!((ending, status), (Ending::Status(33), Ok(7)));
    assert_eq!(lines, ["up", "#exit 7"]);
}

#[test]
fn every_other_end_is_a_failure_that_says_so() {
    fails("killed", PLENTY_MS, EXIT_FAILED, "killed by signal 9");
    fails("triple-fault", PLENTY_MS, EXIT_FAILED, "triple fault");
    fails(
        "panicking",
        PLENTY_MS,
        EXIT_FAILED,
        "the kernel panicked: out of ideas",
    );
    fails(
        "refusing",
        PLENTY_MS,
        EXIT_FAILED,
        "status 1: qemu: invalid accelerator kvm",
    );
    fails(
        "mute-success",
        PLENTY_MS,
        EXIT_FAILED,
        "without the exit status of init",
    );
}

#[test]
fn a_silent_machine_is_stopped_at_the_limit() {
    fails("silent", 300, EXIT_TIMED_OUT, "printed nothing in 0.3 s");
}

#[test]
fn a_stuck_machine_is_stopped_and_its_last_words_are_kept() {
    let (ending, lines, status) = run("stuck", 5000);
    assert_eq!(ending, Ending::TimedOut(Duration::from_secs(5)));
    assert_eq!(lines, ["up", "half"]);
    assert!(
        status
            .expect_err("it was stopped")
            .to_string()
            .contains("half")
    );
}

/// Runs all of the runner, with a fake emulator and a fake cargo.
fn whole_run(arguments: &[&str], name: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_handover"))
        .args(arguments)
        .env("HANDOVER_QEMU", emulator(name))
        .env("CARGO", emulator("cargo"))
        .env_remove("ACCEL")
        .output()
        .expect("the runner starts")
}

#[test]
fn a_program_that_ran_gives_its_status_to_the_runner() {
    let output = whole_run(&["--exec", "init"], "orderly");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "up\n",
        "machine lines are not shown"
    );
    let verbose = whole_run(&["--exec", "init", "--verbose"], "orderly");
    assert_eq!(String::from_utf8_lossy(&verbose.stdout), "up\n#exit 7\n");
    assert!(String::from_utf8_lossy(&verbose.stderr).contains("isa-debug-exit,iobase=0xf4"));
}

#[test]
fn an_unknown_program_is_one_line_and_status_2() {
    complains(
        &whole_run(&["--exec", "nobody"], "orderly"),
        EXIT_USAGE,
        "no program nobody",
    );
    complains(
        &whole_run(&["--exec", "nobody + init"], "orderly"),
        EXIT_USAGE,
        "no program nobody",
    );
    for words in ["+", "init +", "+ init", "init + + init"] {
        complains(
            &whole_run(&["--exec", words], "orderly"),
            EXIT_USAGE,
            "before and after each +",
        );
    }
}

#[test]
fn memory_in_which_the_files_have_no_room_is_status_2() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(16 << 20).expect("it is extended");
    let input = file.path().to_string_lossy();
    complains(
        &whole_run(&["--memory", "16M", "--input", &input], "orderly"),
        EXIT_USAGE,
        "--memory 16M: the files alone need 21M",
    );
}

#[test]
fn a_demonstration_that_shows_nothing_fails() {
    let output = whole_run(&[], "orderly");
    assert_eq!(output.status.code(), Some(i32::from(EXIT_FAILED)));
    let said = String::from_utf8_lossy(&output.stderr);
    for missing in [
        "nothing arrived by ring",
        "by share",
        "by move",
        "on which CPUs",
    ] {
        assert!(said.contains(missing), "{said}");
    }
}

#[test]
fn a_kernel_that_checks_itself_has_to_say_that_all_is_well() {
    let passed = whole_run(&["--kernel", "selfcheck"], "self-checked");
    assert_eq!(passed.status.code(), Some(0));
    let said = String::from_utf8_lossy(&passed.stdout);
    assert!(
        said.ends_with("the kernel passed its own check\n"),
        "{said}"
    );
    let other = whole_run(&["--kernel", "selfcheck=guard"], "panicking");
    assert_eq!(other.status.code(), Some(i32::from(EXIT_FAILED)));
}

#[test]
fn a_reset_of_the_machine_is_never_success() {
    let output = whole_run(&["--exec", "init"], "triple-fault");
    assert_eq!(output.status.code(), Some(i32::from(EXIT_FAILED)));
    assert!(String::from_utf8_lossy(&output.stderr).contains("triple fault"));
}
