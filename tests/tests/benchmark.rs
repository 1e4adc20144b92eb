//! How measured figures are compared with what they must be under.

use handover_tests::bench::Measured;
use handover_tests::serial::Transcript;

fn measured(runs: &[&[&str]]) -> Measured {
    let mut measured = Measured::default();
    for lines in runs {
        measured.add(&lines.iter().copied().collect::<Transcript>());
    }
    measured
}

#[test]
fn a_figure_under_its_limit_is_no_problem_and_others_are_listed() {
    let comparison = measured(&[&["#bench key=null_syscall instructions=60 cr3=0"]]).compare(false);
    assert_eq!(comparison.problems, Vec::<String>::new());
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
        comparison.problems,
        ["null_syscall costs 195; it must be under 195"]
    );
}

#[test]
fn measuring_nothing_is_a_problem() {
    assert_eq!(measured(&[]).compare(false).problems.len(), 1);
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
