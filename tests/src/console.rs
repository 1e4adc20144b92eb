//! What the person sees: lines on stdout, complaints on stderr, and a word about what takes long.
//!
//! Colours go to terminals only. A reader that went away (`| head`) is no error.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// How long a step may take before it is announced.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints one line to stdout.
pub fn say(line: &str) {
    let _ = writeln!(anstream::stdout(), "{line}");
}

/// Prints one line to stderr.
pub fn complain(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// `text` in green, on a terminal.
pub fn good(text: &str) -> String {
    format!("{GREEN}{text}{PLAIN}")
}

/// `text` in red, on a terminal.
pub fn bad(text: &str) -> String {
    format!("{RED}{text}{PLAIN}")
}

/// Announces a step on stderr when it takes longer than two seconds; dropping it ends the step.
pub struct Progress {
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins a step called `line`.
    pub fn start(line: impl Into<String>) -> Self {
        let (done, is_done) = mpsc::channel();
        let line = line.into();
        let thread = std::thread::spawn(move || {
            if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                complain(&line);
            }
        });
        Self {
            done: Some(done),
            thread: Some(thread),
        }
    }

    /// Ends the step.
    pub fn finish(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// How many of a thing there are, in words.
pub fn counted(count: u32, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}
