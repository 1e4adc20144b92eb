//! Sleeping for a slot of a pool that has none free.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use ring::payload::Frame;
use ring::payload::frame::HEAD_BYTES;
use rt::hub::{Host, Patience, Received};
use rt::{Env, Error, FOREVER};

use super::payloads::{CLASSES, MESSAGE, Member, Partner, is_payload, payload};
use super::refused::Pair;
use super::{guest, host};
use crate::Case;
use crate::check::{SOON_MS, succeeds};

/// Slots of the pool.
const SLOTS: u32 = CLASSES[0].count + CLASSES[1].count;
/// How often either side sleeps for one.
const SLEEPS: u32 = 5;
/// The tag of a message that says that its sender waits: it looks at no slot from then on unless it is told of one.
const WAITS: u32 = u32::MAX;
/// Bytes of each payload.
const LENGTH: usize = 100;

pub fn waited_for(case: &Case) {
    let host = host(1);
    let child = guest(&host, case.child("hub_waits"));
    let mut partner = Partner::meet(&host, 1);
    let mut held = hold(|| done!(partner.next(), "a payload"));
    for number in SLOTS..SLOTS + SLEEPS {
        let note = done!(partner.next(), "that the guest waits");
        same!(note.tag, WAITS, "what it says");
        partner.finish(note);
        let first = done!(held.pop_front().ok_or(Error::Empty), "the oldest");
        check!(
            is_payload(&partner.payloads, &first, number - SLOTS),
            "its bytes"
        );
        partner.finish(first);
        // What comes next can only come because it was told.
        let next = done!(partner.next(), "payload {number}");
        same!(next.tag, number, "the number");
        held.push_back(next);
    }
    for received in held {
        partner.finish(received);
    }
    for number in 0..SLOTS + SLEEPS {
        partner.send_when_free(&host, number);
    }
    succeeds(&child);
}

pub fn freed_meanwhile(_: &Case) {
    let host = host(1);
    let mut pair = Pair::new(&host);
    let Pair { link, ours, .. } = &mut pair;
    let grown = ours.grow(&CLASSES, &mut |message, _| link.sender.try_send(message));
    done!(grown, "the pool");
    check!(pair.at_guest().is_none(), "a payload");
    let mut held: VecDeque<_> = (0..SLOTS)
        .map(|number| {
            done!(pair.send(number, LENGTH, 1), "payload {number}");
            done!(pair.at_host().ok_or(Error::Empty), "payload {number}")
        })
        .collect();
    let full = pair.send(SLOTS, LENGTH, 0);
    refused!(full, Error::Full, "one more than there are slots");
    // Nobody is told of it, as nobody waits.
    let first = done!(held.pop_front().ok_or(Error::Empty), "the first");
    let finished = pair.ours.finish(first, &mut |_, _| Err(ring::Error::Full));
    done!(finished, "finishing");
    let mut slept = false;
    let waited = pair.theirs.wait_for_room(LENGTH, || {
        slept = true;
        Ok::<(), Error>(())
    });
    same!(
        (waited, slept),
        (Ok(None), false),
        "waiting for what is there"
    );
    done!(pair.send(SLOTS, LENGTH, 1), "in the slot");

    // Who waits is told, and nobody sleeps to tell it.
    let mut patience = Vec::new();
    let second = done!(held.pop_front().ok_or(Error::Empty), "the second");
    let Pair { ours, theirs, .. } = &mut pair;
    let waited = theirs.wait_for_room(LENGTH, || {
        ours.finish(second, &mut |_, how| {
            patience.push(how);
            Err(ring::Error::Full)
        })
    });
    check!(matches!(waited, Ok(Some(()))), "waiting for the second");
    same!(patience[..], [Patience::None], "how it is told");
}

/// Takes as much as there are slots, in order.
fn hold(mut next: impl FnMut() -> Received) -> VecDeque<Received> {
    let held = (0..SLOTS).map(|number| {
        let received = next();
        same!(received.tag, number, "the number");
        received
    });
    held.collect()
}

/// The message that says that its sender waits.
fn note() -> [u8; HEAD_BYTES] {
    let mut message = [0; HEAD_BYTES];
    let frame = Frame::Inline {
        tag: WAITS,
        bytes: &[],
    };
    let len = done!(frame.encode(&mut message), "a frame");
    same!(len, HEAD_BYTES, "its length");
    message
}

/// Whether payload `number` was sent: it was if there was a slot.
fn sent(sent: Result<(), Error>, number: u32) -> bool {
    match sent {
        Ok(()) => true,
        Err(error) => {
            same!(error, Error::Full, "sending {number}");
            check!(number >= SLOTS, "there was no slot for {number}");
            false
        }
    }
}

impl Partner {
    fn send_when_free(&mut self, host: &Host, number: u32) {
        let bytes: Vec<u8> = payload(number, LENGTH);
        loop {
            let Partner { link, payloads } = self;
            let send = &mut |message: &[u8], _| link.sender.send(message, rt::in_ms(SOON_MS));
            if sent(payloads.send(number, &bytes, send), number) {
                return;
            }
            let slept = payloads.wait_for_room(LENGTH, || {
                let soon = rt::in_ms(SOON_MS);
                done!(link.sender.send(&note(), soon), "saying so");
                host.wait(rt::in_ms(SOON_MS))
            });
            done!(slept, "waiting for room for {number}");
            let mut message = [0; MESSAGE];
            while let Some(len) = done!(link.receive(&mut message), "receiving") {
                let received = done!(payloads.receive(&message[..len]), "a message");
                check!(received.is_none(), "a payload");
            }
        }
    }
}

impl Member {
    fn send_when_free(&mut self, number: u32) {
        let bytes: Vec<u8> = payload(number, LENGTH);
        while !sent(self.send(number, &bytes), number) {
            let Member { guest, payloads } = self;
            let slept = payloads.wait_for_room(LENGTH, || {
                done!(guest.try_send(&note()), "saying so");
                let message = guest.receiver().wait_for_message(FOREVER);
                message.map_err(rt::to_abi)
            });
            if done!(slept, "waiting for room for {number}").is_some() {
                let mut message = [0; MESSAGE];
                let len = done!(guest.receive(&mut message, FOREVER), "receiving");
                let received = done!(payloads.receive(&message[..len]), "a message");
                check!(received.is_none(), "a payload");
            }
        }
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    if role != "hub_waits" {
        return None;
    }
    let mut member = Member::new(env);
    for number in 0..SLOTS + SLEEPS {
        member.send_when_free(number);
    }
    let mut held = hold(|| member.next());
    for number in SLOTS..SLOTS + SLEEPS {
        let says = member.next();
        same!(says.tag, WAITS, "what the host says");
        member.finish(says);
        let first = done!(held.pop_front().ok_or(Error::Empty), "the oldest");
        check!(
            is_payload(&member.payloads, &first, number - SLOTS),
            "its bytes"
        );
        member.finish(first);
        // The host may have looked in vain meanwhile, and said once more that it waits.
        let next = loop {
            match member.next() {
                again if again.tag == WAITS => member.finish(again),
                next => break next,
            }
        };
        same!(next.tag, number, "the number");
        held.push_back(next);
    }
    for received in held {
        member.finish(received);
    }
    Some(0)
}
