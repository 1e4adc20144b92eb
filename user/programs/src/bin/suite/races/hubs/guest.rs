//! A guest, which does one thing after the other. Its handles: what it joins by, and a channel to another guest.

use alloc::vec;

use fastrand::Rng;
use ring::payload::Frame;
use rt::hub::{Guest, HubSeat, Patience, Payloads, reserve};
use rt::{ChannelEnd, Env, Error, FOREVER, Handle, Message, drop_handle};

use super::{MESSAGE, SHORT, pause};
use crate::calls::hub_claim;

/// What it does at most.
const TURNS: u32 = 12;

/// It ends: nobody joins any more, or it chose to, with all that it has.
struct Leaves;

pub fn run(env: &Env) -> u8 {
    let mut racer = Racer {
        random: Rng::with_seed(crate::number(env, 0)),
        sleeps: crate::number(env, 1) != 0,
        other: ChannelEnd::from_handle(env.handle(1)),
    };
    let door = env.handle(0);
    for _ in 0..TURNS {
        if racer.take_over().is_err() || racer.turn(door).is_err() {
            break;
        }
        pause(&mut racer.random, SHORT);
    }
    0
}

struct Racer {
    random: Rng,
    /// Whether it may sleep for what only the end of its seat or of the hub brings.
    sleeps: bool,
    other: ChannelEnd,
}

impl Racer {
    /// Takes what the other guest has handed on, a membership or an end.
    fn take_over(&mut self) -> Result<(), Leaves> {
        // The other may have ended.
        let Ok(mut message) = self.other.receive(0) else {
            return Ok(());
        };
        let epoch = message.bytes().try_into().map_or(0, u32::from_le_bytes);
        let handle = message.take_handle(0);
        match handle.kind() {
            Some(abi::ObjectKind::HubMember) => return self.use_seat(handle, epoch),
            Some(_) => send_by(handle),
            // It was taken away on the way.
            None => {}
        }
        Ok(())
    }

    fn turn(&mut self, door: Handle) -> Result<(), Leaves> {
        let (member, seat) = match reserve(door) {
            Ok(reserved) => reserved,
            // Seats come back when the host has recovered them.
            Err(Error::Full) => return Ok(()),
            Err(Error::PeerClosed | Error::Revoked | Error::BadHandle) => return Err(Leaves),
            Err(error) => done!(Err(error), "a seat"),
        };
        let HubSeat { epoch, .. } = seat;
        self.use_seat(member, epoch)
    }

    /// Does something with a seat that was not claimed.
    fn use_seat(&mut self, member: Handle, epoch: u32) -> Result<(), Leaves> {
        match self.random.u8(..12) {
            0 => _ = drop_handle(member),
            1 => {
                let _ = rt::revoke_all(member);
                let _ = drop_handle(member);
            }
            2 => self.hand_on(member, epoch),
            3 => self.hand_end_on(member, epoch),
            4 if self.random.bool() => return Err(Leaves),
            _ => return self.speak(member, epoch),
        }
        Ok(())
    }

    /// Gives something to the other guest, or back if that can't take it.
    fn hand_on(&self, handle: Handle, epoch: u32) {
        let epoch = epoch.to_le_bytes();
        let _ = self.other.send(&mut Message::new(&epoch).give(handle), 0);
    }

    /// Claims the seat, and has the other guest send.
    fn hand_end_on(&self, member: Handle, epoch: u32) {
        if let Ok(ends) = hub_claim(member, epoch) {
            self.hand_on(ends.producer, epoch);
            for handle in [ends.consumer, ends.table] {
                let _ = drop_handle(handle);
            }
        }
        let _ = drop_handle(member);
    }

    /// Claims the seat, speaks with the host, and leaves in one of several ways.
    fn speak(&mut self, member: Handle, epoch: u32) -> Result<(), Leaves> {
        // It may have been dismissed, or the hub may have ended.
        let Ok(mut guest) = Guest::claim(member, epoch) else {
            return Ok(());
        };
        let mut payloads = Payloads::of_guest(guest.via(), MESSAGE);
        let mut has_pool = false;
        for tag in 0..self.random.u32(..6) {
            let len = match has_pool && self.random.bool() {
                true => 200,
                false => self.random.usize(..40),
            };
            if exchange(&mut guest, &mut payloads, (tag, len), &mut has_pool).is_err() {
                break;
            }
        }
        match self.random.u8(..6) {
            // There is nothing to come: it sleeps until the host, or the hub, has ended that.
            0..2 if self.sleeps => while guest.receive(&mut [0; MESSAGE], FOREVER).is_ok() {},
            2 => _ = rt::revoke_all(guest.via()),
            3 if self.random.bool() => {
                core::mem::forget(guest);
                return Err(Leaves);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Sends a message by an end that somebody else had.
fn send_by(end: Handle) {
    let mut message = [0; MESSAGE];
    let frame = Frame::Inline {
        tag: 0,
        bytes: b"handed on",
    };
    let len = done!(frame.encode(&mut message), "a message");
    if let Ok(mut sender) = rt::open_sender(end) {
        let _ = sender.try_send(&message[..len]);
    }
}

/// Sends a payload and waits for the answer, which is the same. An error: the host is gone, or this was dismissed.
fn exchange(
    guest: &mut Guest,
    payloads: &mut Payloads,
    (tag, len): (u32, usize),
    has_pool: &mut bool,
) -> Result<(), Error> {
    let sent = vec![tag as u8; len];
    payloads.send(tag, &sent, &mut |message, patience| {
        guest.send(message, patience.until(FOREVER))
    })?;
    let mut message = [0; MESSAGE];
    loop {
        let len = guest.receive(&mut message, FOREVER).map_err(rt::to_abi)?;
        let Some(received) = payloads.receive(&message[..len])? else {
            *has_pool = true;
            continue;
        };
        let mut bytes = vec![0; received.len() as usize];
        payloads.read(&received, 0, &mut bytes)?;
        let same = received.tag == tag && bytes == sent;
        check!(same, "another answer to {tag}");
        let send =
            &mut |message: &[u8], patience: Patience| guest.send(message, patience.until(FOREVER));
        return Ok(payloads.finish(received, send)?);
    }
}
