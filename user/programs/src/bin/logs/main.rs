//! Collects the lines of many writers, who find it by its name and get a ring each, and prints them in the
//! order of their times, while writers are killed: what they had sent is there, and nobody else waits for them.
//!
//! Arguments: `[WRITERS [LINES [SEED]]]`. The seed says who is killed when, besides the first writer, which
//! stops in the middle of a line and is killed there. Before them, `--fuse WRITER:N` ends one writer at its
//! Nth entry into the kernel, and no other. Handles: the initrd, and a session with the name service. The
//! status is 0 when all is right, and [`FUSE_BURNT`] when the fuse has burnt besides.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod writer;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use programs::logs::arrivals::{Arrivals, Heard};
use programs::logs::collector::{Collector, Line};
use programs::logs::{BEGUN, MAX_PART, NAME, SENT, SLOT_SIZE, SLOTS, line};
use programs::supervision::FUSE_BURNT;
use programs::{archive, expect};
use ring::sabotaged;
use rt::names::{Listener, Names};
use rt::{ChannelEnd, Env, Error, Events, FOREVER, Gather, Gathered, Message, Region, println};
use writer::{Fate, Writer};

rt::entry!(run);

/// How long a line waits for older ones that may still come, in ns.
const PATIENCE_NS: u64 = 50_000_000;
/// Writers and lines of each, unless told otherwise and at most.
const WRITERS: u32 = 5;
const MAX_WRITERS: u32 = 32;
const LINES: u32 = 12;
const MAX_LINES: u32 = 10_000;
/// The key of the end where writers arrive; those of their processes follow, and then those of writers
/// that have not asked for a ring yet.
const LISTENER: u64 = 0;
const DOORS: u64 = MAX_WRITERS as u64 + 1;
/// What is waited for at the end of a channel.
const HEARD: Events = Events::READABLE.union(Events::PEER_CLOSED);

fn run(env: &Env) -> u8 {
    let mut args = env.args().skip(1).peekable();
    let fuse = match args.next_if_eq(&"--fuse") {
        Some(_) => args.next().and_then(Fuse::parse).map(Some),
        None => Some(None),
    };
    let numbers = args.map(|word| word.parse().ok()).collect();
    let (Some(fuse), Some(numbers)): (_, Option<Vec<u32>>) = (fuse, numbers) else {
        return usage();
    };
    let number = |index, default| numbers.get(index).copied().unwrap_or(default);
    let (writers, lines) = (number(0, WRITERS), number(1, LINES));
    let sizes_are_possible = (1..=MAX_WRITERS).contains(&writers) && lines <= MAX_LINES;
    if !sizes_are_possible || numbers.len() > 3 {
        return usage();
    }
    let names = Names::from_handle(env.handle(1));
    let listener = expect!(names.register(NAME, FOREVER), "logs: registering its name");
    let initrd = Region::from_handle(env.handle(0));
    let image = archive::image(&initrd, "logger");
    let image = expect!(image, "logs: the program `logger`");
    let mut random = fastrand::Rng::with_seed(number(2, 1).into());
    let mut meeting = Meeting {
        gather: expect!(Gather::create(), "logs: a port"),
        listener,
        collector: Collector::new(writers as usize, PATIENCE_NS),
        writers: Vec::new(),
        arrivals: Arrivals::new(writers as usize),
        doors: BTreeMap::new(),
        come: 0,
    };
    let end = meeting.listener.end().handle();
    let watched = meeting.gather.watch(end, HEARD, LISTENER);
    expect!(watched, "logs: a binding");
    for number in 0..writers as usize {
        let fate = match &fuse {
            Some(fuse) if fuse.writer == number => Fate::Burns(fuse.entries),
            Some(_) => Fate::Lives,
            None => Fate::of(number, lines, &mut random),
        };
        let writer = Writer::start(image, &names, number, lines, fate);
        let process = writer.process.handle();
        let watched = meeting
            .gather
            .watch(process, Events::ENDED, number as u64 + 1);
        expect!(watched, "logs: a binding");
        expect!(writer.process.resume(0, 0), "logs: beginning a writer");
        meeting.writers.push(writer);
    }
    if let Err(error) = meeting.hold() {
        println!("logs: waiting: {error}");
        return DISTURBED;
    }
    let agree = report(&meeting.writers, &meeting.collector, lines);
    let burnt = |fuse: Fuse| meeting.writers[fuse.writer].is_killed();
    match (agree, fuse.filter(|fuse| fuse.writer < writers as usize)) {
        (false, _) => 1,
        (true, Some(fuse)) if burnt(fuse) => FUSE_BURNT,
        (true, _) => 0,
    }
}

/// The status when listening itself failed, which no writer and no stranger can bring about.
const DISTURBED: u8 = 4;

/// Which writer ends at which entry into the kernel.
#[derive(Clone, Copy)]
struct Fuse {
    writer: usize,
    entries: u64,
}

impl Fuse {
    fn parse(text: &str) -> Option<Fuse> {
        let (writer, entries) = text.split_once(':')?;
        Some(Fuse {
            writer: writer.parse().ok()?,
            entries: entries.parse().ok()?,
        })
    }
}

/// The collector, and those who come to it.
struct Meeting {
    gather: Gather,
    listener: Listener,
    collector: Collector,
    writers: Vec<Writer>,
    arrivals: Arrivals,
    /// Those who have not got a ring yet, and how many have come.
    doors: BTreeMap<u64, ChannelEnd>,
    come: u64,
}

impl Meeting {
    /// Listens until every writer has ended, and every line was told.
    fn hold(&mut self) -> Result<(), Error> {
        while !self.collector.is_done() {
            let mut part = [0; MAX_PART];
            let due_ns = self.arrivals.due_ns(&self.collector);
            match self.gather.receive(&mut part, due_ns) {
                Ok(Gathered::Message { key, length }) => self.hear(key, &part[..length]),
                Ok(Gathered::Ended { key, why }) => {
                    if let Some(writer) = self.arrivals.end_ring(key) {
                        self.writers[writer].said_so = why == ring::Error::PeerClosed;
                        self.collector.end(writer);
                    }
                }
                // No ring has slots for more than a part.
                Ok(Gathered::TooLarge { .. }) => return Err(Error::TooLarge),
                Ok(Gathered::Watched { key: LISTENER, .. }) => self.let_in()?,
                Ok(Gathered::Watched { key, .. }) if key >= DOORS => self.welcome(key)?,
                Ok(Gathered::Watched { key, .. }) => {
                    self.gather.unwatch(key)?;
                    self.arrivals.end_process();
                }
                Err(Error::TimedOut) => self.arrivals.pause(),
                Err(error) => return Err(error),
            }
            self.arrivals
                .end_missing(self.gather.len(), &mut self.collector);
            while let Some(told) = self.collector.next(rt::now_ns()) {
                print(&told);
                let is_whole = told.text == line(told.writer, told.number).as_bytes();
                self.writers[told.writer].wrong += u32::from(!is_whole);
            }
        }
        Ok(())
    }

    /// Waits for what somebody says who has come.
    fn let_in(&mut self) -> Result<(), Error> {
        let writer = match self.listener.accept(0) {
            Ok(writer) => writer,
            Err(Error::WouldBlock) => return Ok(()),
            // The name service is gone, and nobody comes any more.
            Err(Error::PeerClosed) => return self.gather.unwatch(LISTENER),
            Err(error) => return Err(error),
        };
        let key = DOORS + self.come;
        let wait = || self.gather.watch(writer.handle(), HEARD, key);
        if self.arrivals.let_in(self.doors.len(), wait) {
            self.come += 1;
            self.doors.insert(key, writer);
        }
        Ok(())
    }

    /// Gives a ring to who asks for it; who does not get one is told so by an answer that never comes.
    fn welcome(&mut self, door: u64) -> Result<(), Error> {
        let received = self.doors.get(&door).map(|end| end.receive(0));
        let reply = match received {
            Some(Ok(mut received)) => received.take_reply(),
            Some(Err(Error::WouldBlock)) | None => return Ok(()),
            Some(Err(_)) => None,
        };
        self.gather.unwatch(door)?;
        self.doors.remove(&door);
        let Some(mut reply) = reply else {
            return Ok(());
        };
        let add = || self.gather.add(SLOT_SIZE, SLOTS);
        let Some(producer) = self.arrivals.welcome(add) else {
            return Ok(());
        };
        // Who has gone meanwhile does not need it: the end goes with the message, and the ring tells so.
        let _ = reply.send(&mut Message::new(&[]).give(producer));
        Ok(())
    }

    /// Takes a message of the ring of a key.
    fn hear(&mut self, key: usize, message: &[u8]) {
        match self.arrivals.hear(key, message, &self.collector) {
            Heard::Writer(writer) => self.writers[writer].say(&mut self.collector, message),
            Heard::Greeting => {}
            Heard::Stranger => {
                println!("logs: what came first is no number of a writer");
                if !sabotaged!("logs_stranger_stays") {
                    drop(self.gather.remove(key));
                }
            }
        }
    }
}

fn usage() -> u8 {
    println!(
        "logs: needs no arguments or numbers: logs [--fuse WRITER:N] [WRITERS [LINES [SEED]]], 1 to {MAX_WRITERS} writers, \
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

/// Prints what became of every line. Whether the writers agree.
fn report(writers: &[Writer], collector: &Collector, lines: u32) -> bool {
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
    agree
}

fn print_row(name: &str, [begun, complete, lost, cut, late]: [u32; 5], end: &str) {
    println!("{name:>6}  {begun:>5}  {complete:>8}  {lost:>4}  {cut:>3}  {late:>4}  {end}");
}
