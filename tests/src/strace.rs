//! Every system call in a line, as its one table says: names, arguments and answers.
//!
//! ```text
//!     5.120448 producer/30 ring_wait(end=ring-end#0.1, seen=1, deadline=never) = 0 <0.000031>
//! ```
//!
//! An entry of a submission ring has a line of its own when it is completed, with its number: `entry #7 signal(…) = 0`.
//! One that waited is shown with its last try, and with `…` for its arguments if others completed it.
//!
//! What capabilities are taken away has one between three dashes, before the call that did it.
//!
//! A line is written when the call has answered: the time is when it began, in ms since the boot, and
//! what stands in angle brackets is how long it took, in ms. Lines are in the order of the answers, whichever
//! CPU gave them: what is read of one is held back until all that came earlier has been read of the others.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};

use abi::submission::Operation;
use abi::trace::{Event, EventKind, Left};
use abi::{Argument, Error, FOREVER, Handle, SYSCALLS, SyscallInfo};

use crate::events::{self, Line, TakenAway, Threads};

/// Makes lines of calls out of lines of a trace.
#[derive(Debug, Default)]
pub struct Strace {
    threads: Threads,
    /// What each thread is in.
    open: HashMap<u32, Event>,
    /// What entry each thread is at.
    tried: HashMap<u32, Event>,
    /// What was read and not yet looked at, by its time and then as it came.
    held: BTreeMap<(u64, u64), Held>,
    /// How much was held ever.
    count: u64,
    /// The time of the last event of each CPU.
    last: HashMap<usize, u64>,
}

#[derive(Debug)]
enum Held {
    Event(EventKind, Event),
    Lost(usize, u64),
}

impl Strace {
    /// The lines to print after a line of the trace; `None` when it is no line of a trace at all.
    pub fn feed(&mut self, line: &str) -> Option<Vec<String>> {
        match events::parse(line)? {
            Line::Lost(cpu, count) => {
                let time = self.last.get(&cpu).copied().unwrap_or_default();
                self.hold(time, Held::Lost(cpu, count));
            }
            Line::Event(cpu, kind, event) => {
                self.last.insert(cpu, event.time_ns);
                self.hold(event.time_ns, Held::Event(kind, event));
            }
            Line::Seen(time) => return Some(self.release(time)),
            Line::End(_) => return Some(self.finish()),
        }
        Some(Vec::new())
    }

    /// The lines that are left when nothing more is to come, those of calls from which nobody came back
    /// at the end.
    pub fn finish(&mut self) -> Vec<String> {
        let mut lines = self.release(u64::MAX);
        let mut open: Vec<Event> = self.open.drain().map(|(_, event)| event).collect();
        open.sort_by_key(|event| event.time_ns);
        lines.extend(open.iter().map(|enter| format!("{} = ?", self.call(enter))));
        lines
    }

    fn hold(&mut self, time: u64, held: Held) {
        self.held.insert((time, self.count), held);
        self.count += 1;
    }

    /// The lines of what came before a time.
    fn release(&mut self, time: u64) -> Vec<String> {
        let later = self.held.split_off(&(time, 0));
        let earlier = std::mem::replace(&mut self.held, later);
        earlier
            .into_values()
            .filter_map(|held| match held {
                Held::Event(kind, event) => self.event(kind, &event),
                Held::Lost(cpu, count) => {
                    // What begins or ends in the gap is not known.
                    self.open.clear();
                    self.tried.clear();
                    Some(format!("--- {count} events of CPU {cpu} are lost ---"))
                }
            })
            .collect()
    }

    fn event(&mut self, kind: EventKind, event: &Event) -> Option<String> {
        match kind {
            EventKind::Thread => {
                self.threads.introduce(event);
                None
            }
            EventKind::Enter => {
                self.open.insert(event.thread, *event);
                None
            }
            EventKind::Leave => {
                let enter = self.open.remove(&event.thread)?;
                (enter.number == event.number).then(|| {
                    let took = event.time_ns.saturating_sub(enter.time_ns);
                    format!(
                        "{} = {} <{}>",
                        self.call(&enter),
                        Answer(event),
                        Millis(took)
                    )
                })
            }
            EventKind::Entry => {
                self.tried.insert(event.thread, *event);
                None
            }
            EventKind::Completion => {
                let is_tried = |entry: &&Event| entry.number == event.number;
                let entry = self.tried.get(&event.thread).filter(is_tried).copied();
                if entry.is_some() {
                    self.tried.remove(&event.thread);
                }
                let took = entry.map(|entry| event.time_ns.saturating_sub(entry.time_ns));
                let began = event.time_ns - took.unwrap_or_default();
                let line = format!(
                    "{:>12} {} entry #{} {} = {}",
                    Millis(began).to_string(),
                    self.threads.label(event.thread),
                    event.arguments[1],
                    Entry(event.number, entry.as_ref()),
                    Answer(event),
                );
                Some(match took {
                    Some(took) => format!("{line} <{}>", Millis(took)),
                    None => line,
                })
            }
            EventKind::Revoke => Some(format!(
                "{:>12} {} --- {} ---",
                Millis(event.time_ns).to_string(),
                self.threads.label(event.thread),
                TakenAway(event),
            )),
            // It never comes back from the call that it was in.
            EventKind::Switch if event.arguments[2] == Left::Ended as u64 => self
                .open
                .remove(&(event.arguments[1] as u32))
                .map(|enter| format!("{} = ?", self.call(&enter))),
            _ => None,
        }
    }

    fn call(&self, enter: &Event) -> String {
        format!(
            "{:>12} {} {}",
            Millis(enter.time_ns).to_string(),
            self.threads.label(enter.thread),
            Call(enter)
        )
    }
}

/// A time in milliseconds, to the nanosecond.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The call of a number.
pub fn call(number: u8) -> Option<&'static SyscallInfo> {
    SYSCALLS
        .iter()
        .find(|call| call.number == u64::from(number))
}

/// Arguments that are addresses, or words of a message, as answers show them.
const IN_HEX: [&str; 8] = [
    "address",
    "hint",
    "base",
    "instruction",
    "first",
    "second",
    "third",
    "fourth",
];

/// The name and the arguments of the call that an event tells of.
pub struct Call<'a>(pub &'a Event);

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(call) = call(self.0.number) else {
            return write!(f, "call_{}()", self.0.number);
        };
        write!(f, "{}(", call.name)?;
        for (index, (argument, &raw)) in call.arguments.iter().zip(&self.0.arguments).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}=", argument.name)?;
            match (argument.name, raw) {
                ("deadline", 0) => f.write_str("now")?,
                ("deadline", FOREVER) => f.write_str("never")?,
                ("deadline", ns) => write!(f, "{}ms", Millis(ns))?,
                (name, raw) if IN_HEX.contains(&name) => write!(f, "{raw:#x}")?,
                _ => (argument.show)(raw, f)?,
            }
        }
        f.write_char(')')
    }
}

/// The name of what an entry of a number asks for, and the arguments that it was tried with.
pub struct Entry<'a>(pub u8, pub Option<&'a Event>);

impl Entry<'_> {
    /// Its name.
    pub fn name(&self) -> &'static str {
        let operation = Operation::from_event_number(self.0);
        match operation.and_then(Operation::name_in_rings) {
            Some((name, _)) => name,
            None => call(self.0).map_or("?", |call| call.name),
        }
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = Operation::from_event_number(self.0);
        match (operation.and_then(Operation::name_in_rings), self.1) {
            (_, None) => write!(f, "{}(…)", self.name()),
            (None, Some(entry)) => Call(entry).fmt(f),
            (Some((name, arguments)), Some(entry)) => {
                write!(f, "{name}(")?;
                for (argument, raw) in arguments.iter().zip(&entry.arguments) {
                    write!(f, "{argument}={raw}")?;
                }
                f.write_char(')')
            }
        }
    }
}

/// What a call has answered.
pub struct Answer<'a>(pub &'a Event);

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rax, words @ ..] = self.0.arguments;
        if let Err(error) = abi::decode(rax) {
            return write!(f, "-{} {error}", error as u16);
        }
        let Some(call) = call(self.0.number) else {
            return write!(f, "{rax}");
        };
        if call.name == "map" {
            return write!(f, "{rax:#x}");
        }
        if call.result != "Words" {
            return (call.show_result)(rax, f);
        }
        let [first, second, third, fourth, reply] = words;
        write!(f, "[{first:#x}, {second:#x}, {third:#x}, {fourth:#x}]")?;
        match Handle::from_raw(reply) {
            Ok(Handle::NONE) | Err(Error::Invalid) => Ok(()),
            _ => write!(f, " {}", Handle::from_bits(reply)),
        }
    }
}
