//! The first program: starts the others and says how it went.
//!
//! Arguments: `demo`, `exec NAME ARG…`, `suite [--list | FILTER]` or `bench`. Handle: the initrd.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::format;

use abi::limits::LEAF_SIZE;
use programs::archive::{self, Place};
use programs::demo::{PRODUCER_VA, SLOT_SIZE, SLOTS};
use programs::expect;
use rt::{
    Env, FOREVER, Handle, Mapping, Mode, Process, ProcessState, ProcessStatus, Region, Rights,
    Spawn,
};

rt::entry!(run);

/// The program was not found.
const NOT_FOUND: u8 = 127;
/// The program ended by a fault or was killed: this and the number of the exception.
const FAULTED: u8 = 128;

/// The vector of a page fault.
const PAGE_FAULT: u32 = 14;

fn run(env: &Env) -> u8 {
    let initrd = Initrd::open(env.handle(0));
    let mut args = env.args();
    match args.next() {
        Some("demo") => demo(&initrd),
        Some("exec") => match args.next() {
            Some(name) => exec(&initrd, name, args),
            None => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> u8 {
    rt::println!("init: needs an argument: demo, exec NAME ARG…, suite [--list | FILTER], bench");
    2
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

/// Runs one program with its arguments; its status becomes init's.
fn exec<'a>(initrd: &Initrd, name: &str, args: impl Iterator<Item = &'a str>) -> u8 {
    let image = initrd.image(name);
    let spawn = args.fold(Spawn::new(image, name), Spawn::arg);
    let spawn = spawn.handle(initrd.region.handle(), Mode::Share, READ_INITRD);
    let process = expect!(spawn.start(), "init: starting `{name}`");
    let status = expect!(process.wait(FOREVER), "init: waiting for `{name}`");
    match status.state {
        state if state == ProcessState::Exited as u32 => status.status as u8,
        _ => FAULTED.saturating_add(status.vector as u8),
    }
}

/// What programs may do with the initrd.
const READ_INITRD: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);

/// Passes a file from one program to another by each way.
fn demo(initrd: &Initrd) -> u8 {
    let Some(input) = initrd.find("input") else {
        rt::println!("init: the initrd has no file `input`");
        return NOT_FOUND;
    };
    let (to_consumer, from_producer) = expect!(rt::ring(SLOT_SIZE, SLOTS), "init: a ring");
    let (to_producer, from_consumer) = expect!(rt::ring(SLOT_SIZE, SLOTS), "init: a ring");
    let cpus = expect!(rt::system_info(), "init: counters").cpus;
    let consumer_cpu = if cpus > 1 { 1 << 1 } else { 1 << 0 };

    let all = Rights::all();
    let consumer = Spawn::new(initrd.image("consumer"), "consumer")
        .handle(from_producer, Mode::Move, all)
        .handle(to_producer, Mode::Move, all)
        .cpus(consumer_cpu);
    let consumer = expect!(consumer.start(), "init: starting the consumer");
    let producer = Spawn::new(initrd.image("producer"), "producer")
        .arg(&format!("{}", input.offset))
        .arg(&format!("{}", input.len))
        .handle(initrd.region.handle(), Mode::Share, READ_INITRD)
        .handle(to_consumer, Mode::Move, all)
        .handle(from_consumer, Mode::Move, all)
        .cpus(1 << 0);
    let producer = expect!(producer.start(), "init: starting the producer");
    report_placement(&producer, &consumer);

    let produced = expect!(producer.wait(FOREVER), "init: waiting for the producer");
    let consumed = expect!(consumer.wait(FOREVER), "init: waiting for the consumer");
    let faulted = report_fault(&produced, input.len);
    let consumed = consumed.state == ProcessState::Exited as u32 && consumed.status == 0;
    if !consumed {
        rt::println!("init: the consumer failed");
    }
    u8::from(!(faulted && consumed))
}

fn report_placement(producer: &Process, consumer: &Process) {
    let cpu = |process: &Process| expect!(process.info(), "init: where a process runs").cpu;
    rt::println!(
        "#placed producer={} consumer={}",
        cpu(producer),
        cpu(consumer)
    );
}

/// The producer has to end where it touched what it had moved away.
fn report_fault(status: &ProcessStatus, len: u64) -> bool {
    let end = PRODUCER_VA + len.max(1).next_multiple_of(LEAF_SIZE);
    let expected = status.state == ProcessState::Faulted as u32
        && status.vector == PAGE_FAULT
        && (PRODUCER_VA..end).contains(&status.address);
    if expected {
        rt::println!("#fault addr={:#x} ok", status.address);
    } else {
        rt::println!(
            "init: the producer did not fault where it should: state {}, vector {}, address {:#x}",
            status.state,
            status.vector,
            status.address
        );
    }
    expected
}
