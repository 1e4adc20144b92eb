//! Writes a trace to the console while it is being taken, a line an event, for the runner to read:
//!
//! ```text
//! #trace CPU TIME KIND NUMBER THREAD ARGUMENT…
//! #trace CPU lost COUNT
//! #trace seen TIME
//! #trace end LOST
//! ```
//!
//! The CPUs are read in turn. `seen` says that what they did before a time is written, but for what one was
//! just putting down, which follows. All numbers are hexadecimal; arguments that are 0 are left out at the end. What
//! it does itself is left out, or each line would make others. Handle: the region of the trace, which it can only
//! read. It ends when the trace has ended.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use abi::SYSCALLS;
use abi::limits::MAX_DEBUG_WRITE;
use abi::submission::Operation;
use abi::trace::{Event, EventKind, TIME_MASK};
use programs::expect;
use rt::{Env, Notification, Region, Trace, TraceEvents, Traced, UserPtr};

rt::entry!(run);

/// By this name it knows itself, and what it does, in the trace.
const NAME: &[u8] = b"tracer";
/// How long it sleeps when there is nothing to write, in ns.
const PAUSE_NS: u64 = 200_000;
/// No line is longer than this.
const LINE: usize = 192;

fn run(env: &Env) -> u8 {
    let region = Region::from_handle(env.handle(0));
    let usage = "tracer: opening the trace that init gives it with --trace or --strace";
    let trace = expect!(Trace::open(&region), "{usage}");
    // Nobody signals it: it is for sleeping a while.
    let alarm = expect!(Notification::create(), "tracer: a notification");
    let mut writer = Writer::new();
    let mut cpus: Vec<TraceEvents<'_>> = (0..trace.cpus())
        .filter_map(|cpu| trace.events(cpu))
        .collect();
    let mut unseen = false;
    loop {
        // Before it is looked at: what comes between the two is read the next time.
        let (ended, now) = (trace.has_ended(), rt::now_ns() & TIME_MASK);
        let before = writer.taken;
        for (cpu, events) in cpus.iter_mut().enumerate() {
            events.for_each(|traced| writer.take(cpu, traced));
        }
        let more = writer.taken > before;
        if more || unseen {
            writer.line(format_args!("#trace seen {now:x}"));
            // What has come since then is before the next time only.
            unseen = more;
        }
        if more && !ended {
            continue;
        }
        writer.flush();
        if ended {
            rt::println!("#trace end {:x}", writer.lost);
            return 0;
        }
        let _ = alarm.wait(rt::now_ns() + PAUSE_NS);
    }
}

/// Gathers whole lines for one call.
struct Writer {
    lines: String,
    taken: u64,
    lost: u64,
    /// Threads of this very program.
    own: Vec<u32>,
}

impl Writer {
    fn new() -> Writer {
        Writer {
            lines: String::with_capacity(MAX_DEBUG_WRITE as usize),
            taken: 0,
            lost: 0,
            own: Vec::new(),
        }
    }

    fn take(&mut self, cpu: usize, traced: Traced) {
        let event = match traced {
            Traced::Lost(count) => {
                self.lost += count;
                self.line(format_args!("#trace {cpu:x} lost {count:x}"));
                return;
            }
            Traced::Event(event) => event,
        };
        let kind = EventKind::from_code(event.kind);
        if kind == Some(EventKind::Thread) && is_own(&event) {
            self.own.push(event.arguments[0] as u32);
        }
        // When this program runs matters to others, what it does while it runs does not.
        let matters = matches!(kind, Some(EventKind::Switch | EventKind::Thread));
        if self.own.contains(&event.thread) && !matters {
            return;
        }
        let arguments = match kind {
            Some(EventKind::Enter | EventKind::Entry) => declared(&event),
            _ => &event.arguments,
        };
        let used = arguments.iter().rposition(|&word| word != 0);
        let arguments = Words(&arguments[..used.map_or(0, |last| last + 1)]);
        self.line(format_args!(
            "#trace {cpu:x} {:x} {:x} {:x} {:x}{arguments}",
            event.time_ns, event.kind, event.number, event.thread
        ));
    }

    fn line(&mut self, line: core::fmt::Arguments<'_>) {
        self.taken += 1;
        if self.lines.len() + LINE > MAX_DEBUG_WRITE as usize {
            self.flush();
        }
        // Writing to a string does not fail.
        let _ = writeln!(self.lines, "{line}");
    }

    fn flush(&mut self) {
        if !self.lines.is_empty() {
            // In one piece, so that no line of another program comes in between.
            // SAFETY: the call reads the text and nothing else.
            let _ = unsafe {
                rt::sys::debug_write(
                    UserPtr::new(self.lines.as_ptr() as u64),
                    self.lines.len() as u64,
                )
            };
            self.lines.clear();
        }
    }
}

/// Whether a thread that tells its name is of this program.
fn is_own(event: &Event) -> bool {
    let name: Vec<u8> = event.arguments[2..]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    name.strip_prefix(NAME)
        .is_some_and(|rest| rest.iter().all(|&byte| byte == 0))
}

/// The arguments that a call has; what else was in the registers says nothing.
fn declared(event: &Event) -> &[u64] {
    let call = SYSCALLS
        .iter()
        .find(|call| call.number == u64::from(event.number));
    let in_rings = || Operation::from_event_number(event.number)?.name_in_rings();
    let count = match call {
        Some(call) => call.arguments.len(),
        None => in_rings().map_or(0, |(_, arguments)| arguments.len()),
    };
    &event.arguments[..count.min(event.arguments.len())]
}

struct Words<'a>(&'a [u64]);

impl core::fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, " {word:x}"))
    }
}
