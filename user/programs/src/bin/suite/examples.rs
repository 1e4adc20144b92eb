//! The programs that show what rings are for, ended at their n-th entry into the kernel, for every n:
//! whoever is left ends by himself, and everything is returned.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use programs::entries::Entries;
use programs::kv::journal::{self, WORDS};
use programs::kv::{NAME, member};
use programs::search::{ROLES, Search};
use programs::supervision::FUSE_BURNT;
use rt::names::Names;
use rt::{
    Env, Error, Events, FOREVER, Handle, Message, Mode, Process, ProcessState, ProcessStatus,
    Region, Rights, RingEnd, Spawn, channel,
};

use crate::Case;
use crate::check::eventually;
use crate::demos::{self, Demo, SERVICE};
use crate::fuses::every_entry;
use crate::objects::image_of;

/// How long all of them may take to end, in ms.
const LIFE_MS: u64 = 5_000;
/// What a program may do with the initrd, to start others from it.
const INITRD: Rights = Rights::READ
    .union(Rights::MAP)
    .union(Rights::INSPECT)
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE);
const ALL: Rights = Rights::all();
/// The account of a client of the key-value server, and its steps: a value that goes by a slot is among them.
const CLIENT: &str = "0";
const STEPS: &str = "4";
/// What a search says that has found nothing, and one of its processes that is left alone.
const NOT_FOUND: u64 = 1;
const LEFT_ALONE: u64 = 3;

/// Ends the processes of an example at each of the entries.
type Until = fn(&Case, Entries);

/// All examples.
const EXAMPLES: [(&str, Until); 4] = [
    ("search", search_until),
    ("logs", logs_until),
    ("kv", kv_until),
    ("kept", kept_until),
];

/// Starts processes of which one has a fuse, and lets them begin when all are there.
fn begin(spawns: Vec<Spawn<'_>>, victim: usize, entries: u64) -> Vec<Process> {
    let stopped = spawns.into_iter().map(|spawn| spawn.stopped().start());
    let processes: Vec<_> = stopped.map(|process| done!(process, "a process")).collect();
    done!(processes[victim].set_fuse(entries), "a fuse");
    for process in &processes {
        done!(process.resume(0, 0), "beginning");
    }
    processes
}

/// How all of them end, which they do by themselves.
fn end(processes: &[Process]) -> Vec<ProcessStatus> {
    let deadline = rt::in_ms(LIFE_MS);
    let ends = processes.iter().enumerate();
    ends.map(|(index, process)| done!(process.wait(deadline), "the end of process {index}"))
        .collect()
}

fn is_killed(status: &ProcessStatus) -> bool {
    status.state == ProcessState::Killed as u32
}

pub fn search(case: &Case) {
    search_until(case, case.entries);
}

fn search_until(case: &Case, entries: Entries) {
    let image = done!(image_of(case.initrd, "search"), "the program");
    let search = Search {
        image,
        initrd: case.initrd,
        offset: "0",
        len: "5000",
        text: "nothing like this is in there",
    };
    every_entry(0..ROLES.len(), entries, |victim, entries| {
        let processes = done!(search.processes(), "rings");
        let processes = begin(processes, victim, entries);
        let ends = end(&processes);
        let burnt = is_killed(&ends[victim]);
        for (index, status) in ends.iter().enumerate() {
            let in_order = match status.exited().map(u64::from) {
                Some(0) => true,
                Some(NOT_FOUND) => ROLES[index] == "collector",
                Some(LEFT_ALONE) => burnt,
                Some(_) => false,
                None => burnt && index == victim,
            };
            check!(
                in_order,
                "the {} ended by {status:?} when the {} ends at entry {entries}",
                ROLES[index],
                ROLES[victim]
            );
        }
        burnt
    });
    done!(rt::drop_handle(image), "dropping the program");
}

/// A program that starts the others itself, and finds them or is found by its name. It is ended at every
/// entry; or, by its option `--fuse`, one of those that it starts.
struct Starter<'a> {
    name: &'static str,
    args: [&'a str; 3],
    /// How many others have a fuse each in turn.
    others: usize,
}

impl Starter<'_> {
    fn every_entry(&self, case: &Case, entries: Entries) {
        let images = ["names", self.name]
            .map(|name| done!(image_of(case.initrd, name), "the program {name}"));
        every_entry(0..2 + self.others, entries, |victim, entries| {
            self.live(case, images, victim, entries)
        });
        for image in images {
            done!(rt::drop_handle(image), "dropping a program");
        }
    }

    /// One life of the name service, the starter, and all that it starts. Whether a fuse burnt.
    fn live(&self, case: &Case, images: [Handle; 2], victim: usize, entries: u64) -> bool {
        let processes = || done!(rt::system_info(), "system_info").processes;
        let before = processes();
        let (session, first) = done!(channel(4), "a channel");
        let names = Spawn::new(images[0], "names").handle(first.into_handle(), Mode::Move, ALL);
        let fuse = victim
            .checked_sub(2)
            .map(|other| format!("{other}:{entries}"));
        let spawn = Spawn::new(images[1], self.name);
        let spawn = fuse
            .iter()
            .fold(spawn, |spawn, fuse| spawn.arg("--fuse").arg(fuse));
        let spawn = self.args.into_iter().fold(spawn, Spawn::arg);
        let spawn = spawn.handle(case.initrd, Mode::Share, INITRD);
        let spawn = spawn.handle(session.into_handle(), Mode::Move, ALL);
        let started = [names, spawn].map(|spawn| done!(spawn.stopped().start(), "a process"));
        if fuse.is_none() {
            done!(started[victim].set_fuse(entries), "a fuse");
        }
        for process in &started {
            done!(process.resume(0, 0), "beginning");
        }
        let deadline = rt::in_ms(LIFE_MS);
        let ended = done!(started[1].wait(deadline), "the end of {}", self.name);
        if ended.exited().is_none() {
            // What it has started can be found no longer, and nobody has a session any more.
            done!(started[0].kill(), "ending the name service");
        }
        let ends = end(&started);
        let burnt = match fuse {
            None => is_killed(&ends[victim]),
            Some(_) => ends[1].exited() == Some(FUSE_BURNT.into()),
        };
        for (index, ended) in ends.iter().enumerate() {
            let in_order = match ended.exited().map(|status| status as u8) {
                Some(0) => true,
                Some(FUSE_BURNT) => index == 1 && fuse.is_some(),
                // It says so when the name service is gone.
                Some(_) => burnt && index == 1 && victim == 0,
                None => burnt && index <= victim && victim < 2,
            };
            check!(
                in_order,
                "{index} ended by {ended:?} when {victim} of {} ends at entry {entries}",
                self.name
            );
        }
        drop(started);
        eventually("nobody to be left", || processes() == before);
        burnt
    }
}

fn logs_until(case: &Case, entries: Entries) {
    let logs = Starter {
        name: "logs",
        args: ["2", "3", "1"],
        others: 2,
    };
    logs.every_entry(case, entries);
}

pub fn logs(case: &Case) {
    logs_until(case, case.entries);
}

/// A collector of logs, and the name service by which strangers find it.
struct Gathering {
    town: Names,
    names: Process,
    logs: Process,
}

impl Gathering {
    fn start(case: &Case, arguments: [&str; 2]) -> Gathering {
        let images =
            ["names", "logs"].map(|name| done!(image_of(case.initrd, name), "the program {name}"));
        let (session, first) = done!(channel(4), "a channel");
        let names = Spawn::new(images[0], "names").handle(first.into_handle(), Mode::Move, ALL);
        let names = done!(names.start(), "the name service");
        let town = Names::new(session);
        let theirs = done!(town.attach(FOREVER), "a session").into_handle();
        let [writers, lines] = arguments;
        let logs = Spawn::new(images[1], "logs").arg(writers).arg(lines);
        let logs = logs.handle(case.initrd, Mode::Share, INITRD);
        let logs = done!(
            logs.handle(theirs, Mode::Move, ALL).start(),
            "the collector"
        );
        for image in images {
            done!(rt::drop_handle(image), "dropping a program");
        }
        Gathering { town, names, logs }
    }
}

/// A stranger says what no writer does, and loses its ring while the collector goes on.
pub fn nonsense(case: &Case) {
    // More lines than it will have time for.
    let Gathering { town, names, logs } = Gathering::start(case, ["1", "10000"]);
    let collector = done!(town.connect("logs", rt::in_ms(LIFE_MS)), "the collector");
    let mut ring = done!(collector.call(&mut Message::new(&[]), FOREVER), "a ring");
    let end = done!(
        ring.handles().first().copied().ok_or(Error::NotFound),
        "an end"
    );
    let mut sender = done!(rt::open_sender(end), "opening it");
    ring.take_handle(0);
    done!(sender.send(b"nonsense", FOREVER), "saying something");
    let gone = rt::object_wait(sender.handle(), Events::PEER_CLOSED, rt::in_ms(LIFE_MS));
    done!(gone, "the end of the ring");
    // It goes on, and has a ring for the next.
    let again = done!(town.connect("logs", rt::in_ms(LIFE_MS)), "the collector");
    let next = done!(again.call(&mut Message::new(&[]), FOREVER), "an answer");
    same!(next.handles().len(), 1, "rings");
    done!(logs.kill(), "ending the collector");
    done!(logs.wait(rt::in_ms(LIFE_MS)), "its end");
    // A writer that has not found the collector by now looks for it as long as there are names.
    done!(names.kill(), "ending the name service");
    done!(names.wait(rt::in_ms(LIFE_MS)), "its end");
    drop((sender, ring, next, again, collector, town));
}

/// Strangers ask for every ring of a collector and say nothing, and others stay at its door: one after the other is sent
/// away in the end, and the collector comes to its own.
pub fn strangers(case: &Case) {
    // More than there are for two writers.
    const MANY: usize = 12;
    let Gathering { town, names, logs } = Gathering::start(case, ["2", "30"]);
    let mut rings = Vec::new();
    let mut sent_away = false;
    for _ in 0..MANY {
        let asked = match town.connect("logs", rt::in_ms(LIFE_MS)) {
            Ok(end) => end.call(&mut Message::new(&[]), FOREVER),
            Err(error) => Err(error),
        };
        match asked {
            Ok(ring) => rings.push(ring),
            // It may have ended by now.
            Err(_) => {
                sent_away = true;
                break;
            }
        }
    }
    // Twice as many as there are writers.
    let few = sent_away && rings.len() <= 4;
    check!(few, "{} rings for strangers", rings.len());
    let doors: Vec<_> = (0..MANY)
        .map_while(|_| town.connect("logs", 0).ok())
        .collect();
    // A writer that came after them was sent away as well, which it counts as wrong.
    let ended = done!(logs.wait(rt::in_ms(LIFE_MS)), "the end of the collector");
    let in_order = matches!(ended.exited(), Some(0 | 1));
    check!(in_order, "the collector ended by {ended:?}");
    drop((rings, doors, town));
    done!(
        names.wait(rt::in_ms(LIFE_MS)),
        "the end of the name service"
    );
}

fn kv_until(case: &Case, entries: Entries) {
    let kv = Starter {
        name: "kv",
        args: ["2", "4", "2"],
        others: 0,
    };
    kv.every_entry(case, entries);
}

pub fn kv(case: &Case) {
    kv_until(case, case.entries);
}

/// The name service, the supervisor of a server, a client of it, and one that has it end when that is gone.
fn keep_values(demo: &Demo<'_>, started: &mut Vec<Process>) -> Result<(), Error> {
    let [first, second, third] = demo.town(started)?;
    let [supervisor, kv] = demo.images;
    let sizes = [WORDS as u64 * 8, journal::bytes(2) as u64, 16];
    let [words, bytes, counts] = sizes.map(|len| done!(Region::create(len), "a region"));
    let fuse = demo.fuse.1.to_string();
    let spawn = Spawn::new(supervisor, "supervisor");
    let spawn = match demo.fuse.0 {
        SERVICE => spawn.arg("--fuse").arg(&fuse),
        _ => spawn,
    };
    let spawn = spawn.arg(NAME).arg("server").arg("2");
    let spawn = spawn.handle(first, Mode::Move, ALL);
    let shared = [kv, words.handle(), bytes.handle()].into_iter();
    let share = |spawn: Spawn<'static>, handle| spawn.handle(handle, Mode::Share, ALL);
    demo.process(shared.fold(spawn, share), started);
    let client = Spawn::new(kv, "client").arg(CLIENT).arg(STEPS);
    let client = client.handle(second, Mode::Move, ALL);
    demo.process(client.handle(counts.handle(), Mode::Share, ALL), started);
    let client = started[started.len() - 1].handle();
    let closer = demo.case.child("closer").handle(third, Mode::Move, ALL);
    demo.process(closer.handle(client, Mode::Share, ALL), started);
    Ok(())
}

fn kept_until(case: &Case, entries: Entries) {
    let programs = [Some("supervisor"), Some("kv")];
    demos::every(case, keep_values, 0..3, programs, entries);
    demos::every(case, keep_values, SERVICE..SERVICE + 1, programs, entries);
}

pub fn kept(case: &Case) {
    kept_until(case, case.entries);
}

/// Waits for the end of a client, and has the server end.
fn close(names: &Names, client: &Process) -> Result<(), Error> {
    client.wait(FOREVER)?;
    member::finish(names, 1, FOREVER)
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    let process = || Process::from_handle(env.handle(1));
    match role {
        "closer" => {
            let closed = close(&Names::from_handle(env.handle(0)), &process());
            Some(u8::from(closed.is_err()))
        }
        _ => None,
    }
}

/// All of them at every entry that there is, and a number of rounds with other schedules.
pub fn without_limit(case: &Case, rounds: u64) {
    for round in 0..rounds {
        for (name, until) in EXAMPLES {
            rt::println!("{name}, round {round}");
            until(case, Entries::ALL);
        }
    }
}
