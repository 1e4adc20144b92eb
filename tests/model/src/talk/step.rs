//! What processes do with objects and messages.

use abi::{GrantFlags, Mode, Rights, Syscall};

use crate::Until;
use crate::step::{Word, steps};

/// A capability that a message carries: whether, which, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// None.
    None,
    /// What is in this register of the sender.
    Some(Mode, usize),
}

impl Load {
    /// The capability and how it is handed over.
    pub fn get(self) -> Option<(Mode, usize)> {
        match self {
            Load::None => None,
            Load::Some(mode, register) => Some((mode, register)),
        }
    }
}

impl Word for Load {
    fn print(&self) -> String {
        match self {
            Load::None => "none".to_owned(),
            Load::Some(mode, register) => format!("{}:{register}", mode.print()),
        }
    }

    fn parse(text: &str) -> Option<Load> {
        if text == "none" {
            return Some(Load::None);
        }
        let (mode, register) = text.split_once(':')?;
        Some(Load::Some(Mode::parse(mode)?, register.parse().ok()?))
    }
}

/// What leads to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// What it was given to know the process in this place by.
    Process(usize),
    /// The seat at the hub between it and the process in this place.
    Hub(usize),
    /// What is in this register.
    Handle(usize),
}

impl Word for Via {
    fn print(&self) -> String {
        match self {
            Via::Process(place) => format!("process:{place}"),
            Via::Hub(place) => format!("hub:{place}"),
            Via::Handle(register) => format!("handle:{register}"),
        }
    }

    fn parse(text: &str) -> Option<Via> {
        let (what, number) = text.split_once(':')?;
        let number = number.parse().ok()?;
        match what {
            "process" => Some(Via::Process(number)),
            "hub" => Some(Via::Hub(number)),
            "handle" => Some(Via::Handle(number)),
            _ => None,
        }
    }
}

steps! {
    /// What one process does with objects and messages.
    Step;
    /// A region of one page.
    "region" Region { process: usize, handle: usize };
    /// A notification without bits.
    "notification" Notification { process: usize, handle: usize };
    /// A channel, each end of which has room for so many messages.
    "channel" Channel { process: usize, first: usize, second: usize, capacity: u64 };
    /// A ring: the end that writes, the end that reads.
    "ring" Ring { process: usize, first: usize, second: usize };
    /// A capability below that by which it knows the process in a place.
    "know" Know { process: usize, of: usize, handle: usize };
    /// A capability below another.
    "derive" Derive { process: usize, from: usize, handle: usize, rights: Rights };
    /// The same with a budget of capabilities below it, a badge, an end in time, and perhaps for one use.
    "narrow" Narrow {
        process: usize, from: usize, handle: usize, rights: Rights,
        nodes: u32, badge: u64, until: Until, once: bool
    };
    /// Takes rights away in place.
    "reduce" Reduce { process: usize, handle: usize, rights: Rights };
    /// Asks whether two handles stand for one object.
    "same" Same { process: usize, one: usize, other: usize };
    /// Time passes, in ns.
    "pass" Pass { time: u64 };
    /// Gives a handle back.
    "drop" Drop { process: usize, handle: usize };
    /// Takes back what was derived.
    "revoke" Revoke { process: usize, handle: usize };
    /// The same with the capability itself.
    "revoke_all" RevokeAll { process: usize, handle: usize };
    /// Offers a capability to who is at the other end of something.
    "grant" Grant {
        process: usize, handle: usize, via: Via, token: usize,
        mode: Mode, rights: Rights, flags: GrantFlags, until: Until
    };
    /// Takes what is offered from there, by a token some bits of which are turned over.
    "accept" Accept { process: usize, token: usize, forged: u64, via: Via, handle: usize };
    /// Withdraws an offer, by such a token.
    "cancel" Cancel { process: usize, token: usize, forged: u64 };
    /// Sends a word and capabilities, unless there is no room.
    "send" Send { process: usize, end: usize, word: u64, first: Load, second: Load };
    /// Takes the next message, if there is one, and its capabilities into two registers.
    "receive" Receive { process: usize, end: usize, first: usize, second: usize };
    /// Sets bits of a notification.
    "signal" Signal { process: usize, handle: usize, bits: u64 };
    /// Takes the bits of a notification that are set.
    "poll" Poll { process: usize, handle: usize };
    /// A process ends.
    "exit" Exit { process: usize };
    /// Another process begins in the place of one that has ended; somebody gives it an end of a new
    /// channel.
    "start" Start { process: usize, by: usize, mine: usize, theirs: usize };
}

impl Step {
    /// The system call that it is, if it is one.
    pub(crate) fn call(&self) -> Option<Syscall> {
        Some(match self {
            Step::Region { .. } => Syscall::RegionCreate,
            Step::Know { .. } | Step::Derive { .. } => Syscall::CapDerive,
            Step::Narrow { .. } => Syscall::CapDeriveWith,
            Step::Reduce { .. } => Syscall::CapReduce,
            Step::Drop { .. } => Syscall::CapDrop,
            Step::Revoke { .. } | Step::RevokeAll { .. } => Syscall::CapRevoke,
            Step::Grant { .. } => Syscall::Grant,
            Step::Accept { .. } => Syscall::Accept,
            Step::Cancel { .. } => Syscall::Cancel,
            Step::Same { .. } => Syscall::CapSame,
            Step::Send { .. } => Syscall::ChannelSend,
            Step::Receive { .. } => Syscall::ChannelReceive,
            Step::Signal { .. } => Syscall::Signal,
            Step::Poll { .. } => Syscall::NotifyWait,
            _ => return None,
        })
    }
}
