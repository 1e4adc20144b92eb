//! Payloads where something is short: room in a ring, or what this process may have.

use alloc::vec;
use alloc::vec::Vec;

use programs::held::Held;
use rt::hub::{Guest, Host, Link, MAX_REGIONS, Payloads, Received, RegionId};
use rt::{Error, FOREVER, Handle, Notification, drop_handle};

use super::payloads::{CLASSES, MESSAGE, is_payload, payload};
use super::{ALL, host};
use crate::Case;
use crate::calls::cap_derive;
use crate::check::SOON_MS;

/// Bytes of a payload that goes in a region.
pub(super) const LONG: usize = 10_000;

/// Both sides of a seat, in this process.
pub(super) struct Pair {
    pub(super) guest: Guest,
    pub(super) theirs: Payloads,
    pub(super) link: Link,
    pub(super) ours: Payloads,
}

impl Pair {
    pub(super) fn new(host: &Host) -> Pair {
        let (member, seat) = done!(host.reserve(), "a seat");
        let guest = done!(Guest::claim(member, seat.epoch), "claiming it");
        let link = done!(host.connect(seat.peer, seat.epoch), "connecting");
        Pair {
            theirs: Payloads::of_guest(guest.via(), MESSAGE),
            ours: Payloads::of_host(link.via(), MESSAGE),
            guest,
            link,
        }
    }

    /// What the host receives next, if it is not for the payloads alone.
    pub(super) fn at_host(&mut self) -> Option<Received> {
        let mut message = [0; MESSAGE];
        let len = self.link.receiver.try_receive(&mut message);
        let len = done!(len, "receiving");
        done!(self.ours.receive(&message[..len]), "a message")
    }

    /// The same of the guest.
    pub(super) fn at_guest(&mut self) -> Option<Received> {
        let mut message = [0; MESSAGE];
        let len = self.guest.receive(&mut message, rt::in_ms(SOON_MS));
        let len = done!(len, "receiving");
        done!(self.theirs.receive(&message[..len]), "a message")
    }

    /// The guest sends a payload by way of a ring that takes so many messages before it is full.
    pub(super) fn send(&mut self, number: u32, len: usize, mut room: u32) -> Result<(), Error> {
        let Pair { guest, theirs, .. } = self;
        theirs.send(number, &payload(number, len), &mut |message, _| {
            room = room.checked_sub(1).ok_or(ring::Error::Full)?;
            guest.send(message, FOREVER)
        })
    }

    /// It publishes a region, of which it is to send parts.
    fn publish(&mut self, number: u32) -> RegionId {
        let Pair { guest, theirs, .. } = self;
        let send = &mut |message: &[u8], _| guest.send(message, FOREVER);
        let published = theirs.publish(&payload(number, LONG), send);
        check!(self.at_host().is_none(), "a payload");
        done!(published, "publishing {number}")
    }

    /// It sends the whole of it as a part.
    fn send_part(&mut self, number: u32, region: RegionId, room: bool) -> Result<(), Error> {
        let Pair { guest, theirs, .. } = self;
        let send = &mut |message: &[u8], _| match room {
            true => guest.send(message, FOREVER),
            false => Err(ring::Error::Full),
        };
        theirs.send_part(number, region, 0, LONG as u64, send)
    }

    /// It withdraws it.
    fn withdraw(&mut self, region: RegionId, room: bool) -> Result<(), Error> {
        let Pair { guest, theirs, .. } = self;
        theirs.withdraw(region, &mut |message, _| match room {
            true => guest.send(message, FOREVER),
            false => Err(ring::Error::Full),
        })?;
        check!(self.at_host().is_none(), "a payload");
        Ok(())
    }

    /// The payload that the host receives next.
    fn payload(&mut self, number: u32) -> Received {
        let received = self.at_host().ok_or(Error::Empty);
        let received = done!(received, "payload {number}");
        self.check(&received, number);
        received
    }

    fn check(&self, received: &Received, number: u32) {
        check!(
            is_payload(&self.ours, received, number),
            "the bytes of {number}"
        );
    }

    fn finish(&mut self, received: Received) {
        let Pair { link, ours, .. } = self;
        let refused = ours.finish(received, &mut |_, _| Err(ring::Error::Full));
        let Err(refused) = refused else {
            return check!(false, "a lease was given back over a full ring");
        };
        same!(refused.error, Error::Full, "over a full ring");
        let again = ours.finish(refused.received, &mut |message, _| {
            link.sender.try_send(message)
        });
        done!(again, "giving a lease back");
        check!(self.at_guest().is_none(), "a payload");
    }

    /// A payload goes over, and nothing is left of it.
    pub(super) fn exchange(&mut self, number: u32) {
        done!(self.send(number, LONG, 1), "sending {number}");
        let received = self.payload(number);
        self.finish(received);
    }
}

pub fn refused(_: &Case) {
    let host = host(1);
    let mut pair = Pair::new(&host);
    // What grows once grows before.
    pair.exchange(0);
    let mut grow = |room: bool| {
        let Pair { link, ours, .. } = &mut pair;
        ours.grow(&CLASSES, &mut |message, _| match room {
            true => link.sender.try_send(message),
            false => Err(ring::Error::Full),
        })
    };
    refused!(grow(false), Error::Full, "growing over a full ring");
    let before = done!(Held::now(), "counters");
    for _ in 0..100 {
        refused!(grow(false), Error::Full, "growing over a full ring");
    }
    done!(
        before.restored(rt::in_ms(SOON_MS)).map_err(held),
        "what growing left"
    );
    for _ in 0..100 {
        let sent = pair.send(1, LONG, 0);
        refused!(sent, Error::Full, "publishing over a full ring");
    }
    done!(
        before.restored(rt::in_ms(SOON_MS)).map_err(held),
        "what publishing left"
    );
    // The peer learns of the region, and then there is no room.
    for _ in 0..3 * MAX_REGIONS {
        let region = pair.publish(1);
        let sent = pair.send_part(1, region, false);
        refused!(sent, Error::Full, "a part over a full ring");
        let refused = pair.withdraw(region, false);
        refused!(refused, Error::Full, "withdrawing it over a full ring");
        done!(pair.withdraw(region, true), "withdrawing it");
    }
    // Every place is there still.
    (0..2 * MAX_REGIONS as u32).for_each(|number| pair.exchange(number));
    // And the pool can grow as often as ever, and no more.
    let mut grown = 0;
    let end = loop {
        let Pair { link, ours, .. } = &mut pair;
        let sent = ours.grow(&CLASSES, &mut |message, _| link.sender.try_send(message));
        match sent {
            Ok(()) => grown += 1,
            Err(error) => break error,
        }
        check!(pair.at_guest().is_none(), "a payload");
    };
    same!((grown, end), (16, Error::Full), "how often the pool grows");
    let before = done!(Held::now(), "counters");
    for _ in 0..100 {
        let Pair { link, ours, .. } = &mut pair;
        let more = ours.grow(&CLASSES, &mut |message, _| link.sender.try_send(message));
        refused!(more, Error::Full, "once more");
    }
    done!(
        before.restored(rt::in_ms(SOON_MS)).map_err(held),
        "what refusals left"
    );
}

pub fn given_back(_: &Case) {
    let host = host(1);
    let mut pair = Pair::new(&host);
    // What grows once grows before.
    pair.exchange(0);
    let before = done!(Held::now(), "counters");
    let restored = |what: &str| {
        let restored = before.restored(rt::in_ms(SOON_MS));
        done!(restored.map_err(held), "what is held after {what}");
    };
    for number in 0..2 * MAX_REGIONS as u32 {
        pair.exchange(number);
        restored("a payload");
    }
    // Each is there until it is finished, in whatever order.
    for number in 1..=3 {
        done!(pair.send(number, LONG, 1), "sending {number}");
    }
    let [first, second, third] = [1, 2, 3].map(|number| pair.payload(number));
    pair.finish(second);
    check!(before.restored(0).is_err(), "nothing is held for a payload");
    pair.check(&first, 1);
    pair.finish(first);
    pair.check(&third, 3);
    // Also while that can't be said.
    let refused = pair
        .ours
        .finish(third, &mut |_, _| Err(ring::Error::Full))
        .map_err(|refused| refused.received);
    let Err(third) = refused else {
        return check!(false, "a lease was given back over a full ring");
    };
    pair.check(&third, 3);
    pair.finish(third);
    restored("three at once");
    // What parts are sent of stays until it is withdrawn.
    for _ in 0..2 * MAX_REGIONS {
        let region = pair.publish(4);
        for _ in 0..2 {
            let parts = [4, 4].map(|number| {
                done!(pair.send_part(number, region, true), "a part");
                pair.payload(number)
            });
            let early = pair.withdraw(region, true);
            refused!(early, Error::Full, "withdrawing what is read");
            parts.into_iter().for_each(|part| pair.finish(part));
        }
        check!(before.restored(0).is_err(), "nothing is held for parts");
        done!(pair.withdraw(region, true), "withdrawing it");
        restored("parts");
        let again = pair.withdraw(region, true);
        refused!(again, Error::Invalid, "withdrawing it twice");
    }
    pair.exchange(5);
    restored("a payload after parts");
}

/// What is held is told by a line.
fn held(now: Held) -> Error {
    rt::println!("held now: {now:?}");
    Error::Busy
}

/// As many handles as there can be, or as this process can pay for.
pub(super) struct Hoard {
    _first: Notification,
    handles: Vec<Handle>,
}

impl Hoard {
    pub(super) fn new() -> Hoard {
        let first = done!(Notification::create(), "a notification");
        let mut handles = Vec::with_capacity(abi::limits::MAX_HANDLES);
        while let Ok(handle) = cap_derive(first.handle(), ALL) {
            handles.push(handle);
        }
        let _first = first;
        Hoard { _first, handles }
    }

    /// Gives so many back.
    pub(super) fn give_back(&mut self, count: usize) {
        let kept = self.handles.len().saturating_sub(count);
        self.handles
            .drain(kept..)
            .for_each(|handle| _ = drop_handle(handle));
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        self.give_back(usize::MAX);
    }
}

pub fn scarce(_: &Case) {
    let host = host(1);
    let mut pair = Pair::new(&host);
    let shortage = |read: Result<(), Error>| match read {
        Err(Error::Limit | Error::Quota | Error::NoMemory) => {}
        other => check!(false, "a payload without room: {other:?}"),
    };
    // There is no room when a region is published, and so its payload can't be read; it is the fault of nobody.
    for number in 0..2 * MAX_REGIONS as u32 {
        done!(pair.send(number, LONG, 1), "sending {number}");
        let hoard = Hoard::new();
        let received = pair.at_host();
        drop(hoard);
        let received = done!(received.ok_or(Error::Empty), "payload {number}");
        shortage(pair.ours.read(&received, 0, &mut vec![0; LONG]));
        pair.finish(received);
        pair.exchange(number);
    }
    // Nor is anything lost that a guest has sent which is gone.
    done!(pair.send(1, LONG, 1), "a region");
    done!(pair.send(2, 20, 1), "inline");
    done!(pair.send(3, 7, 1), "inline");
    let Pair {
        guest,
        theirs,
        link,
        ours,
    } = pair;
    drop((guest, theirs));
    let hoard = Hoard::new();
    let mut seen = Vec::with_capacity(3);
    let recovered = host.recover_payloads(link, ours, |payloads, received| {
        match received.tag {
            1 => shortage(payloads.read(received, 0, &mut vec![0; LONG])),
            number => check!(is_payload(payloads, received, number), "payload {number}"),
        }
        seen.push(received.tag);
    });
    drop(hoard);
    let drained = done!(recovered, "recovering its seat").drained;
    same!(seen[..], [1, 2, 3], "what it had sent");
    same!(
        (drained.messages, drained.fault),
        (3, false),
        "what was drained"
    );
}
