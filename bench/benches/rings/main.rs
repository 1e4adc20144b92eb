//! `cargo bench`: rings beside what a user would pick instead.

mod ours;
mod peers;
mod rows;

use std::io::IsTerminal;

use clap::Parser;
use handover_bench::figure::Bench;
use handover_bench::{instructions, plot, report};

/// Compares Handover's rings with what a user would pick instead. Exits with 0 whatever the figures are.
#[derive(Parser)]
#[command(name = "cargo bench --")]
struct Options {
    /// Measure only rows whose name contains one of these words
    filter: Vec<String>,
    /// Measure only contenders whose name contains this word (may be repeated)
    #[arg(long = "only", value_name = "WORD")]
    only: Vec<String>,
    /// Rounds in which each contender has its turn
    #[arg(long, default_value_t = 25)]
    rounds: usize,
    /// Print every contender, with quartiles
    #[arg(long)]
    verbose: bool,
    /// Count instructions, too, which takes valgrind and half a minute
    #[arg(long)]
    instructions: bool,
    /// Draw the ratios into docs/rings.svg
    #[arg(long)]
    plot: bool,
    /// Print the names of the rows and end
    #[arg(long)]
    list: bool,
    /// Run one contender so many times and end, for who counts instructions
    #[arg(long, hide = true, num_args = 2, value_names = ["NAME", "COUNT"])]
    alone: Option<Vec<String>>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let mut rows = rows::all();
    rows.retain(|row| {
        options.filter.is_empty() || options.filter.iter().any(|word| row.key.contains(word))
    });
    for row in &mut rows {
        row.entries.retain(|entry| {
            options.only.is_empty() || options.only.iter().any(|word| entry.name.contains(word))
        });
    }
    if options.list {
        for row in &rows {
            println!("{}", row.key);
        }
        return;
    }
    let bench = match Bench::new(options.rounds.max(1)) {
        Ok(bench) => bench,
        Err(why) => {
            eprintln!("{why}");
            return;
        }
    };
    if let Some([name, count]) = options.alone.as_deref() {
        return run_alone(&bench, name, count.parse().unwrap_or(1));
    }
    if cfg!(not(feature = "iceoryx2")) {
        eprintln!("iceoryx2 takes no part: it does with --features iceoryx2");
    }
    // First, since measuring leaves this process pinned to one CPU, and what it starts with it.
    let counted = options
        .instructions
        .then(|| instructions::count(&rows::counted()));
    let mut figures = Vec::new();
    let watched = std::io::stderr().is_terminal();
    for (at, row) in rows.iter().enumerate() {
        if watched {
            eprint!("{} of {}: {}", at + 1, rows.len(), row.key);
        }
        let figure = bench.measure(row);
        if watched {
            eprint!("\r\x1b[K");
        }
        if options.verbose {
            println!("{}\n", report::everybody(&figure));
        }
        figures.push(figure);
    }
    println!("{}", report::comparisons(&figures, "ns"));
    match counted {
        Some(Ok(figure)) => println!("\n{}", report::comparisons(&[figure], "instructions")),
        Some(Err(why)) => eprintln!("{why}"),
        None => {}
    }
    if options.plot {
        match plot::write(&figures) {
            Ok(path) => println!("\n{} is drawn", path.display()),
            Err(why) => eprintln!("{why}"),
        }
    }
}

fn run_alone(bench: &Bench, name: &str, count: u64) {
    let row = rows::counted();
    let entry = row.entries.iter().find(|entry| entry.name == name);
    if let Some(entry) = entry {
        bench.run_once(&row, entry, count);
    }
}
