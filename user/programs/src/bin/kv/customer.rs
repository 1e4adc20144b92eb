//! A client as the demonstration has it: the process that it is now, and how that is to end.

use alloc::format;
use core::sync::atomic::Ordering;

use programs::expect;
use rt::names::Names;
use rt::{Events, FOREVER, Handle, Mapping, Mode, Port, Process, Region, Rights, Spawn};

/// A client is killed at most so often.
const DEATHS: u32 = 3;
/// Calls of the kernel within which one may be killed: as many as it makes for some ten steps.
const ENTRIES: u64 = 80;
/// Time within which one may be killed, in ns.
const LIFE_NS: u64 = 20_000_000;
/// Bytes of its region.
const BYTES: u64 = 16;
/// What a client may do with its region.
const COUNT: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MAP)
    .union(Rights::INSPECT);

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// With its last step.
    Natural,
    /// At this entry into the kernel.
    Entry(u64),
    /// At this time, wherever it is then.
    Time(u64),
}

impl Fate {
    fn of(life: u32, random: &mut fastrand::Rng) -> Fate {
        match random.u32(..4) {
            _ if life > DEATHS => Fate::Natural,
            0 => Fate::Entry(random.u64(1..=ENTRIES)),
            1 => Fate::Time(rt::now_ns() + random.u64(..LIFE_NS)),
            _ => Fate::Natural,
        }
    }
}

/// What every life of every client begins with.
pub struct Circumstances<'a> {
    pub names: &'a Names,
    pub port: &'a Port,
    pub image: Handle,
    pub steps: u32,
}

/// A client.
pub struct Customer {
    number: u32,
    /// What one life tells the next.
    region: Region,
    told: Mapping,
    lives: u32,
    process: Process,
    fate: Fate,
    ended: Option<u8>,
}

impl Customer {
    /// A client, in its first life. The port is told when that ends, under its number.
    pub fn start(given: &Circumstances<'_>, number: u32, random: &mut fastrand::Rng) -> Customer {
        let region = expect!(Region::create(BYTES), "kv: a region");
        let told = region.map(Rights::READ | Rights::WRITE);
        let fate = Fate::of(1, random);
        Customer {
            number,
            process: live(given, number, &region, fate),
            told: expect!(told, "kv: mapping a region"),
            region,
            lives: 1,
            fate,
            ended: None,
        }
    }

    /// Whether its last life has ended.
    pub fn is_done(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether it found all answers right.
    pub fn succeeded(&self) -> bool {
        self.ended == Some(0)
    }

    /// How many lives it has had.
    pub fn lives(&self) -> u32 {
        self.lives
    }

    /// How often it has found a server.
    pub fn joined(&self) -> u64 {
        self.told
            .word(1)
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// When it is to be killed, in ns.
    pub fn due_ns(&self) -> u64 {
        match self.fate {
            Fate::Time(at) if self.ended.is_none() => at,
            _ => FOREVER,
        }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.fate = Fate::Natural;
        expect!(self.process.kill(), "kv: killing client {}", self.number);
    }

    /// One of its lives has ended. Unless it did so by itself, there is another one.
    pub fn go_on(&mut self, given: &Circumstances<'_>, random: &mut fastrand::Rng) {
        let ended = expect!(self.process.wait(FOREVER), "kv: waiting for a client");
        self.ended = ended.exited().map(|status| status as u8);
        let told = given.port.unbind(self.number.into());
        expect!(told, "kv: a binding");
        if self.ended.is_none() {
            self.lives += 1;
            self.fate = Fate::of(self.lives, random);
            self.process = live(given, self.number, &self.region, self.fate);
        }
    }
}

/// Starts a process as the client of a number.
fn live(given: &Circumstances<'_>, number: u32, region: &Region, fate: Fate) -> Process {
    let session = expect!(given.names.attach(FOREVER), "kv: a session");
    let spawn = Spawn::new(given.image, "client")
        .arg(&format!("{number}"))
        .arg(&format!("{}", given.steps))
        .handle(session.into_handle(), Mode::Move, Rights::all())
        .handle(region.handle(), Mode::Share, COUNT)
        .stopped();
    let process = expect!(spawn.start(), "kv: starting a client");
    // Before its first instruction, so that its end is not missed.
    let bound = given
        .port
        .bind(process.handle(), Events::ENDED, number.into());
    expect!(bound, "kv: a binding");
    if let Fate::Entry(entries) = fate {
        expect!(process.set_fuse(entries), "kv: a fuse");
    }
    expect!(process.resume(0, 0), "kv: beginning a client");
    process
}
