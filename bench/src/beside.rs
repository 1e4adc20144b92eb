//! Two parts of a measurement beside each other, pinned to two CPUs, as threads or as processes.

use std::hint::spin_loop;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// Longer than any batch takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the two ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Two threads of one process.
    Threads,
    /// Two processes over shared memory.
    Processes,
}

/// The CPUs of the two parts.
#[derive(Clone, Copy, Debug)]
pub struct Cpus {
    near: usize,
    far: usize,
}

impl Cpus {
    /// The first and the last CPU that this process may use, or `None` if there is only one.
    pub fn find() -> Option<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let mut allowed = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu) == Ok(true));
        let near = allowed.next()?;
        let far = allowed.next_back()?;
        Some(Self { near, far })
    }

    /// The same, or the only CPU for both parts, which is enough for who measures nothing.
    pub fn any() -> Option<Self> {
        let only = || {
            let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
            let cpu = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true))?;
            Some(Self {
                near: cpu,
                far: cpu,
            })
        };
        Self::find().or_else(only)
    }

    /// Runs both parts at the same time, each in a thread or in a process of its own, and returns what `near` answers.
    ///
    /// # Panics
    /// When a part panics, or the system refuses a thread, a process or a CPU.
    pub fn beside(
        self,
        place: Place,
        far: impl FnOnce() + Send,
        near: impl FnOnce() -> Option<f64>,
    ) -> Option<f64> {
        let far = move || {
            pin(self.far);
            far();
        };
        let near = move || {
            pin(self.near);
            near()
        };
        match place {
            Place::Threads => std::thread::scope(|scope| {
                scope.spawn(far);
                near()
            }),
            Place::Processes => in_processes(far, near),
        }
    }
}

/// Neither part is this process, so that what an end starts in its own, such as a thread, is not there when the next ones
/// are forked. Nobody holds an end but the part that it belongs to, so that each notices when the other is gone; and a
/// part that is left alone by a failure is ended, for it might wait for ever.
fn in_processes(far: impl FnOnce(), near: impl FnOnce() -> Option<f64>) -> Option<f64> {
    let (mut answer, teller) = std::io::pipe().expect("the system gives a pipe");
    let far = match fork_one() {
        None => {
            drop((near, answer, teller));
            run_to_the_end(far)
        }
        Some(child) => {
            drop(far);
            child
        }
    };
    let near = match fork_one() {
        None => run_to_the_end(move || {
            drop(answer);
            let told = near().unwrap_or(f64::NAN).to_ne_bytes();
            (&teller).write_all(&told).expect("the parent listens");
        }),
        Some(child) => {
            drop((near, teller));
            child
        }
    };
    let mut running = vec![near, far];
    while !running.is_empty() {
        let status = waitpid(None, None).expect("the children are ours");
        running.retain(|child| Some(*child) != status.pid());
        if !matches!(status, WaitStatus::Exited(_, 0)) {
            for child in running {
                // It may have ended meanwhile.
                let _ = kill(child, Signal::SIGKILL);
                let _ = waitpid(child, None);
            }
            panic!("an end failed: {status:?}");
        }
    }
    let mut told = [0; 8];
    answer.read_exact(&mut told).expect("it was told");
    Some(f64::from_ne_bytes(told)).filter(|answer| !answer.is_nan())
}

/// A child, or `None` in the child.
fn fork_one() -> Option<Pid> {
    // SAFETY: this process has one thread here (those of `beside` have been joined), so the child may do anything.
    match unsafe { fork() }.expect("the system gives no process") {
        ForkResult::Child => None,
        ForkResult::Parent { child } => Some(child),
    }
}

/// The rest of a child.
fn run_to_the_end(part: impl FnOnce()) -> ! {
    let status = match catch_unwind(AssertUnwindSafe(part)) {
        Ok(()) => 0,
        Err(_) => 101,
    };
    // SAFETY: ends this process at once, so that nothing of the parent's is dropped twice.
    unsafe { nix::libc::_exit(status) }
}

fn pin(cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu).expect("it was found in such a set");
    sched_setaffinity(Pid::from_raw(0), &only).expect("it was allowed before");
}

/// So many times this thread was made to leave its CPU.
///
/// # Panics
/// Never on Linux, where a thread can always be asked about.
pub fn preemptions() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("of oneself");
    usage.involuntary_context_switches()
}

/// So many times this thread has given its CPU away to sleep.
///
/// # Panics
/// Never on Linux, as above.
pub fn sleeps() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("of oneself");
    usage.voluntary_context_switches()
}

/// Spinning that ends in a panic rather than never, for when the other part has failed.
#[derive(Default)]
pub struct Patience {
    spins: u32,
    since: Option<Instant>,
}

impl Patience {
    /// One more turn.
    #[inline]
    pub fn spin(&mut self) {
        spin_loop();
        self.spins = self.spins.wrapping_add(1);
        if self.spins.is_multiple_of(1 << 20) {
            self.look();
        }
    }

    #[cold]
    fn look(&mut self) {
        let since = self.since.get_or_insert_with(Instant::now);
        assert!(since.elapsed() < PATIENCE, "the other end does not move");
    }
}

/// A word by which the parts tell each other how far they are.
#[derive(Default)]
#[repr(align(128))]
pub struct Milestone(AtomicU32);

impl Milestone {
    /// Tells the other part.
    pub fn reach(&self, value: u32) {
        // SYNC(bench.milestone)
        self.0.store(value, Ordering::Release);
    }

    /// The last value told.
    pub fn reached(&self) -> u32 {
        // SYNC(bench.milestone)
        self.0.load(Ordering::Acquire)
    }

    /// Spins until the other part has come as far.
    pub fn wait(&self, value: u32) {
        let mut patience = Patience::default();
        while self.reached() < value {
            patience.spin();
        }
    }
}
