//! Threads: a kernel stack, a context, and whether it runs, is ready or sleeps.

#![allow(unsafe_code)] // Contexts are made and handed to the switch as pointers.

use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use abi::limits::{MAX_CPUS, MAX_THREADS};
use abi::trace::EventKind;
use abi::{Error, ProcessState, ThreadInfo};
use arch::context::Context;
use arch::stack::KernelStack;
use ipc::{CallCell, Events, Level, WaitCell};
use mm::{AddressSpace, Charge};

use crate::irq_lock::IrqLock;
use crate::machine::{Kernel, ipc};
use crate::memory;
use crate::process::{Process, Stop};
use crate::sched::Alarm;
use crate::trace;

/// How a thread stands with the scheduler: bits of its state.
pub mod state {
    /// Somebody unparked it while it did not sleep: it does not sleep the next time.
    pub const TOKEN: u32 = 1 << 0;
    /// It sleeps, or is about to: whoever takes this bit away makes it ready.
    pub const PARKED: u32 = 1 << 1;
    /// It has to end.
    pub const ENDING: u32 = 1 << 2;
    /// A time ended its last sleep.
    pub const TIMED_OUT: u32 = 1 << 3;
    /// It was never started.
    pub const NEW: u32 = 1 << 4;
}

/// How a thread begins in its program.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// Its first instruction; 0 of one that serves the others, and never leaves the kernel.
    pub entry: u64,
    /// Its stack pointer.
    pub stack: u64,
    /// What it finds in `rdi`.
    pub argument: u64,
}

/// What is asked of a new thread.
pub struct Wanted {
    /// The CPU that it will live on.
    pub cpu: usize,
    /// How urgent it is.
    pub priority: u8,
    /// The base of its FS segment.
    pub tls: u64,
    /// What pays for it, unless its process does.
    pub charge: Option<Charge>,
}

/// Something that a CPU executes.
pub struct Thread {
    /// [`state`]; changed by whoever it concerns with compare-and-swap.
    pub(crate) state: AtomicU32,
    /// The CPU that it lives on; what it competes at, which changes under the lock of the CPU's queue; and a number
    /// that no other thread has, if it is [unlike](Thread::become_unlike) others.
    seat: AtomicU32,
    /// What it is to have of its slice when it goes on, in ns; 0 for all. By its own CPU.
    pub(crate) slice_left_ns: AtomicU64,
    /// The space that is loaded while it runs; null for none. By its own CPU.
    pub(crate) space: AtomicPtr<AddressSpace>,
    /// The base of its FS segment. By its own CPU.
    pub(crate) tls: AtomicU64,
    /// What it waits with.
    pub wait: WaitCell<Kernel>,
    /// What it keeps for its calls.
    pub calls: CallCell<Kernel>,
    /// What ends its sleeps at a time.
    pub(crate) alarm: Alarm,
    /// Who waits for its end.
    pub events: Events<Kernel>,
    /// The fault that it has stopped at.
    pub(crate) stop: IrqLock<Option<Stop>>,
    /// Missing for the idle thread.
    process: Option<Arc<Process>>,
    /// Counted by the thread itself, on its way in.
    syscalls: AtomicU64,
    faults: AtomicU64,
    /// What its creator or its process asked for.
    priority: AtomicU8,
    ended: AtomicBool,
    koid: u64,
    place: Option<Place>,
    /// Missing for the first thread of a process, of which the process knows it.
    beginning: Option<Beginning>,
    context: UnsafeCell<Context>,
    /// Missing for the idle thread of a CPU, which runs on its boot stack.
    _stack: Option<KernelStack>,
    _charge: Option<Charge>,
    /// The trace that it told its name last.
    pub introduced: AtomicU32,
}

// SAFETY: the context is touched only by the CPU that the thread lives on, with interrupts off,
// in a switch. Everything else is atomic, or does not change.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

impl Thread {
    /// Where the entry of system calls finds its process, which every thread has that can make one.
    pub const PROCESS: usize = offset_of!(Thread, process);

    /// Where the entry notes what is kept of its stack by who leaves for another one at once.
    pub const STACK: usize = offset_of!(Thread, context) + Context::STACK;

    /// Where the way back to a program finds what it waited with.
    pub const WAIT: usize = offset_of!(Thread, wait);

    /// Where it has until when it sleeps.
    pub const DEADLINE: usize = offset_of!(Thread, alarm) + Alarm::DEADLINE;

    /// Where it has its [`state`].
    pub const STATE: usize = offset_of!(Thread, state);

    /// Where the entry counts them.
    pub const SYSCALLS: usize = offset_of!(Thread, syscalls);

    /// Changes its state if it is exactly this one.
    #[inline(always)]
    pub(crate) fn exchange_state(&self, from: u32, to: u32) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// A thread of a process that will begin at `entry` in the kernel when it is started. `Limit`:
    /// there are too many.
    pub fn new(
        process: Arc<Process>,
        wanted: Wanted,
        entry: extern "C" fn(usize) -> !,
        beginning: Option<Beginning>,
    ) -> Result<Arc<Thread>, Error> {
        let place = Place::take().ok_or(Error::Limit)?;
        let stack = KernelStack::allocate(&mut memory::stack_frame).map_err(|_| Error::NoMemory)?;
        // SAFETY: the stack is this thread's for as long as the thread exists.
        let context = unsafe { Context::new(stack.top(), entry, 0) };
        let space = Arc::as_ptr(process.domain().space()).cast_mut();
        let thread = Thread {
            state: AtomicU32::new(state::NEW),
            seat: AtomicU32::new(seat(wanted.cpu, wanted.priority)),
            slice_left_ns: AtomicU64::new(0),
            space: AtomicPtr::new(space),
            tls: AtomicU64::new(wanted.tls),
            wait: WaitCell::new(),
            calls: CallCell::new(),
            alarm: Alarm::new(),
            events: Events::new(),
            stop: IrqLock::new(None),
            process: Some(process),
            syscalls: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            priority: AtomicU8::new(wanted.priority),
            ended: AtomicBool::new(false),
            koid: ipc().memory().next_koid(),
            place: Some(place),
            beginning,
            context: UnsafeCell::new(context),
            _stack: Some(stack),
            _charge: wanted.charge,
            introduced: AtomicU32::new(0),
        };
        if wanted.tls != 0 {
            thread.become_unlike();
        }
        Ok(mm::shared(thread))
    }

    /// The thread that a CPU runs when it has nothing to do: what runs there now. It never goes to
    /// user mode, so nothing enters the kernel on its stack from there.
    pub fn idle(cpu: usize) -> Arc<Thread> {
        mm::shared(Thread {
            state: AtomicU32::new(0),
            seat: AtomicU32::new(seat(cpu, 0)),
            slice_left_ns: AtomicU64::new(0),
            space: AtomicPtr::default(),
            tls: AtomicU64::new(0),
            wait: WaitCell::new(),
            calls: CallCell::new(),
            alarm: Alarm::none(),
            events: Events::new(),
            stop: IrqLock::new(None),
            process: None,
            syscalls: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            priority: AtomicU8::new(0),
            ended: AtomicBool::new(false),
            koid: 0,
            place: None,
            beginning: None,
            context: UnsafeCell::new(Context::adopt(0)),
            _stack: None,
            _charge: None,
            introduced: AtomicU32::new(0),
        })
    }

    /// For the switch.
    #[inline(always)]
    pub fn context(&self) -> *mut Context {
        self.context.get()
    }

    /// The process; the idle thread has none.
    #[inline(always)]
    pub fn process(&self) -> Option<&Arc<Process>> {
        self.process.as_ref()
    }

    /// The CPU that it lives on.
    #[inline(always)]
    pub fn cpu(&self) -> usize {
        (self.seat() >> CPU_SHIFT) as usize % MAX_CPUS
    }

    /// What it competes at.
    #[inline(always)]
    pub fn level(&self) -> u8 {
        self.seat() as u8
    }

    /// Changes what it competes at. Under the lock of its CPU's queue.
    pub fn set_level(&self, level: u8) {
        let changed = |seat| Some(seat & !LEVEL | u32::from(level));
        let order = Ordering::Relaxed;
        let _ = self.seat.fetch_update(order, order, changed);
    }

    /// From now on more than a stack and a space is to be switched for it: its seat is that of no other.
    pub fn become_unlike(&self) {
        let number = self.slot().map_or(0, |slot| u32::from(slot) + 1);
        if !mm::sabotaged!("who_is_unlike_has_the_seat_of_others") {
            self.seat
                .fetch_or(number << UNLIKE_SHIFT, Ordering::Relaxed);
        }
    }

    /// Equal of two threads that live on one CPU, compete at one level, and never had an FS base or used the extended
    /// registers.
    #[inline(always)]
    pub fn seat(&self) -> u32 {
        self.seat.load(Ordering::Relaxed)
    }

    /// Its number, never used twice.
    pub fn koid(&self) -> u64 {
        self.koid
    }

    /// How it begins in its program, if its process does not say so.
    pub fn beginning(&self) -> Option<Beginning> {
        self.beginning
    }

    /// Whether it executes nothing of its program, but serves the threads that do.
    pub fn is_server(&self) -> bool {
        self.beginning.is_some_and(|beginning| beginning.entry == 0)
    }

    /// Its place among all threads; the idle thread has none.
    #[inline(always)]
    pub fn slot(&self) -> Option<u16> {
        self.place.as_ref().map(|place| place.0)
    }

    /// Whether it was never started.
    pub fn is_new(&self) -> bool {
        self.state.load(Ordering::Relaxed) & state::NEW != 0
    }

    /// Whether it has to end before it executes another instruction of its program.
    #[inline(always)]
    pub fn is_ending(&self) -> bool {
        self.state.load(Ordering::Acquire) & state::ENDING != 0
    }

    /// Whether it sleeps, or is about to.
    pub fn is_parked(&self) -> bool {
        self.state.load(Ordering::Relaxed) & state::PARKED != 0
    }

    /// Whether it executes nothing of its program any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// How urgent it is asked to be.
    pub fn priority(&self) -> u8 {
        self.priority.load(Ordering::Relaxed)
    }

    /// Notes what it is asked to be; [`set_priority`](crate::sched::set_priority) makes it so.
    pub fn set_priority(&self, priority: u8) {
        self.priority.store(priority, Ordering::Relaxed);
    }

    /// Says that it executes nothing of its program any more, and tells who waits for that.
    pub fn set_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
        if trace::is_on() {
            trace::record(EventKind::End, 0, [self.koid, 0, 0, 0, 0, 0]);
        }
        ipc().fire_unlocked(&self.events, abi::Events::ENDED, 0);
    }

    /// Which events hold for it.
    pub fn event_level(&self) -> Level {
        match self.ended.load(Ordering::SeqCst) {
            true => Level::of(abi::Events::ENDED),
            false => Level::NONE,
        }
    }

    /// Counts a system call, as the entry does. Only the thread itself does.
    pub fn count_syscall(&self) {
        let count = self.syscalls.load(Ordering::Relaxed);
        self.syscalls
            .store(count.wrapping_add(1), Ordering::Relaxed);
    }

    /// Counts a fault. Only the thread itself does.
    #[inline(always)]
    pub fn count_fault(&self) {
        let count = self.faults.load(Ordering::Relaxed);
        self.faults.store(count.wrapping_add(1), Ordering::Relaxed);
    }

    /// System calls and faults so far.
    pub fn counts(&self) -> [u64; 2] {
        [&self.syscalls, &self.faults].map(|count| count.load(Ordering::Relaxed))
    }

    /// Facts about it.
    pub fn info(&self) -> ThreadInfo {
        let [syscalls, faults] = self.counts();
        let process = self.process();
        let status = process.and_then(|process| process.status());
        let state = match status {
            Some(status) => status.state,
            None if self.ended.load(Ordering::Acquire) => ProcessState::Exited as u32,
            None => ProcessState::Running as u32,
        };
        ThreadInfo {
            koid: self.koid,
            process: process.map_or(0, |process| process.domain().koid()),
            syscalls,
            faults,
            state,
            cpu: self.cpu() as u32,
            priority: self.priority().into(),
            reserved: 0,
        }
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("koid", &self.koid)
            .field("cpu", &self.cpu())
            .finish_non_exhaustive()
    }
}

/// Of a seat: the level, then the CPU, then the number of who is unlike others.
const LEVEL: u32 = (1 << CPU_SHIFT) - 1;
const CPU_SHIFT: u32 = 8;
const UNLIKE_SHIFT: u32 = 16;
const _: () = assert!(MAX_CPUS <= 1 << (UNLIKE_SHIFT - CPU_SHIFT) && MAX_THREADS < 1 << 16);

const fn seat(cpu: usize, level: u8) -> u32 {
    (cpu as u32) << CPU_SHIFT | level as u32
}

/// The slot of one of the threads that may exist.
#[derive(Debug)]
struct Place(u16);

/// A bit for each slot that is taken.
static PLACES: [AtomicU64; MAX_THREADS / 64] = [const { AtomicU64::new(0) }; MAX_THREADS / 64];

impl Place {
    fn take() -> Option<Place> {
        for (index, word) in PLACES.iter().enumerate() {
            let taken = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken != u64::MAX).then(|| taken | 1 << taken.trailing_ones())
            });
            if let Ok(before) = taken {
                let slot = index as u32 * 64 + before.trailing_ones();
                return Some(Place(slot as u16));
            }
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (word, bit) = (usize::from(self.0) / 64, self.0 % 64);
        PLACES[word].fetch_and(!(1 << bit), Ordering::Relaxed);
    }
}
