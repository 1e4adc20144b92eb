//! Sleeping and waking again and again, and peers that write anything.

use alloc::string::ToString;

use abi::RingGeometry;
use abi::ring::{CONSUMER_OFFSET, DATA_OFFSET, Form, Kind, PRODUCER_OFFSET};
use fastrand::Rng;
use ring::Unanswered;
use rt::{DuplexEnds, Env, FOREVER, Handle, Mode, RingClose};

use super::{ALL, start};
use crate::Case;
use crate::calls::{poke, poke_u32, ring_map, small_ring};
use crate::check::{other_cpu, succeeds};

/// Sleeps of both sides together.
const SLEEPS: u64 = 100_000;

/// What hostile peers have written that made a difference once, and some more.
const SEEDS: [u64; 6] = [1, 2, 3, 0x5eed, 0xdead_beef, 0x1234_5678_9abc_def0];

/// Words that a hostile peer writes, and looks of the other side.
const LIES: u32 = 400;

pub fn no_wakeup_lost(case: &Case) {
    let rounds = SLEEPS / 2;
    let (here, there) = done!(rt::duplex(64, 4), "two rings");
    let child = case.child("answer").arg(&rounds.to_string());
    let child = child.handle(there.producer, Mode::Move, ALL);
    let child = child.handle(there.consumer, Mode::Move, ALL);
    let child = start(child.cpus(other_cpu()));
    let mut rings = done!(rt::open_duplex(here), "opening a side");
    let mut target = [0; 8];
    for round in 0..rounds {
        let message = round.to_le_bytes();
        // Both ways to sleep: at once, and after a brief look.
        let received = match round % 2 {
            0 => rings
                .exchange(&message, &mut target, FOREVER)
                .map_err(Unanswered::error),
            _ => {
                done!(rings.sender.send(&message, FOREVER), "round {round}");
                rings.receiver.receive(&mut target, FOREVER)
            }
        };
        done!(received, "round {round}");
        same!(u64::from_le_bytes(target), round, "the answer");
    }
    drop(rings);
    succeeds(&child);
}

fn shape(kind: Kind) -> RingGeometry {
    match kind {
        Kind::Slot => RingGeometry::slot(64, 16),
        Kind::Packet => RingGeometry::packet(4096),
        Kind::Byte => RingGeometry::byte(4096),
    }
}

pub fn any_words(case: &Case) {
    for kind in [Kind::Slot, Kind::Packet, Kind::Byte] {
        for seed in SEEDS {
            for lies_at in ["producer", "consumer"] {
                let form = match seed % 2 {
                    0 => Form::Symmetric,
                    _ => Form::Asymmetric,
                };
                let geometry = shape(kind).with_form(form);
                let (producer, consumer) = done!(rt::ring_of(&geometry), "a ring");
                let (theirs, mine) = match lies_at {
                    "producer" => (producer, consumer),
                    _ => (consumer, producer),
                };
                // Before the first lie: an end that finds one when it opens is refused there.
                let mut end = Honest::open(kind, mine, lies_at == "producer");
                let liar = case.child("lie_on").arg(lies_at).arg(&seed.to_string());
                let liar = start(liar.handle(theirs, Mode::Move, ALL).cpus(other_cpu()));
                for _ in 0..LIES {
                    if end.act() == Err(ring::Error::PeerFault) {
                        break;
                    }
                    rt::yield_now();
                }
                done!(rt::close_ring(mine, RingClose::Faulty), "saying so");
                succeeds(&liar);
            }
        }
    }
}

pub fn kept_from_nothing(_: &Case) {
    // A tail that says more than the slots, as nobody leaves it who keeps to the protocol.
    let (producer, consumer) = small_ring();
    let view = done!(ring_map(producer), "mapping an end");
    let mut receiver = done!(rt::open_receiver(consumer), "opening an end");
    poke_u32(view + PRODUCER_OFFSET as u64, 1);
    let received = receiver.receive(&mut [0; 56], FOREVER);
    refused!(
        received,
        ring::Error::PeerFault,
        "a message that is not there"
    );
}

/// The end of who keeps to the protocol.
enum Honest {
    SlotSender(rt::Sender),
    SlotReceiver(rt::Receiver),
    PacketSender(rt::PacketSender),
    PacketReceiver(rt::PacketReceiver),
    ByteSender(rt::ByteSender),
    ByteReceiver(rt::ByteReceiver),
}

impl Honest {
    fn open(kind: Kind, end: Handle, receives: bool) -> Honest {
        match (kind, receives) {
            (Kind::Slot, false) => Honest::SlotSender(done!(rt::open_sender(end), "opening")),
            (Kind::Slot, true) => Honest::SlotReceiver(done!(rt::open_receiver(end), "opening")),
            (Kind::Packet, false) => {
                Honest::PacketSender(done!(rt::open_packet_sender(end), "opening"))
            }
            (Kind::Packet, true) => {
                Honest::PacketReceiver(done!(rt::open_packet_receiver(end), "opening"))
            }
            (Kind::Byte, false) => Honest::ByteSender(done!(rt::open_byte_sender(end), "opening")),
            (Kind::Byte, true) => {
                Honest::ByteReceiver(done!(rt::open_byte_receiver(end), "opening"))
            }
        }
    }

    /// One attempt, whatever comes of it.
    fn act(&mut self) -> Result<(), ring::Error> {
        let mut target = [0; 4096];
        // Not to sleep long where the peer says nothing.
        let soon = rt::now_ns() + 50_000;
        match self {
            Honest::SlotSender(end) => end.send(b"a message", soon),
            Honest::SlotReceiver(end) => end.receive(&mut target, soon).map(drop),
            Honest::PacketSender(end) => end.send(1, b"a message", soon),
            Honest::PacketReceiver(end) => end.receive(&mut target, soon).map(drop),
            // As much as it takes to fill the ring early.
            Honest::ByteSender(end) => {
                let written = end.write_all(&[0x5a; 64], soon);
                written.map_err(|unfinished| unfinished.error)
            }
            Honest::ByteReceiver(end) => end.read(&mut target, soon).map(drop),
        }
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> bool {
    match role {
        "answer" => {
            let ends = DuplexEnds {
                producer: env.handle(0),
                consumer: env.handle(1),
            };
            let mut rings = done!(rt::open_duplex(ends), "opening a side");
            let mut target = [0; 8];
            let mut received = rings.receiver.receive(&mut target, FOREVER);
            for _ in 1..crate::number(env, 0) {
                done!(received, "a request");
                let answer = target;
                let exchanged = rings.exchange(&answer, &mut target, FOREVER);
                received = exchanged.map_err(Unanswered::error);
            }
            done!(received, "the last request");
            done!(rings.sender.send(&target, FOREVER), "the last answer");
            let next = rings.receiver.receive(&mut target, FOREVER);
            refused!(next, ring::Error::PeerClosed, "after the last answer");
        }
        "lie_on" => {
            let view = done!(ring_map(env.handle(0)), "mapping an end");
            let produces = env.args().nth(3) == Some("producer");
            let mut random = Rng::with_seed(crate::number(env, 1));
            for _ in 0..LIES {
                let near = random.u32(..64);
                let word = match random.u8(..4) {
                    0 => random.u32(..),
                    1 => near,
                    2 => near.wrapping_neg(),
                    _ => near * 64,
                };
                let page = match produces {
                    true => PRODUCER_OFFSET as u64,
                    false => CONSUMER_OFFSET as u64,
                };
                match random.u8(..4) {
                    0 => poke_u32(view + page, word),
                    1 => poke_u32(view + page + 128, word),
                    _ if produces => {
                        let at = u64::from(random.u32(..512)) * 8;
                        let length = u64::from(random.u32(..) >> random.u32(..32));
                        poke(
                            view + DATA_OFFSET as u64 + at % 1024,
                            u64::from(word) | length << 32,
                        );
                    }
                    _ => {}
                }
                if random.u8(..8) == 0 {
                    rt::yield_now();
                }
            }
        }
        _ => return false,
    }
    true
}
