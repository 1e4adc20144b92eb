//! Keeps a service running: starts it, waits for its end or its fault, and starts it again.
//!
//! Arguments: the name of the service, and what it is started with. Before them, `--fuse N,...` ends the first
//! life of the service after N entries into the kernel, and as many more as there are numbers. Handles: a session
//! with the name service, the image of the service, and what the service gets besides. The service finds the end at
//! which its clients arrive as its first handle, and the rest behind it.
//!
//! The name is registered by the supervisor, with a channel whose receiving end it keeps: as long as it
//! runs, clients are introduced, also between two lives of the service, and wait there for the next one.
//! It ends when the service exits with status 0, or after too many restarts. A start that fails counts as
//! one: what it lacked may be there the next time. Its own status is 0, 1 when it has given up, and
//! [`FUSE_BURNT`] when the service has exited in order after the fuse of one of its lives had burnt.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;

use programs::supervision::{FUSE_BURNT, Next, RESTARTS, Restarts};
use programs::{expect, expect_handles, fault};
use rt::names::Names;
use rt::{
    ChannelEnd, Env, Error, Events, FOREVER, Handle, Mode, ObjectKind, Port, Process,
    ProcessStatus, Rights, Spawn, channel, events_of, println,
};

rt::entry!(run);

/// Clients that can wait for the service.
const BACKLOG: u32 = 64;
/// What the service may do at the end where its clients arrive.
const LISTEN: Rights = Rights::RECEIVE.union(Rights::WAIT).union(Rights::INSPECT);

/// What every life of the service begins with.
struct Service<'a> {
    name: &'a str,
    env: &'a Env,
    /// Arguments of the supervisor that are not for the service.
    own_args: usize,
    image: Handle,
    listener: ChannelEnd,
    port: Port,
    /// Entries after which its first lives end.
    fuses: Vec<u64>,
}

fn run(env: &Env) -> u8 {
    let mut args = env.args().skip(1).peekable();
    let fuses = match args.next_if_eq(&"--fuse") {
        Some(_) => args.next().and_then(numbers),
        None => Some(Vec::new()),
    };
    let (Some(name), Some(fuses)) = (args.next(), fuses) else {
        println!(
            "supervisor: needs the name of a service: supervisor [--fuse N,...] NAME [ARG ...]"
        );
        return 2;
    };
    expect_handles(
        env,
        &[ObjectKind::ChannelEnd, ObjectKind::Image],
        "it needs a session and the image of the service, as `services` gives it",
    );
    let (listener, end) = expect!(channel(BACKLOG), "supervisor: a channel");
    let names = Names::from_handle(env.handle(0));
    let registered = names.register_end(name, end, FOREVER);
    expect!(registered, "supervisor: registering `{name}`");
    let service = Service {
        name,
        env,
        own_args: env.args().count() - args.count(),
        image: env.handle(1),
        listener,
        port: expect!(Port::create(), "supervisor: a port"),
        fuses,
    };
    let mut burnt = false;
    let mut restarts = Restarts::new();
    for life in 1.. {
        let begun = rt::now_ns();
        match service.live(life).map(|status| status.exited()) {
            Ok(Some(0)) if burnt => return FUSE_BURNT,
            Ok(Some(0)) => return 0,
            Ok(Some(status)) => println!("supervisor: {name}: ended with status {status}"),
            // It was reported when it stopped, or somebody killed it who knows.
            Ok(None) => burnt |= service.fuse(life).is_some(),
            Err(error) => println!("supervisor: {name}: can't be run: {error}"),
        }
        match restarts.ended(rt::now_ns() - begun) {
            Next::Restart { pause, count } => {
                let ms = pause / 1_000_000;
                println!("supervisor: {name}: again in {ms} ms ({count} of {RESTARTS})");
                let slept = rt::sleep_until(rt::now_ns() + pause);
                expect!(slept, "supervisor: waiting");
            }
            Next::GiveUp => {
                println!("supervisor: {name}: given up");
                return 1;
            }
        }
    }
    0
}

/// Numbers that commas separate.
fn numbers(words: &str) -> Option<Vec<u64>> {
    words.split(',').map(|word| word.parse().ok()).collect()
}

impl Service<'_> {
    /// Entries after which a life ends, from 1 on.
    fn fuse(&self, life: u64) -> Option<u64> {
        self.fuses.get(life as usize - 1).copied()
    }

    /// One life of the service, from its start to its end.
    fn live(&self, life: u64) -> Result<ProcessStatus, Error> {
        let process = self.start()?;
        let watched = self.watch(&process, life);
        if watched.is_err() {
            // Nobody would see what becomes of it.
            process.kill()?;
        }
        watched?;
        process.wait(FOREVER)
    }

    /// Lets a process begin, waits until it has ended or stopped at a fault, and ends it then.
    fn watch(&self, process: &Process, life: u64) -> Result<(), Error> {
        // Before its first instruction, so that no fault is missed.
        let events = Events::ENDED | Events::FAULTED;
        self.port.bind(process.handle(), events, life)?;
        if let Some(entries) = self.fuse(life) {
            process.set_fuse(entries)?;
        }
        process.resume(0, 0)?;
        let packet = self.port.next(FOREVER)?;
        if events_of(&packet).contains(Events::FAULTED) {
            self.report_fault(process, packet.value);
            process.kill()?;
        }
        Ok(())
    }

    fn start(&self) -> Result<Process, Error> {
        let args = self.env.args().skip(self.own_args);
        let own = Spawn::new(self.image, self.name)
            .handle(self.listener.handle(), Mode::Share, LISTEN)
            .stopped();
        let rest = self.env.handles().iter().skip(2);
        let spawn = args.fold(own, Spawn::arg);
        rest.fold(spawn, |spawn, &handle| {
            spawn.handle(handle, Mode::Share, Rights::all())
        })
        .start()
    }

    fn report_fault(&self, process: &Process, thread: u64) {
        // It may have been killed by somebody else meanwhile.
        if let Ok(info) = process.fault(thread) {
            println!(
                "supervisor: {}: thread {thread} stopped by {}; killed",
                self.name,
                fault::Described(&info)
            );
        }
    }
}
