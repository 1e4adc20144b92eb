//! A key-value server under a supervisor, which ends again and again, and so do its clients: what each of
//! them has asked for is done once, whoever was killed when.
//!
//! Arguments: `[CLIENTS [STEPS [SEED]]]`. The seed says who is killed when. Handles: the initrd, and a
//! session with the name service. The program starts a supervisor, which keeps it running as `kv server`,
//! and itself as `client`, once for each of them. They find the server by its name, and the next one when
//! it has ended. In the end the journal of the server is compared with what has to be there.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod client;
mod customer;
mod report;
mod server;

use alloc::format;
use alloc::vec::Vec;

use customer::{Circumstances, Customer};
use programs::kv::journal::{self, WORDS};
use programs::kv::{MOST_ACCOUNTS, NAME, member};
use programs::supervision::FUSE_BURNT;
use programs::{archive, expect};
use rt::names::Names;
use rt::{
    Env, Error, Events, FOREVER, Handle, Mode, Port, Process, Region, Rights, Spawn, println,
};

rt::entry!(run);

/// Clients and steps of each, unless told otherwise and at most. One account is this process's.
const FEW: [u32; 2] = [16, 40];
const MOST: [u32; 2] = [MOST_ACCOUNTS - 1, 10_000];
/// Lives of the server that are cut short, and the entries into the kernel after which they are.
const SHORT_LIVES: usize = 3;
const ENTRIES: core::ops::RangeInclusive<u64> = 100..=900;
/// How long it may take until there is a server to be told to end, in ms.
const PATIENCE_MS: u64 = 10_000;
/// What the supervisor may do with the image and the journal, to give them on.
const IMAGE: Rights = Rights::EXECUTE
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE);
const JOURNAL: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MAP)
    .union(Rights::INSPECT)
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE);

fn run(env: &Env) -> u8 {
    let mut args = env.args();
    match (args.next(), args.next()) {
        (Some("client"), _) => return client::run(env),
        (_, Some("server")) => return server::run(env),
        _ => {}
    }
    let numbers = env.args().skip(1).map(|word| word.parse().ok());
    let Some(numbers) = numbers.collect::<Option<Vec<u32>>>() else {
        return usage();
    };
    let number = |index: usize| numbers.get(index).copied().unwrap_or(FEW[index]);
    let (clients, steps) = (number(0), number(1));
    if !(1..=MOST[0]).contains(&clients) || steps > MOST[1] || numbers.len() > 3 {
        return usage();
    }
    let initrd = Region::from_handle(env.handle(0));
    let names = Names::from_handle(env.handle(1));
    let mut random = fastrand::Rng::with_seed(numbers.get(2).copied().unwrap_or(1).into());
    let bytes = journal::bytes(clients as usize + 1) as u64;
    let regions =
        [WORDS as u64 * 8, bytes].map(|len| expect!(Region::create(len), "kv: a journal"));
    let image = expect!(archive::image(&initrd, NAME), "kv: the program");
    let supervisor = supervise(&initrd, &names, image, &regions, clients + 1, &mut random);
    let port = expect!(Port::create(), "kv: a port");
    let given = Circumstances {
        names: &names,
        port: &port,
        image,
        steps,
    };
    // Behind the numbers of the clients.
    let bound = port.bind(supervisor.handle(), Events::ENDED, clients.into());
    expect!(bound, "kv: a binding");
    let mut customers: Vec<Customer> = (0..clients)
        .map(|number| Customer::start(&given, number, &mut random))
        .collect();
    while !customers.iter().all(Customer::is_done) {
        let due_ns = customers.iter().map(Customer::due_ns).min();
        match port.next(due_ns.unwrap_or(FOREVER)) {
            Ok(packet) => match customers.get_mut(packet.key as usize) {
                Some(customer) => customer.go_on(&given, &mut random),
                None => {
                    println!("kv: there is no server any more");
                    customers.iter_mut().for_each(Customer::kill);
                    return 1;
                }
            },
            Err(Error::TimedOut | Error::WouldBlock) => {
                let now = rt::now_ns();
                let due = customers
                    .iter_mut()
                    .filter(|customer| customer.due_ns() <= now);
                due.for_each(Customer::kill);
            }
            Err(error) => {
                println!("kv: waiting: {error}");
                return 1;
            }
        }
    }
    if !finish(&names, clients, &supervisor) {
        // The server ends by itself when nobody can find it any more.
        let _ = supervisor.kill();
        return 1;
    }
    report::compare(&customers, &regions, steps)
}

fn usage() -> u8 {
    println!(
        "kv: needs no arguments or numbers: kv [CLIENTS [STEPS [SEED]]], 1 to {} clients, at most {} steps each",
        MOST[0], MOST[1]
    );
    2
}

/// Starts the supervisor of the server, whose journal is in regions that are the supervisor's.
fn supervise(
    initrd: &Region,
    names: &Names,
    image: Handle,
    regions: &[Region; 2],
    accounts: u32,
    random: &mut fastrand::Rng,
) -> Process {
    let supervisor = archive::image(initrd, "supervisor");
    let supervisor = expect!(supervisor, "kv: the program `supervisor`");
    let session = expect!(names.attach(FOREVER), "kv: a session");
    let fuses: Vec<_> = (0..SHORT_LIVES)
        .map(|_| format!("{}", random.u64(ENTRIES)))
        .collect();
    let spawn = Spawn::new(supervisor, "supervisor")
        .arg("--fuse")
        .arg(&fuses.join(","))
        .arg(NAME)
        .arg("server")
        .arg(&format!("{accounts}"))
        .handle(session.into_handle(), Mode::Move, Rights::all())
        .handle(image, Mode::Share, IMAGE);
    let spawn = regions.iter().fold(spawn, |spawn, region| {
        spawn.handle(region.handle(), Mode::Share, JOURNAL)
    });
    expect!(spawn.start(), "kv: starting the supervisor")
}

/// Has the server end, with whose journal nobody works from then on. Whether it did in order.
fn finish(names: &Names, account: u32, supervisor: &Process) -> bool {
    if let Err(error) = member::finish(names, account, rt::in_ms(PATIENCE_MS)) {
        println!("kv: having the server end: {error}");
        return false;
    }
    let ended = expect!(supervisor.wait(FOREVER), "kv: waiting for the supervisor");
    let in_order = [0, FUSE_BURNT.into()].map(Some).contains(&ended.exited());
    if !in_order {
        println!("kv: the supervisor ended by {ended:?}");
    }
    in_order
}
