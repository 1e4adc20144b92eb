//! Guests and hosts that go, hang or lie.

use alloc::string::ToString;

use abi::ProcessState;
use abi::ring::{CONSUMER_OFFSET, DATA_OFFSET, PRODUCER_OFFSET};
use programs::held::Held;
use rt::hub::{Guest, Host, HubGeometry, PeerState, reserve};
use rt::{Env, Error, FOREVER, Mode, Region, Rights, Token};

use super::{ALL, Guests, SLOT, echo, guest, host, member, still_there};
use crate::Case;
use crate::calls::{cap_drop, poke_u32};
use crate::check::{SOON_MS, other_cpu, succeeds, wait};

pub fn crashes(case: &Case) {
    let host = host(2);
    // One that stays, and is answered all the time.
    let steady = {
        let (member, seat) = done!(host.reserve(), "a seat");
        let child = case.child("hub_talk").arg(&seat.epoch.to_string());
        // More than there is time for: its seat stays taken.
        let child = child.arg("1000000000").cpus(other_cpu());
        done!(child.handle(member, Mode::Move, ALL).start(), "a guest")
    };
    let mut guests = Guests::default();
    let mut crash = |entries| {
        guests.gone.clear();
        let child = guest(&host, case.child("hub_babble").stopped());
        done!(child.set_fuse(entries), "a fuse");
        done!(child.resume(0, 0), "beginning");
        let mut next = 0u32;
        while !guests.gone.contains(&2) {
            guests.serve(&host, |link, message| match link.seat.peer {
                // In order and without a gap, as far as it came.
                2 => {
                    same!(message, next.to_le_bytes(), "message {next}");
                    next += 1;
                    let _ = link.sender.try_send(message);
                }
                _ => echo(link, message),
            });
        }
        let ended = wait(&child).state;
        same!(ended, ProcessState::Killed as u32, "its end at {entries}");
    };
    // What grows once grows before.
    [1, 300].into_iter().for_each(&mut crash);
    let before = done!(Held::now(), "counters");
    for entries in case.entries.iter() {
        crash(entries);
        if let Err(now) = before.restored(rt::in_ms(SOON_MS)) {
            check!(
                false,
                "{before:?} became {now:?} when a guest ended at entry {entries}"
            );
        }
    }
    // After all that it still speaks and is answered.
    let mut served = false;
    while !served {
        guests.serve(&host, |link, message| {
            served |= link.seat.peer == 1;
            echo(link, message);
        });
    }
    refused!(
        steady.wait(0),
        Error::WouldBlock,
        "the end of one that is served"
    );
    done!(steady.kill(), "ending it");
    while guests.gone.last() != Some(&1) {
        guests.serve(&host, |link, message| _ = link.sender.try_send(message));
    }
    let _ = wait(&steady);
}

pub fn goodbye(case: &Case) {
    let host = host(3);
    let children: [_; 2] = core::array::from_fn(|_| guest(&host, case.child("hub_last")));
    let mut guests = Guests::default();
    let mut heard = 0;
    while heard < 2 {
        guests.serve(&host, |link, _| {
            heard += 1;
            // What was sent before is received.
            echo(link, b"last");
        });
    }
    // Now both sleep, or are about to.
    let _ = rt::sleep_until(rt::in_ms(5));
    done!(host.goodbye(), "saying goodbye");
    refused!(host.reserve(), Error::PeerClosed, "a seat after it");
    while guests.gone.len() < 2 {
        guests.serve(&host, |_, _| {});
    }
    children.iter().for_each(succeeds);
    // The host ends without a word.
    let other = super::host(2);
    let left = guest(&other, case.child("hub_last"));
    let mut guests = Guests::default();
    let mut heard = false;
    while !heard {
        guests.serve(&other, |link, _| {
            heard = true;
            echo(link, b"last");
        });
    }
    drop((other, guests));
    succeeds(&left);
}

pub fn door(case: &Case) {
    let host = host(5);
    let children: [_; 5] = core::array::from_fn(|_| {
        let child = case.child("hub_walk_in").cpus(other_cpu());
        let child = child.handle(host.handle(), Mode::Share, Rights::SEND);
        done!(child.start(), "a guest")
    });
    let mut guests = Guests::default();
    while guests.gone.len() < 15 {
        guests.serve(&host, echo);
    }
    children.iter().for_each(succeeds);
}

pub fn granted(case: &Case) {
    let host = host(1);
    let child = guest(&host, case.child("hub_gives"));
    let mut guests = Guests::default();
    while guests.gone.is_empty() {
        guests.serve(&host, |link, message| {
            let bits = message.try_into().map_or(0, u64::from_le_bytes);
            let taken = rt::accept(Token::from_bits(bits), link.via());
            let region = Region::from_handle(done!(taken, "what the guest gave"));
            let mapping = done!(region.map(Rights::READ), "mapping it");
            same!(crate::calls::peek(mapping.address()), 4711, "what is in it");
            let back = done!(region.share(link.via(), Rights::READ), "sharing it");
            echo(link, &back.bits().to_le_bytes());
        });
    }
    succeeds(&child);
}

pub fn hangs(case: &Case) {
    let geometry = HubGeometry {
        heartbeat_ns: 20_000_000,
        ..HubGeometry::slot(2, SLOT, 8, 8)
    };
    let host = done!(Host::create(&geometry), "a hub with a heartbeat");
    let alive = guest(&host, case.child("hub_beats"));
    let hanging = guest(&host, case.child("hub_hangs").cpus(other_cpu()));
    let mut guests = Guests::default();
    while guests.links.len() < 2 {
        guests.serve(&host, |_, _| {});
    }
    let soon = rt::in_ms(SOON_MS);
    while !host.table().is_overdue(2, rt::now_ns()) {
        check!(rt::now_ns() < soon, "a guest that hangs is never overdue");
        let _ = rt::sleep_until(rt::in_ms(5));
    }
    let link = done!(guests.links.remove(&2).ok_or(Error::NotFound), "its link");
    let link = still_there(host.recover(link));
    done!(host.dismiss(link.seat), "dismissing it");
    done!(host.recover(link), "recovering its seat");
    // It lives, and has nothing of the hub any more.
    done!(hanging.kill(), "killing it");
    let alive_link = done!(guests.links.get_mut(&1).ok_or(Error::NotFound), "a link");
    same!(
        done!(host.standing(1), "the other").state,
        PeerState::Attached,
        "the state of who beats"
    );
    echo(alive_link, b"leave");
    while guests.gone.is_empty() {
        guests.serve(&host, |_, _| {});
    }
    succeeds(&alive);
}

pub fn hostile(case: &Case) {
    let host = host(2);
    let steady = guest(&host, case.child("hub_talk").arg("0"));
    let mut guests = Guests::default();
    for (offset, word) in [
        // A sequence of laps ahead, a length past the slot, a tail out of reach or of a message that is not there.
        (DATA_OFFSET, 5u32),
        (DATA_OFFSET + 4, 57),
        (DATA_OFFSET + 4, u32::MAX),
        (PRODUCER_OFFSET, 1),
        (PRODUCER_OFFSET, 17),
        (PRODUCER_OFFSET, u32::MAX - 1),
        (PRODUCER_OFFSET + 128, 0x5555_5555),
    ] {
        let (member, seat) = done!(host.reserve(), "a seat");
        let liar = case.child("hub_lies").arg(&seat.epoch.to_string());
        let liar = liar.arg(&offset.to_string()).arg(&word.to_string());
        // Of its tail the host is told, and ends it; who has written anything else ends by itself.
        let liar = match offset {
            PRODUCER_OFFSET => liar.arg("stay"),
            _ => liar,
        };
        let liar = done!(liar.handle(member, Mode::Move, ALL).start(), "a guest");
        let before = guests.gone.len();
        // The steady one may have gone first.
        while !guests.gone[before..].contains(&seat.peer) {
            guests.serve(&host, |link, message| {
                if link.seat.peer != seat.peer {
                    echo(link, message);
                }
            });
        }
        succeeds(&liar);
    }
    let _ = wait(&steady);
    // Both directions of what the host writes are read-only to guests: they fault.
    let (member, seat) = done!(host.reserve(), "a seat");
    let liar = case.child("hub_lies").arg(&seat.epoch.to_string());
    let liar = liar.arg(&CONSUMER_OFFSET.to_string()).arg("1");
    let liar = done!(liar.handle(member, Mode::Move, ALL).start(), "a guest");
    crate::check::faults(&liar, crate::check::PAGE_FAULT);
    let before = guests.gone.len();
    while !guests.gone[before..].contains(&seat.peer) {
        guests.serve(&host, |_, _| {});
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    let mut bytes = [0; SLOT as usize];
    match role {
        // Until its fuse is burnt.
        "hub_babble" => {
            let mut guest = member(env);
            for number in 0u32.. {
                done!(guest.send(&number.to_le_bytes(), FOREVER), "sending");
                if number % 5 == 4 {
                    done!(guest.receive(&mut bytes, FOREVER), "receiving");
                }
                rt::yield_now();
            }
        }
        "hub_last" => {
            let mut guest = member(env);
            done!(guest.send(b"here", FOREVER), "sending");
            let len = done!(guest.receive(&mut bytes, FOREVER), "the last message");
            same!(&bytes[..len], b"last", "the last message");
            let answer = guest.receive(&mut bytes, FOREVER);
            match answer {
                Err(ring::Error::PeerClosed | ring::Error::PeerDied) => {}
                other => check!(false, "after the goodbye: {other:?}"),
            }
            check!(!guest.table().is_hosted(), "the table tells of a host");
        }
        "hub_walk_in" => {
            for _ in 0..3 {
                let (member, seat) = loop {
                    match reserve(env.handle(0)) {
                        Ok(found) => break found,
                        // Seats come back when the host has recovered them.
                        Err(Error::Full) => rt::yield_now(),
                        Err(error) => done!(Err(error), "a seat"),
                    }
                };
                let mut guest = done!(Guest::claim(member, seat.epoch), "claiming it");
                done!(guest.send(b"knock", FOREVER), "sending");
                done!(guest.receive(&mut bytes, FOREVER), "receiving");
            }
        }
        "hub_gives" => {
            let mut guest = member(env);
            let region = done!(Region::create(4096), "a region");
            let mapping = done!(region.map(Rights::READ | Rights::WRITE), "mapping it");
            crate::calls::poke(mapping.address(), 4711);
            let token = done!(region.share(guest.via(), ALL), "sharing it");
            let bits = token.bits().to_le_bytes();
            done!(guest.send(&bits, FOREVER), "sending the token");
            let len = done!(guest.receive(&mut bytes, FOREVER), "receiving");
            let bits = bytes[..len].try_into().map_or(0, u64::from_le_bytes);
            let back = rt::accept(Token::from_bits(bits), guest.via());
            let back = done!(back, "what the host gave");
            check!(
                done!(rt::same_object(back, region.handle()), "comparing"),
                "another region came back"
            );
            done!(cap_drop(back), "dropping it");
        }
        "hub_beats" => {
            let mut guest = member(env);
            loop {
                guest.beat();
                match guest.receive(&mut bytes, rt::in_ms(10)) {
                    Ok(_) => break,
                    Err(ring::Error::TimedOut) => {}
                    Err(error) => done!(Err(error), "receiving"),
                }
            }
        }
        "hub_hangs" => {
            let _guest = member(env);
            loop {
                crate::check::spin_a_while();
            }
        }
        "hub_lies" => {
            let epoch = crate::number(env, 0) as u32;
            let ends = crate::calls::hub_claim(env.handle(0), epoch);
            let ends = done!(ends, "claiming a seat");
            let view = done!(crate::calls::ring_map(ends.producer), "mapping an end");
            let (offset, word) = (crate::number(env, 1), crate::number(env, 2));
            poke_u32(view + offset, word as u32);
            // A lie that nobody is told of is one all the same.
            let _ = crate::calls::hub_signal(env.handle(0));
            if env.args().nth(6) == Some("stay") {
                let over = crate::calls::ring_wait(ends.consumer, 1, FOREVER);
                check!(over != Err(Error::WouldBlock), "it did not sleep");
            }
        }
        _ => return None,
    }
    Some(0)
}
