//! What a process keeps of a ring beside its memory: it sleeps and wakes here, and learns of the peer's end.
//!
//! Page H is the process's own, so this is where the kernel's part is played. Words that are waited for:
//!
//! - the index of the peer, in the peer's page: the peer changes it and then wakes who waits for it. The system compares
//!   it once more under the lock that a wake takes, so no wakeup falls between the look and the sleep;
//! - the bell of this side, in private memory: it changes whenever something happens that is no message.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use abi::ring::{End, EndState, Form};
use rustix::io::Errno;
use rustix::thread::futex::{self, WaitFlags, WaitPtr, WaitvFlags};
use rustix::thread::{ClockId, MembarrierCommand};
use rustix::time::Timespec;

use super::handshake::Terms;
use super::memory::Mapping;
use super::remote::{Remote, Sleeper};
use crate::asynchronous::WaitAsTask;
use crate::{Close, Error, Wait, index};

/// A ring, as one process has it.
pub(super) struct Link {
    pub(super) mapping: Mapping,
    pub(super) terms: Terms,
    sides: [Side; 2],
}

/// What is kept for one end.
#[derive(Default)]
struct Side {
    bell: AtomicU32,
    cancelled: AtomicBool,
    told: Mutex<Told>,
}

/// Who is told when the peer of an end wakes it, other than a thread that sleeps at the index.
#[derive(Default)]
struct Told {
    /// A task, once.
    task: Option<Waker>,
    /// Who sleeps at many ends, each time.
    gathering: Option<Waker>,
}

impl Link {
    /// Takes over a mapping whose pages are filled but for H, which it fills.
    pub(super) fn new(mapping: Mapping, terms: &Terms) -> Self {
        mapping.format_header(terms.form, terms.start, terms.epoch);
        Self {
            mapping,
            terms: *terms,
            sides: Default::default(),
        }
    }

    fn side(&self, end: End) -> &Side {
        &self.sides[end as usize]
    }

    pub(super) fn state(&self, end: End) -> EndState {
        let raw = self.mapping.state(end).load(Ordering::Acquire);
        EndState::from_raw(raw).unwrap_or(EndState::Poisoned)
    }

    /// Tells this process that `end` has come to a state, and wakes its peer. How an end ended is told once, but for a fault,
    /// which counts after an orderly close, too.
    pub(super) fn set_state(&self, end: End, state: EndState) {
        let word = self.mapping.state(end);
        // SYNC(ring.close): pairs with the loads of the state before the last look.
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let _ = word.fetch_update(set, fetch, |current| {
            let current = EndState::from_raw(current)?;
            current.may_become(state).then_some(state as u32)
        });
        if !crate::sabotaged!("linux_bell_not_rung") {
            self.ring_bell(end.peer());
        }
    }

    /// Ends the sleep of `end`, or keeps it from the sleep that it is about to begin.
    pub(super) fn ring_bell(&self, end: End) {
        let side = self.side(end);
        // SYNC(linux.bell): pairs with the load before the look in `wait`.
        side.bell.fetch_add(1, Ordering::AcqRel);
        wake_private(&side.bell);
        self.wake_task(end);
    }

    /// Has the task of a waker woken, or none any more.
    fn set_task(&self, end: End, waker: Option<&Waker>) {
        let mut told = lock(&self.side(end).told);
        match (waker, &mut told.task) {
            (Some(waker), Some(told)) => told.clone_from(waker),
            (waker, told) => *told = waker.cloned(),
        }
    }

    /// Wakes the task that waits at `end`, and who gathers there. Whether there was a task, and so no thread.
    fn wake_task(&self, end: End) -> bool {
        // SYNC(linux.waker)
        let (task, gathering) = {
            let mut told = lock(&self.side(end).told);
            (told.task.take(), told.gathering.clone())
        };
        let was_task = task.is_some();
        for waker in [task, gathering].into_iter().flatten() {
            if crate::sabotaged!("linux_waker_panics_on") {
                waker.wake();
                continue;
            }
            // It belongs to the executor. The one that is to suffer from it is neither the peer in this process nor the thread
            // that listens for all ends.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        was_task
    }

    pub(super) fn cancel(&self, end: End) {
        self.side(end).cancelled.store(true, Ordering::Release);
        self.ring_bell(end);
    }

    fn load_index(&self, end: End) -> u32 {
        // The page may be mapped for reading only, where nothing but a relaxed load is defined. It decides about sleep
        // alone: whoever does not sleep looks again, by what the end does.
        self.mapping.index(end).load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this system, or this sandbox, lets a sleeper have other processes execute a barrier, and this process is
/// registered for it now (`membarrier(2)`).
pub(super) fn register_for_barriers() -> bool {
    rustix::thread::membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
}

/// Sleeps and wakes at an end of a ring on Linux. Dropping it closes the end in order, or as a death if the
/// thread panics.
pub struct Futex {
    link: Arc<Link>,
    end: End,
    /// The way to the peer, if it is another process.
    remote: Option<Arc<Remote>>,
}

/// An end whose role on the memory nobody has taken. It is made once for an end.
pub(super) struct Unused(Futex);

impl Unused {
    pub(super) fn new(link: Arc<Link>, end: End, remote: Option<Arc<Remote>>) -> Self {
        Self(Futex { link, end, remote })
    }

    pub(super) fn take(self, end: End) -> Result<Futex, Error> {
        match self.0.end == end {
            true => Ok(self.0),
            false => Err(Error::Invalid),
        }
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.0.link.terms
    }

    /// Has a waker woken each time that the end is.
    pub(super) fn gather(&self, waker: Waker) -> Result<(), Error> {
        self.0.check_task()?;
        lock(&self.0.link.side(self.0.end).told).gathering = Some(waker);
        Ok(())
    }

    pub(super) fn canceller(&self) -> Canceller {
        Canceller {
            link: self.0.link.clone(),
            end: self.0.end,
        }
    }
}

impl Futex {
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Whether the peer knows that it wakes no thread.
    fn check_task(&self) -> Result<(), Error> {
        match self.remote.is_some() && self.link.terms.sleeper == Sleeper::Thread {
            true => Err(Error::Unsupported),
            false => Ok(()),
        }
    }

    /// Makes sure that the peer sees what this end announced before this end looks for the last time.
    ///
    /// # Errors
    /// [`Error::Unsupported`]: the system took the barrier away after the ring was made.
    fn barrier(&self) -> Result<(), Error> {
        // SYNC(ring.sleep): in the asymmetric form the publisher has no fence. Whatever it published before this reaches
        // it is seen by the look below; what it publishes later comes before a look at `waits_until` that sees this sleeper.
        let needed = self.link.terms.form == Form::Asymmetric;
        if needed && !crate::sabotaged!("linux_sleeper_without_barrier") {
            barrier()?;
        }
        Ok(())
    }

    /// Whether what is waited for is there: the peer's index if it is not.
    fn look(&self, seen: u32) -> Option<u32> {
        let peer = self.end.peer();
        let state = self.link.state(peer);
        let index = self.link.load_index(peer);
        (!index::wait_is_over(state, index, seen)).then_some(index)
    }
}

impl Wait for Futex {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), Error> {
        let side = self.link.side(self.end);
        let peer_index = self.link.mapping.index(self.end.peer());
        // Whoever waited here before has gone, and is not to be woken in place of this thread.
        self.link.set_task(self.end, None);
        self.barrier()?;
        loop {
            // SYNC(linux.bell)
            let bell = side.bell.load(Ordering::Acquire);
            if side.cancelled.swap(false, Ordering::AcqRel) {
                return Err(Error::Cancelled);
            }
            let Some(index) = self.look(seen) else {
                return Ok(());
            };
            match sleep(
                [
                    (peer_index, index, WaitFlags::SIZE_U32),
                    (&side.bell, bell, WaitFlags::SIZE_U32 | WaitFlags::PRIVATE),
                ],
                deadline_ns,
            ) {
                // A signal that was handled is no reason to give up; the caller looks again.
                Ok(()) => return Ok(()),
                Err(Errno::INTR) if !crate::sabotaged!("linux_signal_ends_wait") => return Ok(()),
                Err(Errno::TIMEDOUT) => return Err(Error::TimedOut),
                // Something changed meanwhile. A peer that does nothing else is put up with until the deadline.
                Err(Errno::AGAIN) if super::now_ns() < deadline_ns => {}
                Err(Errno::AGAIN) => return Err(Error::TimedOut),
                Err(_) => return Err(Error::Unsupported),
            }
        }
    }

    fn wake(&self) {
        match &self.remote {
            Some(remote) if remote.peer_is_a_task() => remote.wake_task(),
            Some(_) => self.wake_thread(),
            None => {
                if !self.link.wake_task(self.end.peer()) {
                    self.wake_thread();
                }
            }
        }
    }
}

impl WaitAsTask for Futex {
    /// [`Error::Unsupported`] if the peer is another process and was not told that [tasks](super::Setup::for_tasks) wait here.
    fn poll_wait(&self, seen: u32, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.check_task()?;
        // SYNC(linux.waker): before the looks; what changes after them finds the waker.
        self.link.set_task(self.end, Some(context.waker()));
        self.barrier()?;
        let side = self.link.side(self.end);
        if side.cancelled.swap(false, Ordering::AcqRel) {
            return Poll::Ready(Err(Error::Cancelled));
        }
        match self.look(seen) {
            Some(_) => Poll::Pending,
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Close for Futex {
    fn close(&self) -> Result<(), Error> {
        self.end_as(EndState::Draining)
    }

    fn accuse(&self) -> Result<(), Error> {
        self.end_as(EndState::Poisoned)
    }
}

impl Futex {
    fn end_as(&self, state: EndState) -> Result<(), Error> {
        if !self.link.state(self.end).may_become(state) {
            return Err(Error::Closed);
        }
        self.link.set_state(self.end, state);
        if let Some(remote) = &self.remote {
            remote.tell(state);
        }
        Ok(())
    }

    fn wake_thread(&self) {
        // The index that this end has just stored is what its peer waits for.
        let own_index = self.link.mapping.index(self.end);
        let flags = match crate::sabotaged!("linux_wake_within_process") {
            true => futex::Flags::PRIVATE,
            false => futex::Flags::empty(),
        };
        let _ = futex::wake(own_index, flags, 1);
    }
}

impl Drop for Futex {
    fn drop(&mut self) {
        // A child's copy is no end: it says nothing over the socket that it shares with its parent.
        if !self.link.mapping.is_here() && !crate::sabotaged!("linux_child_ends_its_parents") {
            return;
        }
        let state = match std::thread::panicking() {
            false => EndState::Draining,
            true => EndState::Closed,
        };
        if self.link.state(self.end) == EndState::Open {
            self.link.set_state(self.end, state);
            if let Some(remote) = &self.remote {
                remote.tell(state);
            }
        }
        if let Some(remote) = &self.remote {
            remote.hang_up();
        }
    }
}

/// Has every CPU that runs a registered process execute a full barrier: `membarrier(2)`.
pub(super) fn barrier() -> Result<(), Error> {
    rustix::thread::membarrier(MembarrierCommand::GlobalExpedited).map_err(|_| Error::Unsupported)
}

/// Wakes all threads of this process that sleep at a word.
pub(super) fn wake_private(word: &AtomicU32) {
    let _ = futex::wake(word, futex::Flags::PRIVATE, u32::MAX);
}

/// Sleeps as long as every word holds its value, until one of them is woken or the deadline passes: `futex_waitv(2)`.
pub(super) fn sleep<const N: usize>(
    words: [(&AtomicU32, u32, WaitFlags); N],
    deadline_ns: u64,
) -> Result<(), Errno> {
    let words = words.map(|(word, value, flags)| {
        let mut wait = futex::Wait::new();
        wait.val = value.into();
        wait.uaddr = WaitPtr::new(word.as_ptr().cast());
        wait.flags = flags;
        wait
    });
    const NS: u64 = 1_000_000_000;
    let deadline = Timespec {
        tv_sec: (deadline_ns / NS) as i64,
        tv_nsec: (deadline_ns % NS) as _,
    };
    let deadline = (deadline_ns != u64::MAX).then_some(&deadline);
    futex::waitv(&words, WaitvFlags::empty(), deadline, ClockId::Monotonic).map(|_| ())
}

/// Ends a wait at an end of a ring, from another thread.
#[derive(Clone)]
pub struct Canceller {
    link: Arc<Link>,
    end: End,
}

impl Canceller {
    /// Ends the wait that is under way at the end, or else the next that would sleep, with [`Error::Cancelled`]. What comes
    /// at the same moment does not take its place: it is left for the next call.
    pub fn cancel(&self) {
        self.link.cancel(self.end);
    }
}

/// What the system can't do that this module needs: `None` if it can.
pub(super) fn check_system() -> io::Result<()> {
    // Waiting for no word at all is invalid where the call exists.
    match futex::waitv(&[], WaitvFlags::empty(), None, ClockId::Monotonic) {
        Err(Errno::NOSYS) => Err(Errno::NOSYS.into()),
        _ => Ok(()),
    }
}
