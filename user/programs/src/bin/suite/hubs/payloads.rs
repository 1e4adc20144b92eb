//! Payloads of every tier, and guests that refer to what is not theirs.

use alloc::vec;
use alloc::vec::Vec;

use alloc::string::ToString;
use ring::payload::{Frame, RegionId, RegionRef, SlotRef};
use rt::hub::{
    Class, Flow, Guest, Host, Link, Patience, Payloads, PeerState, Received, Traffic, What,
};
use rt::{Env, Error, FOREVER, Mode};

use super::{ALL, SLOT, guest, host, member, still_there};
use crate::Case;
use crate::check::{SOON_MS, succeeds};

/// Bytes of a message.
pub(super) const MESSAGE: usize = SLOT as usize - 8;
pub(super) const CLASSES: [Class; 2] = [
    Class {
        slot_bytes: 4096,
        count: 4,
    },
    Class {
        slot_bytes: 256,
        count: 8,
    },
];
/// Lengths around every border between tiers and classes.
const LENGTHS: [usize; 12] = [
    0,
    1,
    48,
    49,
    256,
    257,
    4095,
    4096,
    4097,
    10_000,
    100_000,
    3 << 20,
];

/// What the guest has sent when it ends, of every tier.
const LEFT: [(u32, usize); 3] = [(500, 20), (501, 100), (502, 10_000)];

/// A payload: every byte follows from its number and its place.
pub(super) fn payload(number: u32, len: usize) -> Vec<u8> {
    let byte = |at: usize| (at.wrapping_mul(7) ^ at >> 8 ^ number as usize) as u8;
    (0..len).map(byte).collect()
}

/// Whether what was received is the payload of this number.
pub(super) fn is_payload(payloads: &Payloads, received: &Received, number: u32) -> bool {
    let mut bytes = vec![0; received.len() as usize];
    done!(payloads.read(received, 0, &mut bytes), "payload {number}");
    bytes == payload(number, bytes.len())
}

/// A host's side of one guest.
pub(super) struct Partner {
    pub(super) link: Link,
    pub(super) payloads: Payloads,
}

impl Partner {
    /// Waits for a guest and gives it a pool.
    pub(super) fn meet(host: &Host, peer: u32) -> Partner {
        let soon = rt::in_ms(SOON_MS);
        let epoch = loop {
            let _ = done!(host.wait(soon), "waiting for {peer}");
            let standing = done!(host.standing(peer), "guest {peer}");
            if standing.state == PeerState::Attached {
                break standing.epoch;
            }
        };
        let link = done!(host.connect(peer, epoch), "connecting");
        let mut partner = Partner {
            payloads: Payloads::of_host(link.via(), MESSAGE),
            link,
        };
        partner.grow(&CLASSES);
        partner
    }

    fn grow(&mut self, classes: &[Class]) {
        let sender = &mut self.link.sender;
        let send = &mut |message: &[u8], patience: Patience| {
            sender.send(message, patience.until(rt::in_ms(SOON_MS)))
        };
        done!(self.payloads.grow(classes, send), "growing");
    }

    pub(super) fn next(&mut self) -> Result<Received, Error> {
        let mut message = [0; MESSAGE];
        loop {
            let soon = rt::in_ms(SOON_MS);
            let len = self.link.receiver.receive(&mut message, soon);
            let len = len.map_err(rt::to_abi)?;
            if let Some(received) = self.payloads.receive(&message[..len])? {
                return Ok(received);
            }
        }
    }

    pub(super) fn send(&mut self, tag: u32, bytes: &[u8]) {
        let sender = &mut self.link.sender;
        let send = &mut |message: &[u8], patience: Patience| {
            sender.send(message, patience.until(rt::in_ms(SOON_MS)))
        };
        done!(self.payloads.send(tag, bytes, send), "sending {tag}");
    }

    pub(super) fn finish(&mut self, received: Received) {
        let sender = &mut self.link.sender;
        let send = &mut |message: &[u8], patience: Patience| {
            sender.send(message, patience.until(rt::in_ms(SOON_MS)))
        };
        done!(self.payloads.finish(received, send), "finishing");
    }
}

pub fn tiers(case: &Case) {
    let host = host(1);
    let child = guest(&host, case.child("hub_payloads"));
    let Partner { link, payloads } = Partner::meet(&host, 1);
    let early = host.recover_payloads(link, payloads, |_, _| {});
    let (link, payloads) = still_there(early);
    let mut partner = Partner { link, payloads };
    for (number, len) in LENGTHS.into_iter().enumerate() {
        let number = number as u32;
        let received = done!(partner.next(), "payload {number}");
        same!(
            (received.tag, received.len()),
            (number, len as u64),
            "what arrived"
        );
        check!(
            is_payload(&partner.payloads, &received, number),
            "the bytes of {number}"
        );
        partner.finish(received);
        partner.send(number, &payload(number, len));
    }
    // The guest fills every slot; the pool grows before one is given back, and all are what they were.
    let slots = CLASSES.iter().map(|class| class.count).sum::<u32>();
    let held: Vec<_> = (0..slots)
        .map(|number| done!(partner.next(), "slot {number}"))
        .collect();
    partner.grow(&CLASSES[1..]);
    partner.send(77, b"grown");
    let more = done!(partner.next(), "what came by the new slots");
    check!(is_payload(&partner.payloads, &more, 99), "its bytes");
    for (number, received) in held.into_iter().enumerate() {
        let number = number as u32;
        same!(received.tag, number, "the number");
        check!(
            is_payload(&partner.payloads, &received, number),
            "the bytes of {number}"
        );
        partner.finish(received);
    }
    // It ends with this in its hands.
    succeeds(&child);
    let Partner { link, payloads } = partner;
    // What is in the ring is received, with all that it refers to, before anything is given back.
    let mut left = Vec::new();
    let recovered = host.recover_payloads(link, payloads, |payloads, received| {
        let tag = received.tag;
        check!(is_payload(payloads, received, tag), "the bytes of {tag}");
        left.push((tag, received.len() as usize));
    });
    let recovered = done!(recovered, "recovering the seat");
    same!(left[..], LEFT[..], "what it had sent");
    // `more`.
    same!(
        (recovered.slots, recovered.leases, recovered.drained.fault),
        (1, 0, false),
        "slots and leases of a guest that is gone"
    );
    // Of every tier it has received what is said above, and sent as much but for what the guest sent in the end.
    let Traffic { sent, received, .. } = recovered.traffic;
    let tiers =
        |flow: Flow| [What::Inline, What::Slot, What::Whole].map(|what| flow[what].messages);
    let slots = u64::from(slots);
    same!(tiers(sent), [4, 5, 4], "payloads sent by their tiers");
    same!(
        tiers(received),
        [3 + 1, 5 + slots + 2, 4 + 1],
        "payloads received by their tiers"
    );
    let lengths = |lengths: &[usize]| lengths.iter().sum::<usize>() as u64;
    same!(
        sent.payloads().bytes,
        lengths(&LENGTHS) + 5,
        "bytes that were sent"
    );
    same!(
        (
            sent[What::Grown].messages,
            received[What::Released].messages
        ),
        (2, 4),
        "what was said beside them"
    );
    drop(more);
}

pub fn malformed(case: &Case) {
    let host = host(2);
    let honest = guest(&host, case.child("hub_steady"));
    let mut steady = Partner::meet(&host, 1);
    for lie in 0..LIES {
        let (member, seat) = done!(host.reserve(), "a seat");
        let liar = case.child("hub_refers").arg(&seat.epoch.to_string());
        let liar = liar.arg(&lie.to_string());
        let liar = done!(liar.handle(member, Mode::Move, ALL).start(), "a guest");
        let mut partner = Partner::meet(&host, seat.peer);
        // It sends one message that is good, so that it has a slot.
        let first = done!(partner.next(), "the first message");
        check!(is_payload(&partner.payloads, &first, 1), "its bytes");
        refused!(partner.next(), Error::PeerFault, "lie {lie}");
        done!(host.dismiss(seat), "dismissing it");
        let Partner { link, payloads } = partner;
        let recovered = host.recover_payloads(link, payloads, |_, _| {});
        done!(recovered, "recovering its seat");
        drop(first);
        let _ = crate::check::wait(&liar);
        // The other never noticed.
        steady.send(lie, &payload(lie, 300));
        let answer = done!(steady.next(), "the other guest");
        same!(answer.tag, lie, "its answer");
        check!(is_payload(&steady.payloads, &answer, lie), "its bytes");
        steady.finish(answer);
    }
    steady.send(u32::MAX, b"");
    succeeds(&honest);
}

/// How many [`lies`] there are.
const LIES: u32 = 13;
/// The one about a region that was published, of which there is nothing.
const NOTHING: u32 = 6;

fn published(slot: u32, token: u64) -> Frame<'static> {
    Frame::Published {
        region: RegionId {
            slot,
            generation: 1,
        },
        token,
        length: 4096,
    }
}

/// A message that no honest guest sends which has this slot.
fn lies(which: u32, good: SlotRef) -> ([u8; MESSAGE], usize) {
    let region = RegionId {
        slot: 0,
        generation: 1,
    };
    let slot = |slot| Frame::Slot { tag: 0, slot };
    let frame = match which {
        0 => slot(SlotRef { class: 7, ..good }),
        1 => slot(SlotRef {
            index: u32::MAX,
            ..good
        }),
        2 => slot(SlotRef {
            length: u32::MAX,
            ..good
        }),
        3 => slot(SlotRef {
            generation: good.generation + 1,
            ..good
        }),
        4 => slot(SlotRef { extent: 3, ..good }),
        // It has published nothing, or what nobody can take.
        5 | NOTHING => Frame::Region {
            tag: 0,
            region: RegionRef {
                region,
                offset: 0,
                length: 1,
            },
        },
        7 => published(u32::MAX, 0),
        8 => Frame::Released { region },
        9 => Frame::Grown {
            extent: 1,
            token: 0,
            classes: [Class::default(); 4],
        },
        10 => {
            let mut message = [0; MESSAGE];
            message[0] = 200;
            return (message, 8);
        }
        11 => Frame::Whole {
            tag: 0,
            region,
            token: 4711,
            length: 4096,
        },
        _ => return ([0; MESSAGE], 3),
    };
    let mut message = [0; MESSAGE];
    let len = done!(frame.encode(&mut message), "lie {which}");
    (message, len)
}

/// A guest's side.
pub(super) struct Member {
    pub(super) guest: Guest,
    pub(super) payloads: Payloads,
}

impl Member {
    /// Sends a frame as it is, whatever it says.
    pub(super) fn send_frame(&mut self, frame: &Frame<'_>) {
        let mut message = [0; MESSAGE];
        let len = done!(frame.encode(&mut message), "a frame");
        done!(self.guest.send(&message[..len], FOREVER), "sending a frame");
    }

    pub(super) fn new(env: &Env) -> Member {
        let guest = member(env);
        let payloads = Payloads::of_guest(guest.via(), MESSAGE);
        let mut member = Member { guest, payloads };
        // The pool comes first.
        let mut message = [0; MESSAGE];
        let len = done!(member.guest.receive(&mut message, FOREVER), "the pool");
        let nothing = done!(member.payloads.receive(&message[..len]), "the pool");
        check!(nothing.is_none(), "a payload came before the pool");
        member
    }

    pub(super) fn send(&mut self, tag: u32, bytes: &[u8]) -> Result<(), Error> {
        let guest = &mut self.guest;
        self.payloads.send(tag, bytes, &mut |message, patience| {
            guest.send(message, patience.until(FOREVER))
        })
    }

    pub(super) fn next(&mut self) -> Received {
        let mut message = [0; MESSAGE];
        loop {
            let len = done!(self.guest.receive(&mut message, FOREVER), "receiving");
            if let Some(received) = done!(self.payloads.receive(&message[..len]), "a message") {
                return received;
            }
        }
    }

    pub(super) fn finish(&mut self, received: Received) {
        let guest = &mut self.guest;
        let send =
            &mut |message: &[u8], patience: Patience| guest.send(message, patience.until(FOREVER));
        done!(self.payloads.finish(received, send), "finishing");
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "hub_payloads" => {
            let mut member = Member::new(env);
            for (number, len) in LENGTHS.into_iter().enumerate() {
                let number = number as u32;
                done!(
                    member.send(number, &payload(number, len)),
                    "payload {number}"
                );
                let back = member.next();
                same!(
                    (back.tag, back.len()),
                    (number, len as u64),
                    "what came back"
                );
                check!(
                    is_payload(&member.payloads, &back, number),
                    "the bytes of {number}"
                );
                member.finish(back);
            }
            for number in 0.. {
                match member.send(number, &payload(number, 100)) {
                    Ok(()) => {}
                    Err(Error::Full) => {
                        same!(number, 12, "slots of the pool");
                        break;
                    }
                    Err(error) => done!(Err(error), "slot {number}"),
                }
            }
            let grown = member.next();
            same!(grown.tag, 77, "the message after the pool has grown");
            member.finish(grown);
            done!(member.send(99, &payload(99, 200)), "by a new slot");
            // For nobody who looks before this is gone.
            for (tag, len) in LEFT {
                done!(member.send(tag, &payload(tag, len)), "what is left");
            }
        }
        "hub_steady" => {
            let mut member = Member::new(env);
            loop {
                let received = member.next();
                let tag = received.tag;
                if tag == u32::MAX {
                    break;
                }
                check!(
                    is_payload(&member.payloads, &received, tag),
                    "the bytes of {tag}"
                );
                member.finish(received);
                done!(member.send(tag, &payload(tag, 5000)), "answering {tag}");
            }
        }
        "hub_refers" => {
            let mut member = Member::new(env);
            done!(member.send(1, &payload(1, 100)), "something good");
            let good = SlotRef {
                extent: 0,
                class: 0,
                index: 0,
                generation: 1,
                length: 100,
            };
            let which = crate::number(env, 1) as u32;
            if which == NOTHING {
                member.send_frame(&published(0, 4711));
            }
            let (message, len) = lies(which, good);
            let _ = member.guest.send(&message[..len], FOREVER);
            // Until it is dismissed.
            let _ = member.guest.receive(&mut [0; MESSAGE], FOREVER);
        }
        _ => return None,
    }
    Some(0)
}
