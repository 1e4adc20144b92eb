//! Programs that drive a device, each ended at its n-th entry into the kernel, for every n: what they had
//! is returned, and the next one finds a device that works. A machine that runs the suite has both devices.

use alloc::string::ToString;
use core::cell::RefCell;

use programs::display::{self, Display};
use programs::edu::{self, Edu};
use programs::entries::Entries;
use programs::picture::HALF_MISSING;
use programs::supervision::FUSE_BURNT;
use rt::{Error, Handle, Interrupt, Mode, Notification, ProcessState, Rights, Spawn};

use crate::Case;
use crate::calls::yield_now;
use crate::check::{cpus, eventually};
use crate::fuses::every_entry;
use crate::objects::image_of;

const ALL: Rights = Rights::all();
/// How long a program may take, in ms.
const LIFE_MS: u64 = 5_000;
/// As much of a picture as needs no time.
const ROWS: &str = "4";
/// How long a line of interrupts rests that was given back, in ms, and a little more.
const REST_MS: u64 = 101;

/// What programs may do with the initrd.
const READ_INITRD: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);
/// And one that starts others from it.
const START_FROM_INITRD: Rights = READ_INITRD.union(Rights::GRANT).union(Rights::DUPLICATE);
/// What the driver may do with what its interrupt signals.
const WAIT_AND_SEE: Rights = Rights::WAIT.union(Rights::INSPECT);
/// And who gives it to a driver.
const GIVE_ON: Rights = WAIT_AND_SEE.union(Rights::GRANT).union(Rights::DUPLICATE);

fn processes() -> u32 {
    done!(rt::system_info(), "system_info").processes
}

/// Lets a program run to its end, and whom it started. How it ended: the status, or `None` by its fuse.
fn live(program: Spawn<'_>, entries: u64, fuse: Option<u64>) -> Option<u32> {
    let before = processes();
    let ended = run(program, entries, fuse);
    eventually("nobody to be left", || processes() == before);
    ended
}

/// Lets a program run to its end, and tells how it ended.
fn run(program: Spawn<'_>, entries: u64, fuse: Option<u64>) -> Option<u32> {
    let process = done!(program.stopped().start(), "a program");
    if let Some(fuse) = fuse {
        done!(process.set_fuse(fuse), "a fuse");
    }
    done!(process.resume(0, 0), "beginning");
    // Without sleep: while all CPUs of an emulated machine sleep, its time goes on as fast as it can, and a
    // device that the host computes for would be late.
    let limit = rt::in_ms(LIFE_MS);
    let ended = loop {
        match process.wait(0) {
            Err(Error::WouldBlock) if rt::now_ns() < limit => {
                core::hint::spin_loop();
                yield_now();
            }
            ended => break ended,
        }
    };
    let status = done!(ended, "a program that ends at entry {entries}");
    let killed = status.state == ProcessState::Killed as u32;
    check!(
        killed || status.exited().is_some(),
        "{status:?} at entry {entries}"
    );
    status.exited()
}

/// Two processes draw; the first ends, or the second.
fn draw(case: &Case, image: Handle, display: &Display, victim: usize, entries: u64) -> bool {
    let fuse = entries.to_string();
    let program = Spawn::new(image, "draw").arg("--rows").arg(ROWS);
    let (program, own) = match victim {
        0 => (program, Some(entries)),
        _ => (program.arg("--fuse").arg(&fuse), None),
    };
    // Two of them stand for what it does not use.
    let program = (0..3).fold(program, |program, _| {
        program.handle(case.initrd, Mode::Share, READ_INITRD)
    });
    let program = program
        .handle(display.framebuffer, Mode::Share, ALL)
        .handle(display.registers, Mode::Share, ALL);
    let ended = live(program, entries, own);
    let burnt = if victim == 0 {
        None
    } else {
        Some(HALF_MISSING.into())
    };
    check!(
        ended == Some(0) || ended == burnt,
        "the picture ended by {ended:?} when {victim} ends at entry {entries}"
    );
    ended == burnt
}

/// A driver sleeps until its device interrupts.
fn drive(edu: &RefCell<Edu>, image: Handle, entries: u64) -> bool {
    let notification = done!(Notification::create(), "a notification");
    let interrupt = connect(&mut edu.borrow_mut(), &notification);
    let cpu = u64::from(cpus() > 1 && entries.is_multiple_of(2));
    let program = Spawn::new(image, "edu")
        .cpus(1 << cpu)
        .handle(edu.borrow().registers, Mode::Share, ALL)
        .handle(notification.handle(), Mode::Share, WAIT_AND_SEE)
        .handle(interrupt.into_handle(), Mode::Move, ALL);
    let ended = live(program, entries, Some(entries));
    check!(
        matches!(ended, None | Some(0)),
        "the driver ended by {ended:?} at entry {entries}"
    );
    ended.is_none()
}

/// A supervisor keeps the driver running, which ends, and is asked by whoever started it.
fn keep(case: &Case, edu: &RefCell<Edu>, [names, image]: [Handle; 2], entries: u64) -> bool {
    let before = processes();
    let notification = done!(Notification::create(), "a notification");
    let interrupt = connect(&mut edu.borrow_mut(), &notification);
    let (session, first) = done!(rt::channel(4), "a channel");
    let names = Spawn::new(names, "names").handle(first.into_handle(), Mode::Move, ALL);
    drop(done!(names.start(), "the name service"));
    let fuse = entries.to_string();
    let program = Spawn::new(image, "edu")
        .arg("--kept")
        .arg("--fuse")
        .arg(&fuse);
    let program = program
        .arg("5")
        .handle(case.initrd, Mode::Share, START_FROM_INITRD)
        .handle(session.into_handle(), Mode::Move, ALL)
        .handle(edu.borrow().registers, Mode::Share, ALL)
        .handle(notification.handle(), Mode::Share, GIVE_ON)
        .handle(interrupt.into_handle(), Mode::Move, ALL);
    let ended = run(program, entries, None);
    let burnt = Some(FUSE_BURNT.into());
    check!(
        ended == Some(0) || ended == burnt,
        "who asks the driver ended by {ended:?} when that ends at entry {entries}"
    );
    eventually("nobody to be left", || processes() == before);
    ended == burnt
}

/// An interrupt of the device, as soon as there is a line for it.
fn connect(edu: &mut Edu, notification: &Notification) -> Interrupt {
    loop {
        match edu.connect(notification) {
            Err(Error::Limit) => done!(rt::sleep_until(rt::in_ms(REST_MS)), "waiting"),
            interrupt => return done!(interrupt, "an interrupt"),
        }
    }
}

fn draw_until(case: &Case, entries: Entries) {
    let display = done!(display::find(case.devices), "looking for a display");
    let display = done!(display.ok_or(Error::NotFound), "a display");
    let image = done!(image_of(case.initrd, "draw"), "the program");
    every_entry(0..2, entries, |victim, entries| {
        draw(case, image, &display, victim, entries)
    });
}

fn drive_until(case: &Case, entries: Entries) {
    let edu = done!(edu::find(case.devices), "looking for a device");
    let edu = RefCell::new(done!(edu.ok_or(Error::NotFound), "an educational device"));
    let image = done!(image_of(case.initrd, "edu"), "the program");
    every_entry(0..1, entries, |_, entries| drive(&edu, image, entries));
}

fn keep_until(case: &Case, entries: Entries) {
    let edu = done!(edu::find(case.devices), "looking for a device");
    let edu = RefCell::new(done!(edu.ok_or(Error::NotFound), "an educational device"));
    let images = ["names", "edu"].map(|name| done!(image_of(case.initrd, name), "the program"));
    every_entry(0..1, entries, |_, entries| {
        keep(case, &edu, images, entries)
    });
}

pub fn drawn(case: &Case) {
    draw_until(case, case.entries);
}

pub fn driven(case: &Case) {
    drive_until(case, case.entries);
}

pub fn kept(case: &Case) {
    keep_until(case, case.entries);
}

/// All of them at every entry that there is, and a number of rounds with other schedules.
pub fn without_limit(case: &Case, rounds: u64) {
    for round in 0..rounds {
        rt::println!("drawn, round {round}");
        draw_until(case, Entries::ALL);
        rt::println!("driven, round {round}");
        drive_until(case, Entries::ALL);
        rt::println!("kept, round {round}");
        keep_until(case, Entries::ALL);
    }
}
