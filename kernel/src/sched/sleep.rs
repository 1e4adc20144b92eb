//! Sleeping, and going over to who was woken: the direct switch, without the queue.

#![allow(unsafe_code)] // Threads that sleep here, behind plain references.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::trace::Woken;
use arch::{clock, cpu};
use ipc::Parked;

use super::switch::Resume;
use super::table::{Asleep, Current};
use super::{ASKED, SEEDED, alarm, decides_by_chance, enqueue, switch, tell, unpark, with_current};
use crate::stats::{self, AtOnce};
use crate::thread::{Thread, state};

/// Sleeps until the current thread is unparked, or until a time, or until it has to end. With
/// interrupts on.
#[inline]
pub fn park(deadline_ns: u64) -> Parked {
    if deadline_ns != abi::FOREVER {
        return park_until(deadline_ns);
    }
    with_current(|thread| {
        debug_assert!(cpu::interrupts_enabled());
        cpu::disable_interrupts();
        if try_park(thread) {
            switch::run_next(thread);
        }
        cpu::enable_interrupts();
        woken(thread)
    })
}

/// The same with a time, at which an alarm goes off.
#[inline(never)]
fn park_until(deadline_ns: u64) -> Parked {
    with_current(|thread| {
        let state = thread.state.load(Ordering::Acquire);
        if state & (state::ENDING | state::TOKEN) == 0 && has_come(deadline_ns) {
            return Parked::TimedOut;
        }
        cpu::disable_interrupts();
        if try_park(thread) {
            alarm::set(thread, deadline_ns);
            switch::run_next(thread);
            thread.alarm.forget();
        }
        cpu::enable_interrupts();
        woken(thread)
    })
}

/// Whether it is too late to sleep until a time.
#[inline(always)]
fn has_come(deadline_ns: u64) -> bool {
    deadline_ns <= clock::now_ns() && !mm::sabotaged!("no_time_has_come")
}

/// Wakes a thread and sleeps, as [`unpark`] and [`park`] do one after the other. A sleeper of this
/// CPU that is at least as urgent goes on at once, in the rest of the caller's slice. With interrupts
/// on.
#[inline(always)]
pub fn unpark_and_park(other: &Arc<Thread>, deadline_ns: u64) -> Parked {
    let thread = Current::get();
    if other.seat() != thread.seat()
        || deadline_ns != abi::FOREVER
        || ASKED.load(Ordering::Relaxed) != 0
    {
        return unpark_and_park_unlike(other, deadline_ns);
    }
    debug_assert!(cpu::interrupts_enabled());
    cpu::disable_interrupts();
    // Whoever makes it end after this looks for it where it runs.
    if !other.exchange_state(state::PARKED, 0) {
        return unpark_then_park(other, deadline_ns);
    }
    if !try_park(&thread) {
        return go_on(&thread, other);
    }
    switch::run(&thread, other);
    cpu::enable_interrupts();
    // Found anew, it is nothing to keep meanwhile.
    woken(&Current::get())
}

/// The current thread, and a sleeper that it can go over to by a stack and a space, for as long as interrupts are off.
pub struct Alike {
    from: Current,
    to: Asleep,
}

impl Alike {
    /// The current thread, and one that waits; None where more would have to be switched.
    #[inline(always)]
    pub fn of(from: &Arc<Thread>, to: &Arc<Thread>) -> Option<Alike> {
        debug_assert!(!cpu::interrupts_enabled());
        (from.seat() == to.seat()).then(|| Alike {
            from: Current::is(from),
            // SAFETY: who waits has one seat with what runs here, so it lives here, and whoever finds that it does not
            // wait drops this before anything else.
            to: unsafe { Asleep::here(to) },
        })
    }
}

/// Whether the current thread can [go over](go_over) and sleep until a time, with nothing to arm. With interrupts off
/// until then.
#[inline(always)]
pub fn can_go_over_until(deadline_ns: u64) -> bool {
    debug_assert!(!cpu::interrupts_enabled());
    !mm::sabotaged!("times_go_at_length")
        && Current::get().alarm.is_early_enough(deadline_ns)
        && !has_come(deadline_ns)
}

/// Wakes a thread and sleeps, for who finds out by itself why it goes on, in `resume`: an unpark that
/// came meanwhile may be left for its next sleep. It sleeps until a time only where it [can](can_go_over_until): then
/// `resume` forgets that time, and [uses a time-out up](use_up_time_out) if there is one. A trace that begins meanwhile
/// may miss the switch. With interrupts off, as `resume` begins. It returns, with interrupts on, where it was not a
/// switch from one to the other: then the thread has slept, if it was to. What it is `counted` as is up to that.
///
/// # Safety
/// As of [`run_alike`](switch::run_alike).
#[inline(always)]
pub unsafe fn go_over(
    Alike { from, to }: Alike,
    deadline_ns: u64,
    resume: Resume,
    counted: AtOnce,
) {
    debug_assert!(!cpu::interrupts_enabled());
    if !to.exchange_state(state::PARKED, 0) {
        stats::count_at_length(counted);
        unpark_then_park(&to.hold(), deadline_ns);
    } else if !try_park(&from) {
        stats::count_at_length(counted);
        go_on(&from, &to.hold());
    } else {
        stats::count_at_once(counted);
        if deadline_ns != abi::FOREVER {
            from.alarm.note(deadline_ns);
        }
        // SAFETY: the caller's; one of them runs here, and the other sleeps here.
        unsafe { switch::run_alike(&from, &to, resume) };
    }
}

/// The same of threads that may be of two CPUs or levels, with a time, and in a trace.
#[inline(never)]
fn unpark_and_park_unlike(other: &Thread, deadline_ns: u64) -> Parked {
    let thread = Current::get();
    let is_timed = deadline_ns != abi::FOREVER;
    let direct = other.cpu() == thread.cpu()
        && other.level() >= thread.level()
        && (ASKED.load(Ordering::Relaxed) & SEEDED == 0 || decides_by_chance())
        && !(is_timed && (has_come(deadline_ns) || mm::sabotaged!("times_go_by_the_queue")));
    if !direct {
        unpark(other);
        return park(deadline_ns);
    }
    cpu::disable_interrupts();
    if !other.exchange_state(state::PARKED, 0) {
        return unpark_then_park(other, deadline_ns);
    }
    if !try_park(&thread) {
        return go_on(&thread, other);
    }
    if is_timed {
        alarm::set(&thread, deadline_ns);
    }
    switch::run_above(&thread, other);
    if is_timed {
        thread.alarm.forget();
    }
    cpu::enable_interrupts();
    woken(&thread)
}

/// Wakes who is not asleep, but in a list, or was told to end; and sleeps. With interrupts off until then.
#[cold]
#[inline(never)]
fn unpark_then_park(other: &Thread, deadline_ns: u64) -> Parked {
    cpu::enable_interrupts();
    unpark(other);
    park(deadline_ns)
}

/// Goes on, and makes another thread ready, which was asleep. With interrupts off until then.
#[cold]
#[inline(never)]
fn go_on(thread: &Thread, other: &Thread) -> Parked {
    tell(other, Woken::Unparked);
    enqueue(other);
    cpu::enable_interrupts();
    woken(thread)
}

/// From now on whoever unparks the thread has to make it ready. False: it is not to sleep.
#[inline(always)]
fn try_park(thread: &Thread) -> bool {
    thread.exchange_state(0, state::PARKED)
}

/// Why a thread goes on that slept, or wanted to. Uses up the token and the time-out.
#[inline(always)]
fn woken(thread: &Thread) -> Parked {
    match thread.state.load(Ordering::Acquire) {
        0 => Parked::Unparked,
        now => woken_with(thread, now),
    }
}

/// Takes from the current thread that its sleep ended at a time, if it did.
pub fn use_up_time_out() {
    woken(&Current::get());
}

/// Whoever makes a thread end marks it first and tells its CPU then. One that has seen the mark does not go on in its
/// program meanwhile.
pub(super) fn leave_soon() {
    if !mm::sabotaged!("who_sees_its_end_goes_on") {
        cpu::request_user_return_work();
    }
}

#[cold]
fn woken_with(thread: &Thread, now: u32) -> Parked {
    if now & state::ENDING != 0 {
        leave_soon();
        return Parked::Ending;
    }
    let before = thread.state.fetch_and(!state::TIMED_OUT, Ordering::AcqRel);
    if before & state::TIMED_OUT != 0 {
        // A token that came meanwhile is for the next time.
        return Parked::TimedOut;
    }
    thread.state.fetch_and(!state::TOKEN, Ordering::AcqRel);
    Parked::Unparked
}
