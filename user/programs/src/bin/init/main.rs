//! The first program: starts the others and says how it went.
//!
//! Arguments: `demo`, `exec NAME ARG…`, `suite [--list | FILTER]` or `bench`; before any of them,
//! `trace SLOTS` has all of it traced. Handles: the initrd, the resource of all devices, and the statistics.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod demo;
mod display;
mod edu;
mod suite;
mod tracing;

use programs::archive::{self, Place};
use programs::expect;
use rt::{Env, FOREVER, Handle, Mapping, Mode, ProcessState, Region, Rights, Spawn};
use tracing::Tracing;

rt::entry!(run);

/// The program was not found.
const NOT_FOUND: u8 = 127;
/// The program ended by a fault or was killed: this and the number of the exception.
const FAULTED: u8 = 128;

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
        Some("exec") => match args.next() {
            Some(name) => exec(initrd, given, name, args),
            None => usage(),
        },
        Some("suite") => suite::run(initrd, given, args.next()),
        Some("bench") => bench(initrd),
        _ => usage(),
    }
}

fn usage() -> u8 {
    rt::println!(
        "init: needs an argument: [trace SLOTS] demo, exec NAME ARG..., suite [--list | FILTER], bench"
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

/// Runs one program with its arguments, the initrd and the statistics; its status becomes init's. Where there is a display, the
/// program gets it: the resources of the framebuffer and of the registers. Where there is an
/// educational device, the program gets that behind it: the resource of the registers, the
/// notification that the interrupt signals, and the interrupt.
fn exec<'a>(initrd: &Initrd, given: Given, name: &str, args: impl Iterator<Item = &'a str>) -> u8 {
    let devices = given.devices;
    let image = initrd.image(name);
    let spawn = args.fold(Spawn::new(image, name), Spawn::arg);
    let spawn = spawn
        .handle(initrd.region.handle(), Mode::Share, READ_INITRD)
        .handle(given.statistics, Mode::Share, READ_STATISTICS);
    let display = expect!(display::find(devices), "init: looking for a display");
    let spawn = match display {
        Some(display) => spawn
            .handle(display.framebuffer, Mode::Move, Rights::all())
            .handle(display.registers, Mode::Move, Rights::all()),
        None => spawn,
    };
    let edu = expect!(
        edu::find(devices),
        "init: looking for an educational device"
    );
    let (spawn, _signalled) = match edu {
        Some(edu) => {
            let spawn = spawn
                .handle(edu.registers, Mode::Move, Rights::all())
                .handle(edu.notification.handle(), Mode::Share, WAIT_AND_SEE)
                .handle(edu.interrupt.into_handle(), Mode::Move, Rights::all());
            // The interrupt sets bits as long as this process can.
            (spawn, Some(edu.notification))
        }
        None => (spawn, None),
    };
    let process = expect!(spawn.start(), "init: starting `{name}`");
    let status = expect!(process.wait(FOREVER), "init: waiting for `{name}`");
    match status.state {
        state if state == ProcessState::Exited as u32 => status.status as u8,
        _ => FAULTED.saturating_add(status.vector as u8),
    }
}

/// Runs the benchmark on the first CPU.
fn bench(initrd: &Initrd) -> u8 {
    let bench = suite::spawn(initrd, initrd.image("bench"), "bench", None);
    let process = expect!(bench.start(), "init: starting the benchmark");
    let status = expect!(process.wait(FOREVER), "init: waiting for the benchmark");
    u8::from(status.state != ProcessState::Exited as u32 || status.status != 0)
}

/// What a driver may do with what its interrupt signals.
const WAIT_AND_SEE: Rights = Rights::WAIT.union(Rights::INSPECT);
/// What programs may do with the statistics.
const READ_STATISTICS: Rights = READ_INITRD;
/// What programs may do with the initrd.
const READ_INITRD: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);
