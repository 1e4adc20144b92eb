//! Runs programs of the initrd.

use alloc::vec::Vec;

use programs::{display, edu, expect};
use rt::{FOREVER, Mode, Notification, Process, Rights, Spawn, println};

use crate::names::NameService;
use crate::suite::INITRD_RIGHTS;
use crate::{Given, Initrd, READ_STATISTICS};

/// The program ended by a fault or was killed: this and the number of the exception.
const FAULTED: u8 = 128;
/// Between programs that run at once, and before one that waits for the end of those.
const AND: &str = "+";
const THEN: &str = ";";
/// What a driver may do with what its interrupt signals; or who has it started again.
const WAIT_AND_SEE: Rights = Rights::WAIT
    .union(Rights::INSPECT)
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE);

/// Starts programs, each with its arguments, which `+` separates. The machine runs until the last one
/// has ended; its status becomes init's. What comes behind `;` begins then, and each status is told.
/// `None`: a program has no name.
///
/// Each gets the initrd, a session with the name service, and the statistics. The last one gets the devices too. Where
/// there is a display: the resources of the framebuffer and of the registers. Behind them, where there is
/// an educational device: the resource of the registers, the notification that the interrupt signals,
/// and the interrupt.
pub fn run<'a>(initrd: &Initrd, given: Given, args: impl Iterator<Item = &'a str>) -> Option<u8> {
    let words = Vec::from_iter(args);
    let turns = Vec::from_iter(words.split(|word| *word == THEN));
    let is_whole = |turn: &&[&str]| !turn.split(|word| *word == AND).any(<[_]>::is_empty);
    if !turns.iter().all(is_whole) {
        return None;
    }
    let names = NameService::start(initrd);
    let mut last = None;
    for turn in &turns {
        let status = run_at_once(initrd, given, &names, turn)?;
        if turns.len() > 1 {
            println!("#ended status={status}");
        }
        last = Some(status);
    }
    last
}

/// Starts programs that run at once; the status of the last one.
fn run_at_once(initrd: &Initrd, given: Given, names: &NameService, words: &[&str]) -> Option<u8> {
    let devices = given.devices;
    let commands = Vec::from_iter(words.split(|word| *word == AND));
    let (last, others) = commands.split_last()?;
    for command in others {
        start(program(initrd, given, names, command), command);
    }
    let spawn = program(initrd, given, names, last);
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
        Some(mut edu) => {
            let notification = expect!(Notification::create(), "init: a notification");
            let interrupt = expect!(edu.connect(&notification), "init: an interrupt");
            let spawn = spawn
                .handle(edu.registers, Mode::Move, Rights::all())
                .handle(notification.handle(), Mode::Share, WAIT_AND_SEE)
                .handle(interrupt.into_handle(), Mode::Move, Rights::all());
            // The interrupt sets bits as long as this process can.
            (spawn, Some(notification))
        }
        None => (spawn, None),
    };
    let process = start(spawn, last);
    let status = expect!(process.wait(FOREVER), "init: waiting for `{}`", last[0]);
    let faulted = FAULTED.saturating_add(status.vector as u8);
    Some(status.exited().map_or(faulted, |status| status as u8))
}

/// A program with its arguments and what all get.
fn program<'a>(
    initrd: &Initrd,
    given: Given,
    names: &NameService,
    command: &[&'a str],
) -> Spawn<'a> {
    let spawn = Spawn::new(initrd.image(command[0]), command[0]);
    let args = command[1..].iter();
    args.fold(spawn, |spawn, arg| spawn.arg(arg))
        .handle(initrd.region.handle(), Mode::Share, INITRD_RIGHTS)
        .handle(names.session().into_handle(), Mode::Move, Rights::all())
        .handle(given.statistics, Mode::Share, READ_STATISTICS)
}

fn start(spawn: Spawn<'_>, command: &[&str]) -> Process {
    expect!(spawn.start(), "init: starting `{}`", command[0])
}
