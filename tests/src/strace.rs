//! Every system call in a line, as its one table says: names, arguments and answers.
//!
//! ```text
//!     5.120448 producer/30 ring_wait(end=ring-end#0.1, seen=1, deadline=never) = 0 <0.000031>
//! ```
//!
//! A line is written when the call has answered: the time is when it began, in ms since the boot, and
//! what stands in angle brackets is how long it took, in ms.

use std::collections::HashMap;
use std::fmt::{self, Write};

use abi::trace::{Event, EventKind, Left};
use abi::{Argument, Error, FOREVER, Handle, SYSCALLS, SyscallInfo};

use crate::events::{self, Line, Threads};

/// Makes lines of calls out of lines of a trace.
#[derive(Debug, Default)]
pub struct Strace {
    threads: Threads,
    /// What each thread is in.
    open: HashMap<u32, Event>,
}

impl Strace {
    /// The line to print for a line of the trace; `None` while there is nothing to say. The outer `None`
    /// means that it is no line of a trace at all.
    pub fn feed(&mut self, line: &str) -> Option<Option<String>> {
        Some(match events::parse(line)? {
            Line::Lost(cpu, count) => {
                // What begins or ends in the gap is not known.
                self.open.clear();
                Some(format!("--- {count} events of CPU {cpu} are lost ---"))
            }
            Line::End(_) => self.unanswered(),
            Line::Event(_, kind, event) => self.event(kind, &event),
        })
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
            // It never comes back from the call that it was in.
            EventKind::Switch if event.arguments[2] == Left::Ended as u64 => self
                .open
                .remove(&(event.arguments[1] as u32))
                .map(|enter| format!("{} = ?", self.call(&enter))),
            _ => None,
        }
    }

    /// The calls from which nobody came back.
    fn unanswered(&mut self) -> Option<String> {
        let mut open: Vec<Event> = self.open.drain().map(|(_, event)| event).collect();
        open.sort_by_key(|event| event.time_ns);
        let lines: Vec<String> = open
            .iter()
            .map(|enter| format!("{} = ?", self.call(enter)))
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
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
                _ => (argument.show)(raw, f)?,
            }
        }
        f.write_char(')')
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
            return write!(f, "{rax:#x}");
        };
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
