//! A test that hangs ends by itself, and its name is told.
//!
//! libtest waits for a test as long as it takes. So each machine is watched from its first moment to its
//! last: one that has been there for longer than any test needs ends its process, for a thread that
//! waits or spins for ever can't be ended alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use crate::machine::lock;

/// How long a machine may be there, unless [`PATIENCE`] says otherwise. The longest that any is takes a
/// tenth of it.
const LIMIT: Duration = Duration::from_secs(600);
/// The variable with another limit, in seconds.
const PATIENCE: &str = "HANDOVER_PATIENCE";
/// What libtest ends with when a test fails.
const FAILED: i32 = 101;

/// The machines that there are: when each was made, and by which test.
static MACHINES: Mutex<BTreeMap<u64, (Instant, String)>> = Mutex::new(BTreeMap::new());

/// A machine is there as long as this.
#[derive(Debug)]
pub(crate) struct Watched(u64);

impl Watched {
    /// Watches a machine of the test that this thread executes.
    pub(crate) fn begin() -> Watched {
        static WATCHMAN: Once = Once::new();
        WATCHMAN.call_once(|| {
            let limit = std::env::var(PATIENCE).ok();
            let limit = limit.and_then(|seconds| seconds.parse().ok());
            let limit = limit.map_or(LIMIT, Duration::from_secs);
            std::thread::spawn(move || watch(limit));
        });
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a thread without a name");
        let mut machines = lock(&MACHINES);
        let number = machines.last_key_value().map_or(0, |(last, _)| last + 1);
        machines.insert(number, (Instant::now(), test.to_owned()));
        Watched(number)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&MACHINES).remove(&self.0);
    }
}

/// Ends the process when a machine has been there for too long.
fn watch(limit: Duration) {
    loop {
        std::thread::sleep(limit / 20);
        let machines = lock(&MACHINES);
        let late = machines.values().find(|(begun, _)| begun.elapsed() > limit);
        if let Some((_, test)) = late {
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
