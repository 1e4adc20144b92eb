//! The switch: from the thread that runs to the one that is to.

#![allow(unsafe_code)] // The switch of stacks, and the space of a thread behind a pointer.

use core::ptr;
use core::sync::atomic::Ordering;

use abi::trace::Woken;
use arch::{context, cpu, user};
use mm::{AddressSpace, Frame};

use super::{slice, table, this, with_current};
use crate::machine::ipc;
use crate::thread::Thread;
use crate::{stats, trace};

/// Runs what is ready next; comes back when `from`, the current thread, is switched to again. The
/// caller has put it where somebody finds it. With interrupts off.
pub fn run_next(from: &Thread) {
    let cpu = this();
    let to = {
        let mut queue = cpu.queue.lock_off();
        let to = match queue.ready.pop() {
            Some(slot) => table::at(slot),
            None => table::idle(from.cpu()),
        };
        cpu.level.store(to.level(), Ordering::Relaxed);
        slice::begin(cpu, &mut queue, to);
        to
    };
    if !ptr::eq(from, to) {
        if !mm::sabotaged!("selectors_not_cleared") {
            user::forget_selectors();
        }
        switch(from, to);
    }
}

/// Wakes and runs a thread of this CPU that was asleep, not ending, and is as urgent as `from`, the
/// current one, in the rest of its slice. With interrupts off.
#[inline(always)]
pub fn run(from: &Thread, to: &Thread) {
    stats::count_direct_switch();
    enter(from, to);
}

/// What a thread does that left for another one by [`run_alike`] and goes on.
pub type Resume = unsafe extern "C" fn();

/// The same of two threads that have one [seat](Thread::seat), from a system call whose [first step](Thread::STACK) has
/// noted what is kept of its stack: all else of what called this is forgotten.
///
/// # Safety
/// With interrupts off. `from` runs here, in a system call that began so, with nothing to be dropped; what it has noted is
/// what `resume` expects. `to` sleeps here, not ending, and was made ready for this.
#[inline(always)]
pub unsafe fn run_alike(from: &Thread, to: &Thread, resume: Resume) -> ! {
    // SAFETY: who is to go over to another one is in a system call, and so is who waits for that. The space of a
    // thread is that of its process until it leaves for good; the thread holds the process, and the table the thread.
    let (left, entered) = unsafe {
        let space = |thread: &Thread| &*thread.space.load(Ordering::Relaxed);
        (space(from), space(to))
    };
    if !ptr::eq(left, entered) {
        // Either thread came into the kernel on this CPU, where it lives, and so from its space.
        ipc().memory().resume_space(entered);
    }
    cpu::set_kernel_word(ptr::from_ref(to).cast_mut().cast());
    // SAFETY: as in `enter`. No two threads have one seat of which one has used the extended registers.
    unsafe { context::leave_for(from.context(), to.context(), resume) }
}

/// The same where it may be more urgent, and a trace may be taken.
#[inline(never)]
pub fn run_above(from: &Thread, to: &Thread) {
    if trace::is_on() {
        trace::woke(to, Woken::Unparked);
        trace::switched(from, to);
    }
    // What this CPU competes at does not fall, so nobody who compares with the old value is forgotten.
    this().level.store(to.level(), Ordering::Relaxed);
    run(from, to);
}

#[inline(always)]
fn switch(from: &Thread, to: &Thread) {
    stats::count_switch();
    if trace::is_on() {
        trace::switched(from, to);
    }
    // Who makes it end after this look sends an interrupt.
    if to.is_ending() {
        cpu::request_user_return_work();
    }
    enter(from, to);
}

#[inline(always)]
fn enter(from: &Thread, to: &Thread) {
    let left = from.space.load(Ordering::Relaxed);
    let entered = to.space.load(Ordering::Relaxed);
    if left != entered {
        switch_space(entered);
    }
    let bases = from.tls.load(Ordering::Relaxed) | to.tls.load(Ordering::Relaxed);
    // A program can make its base 0 with a selector, and nothing else: where both are 0, it is.
    if bases != 0 && !mm::sabotaged!("tls_not_switched") {
        user::set_fs_base(to.tls.load(Ordering::Relaxed));
    }
    cpu::set_kernel_word(ptr::from_ref(to).cast_mut().cast());
    // SAFETY: interrupts are off; `from` runs here, `to` lives on this CPU and was made or switched
    // away from here. The table keeps both.
    unsafe { context::switch(from.context(), to.context()) };
}

#[inline(always)]
fn switch_space(entered: *mut AddressSpace) {
    // SAFETY: the space of a process that a thread has not left yet; the thread holds the process,
    // and the table holds the thread.
    let entered = unsafe { entered.as_ref() };
    // Only who enters no space needs it.
    let root = entered.map_or_else(
        || Frame::containing(arch::paging::kernel_root()),
        AddressSpace::root,
    );
    ipc().memory().switch_space(entered, root);
}

/// Makes this CPU leave the address space of the current thread, which ends.
pub fn leave_space() {
    cpu::without_interrupts(|| {
        with_current(|thread| thread.space.store(ptr::null_mut(), Ordering::Relaxed));
        switch_space(ptr::null_mut());
    });
}

/// The hook of the first use of the extended registers by a program.
pub fn on_extended_state() -> *mut context::Context {
    with_current(|thread| {
        thread.become_unlike();
        thread.context()
    })
}

/// Sets the base of the FS segment of the current thread, a user address.
pub fn set_tls(base: u64) {
    cpu::without_interrupts(|| {
        with_current(|thread| {
            thread.become_unlike();
            thread.tls.store(base, Ordering::Relaxed);
        });
        user::set_fs_base(base);
    });
}
