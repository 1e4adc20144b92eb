//! A test that hangs ends by itself, and its name is told.
//!
//! libtest waits for a test as long as it takes. So each machine is watched from its first moment to its
//! last: one that has been there for longer than any test needs ends its process, for a thread that
//! waits or spins for ever can't be ended alone. And a test that has failed is not kept by those of its tasks
//! that nobody wakes any more: they ask here.

use std::collections::BTreeMap;
use std::io::Write;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::machine::lock;

/// How long a machine may be there, unless [`PATIENCE`] says otherwise. The longest that any is takes a
/// tenth of it.
const LIMIT: Duration = Duration::from_secs(600);
/// The variable with another limit, in seconds.
const PATIENCE: &str = "HANDOVER_PATIENCE";
/// What libtest ends with when a test fails.
const FAILED: i32 = 101;

/// The machines that there are.
static MACHINES: Mutex<BTreeMap<u64, Known>> = Mutex::new(BTreeMap::new());

/// What is known of a machine.
struct Known {
    made: Instant,
    /// The test that has made it, and the thread.
    test: String,
    by: ThreadId,
    /// That thread has panicked since.
    failed: Arc<AtomicBool>,
}

/// A machine is there as long as this.
#[derive(Debug)]
pub(crate) struct Watched {
    number: u64,
    failed: Arc<AtomicBool>,
}

impl Watched {
    /// Watches a machine of the test that this thread executes. Where a test catches a panic of its own thread,
    /// nobody sleeps on its machine any more.
    pub(crate) fn begin() -> Watched {
        static WATCHMAN: Once = Once::new();
        WATCHMAN.call_once(|| {
            let limit = std::env::var(PATIENCE).ok();
            let limit = limit.and_then(|seconds| seconds.parse().ok());
            let limit = limit.map_or(LIMIT, Duration::from_secs);
            thread::spawn(move || watch(limit));
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                note_failure();
                before(panic);
            }));
        });
        let failed = Arc::new(AtomicBool::new(false));
        let thread = thread::current();
        let known = Known {
            made: Instant::now(),
            test: (thread.name().unwrap_or("a thread without a name")).to_owned(),
            by: thread.id(),
            failed: failed.clone(),
        };
        let mut machines = lock(&MACHINES);
        let number = machines.last_key_value().map_or(0, |(last, _)| last + 1);
        machines.insert(number, known);
        Watched { number, failed }
    }

    /// Whether the thread that made the machine has panicked since, and so does nothing for the others any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// This thread panics.
fn note_failure() {
    let this = thread::current().id();
    let machines = lock(&MACHINES);
    let own = machines.values().filter(|known| known.by == this);
    own.for_each(|known| known.failed.store(true, Ordering::Relaxed));
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&MACHINES).remove(&self.number);
    }
}

/// Ends the process when a machine has been there for too long.
fn watch(limit: Duration) {
    loop {
        thread::sleep(limit / 20);
        let machines = lock(&MACHINES);
        let late = (machines.values()).find(|known| known.made.elapsed() > limit);
        if let Some(Known { test, .. }) = late {
            // Not by `eprintln!`: libtest keeps what the threads of tests print.
            let limit = limit.as_secs();
            let _ = writeln!(
                std::io::stderr(),
                "\ntest {test} hangs: its machine has been there for {limit} s"
            );
            std::process::exit(FAILED);
        }
    }
}
