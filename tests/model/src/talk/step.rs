//! What processes do with objects and messages.

use abi::{Mode, Rights};

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

steps! {
    /// What one process does with objects and messages.
    Step;
    /// A region of one page.
    "region" Region { process: usize, handle: usize };
    /// A notification without bits.
    "notification" Notification { process: usize, handle: usize };
    /// A channel, each end of which has room for so many messages.
    "channel" Channel { process: usize, first: usize, second: usize, capacity: u64 };
    /// A capability below another.
    "derive" Derive { process: usize, from: usize, handle: usize, rights: Rights };
    /// Gives a handle back.
    "drop" Drop { process: usize, handle: usize };
    /// Takes back what was derived.
    "revoke" Revoke { process: usize, handle: usize };
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
