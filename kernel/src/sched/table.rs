//! The threads that were started, by their slots, and the one that runs on each CPU.

#![allow(unsafe_code)] // References that the table keeps, without counting each use.

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use abi::limits::{MAX_CPUS, MAX_THREADS};
use arch::{context, cpu};

use crate::thread::Thread;

/// What `Arc::into_raw` gave for each thread that was started and has not left; else null.
static STARTED: [AtomicPtr<Thread>; MAX_THREADS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_THREADS];

/// The idle thread of each CPU.
static IDLE: [AtomicPtr<Thread>; MAX_CPUS] = [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];

/// What left each CPU for good last, until somebody there drops it.
static DEPARTED: [AtomicPtr<Thread>; MAX_CPUS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];

/// Keeps a thread from its start on.
pub fn keep(thread: &Arc<Thread>) {
    if let Some(slot) = thread.slot() {
        let kept = Arc::into_raw(thread.clone()).cast_mut();
        STARTED[usize::from(slot)].store(kept, Ordering::Release);
    }
}

/// The thread of a slot that is in a list or a queue of this CPU.
#[inline(always)]
pub fn at(slot: u16) -> &'static Thread {
    let thread = STARTED[usize::from(slot)].load(Ordering::Acquire);
    debug_assert!(!thread.is_null(), "slot {slot} is empty");
    // SAFETY: a thread is in lists between its start and its leaving, and the table keeps it for
    // that long. Whoever uses the reference longer is the thread itself, or holds one of its own.
    unsafe { &*thread }
}

/// The idle thread of a CPU.
#[inline(always)]
pub fn idle(cpu: usize) -> &'static Thread {
    // SAFETY: `set_idle` put it there before the CPUs were let run, for ever.
    unsafe { &*IDLE[cpu].load(Ordering::Acquire) }
}

/// Sets the idle thread of a CPU, once.
pub fn set_idle(cpu: usize, idle: Arc<Thread>) {
    IDLE[cpu].store(Arc::into_raw(idle).cast_mut(), Ordering::Release);
}

/// Makes the idle thread of this CPU what runs here. With interrupts off.
pub fn adopt_idle() {
    let idle = idle(cpu::current());
    cpu::set_kernel_word(ptr::from_ref(idle).cast_mut().cast());
    // SAFETY: it is what runs here, and it stays for ever.
    unsafe { context::set_current(idle.context()) };
}

/// The current thread leaves for good: another one here drops it, since a CPU still runs on its
/// stack. With interrupts off.
pub fn give_up(thread: &Thread) {
    drop_departed();
    if let Some(slot) = thread.slot() {
        cpu::request_user_return_work();
        let kept = STARTED[usize::from(slot)].swap(ptr::null_mut(), Ordering::AcqRel);
        DEPARTED[cpu::current()].store(kept, Ordering::Relaxed);
    }
}

/// Drops what left this CPU for good. With interrupts off.
#[inline]
pub fn drop_departed() {
    let departed = &DEPARTED[cpu::current()];
    let thread = departed.load(Ordering::Relaxed);
    if !thread.is_null() {
        departed.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: `give_up` took it out of the table, and it runs nowhere any more.
        drop(unsafe { Arc::from_raw(thread) });
    }
}

/// The thread that runs.
pub fn current() -> Arc<Thread> {
    with_current(held)
}

/// The thread that runs, for as long as it has this on its stack.
pub struct Current {
    thread: &'static Thread,
    /// It stays with its thread.
    _here: PhantomData<*const ()>,
}

impl Current {
    /// The thread that runs this.
    #[inline(always)]
    pub fn get() -> Current {
        let thread = cpu::kernel_word().cast::<Thread>();
        Current {
            // SAFETY: the switch put it there. The table keeps a thread while it runs, and what is on
            // its stack is used by nobody else.
            thread: unsafe { &*thread },
            _here: PhantomData,
        }
    }
}

impl Current {
    /// The same where it is at hand.
    #[inline(always)]
    pub fn is(thread: &Arc<Thread>) -> Current {
        debug_assert!(ptr::eq(Arc::as_ptr(thread), cpu::kernel_word().cast()));
        Current {
            // SAFETY: as in `get`, since it is that one.
            thread: unsafe { &*Arc::as_ptr(thread) },
            _here: PhantomData,
        }
    }
}

impl Deref for Current {
    type Target = Thread;

    #[inline(always)]
    fn deref(&self) -> &Thread {
        self.thread
    }
}

/// A thread that lives on this CPU and sleeps, for as long as interrupts are off.
pub struct Asleep {
    thread: &'static Thread,
    /// It stays with its CPU.
    _here: PhantomData<*const ()>,
}

impl Asleep {
    /// A thread that lives here and waits.
    ///
    /// # Safety
    /// It does, and interrupts are off until this is used for the last time.
    #[inline(always)]
    pub unsafe fn here(thread: &Arc<Thread>) -> Asleep {
        debug_assert_eq!(thread.cpu(), cpu::current());
        Asleep {
            // SAFETY: the caller's: who waits was started and has not left, so the table keeps it. It leaves on its own
            // CPU alone, which is this one, and runs something else until interrupts are on.
            thread: unsafe { &*Arc::as_ptr(thread) },
            _here: PhantomData,
        }
    }

    /// A reference that keeps it.
    pub fn hold(&self) -> Arc<Thread> {
        held(self.thread)
    }
}

impl Deref for Asleep {
    type Target = Thread;

    #[inline(always)]
    fn deref(&self) -> &Thread {
        self.thread
    }
}

/// Counts a reference to a thread that the table keeps.
fn held(thread: &Thread) -> Arc<Thread> {
    let thread = ptr::from_ref(thread);
    // SAFETY: what the table keeps is an `Arc`, and so are the idle threads.
    unsafe {
        Arc::increment_strong_count(thread);
        Arc::from_raw(thread)
    }
}

/// Calls `f` with a reference to the thread that runs, without counting it.
#[inline(always)]
pub fn with_current_ref<R>(f: impl FnOnce(&Arc<Thread>) -> R) -> R {
    with_current(|thread| {
        // SAFETY: as in `current`, for as long as the thread runs; and this is not dropped.
        let thread = ManuallyDrop::new(unsafe { Arc::from_raw(ptr::from_ref(thread)) });
        f(&thread)
    })
}

/// Calls `f` with the thread that runs, without counting a reference.
#[inline(always)]
pub fn with_current<R>(f: impl FnOnce(&Thread) -> R) -> R {
    f(&Current::get())
}
