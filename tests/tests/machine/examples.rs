//! The programs that show what rings are for, each with what it prints, on one CPU and on several: one
//! machine for all of them, in which they run one after the other.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::machines::{boot_with, said};
use handover_tests::build::Profile;
use handover_tests::machine::Machine;
use handover_tests::options::Job;
use handover_tests::program::ProgramFile;
use programs::search::{CHUNK, Shown};
use regex::bytes::RegexBuilder;

const TIME_LIMIT: Duration = Duration::from_secs(300);
/// Between programs of which the second begins when the first has ended.
const THEN: &str = ";";
/// Writers and lines of `logs`, clients and steps of `kv`.
const LOGS: [u64; 2] = [6, 15];
const KV: [u64; 2] = [16, 25];

/// A program that has run.
struct Ended {
    command: Vec<String>,
    status: u8,
    /// What it said, with those that it started.
    lines: Vec<String>,
}

impl Ended {
    fn said(&self) -> String {
        format!(
            "{:?}: {}\n{}",
            self.command,
            self.status,
            self.lines.join("\n")
        )
    }

    /// The numbers of a row of a table, by what it begins with.
    fn row(&self, head: &str) -> Vec<u64> {
        let row = self.lines.iter().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(head))
                .then(|| words.map_while(|word| word.parse().ok()).collect())
        });
        row.unwrap_or_else(|| panic!("a row {head}\n{}", self.said()))
    }
}

/// Commands that make no sense, and how the one line begins that each says.
const SENSELESS: [(&[&str], &str); 11] = [
    (&["logs", "0"], "logs: needs no arguments or numbers:"),
    (&["logs", "x"], "logs: needs no arguments or numbers:"),
    (&["logs", "--help"], "logs: needs no arguments or numbers:"),
    (&["logger"], "logger: needs its number,"),
    (&["kv", "0"], "kv: needs no arguments or numbers:"),
    (&["kv", "--help"], "kv: needs no arguments or numbers:"),
    (&["kv", "server", "0"], "kv: the server needs the number"),
    (&["search"], "search: needs a pattern:"),
    (&["search", "--help"], "search: needs a pattern:"),
    (&["search", "a", "nowhere"], "search: the file `nowhere`:"),
    (&["search", "a(b"], "search: bad pattern: unclosed group"),
];

/// What is given with `--input`, and a pattern for it.
const INPUT: &[u8] = b"one needle\nhay\n\nand a Needle, and the needle\nno newline, needle";
const PATTERN: &str = "needle";

/// Runs everything in a machine of so many CPUs, once.
fn all(cpus: u32) -> &'static [Ended] {
    static RUNS: [OnceLock<Vec<Ended>>; 3] = [const { OnceLock::new() }; 3];
    let place = cpus.ilog2() as usize;
    RUNS[place].get_or_init(|| run_all(cpus, place as u64 + 1))
}

fn run_all(cpus: u32, seed: u64) -> Vec<Ended> {
    let numbers = |name: &str, [first, second]: [u64; 2]| {
        let numbers = [first, second, seed].map(|number| number.to_string());
        [vec![name.to_owned()], numbers.to_vec()].concat()
    };
    let mut commands = vec![numbers("logs", LOGS), numbers("kv", KV)];
    let mut files = Vec::new();
    for (index, (pattern, bytes)) in awkward_files(cpus).into_iter().enumerate() {
        let name = format!("file{index}");
        commands.push(vec!["search".into(), pattern.into(), name.clone()]);
        let path = PathBuf::new();
        files.push((ProgramFile { path, name }, bytes));
    }
    if cpus == 2 {
        commands.push(vec!["search".into(), PATTERN.into()]);
        let senseless = SENSELESS.iter().map(|(command, _)| *command);
        commands.extend(senseless.map(|words| words.iter().map(|&word| word.into()).collect()));
    }
    let machine = Machine {
        cpus,
        time_limit: Some(TIME_LIMIT),
        ..Machine::default()
    };
    let job = Job::Exec(commands.join(&THEN.to_owned()));
    let run = boot_with(Profile::GuestChecked, &machine, &files, INPUT, &job);
    let (mut ended, mut lines) = (Vec::new(), Vec::new());
    for line in run.transcript.lines() {
        if let Some(status) = line.strip_prefix("#ended status=") {
            let command = commands.get(ended.len()).cloned().unwrap_or_default();
            ended.push(Ended {
                command,
                status: status.parse().expect("a status"),
                lines: std::mem::take(&mut lines),
            });
        } else if !line.starts_with('#') && !line.starts_with("kernel: ") {
            lines.push(line.clone());
        }
    }
    assert_eq!(ended.len(), commands.len(), "{}", said(&run));
    ended
}

fn of<'a>(ended: &'a [Ended], program: &str) -> impl Iterator<Item = &'a Ended> {
    ended.iter().filter(move |one| one.command[0] == program)
}

/// What is wrong with the arguments is one line, and status 2.
#[test]
fn arguments_that_make_no_sense_are_told_in_a_line() {
    let ended = all(2);
    for (one, (command, usage)) in ended[ended.len() - SENSELESS.len()..].iter().zip(SENSELESS) {
        assert_eq!(one.command, command);
        assert_eq!(one.status, 2, "{}", one.said());
        let is_one_line = one.lines.len() == 1 && one.lines[0].starts_with(usage);
        assert!(is_one_line, "{}", one.said());
    }
}

/// One writer is killed in the middle of a line, others anywhere: the rest comes whole, in order.
#[test]
fn logs_come_in_order_and_whole_whoever_is_killed() {
    for cpus in [1, 2, 4] {
        let logs = of(all(cpus), "logs").next().expect("it has run");
        assert_eq!(logs.status, 0, "{}", logs.said());
        let mut times = Vec::new();
        for line in &logs.lines {
            let mut words = line.split_whitespace();
            if let (Some(time), Some(_), Some("request")) =
                (words.next(), words.next(), words.next())
            {
                times.push(time.parse::<f64>().expect("a time"));
            }
        }
        let &[begun, complete, lost, cut, late, killed] = logs.row("all").as_slice() else {
            panic!("six sums\n{}", logs.said());
        };
        assert_eq!(times.len() as u64, complete, "{}", logs.said());
        assert!(late > 0 || times.is_sorted(), "{}", logs.said());
        assert_eq!(begun, complete + lost, "{}", logs.said());
        // The first writer was in the middle of a line, and others may have been, too.
        let [writers, lines] = LOGS;
        assert!(1 <= cut && cut <= lost && lost <= killed && killed < writers);
        assert_eq!(logs.row("0")[3], 1, "{}", logs.said());
        let ends = logs.lines.iter().filter(|line| line.ends_with("  done"));
        let survivors = ends.count() as u64;
        assert!(
            survivors > 0 && complete >= lines * survivors,
            "{}",
            logs.said()
        );
    }
}

/// What is in a file, as the guest shows it, and how many lines there are. The host's `regex` looks line by
/// line, as the file is.
fn expected(input: &[u8], pattern: &str) -> (Vec<String>, usize) {
    let regex = RegexBuilder::new(pattern).unicode(false).build();
    let regex = regex.expect("a pattern");
    let mut lines: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
    // What ends with the file is no further line.
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let numbered = (1..).zip(&lines).filter(|(_, line)| regex.is_match(line));
    let shown = numbered.map(|(number, line): (u32, _)| format!("{number}:{}", Shown(line)));
    (shown.collect(), lines.len())
}

/// Files that have been a nuisance to one program or another.
fn awkward_files(cpus: u32) -> Vec<(&'static str, Vec<u8>)> {
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
    let mut dots = vec![b'.'; 3 * CHUNK];
    dots[CHUNK - 3..CHUNK + 3].copy_from_slice(b"border");
    let invalid = b"\xff\xfe no text\n\xc3\x28 nor this\nplain\n\0\0nul 1\n\0".to_vec();
    let exact = [b"x".repeat(CHUNK - 1), b"\n".to_vec()].concat();
    let mut files = vec![
        ("anything", Vec::new()),
        ("border", dots),
        (r"\xff|\x28", invalid.clone()),
        (r"\x00nul [[:digit:]]$", invalid.clone()),
        (r"^\x00$", invalid),
        ("1", b"1".to_vec()),
        ("^$", b"\n\n\nnot this\n".to_vec()),
        ("2$", b"1\n2\n\n12".to_vec()),
        ("99", numbered(6_000)),
        ("over|after", across),
        ("9.long|short", long),
        ("[0-9][0-9]", binary),
        ("x", exact),
        ("nowhere", numbered(100)),
    ];
    // Once is enough of what is long.
    if cpus == 4 {
        let mut long = numbered(600_000);
        long.truncate(10 << 20);
        long.extend(b" and no end");
        files.push(("^line [0-9]*0000 |no end$", long));
    }
    files
}

#[test]
fn a_search_finds_what_grep_finds() {
    for cpus in [1, 2, 4] {
        let files = awkward_files(cpus);
        let searches: Vec<_> = of(all(cpus), "search").take(files.len()).collect();
        assert_eq!(searches.len(), files.len());
        for (search, (pattern, input)) in searches.into_iter().zip(files) {
            assert_eq!(search.command[1], pattern);
            let (expected, all) = expected(&input, pattern);
            let (summary, lines) = search.lines.split_last().expect("a line");
            assert!(
                lines == expected,
                "{pattern} on {cpus} CPUs\n{}",
                search.said()
            );
            let sums = format!("search: {} of {all} lines, in ", expected.len());
            assert!(summary.starts_with(&sums), "{pattern}: {summary}");
            assert_eq!(search.status, u8::from(expected.is_empty()), "{pattern}");
        }
    }
}

/// The file that was given to the whole machine has a name of its own, which need not be said.
#[test]
fn a_search_without_a_file_is_one_of_the_input() {
    let bare = ["search", PATTERN].map(str::to_owned);
    let mut searches = of(all(2), "search").filter(|one| one.command == bare);
    let search = searches.next().expect("it has run");
    let (expected, all) = expected(INPUT, PATTERN);
    let (summary, lines) = search.lines.split_last().expect("a line");
    assert_eq!((expected.len(), all), (3, 5));
    assert!(lines == expected, "{}", search.said());
    assert!(
        summary.starts_with("search: 3 of 5 lines, in "),
        "{summary}"
    );
    assert_eq!(search.status, 0);
}

/// Clients and the server are killed anywhere, and each step is done once.
#[test]
fn a_store_on_a_hub_keeps_its_counts_whoever_is_killed() {
    for cpus in [1, 2, 4] {
        let kv = of(all(cpus), "kv").next().expect("it has run");
        assert_eq!(kv.status, 0, "{}", kv.said());
        let [clients, steps] = KV;
        let rows: Vec<_> = (0..clients)
            .map(|client| kv.row(&client.to_string()))
            .collect();
        let column = |index: usize| rows.iter().map(move |row| row[index]).collect::<Vec<_>>();
        let requests = column(2);
        assert!(
            requests.iter().all(|&requests| requests == steps),
            "{}",
            kv.said()
        );
        // Some values are longer than any slot of a pool.
        assert!(
            column(4).iter().any(|&bytes| bytes > 20_000),
            "{}",
            kv.said()
        );
        // The last server tells of all that it was asked.
        let received = kv.row("received");
        assert!(received[0] > 0 && received[3] > 0, "{}", kv.said());
        let killed = column(0).iter().sum::<u64>() - clients;
        let restarts = |line: &&String| line.starts_with("supervisor: kv: again");
        let restarts = kv.lines.iter().filter(restarts).count();
        assert!(killed > 0 && restarts > 0, "{}", kv.said());
        let summary = kv.lines.last().expect("a line");
        let sums = format!(
            "kv: {} requests, {killed} clients killed, ",
            clients * steps
        );
        let is_right = summary.ends_with("every value and sum is right");
        assert!(summary.starts_with(&sums) && is_right, "{}", kv.said());
    }
}
