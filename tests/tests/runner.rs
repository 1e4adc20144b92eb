//! What the runner does without a machine: bad input, bad emulators, and what it packs and prints.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use clap::Parser;
use handover_tests::demo;
use handover_tests::failure::{EXIT_FAILED, EXIT_TIMED_OUT, EXIT_USAGE, Failure};
use handover_tests::initrd;
use handover_tests::machine::{Accelerator, InstructionCount, Machine, memory_for_initrd};
use handover_tests::options::{Job, Options};
use handover_tests::qemu::{Ending, Qemu};
use handover_tests::suite;
use handover_tests::table::{self, Align};

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
    complains(&own, EXIT_USAGE, "position independent");
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
    let (ending, lines, status) = run("stuck", 2000);
    assert_eq!(ending, Ending::TimedOut(Duration::from_secs(2)));
    assert_eq!(lines, ["up", "half"]);
    assert!(
        status
            .expect_err("it was stopped")
            .to_string()
            .contains("half")
    );
}

#[test]
fn the_archive_holds_programs_input_and_arguments() {
    let arguments = ["exec".to_owned(), "a b".to_owned(), String::new()];
    let programs = [("init", &b"elf"[..]), ("other", &b""[..])];
    let bytes = initrd::pack(programs, b"data", &arguments).expect("it packs");
    assert_eq!(&bytes[257..263], b"ustar\0");
    assert_eq!(bytes.len() % 512, 0);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut found = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("text");
        found.push((entry.path().expect("a path").display().to_string(), content));
    }
    let expected = [
        ("init", "elf"),
        ("other", ""),
        ("input", "data"),
        ("init.args", "exec\0a b\0\0"),
    ];
    assert_eq!(
        found,
        expected.map(|(name, content)| (name.to_owned(), content.to_owned()))
    );
    let again = initrd::pack(programs, b"data", &arguments).expect("it packs");
    assert_eq!(bytes, again, "equal contents give equal bytes");
}

#[test]
fn an_argument_with_a_nul_byte_is_refused() {
    assert!(initrd::pack([], b"", &["a\0b".to_owned()]).is_err());
}

#[test]
fn tables_are_aligned() {
    let head = [
        ("way", Align::Left),
        ("bytes", Align::Right),
        ("digest", Align::Left),
    ];
    let rows = [
        vec!["ring".to_owned(), "4,096".into(), "ok".into()],
        vec!["x".into(), "1".into(), "".into()],
    ];
    let expected = "\
way   bytes  digest
───────────────────
ring  4,096  ok
x         1";
    assert_eq!(table::render(&head, &rows), expected);
}

fn demo_lines(digest: &str) -> Vec<String> {
    let way = |name: &str| {
        format!("#way name={name} bytes=3 entries=12 instructions=3456 sha256={digest}")
    };
    vec![
        way("ring"),
        way("share"),
        way("move"),
        "#fault addr=0x200000 ok".into(),
        "#placed producer=0 consumer=1".into(),
        "#exit 0".into(),
    ]
}

fn judged(lines: &[String], cpus: u32) -> demo::Verdict {
    demo::judge(&lines.iter().map(String::as_str).collect(), b"abc", cpus)
}

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_good_demonstration_is_one_table() {
    let verdict = judged(&demo_lines(ABC), 2);
    assert_eq!(verdict.problems, Vec::<String>::new());
    let expected = "\
way    bytes  kernel entries  instructions  digest
────────────────────────────────────────────────────────────────
ring       3              12         3,456  ok ba7816bf8f01cfea…
share      3              12         3,456  ok ba7816bf8f01cfea…
move       3              12         3,456  ok ba7816bf8f01cfea…";
    assert_eq!(verdict.table, expected);
    assert!(verdict.fault.contains("0x200000"));
}

#[test]
fn a_demonstration_fails_for_each_thing_that_is_missing_or_wrong() {
    for missing in 0..5 {
        let mut lines = demo_lines(ABC);
        lines.remove(missing);
        assert_eq!(
            judged(&lines, 2).problems.len(),
            1,
            "without line {missing}"
        );
    }
    assert_eq!(
        judged(&demo_lines("00"), 2).problems.len(),
        3,
        "another digest"
    );
    for (line, wrong) in [
        (
            0,
            format!("#way name=ring bytes=4 entries=1 instructions=1 sha256={ABC}"),
        ),
        (0, format!("#way name=ring bytes=3 entries=1 sha256={ABC}")),
        (1, "#way name=share bytes=3 entries=1 instructions=1".into()),
        (3, "#fault addr=0x200000 none".into()),
        (4, "#placed producer=1 consumer=1".into()),
    ] {
        let mut lines = demo_lines(ABC);
        lines[line] = wrong;
        assert_eq!(judged(&lines, 2).problems.len(), 1, "{}", lines[line]);
    }
    let mut twice = demo_lines(ABC);
    twice.push(twice[0].clone());
    assert_eq!(judged(&twice, 2).problems.len(), 1);
}

#[test]
fn one_cpu_is_no_reason_to_fail() {
    let mut lines = demo_lines(ABC);
    lines[4] = "#placed producer=0 consumer=0".into();
    assert!(judged(&lines, 1).problems.is_empty());
}

#[test]
fn a_suite_passes_only_when_every_case_did() {
    let problems = |lines: &[&str]| suite::judge(&lines.iter().copied().collect()).len();
    let (ok, bad) = (
        "#case a status=ok it works",
        "#case b status=timeout it hangs",
    );
    assert_eq!(problems(&[ok, "#suite passed=1 failed=0"]), 0);
    assert_eq!(problems(&[ok, bad, "#suite passed=1 failed=1"]), 1);
    assert_eq!(problems(&[ok]), 1, "no summary");
    assert_eq!(
        problems(&[ok, "#suite passed=2 failed=0"]),
        1,
        "a case is missing"
    );
    assert_eq!(problems(&["#suite passed=0 failed=0"]), 1, "nothing ran");
}

#[test]
fn a_case_is_shown_with_its_sentence() {
    let line = suite::case_line("#case ring-3 status=ok a full ring says Full").expect("a case");
    assert_eq!(
        anstream::adapter::strip_str(&line)
            .to_string()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        "ok ring-3 a full ring says Full"
    );
    assert_eq!(suite::case_line("#way name=ring"), None);
}

fn options(arguments: &[&str]) -> Options {
    Options::try_parse_from([&["handover"], arguments].concat()).expect("good options")
}

fn refused(arguments: &[&str]) -> bool {
    match Options::try_parse_from([&["handover"], arguments].concat()) {
        Err(_) => true,
        Ok(options) => options.job().and_then(|job| options.machine(&job)).is_err(),
    }
}

#[test]
fn each_job_has_its_arguments_for_init() {
    let arguments = |given: &[&str]| options(given).job().expect("a job").arguments();
    assert_eq!(arguments(&[]), ["demo"]);
    assert_eq!(
        arguments(&["--exec", "hello 'a b' c\\ d"]),
        ["exec", "hello", "a b", "c d"]
    );
    assert_eq!(arguments(&["--suite"]), ["suite"]);
    assert_eq!(arguments(&["--suite", "ring"]), ["suite", "ring"]);
    assert_eq!(arguments(&["--list"]), ["suite", "--list"]);
    assert_eq!(arguments(&["--bench"]), ["bench"]);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for arguments in [
        &["--smp", "0"][..],
        &["--smp", "65"],
        &["--memory", "much"],
        &["--memory", "0"],
        &["--memory", "1000K"],
        &["--memory", "99999999999999999999G"],
        &["--numa", "3"],
        &["--timeout", "0"],
        &["--suite", "a", "--bench"],
        &["--exec", "a", "--list"],
        &["--accel", "kvm", "--icount"],
        &["--bench", "--accel", "kvm"],
        &["--bench", "--icount", "off"],
        &["--program", "file:a/b"],
        &["--program", "file:init.args"],
        &["--program", "input"],
        &["stray"],
    ] {
        assert!(refused(arguments), "{arguments:?}");
    }
}

#[test]
fn a_program_is_called_by_its_stem_unless_named() {
    let options = options(&["--program", "a/hello.elf", "--program", "b/hello.elf:other"]);
    let names: Vec<_> = options
        .programs
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(names, ["hello", "other"]);
    assert_eq!(options.programs[1].path.to_str(), Some("b/hello.elf"));
}

#[test]
fn counting_instructions_is_on_where_it_can_be() {
    let count = |given: &[&str]| {
        options(given)
            .machine(&Job::Demo)
            .expect("a machine")
            .instruction_count
    };
    assert_eq!(count(&[]), InstructionCount::On);
    assert_eq!(count(&["--icount"]), InstructionCount::On);
    assert_eq!(count(&["--icount", "off"]), InstructionCount::Off);
    assert_eq!(count(&["--gdb"]), InstructionCount::Off);
    assert_eq!(count(&["--accel", "kvm"]), InstructionCount::Off);
}

#[test]
fn the_time_limit_depends_on_the_job_and_gdb_has_none() {
    let seconds = |given: &[&str]| {
        let options = options(given);
        let job = options.job().expect("a job");
        options
            .machine(&job)
            .expect("a machine")
            .time_limit
            .map(|limit| limit.as_secs())
    };
    assert_eq!(seconds(&[]), Some(60));
    assert_eq!(seconds(&["--suite"]), Some(600));
    assert_eq!(seconds(&["--timeout", "5"]), Some(5));
    assert_eq!(seconds(&["--gdb"]), None);
}

#[test]
fn memory_follows_the_initrd() {
    let mib = 1 << 20;
    assert_eq!(memory_for_initrd(0), 128);
    assert_eq!(memory_for_initrd(16 * mib), 128);
    assert_eq!(memory_for_initrd(16 * mib + 1), 192);
    assert_eq!(memory_for_initrd(65 * mib), 384);
}

fn command_line(machine: &Machine) -> String {
    let arguments = machine.arguments("k".as_ref(), "i".as_ref(), 0);
    let words: Vec<_> = arguments
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    words.join(" ")
}

#[test]
fn the_command_line_of_the_default_machine_is_the_known_good_one() {
    assert_eq!(
        command_line(&Machine::default()),
        "-machine q35 -accel tcg,thread=single -icount shift=0,sleep=off -cpu max -smp 2 -m 128M \
         -display none -net none -serial stdio -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4 \
         -kernel k -initrd i"
    );
}

#[test]
fn nodes_share_cpus_and_memory() {
    let machine = Machine {
        cpus: 3,
        numa_nodes: 2,
        memory_mib: Some(129),
        ..Machine::default()
    };
    let line = command_line(&machine);
    assert!(line.contains("id=memory0,size=65M"), "{line}");
    assert!(
        line.contains("node,nodeid=0,memdev=memory0,cpus=0-1"),
        "{line}"
    );
    assert!(line.contains("id=memory1,size=64M"), "{line}");
    assert!(
        line.contains("node,nodeid=1,memdev=memory1,cpus=2"),
        "{line}"
    );
}

#[test]
fn accelerators_are_passed_on() {
    let kvm = Machine {
        accelerator: Accelerator::Kvm,
        ..Machine::default()
    };
    assert!(command_line(&kvm).contains("-accel kvm"));
    assert!(!command_line(&kvm).contains("icount"));
    let threads = Machine {
        instruction_count: InstructionCount::Off,
        ..Machine::default()
    };
    assert!(command_line(&threads).contains("-accel tcg,thread=multi"));
    let seeded = Machine {
        seed: Some(7),
        ..Machine::default()
    };
    assert!(command_line(&seeded).contains("-append seed=7"));
}
