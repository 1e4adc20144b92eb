//! How measured figures are compared with what they must be under, what they consist of, and how they
//! grow.

use std::collections::BTreeMap;

use handover_tests::bench::{self, Comparison, Measured};
use handover_tests::dear::{COLUMNS, Counts, Text};
use handover_tests::growth::Growth;
use handover_tests::plot;
use handover_tests::serial::Transcript;
use handover_tests::targets::TARGETS;
use handover_tests::trace;

fn measured(runs: &[&[&str]]) -> Measured {
    let mut measured = Measured::default();
    for (cpus, lines) in (1..).zip(runs) {
        measured.add(cpus, &lines.iter().copied().collect::<Transcript>());
    }
    measured
}

/// What is wrong with the figures that are there.
fn missed(comparison: &Comparison) -> Vec<&str> {
    let problems = comparison.problems.iter().map(String::as_str);
    problems
        .filter(|problem| !problem.contains("not measured"))
        .collect()
}

#[test]
fn a_figure_under_its_limit_is_no_problem_and_others_are_listed() {
    let comparison = measured(&[&["#bench key=null_syscall instructions=60 cr3=0"]]).compare(false);
    assert_eq!(missed(&comparison), Vec::<&str>::new());
    let row = |key: &str| {
        let line = comparison
            .table
            .lines()
            .find(|line| line.starts_with(key))
            .expect("a row");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        row("null_syscall"),
        "null_syscall 60 195 60 linux_unknown_number 195 0.31"
    );
    assert_eq!(row("signal"), "signal not measured 350 120 sel4 350");
}

#[test]
fn a_figure_at_its_limit_is_missed() {
    let comparison = measured(&[&["#bench key=null_syscall instructions=195"]]).compare(false);
    assert_eq!(
        missed(&comparison),
        ["null_syscall costs 195; it must be under 195"]
    );
}

#[test]
fn the_check_of_the_clock_is_shown_as_measuring_begins() {
    let line = "#calibration expected=2001 instructions=2001";
    let said = bench::begins(line, 1).expect("a line for the person");
    assert_eq!(
        said,
        "a loop of 2,001 instructions counts 2,001; measuring on 1 CPU …"
    );
    assert_eq!(bench::begins("#bench key=signal instructions=1", 1), None);
}

#[test]
fn measuring_nothing_is_a_problem() {
    assert_eq!(missed(&measured(&[]).compare(false)).len(), 1);
}

/// The benchmark lines of all targets but some, each just under its limit.
fn all_but(left_out: &[&str]) -> Vec<String> {
    let kept = TARGETS
        .iter()
        .filter(|target| !left_out.contains(&target.key));
    kept.map(|target| format!("#bench key={} instructions={}", target.key, target.must - 1))
        .collect()
}

#[test]
fn a_row_that_vanishes_is_a_problem() {
    let problems = |left_out: &[&str], runs: &[u32]| {
        let mut measured = Measured::default();
        let lines = all_but(left_out);
        for &cpus in runs {
            measured.add(cpus, &lines.iter().map(String::as_str).collect());
        }
        measured.compare(false).problems
    };
    for target in TARGETS {
        let expected = format!("{} was not measured", target.key);
        assert_eq!(problems(&[target.key], &[1, 2]), [expected]);
    }
    let two = ["shootdown_extra", "ring_sleep_other_cpu"];
    assert_eq!(problems(&two, &[1]), Vec::<String>::new());
    assert_eq!(problems(&two, &[4]).len(), 2);
    let one = ["call_reply", "ring_sleep_round_trip"];
    assert_eq!(problems(&one, &[2]), Vec::<String>::new());
    assert_eq!(problems(&one, &[1]).len(), 2);
}

#[test]
fn a_second_run_adds_only_what_the_first_could_not_measure() {
    let one = &["#bench key=signal instructions=100"][..];
    let two = &[
        "#bench key=signal instructions=999",
        "#bench key=shootdown_extra instructions=200",
    ][..];
    let json = measured(&[one, two]).to_json();
    assert_eq!(json[0]["key"], "signal");
    assert_eq!(json[0]["instructions"], 100);
    assert_eq!(json[1]["key"], "shootdown_extra");
}

#[test]
fn json_carries_limits_peers_and_the_dear_instructions() {
    let line = "#bench key=map_1 instructions=250 cr3=0 invlpg=1 wrmsr=0 locked=2 iret=0 xsave=0";
    let json = measured(&[&[line, "#bench key=own instructions=1"]]).to_json();
    assert_eq!(json[0]["must"], 673);
    assert_eq!(json[0]["peers"]["linux_lean"], 14_054);
    assert_eq!(
        (&json[0]["invlpg"], &json[0]["locked"]),
        (&1.into(), &2.into())
    );
    assert_eq!(json[1]["key"], "own");
}

/// Instructions that lie one after another, each with its bytes.
const CODE: [&[u8]; 17] = [
    &[0x0f, 0x22, 0xd8],             // mov cr3, rax: before the window
    &[0x0f, 0x31],                   // rdtsc
    &[0x0f, 0x22, 0xd8],             // mov cr3, rax
    &[0x0f, 0x22, 0xe0],             // mov cr4, rax
    &[0x0f, 0x20, 0xd8],             // mov rax, cr3
    &[0x0f, 0x01, 0x38],             // invlpg [rax]
    &[0x0f, 0x30],                   // wrmsr
    &[0xf0, 0x48, 0x0f, 0xb1, 0x0f], // lock cmpxchg [rdi], rcx
    &[0x48, 0x87, 0x07],             // xchg [rdi], rax
    &[0x48, 0x87, 0xc3],             // xchg rbx, rax
    &[0x48, 0xcf],                   // iretq
    &[0x0f, 0xae, 0x07],             // fxsave [rdi]
    &[0x48, 0x0f, 0xae, 0x2f],       // xrstor64 [rdi]
    &[0x48, 0x0f, 0xae, 0x37],       // xsaveopt64 [rdi]
    &[0x0f, 0xae, 0xf0],             // mfence
    &[0x0f, 0x31],                   // rdtsc
    &[0x0f, 0x30],                   // wrmsr: after the window
];

fn code(base: u64) -> (Text, Vec<u64>) {
    let mut text = Text::default();
    let mut executed = Vec::new();
    let mut address = base;
    for instruction in CODE {
        executed.push(address);
        address += instruction.len() as u64;
    }
    text.add(base, &CODE.concat());
    (text, executed)
}

#[test]
fn dear_instructions_are_told_apart_between_two_readings_of_the_counter() {
    let (text, executed) = code(0x40_0000);
    let expected = Counts {
        traced: 14,
        cr3: 1,
        invlpg: 1,
        wrmsr: 1,
        locked: 2,
        iret: 1,
        xsave: 3,
    };
    assert_eq!(text.count(&executed, 0x50_0000), Some(expected));
    // Readings by the kernel are no end of what a program measures.
    assert_eq!(text.count(&executed, 0xffff_ffff_8000_0000), None);
    assert_eq!(text.count(&executed[2..], 0x50_0000), None);
    // Instructions that are not known count as such, and as nothing else.
    let with_unknown = [&executed[..2], &[0x1000], &executed[15..]].concat();
    let unknown = Counts {
        traced: 2,
        ..Counts::default()
    };
    assert_eq!(text.count(&with_unknown, 0x50_0000), Some(unknown));
}

#[test]
fn addresses_are_read_from_the_log_of_the_emulator() {
    let log = "\
Trace 0: 0x7f0b4c000100 [00000000/ffffffff8020b180/0040c0b0/ff000201] measure
Stopped execution of TB chain before 0x7f0b4c000100 [0000000000401000]
Trace 0: 0x7f0b4c000240 [00000000/0000000000401000/0040c0b3/ff000201]
Trace 0: 0x7f0b4c0002";
    assert_eq!(trace::executed(log), [0xffff_ffff_8020_b180, 0x40_1000]);
}

#[test]
fn every_figure_has_all_columns_and_what_was_not_counted_is_null() {
    let lines = [
        "#bench key=revoke_child instructions=104",
        "#bench key=signal instructions=100",
        "#difference key=revoke_child of=all less=one each=8",
    ];
    let run: Transcript = lines.into_iter().collect();
    let counts = |traced, locked| Counts {
        traced,
        locked,
        ..Counts::default()
    };
    let counted = [("one", counts(274, 5)), ("all", counts(1106, 13))];
    let counted = counted.map(|(key, counts)| (key.to_owned(), counts));
    let mut measured = Measured::default();
    measured.add(1, &run);
    measured.add_counts(&run, &BTreeMap::from(counted));
    let json = measured.to_json();
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    for (row, key, locked) in [
        (&json[0], "signal", None),
        (&json[1], "revoke_child", Some(1)),
    ] {
        assert_eq!(row["key"], key);
        assert_eq!(row["locked"].as_u64(), locked);
        let fields = ["key", "instructions", "must", "goal", "peers"];
        for field in fields.into_iter().chain(COLUMNS) {
            assert!(row.get(field).is_some(), "{key}: {field}");
        }
    }
    let table = measured.compare(true).table;
    assert!(
        table
            .lines()
            .next()
            .is_some_and(|head| head.ends_with("xsave"))
    );
}

fn growth(lines: &[&str]) -> Growth {
    let mut growth = Growth::default();
    growth.add(&lines.iter().copied().collect());
    growth
}

#[test]
fn growth_with_leaf_tables_is_no_problem_and_growth_with_pages_is() {
    let of =
        |pages: u64, cost: u64| format!("#growth operation=map pages={pages} instructions={cost}");
    for (pages, cost, problems) in [
        (16, 750, 0),
        (16, 801, 1),
        (512, 770, 0),
        (512, 771, 1),
        (262_144, 51_900, 0),
        (262_144, 51_901, 1),
    ] {
        let found = growth(&[&of(1, 700), &of(pages, cost)]).problems();
        assert_eq!(found.len(), problems, "{found:?}");
    }
    assert_eq!(growth(&[&of(512, 1)]).problems().len(), 1);
    let sharing = "#sharing sharers=8 map=700 snapshot=1 write=1 revoke=1 tables=";
    assert!(growth(&[&format!("{sharing}0")]).problems().is_empty());
    assert_eq!(growth(&[&format!("{sharing}1")]).problems().len(), 1);
}

#[test]
fn growth_is_two_tables_an_object_and_a_drawing() {
    let growth = growth(&[
        "#growth operation=map pages=1 instructions=700",
        "#growth operation=map pages=4096 instructions=1234",
        "#sharing sharers=64 map=800 snapshot=900 write=1000 revoke=1100 tables=0",
    ]);
    let tables = growth.tables();
    let row = |start: &str| tables.lines().find(|line| line.starts_with(start));
    assert!(
        row("map ").is_some_and(|line| line.ends_with("  1,234")),
        "{tables}"
    );
    assert!(
        row("page tables taken").is_some_and(|line| line.ends_with(" 0")),
        "{tables}"
    );
    let json = growth.to_json();
    assert_eq!(json["pages"]["map"]["4096"], 1234);
    assert_eq!(json["sharers"]["write"]["64"], 1000);
    let drawing = plot::draw(&growth).expect("a drawing");
    for part in ["<title>", "Handover", "Linux 6.1", "seL4 16", "CopyOnWrite"] {
        assert!(drawing.contains(part), "{part}");
    }
}
