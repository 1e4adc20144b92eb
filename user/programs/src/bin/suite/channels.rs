//! Channels between processes: messages, how they are limited, and how who waits for them is told of
//! the end.

mod calls;
mod late;

use abi::{HandleTransfer, UserPtr};
use rt::{ChannelEnd, Env, Error, FOREVER, Message, Mode, Process, Rights, channel, sys};

use crate::Case;
use crate::calls::{READ_WRITE, cap_derive, cap_revoke, map_all, region, unmap};
use crate::check::{other_cpu, succeeds};

pub use calls::{
    answers_in_turn, answers_of_nothing, caller_gone, calls_with_capabilities, cancelled_in_turn,
    one_reply, server_gone, ten_thousand_calls,
};
pub use late::overtaken;

const ALL: Rights = Rights::all();

/// A deadline that has passed.
const PAST: u64 = 1;

/// A child in a role that has an end of a channel.
fn child(case: &Case, role: &'static str, end: ChannelEnd, cpus: u64) -> Process {
    let spawn = case.child(role).handle(end.into_handle(), Mode::Move, ALL);
    done!(spawn.cpus(cpus).start(), "starting a child")
}

fn pair(capacity: u32) -> (ChannelEnd, ChannelEnd) {
    done!(channel(capacity), "a channel")
}

/// Message number `index` of a conversation: its length and every byte follow from the number.
fn message(index: u64) -> ([u8; 256], usize) {
    let len = (index * 37 % 257) as usize;
    let mut bytes = [0; 256];
    for (at, byte) in bytes[..len].iter_mut().enumerate() {
        *byte = (index * 31 + at as u64) as u8;
    }
    (bytes, len)
}

pub fn in_order(case: &Case) {
    for cpus in [1, other_cpu()] {
        let (here, there) = pair(3);
        let sender = child(case, "send_channel", there, cpus);
        for index in 0..1000 {
            let got = done!(here.receive(FOREVER), "message {index}");
            let (bytes, len) = message(index);
            check!(got.bytes() == &bytes[..len], "the bytes of message {index}");
        }
        refused!(here.receive(FOREVER), Error::PeerClosed, "after the last");
        refused!(
            here.send(&mut Message::new(b""), FOREVER),
            Error::PeerClosed,
            "to nobody"
        );
        succeeds(&sender);
    }
}

pub fn sizes(_: &Case) {
    let (here, there) = pair(2);
    for len in [0, 1, 255, 256] {
        let bytes = [5; 256];
        let sent = here.send(&mut Message::new(&bytes[..len]), 0);
        done!(sent, "sending {len} bytes");
        let got = done!(there.receive(0), "receiving {len} bytes");
        same!(got.bytes(), &bytes[..len], "what came");
    }
    let long = here.send(&mut Message::new(&[0; 257]), 0);
    refused!(long, Error::TooLarge, "257 bytes");
    let shared = region(4096);
    let share = |count| {
        let transfers = [HandleTransfer::new(shared, Mode::Share, ALL); 5];
        let message = abi::Message {
            handles: transfers.as_ptr() as u64,
            handles_len: count,
            ..abi::Message::default()
        };
        let message = UserPtr::new((&raw const message) as u64);
        // SAFETY: the pointers lead to the stack, from which the call only reads.
        unsafe { sys::channel_send(here.handle(), message, 0) }
    };
    done!(share(4), "four capabilities");
    refused!(share(5), Error::TooLarge, "five capabilities");
    let got = done!(there.receive(0), "receiving capabilities");
    same!(got.handles().len(), 4, "capabilities");
    for &handle in got.handles() {
        let va = map_all(handle, READ_WRITE);
        done!(unmap(va), "unmapping it");
    }
    // A buffer that is too small: the message stays, and the lengths are told.
    done!(here.send(&mut Message::new(b"seven b"), 0), "sending");
    let mut bytes = [0_u8; 6];
    let mut small = abi::Message {
        bytes: bytes.as_mut_ptr() as u64,
        bytes_len: 6,
        ..abi::Message::default()
    };
    let at = UserPtr::new((&raw mut small) as u64);
    // SAFETY: the pointers lead to what the call may fill in.
    let refused = unsafe { sys::channel_receive(there.handle(), at, 0) };
    refused!(refused, Error::TooLarge, "six bytes for seven");
    same!(small.bytes_len, 7, "the length that it needs");
    // Nowhere to be written to: it stays too.
    small = abi::Message {
        bytes: 8,
        bytes_len: 256,
        ..abi::Message::default()
    };
    let at = UserPtr::new((&raw mut small) as u64);
    // SAFETY: what the call writes to is nobody's.
    let refused = unsafe { sys::channel_receive(there.handle(), at, 0) };
    refused!(refused, Error::Fault, "bytes to address 8");
    let got = done!(there.receive(0), "receiving at last");
    same!(got.bytes(), b"seven b", "what stayed");
    // The address 0 is a message of nothing, and no place for one that comes.
    let nothing = UserPtr::new(0);
    // SAFETY: no pointer leads anywhere.
    let sent = unsafe { sys::channel_send(here.handle(), nothing, 0) };
    done!(sent, "sending nothing");
    // SAFETY: as above.
    let refused = unsafe { sys::channel_receive(there.handle(), nothing, 0) };
    refused!(refused, Error::Fault, "receiving to nowhere");
    let got = done!(there.receive(0), "receiving nothing");
    same!(got.bytes(), b"", "bytes of nothing");
}

pub fn deadlines(_: &Case) {
    let (here, there) = pair(1);
    refused!(there.receive(0), Error::WouldBlock, "nothing there");
    refused!(there.receive(PAST), Error::TimedOut, "nothing there");
    let soon = rt::in_ms(2);
    refused!(there.receive(soon), Error::TimedOut, "nothing comes");
    check!(rt::now_ns() >= soon, "it timed out too early");
    done!(here.send(&mut Message::new(b"1"), PAST), "there is room");
    refused!(
        here.send(&mut Message::new(b"2"), 0),
        Error::Full,
        "no room"
    );
    let late = here.send(&mut Message::new(b"2"), PAST);
    refused!(late, Error::TimedOut, "no room");
    let never = here.call_words([0; 4], 0);
    refused!(never, Error::WouldBlock, "a call that may not wait");
    let late = here.call_words([0; 4], PAST);
    refused!(late, Error::TimedOut, "a call without room");
    done!(there.receive(PAST), "what is there");
    let late = here.call_words([0; 4], rt::in_ms(2));
    refused!(late, Error::TimedOut, "a call that nobody receives");
    refused!(there.receive(0), Error::WouldBlock, "it was taken back");
}

pub fn over_itself(_: &Case) {
    let (old_a, old_b) = pair(1);
    let (new_a, new_b) = pair(1);
    let ends = [
        (&old_a, &old_a),
        (&old_a, &old_b),
        (&new_a, &old_a),
        (&new_b, &new_b),
    ];
    for (over, end) in ends {
        let sent = over.send(&mut Message::new(b"").share(end.handle(), ALL), 0);
        refused!(sent, Error::Invalid, "an end that is not younger");
    }
    let sent = old_a.send(&mut Message::new(b"").share(new_a.handle(), ALL), 0);
    done!(sent, "a younger end");
}

pub fn rate_limit(_: &Case) {
    let (here, there) = pair(64);
    let (next, _end) = pair(64);
    done!(here.limit(5, 0), "a limit");
    for index in 0..5 {
        done!(here.send(&mut Message::new(b""), 0), "message {index}");
    }
    refused!(
        here.send(&mut Message::new(b""), 0),
        Error::Limit,
        "the sixth"
    );
    for _ in 0..20 {
        done!(
            next.send(&mut Message::new(b""), 0),
            "the channel next door"
        );
        done!(there.send(&mut Message::new(b""), 0), "the other end");
    }
    // A fifth of a second later there is one more.
    let before = rt::now_ns();
    done!(here.send(&mut Message::new(b""), FOREVER), "waiting");
    check!(rt::now_ns() - before > 100_000_000, "it did not wait");
    done!(here.limit(0, 0), "no limit");
    done!(here.send(&mut Message::new(b""), 0), "without a limit");
    done!(here.limit(0, 100), "a limit of bytes");
    let large = here.send(&mut Message::new(&[0; 101]), FOREVER);
    refused!(large, Error::Limit, "more than a second's worth");
    done!(
        here.send(&mut Message::new(&[0; 100]), 0),
        "a second's worth"
    );
    let info = done!(here.info(), "channel_info");
    same!((info.message_rate, info.byte_rate), (0, 100), "the rates");
}

pub fn revoked(case: &Case) {
    for role in ["receive_revoked", "call_revoked"] {
        let (here, there) = pair(1);
        let given = done!(cap_derive(there.handle(), ALL), "deriving");
        let spawn = case.child(role).handle(given, Mode::Move, ALL);
        let child = done!(spawn.cpus(other_cpu()).start(), "starting a child");
        if role == "call_revoked" {
            // It waits for the answer from now on.
            let call = done!(here.receive_words(), "its call");
            same!(cap_revoke(there.handle()), Ok(1), "revoked");
            drop(call);
        } else {
            // Wherever it is: before its wait or in it.
            same!(cap_revoke(there.handle()), Ok(1), "revoked");
        }
        succeeds(&child);
    }
}

/// The roles of children here.
pub fn child_role(role: &str, env: &Env) -> Option<u8> {
    let end = || ChannelEnd::from_handle(env.handle(0));
    match role {
        "send_channel" => {
            let end = end();
            for index in 0..1000 {
                let (bytes, len) = message(index);
                let sent = end.send(&mut Message::new(&bytes[..len]), FOREVER);
                done!(sent, "sending message {index}");
            }
        }
        "receive_revoked" => refused!(end().receive(FOREVER), Error::Revoked, "receiving"),
        "call_revoked" => {
            let answer = end().call_words([1; 4], FOREVER);
            refused!(answer, Error::Revoked, "calling");
        }
        _ => return calls::child_role(role, env),
    }
    Some(0)
}
