//! Draws a picture on the display, in two processes: the first makes a device region of the
//! framebuffer and draws the left half; the second is given the region by Share and draws the
//! right half.
//!
//! Handles: the initrd, a session with the name service and the statistics, which it does not use, the
//! resource of the framebuffer, that of the registers; or for the second process, with the argument
//! `half`, the receiving end of a ring.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod screen;

use core::ops::Range;

use programs::picture::{HEIGHT, WIDTH, pixel};
use programs::{archive, expect};
use rt::{Env, FOREVER, Handle, Mode, ObjectKind, Process, Region, Registers, Rights, Spawn};
use rt::{Token, println};

rt::entry!(run);

/// This machine has no display.
const NO_DISPLAY: u8 = 1;
/// Bytes of a slot of the ring; a token fits.
const SLOT_SIZE: u32 = 64;
/// Slots of the ring.
const SLOTS: u32 = 4;

fn run(env: &Env) -> u8 {
    if env.args().nth(1) == Some("half") {
        return draw_what_is_given(env.handle(0));
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
    let helper = give_to_another(env.handle(0), &screen);
    let view = expect!(Registers::map(&screen), "draw: mapping the framebuffer");
    draw(&view, 0..WIDTH / 2);
    let status = expect!(helper.wait(FOREVER), "draw: waiting for the other half");
    if !status.succeeded() {
        println!("draw: the other half was not drawn");
        return 1;
    }
    println!("draw: {WIDTH} x {HEIGHT} pixels by two processes, through one device region");
    0
}

/// Starts the second process and offers it the framebuffer.
fn give_to_another(initrd: Handle, screen: &Region) -> Process {
    let image = own_image(&Region::from_handle(initrd));
    let (sender, receiver) = expect!(rt::ring(SLOT_SIZE, SLOTS), "draw: a ring");
    let cpus = expect!(rt::system_info(), "draw: counting CPUs").cpus;
    let process = Spawn::new(image, "draw")
        .arg("half")
        .handle(receiver, Mode::Move, Rights::all())
        .cpus(if cpus > 1 { 1 << 1 } else { 0 });
    let process = expect!(process.start(), "draw: starting the other half");
    let rights = Rights::READ | Rights::WRITE | Rights::MAP | Rights::INSPECT;
    let token = expect!(
        screen.share(sender, rights),
        "draw: sharing the framebuffer"
    );
    let mut sender = expect!(rt::open_sender(sender), "draw: opening the ring");
    let sent = sender.send(&token.bits().to_le_bytes(), FOREVER);
    expect!(sent, "draw: sending the token");
    process
}

/// The image of this very program.
fn own_image(initrd: &Region) -> Handle {
    expect!(archive::image(initrd, "draw"), "draw: an image of itself")
}

/// The second process: takes the framebuffer and draws its half.
fn draw_what_is_given(end: Handle) -> u8 {
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
    draw(&view, WIDTH / 2..WIDTH);
    0
}

fn draw(view: &Registers, columns: Range<u32>) {
    for y in 0..HEIGHT {
        for x in columns.clone() {
            view.write(u64::from(y * WIDTH + x) * 4, pixel(x, y));
        }
    }
}
