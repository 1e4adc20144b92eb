//! Puts the lines of many writers into the order of their times, whatever becomes of the writers.
//!
//! A line can be told when every other writer has come at least as far; for one who says nothing, nobody
//! waits longer than [`Collector::new`] is told. A writer that ends loses the line that it was in, and
//! one that sends what is no part of a line is not listened to any more.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

use super::Part;
use ring::sabotaged;

/// A line, all of it. Lines are in the order of their times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// When it was begun, in ns; never later than it was received, nor earlier than the writer's line before.
    pub time_ns: u64,
    /// Whose it is.
    pub writer: usize,
    /// The how manieth of this writer, from 0 on.
    pub number: u32,
    /// What it says.
    pub text: Vec<u8>,
}

/// What became of the lines of a writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that came whole.
    pub complete: u32,
    /// Lines of which the end did not come.
    pub cut: u32,
    /// Lines that came when a later one had been told.
    pub late: u32,
}

/// What came is no part of a line, or not the one that is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("what it sent is not the next part of a line")
    }
}

#[derive(Debug, Default)]
struct Writer {
    counts: Counts,
    /// The line that is not complete.
    begun: Option<Line>,
    /// The time of the newest line that was begun.
    newest_ns: Option<u64>,
    ended: bool,
}

/// The collector.
#[derive(Debug)]
pub struct Collector {
    writers: Vec<Writer>,
    waiting: BinaryHeap<Reverse<Line>>,
    patience_ns: u64,
    told_ns: u64,
}

impl Collector {
    /// Listens to so many writers. What one of them has not said after `patience_ns` may come late.
    pub fn new(writers: usize, patience_ns: u64) -> Collector {
        Collector {
            writers: (0..writers).map(|_| Writer::default()).collect(),
            waiting: BinaryHeap::new(),
            patience_ns,
            told_ns: 0,
        }
    }

    /// Takes what a writer sent. After an error it is not listened to any more.
    pub fn take(&mut self, writer: usize, bytes: &[u8], now_ns: u64) -> Result<(), Malformed> {
        let answer = self.try_take(writer, bytes, now_ns);
        if answer.is_err() {
            self.end(writer);
        }
        answer
    }

    fn try_take(&mut self, index: usize, bytes: &[u8], now_ns: u64) -> Result<(), Malformed> {
        let writer = self.writers.get_mut(index).ok_or(Malformed)?;
        let part = Part::decode(bytes).ok_or(Malformed)?;
        if writer.ended || part.number != writer.counts.complete {
            return Err(Malformed);
        }
        let mut line = match writer.begun.take() {
            None if part.offset == 0 => {
                // A clock that nobody else has would hold all others back.
                let time_ns = part.time_ns.min(now_ns).max(writer.newest_ns.unwrap_or(0));
                writer.newest_ns = Some(time_ns);
                Line {
                    time_ns,
                    writer: index,
                    number: part.number,
                    text: Vec::with_capacity(part.len.into()),
                }
            }
            Some(line) if line.text.len() == part.offset.into() => line,
            begun => {
                writer.begun = begun;
                return Err(Malformed);
            }
        };
        line.text.extend_from_slice(part.text);
        if part.is_last() {
            writer.counts.complete += 1;
            writer.counts.late += u32::from(line.time_ns < self.told_ns);
            self.waiting.push(Reverse(line));
        } else {
            writer.begun = Some(line);
        }
        Ok(())
    }

    /// Whether it is a writer of whom more can come.
    pub fn expects(&self, writer: usize) -> bool {
        self.writers.get(writer).is_some_and(|writer| !writer.ended)
    }

    /// A writer has ended: the line that it was in will never be complete.
    pub fn end(&mut self, writer: usize) {
        if let Some(writer) = self.writers.get_mut(writer) {
            writer.ended = !sabotaged!("logs_ended_awaited");
            writer.counts.cut += u32::from(writer.begun.take().is_some());
        }
    }

    /// The next line that can be told now.
    pub fn next(&mut self, now_ns: u64) -> Option<Line> {
        if now_ns < self.due_ns()? {
            return None;
        }
        let Reverse(line) = self.waiting.pop()?;
        self.told_ns = self.told_ns.max(line.time_ns);
        Some(line)
    }

    /// When the next line can be told if nothing else comes: 0 for at once, `None` when no line waits.
    pub fn due_ns(&self) -> Option<u64> {
        let Reverse(first) = self.waiting.peek()?;
        let heard = |writer: &Writer| writer.ended || writer.newest_ns >= Some(first.time_ns);
        Some(match self.writers.iter().all(heard) {
            true => 0,
            false => first.time_ns.saturating_add(self.patience_ns),
        })
    }

    /// Whether a writer is in the middle of a line.
    pub fn is_in_a_line(&self, writer: usize) -> bool {
        let writer = self.writers.get(writer);
        writer.is_some_and(|writer| writer.begun.is_some())
    }

    /// Whether every writer has ended and every line was told.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.writers.iter().all(|writer| writer.ended)
    }

    /// What became of the lines of a writer so far.
    pub fn counts(&self, writer: usize) -> Counts {
        let writer = self.writers.get(writer);
        writer.map_or_else(Counts::default, |writer| writer.counts)
    }
}
