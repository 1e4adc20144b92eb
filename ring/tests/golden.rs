//! Every byte that two sides of a ring, a pool or a trace share is, after a few records, as it was when the layout was
//! agreed on.
#![cfg(not(loom))]

mod common;
#[path = "golden/dump.rs"]
mod dump;

use std::ptr::NonNull;

use abi::ring::{End, EndState, Form, Geometry};
use abi::trace::{COUNTS_OFFSET, Event, EventKind, LINE_BYTES, MIN_SLOTS, SLOTS_OFFSET, len};
use common::Backing;
use ring::memory::pool::PoolMemory;
use ring::memory::trace::{self, PagePointer, TracePages};
use ring::payload::frame::{Frame, MAX_FRAME_BYTES};
use ring::payload::{Class, Layout, Pool, RegionId, RegionRef, Side, SlotRef};
use ring::trace::Recorder;
use ring::{Polling, byte, packet, slot};

fn check(backing: &Backing, golden: &str) {
    dump::check(&backing.read(0, backing.bytes()), golden);
}

/// Pages of words that were zeros.
#[repr(align(4096))]
#[derive(Clone)]
struct Page([u64; 512]);

fn bytes_of(pages: &[Page], count: usize) -> Vec<u8> {
    let words = pages.iter().flat_map(|page| page.0);
    words.flat_map(u64::to_le_bytes).take(count).collect()
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

#[test]
fn a_pool_has_these_bytes() {
    let class = |slot_bytes, count| Class { slot_bytes, count };
    let layout = Layout::new(&[class(128, 2), class(64, 3)]).unwrap();
    let mut pages = vec![Page([0; 512])];
    let base = NonNull::from(pages.as_mut_slice()).cast::<u8>();
    {
        let side = |side| {
            // SAFETY: the page stays where it is as long as both pools, and is reached by them alone.
            let memory = unsafe { PoolMemory::from_raw(base, 4096, &layout) };
            Pool::new(memory.unwrap(), layout, side)
        };
        let (host, guest) = (side(Side::Host), side(Side::Guest));
        let sent = host.allocate(40).unwrap();
        host.write(sent, 0, &[0x11; 40]).unwrap();
        let answer = guest.allocate(100).unwrap();
        guest.write(answer, 10, &[0x22; 90]).unwrap();
        // One that was free again, and is in its second generation.
        let before = guest.allocate(8).unwrap();
        guest.write(before, 0, b"given up").unwrap();
        guest.withdraw(before).unwrap();
        let again = host.allocate(64).unwrap();
        assert_eq!((again.index, again.generation), (before.index, 2));
        // And one that was received.
        let received = host.allocate(1).unwrap();
        guest.release(received).unwrap();
        // Both wait for what there is none of.
        let rest: Vec<_> = std::iter::from_fn(|| guest.allocate(1).ok()).collect();
        assert!(host.arm(5) && guest.arm(100));
        rest.into_iter()
            .for_each(|slot| guest.withdraw(slot).unwrap());
    }
    dump::check(
        &bytes_of(&pages, layout.bytes() as usize),
        include_str!("golden/pool.txt"),
    );
}

#[test]
fn messages_beside_a_pool_have_these_bytes() {
    let region = RegionId {
        slot: 0x0102_0304,
        generation: 0x0506_0708,
    };
    let class = |slot_bytes, count| Class { slot_bytes, count };
    let frames = [
        Frame::Inline {
            tag: 0xa1a2_a3a4,
            bytes: b"as it is",
        },
        Frame::Slot {
            tag: 0xb1b2_b3b4,
            slot: SlotRef {
                extent: 0x0102,
                class: 0x0304,
                index: 0x0506_0708,
                generation: 0x090a_0b0c,
                length: 0x0d0e_0f10,
            },
        },
        Frame::Region {
            tag: 0xc1c2_c3c4,
            region: RegionRef {
                region,
                offset: 0x1112_1314_1516_1718,
                length: 0x2122_2324_2526_2728,
            },
        },
        Frame::Published {
            region,
            token: 0x3132_3334_3536_3738,
            length: 0x4142_4344_4546_4748,
        },
        Frame::Released { region },
        Frame::Grown {
            extent: 0x0506,
            token: 0x5152_5354_5556_5758,
            classes: [class(64, 1), class(128, 2), class(0, 0), class(0, 0)],
        },
        Frame::Freed,
        Frame::Whole {
            tag: 0xd1d2_d3d4,
            region,
            token: 0x6162_6364_6566_6768,
            length: 0x7172_7374_7576_7778,
        },
        Frame::Withdrawn { region },
    ];
    // Each at a multiple of 64.
    let mut bytes = Vec::new();
    for frame in frames {
        let mut target = [0; MAX_FRAME_BYTES];
        let length = frame.encode(&mut target).unwrap();
        bytes.extend_from_slice(&target[..length]);
        bytes.resize(bytes.len().next_multiple_of(64), 0xee);
    }
    dump::check(&bytes, include_str!("golden/frames.txt"));
}

#[test]
fn a_trace_has_these_bytes() {
    const CPUS: usize = 2;
    let count = len(CPUS, MIN_SLOTS) / 4096;
    let mut pages = vec![Page([0; 512]); count];
    let base = NonNull::from(pages.as_mut_slice()).cast::<u8>();
    // SAFETY: pages of zeros that only this test has, and that stay as long as what is made of them.
    unsafe {
        trace::format(base, CPUS as u32, MIN_SLOTS, 0x0102_0304_0506_0708);
        for (cpu, events) in [(0, 2), (1, 1)] {
            let page = PagePointer(base.add(SLOTS_OFFSET + cpu * 4096));
            let counts = base.add(COUNTS_OFFSET + cpu * LINE_BYTES).cast();
            let mut recorder = Recorder::new(TracePages::from_raw(counts, [page]).unwrap());
            for number in 0..events {
                let event = Event {
                    time_ns: 0x1112_1314_1516 + number,
                    thread: 0x2122_2324,
                    kind: EventKind::Leave as u8,
                    number: 0x31,
                    arguments: [number, 1, u64::MAX, 3, 4, 5 << 32],
                };
                recorder.record(&event.encode());
            }
        }
        trace::end(base);
    }
    dump::check(
        &bytes_of(&pages, count * 4096),
        include_str!("golden/trace.txt"),
    );
}
