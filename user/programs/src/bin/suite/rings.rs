//! Rings between processes.

mod corpus;
mod ends;
mod gathering;
mod holders;
mod hostile;
mod kinds;
mod storms;
mod tasks;
mod thresholds;

use abi::RingGeometry;
use abi::ring::DATA_OFFSET;
use rt::{Env, Error, FOREVER, Mode, Process, Rights, Spawn};

pub use corpus::corpus;
pub use ends::{
    another_kind, closed_again, endings, half_closed, half_open, in_one_process, taken_while_asleep,
};
pub use gathering::{gathered, too_large, watched_too};
pub use holders::{emptied_elsewhere, half_received, passed_on};
pub use hostile::{consumer_pages, hostile_consumer, hostile_producer, producer_pages};
pub use kinds::{borders, every_kind, odd_shapes};
pub use storms::{any_words, kept_from_nothing, no_wakeup_lost};
pub use tasks::{conversations, ends_of_tasks, room_and_death, woken_by_threads};
pub use thresholds::thresholds;

use crate::Case;
use crate::calls::{
    cap_drop, peek, peek_u32, poke, poke_u32, ring_create, ring_map, ring_wait, small_ring,
    yield_now,
};
use crate::check::{PAGE_FAULT, exits, faults, other_cpu, succeeds, wait};

const ALL: Rights = Rights::all();

/// Message number `index` of the conversation: its length and every byte follow from the number.
fn message(index: u32) -> ([u8; 56], usize) {
    let len = (index as usize * 7) % 57;
    let mut bytes = [0; 56];
    for (at, byte) in bytes[..len].iter_mut().enumerate() {
        *byte = (index as usize * 31 + at) as u8;
    }
    (bytes, len)
}

fn start(spawn: Spawn<'_>) -> Process {
    done!(spawn.start(), "starting a child")
}

pub fn in_order(case: &Case) {
    const COUNT: u32 = 5000;
    let (to, from) = small_ring();
    let child = start(
        case.child("send_messages")
            .arg("5000")
            .handle(to, Mode::Move, ALL)
            .cpus(other_cpu()),
    );
    let mut receiver = done!(rt::open_receiver(from), "opening an end");
    for index in 0..COUNT {
        let mut target = [0; 56];
        let len = done!(receiver.receive(&mut target, FOREVER), "message {index}");
        let (bytes, expected) = message(index);
        same!(len, expected, "the length of message {index}");
        check!(
            target[..len] == bytes[..len],
            "the bytes of message {index}"
        );
    }
    succeeds(&child);
}

pub fn both_sleep(case: &Case) {
    const ROUNDS: u32 = 500;
    for cpus in [1, other_cpu()] {
        let (to, their_from) = small_ring();
        let (their_to, from) = small_ring();
        let child = start(
            case.child("echo")
                .handle(their_from, Mode::Move, ALL)
                .handle(their_to, Mode::Move, ALL)
                .cpus(cpus),
        );
        let mut sender = done!(rt::open_sender(to), "opening an end");
        let mut receiver = done!(rt::open_receiver(from), "opening an end");
        for round in 0..ROUNDS {
            let (bytes, len) = message(round);
            done!(sender.send(&bytes[..len], FOREVER), "sending");
            let mut target = [0; 56];
            let back = done!(receiver.receive(&mut target, FOREVER), "receiving");
            check!(target[..back] == bytes[..len], "the echo in round {round}");
        }
        drop(sender);
        succeeds(&child);
    }
    // The other direction: a producer sleeps until there is space.
    let (to, from) = small_ring();
    let child = start(
        case.child("receive_slowly")
            .handle(from, Mode::Move, ALL)
            .cpus(other_cpu()),
    );
    let mut sender = done!(rt::open_sender(to), "opening an end");
    for index in 0..200 {
        let (bytes, len) = message(index);
        done!(sender.send(&bytes[..len], FOREVER), "message {index}");
    }
    drop(sender);
    succeeds(&child);
}

pub fn drained_then_closed(case: &Case) {
    let (to, from) = small_ring();
    let child = start(
        case.child("send_messages")
            .arg("5")
            .handle(to, Mode::Move, ALL),
    );
    succeeds(&child);
    let mut receiver = done!(rt::open_receiver(from), "opening an end");
    let mut target = [0; 56];
    for index in 0..5 {
        let len = done!(receiver.receive(&mut target, FOREVER), "message {index}");
        same!(len, message(index).1, "the length of message {index}");
    }
    for _ in 0..2 {
        refused!(
            receiver.receive(&mut target, FOREVER),
            ring::Error::PeerClosed,
            "after the last message"
        );
    }
    check!(!receiver.is_peer_alive(), "the peer still counts as alive");
    let (to, from) = small_ring();
    done!(cap_drop(from), "dropping an end");
    let mut sender = done!(rt::open_sender(to), "opening an end");
    refused!(
        sender.send(b"", FOREVER),
        ring::Error::PeerDied,
        "sending to nobody"
    );
}

pub fn killed_peer(case: &Case) {
    let (to, from) = small_ring();
    let victim = start(
        case.child("send_and_spin")
            .handle(to, Mode::Move, ALL)
            .cpus(other_cpu()),
    );
    let (report, answer) = small_ring();
    let sleeper = start(
        case.child("receive_to_the_end")
            .handle(from, Mode::Move, ALL)
            .handle(report, Mode::Move, ALL),
    );
    let mut answer = done!(rt::open_receiver(answer), "opening an end");
    done!(answer.receive(&mut [0; 8], FOREVER), "the first message");
    for _ in 0..100 {
        yield_now();
    }
    done!(victim.kill(), "killing");
    same!(
        wait(&victim).state,
        rt::ProcessState::Killed as u32,
        "how the victim ended"
    );
    exits(&sleeper, 0);
}

pub fn deadlines(_: &Case) {
    let (producer, consumer) = small_ring();
    refused!(
        ring_wait(consumer, 1, 0),
        Error::WouldBlock,
        "without waiting"
    );
    let limit = rt::in_ms(5);
    refused!(ring_wait(consumer, 1, limit), Error::TimedOut, "waiting");
    check!(rt::now_ns() >= limit, "the wait ended before its deadline");
    refused!(
        ring_wait(consumer, 1, 1),
        Error::TimedOut,
        "a past deadline"
    );
    done!(ring_wait(consumer, 0, FOREVER), "an index that is reached");
    done!(
        ring_wait(producer, 0, FOREVER),
        "space that is there already"
    );
    let mut receiver = done!(rt::open_receiver(consumer), "opening an end");
    refused!(
        receiver.receive(&mut [0; 56], rt::in_ms(5)),
        ring::Error::TimedOut,
        "receiving from an empty ring"
    );
    let mut sender = done!(rt::open_sender(producer), "opening an end");
    for _ in 0..16 {
        done!(sender.try_send(b""), "filling");
    }
    refused!(
        sender.send(b"", rt::in_ms(5)),
        ring::Error::TimedOut,
        "sending to a full ring"
    );
    drop((receiver, sender));
    let (producer, consumer) = small_ring();
    done!(cap_drop(consumer), "dropping an end");
    done!(
        ring_wait(producer, 1, FOREVER),
        "waiting for a peer that is gone"
    );
}

pub fn mapped_once(case: &Case) {
    let (producer, consumer) = small_ring();
    let view = done!(ring_map(producer), "mapping an end");
    refused!(ring_map(producer), Error::Exists, "mapping it twice");
    same!(peek_u32(view), abi::ring::MAGIC, "the header");
    poke(view + DATA_OFFSET as u64 + 8, 77);
    same!(
        peek(view + DATA_OFFSET as u64 + 4096 + 8),
        77,
        "the second copy of the data"
    );
    let theirs = done!(ring_map(consumer), "mapping the other end");
    same!(
        peek(theirs + DATA_OFFSET as u64 + 8),
        77,
        "what the other end sees"
    );
    done!(cap_drop(producer), "dropping an end");
    let child = start(case.child("drop_and_touch"));
    faults(&child, PAGE_FAULT);
    same!(
        peek(theirs + DATA_OFFSET as u64 + 8),
        77,
        "what the other end still sees"
    );
}

pub fn geometry(_: &Case) {
    let bad = |geometry| ring_create(&geometry);
    for (slot_size, capacity) in [
        (0, 16),
        (63, 16),
        (65, 16),
        (64, 0),
        (64, 3),
        (64, 1 << 31 | 1),
        (65536 + 64, 16),
        (u32::MAX, u32::MAX),
    ] {
        refused!(
            bad(RingGeometry::slot(slot_size, capacity)),
            Error::Invalid,
            "{capacity} slots of {slot_size} bytes"
        );
    }
    // More than a region can be, and more than there is.
    for (slot_size, capacity, error) in [
        (65536, 1 << 31, Error::TooLarge),
        (64, 1 << 31, Error::NoMemory),
        (65536, 1 << 20, Error::NoMemory),
    ] {
        refused!(
            bad(RingGeometry::slot(slot_size, capacity)),
            error,
            "{capacity} slots of {slot_size} bytes"
        );
    }
    let mut odd = RingGeometry::slot(64, 16);
    odd.reserved = 1;
    refused!(bad(odd), Error::Invalid, "a reserved field");
    odd = RingGeometry::slot(64, 16);
    odd.kind = 9;
    refused!(bad(odd), Error::Invalid, "an unknown kind");
    for (slot_size, capacity) in [(64, 1), (64, 2), (4096, 64), (65536, 2), (192, 32)] {
        let ends = done!(
            bad(RingGeometry::slot(slot_size, capacity)),
            "{capacity} slots of {slot_size} bytes"
        );
        let mut sender = done!(rt::open_sender(ends.producer), "opening an end");
        let mut receiver = done!(rt::open_receiver(ends.consumer), "opening an end");
        for index in 0..3 * capacity {
            done!(sender.try_send(&index.to_le_bytes()), "message {index}");
            let mut target = [0; 4];
            done!(receiver.try_receive(&mut target), "message {index}");
            same!(u32::from_le_bytes(target), index, "what arrived");
        }
    }
}

/// The roles of children here. Handle 0 is the end to work on.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    let end = env.handle(0);
    match role {
        "send_messages" => {
            let mut sender = done!(rt::open_sender(end), "opening an end");
            for index in 0..crate::number(env, 0) as u32 {
                let (bytes, len) = message(index);
                done!(sender.send(&bytes[..len], FOREVER), "message {index}");
            }
        }
        "echo" => {
            let mut receiver = done!(rt::open_receiver(end), "opening an end");
            let mut sender = done!(rt::open_sender(env.handle(1)), "opening an end");
            let mut target = [0; 56];
            loop {
                match receiver.receive(&mut target, FOREVER) {
                    Ok(len) => done!(sender.send(&target[..len], FOREVER), "answering"),
                    Err(ring::Error::PeerClosed) => break,
                    Err(error) => done!(Err(error), "receiving"),
                }
            }
        }
        "receive_slowly" => {
            let mut receiver = done!(rt::open_receiver(end), "opening an end");
            let mut target = [0; 56];
            for index in 0.. {
                if index % 32 == 0 {
                    let nobody = small_ring().1;
                    let _ = ring_wait(nobody, 1, rt::in_ms(2));
                }
                match receiver.receive(&mut target, FOREVER) {
                    Ok(len) => same!(len, message(index).1, "the length of message {index}"),
                    Err(ring::Error::PeerClosed) => {
                        same!(index, 200, "messages that arrived");
                        break;
                    }
                    Err(error) => done!(Err(error), "receiving"),
                }
            }
        }
        "send_and_spin" => {
            let mut sender = done!(rt::open_sender(end), "opening an end");
            done!(sender.send(b"here", FOREVER), "sending");
            loop {
                core::hint::spin_loop();
            }
        }
        "receive_to_the_end" => {
            let mut receiver = done!(rt::open_receiver(end), "opening an end");
            let mut report = done!(rt::open_sender(env.handle(1)), "opening an end");
            done!(receiver.receive(&mut [0; 56], FOREVER), "the first message");
            done!(report.send(b"first", FOREVER), "reporting");
            refused!(
                receiver.receive(&mut [0; 56], FOREVER),
                ring::Error::PeerDied,
                "the second message"
            );
        }
        "write_view" => {
            let view = done!(ring_map(end), "mapping an end");
            let address = view + crate::number(env, 0);
            poke(address, peek(address));
        }
        "drop_and_touch" => {
            let (producer, _consumer) = small_ring();
            let view = done!(ring_map(producer), "mapping an end");
            let _ = peek(view);
            done!(cap_drop(producer), "dropping an end");
            let _ = peek(view);
        }
        "lie" => {
            let view = done!(ring_map(end), "mapping an end");
            let (offset, word) = (crate::number(env, 0), crate::number(env, 1));
            match offset {
                offset if offset == DATA_OFFSET as u64 => poke(view + offset, word),
                offset => poke_u32(view + offset, word as u32),
            }
        }
        "echo_any" => kinds::echo(env),
        _ => {
            let roles = [ends::child, holders::child, storms::child];
            return roles.iter().any(|play| play(role, env)).then_some(0);
        }
    }
    Some(0)
}
