//! Runs programs of the initrd.

use alloc::vec::Vec;

use programs::{display, edu, expect};
use rt::{FOREVER, Mode, Notification, Process, Rights, Spawn};

use crate::names::NameService;
use crate::suite::INITRD_RIGHTS;
use crate::{Given, Initrd, READ_STATISTICS};

/// The program ended by a fault or was killed: this and the number of the exception.
const FAULTED: u8 = 128;
/// Between the programs.
const AND: &str = "+";
/// What a driver may do with what its interrupt signals.
const WAIT_AND_SEE: Rights = Rights::WAIT.union(Rights::INSPECT);

/// Starts programs, each with its arguments, which `+` separates. The machine runs until the last one
/// has ended; its status becomes init's. `None`: a program has no name.
///
/// Each gets the initrd, a session with the name service, and the statistics. The last one gets the devices too. Where
/// there is a display: the resources of the framebuffer and of the registers. Behind them, where there is
/// an educational device: the resource of the registers, the notification that the interrupt signals,
/// and the interrupt.
pub fn run<'a>(initrd: &Initrd, given: Given, args: impl Iterator<Item = &'a str>) -> Option<u8> {
    let devices = given.devices;
    let words = Vec::from_iter(args);
    let commands = Vec::from_iter(words.split(|word| *word == AND));
    if commands.iter().any(|command| command.is_empty()) {
        return None;
    }
    let names = NameService::start(initrd);
    let (last, others) = commands.split_last()?;
    for command in others {
        start(program(initrd, given, &names, command), command);
    }
    let spawn = program(initrd, given, &names, last);
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
