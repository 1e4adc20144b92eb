//! What is packed for the machine, and how its reports are judged and shown.

use std::io::Read;

use handover_tests::demo;
use handover_tests::initrd;
use handover_tests::machine::Machine;
use handover_tests::suite;
use handover_tests::table::{self, Align};

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
        way("copy"),
        way("move"),
        "#fault addr=0x200000 ok".into(),
        "#placed producer=0 consumer=1".into(),
        "#exit 0".into(),
    ]
}

fn judged(lines: &[String], cpus: u32) -> demo::Verdict {
    let machine = Machine {
        cpus,
        ..Machine::default()
    };
    demo::judge(
        &lines.iter().map(String::as_str).collect(),
        b"abc",
        &machine,
    )
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
copy       3              12         3,456  ok ba7816bf8f01cfea…
move       3              12         3,456  ok ba7816bf8f01cfea…";
    assert_eq!(verdict.table, expected);
    assert!(verdict.fault.contains("0x200000"));
}

#[test]
fn a_demonstration_fails_for_each_thing_that_is_missing_or_wrong() {
    for missing in 0..6 {
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
        4,
        "another digest"
    );
    for (line, wrong) in [
        (
            0,
            format!("#way name=ring bytes=4 entries=1 instructions=1 sha256={ABC}"),
        ),
        (0, format!("#way name=ring bytes=3 entries=1 sha256={ABC}")),
        (1, "#way name=share bytes=3 entries=1 instructions=1".into()),
        (4, "#fault addr=0x200000 none".into()),
        (5, "#placed producer=1 consumer=1".into()),
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
    lines[5] = "#placed producer=0 consumer=0".into();
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
