//! The first program: starts the others and says how it went.
//!
//! Arguments: `demo`, `exec NAME ARG…`, `suite [--list | FILTER [K/N]]`, `lives ROUNDS` or `bench`; before any of them,
//! `trace SLOTS` has all of it traced. Handles: the initrd, the resource of all devices, and the statistics.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod demo;
mod exec;
mod names;
mod suite;
mod tracing;

use programs::archive::{self, Place};
use programs::expect;
use rt::{Env, FOREVER, Handle, Mapping, Region, Rights};
use tracing::Tracing;

rt::entry!(run);

/// The program was not found.
const NOT_FOUND: u8 = 127;

fn run(env: &Env) -> u8 {
    let initrd = Initrd::open(env.handle(0));
    let given = Given {
        devices: env.handle(1),
        statistics: env.handle(2),
    };
    let mut args = env.args().skip(1).peekable();
    if args.next_if_eq(&"trace").is_none() {
        return perform(&initrd, given, args);
    }
    let Some(slots) = args.next().and_then(|slots| slots.parse().ok()) else {
        return usage();
    };
    let tracing = Tracing::begin(&initrd, given.devices, slots);
    let status = perform(&initrd, given, args);
    tracing.end();
    status
}

/// Does what the arguments say.
fn perform(initrd: &Initrd, given: Given, mut args: impl Iterator<Item = &'static str>) -> u8 {
    match args.next() {
        Some("demo") => demo::run(initrd),
        Some("exec") => exec::run(initrd, given, args).unwrap_or_else(usage),
        Some("suite") => suite::run(initrd, given, args.next(), args.next()),
        Some("lives") => match args.next() {
            Some(rounds) => suite::lives(initrd, given, rounds),
            None => usage(),
        },
        Some("bench") => bench(initrd),
        _ => usage(),
    }
}

fn usage() -> u8 {
    rt::println!(
        "init: needs an argument: [trace SLOTS] demo, exec NAME ARG... [+ NAME ARG...], suite [--list | FILTER [K/N]], lives ROUNDS, bench"
    );
    2
}

/// What the kernel gave besides the files.
#[derive(Clone, Copy)]
struct Given {
    /// The resource of all devices.
    devices: Handle,
    /// The region of the statistics.
    statistics: Handle,
}

/// The files that the machine was booted with.
struct Initrd {
    region: Region,
    view: Mapping,
}

impl Initrd {
    fn open(handle: Handle) -> Initrd {
        let region = Region::from_handle(handle);
        let view = expect!(region.map(Rights::READ), "init: mapping the initrd");
        Initrd { region, view }
    }

    fn find(&self, name: &str) -> Option<Place> {
        // SAFETY: nobody can write the initrd, and the mapping is there as long as `self`.
        archive::find(
            unsafe { self.view.as_slice(self.view.len() as usize) },
            name,
        )
    }

    /// An image of a program. Ends init with status 127 when there is no such file.
    fn image(&self, name: &str) -> Handle {
        let Some(place) = self.find(name) else {
            rt::println!("init: the initrd has no program `{name}`");
            rt::exit(NOT_FOUND);
        };
        expect!(
            rt::image_from(self.region.handle(), place.offset, place.len),
            "init: `{name}` is not a program that can be started"
        )
    }
}

/// Runs the benchmark on the first CPU.
fn bench(initrd: &Initrd) -> u8 {
    let bench = suite::spawn(initrd, initrd.image("bench"), "bench", None);
    let process = expect!(bench.start(), "init: starting the benchmark");
    let status = expect!(process.wait(FOREVER), "init: waiting for the benchmark");
    u8::from(!status.succeeded())
}

/// What programs may do with the statistics.
const READ_STATISTICS: Rights = READ_INITRD;
/// What programs may do with the initrd.
const READ_INITRD: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);
