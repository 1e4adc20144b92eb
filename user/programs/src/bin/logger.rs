//! Writes lines into a ring: one of the writers of `logs`, which it finds by its name and gets the ring from.
//!
//! Arguments: its number, how many lines, and, if it is to stop in the middle of one, which. Handles: a
//! session with the name service, and a region whose words tell how many lines it has begun and how many it
//! has sent, also when it ends without another word.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use programs::logs::{BEGUN, MAX_PART, NAME, SENT, hello, line, parts};
use programs::{expect, expect_handles};
use rt::names::Names;
use rt::{Env, Events, FOREVER, Message, ObjectKind, Region, Rights, RingEnd, Sender, println};

rt::entry!(run);

/// The longest pause between two lines, in ns.
const PAUSE_NS: u64 = 200_000;
/// Nobody reads its lines any more.
const UNHEARD: u8 = 1;

fn run(env: &Env) -> u8 {
    let numbers = env.args().skip(1).map(str::parse::<u32>);
    let (writer, lines, stops_in) = match *Vec::from_iter(numbers).as_slice() {
        [Ok(writer), Ok(lines)] => (writer, lines, None),
        [Ok(writer), Ok(lines), Ok(line)] => (writer, lines, Some(line)),
        _ => {
            println!("logger: needs its number, how many lines, and [in which it stops]");
            return 2;
        }
    };
    expect_handles(
        env,
        &[ObjectKind::ChannelEnd, ObjectKind::Region],
        "`logs` starts it",
    );
    let names = Names::from_handle(env.handle(0));
    let Some(mut sender) = find(&names) else {
        return UNHEARD;
    };
    let region = Region::from_handle(env.handle(1));
    let mapped = region.map(Rights::READ | Rights::WRITE);
    let mapped = expect!(mapped, "logger: mapping its counts");
    let count = |word, lines: u32| {
        if let Some(word) = mapped.word(word) {
            word.store(lines.into(), Ordering::Release);
        }
    };
    if sender.send(&hello(writer), FOREVER).is_err() {
        return UNHEARD;
    }
    let mut random = fastrand::Rng::with_seed(u64::from(writer));
    for number in 0..lines {
        let pause = rt::now_ns() + random.u64(..PAUSE_NS);
        expect!(rt::sleep_until(pause), "logger: pausing");
        let text = line(writer as usize, number);
        count(BEGUN, number + 1);
        for part in parts(rt::now_ns(), number, text.as_bytes()) {
            let mut buffer = [0; MAX_PART];
            match sender.send(part.encode(&mut buffer), FOREVER) {
                Ok(()) => {}
                Err(ring::Error::PeerClosed | ring::Error::PeerDied) => return UNHEARD,
                Err(error) => {
                    println!("logger: {writer}: sending: {error}");
                    return UNHEARD;
                }
            }
            if stops_in == Some(number) && !part.is_last() {
                // Here it stays until somebody ends it, or nobody is left who could.
                let gone = rt::object_wait(sender.handle(), Events::PEER_CLOSED, FOREVER);
                expect!(gone, "logger: being stuck");
                return UNHEARD;
            }
        }
        count(SENT, number + 1);
    }
    0
}

/// The ring that the collector has for whoever finds it. `None`: it is gone, or the name service is.
fn find(names: &Names) -> Option<Sender> {
    let collector = names.connect(NAME, FOREVER).ok()?;
    let mut received = collector.call(&mut Message::new(&[]), FOREVER).ok()?;
    let end = *received.handles().first()?;
    let sender = rt::open_sender(end).ok()?;
    // It is the sender's.
    received.take_handle(0);
    Some(sender)
}
