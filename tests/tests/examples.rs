//! The programs that show what rings are for, each with what it prints, on one CPU and on several.

mod machines;

use std::time::Duration;

use handover_tests::build::Profile;
use handover_tests::machine::Machine;
use handover_tests::qemu::Run;
use machines::{boot, exec, said, status};

const TIME_LIMIT: Duration = Duration::from_secs(180);

fn run(command: &str, cpus: u32, input: &[u8]) -> Run {
    let machine = Machine {
        cpus,
        time_limit: Some(TIME_LIMIT),
        ..Machine::default()
    };
    boot(Profile::GuestChecked, &machine, input, &exec(command))
}

/// What a program said that was run alone, without what the kernel and init say.
fn output(run: &Run) -> Vec<&str> {
    let lines = run.transcript.lines().iter().map(String::as_str);
    let own = |line: &&str| !line.starts_with(['#']) && !line.starts_with("kernel: ");
    lines.filter(own).collect()
}

/// The numbers of a row of a table, by what it begins with.
fn row(run: &Run, head: &str) -> Vec<u64> {
    let mut lines = output(run).into_iter();
    let row = lines.find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(head)).then(|| words.map_while(|word| word.parse().ok()).collect())
    });
    row.unwrap_or_else(|| panic!("a row {head}\n{}", said(run)))
}

/// What is wrong with the arguments is one line, and status 2.
#[test]
fn arguments_that_make_no_sense_are_told_in_a_line() {
    for (command, usage) in [
        ("logs 0", "logs: needs no arguments or numbers:"),
        ("logs x", "logs: needs no arguments or numbers:"),
        ("logger", "logger: needs its number,"),
    ] {
        let run = run(command, 2, b"");
        assert_eq!(status(&run), 2, "{command}\n{}", said(&run));
        let lines = output(&run);
        assert!(
            lines.len() == 1 && lines[0].starts_with(usage),
            "{command}\n{}",
            said(&run)
        );
    }
}

/// One writer is killed in the middle of a line, others anywhere: the rest comes whole, in order.
#[test]
fn logs_come_in_order_and_whole_whoever_is_killed() {
    for (cpus, seed) in [(1, 1), (2, 2), (4, 3)] {
        let (writers, lines) = (6, 15);
        let run = run(&format!("logs {writers} {lines} {seed}"), cpus, b"");
        assert_eq!(status(&run), 0, "{}", said(&run));
        let mut times = Vec::new();
        for line in output(&run) {
            let mut words = line.split_whitespace();
            if let (Some(time), Some(_), Some("request")) =
                (words.next(), words.next(), words.next())
            {
                times.push(time.parse::<f64>().expect("a time"));
            }
        }
        let &[begun, complete, lost, cut, late, killed] = row(&run, "all").as_slice() else {
            panic!("six sums\n{}", said(&run));
        };
        assert_eq!(times.len() as u64, complete, "{}", said(&run));
        assert!(late > 0 || times.is_sorted(), "{}", said(&run));
        assert_eq!(begun, complete + lost, "{}", said(&run));
        // The first writer was in the middle of a line, and others may have been, too.
        assert!(1 <= cut && cut <= lost && lost <= killed && killed < writers);
        assert_eq!(row(&run, "0")[3], 1, "{}", said(&run));
        let survivors = output(&run)
            .iter()
            .filter(|line| line.ends_with("  done"))
            .count();
        assert!(
            survivors > 0 && complete >= lines * survivors as u64,
            "{}",
            said(&run)
        );
    }
}
