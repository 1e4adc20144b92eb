//! A trace as a timeline: JSON that <https://ui.perfetto.dev> and chrome://tracing open (the Trace Event
//! Format).
//!
//! There is a track for each CPU, with who runs there, and one for each thread, with its calls, its
//! faults and why it does not run. An arrow leads from who woke a thread to where that one goes on.

mod arrows;
mod file;

use std::collections::{BTreeSet, HashMap};

use abi::trace::{Event, EventKind, Left};
use serde_json::{Value, json};

use crate::events::{self, Line, TakenAway, Threads};
use crate::strace::{Answer, Call, Entry, call};

use arrows::Waker;

pub use file::Sink;

/// The "process" that has the tracks of the CPUs; no process has this number.
const MACHINE: u64 = 0;

/// A timeline, and what it could not show.
#[derive(Debug)]
pub struct Timeline {
    /// The file.
    pub json: Value,
    /// Events in it.
    pub events: usize,
    /// Events that came too fast to be written down.
    pub lost: u64,
    /// Whether the trace came to its end.
    pub complete: bool,
}

/// Draws the timeline of a machine from its console lines.
pub fn draw<'a>(lines: impl Iterator<Item = &'a str>) -> Timeline {
    let mut drawing = Drawing::default();
    let mut events: Vec<(usize, EventKind, Event)> = Vec::new();
    let mut gaps = Vec::new();
    let (mut lost, mut complete) = (0, false);
    let mut last = HashMap::new();
    for line in lines.filter_map(events::parse) {
        match line {
            Line::Event(cpu, kind, event) => {
                if kind == EventKind::Thread {
                    drawing.threads.introduce(&event);
                }
                last.insert(cpu, event.time_ns);
                events.push((cpu, kind, event));
            }
            Line::Lost(cpu, count) => {
                lost += count;
                gaps.push((cpu, last.get(&cpu).copied(), events.len(), count));
            }
            Line::Seen(_) => {}
            Line::End(_) => complete = true,
        }
    }
    // Where each gap ends: at the next event of the CPU.
    for (cpu, begin, place, count) in gaps {
        let next = events[place..].iter().find(|(other, _, _)| *other == cpu);
        let Some((_, _, next)) = next else { continue };
        let begin = begin.unwrap_or(next.time_ns);
        drawing.gap(cpu, begin, next.time_ns, count);
    }
    // The events of a CPU are in order; those of several are so by their time.
    events.sort_by_key(|(_, _, event)| event.time_ns);
    for (cpu, kind, event) in &events {
        drawing.event(*cpu, *kind, event);
    }
    drawing.finish(events.last().map_or(0, |(_, _, event)| event.time_ns));
    Timeline {
        json: json!({ "displayTimeUnit": "ns", "traceEvents": drawing.out }),
        events: events.len(),
        lost,
        complete,
    }
}

/// What is known of a thread at a moment of the trace.
#[derive(Debug, Default)]
struct Thread {
    /// The call that it is in.
    call: Option<Event>,
    /// The entry of a submission ring that it tries.
    entry: Option<Event>,
    /// Since when it does not run, and how it stood then.
    off: Option<(u64, Left)>,
    /// Who woke it first since it ran.
    woken: Option<Waker>,
}

#[derive(Debug, Default)]
struct Drawing {
    out: Vec<Value>,
    threads: Threads,
    states: HashMap<u32, Thread>,
    /// Who runs on each CPU, since when.
    running: HashMap<usize, (u32, u64)>,
    cpus: BTreeSet<usize>,
    /// Where gaps end on each CPU: what began before is not known to have ended.
    gaps: HashMap<usize, Vec<u64>>,
    arrows: u64,
}

impl Drawing {
    fn event(&mut self, cpu: usize, kind: EventKind, event: &Event) {
        self.cpus.insert(cpu);
        self.leave_gap(cpu, event.time_ns);
        let (now, thread) = (event.time_ns, event.thread);
        if kind != EventKind::Switch {
            self.running.entry(cpu).or_insert((thread, now));
            let state = self.state(thread);
            // It was woken before the CPU had left it.
            if state.woken.is_some() && state.off.is_none() {
                self.goes_on(cpu, thread, now);
            }
        }
        match kind {
            EventKind::Enter => {
                self.state(thread).call = Some(*event);
            }
            EventKind::Leave => {
                if let Some(enter) = self.state(thread).call.take()
                    && enter.number == event.number
                {
                    self.call(&enter, now, &Answer(event).to_string());
                }
            }
            EventKind::Entry => self.state(thread).entry = Some(*event),
            EventKind::Completion => self.completed(event),
            EventKind::Fault => self.fault(event),
            EventKind::Exception => {
                let [instruction, code, ..] = event.arguments;
                let name = format!("exception {} ({code:#x}) at {instruction:#x}", event.number);
                self.instant(cpu, event, "fault", &name);
            }
            EventKind::Switch => self.switch(cpu, event),
            EventKind::Wake => self.wake(cpu, event),
            EventKind::End => self.ended(event.arguments[0] as u32, now),
            EventKind::Thread => {}
            EventKind::Grant => {
                let [object, _, mode, ..] = event.arguments;
                let mode = abi::Mode::from_code(mode).map(|mode| format!("{mode:?}"));
                let mode = mode.unwrap_or_default();
                let name = format!("grant of object {object} by {mode}");
                self.instant(cpu, event, "authority", &name);
            }
            EventKind::Accept => {
                let name = format!("accepts object {}", event.arguments[0]);
                self.instant(cpu, event, "authority", &name);
            }
            EventKind::Revoke => {
                self.instant(cpu, event, "authority", &TakenAway(event).to_string());
            }
            EventKind::Shootdown => {
                let name = format!("shootdown of CPUs {:#b}", event.arguments[0]);
                self.instant(cpu, event, "authority", &name);
            }
            EventKind::Interrupt => {
                let name = format!("interrupt {:#x}", event.number);
                self.mark(cpu, now, &name);
            }
        }
    }

    fn state(&mut self, thread: u32) -> &mut Thread {
        self.states.entry(thread).or_default()
    }

    /// The process and thread of a track.
    fn track(&self, thread: u32) -> (u64, u64) {
        let process = self
            .threads
            .get(thread)
            .map_or(u64::from(thread), |identity| identity.process);
        (process, thread.into())
    }

    fn slice(&mut self, thread: u32, name: &str, category: &str, span: (u64, u64), args: Value) {
        let (pid, tid) = self.track(thread);
        self.put_slice((pid, tid), name, category, span, args);
    }

    fn put_slice(
        &mut self,
        (pid, tid): (u64, u64),
        name: &str,
        category: &str,
        (begin, end): (u64, u64),
        args: Value,
    ) {
        self.out.push(json!({
            "ph": "X", "name": name, "cat": category, "pid": pid, "tid": tid,
            "ts": micros(begin), "dur": micros(end.saturating_sub(begin)), "args": args,
        }));
    }

    fn call(&mut self, enter: &Event, end: u64, answer: &str) {
        let name = call(enter.number).map_or("?", |call| call.name);
        let args = json!({ "call": Call(enter).to_string(), "answer": answer });
        self.slice(enter.thread, name, "call", (enter.time_ns, end), args);
    }

    /// An entry is completed: by the thread that just tried it, or by somebody who ended its wait.
    fn completed(&mut self, event: &Event) {
        let tried = &mut self.state(event.thread).entry;
        let tried = tried.take_if(|entry| entry.number == event.number);
        let entry = Entry(event.number, tried.as_ref());
        let began = tried.map_or(event.time_ns, |entry| entry.time_ns);
        let args = json!({
            "call": entry.to_string(),
            "answer": Answer(event).to_string(),
            "user_data": event.arguments[1],
        });
        let span = (began, event.time_ns);
        self.slice(event.thread, entry.name(), "entry", span, args);
    }

    fn fault(&mut self, event: &Event) {
        let [address, code, began, resolved, ..] = event.arguments;
        let how = match code {
            code if code & 16 != 0 => "execute",
            code if code & 2 != 0 => "write",
            _ => "read",
        };
        let args = json!({
            "address": format!("{address:#x}"),
            "access": how,
            "resolved": resolved == 1,
        });
        self.slice(
            event.thread,
            "page fault",
            "fault",
            (began, event.time_ns),
            args,
        );
    }

    fn switch(&mut self, cpu: usize, event: &Event) {
        let now = event.time_ns;
        let [to, from, left, ..] = event.arguments;
        let (to, from) = (to as u32, from as u32);
        let left = match left {
            left if left == Left::Asleep as u64 => Left::Asleep,
            left if left == Left::Ended as u64 => Left::Ended,
            _ => Left::Ready,
        };
        let since = match self.running.get(&cpu) {
            Some(&(thread, since)) if thread == from => since,
            _ => now,
        };
        self.ran(cpu, from, since, now);
        self.running.insert(cpu, (to, now));
        match left {
            Left::Ended => self.ended(from, now),
            _ if from != 0 => self.state(from).off = Some((now, left)),
            _ => {}
        }
        if to != 0 {
            self.goes_on(cpu, to, now);
        }
    }

    /// A thread is no more, and neither is what it was in.
    fn ended(&mut self, thread: u32, now: u64) {
        let Some(state) = self.states.remove(&thread) else {
            return;
        };
        self.unfinished(thread, &state, now, "its end");
    }

    /// Draws what a thread did not come back from.
    fn unfinished(&mut self, thread: u32, state: &Thread, end: u64, ended_by: &str) {
        if let Some(enter) = &state.call {
            self.call(enter, end, "?");
        }
        if let Some((since, Left::Asleep)) = state.off {
            let args = json!({ "ended by": ended_by });
            self.slice(thread, "waits", "wait", (since, end), args);
        }
    }

    /// What a CPU did until now.
    fn ran(&mut self, cpu: usize, thread: u32, since: u64, now: u64) {
        if thread != 0 && now > since {
            let name = self.threads.label(thread);
            let args = json!({ "thread": thread });
            self.put_slice((MACHINE, cpu as u64), &name, "cpu", (since, now), args);
        }
    }

    fn instant(&mut self, cpu: usize, event: &Event, category: &str, name: &str) {
        if event.thread == 0 {
            return self.mark(cpu, event.time_ns, name);
        }
        let (pid, tid) = self.track(event.thread);
        self.out.push(json!({
            "ph": "i", "s": "t", "name": name, "cat": category,
            "pid": pid, "tid": tid, "ts": micros(event.time_ns),
        }));
    }

    fn mark(&mut self, cpu: usize, now: u64, name: &str) {
        self.out.push(json!({
            "ph": "i", "s": "t", "name": name, "cat": "interrupt",
            "pid": MACHINE, "tid": cpu, "ts": micros(now),
        }));
    }

    fn gap(&mut self, cpu: usize, begin: u64, end: u64, count: u64) {
        let name = format!("{count} events lost");
        let args = json!({ "events": count });
        self.put_slice((MACHINE, cpu as u64), &name, "lost", (begin, end), args);
        self.gaps.entry(cpu).or_default().push(end);
    }

    /// Behind a gap nothing is known of who runs there or of what it was in.
    fn leave_gap(&mut self, cpu: usize, now: u64) {
        let gaps = self.gaps.entry(cpu).or_default();
        let before = gaps.len();
        gaps.retain(|&end| end > now);
        if gaps.len() == before {
            return;
        }
        if let Some((thread, _)) = self.running.remove(&cpu) {
            let state = self.state(thread);
            state.call = None;
            state.entry = None;
            state.off = None;
        }
    }

    /// Closes what is open at the end, and names the tracks.
    fn finish(&mut self, end: u64) {
        let mut states: Vec<_> = std::mem::take(&mut self.states).into_iter().collect();
        states.sort_by_key(|&(thread, _)| thread);
        for (thread, state) in states {
            self.unfinished(thread, &state, end, "nobody, to the end");
        }
        let running: Vec<_> = self.running.drain().collect();
        for (cpu, (thread, since)) in running {
            self.ran(cpu, thread, since, end);
        }
        self.name("process_name", MACHINE, 0, "CPUs");
        for cpu in self.cpus.clone() {
            self.name("thread_name", MACHINE, cpu as u64, &format!("CPU {cpu}"));
        }
        let threads: Vec<_> = self.threads.iter().map(|(t, i)| (t, i.clone())).collect();
        for (thread, identity) in threads {
            self.name("process_name", identity.process, 0, &identity.name);
            let label = self.threads.label(thread);
            self.name("thread_name", identity.process, thread.into(), &label);
        }
    }

    fn name(&mut self, what: &str, pid: u64, tid: u64, name: &str) {
        self.out.push(json!({
            "ph": "M", "name": what, "pid": pid, "tid": tid, "args": { "name": name },
        }));
    }
}

/// The format counts in microseconds.
fn micros(ns: u64) -> f64 {
    ns as f64 / 1000.0
}
