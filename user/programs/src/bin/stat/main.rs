//! Prints what the system has counted, a row for each CPU, and which calls were made.
//!
//! Arguments: `[MILLISECONDS [COUNT]]`: after the counts since boot, those of COUNT intervals (1) of so
//! many. Handles: the initrd and a session with the name service, which it does not need, and the
//! statistics.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;

use abi::SYSCALLS;
use abi::statistics::CpuStatistics;
use programs::expect;
use rt::{Env, Mode, Region, Statistics};

rt::entry!(run);

/// The arguments make no sense.
const USAGE: u8 = 2;
/// The heads of the columns behind that of the CPU, each as wide as its numbers.
/// What goes through objects is in a table of its own.
const HEADS: [&str; 14] = [
    "calls",
    "refused",
    "faults",
    "interrupts",
    "switches",
    "wakes",
    "timeouts",
    "shootdowns",
    "messages",
    "bytes",
    "waits",
    "moved",
    "shared",
    "copied",
];
/// Columns of the first table.
const FIRST: usize = 8;
/// The narrowest a column is.
const WIDTH: usize = 8;
/// How many of the calls that were made are shown.
const CALLS: usize = 12;

fn run(env: &Env) -> u8 {
    let arguments = Vec::from_iter(env.args().skip(1));
    let numbers: Option<Vec<u32>> = arguments.iter().map(|word| word.parse().ok()).collect();
    let (interval_ms, count) = match numbers.as_deref() {
        Some([]) => (0, 0),
        Some(&[interval_ms]) => (interval_ms, 1),
        Some(&[interval_ms, count]) => (interval_ms, count),
        _ => {
            rt::println!("stat: needs no arguments or numbers: stat [MILLISECONDS [COUNT]]");
            return USAGE;
        }
    };
    let region = Region::from_handle(env.handle(2));
    let statistics = expect!(Statistics::open(&region), "stat: opening the statistics");

    let mut before = counts(&statistics);
    rt::println!("since boot");
    show(&before);
    for _ in 0..count {
        let pause = rt::sleep_until(rt::in_ms(interval_ms.into()));
        expect!(pause, "stat: waiting for the end of the interval");
        let now = counts(&statistics);
        let during: Vec<Counts> = now.iter().zip(&before).map(|(a, b)| a.since(b)).collect();
        rt::println!("in {interval_ms} ms");
        show(&during);
        before = now;
    }
    0
}

/// What one CPU counted.
struct Counts {
    columns: [u64; HEADS.len()],
    calls: Vec<u64>,
}

impl Counts {
    fn of(cpu: &CpuStatistics) -> Counts {
        let transfers = |mode: Mode| cpu.transfers[mode as usize];
        Counts {
            columns: [
                cpu.syscalls(),
                cpu.refused(),
                cpu.faults,
                cpu.interrupts,
                cpu.all_switches(),
                cpu.all_wakes(),
                cpu.timeouts,
                cpu.shootdowns,
                cpu.all_messages(),
                cpu.all_bytes(),
                cpu.all_waits(),
                transfers(Mode::Move),
                transfers(Mode::Share),
                transfers(Mode::CopyOnWrite),
            ],
            calls: cpu.all_calls().to_vec(),
        }
    }

    fn since(&self, before: &Counts) -> Counts {
        let calls = self.calls.iter().zip(&before.calls);
        Counts {
            columns: core::array::from_fn(|index| self.columns[index] - before.columns[index]),
            calls: calls.map(|(now, before)| now - before).collect(),
        }
    }
}

fn counts(statistics: &Statistics) -> Vec<Counts> {
    (0..statistics.cpus())
        .filter_map(|cpu| statistics.cpu(cpu))
        .map(|cpu| Counts::of(&cpu))
        .collect()
}

fn show(cpus: &[Counts]) {
    show_columns(cpus, 0..FIRST);
    show_columns(cpus, FIRST..HEADS.len());
    show_calls(cpus);
}

fn show_columns(cpus: &[Counts], columns: Range<usize>) {
    let line = |first: &str, cell: &dyn Fn(usize) -> String| {
        let mut line = format!("{first:>3}");
        for index in columns.clone() {
            let width = HEADS[index].len().max(WIDTH);
            line += &format!("  {:>width$}", cell(index));
        }
        rt::println!("{line}");
    };
    line("cpu", &|index| HEADS[index].to_string());
    for (number, cpu) in cpus.iter().enumerate() {
        let count = |index: usize| cpu.columns[index].to_string();
        line(&number.to_string(), &count);
    }
    let sum = |index: usize| cpus.iter().map(|cpu| cpu.columns[index]).sum::<u64>();
    line("all", &|index| sum(index).to_string());
}

/// The calls that were made most.
fn show_calls(cpus: &[Counts]) {
    let sum = |number: usize| cpus.iter().filter_map(|cpu| cpu.calls.get(number)).sum();
    let mut made: Vec<(Reverse<u64>, &str)> = SYSCALLS
        .iter()
        .map(|call| (Reverse(sum(call.number as usize)), call.name))
        .filter(|&(Reverse(count), _)| count > 0)
        .collect();
    made.sort_unstable();
    for (Reverse(count), name) in made.iter().take(CALLS) {
        rt::println!("{count:>13}  {name}");
    }
}
