//! What was granted to somebody who is gone, and links that were lost for want of memory.

use programs::held::Held;
use rt::hub::{Guest, MAX_REGIONS, Payloads, PeerState};
use rt::{Env, Error, FOREVER, Resources};

use super::payloads::{CLASSES, MESSAGE};
use super::refused::{Hoard, LONG, Pair};
use super::{host, still_there};
use crate::Case;
use crate::check::{SOON_MS, succeeds};

/// How many payloads in regions the host sends to each guest.
const SENT: u32 = 5;
/// How many grants a process can have pending.
const PENDING: u32 = 256;

/// Guests that never receive come and go, and so do guests of a host that never does.
pub fn never_read(_: &Case) {
    let host = host(1);
    let mut before = None;
    // What the host grants for each is a pool and its regions; what the guest does, as many as it can.
    for round in 0..PENDING / SENT {
        let mut pair = Pair::new(&host);
        let Pair { link, ours, .. } = &mut pair;
        let send = &mut |message: &[u8], _| link.sender.send(message, rt::in_ms(SOON_MS));
        done!(ours.grow(&CLASSES, send), "the pool of {round}");
        for number in 0..SENT {
            let sent = ours.send(number, &[7; LONG], send);
            done!(sent, "payload {number} for {round}");
        }
        let Pair {
            guest,
            theirs,
            link,
            ours,
        } = pair;
        let (link, ours) = still_there(host.recover_payloads(link, ours, |_, _| {}));
        // It leaves, or is dismissed and lives on.
        let guest = (round % 2 == 1).then_some((guest, theirs));
        if guest.is_some() {
            done!(host.dismiss(link.seat), "dismissing {round}");
        }
        let recovered = host.recover_payloads(link, ours, |_, _| {});
        let recovered = done!(recovered, "recovering the seat of {round}");
        same!(recovered.leases, u64::from(SENT), "leases of {round}");
        drop(guest);
        // What grows once has grown by then.
        if round == 2 {
            before = Some(done!(Held::now(), "counters"));
        }
    }
    let before = done!(before.ok_or(Error::NotFound), "counters");
    let restored = before.restored(rt::in_ms(SOON_MS));
    check!(restored.is_ok(), "{before:?} became {restored:?}");

    // A guest of a host that never looks.
    for round in 0..PENDING / MAX_REGIONS as u32 + 1 {
        let (member, seat) = done!(host.reserve(), "a seat");
        let guest = done!(Guest::claim(member, seat.epoch), "claiming it");
        let mut theirs = Payloads::of_guest(guest.via(), MESSAGE);
        // What it says of them is lost on the way.
        for number in 0..MAX_REGIONS as u32 {
            let published = theirs.publish(&[7; LONG], &mut |_, _| Ok(()));
            done!(published, "region {number} of {round}");
        }
        done!(host.dismiss(seat), "dismissing {round}");
        done!(host.recover_seat(seat), "recovering the seat of {round}");
        theirs.take_back();
    }

    // One that withdraws what its host has not heard of yet: that finds nothing, and nobody is at fault.
    let mut pair = Pair::new(&host);
    for number in 0..2 * PENDING {
        let Pair { guest, theirs, .. } = &mut pair;
        let send = &mut |message: &[u8], _| guest.send(message, FOREVER);
        let region = done!(theirs.publish(&[7; LONG], send), "region {number}");
        done!(theirs.withdraw(region, send), "withdrawing {number}");
        for what in ["that it was published", "that it was withdrawn"] {
            check!(pair.at_host().is_none(), "a payload and not {what}");
        }
    }
    pair.exchange(1);
}

/// A host that has room for a link and not for its rings.
pub fn lost_link(case: &Case) {
    let child = case.child("hub_poor").quota(Resources::bytes(512 << 10));
    succeeds(&done!(child.start(), "a host"));
}

fn poor() {
    let host = host(1);
    let (mut refused, mut lost) = (0, 0);
    for spare in 0.. {
        let (member, seat) = done!(host.reserve(), "a seat");
        let guest = done!(Guest::claim(member, seat.epoch), "claiming it");
        let mut hoard = Hoard::new();
        hoard.give_back(spare);
        let link = host.connect(seat.peer, seat.epoch);
        let state = done!(host.standing(seat.peer), "the guest").state;
        drop(hoard);
        match (link, state) {
            (Ok(link), PeerState::Attached) => {
                drop(guest);
                done!(host.recover(link), "recovering the seat");
                break;
            }
            (Err(Error::Quota), PeerState::Attached) => {
                refused += 1;
                let link = host.connect(seat.peer, seat.epoch);
                let link = done!(link, "connecting once there is room");
                drop(guest);
                done!(host.recover(link), "recovering the seat");
            }
            (Err(Error::Quota), PeerState::Goodbye) => {
                lost += 1;
                drop(guest);
                done!(host.recover_seat(seat), "recovering the seat");
            }
            (link, state) => check!(false, "{:?} in {state:?}", link.map(drop)),
        }
    }
    check!(refused > 0 && lost > 0, "{refused} refused, {lost} lost");
}

/// The roles of children here.
pub fn child(role: &str, _: &Env) -> Option<u8> {
    match role {
        "hub_poor" => poor(),
        _ => return None,
    }
    Some(0)
}
