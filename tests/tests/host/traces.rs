//! Lines of a trace, as `tracer` writes them.

use abi::trace::{EventKind, Left, Woken};

/// A line as `tracer` writes it.
pub fn line(
    cpu: usize,
    time: u64,
    kind: EventKind,
    number: u8,
    thread: u32,
    words: &[u64],
) -> String {
    let kind = kind as u8;
    let head = format!("#trace {cpu:x} {time:x} {kind:x} {number:x} {thread:x}");
    words
        .iter()
        .fold(head, |line, word| format!("{line} {word:x}"))
}

pub fn thread(cpu: usize, time: u64, thread: u32, name: &str) -> String {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    let word = |index: usize| u64::from_le_bytes(bytes[8 * index..][..8].try_into().unwrap());
    let words = [thread.into(), 900 + u64::from(thread), word(0), word(1)];
    line(cpu, time, EventKind::Thread, 0, thread, &words)
}

pub fn switch(cpu: usize, time: u64, from: u32, to: u32, left: Left) -> String {
    let words = [to.into(), from.into(), left as u64];
    line(cpu, time, EventKind::Switch, 0, from, &words)
}

pub fn wake(cpu: usize, time: u64, by: u32, woken: u32, why: Woken) -> String {
    let words = [woken.into(), 0, why as u64];
    line(cpu, time, EventKind::Wake, 0, by, &words)
}
