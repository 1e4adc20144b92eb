//! The programs that show what rings are for, each with what it prints, on one CPU and on several.

mod machines;

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use handover_tests::build::Profile;
use handover_tests::machine::Machine;
use handover_tests::qemu::Run;
use machines::{boot, exec, said, status};
use programs::search::{CHUNK, Shown};

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
        ("kv 0", "kv: needs no arguments or numbers:"),
        ("search", "search: needs a pattern:"),
        ("search a b", "search: needs a pattern:"),
        ("search a(b", "search: bad pattern: unclosed group"),
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

/// What `grep` of the host finds, as the guest shows it.
fn grep(input: &[u8], pattern: &str) -> Vec<String> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(input).expect("room for it");
    let output = Command::new("grep")
        .args([
            "--text",
            "--line-number",
            "--extended-regexp",
            "--regexp",
            pattern,
            "--",
        ])
        .arg(file.path())
        .env("LC_ALL", "C")
        .output()
        .expect("grep is there");
    let lines = output.stdout.split_inclusive(|&byte| byte == b'\n');
    lines
        .map(|line| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let colon = line
                .iter()
                .position(|&byte| byte == b':')
                .expect("a number");
            let number = String::from_utf8_lossy(&line[..colon]);
            format!("{number}:{}", Shown(&line[colon + 1..]))
        })
        .collect()
}

/// Files that have been a nuisance to one program or another.
fn awkward_files() -> Vec<(&'static str, Vec<u8>)> {
    let numbered = |count: u32| -> Vec<u8> {
        (0..count)
            .flat_map(|line| format!("line {line} of many\n").into_bytes())
            .collect()
    };
    let mut across = vec![b'-'; CHUNK - 4];
    across.extend(b"\n123456789 over the border\nafter it\n");
    let mut long = b"short 1\n".to_vec();
    long.extend("0123456789 long ".repeat(4 * CHUNK / 16).bytes());
    long.extend(b"\nshort 2\n");
    let binary = (0..20_000_u32)
        .map(|index| (index * index / 7) as u8)
        .collect();
    let exact = [b"x".repeat(CHUNK - 1), b"\n".to_vec()].concat();
    vec![
        ("", Vec::new()),
        ("1", b"1".to_vec()),
        ("^$", b"\n\n\nnot this\n".to_vec()),
        ("2$", b"1\n2\n\n12".to_vec()),
        ("99", numbered(6_000)),
        ("over|after", across),
        ("9.long|short", long),
        ("[0-9][0-9]", binary),
        ("x", exact),
        ("nowhere", numbered(100)),
    ]
}

#[test]
fn a_search_finds_what_grep_finds() {
    for (index, (pattern, input)) in awkward_files().into_iter().enumerate() {
        let cpus = [1, 2, 4][index % 3];
        let run = run(&format!("search {pattern}"), cpus, &input);
        let expected = grep(&input, pattern);
        let mut lines = output(&run);
        let summary = lines.pop().unwrap_or_default();
        assert_eq!(lines, expected, "{pattern} on {cpus} CPUs\n{}", said(&run));
        let ends = input.iter().filter(|&&byte| byte == b'\n').count();
        let all = ends + usize::from(input.last().is_some_and(|&byte| byte != b'\n'));
        let sums = format!("search: {} of {all} lines, in ", expected.len());
        assert!(summary.starts_with(&sums), "{pattern}: {summary}");
        assert_eq!(status(&run), u8::from(expected.is_empty()), "{pattern}");
    }
}

/// Clients and the server are killed anywhere, and each step is done once.
#[test]
fn a_store_on_a_hub_keeps_its_counts_whoever_is_killed() {
    for (cpus, seed) in [(1, 1), (2, 2), (4, 3)] {
        let (clients, steps) = (16, 25);
        let run = run(&format!("kv {clients} {steps} {seed}"), cpus, b"");
        assert_eq!(status(&run), 0, "{}", said(&run));
        let rows: Vec<_> = (0..clients)
            .map(|client: u32| row(&run, &client.to_string()))
            .collect();
        let column = |index: usize| rows.iter().map(move |row| row[index]).collect::<Vec<_>>();
        assert!(
            column(2).iter().all(|&requests| requests == steps),
            "{}",
            said(&run)
        );
        // Some values are longer than any slot of a pool.
        assert!(column(4).iter().any(|&bytes| bytes > 20_000));
        let killed = column(0).iter().sum::<u64>() - u64::from(clients);
        let lines = output(&run);
        let restarts = lines
            .iter()
            .filter(|line| line.starts_with("supervisor: kv: again"))
            .count();
        assert!(killed > 0 && restarts > 0, "{}", said(&run));
        let sums = lines.iter().find_map(|line| {
            line.strip_suffix(" requests asked again; every value and sum is right")
        });
        let words: Vec<&str> = sums.expect("the sums").split_whitespace().collect();
        let total = u64::from(clients) * steps;
        assert_eq!(
            words[..5],
            [
                "kv:",
                &total.to_string(),
                "requests,",
                &killed.to_string(),
                "clients"
            ]
        );
    }
}
