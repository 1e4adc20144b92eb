//! Hubs between processes. Handle 0 of a child is its membership, or the door by which it joins; its first argument
//! the epoch.

mod corpus;
mod ends;
mod grants;
mod kinds;
mod payloads;
mod refused;
mod room;
mod shapes;
mod withdrawn;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use rt::hub::{Guest, Host, HubGeometry, HubSeat, Link, PeerState, Recovered, Unrecovered};
use rt::{Env, Error, FOREVER, Mode, Process, Rights, Spawn};

pub use corpus::corpus;
pub use ends::{crashes, door, goodbye, granted, hangs, hostile};
pub use grants::taken_back;
pub use kinds::kinds;
pub use payloads::{malformed, tiers};
pub use refused::{given_back, refused, scarce};
pub use room::{freed_meanwhile, waited_for};
pub use shapes::shapes;
pub use withdrawn::{lost_link, never_read};

use crate::Case;
use crate::check::{SOON_MS, other_cpu, succeeds};

const ALL: Rights = Rights::all();
const SLOT: u32 = 64;

/// A hub for so many guests, each with rings of 8 messages.
fn host(guests: u32) -> Host {
    let geometry = HubGeometry::slot(guests, SLOT, 8, 8);
    done!(Host::create(&geometry), "a hub of {guests}")
}

/// A child that is given a membership.
fn guest(host: &Host, child: Spawn<'static>) -> Process {
    let (member, seat) = done!(host.reserve(), "a seat");
    let child = child.arg(&seat.epoch.to_string());
    done!(
        child.handle(member, Mode::Move, ALL).start(),
        "starting a guest"
    )
}

/// The guests that a host speaks with.
#[derive(Default)]
struct Guests {
    links: BTreeMap<u32, Link>,
    /// Those whose seats were recovered.
    gone: Vec<u32>,
}

impl Guests {
    /// Waits once, and does something with every message of those who are told of.
    fn serve(&mut self, host: &Host, mut each: impl FnMut(&mut Link, &[u8])) {
        let told = done!(host.wait(rt::in_ms(SOON_MS)), "waiting for guests");
        for peer in told.iter() {
            self.look(host, peer, &mut each);
        }
    }

    /// Receives what a guest has sent, and recovers its seat if it is gone.
    fn look(&mut self, host: &Host, peer: u32, each: &mut impl FnMut(&mut Link, &[u8])) {
        let standing = done!(host.standing(peer), "guest {peer}");
        if standing.state == PeerState::Empty {
            return;
        }
        let epoch = standing.epoch;
        let linked = match self.links.remove(&peer) {
            Some(link) => Ok(link),
            None => host.connect(peer, epoch),
        };
        let mut link = match linked {
            Ok(link) => link,
            Err(error) => {
                same!(error, Error::PeerFault, "connecting to {peer}");
                let seat = HubSeat { peer, epoch };
                done!(host.dismiss(seat), "dismissing {peer}");
                done!(host.recover_seat(seat), "recovering the seat of {peer}");
                return self.gone.push(peer);
            }
        };
        let mut bytes = [0; SLOT as usize];
        let lies = loop {
            match link.receive(&mut bytes) {
                Ok(Some(len)) => each(&mut link, &bytes[..len]),
                Ok(None) => break false,
                Err(error) => {
                    same!(error, Error::PeerFault, "receiving from {peer}");
                    break true;
                }
            }
        };
        if lies {
            done!(host.dismiss(link.seat), "dismissing {peer}");
        }
        if lies || standing.state == PeerState::Goodbye {
            done!(host.recover(link), "recovering the seat of {peer}");
            self.gone.push(peer);
        } else {
            self.links.insert(peer, link);
        }
    }
}

/// What a host keeps when it would recover the seat of a guest that is there.
fn still_there<T>(recovered: Result<Recovered, Unrecovered<T>>) -> T {
    let (error, kept) = match recovered {
        Ok(_) => (None, None),
        Err(Unrecovered { error, kept }) => (Some(error), kept),
    };
    same!(error, Some(Error::Busy), "recovering a guest that is there");
    *done!(kept.ok_or(Error::NotFound), "what is given back")
}

/// Answers a message with the same.
fn echo(link: &mut Link, message: &[u8]) {
    done!(
        link.sender.send(message, rt::in_ms(SOON_MS)),
        "an answer to {}",
        link.seat.peer
    );
}

pub fn conversation(case: &Case) {
    const GUESTS: u32 = 4;
    const ROUNDS: u32 = 300;
    let host = host(GUESTS);
    let children: Vec<_> = (0..GUESTS)
        .map(|number| {
            let cpu = if number % 2 == 0 { 1 } else { other_cpu() };
            let child = case.child("hub_talk").cpus(cpu);
            let (member, seat) = done!(host.reserve(), "a seat");
            let child = child.arg(&seat.epoch.to_string()).arg(&ROUNDS.to_string());
            let child = child.handle(member, Mode::Move, ALL).start();
            done!(child, "starting a guest")
        })
        .collect();
    let mut guests = Guests::default();
    let mut messages = 0;
    while guests.gone.len() < GUESTS as usize {
        guests.serve(&host, |link, message| {
            messages += 1;
            echo(link, message);
        });
    }
    same!(messages, GUESTS * ROUNDS, "messages of all guests");
    children.iter().for_each(succeeds);
    let info = done!(host.info(), "facts");
    same!(
        (info.reserved, info.attached, info.leaving),
        (0, 0, 0),
        "seats that are taken"
    );
}

/// Guests of one process in [`full`].
const MEMBERS: u32 = 17;

pub fn full(case: &Case) {
    const PROCESSES: u32 = 15;
    let host = host(PROCESSES * MEMBERS);
    let child = |host: &Host| {
        let mut child = case.child("hub_crowd");
        for _ in 0..MEMBERS {
            let (member, seat) = done!(host.reserve(), "a seat");
            child = child
                .arg(&seat.epoch.to_string())
                .handle(member, Mode::Move, ALL);
        }
        done!(child.start(), "starting guests")
    };
    let mut children: Vec<_> = (0..PROCESSES).map(|_| child(&host)).collect();
    refused!(host.reserve(), Error::Full, "one more than 255");
    let mut guests = Guests::default();
    let mut heard: BTreeMap<u32, u32> = BTreeMap::new();
    // All of them at once, each of which has said something and waits for the answer.
    while heard.len() < 255 {
        guests.serve(&host, |link, message| {
            same!(
                message,
                format!("hello {}", link.seat.epoch).as_bytes(),
                "a message"
            );
            *heard.entry(link.seat.peer).or_default() += 1;
        });
    }
    same!(done!(host.info(), "facts").attached, 255, "guests");
    // One process after the other is killed, and others take their seats, while the rest speak on.
    for killed in [3, 9] {
        done!(children[killed].kill(), "killing guests");
        let gone = guests.gone.len();
        while guests.gone.len() < gone + MEMBERS as usize {
            guests.serve(&host, |_, _| {});
        }
        children[killed] = child(&host);
        // A guest that has joined may not have spoken yet.
        let mut heard = 0;
        while heard < MEMBERS {
            guests.serve(&host, |link, message| {
                same!(message, b"hello 1", "a message of {}", link.seat.peer);
                heard += 1;
            });
        }
    }
    for link in guests.links.values_mut() {
        echo(link, b"leave");
    }
    let gone = guests.gone.len();
    while guests.gone.len() < gone + 255 {
        guests.serve(&host, |link, message| {
            same!(message, b"bye", "the last message of {}", link.seat.peer);
        });
    }
    children.iter().for_each(succeeds);
}

/// The membership of a child.
fn member(env: &Env) -> Guest {
    let epoch = crate::number(env, 0) as u32;
    done!(Guest::claim(env.handle(0), epoch), "claiming a seat")
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "hub_talk" => {
            let mut guest = member(env);
            for round in 0..crate::number(env, 1) {
                let text = format!("round {round}");
                done!(guest.send(text.as_bytes(), FOREVER), "sending");
                let mut answer = [0; SLOT as usize];
                let len = done!(guest.receive(&mut answer, FOREVER), "receiving");
                same!(&answer[..len], text.as_bytes(), "the answer in {round}");
            }
        }
        "hub_crowd" => {
            let claim = |at: u32| {
                let epoch = crate::number(env, at as usize) as u32;
                let guest = Guest::claim(env.handle(at as usize), epoch);
                let mut guest = done!(guest, "claiming seat {at}");
                let hello = format!("hello {epoch}");
                done!(guest.send(hello.as_bytes(), FOREVER), "sending");
                guest
            };
            let mut guests: Vec<_> = (0..MEMBERS).map(claim).collect();
            for guest in &mut guests {
                let mut answer = [0; SLOT as usize];
                let len = done!(guest.receive(&mut answer, FOREVER), "receiving");
                same!(&answer[..len], b"leave", "the answer");
                done!(guest.send(b"bye", FOREVER), "sending");
            }
        }
        _ => {
            let child = ends::child(role, env).or_else(|| payloads::child(role, env));
            let child = child.or_else(|| grants::child(role, env));
            let child = child.or_else(|| room::child(role, env));
            let child = child.or_else(|| withdrawn::child(role, env));
            return child.or_else(|| kinds::child(role, env));
        }
    }
    Some(0)
}
