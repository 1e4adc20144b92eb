//! The alarms of threads, which end their sleeps at a time.
//!
//! An alarm stays armed when its thread is woken before its time: it goes off then, finds that it is to go off later,
//! or that nobody sleeps, and is set anew, or not. So who sleeps until a time that is not before that of its last
//! sleep notes the time, and touches neither the queue of alarms nor the timer of the CPU. Invariant: while a thread
//! sleeps until a time, its alarm is armed for that time or an earlier one.
//!
//! Only the CPU of a thread touches its alarm, with interrupts off. An alarm names its thread by its slot: a thread that
//! leaves takes it back.

use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::trace::Woken;
use ipc::alarms::{Key, Place};

use super::{enqueue, slice, table, take_parked, tell};
use crate::irq_lock::IrqLock;
use crate::thread::{Thread, state};
use crate::timers;

/// The alarm of a thread.
pub struct Alarm {
    /// When the sleep of its thread ends; `u64::MAX` while that does not sleep until a time.
    deadline_ns: AtomicU64,
    /// When it goes off, if not later; `u64::MAX` while it is not armed.
    at_ns: AtomicU64,
    armed: IrqLock<Armed>,
}

enum Armed {
    /// In the queue of its CPU, under a name.
    Yes(Key),
    /// None of an idle thread, and while it is about to be armed.
    No(Option<Place<u16>>),
}

impl Alarm {
    /// Where it has the time of the sleep.
    pub const DEADLINE: usize = offset_of!(Alarm, deadline_ns);

    /// What it takes of the heap.
    pub const BYTES: usize = Place::<u16>::BYTES;

    /// That of a thread which may sleep.
    pub fn new() -> Alarm {
        Alarm::with(Some(Place::new()))
    }

    /// That of a thread which sleeps until no time.
    pub fn none() -> Alarm {
        Alarm::with(None)
    }

    fn with(place: Option<Place<u16>>) -> Alarm {
        Alarm {
            deadline_ns: AtomicU64::new(u64::MAX),
            at_ns: AtomicU64::new(u64::MAX),
            armed: IrqLock::new(Armed::No(place)),
        }
    }

    /// Whether it is armed for a time or an earlier one.
    #[inline(always)]
    pub fn is_early_enough(&self, deadline_ns: u64) -> bool {
        self.at_ns.load(Ordering::Relaxed) <= deadline_ns || mm::sabotaged!("alarm_not_set_earlier")
    }

    /// Notes until when its thread sleeps, for which it is [early enough](Alarm::is_early_enough).
    #[inline(always)]
    pub fn note(&self, deadline_ns: u64) {
        self.deadline_ns.store(deadline_ns, Ordering::Relaxed);
    }

    /// Notes that its thread sleeps no more.
    #[inline(always)]
    pub fn forget(&self) {
        if !mm::sabotaged!("time_outlives_its_sleep") {
            self.deadline_ns.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// Takes it out of where it is armed, if it is.
    fn disarm(&self) -> Option<Place<u16>> {
        self.at_ns.store(u64::MAX, Ordering::Relaxed);
        let mut armed = self.armed.lock();
        match core::mem::replace(&mut *armed, Armed::No(None)) {
            Armed::Yes(key) => timers::cancel(key),
            Armed::No(place) => place,
        }
    }

    fn arm(&self, slot: u16, place: Place<u16>, at_ns: u64) {
        self.at_ns.store(at_ns, Ordering::Relaxed);
        *self.armed.lock() = Armed::Yes(timers::arm(slot, place, at_ns));
    }

    fn rest(&self, place: Place<u16>) {
        self.at_ns.store(u64::MAX, Ordering::Relaxed);
        *self.armed.lock() = Armed::No(Some(place));
    }
}

/// Has a thread woken at a time: the current one, which is parked. With interrupts off.
#[inline(always)]
pub fn set(thread: &Thread, deadline_ns: u64) {
    thread.alarm.note(deadline_ns);
    if !thread.alarm.is_early_enough(deadline_ns) {
        set_earlier(thread, deadline_ns);
    }
}

#[inline(never)]
fn set_earlier(thread: &Thread, at_ns: u64) {
    if let (Some(slot), Some(place)) = (thread.slot(), thread.alarm.disarm()) {
        thread.alarm.arm(slot, place, at_ns);
        slice::rearm();
    }
}

/// Takes the alarm of the current thread back, which leaves. With interrupts off.
pub fn end(thread: &Thread) {
    if !mm::sabotaged!("alarm_outlives_its_thread")
        && let Some(place) = thread.alarm.disarm()
    {
        // Its memory goes with the thread.
        thread.alarm.rest(place);
    }
}

/// Has those sleeps end whose time has come. In the hook of the timer.
pub fn expire(now_ns: u64) {
    timers::expire(now_ns, |slot, place| {
        // It has not left.
        let thread = table::at(slot);
        let alarm = &thread.alarm;
        let deadline_ns = alarm.deadline_ns.load(Ordering::Relaxed);
        let is_later = deadline_ns > now_ns && !mm::sabotaged!("any_alarm_ends_a_sleep");
        if deadline_ns == u64::MAX || is_later && mm::sabotaged!("alarm_not_set_anew") {
            return alarm.rest(place);
        }
        if is_later {
            return alarm.arm(slot, place, deadline_ns);
        }
        alarm.rest(place);
        if take_parked(thread, state::TIMED_OUT) {
            tell(thread, Woken::TimedOut);
            enqueue(thread);
        }
    });
}
