//! Draws a picture on the display, in two processes: the first makes a device region of the
//! framebuffer and draws the left half; the second is given the region by Share and draws the
//! right half.
//!
//! Handles: the initrd, a session with the name service and the statistics, which it does not use, the
//! resource of the framebuffer, that of the registers; or for the second process, with the arguments
//! `half ROWS`, the receiving end of a ring. `--rows N` draws no more than the first N rows, and `--fuse N` ends
//! the second process after N entries into the kernel.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod screen;

use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;

use programs::picture::{HALF_MISSING, HEIGHT, WIDTH, pixel};
use programs::{archive, expect};
use rt::{
    Env, Error, FOREVER, Handle, Mode, ObjectKind, Process, Region, Registers, Rights, Spawn,
};
use rt::{Token, println};

rt::entry!(run);

/// An argument that it does not know.
const USAGE: u8 = 2;
/// This machine has no display.
const NO_DISPLAY: u8 = 1;
/// Bytes of a slot of the ring; a token fits.
const SLOT_SIZE: u32 = 64;
/// Slots of the ring.
const SLOTS: u32 = 4;

fn run(env: &Env) -> u8 {
    let words = Vec::from_iter(env.args().skip(1));
    if let ["half", rows] = words[..] {
        return draw_what_is_given(env.handle(0), rows.parse().unwrap_or(HEIGHT));
    }
    let (mut rows, mut fuse) = (HEIGHT, None);
    for pair in words.chunks(2) {
        match (pair[0], pair.get(1).map(|number| number.parse())) {
            ("--rows", Some(Ok(number))) => rows = HEIGHT.min(number as u32),
            ("--fuse", Some(Ok(number))) => fuse = Some(number),
            _ => {
                println!("draw: takes no arguments but --rows N and --fuse N");
                return USAGE;
            }
        }
    }
    let (framebuffer, registers) = (env.handle(3), env.handle(4));
    if framebuffer.kind() != Some(ObjectKind::Resource) {
        println!("draw: this machine has no display; --display gives it one");
        return NO_DISPLAY;
    }
    let screen = expect!(
        screen::open(framebuffer, registers),
        "draw: setting the mode of the display"
    );
    let helper = give_to_another(env.handle(0), &screen, rows, fuse);
    let view = expect!(Registers::map(&screen), "draw: mapping the framebuffer");
    draw(&view, 0..WIDTH / 2, rows);
    let status = expect!(helper.wait(FOREVER), "draw: waiting for the other half");
    if !status.succeeded() {
        println!("draw: the other half was not drawn");
        return HALF_MISSING;
    }
    println!("draw: {WIDTH} x {rows} pixels by two processes, through one device region");
    0
}

/// Starts the second process and offers it the framebuffer.
fn give_to_another(initrd: Handle, screen: &Region, rows: u32, fuse: Option<u64>) -> Process {
    let image = own_image(&Region::from_handle(initrd));
    let (sender, receiver) = expect!(rt::ring(SLOT_SIZE, SLOTS), "draw: a ring");
    let cpus = expect!(rt::system_info(), "draw: counting CPUs").cpus;
    let process = Spawn::new(image, "draw")
        .arg("half")
        .arg(&rows.to_string())
        .handle(receiver, Mode::Move, Rights::all())
        .cpus(if cpus > 1 { 1 << 1 } else { 0 })
        .stopped();
    let process = expect!(process.start(), "draw: starting the other half");
    if let Some(entries) = fuse {
        expect!(process.set_fuse(entries), "draw: setting a fuse");
    }
    expect!(process.resume(0, 0), "draw: having the other half begin");
    match offer(screen, sender) {
        // It has ended, and its status says so.
        Err(Error::PeerClosed) => {}
        offered => expect!(offered, "draw: offering the framebuffer"),
    }
    process
}

fn offer(screen: &Region, via: Handle) -> Result<(), Error> {
    let rights = Rights::READ | Rights::WRITE | Rights::MAP | Rights::INSPECT;
    let token = screen.share(via, rights)?;
    let mut sender = rt::open_sender(via)?;
    let sent = sender.send(&token.bits().to_le_bytes(), FOREVER);
    sent.map_err(rt::to_abi)
}

/// The image of this very program.
fn own_image(initrd: &Region) -> Handle {
    expect!(archive::image(initrd, "draw"), "draw: an image of itself")
}

/// The second process: takes the framebuffer and draws its half.
fn draw_what_is_given(end: Handle, rows: u32) -> u8 {
    let mut receiver = expect!(rt::open_receiver(end), "draw: opening the ring");
    let mut token = [0; 8];
    expect!(
        receiver.receive(&mut token, FOREVER),
        "draw: waiting for the token"
    );
    let token = Token::from_bits(u64::from_le_bytes(token));
    let region = expect!(rt::accept(token, end), "draw: accepting the framebuffer");
    let view = Registers::map(&Region::from_handle(region));
    let view = expect!(view, "draw: mapping the framebuffer");
    draw(&view, WIDTH / 2..WIDTH, rows);
    0
}

fn draw(view: &Registers, columns: Range<u32>, rows: u32) {
    for y in 0..rows {
        for x in columns.clone() {
            view.write(u64::from(y * WIDTH + x) * 4, pixel(x, y));
        }
    }
}
