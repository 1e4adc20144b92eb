//! The events that a machine was traced to, read from its console lines.
//!
//! `tracer` writes them as `#trace` records; its own documentation says how. Nothing here trusts the
//! machine: what is no such record is left out.

use std::collections::BTreeMap;
use std::fmt;

use abi::limits::MAX_CPUS;
use abi::trace::{ARGUMENTS, Cause, Event, EventKind};

/// What one line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Something that a CPU did.
    Event(usize, EventKind, Event),
    /// A CPU did so much more than could be written down.
    Lost(usize, u64),
    /// What happened before this time, in ns, has been written, but for what a CPU was just writing down.
    Seen(u64),
    /// The trace is complete, and so many events are lost.
    End(u64),
}

/// Reads a line; `None` when it says nothing of a trace.
pub fn parse(line: &str) -> Option<Line> {
    let mut words = line.strip_prefix("#trace ")?.split_whitespace();
    let number = |word: &str| u64::from_str_radix(word, 16).ok();
    let first = words.next()?;
    if first == "end" {
        return Some(Line::End(number(words.next()?)?));
    }
    if first == "seen" {
        return Some(Line::Seen(number(words.next()?)?));
    }
    let cpu = number(first).filter(|&cpu| cpu < MAX_CPUS as u64)? as usize;
    let second = words.next()?;
    if second == "lost" {
        return Some(Line::Lost(cpu, number(words.next()?)?));
    }
    let mut next = || number(words.next()?);
    let (kind, index, thread) = (next()?, next()?, next()?);
    let mut event = Event {
        time_ns: number(second)?,
        thread: u32::try_from(thread).ok()?,
        kind: u8::try_from(kind).ok()?,
        number: u8::try_from(index).ok()?,
        arguments: [0; ARGUMENTS],
    };
    for (argument, word) in event.arguments.iter_mut().zip(words) {
        *argument = number(word)?;
    }
    Some(Line::Event(cpu, EventKind::from_code(event.kind)?, event))
}

/// An event of kind [`EventKind::Revoke`], in words.
#[derive(Debug)]
pub struct TakenAway<'a>(pub &'a Event);

impl fmt::Display for TakenAway<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [object, count, why, ..] = self.0.arguments;
        let why = match Cause::from_code(why) {
            Some(Cause::Revoked) => "revoked",
            Some(Cause::Destroyed) => "destroyed",
            Some(Cause::Lapsed) => "their time is over",
            Some(Cause::Moved) => "moved away from them",
            Some(Cause::Vacated) => "their guest is gone",
            None => "?",
        };
        write!(f, "object {object} loses {count} capabilities: {why}")
    }
}

/// Who a thread is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The number of its process.
    pub process: u64,
    /// The name of its process.
    pub name: String,
}

/// The threads that have told who they are.
#[derive(Debug, Clone, Default)]
pub struct Threads(BTreeMap<u32, Identity>);

impl Threads {
    /// Takes note of an event of kind [`EventKind::Thread`].
    pub fn introduce(&mut self, event: &Event) {
        let [thread, process, name @ ..] = event.arguments;
        let bytes: Vec<u8> = name.iter().flat_map(|word| word.to_le_bytes()).collect();
        let name = String::from_utf8_lossy(&bytes)
            .trim_end_matches('\0')
            .to_owned();
        self.0.insert(thread as u32, Identity { process, name });
    }

    /// Who a thread is, if it has told.
    pub fn get(&self, thread: u32) -> Option<&Identity> {
        self.0.get(&thread)
    }

    /// A name for people: that of its process and its own number.
    pub fn label(&self, thread: u32) -> String {
        match self.get(thread) {
            Some(identity) => format!("{}/{thread}", identity.name),
            None => format!("?/{thread}"),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Identity)> {
        self.0.iter().map(|(&thread, identity)| (thread, identity))
    }
}
