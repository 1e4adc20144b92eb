//! Collects the lines of many writers, each with a ring of its own, and prints them in the order of their
//! times, while writers are killed: what they had sent is there, and nobody else waits for them.
//!
//! Arguments: `[WRITERS [LINES [SEED]]]`. The seed says who is killed when, besides the first writer, which
//! stops in the middle of a line and is killed there. Handles: the initrd.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use programs::logs::collector::{Collector, Line};
use programs::logs::{BEGUN, COUNTS, MAX_PART, MAX_TEXT, SENT, SLOT_SIZE, SLOTS, line};
use programs::{archive, expect};
use rt::{
    Env, Error, FOREVER, Gather, Gathered, Handle, Mapping, Mode, Process, ProcessStatus, Region,
    Rights, Spawn, println,
};

rt::entry!(run);

/// How long a line waits for older ones that may still come, in ns.
const PATIENCE_NS: u64 = 50_000_000;
/// Writers and lines of each, unless told otherwise and at most.
const WRITERS: u32 = 5;
const MAX_WRITERS: u32 = 32;
const LINES: u32 = 12;
const MAX_LINES: u32 = 10_000;
/// One in so many writers is killed.
const KILLED: u32 = 3;
/// What a writer may do with its counts.
const COUNT: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MAP)
    .union(Rights::INSPECT);

fn run(env: &Env) -> u8 {
    let numbers = env.args().skip(1).map(|word| word.parse().ok());
    let Some(numbers) = numbers.collect::<Option<Vec<u32>>>() else {
        return usage();
    };
    let number = |index, default| numbers.get(index).copied().unwrap_or(default);
    let (writers, lines) = (number(0, WRITERS), number(1, LINES));
    let sizes_are_possible = (1..=MAX_WRITERS).contains(&writers) && lines <= MAX_LINES;
    if !sizes_are_possible || numbers.len() > 3 {
        return usage();
    }
    let initrd = Region::from_handle(env.handle(0));
    let image = archive::image(&initrd, "logger");
    let image = expect!(image, "logs: the program `logger`");
    let mut random = fastrand::Rng::with_seed(number(2, 1).into());
    let mut gather = expect!(Gather::create(), "logs: a port");
    let mut writers: Vec<Writer> = (0..writers as usize)
        .map(|number| Writer::start(image, &mut gather, number, lines, &mut random))
        .collect();
    let mut collector = Collector::new(writers.len(), PATIENCE_NS);
    while !collector.is_done() {
        let mut part = [0; MAX_PART];
        let due_ns = collector.due_ns().unwrap_or(FOREVER);
        match gather.receive(&mut part, due_ns) {
            Ok(Gathered::Message { key, length }) => {
                writers[key].say(&mut collector, &part[..length]);
            }
            Ok(Gathered::Ended { key, why }) => {
                writers[key].said_so = why == ring::Error::PeerClosed;
                collector.end(key);
            }
            // Nobody has more to say, or nobody will.
            Err(Error::TimedOut | Error::PeerClosed) => {}
            Err(error) => {
                println!("logs: waiting: {error}");
                return 1;
            }
        }
        while let Some(told) = collector.next(rt::now_ns()) {
            print(&told);
            let is_whole = told.text == line(told.writer, told.number).as_bytes();
            writers[told.writer].wrong += u32::from(!is_whole);
        }
    }
    report(&writers, &collector, lines)
}

fn usage() -> u8 {
    println!(
        "logs: needs no arguments or numbers: logs [WRITERS [LINES [SEED]]], 1 to {MAX_WRITERS} writers, \
         at most {MAX_LINES} lines each"
    );
    2
}

/// Prints a line with its time in ms and who wrote it.
fn print(line: &Line) {
    let us = line.time_ns / 1000;
    let text = core::str::from_utf8(&line.text).unwrap_or("?");
    println!(
        "{:>6}.{:03} {:>2} {text}",
        us / 1000,
        us % 1000,
        line.writer
    );
}

/// When a writer is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    /// In the middle of a line, in which it stops by itself.
    Stuck(u32),
    /// Once so many of its lines are there, wherever it is then.
    Killed(u32),
}

impl Fate {
    fn of(writer: usize, lines: u32, random: &mut fastrand::Rng) -> Fate {
        if writer == 0 {
            let mut long = (lines / 2..lines).filter(|&number| line(0, number).len() > MAX_TEXT);
            return long.next().map_or(Fate::Lives, Fate::Stuck);
        }
        match random.u32(..KILLED) {
            0 if lines > 0 => Fate::Killed(random.u32(..lines)),
            _ => Fate::Lives,
        }
    }
}

/// A writer, and what is known of it.
struct Writer {
    number: usize,
    process: Process,
    /// Whether it has closed its ring in order.
    said_so: bool,
    /// Whether it has sent nonsense.
    refused: bool,
    /// What it tells itself.
    counts: Mapping,
    fate: Fate,
    /// Lines that are not what it had to tell.
    wrong: u32,
}

impl Writer {
    fn start(
        image: Handle,
        gather: &mut Gather,
        number: usize,
        lines: u32,
        random: &mut fastrand::Rng,
    ) -> Writer {
        let region = expect!(Region::create(COUNTS), "logs: a region");
        let counts = region.map(Rights::READ | Rights::WRITE);
        // The keys are the numbers, since nobody ends before all are there.
        let (_, producer) = expect!(gather.add(SLOT_SIZE, SLOTS), "logs: a ring");
        let fate = Fate::of(number, lines, random);
        let mut spawn = Spawn::new(image, "logger")
            .arg(&format!("{number}"))
            .arg(&format!("{lines}"))
            .handle(producer, Mode::Move, Rights::all())
            .handle(region.handle(), Mode::Share, COUNT);
        if let Fate::Stuck(line) = fate {
            spawn = spawn.arg(&format!("{line}"));
        }
        Writer {
            number,
            process: expect!(spawn.start(), "logs: starting a writer"),
            said_so: false,
            refused: false,
            counts: expect!(counts, "logs: mapping counts"),
            fate,
            wrong: 0,
        }
    }

    /// Takes a part of a line, unless it has sent nonsense before.
    fn say(&mut self, collector: &mut Collector, part: &[u8]) {
        if self.refused {
            return;
        }
        if let Err(error) = collector.take(self.number, part, rt::now_ns()) {
            println!("logs: writer {}: {error}", self.number);
            self.refused = true;
        }
        self.meet_fate(collector);
    }

    /// Kills it when it is time.
    fn meet_fate(&mut self, collector: &Collector) {
        let complete = collector.counts(self.number).complete;
        let is_time = match self.fate {
            Fate::Lives => false,
            Fate::Stuck(line) => line == complete && collector.is_in_a_line(self.number),
            Fate::Killed(lines) => lines <= complete,
        };
        if is_time {
            expect!(self.process.kill(), "logs: killing writer {}", self.number);
        }
    }

    /// Whether what came is what the writer says of itself: all that it has sent, and no line but the
    /// ones that it has begun.
    fn agrees(&self, complete: u32, status: &ProcessStatus, lines: u32) -> bool {
        let (begun, sent) = (self.told(BEGUN), self.told(SENT));
        let in_order = match self.fate {
            // It may have been done before.
            Fate::Killed(_) => true,
            Fate::Lives => status.succeeded() && begun == lines,
            Fate::Stuck(line) => complete == line && begun == line + 1,
        };
        let ended_early = sent < lines;
        let was_in_a_line = u32::from(ended_early);
        // One that is killed may have been about to end.
        let ended_in_order = self.said_so || status.exited().is_none();
        in_order
            && ended_in_order
            && !self.refused
            && self.wrong == 0
            && (sent..=sent + was_in_a_line).contains(&complete)
            && (complete..=complete + was_in_a_line).contains(&begun)
    }

    fn told(&self, word: u64) -> u32 {
        let word = self.counts.word(word);
        word.map_or(0, |word| word.load(Ordering::Acquire) as u32)
    }
}

/// Prints what became of every line. The status of the program.
fn report(writers: &[Writer], collector: &Collector, lines: u32) -> u8 {
    println!();
    println!("writer  begun  complete  lost  cut  late  end");
    let mut all = [0; 5];
    let (mut killed, mut agree) = (0, true);
    for writer in writers {
        let ended = writer.process.wait(FOREVER);
        let status = expect!(ended, "logs: waiting for writer {}", writer.number);
        let counts = collector.counts(writer.number);
        let begun = writer.told(BEGUN);
        let lost = begun.saturating_sub(counts.complete);
        let row = [begun, counts.complete, lost, counts.cut, counts.late];
        let end = if status.exited().is_some() {
            "done"
        } else {
            killed += 1;
            "killed"
        };
        print_row(&format!("{}", writer.number), row, end);
        for (sum, count) in all.iter_mut().zip(row) {
            *sum += count;
        }
        if !(writer.agrees(counts.complete, &status, lines) && counts.cut <= lost) {
            println!(
                "logs: writer {} says that it sent {} lines, {} of those that came are wrong: {status:?}",
                writer.number,
                writer.told(SENT),
                writer.wrong
            );
            agree = false;
        }
    }
    print_row("all", all, &format!("{killed} killed"));
    println!(
        "logs: the writers {} to what was counted",
        if agree { "agree" } else { "do NOT agree" }
    );
    u8::from(!agree)
}

fn print_row(name: &str, [begun, complete, lost, cut, late]: [u32; 5], end: &str) {
    println!("{name:>6}  {begun:>5}  {complete:>8}  {lost:>4}  {cut:>3}  {late:>4}  {end}");
}
