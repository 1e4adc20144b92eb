//! A client of the name service that keeps no rule.

use fastrand::Rng;
use rt::names::Names;
use rt::names::protocol::{MAX_REQUEST, Name, Request, decode_answer};
use rt::{ChannelEnd, Env, Error, Message, Notification, Region, Rights, channel};

use super::{ECHO, Town, ask, kill, soon, start};
use crate::Case;
use crate::check::{other_cpu, succeeds};

/// Requests of each hostile client.
const REQUESTS: u64 = 300;

pub fn hostile(case: &Case) {
    let town = Town::start(case);
    let echo = start(town.child(case, "services.echo").cpus(other_cpu()));
    let client = done!(town.names.connect(ECHO, soon()), "connecting");
    for seed in 0..3_u64 {
        let seed = alloc::format!("{seed}");
        let child = start(town.child(case, "services.hostile").arg(&seed));
        while child.wait(0).is_err() {
            same!(ask(&client, 1), Ok(2), "who is connected");
            let other = done!(town.names.connect(ECHO, soon()), "another client");
            same!(ask(&other, 2), Ok(3), "another client");
        }
        succeeds(&child);
    }
    kill(&echo);
    town.stop();
}

/// Any request, of names that others have too.
fn any_request(random: &mut Rng) -> Request {
    let names = [ECHO, "mine", "a", "b"].map(Name::new);
    let name = done!(
        names[random.usize(..names.len())].ok_or(Error::Invalid),
        "a name"
    );
    match random.u8(..6) {
        0 => Request::Register(name),
        1 => Request::LookUp(name),
        2 => Request::Withdraw(name),
        3 => Request::Watch {
            name,
            appeared: random.u64(..),
            gone: random.u64(..),
        },
        4 => Request::Unwatch(random.u64(..64)),
        _ => Request::Attach,
    }
}

/// With something that fits to a request or not.
fn with_anything<'a>(message: Message<'a>, kept: &[ChannelEnd], random: &mut Rng) -> Message<'a> {
    match random.u8(..8) {
        0 => message,
        1 => message.give(done!(Region::create(4096), "a region")),
        2 | 3 => message.give(done!(Notification::create(), "a notification")),
        4 => {
            let (first, second) = done!(channel(1), "a channel");
            // Both ends of one channel.
            message.give(first).give(second)
        }
        5 => match kept.last() {
            // What has been sent before.
            Some(end) => message.share(end.handle(), Rights::all()),
            None => message,
        },
        _ => message.give(done!(channel(1), "a channel").0),
    }
}

/// Sends requests, spoilt ones, and nonsense, each of which has to be answered; then leaves in the
/// middle of as many as fit.
fn pester(session: &ChannelEnd, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let mut kept = alloc::vec::Vec::new();
    for _ in 0..REQUESTS {
        let mut buffer = [0; MAX_REQUEST];
        let request = any_request(&mut random);
        let len = request.encode(&mut buffer).len();
        let mut bytes = alloc::vec::Vec::from(&buffer[..len]);
        match random.u8(..4) {
            0 => bytes = (0..random.usize(..257)).map(|_| random.u8(..)).collect(),
            1 => {
                let place = random.usize(..len);
                bytes[place] ^= 1 << random.u8(..8);
            }
            _ => {}
        }
        let mut message = if random.bool() && request.capability().is_some() {
            let (end, other) = done!(channel(1), "a channel");
            kept.push(end);
            Message::new(&bytes).give(other)
        } else {
            with_anything(Message::new(&bytes), &kept, &mut random)
        };
        match session.call(&mut message, soon()) {
            Ok(answer) => check!(
                answer.words().and_then(decode_answer).is_some(),
                "an answer that is none"
            ),
            // The kernel's own refusals: nothing was sent.
            Err(Error::Invalid | Error::Shared) => {}
            Err(error) => check!(false, "the name service answered {error}"),
        }
        kept.truncate(40);
    }
    // Its session over itself, whichever end.
    let itself = session.handle();
    refused!(
        session.call(&mut Message::new(&[]).share(itself, Rights::all()), soon()),
        Error::Invalid,
        "an end over itself"
    );
    while session.send(&mut Message::new(&[7; 256]), 0).is_ok() {}
}

/// Connects by an end that the service can't wait for: it is sent away, and nobody else is.
fn connect_by_half_an_end(session: &ChannelEnd) {
    let name = done!(Name::new(ECHO).ok_or(Error::Invalid), "a name");
    let (mine, theirs) = done!(channel(1), "a channel");
    let rights = Rights::SEND | Rights::INSPECT | Rights::GRANT | Rights::DUPLICATE | Rights::MOVE;
    let half = done!(rt::derive(theirs.handle(), rights), "deriving");
    drop(theirs);
    let mut buffer = [0; MAX_REQUEST];
    let mut message = Message::new(Request::LookUp(name).encode(&mut buffer)).pass(half);
    done!(session.call(&mut message, soon()), "looking up");
    refused!(mine.receive(soon()), Error::PeerClosed, "half an end");
}

/// The role of the hostile client.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    if role != "services.hostile" {
        return None;
    }
    let session = ChannelEnd::from_handle(env.handle(0));
    connect_by_half_an_end(&session);
    pester(&session, crate::number(env, 0));
    // A name whose holder takes nobody: clients are told so, and the service goes on.
    let names = Names::new(session);
    if let Ok(_listener) = names.register("idle", soon()) {
        let mut waiting = alloc::vec::Vec::new();
        let refusal = loop {
            match names.look_up("idle", soon()) {
                Ok(client) => waiting.push(client),
                Err(error) => break error,
            }
        };
        same!(refusal, Error::Busy, "clients that nobody takes");
        same!(waiting.len(), 64, "clients that wait");
    }
    Some(0)
}
