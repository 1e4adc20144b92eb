//! Every byte of a view of each kind, after a few records, is as it was when the layout was agreed on.
//!
//! The files have 16 bytes a line behind their offset; `*` stands for further lines like the last.
#![cfg(not(loom))]

mod common;

use std::fmt::Write;

use abi::ring::{End, EndState, Form, Geometry};
use common::Backing;
use ring::{Polling, byte, packet, slot};

fn dump(backing: &Backing) -> String {
    let bytes = backing.read(0, backing.bytes());
    let mut text = String::new();
    let (mut last, mut repeated): (&[u8], bool) = (&[], false);
    for (number, line) in bytes.chunks(16).enumerate() {
        if line == last {
            if !repeated {
                text.push_str("*\n");
            }
            repeated = true;
            continue;
        }
        (last, repeated) = (line, false);
        write!(text, "{:05x}", number * 16).unwrap();
        for byte in line {
            write!(text, " {byte:02x}").unwrap();
        }
        text.push('\n');
    }
    writeln!(text, "{:05x}", bytes.len()).unwrap();
    text
}

fn check(backing: &Backing, golden: &str) {
    let found = dump(backing);
    assert!(found == golden, "the layout has changed:\n{found}");
}

#[test]
fn a_slot_ring_has_these_bytes() {
    let backing = Backing::new(Geometry::slot(128, 4));
    // The last slot of the lap, and the wrap of the index, lie between the messages.
    let _owner = backing.format(0xffff_fffe);
    let mut producer = slot::Producer::attach(backing.producer_memory(), Polling).unwrap();
    let mut consumer = slot::Consumer::attach(backing.consumer_memory(), Polling).unwrap();
    producer.try_send(b"first").unwrap();
    producer.try_send(b"").unwrap();
    producer.try_send(&[0xa5; 120]).unwrap();
    consumer.peek().unwrap().release();
    consumer.set_wake_threshold(2).unwrap();
    check(&backing, include_str!("golden/slot.txt"));
}

#[test]
fn a_byte_ring_has_these_bytes() {
    let backing = Backing::new(Geometry::byte(4096));
    let owner = backing.format_as(Form::Asymmetric, 0xffff_fffc);
    let mut producer = byte::Producer::attach(backing.producer_memory(), Polling).unwrap();
    let mut consumer = byte::Consumer::attach(backing.consumer_memory(), Polling).unwrap();
    // Over the end of the data.
    producer.try_write(b"0123456789").unwrap();
    consumer.try_read(&mut [0; 3]).unwrap();
    consumer.flush();
    assert_eq!(producer.arm(4094), Ok(Some(4)));
    owner.set_state(End::Producer, EndState::Draining);
    check(&backing, include_str!("golden/byte.txt"));
}

#[test]
fn a_packet_ring_has_these_bytes() {
    let backing = Backing::new(Geometry::packet(4096));
    let owner = backing.format(0xffff_ffe0);
    let mut producer = packet::Producer::attach(backing.producer_memory(), Polling).unwrap();
    let mut consumer = packet::Consumer::attach(backing.consumer_memory(), Polling).unwrap();
    producer.try_send(0x0102_0304, b"short").unwrap();
    producer.try_send(5, b"").unwrap();
    // Its payload begins a line, beyond the end of the data.
    producer.try_send(6, &[0x5a; 256]).unwrap();
    producer.try_send(0xffff_ffff, &[0xa5; 255]).unwrap();
    consumer.peek().unwrap().release();
    consumer.flush();
    owner.set_state(End::Consumer, EndState::Poisoned);
    check(&backing, include_str!("golden/packet.txt"));
}
