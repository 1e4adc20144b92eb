//! `sabotage`: runs Handover without one of its mechanisms at a time and checks that a named
//! test notices.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Parser;
use handover_tests::console::{complain, say};
use handover_tests::failure::{EXIT_FAILED, EXIT_USAGE, Failure};
use handover_tests::sabotage::{ENTRIES, Entry, Matrix, Verdict};
use handover_tests::table::{self, Align};

/// Takes one mechanism away at a time and checks that the test that guards it fails.
///
/// Exit status: 0 when every sabotage is noticed, 1 when one is not, 2 for a wrong option.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Options {
    /// Only entries whose name contains this (one of several, with commas)
    filter: Option<String>,

    /// Lists the entries without building anything
    #[arg(long)]
    list: bool,

    /// Tests that run at once [default: twice as many as the host has CPUs]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZero<usize>>,

    /// Shows where each test failed and what it said, and how long that took
    #[arg(long, short)]
    verbose: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let filter = options.filter.as_deref().unwrap_or("");
    let entries: Vec<&Entry> = ENTRIES
        .iter()
        .filter(|entry| filter.split(',').any(|word| entry.name.contains(word)))
        .collect();
    if entries.is_empty() {
        complain(&format!(
            "sabotage: there is no entry named like {filter}; see --list"
        ));
        return EXIT_USAGE.into();
    }
    if options.list {
        say(&matrix(&entries, &[]));
        return ExitCode::SUCCESS;
    }
    match check(&entries, &options) {
        Ok(verdicts) => {
            say(&matrix(&entries, &verdicts));
            let all = verdicts.iter().all(|verdict| *verdict == Verdict::Noticed);
            if all {
                ExitCode::SUCCESS
            } else {
                EXIT_FAILED.into()
            }
        }
        Err(failure) => {
            complain(&format!("sabotage: {failure}"));
            failure.exit_status().into()
        }
    }
}

fn check(entries: &[&Entry], options: &Options) -> Result<Vec<Verdict>, Failure> {
    let matrix = Matrix::build(entries)?;
    // Many a test without its mechanism does nothing until it has waited for too long.
    let of_host = || 2 * std::thread::available_parallelism().map_or(1, NonZero::get);
    let jobs = options.jobs.map_or_else(of_host, NonZero::get);
    let next = AtomicUsize::new(0);
    let verdicts: Vec<Mutex<Option<Verdict>>> = entries.iter().map(|_| Mutex::default()).collect();
    let work = || -> Result<(), Failure> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(entry) = entries.get(index) else {
                return Ok(());
            };
            complain(&format!(
                "[{}/{}] {} …",
                index + 1,
                entries.len(),
                entry.name
            ));
            let begun = Instant::now();
            let (verdict, said) = matrix.check(entry)?;
            // At once, for who ends this before all are tried.
            let noticed = verdict == Verdict::Noticed;
            if options.verbose || !noticed {
                let (what, after) = (verdict.describe(), begun.elapsed().as_secs());
                complain(&format!("    {}: {what}, after {after} s", entry.name));
            }
            if !said.is_empty() && (options.verbose || !noticed) {
                complain(&format!("    {}:\n{said}", entry.name));
            }
            *verdicts[index].lock().expect("no holder panics") = Some(verdict);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join());
        ended
            .into_iter()
            .try_for_each(|ended| ended.expect("no worker panics"))
    })?;
    let verdict = |cell: Mutex<Option<Verdict>>| cell.into_inner().ok().flatten();
    Ok(verdicts.into_iter().filter_map(verdict).collect())
}

fn matrix(entries: &[&Entry], verdicts: &[Verdict]) -> String {
    let mut head = vec![
        ("sabotage", Align::Left),
        ("takes away", Align::Left),
        ("test", Align::Left),
    ];
    if !verdicts.is_empty() {
        head.push(("result", Align::Left));
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let test = entry.test_name();
            let mut cells = vec![entry.name.to_owned(), entry.takes_away.to_owned(), test];
            cells.extend(verdicts.get(index).map(|verdict| verdict.describe()));
            cells
        })
        .collect();
    table::render(&head, &rows)
}
