//! A service dies again and again, and its clients go on: `store` under a supervisor, four threads that
//! put numbers into it, and one that has it fault and panic meanwhile. When the supervisor gives up, so does it.
//!
//! Arguments: those that the supervisor has before the name of the store, such as `--fuse N,...`, which ends lives of the
//! store early. Handles: the initrd, and a session with the name service.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;

use programs::store::{self, KEYS, Request};
use programs::{archive, expect};
use rt::names::Names;
use rt::{ChannelEnd, Env, Error, FOREVER, Mode, Process, Region, Rights, Spawn, Thread, println};

rt::entry!(run);

/// The name of the service.
const STORE: &str = "store";
/// Threads that are its clients, and numbers that each of them puts.
const WRITERS: u64 = 4;
const EACH: u64 = KEYS / WRITERS;
/// What the store is made to do between, and after how many numbers of the first writer.
const ENDS: [(u64, Request); 3] = [
    (EACH / 4, Request::Fault),
    (EACH / 2, Request::Panic),
    (EACH * 3 / 4, Request::Fault),
];
/// What the supervisor may do with the image and the region of the store, to give it on.
const IMAGE: Rights = Rights::EXECUTE
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE);
const VALUES: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MAP)
    .union(Rights::INSPECT)
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE);

fn run(env: &Env) -> u8 {
    let names = Names::from_handle(env.handle(1));
    let supervisor = start_supervisor(env, &names);
    // Nobody else would tell those who wait for the store that it does not come back.
    let supervised = Thread::spawn(move || ended_in_order(&supervisor));
    let supervised = expect!(supervised, "services: a thread");
    let writers: Vec<Thread<Client>> = (0..WRITERS)
        .map(|writer| {
            let client = expect!(Client::new(&names), "services: a session");
            let thread = Thread::spawn(move || write_all(client, writer));
            expect!(thread, "services: a thread")
        })
        .collect();
    let (mut calls, mut reconnects) = (0, 0);
    for writer in writers {
        let client = expect!(writer.join(), "services: waiting for a thread");
        calls += client.calls;
        reconnects += client.reconnects;
    }
    let mut reader = expect!(Client::new(&names), "services: a session");
    let lost = (0..KEYS).filter(|&key| reader.ask(Request::Get { key }) != expected(key));
    let lost = lost.count();
    reader.ask(Request::Finish);
    expect!(supervised.join(), "services: waiting for a thread");
    println!("services: {KEYS} values, {lost} lost; {calls} calls, {reconnects} connections lost");
    u8::from(lost > 0 || reconnects < ENDS.len() as u64)
}

/// Waits until the supervisor has ended because the store is done. If it ends by anything else, so does this program.
fn ended_in_order(supervisor: &Process) {
    let ended = expect!(supervisor.wait(FOREVER), "services: waiting");
    match ended.exited() {
        Some(0) => {}
        Some(status) => {
            println!(
                "services: nobody starts the store again: its supervisor ended with status {status}"
            );
            rt::exit(1)
        }
        None => {
            println!("services: nobody starts the store again: its supervisor was killed");
            rt::exit(1)
        }
    }
}

/// Starts the supervisor of the store, whose values are kept by a region that is the supervisor's.
fn start_supervisor(env: &Env, names: &Names) -> Process {
    let initrd = Region::from_handle(env.handle(0));
    let image = |name: &str| {
        let image = archive::image(&initrd, name);
        expect!(image, "services: the program `{name}`")
    };
    let values = expect!(Region::create(KEYS * 8), "services: a region");
    let session = expect!(names.attach(FOREVER), "services: a session");
    let supervisor = Spawn::new(image("supervisor"), "supervisor");
    let spawn = env.args().skip(1).fold(supervisor, Spawn::arg);
    let spawn = spawn
        .arg(STORE)
        .handle(session.into_handle(), Mode::Move, Rights::all())
        .handle(image("store"), Mode::Share, IMAGE)
        .handle(values.handle(), Mode::Share, VALUES);
    expect!(spawn.start(), "services: starting the supervisor")
}

/// A number that depends on the key alone.
const fn expected(key: u64) -> u64 {
    key * key + 1
}

/// Puts every number of a writer. The first writer has the store end on the way.
fn write_all(mut client: Client, writer: u64) -> Client {
    for number in 0..EACH {
        if let Some((_, end)) = ENDS.iter().find(|end| writer == 0 && end.0 == number) {
            client.send(*end);
        }
        let key = writer * EACH + number;
        let value = expected(key);
        if client.ask(Request::Put { key, value }) != value {
            println!("services: {key} was answered with something else");
            rt::exit(1);
        }
    }
    client
}

/// A client of the store, who connects again when the store is gone.
struct Client {
    names: Names,
    store: Option<ChannelEnd>,
    calls: u64,
    reconnects: u64,
}

impl Client {
    fn new(names: &Names) -> Result<Client, Error> {
        Ok(Client {
            names: Names::new(names.attach(FOREVER)?),
            store: None,
            calls: 0,
            reconnects: 0,
        })
    }

    fn store(&mut self) -> &ChannelEnd {
        let names = &self.names;
        self.store
            .get_or_insert_with(|| expect!(names.connect(STORE, FOREVER), "services: connecting"))
    }

    /// Asks once; `None` when the store was gone.
    fn send(&mut self, request: Request) -> Option<u64> {
        self.calls += 1;
        match self.store().call_words(request.encode(), FOREVER) {
            Ok(words) => Some(expect!(store::value(words), "services: {request:?}")),
            Err(Error::PeerClosed) => {
                self.store = None;
                self.reconnects += 1;
                None
            }
            Err(error) => {
                println!("services: asking the store: {error}");
                rt::exit(1)
            }
        }
    }

    /// Asks until there is an answer: what was asked twice is as good as once.
    fn ask(&mut self, request: Request) -> u64 {
        loop {
            if let Some(value) = self.send(request) {
                return value;
            }
        }
    }
}
