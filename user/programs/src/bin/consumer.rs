//! Receives a file by each way and prints its digest and what the way took.
//!
//! Handle: a session with the name service.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::string::String;
use core::fmt::Write;

use programs::demo::{ANNOUNCEMENT, Announcement, CHUNK, CONSUMER, DONE, Way};
use programs::{expect, expect_handles};
use rt::names::Names;
use rt::{
    Env, FOREVER, Handle, Message, ObjectKind, Receiver, Region, Rights, Sender, SystemInfo, Token,
};
use sha2::{Digest, Sha256};

rt::entry!(run);

fn run(env: &Env) -> u8 {
    expect_handles(
        env,
        &[ObjectKind::ChannelEnd],
        "init starts it for the demonstration",
    );
    let (via, mut receiver, mut sender) = accept(&Names::from_handle(env.handle(0)));
    for expected in Way::ALL {
        let mut message = [0; ANNOUNCEMENT];
        let received = receiver.receive(&mut message, FOREVER);
        expect!(received, "consumer: waiting for the producer");
        let announcement = Announcement::decode(&message);
        if announcement.way != expected as u64 {
            rt::println!("consumer: {} was announced out of turn", announcement.way);
            return 1;
        }
        match expected {
            Way::Ring => receive_by_ring(&mut receiver, &announcement),
            Way::Share | Way::Copy | Way::Move => receive_region(via, expected, &announcement),
        }
        expect!(sender.send(DONE, FOREVER), "consumer: answering");
    }
    0
}

/// Waits for the producer, and is given its ends of two rings.
fn accept(names: &Names) -> (Handle, Receiver, Sender) {
    let listener = names.register(CONSUMER, FOREVER);
    let listener = expect!(listener, "consumer: registering its name");
    let producer = expect!(listener.accept(FOREVER), "consumer: waiting to be found");
    let mut rings = expect!(producer.receive(FOREVER), "consumer: waiting for its rings");
    let (via, to_producer) = (rings.take_handle(0), rings.take_handle(1));
    let receiver = expect!(rt::open_receiver(via), "consumer: opening its ring");
    let sender = expect!(rt::open_sender(to_producer), "consumer: opening its ring");
    if let Some(mut ready) = rings.take_reply() {
        expect!(ready.send(&mut Message::new(&[])), "consumer: being ready");
    }
    (via, receiver, sender)
}

/// Copies the file out of the ring into memory of its own.
fn receive_by_ring(receiver: &mut Receiver, announcement: &Announcement) {
    let len = announcement.len as usize;
    let region = expect!(
        Region::create(len.max(1) as u64),
        "consumer: a region of {len} bytes"
    );
    let mut mapping = expect!(
        region.map(Rights::READ | Rights::WRITE),
        "consumer: mapping its region"
    );
    // SAFETY: the region is this process's alone.
    let Some(bytes) = (unsafe { mapping.as_mut_slice(len) }) else {
        return;
    };
    for chunk in bytes.chunks_mut(CHUNK) {
        let received = expect!(receiver.receive(chunk, FOREVER), "consumer: receiving");
        if received != chunk.len() {
            rt::println!(
                "consumer: a message of {received} bytes where {} were due",
                chunk.len()
            );
            rt::exit(1);
        }
    }
    report(Way::Ring, announcement, counters(), bytes);
}

/// Accepts the region that the file is in.
fn receive_region(via: Handle, way: Way, announcement: &Announcement) {
    let token = Token::from_bits(announcement.token);
    let handle = expect!(
        rt::accept(token, via),
        "consumer: accepting by {}",
        way.name()
    );
    let region = Region::from_handle(handle);
    let mapping = expect!(
        region.map(Rights::READ),
        "consumer: mapping what it was given"
    );
    let end = counters();
    let len = announcement.len.min(mapping.len()) as usize;
    // SAFETY: the producer writes what it shares or moves only before it grants, and waits for the
    // answer before it goes on; a snapshot is this process's alone.
    let bytes = unsafe { mapping.as_slice(len) };
    report(way, announcement, end, bytes);
}

fn counters() -> SystemInfo {
    expect!(rt::system_info(), "consumer: counters")
}

/// Prints what arrived. The counters were read before the digest is computed.
fn report(way: Way, announcement: &Announcement, end: SystemInfo, bytes: &[u8]) {
    let digest = Sha256::digest(bytes);
    let mut hex = String::with_capacity(64);
    for byte in digest {
        let _ = write!(hex, "{byte:02x}");
    }
    rt::println!(
        "#way name={} bytes={} entries={} instructions={} sha256={hex}",
        way.name(),
        bytes.len(),
        end.syscalls + end.faults - announcement.entries,
        end.instructions.saturating_sub(announcement.instructions),
    );
}
