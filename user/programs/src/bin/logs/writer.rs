//! A writer as the collector has it: its process, how that is to end, and what it says of itself.

use alloc::format;
use core::sync::atomic::Ordering;

use programs::expect;
use programs::logs::collector::Collector;
use programs::logs::{BEGUN, COUNTS, MAX_TEXT, SENT, line};
use rt::names::Names;
use rt::{FOREVER, Handle, Mapping, Mode, Process, ProcessStatus, Region, Rights, Spawn, println};

/// One in so many writers is killed.
const KILLED: u32 = 3;
/// What a writer may do with its counts.
const COUNT: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MAP)
    .union(Rights::INSPECT);

/// When a writer is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Lives,
    /// In the middle of a line, in which it stops by itself.
    Stuck(u32),
    /// Once so many of its lines are there, wherever it is then.
    Killed(u32),
    /// At its so manieth entry into the kernel.
    Burns(u64),
}

impl Fate {
    pub fn of(writer: usize, lines: u32, random: &mut fastrand::Rng) -> Fate {
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
pub struct Writer {
    pub number: usize,
    pub process: Process,
    /// Whether it has closed its ring in order.
    pub said_so: bool,
    /// Whether it has sent nonsense.
    refused: bool,
    /// What it tells itself.
    counts: Mapping,
    fate: Fate,
    /// Lines that are not what it had to tell.
    pub wrong: u32,
}

impl Writer {
    /// A writer that has not begun, with a session to find the collector by.
    pub fn start(image: Handle, names: &Names, number: usize, lines: u32, fate: Fate) -> Writer {
        let region = expect!(Region::create(COUNTS), "logs: a region");
        let counts = region.map(Rights::READ | Rights::WRITE);
        let session = expect!(names.attach(FOREVER), "logs: a session");
        let mut spawn = Spawn::new(image, "logger")
            .arg(&format!("{number}"))
            .arg(&format!("{lines}"))
            .handle(session.into_handle(), Mode::Move, Rights::all())
            .handle(region.handle(), Mode::Share, COUNT);
        if let Fate::Stuck(line) = fate {
            spawn = spawn.arg(&format!("{line}"));
        }
        let process = expect!(spawn.stopped().start(), "logs: starting a writer");
        if let Fate::Burns(entries) = fate {
            expect!(process.set_fuse(entries), "logs: a fuse");
        }
        Writer {
            number,
            process,
            said_so: false,
            refused: false,
            counts: expect!(counts, "logs: mapping counts"),
            fate,
            wrong: 0,
        }
    }

    pub fn is_killed(&self) -> bool {
        let status = self.process.wait(0);
        status.is_ok_and(|status| status.exited().is_none())
    }

    /// Takes a part of a line, unless it has sent nonsense before.
    pub fn say(&mut self, collector: &mut Collector, part: &[u8]) {
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
    pub fn meet_fate(&mut self, collector: &Collector) {
        let complete = collector.counts(self.number).complete;
        let is_time = match self.fate {
            Fate::Lives | Fate::Burns(_) => false,
            Fate::Stuck(line) => line == complete && collector.is_in_a_line(self.number),
            Fate::Killed(lines) => lines <= complete,
        };
        if is_time {
            expect!(self.process.kill(), "logs: killing writer {}", self.number);
        }
    }

    /// Whether what came is what the writer says of itself: all that it has sent, and no line but the
    /// ones that it has begun.
    pub fn agrees(&self, complete: u32, status: &ProcessStatus, lines: u32) -> bool {
        let (begun, sent) = (self.told(BEGUN), self.told(SENT));
        let in_order = match self.fate {
            // It may have been done before.
            Fate::Killed(_) | Fate::Burns(_) => true,
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

    pub fn told(&self, word: u64) -> u32 {
        let word = self.counts.word(word);
        word.map_or(0, |word| word.load(Ordering::Acquire) as u32)
    }
}
