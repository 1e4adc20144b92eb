//! The programs of the demonstrations, each ended at its n-th entry into the kernel, for every n: what
//! they had is returned, whoever of them is left.

mod alone;

use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;

use abi::limits::LEAF_SIZE;
use programs::demo::PRODUCER_VA;
use programs::entries::Entries;
use programs::store::{self, KEYS, Request};
use programs::supervision::FUSE_BURNT;
use rt::names::Names;
use rt::{
    ChannelEnd, Env, Error, FOREVER, Handle, Mode, Process, ProcessState, Region, Rights, Spawn,
    Thread, channel,
};

use crate::Case;
use crate::check::{cpus, eventually};
use crate::fuses::every_entry;
use crate::objects::image_of;

pub use alone::{counted, traced};

const ALL: Rights = Rights::all();
/// Bytes that the producer hands over: more than a page.
const LEN: &str = "5000";
/// How long a demonstration may take, in ms: a supervisor pauses before it tries again.
const LIFE_MS: u64 = 500;
/// How long those that are left may take to end by themselves, in ms. Some wait for ever, for
/// somebody who does not come.
const PATIENCE_MS: u64 = 20;
/// How long one that was killed may take to be gone, in ms.
const NOTICE_MS: u64 = 2_000;
/// Which of the processes is the supervisor, and the number that stands for its service.
pub const SUPERVISOR: usize = 1;
pub const SERVICE: usize = 100;
/// The name of the store, and numbers that its client puts there.
const STORE: &str = "store";
const NUMBERS: u64 = 4;
/// The name of the service that a resident has, and what it answers.
const INN: &str = "inn";
const WELCOME: [u64; 4] = [1, 2, 3, 4];

/// What the producer may do with the initrd.
const READ_INITRD: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);

/// Starts what a demonstration is made of; all but the name service have not begun. The error is that
/// the name service has ended before.
pub type Start = fn(&Demo<'_>, &mut Vec<Process>) -> Result<(), Error>;

/// A demonstration: the name service, and two programs that find each other by it.
pub struct Demo<'a> {
    pub case: &'a Case,
    names: Handle,
    /// Of the others.
    pub images: [Handle; 2],
    /// Whether they run on different CPUs.
    apart: bool,
    /// Which of them ends, and after how many entries.
    pub fuse: (usize, u64),
}

impl Demo<'_> {
    /// A process that has not begun, with its fuse.
    pub fn process(&self, spawn: Spawn<'_>, started: &mut Vec<Process>) {
        let index = started.len();
        let cpu = index * usize::from(self.apart) % cpus() as usize;
        let process = done!(spawn.cpus(1 << cpu).stopped().start(), "a process");
        if index == self.fuse.0 {
            done!(process.set_fuse(self.fuse.1), "a fuse");
        }
        started.push(process);
    }

    /// The name service, which begins. The error is that it has ended before there were all sessions.
    pub fn town<const N: usize>(&self, started: &mut Vec<Process>) -> Result<[Handle; N], Error> {
        let (first, end) = done!(channel(4), "a channel");
        let spawn = Spawn::new(self.names, "names");
        self.process(spawn.handle(end.into_handle(), Mode::Move, ALL), started);
        done!(started[0].resume(0, 0), "beginning");
        // What a thread keeps for its calls goes with it.
        let asking = Thread::spawn(move || {
            let names = Names::new(first);
            let sessions = (0..N).map(|_| names.attach(FOREVER));
            let sessions = sessions.collect::<Result<Vec<_>, _>>()?;
            let mut sessions = sessions.into_iter().map(ChannelEnd::into_handle);
            Ok([(); N].map(|()| sessions.next().unwrap_or(Handle::NONE)))
        });
        done!(done!(asking, "a thread").join(), "asking")
    }

    /// The name service, a supervisor of the store, and a client of that.
    fn keep_running(&self, supervisor: Spawn<'_>, started: &mut Vec<Process>) -> Result<(), Error> {
        let [first, second] = self.town(started)?;
        let values = done!(Region::create(KEYS * 8), "a region");
        let supervisor = supervisor
            .handle(first, Mode::Move, ALL)
            .handle(self.images[1], Mode::Share, ALL)
            .handle(values.handle(), Mode::Share, ALL);
        self.process(supervisor, started);
        let customer = self.case.child("customer");
        self.process(customer.handle(second, Mode::Move, ALL), started);
        Ok(())
    }
}

fn hand_over(demo: &Demo<'_>, started: &mut Vec<Process>) -> Result<(), Error> {
    let [first, second] = demo.town(started)?;
    let producer = Spawn::new(demo.images[0], "producer").arg("0").arg(LEN);
    let producer = producer.handle(demo.case.initrd, Mode::Share, READ_INITRD);
    demo.process(producer.handle(first, Mode::Move, ALL), started);
    let consumer = Spawn::new(demo.images[1], "consumer");
    demo.process(consumer.handle(second, Mode::Move, ALL), started);
    Ok(())
}

fn find(demo: &Demo<'_>, started: &mut Vec<Process>) -> Result<(), Error> {
    let sessions: [Handle; 2] = demo.town(started)?;
    for (role, session) in ["resident", "visitor"].into_iter().zip(sessions) {
        let child = demo.case.child(role).handle(session, Mode::Move, ALL);
        demo.process(child, started);
    }
    Ok(())
}

fn supervise(demo: &Demo<'_>, started: &mut Vec<Process>) -> Result<(), Error> {
    let supervisor = Spawn::new(demo.images[0], "supervisor").arg(STORE);
    demo.keep_running(supervisor, started)
}

/// The fuse is that of the service.
fn restart(demo: &Demo<'_>, started: &mut Vec<Process>) -> Result<(), Error> {
    let entries = demo.fuse.1.to_string();
    let supervisor = Spawn::new(demo.images[0], "supervisor");
    let supervisor = supervisor.arg("--fuse").arg(&entries).arg(STORE);
    demo.keep_running(supervisor, started)
}

/// The demonstration is a program that starts the others itself.
fn serve(demo: &Demo<'_>, started: &mut Vec<Process>) -> Result<(), Error> {
    let [first, second] = demo.town(started)?;
    done!(rt::drop_handle(second), "dropping a session");
    let services = Spawn::new(demo.images[0], "services");
    let services = services.handle(demo.case.initrd, Mode::Share, ALL);
    demo.process(services.handle(first, Mode::Move, ALL), started);
    Ok(())
}

/// Lets a demonstration run, of which one process has a fuse. Whether it burnt; else all have done what
/// they had to.
fn live(demo: &Demo<'_>, start: Start) -> bool {
    let (victim, entries) = demo.fuse;
    let processes = || done!(rt::system_info(), "system_info").processes;
    let before = processes();
    let mut started = Vec::new();
    let begun = start(demo, &mut started);
    for process in started.iter().skip(1) {
        done!(process.resume(0, 0), "beginning");
    }
    let first = started[victim].wait(rt::in_ms(LIFE_MS));
    let burnt = first.is_ok_and(|status| status.state == ProcessState::Killed as u32);
    let deadline = rt::in_ms(if burnt { PATIENCE_MS } else { LIFE_MS });
    let mut ended = Vec::new();
    for process in &started {
        let waited = process.wait(deadline);
        ended.push(waited.ok());
    }
    for (process, ended) in started.iter().zip(&ended) {
        if ended.is_none() {
            done!(process.kill(), "killing");
            done!(process.wait(rt::in_ms(NOTICE_MS)), "who was killed");
        }
    }
    check!(burnt || begun.is_ok(), "{victim} at {entries}: {begun:?}");
    for (index, status) in ended.iter().enumerate() {
        let in_order = match status {
            Some(status) if status.state == ProcessState::Exited as u32 => {
                burnt || status.status == 0
            }
            // So ends who touches what it has moved away.
            Some(status) if status.state == ProcessState::Faulted as u32 => {
                (PRODUCER_VA..PRODUCER_VA + LEAF_SIZE).contains(&status.address)
            }
            Some(_) => index == victim,
            None => burnt,
        };
        check!(
            in_order,
            "{index} ended by {status:?} when {victim} ends at entry {entries}"
        );
    }
    drop(started);
    // A service whose supervisor has ended does so by itself.
    eventually("nobody to be left", || processes() == before);
    burnt
}

/// The same with a fuse that is the service's of a supervisor: whenever that ends, all have done what they
/// had to.
fn live_on(demo: &Demo<'_>, start: Start) -> bool {
    let processes = || done!(rt::system_info(), "system_info").processes;
    let before = processes();
    let (mut started, entries) = (Vec::new(), demo.fuse.1);
    done!(start(demo, &mut started), "beginning");
    for process in started.iter().skip(1) {
        done!(process.resume(0, 0), "beginning");
    }
    let deadline = rt::in_ms(LIFE_MS);
    let ended = started.iter().enumerate().map(|(index, process)| {
        let status = done!(process.wait(deadline), "{index} at entry {entries}");
        let status = done!(status.exited().ok_or(Error::Invalid), "{index}: {status:?}");
        let burnt = index == SUPERVISOR && status == FUSE_BURNT.into();
        check!(
            status == 0 || burnt,
            "{index} exited with {status} when the service ends at entry {entries}"
        );
        burnt
    });
    let burnt = ended.fold(false, |burnt, one| burnt | one);
    drop(started);
    eventually("nobody to be left", || processes() == before);
    burnt
}

/// Ends each of some processes at each of the entries.
pub fn every(
    case: &Case,
    start: Start,
    victims: Range<usize>,
    programs: [Option<&str>; 2],
    entries: Entries,
) {
    let image = |name| done!(image_of(case.initrd, name), "the program {name}");
    let (names, images) = (
        image("names"),
        programs.map(|name| name.map_or(Handle::NONE, image)),
    );
    every_entry(victims, entries, |victim, entries| {
        let apart = entries.is_multiple_of(2);
        let fuse = (victim, entries);
        let demo = Demo {
            case,
            names,
            images,
            apart,
            fuse,
        };
        match victim {
            SERVICE => live_on(&demo, start),
            _ => live(&demo, start),
        }
    });
}

/// Cases, and which of the processes they end.
macro_rules! cases {
    ($($name:ident: $start:ident [$victims:expr] $programs:expr;)*) => {
        $(pub fn $name(case: &Case) {
            every(case, $start, $victims, $programs, case.entries);
        })*

        /// All of them at every entry that there is, and a number of rounds with other schedules.
        pub fn without_limit(case: &Case, rounds: u64) {
            for round in 0..rounds {
                $(
                    rt::println!("{}, round {round}", stringify!($name));
                    every(case, $start, $victims, $programs, Entries::ALL);
                )*
                alone::without_limit(case, round);
            }
        }
    };
}

cases! {
    handed_over: hand_over [0..3] [Some("producer"), Some("consumer")];
    found: find [0..3] [None, None];
    supervised: supervise [0..3] [Some("supervisor"), Some("store")];
    restarted: restart [SERVICE..SERVICE + 1] [Some("supervisor"), Some("store")];
    served: serve [1..2] [Some("services"), None];
    named: serve [0..1] [Some("services"), None];
}

/// Registers a name, and answers the first who comes.
fn reside(names: &Names) -> Result<(), Error> {
    let listener = names.register(INN, FOREVER)?;
    let guest = listener.accept(FOREVER)?;
    let mut request = guest.receive(FOREVER)?;
    if let Some(mut reply) = request.take_reply() {
        reply.send_words(WELCOME)?;
    }
    names.withdraw(INN, FOREVER)
}

fn visit(names: &Names) -> Result<(), Error> {
    let inn = names.connect(INN, FOREVER)?;
    match inn.call_words([0; 4], FOREVER)? {
        WELCOME => Ok(()),
        _ => Err(Error::Invalid),
    }
}

/// Puts numbers into the store, and has it end.
fn shop(names: &Names) -> Result<(), Error> {
    let mut store = None;
    for key in 0..NUMBERS {
        let value = key + 7;
        ask(names, &mut store, Request::Put { key, value })?;
    }
    for key in 0..NUMBERS {
        if ask(names, &mut store, Request::Get { key })? != key + 7 {
            return Err(Error::Invalid);
        }
    }
    // One that answers may end before it has exited in order, and is started again.
    ask(names, &mut store, Request::Finish)?;
    loop {
        match names.look_up(STORE, FOREVER) {
            Ok(end) => match end.call_words(Request::Finish.encode(), FOREVER) {
                Ok(_) | Err(Error::PeerClosed) => {}
                Err(error) => return Err(error),
            },
            Err(Error::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Asks until there is an answer: what was asked twice is as good as once.
fn ask(names: &Names, store: &mut Option<ChannelEnd>, request: Request) -> Result<u64, Error> {
    loop {
        let end = match store.take() {
            Some(end) => end,
            None => names.connect(STORE, FOREVER)?,
        };
        match end.call_words(request.encode(), FOREVER) {
            Ok(words) => {
                *store = Some(end);
                return store::value(words);
            }
            Err(Error::PeerClosed) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    let names = || Names::from_handle(env.handle(0));
    let done = match role {
        "resident" => reside(&names()),
        "visitor" => visit(&names()),
        "customer" => shop(&names()),
        _ => return None,
    };
    Some(u8::from(done.is_err()))
}
