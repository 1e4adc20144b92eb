//! Slices of time, and sleeps that end at a time: what a CPU's timer is for.

use core::sync::atomic::Ordering;

use arch::hooks::Origin;
use arch::{apic, clock, cpu};
use fastrand::Rng;

use super::{Cpu, Queue, alarm, this};
use crate::thread::Thread;
use crate::{stats, timers};

/// How long a thread runs while others of its level are ready, in ns.
const SLICE_NS: u64 = 2_000_000;

/// The end of a slice that is full from the next tick on.
const SOON: u64 = u64::MAX - 1;

/// What a seeded schedule arms the timer with, in counts of the APIC timer: always more than the
/// interrupt and the switch take with every assertion, or two threads would do nothing but alternate.
const SEEDED_COUNTS: core::ops::Range<u32> = 2_000..16_000;

/// The hook of the timer.
pub fn on_timer(_: Origin) {
    stats::count_interrupt();
    let cpu = this();
    let now = clock::now_ns();
    alarm::expire(now);
    timers::note_due(now);
    let mut queue = cpu.queue.lock();
    queue.armed_ns = u64::MAX;
    queue.ticking = false;
    let over = now >= queue.slice_end_ns || queue.random.is_some();
    if over && is_crowded(cpu, &queue) {
        if !mm::sabotaged!("no_preemption") {
            cpu.preempt.store(true, Ordering::Relaxed);
            cpu::request_user_return_work();
        }
        // The thread may be deep in the kernel and go on for long: ring once a slice and no more,
        // or it would do nothing but take interrupts.
        queue.slice_end_ns = now + SLICE_NS;
    }
    // Under single-threaded emulation a pause lets another CPU run.
    if queue.random.as_mut().is_some_and(Rng::bool) {
        cpu::pause();
    }
    arm(cpu, &mut queue, now);
}

/// Arms the timer of this CPU anew, if what [`timers`] has for it comes earlier than what it is armed
/// for. In a seeded schedule it goes off soon anyway.
pub fn rearm() {
    let mut queue = this().queue.lock();
    let next = timers::earliest_ns();
    if next < queue.armed_ns {
        queue.armed_ns = next;
        apic::arm_timer(next);
    }
}

/// Whether somebody is ready who has as good a claim to the CPU as what runs there.
fn is_crowded(cpu: &Cpu, queue: &Queue) -> bool {
    let top = queue.ready.top();
    top.is_some_and(|top| top >= cpu.level.load(Ordering::Relaxed))
}

/// Arms the timer for what comes first: the end of a slice or the end of a sleep.
pub fn arm(cpu: &Cpu, queue: &mut Queue, now: u64) {
    let crowded = is_crowded(cpu, queue);
    if crowded && let Some(random) = &mut queue.random {
        queue.armed_ns = now;
        apic::arm_timer_counts(random.u32(SEEDED_COUNTS));
        return;
    }
    if crowded && queue.slice_end_ns >= SOON {
        queue.slice_end_ns = now + SLICE_NS;
    }
    let slice_end = if crowded {
        queue.slice_end_ns
    } else {
        u64::MAX
    };
    let next = slice_end.min(timers::earliest_ns());
    queue.ticking |= next == slice_end && crowded;
    if next < queue.armed_ns {
        queue.armed_ns = next;
        apic::arm_timer(next);
    }
}

/// Sees to it that the slice of what runs ends, of which nobody was in need before. Where a tick comes
/// anyhow, the slice begins with it: that takes no look at the clock.
#[inline(always)]
pub fn limit(cpu: &Cpu, queue: &mut Queue) {
    if queue.ticking {
        queue.slice_end_ns = SOON;
    } else {
        arm(cpu, queue, clock::now_ns());
    }
}

/// Begins the slice of a thread that is about to run.
#[inline(always)]
pub fn begin(cpu: &Cpu, queue: &mut Queue, thread: &Thread) {
    queue.slice_end_ns = u64::MAX;
    // It was for who ran before.
    if !mm::sabotaged!("end_of_slice_passed_on") {
        cpu.preempt.store(false, Ordering::Relaxed);
    }
    // What it had left counts only while it is preempted.
    let left = thread.slice_left_ns.load(Ordering::Relaxed);
    if left != 0 {
        thread.slice_left_ns.store(0, Ordering::Relaxed);
    }
    if is_crowded(cpu, queue) {
        if left == 0 {
            limit(cpu, queue);
        } else {
            let now = clock::now_ns();
            queue.slice_end_ns = now + left;
            arm(cpu, queue, now);
        }
    }
}

/// Notes what a thread has left of its slice, which somebody more urgent interrupts; false: nothing.
pub fn keep_rest(thread: &Thread, queue: &Queue) -> bool {
    let left = match queue.slice_end_ns {
        SOON.. => SLICE_NS,
        end => end.saturating_sub(clock::now_ns()),
    };
    thread
        .slice_left_ns
        .store(left.min(SLICE_NS), Ordering::Relaxed);
    left > 0
}
