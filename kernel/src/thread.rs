//! Threads: a kernel stack, a context, and whether it runs, is ready or sleeps.

#![allow(unsafe_code)] // Contexts are made and handed to the switch as pointers.

use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::Error;
use arch::context::Context;
use arch::stack::KernelStack;
use ipc::alarms::Place;
use ipc::{CallCell, Events, Level, Parked, WaitCell};

use crate::irq_lock::IrqLock;
use crate::machine::{Kernel, ipc};
use crate::memory;
use crate::process::Process;

/// Whether a thread sleeps, and what ends its sleep.
#[derive(Debug)]
pub struct Sleep {
    /// It sleeps, or is about to.
    pub parked: bool,
    /// Somebody unparked it before it slept.
    pub token: bool,
    /// For its alarm, while that is not armed.
    pub place: Option<Place<Arc<Thread>>>,
    /// Why it was woken.
    pub reason: Parked,
}

/// Something that a CPU executes.
pub struct Thread {
    context: UnsafeCell<Context>,
    /// Missing for the idle thread of a CPU, which runs on its boot stack.
    _stack: Option<KernelStack>,
    /// Missing for the idle thread.
    process: Option<Arc<Process>>,
    /// The CPU that it lives on.
    cpu: usize,
    pub sleep: IrqLock<Sleep>,
    /// What it waits with.
    pub wait: WaitCell<Kernel>,
    /// What it keeps for its calls.
    pub calls: CallCell<Kernel>,
    /// Who waits for its end.
    pub events: Events<Kernel>,
    ending: AtomicBool,
    ended: AtomicBool,
}

// SAFETY: the context is touched only by the CPU that the thread lives on, with interrupts off,
// in a switch.
unsafe impl Send for Thread {}
// SAFETY: as above; everything else is atomic or locked.
unsafe impl Sync for Thread {}

impl Thread {
    /// A thread of a process that will begin at `entry` with its own address as the argument.
    pub fn new(
        process: Arc<Process>,
        cpu: usize,
        entry: extern "C" fn(usize) -> !,
    ) -> Result<Arc<Thread>, Error> {
        let stack = KernelStack::allocate(&mut memory::stack_frame).map_err(|_| Error::NoMemory)?;
        let top = stack.top();
        // SAFETY: the stack is this thread's for as long as the thread exists.
        let context = unsafe { Context::new(top, entry, 0) };
        Ok(Arc::new(Thread::build(
            context,
            Some(stack),
            Some(process),
            cpu,
        )))
    }

    /// The thread that a CPU runs when it has nothing to do: what runs there now. It never goes to
    /// user mode, so nothing enters the kernel on its stack from there.
    pub fn idle(cpu: usize) -> Arc<Thread> {
        Arc::new(Thread::build(Context::adopt(0), None, None, cpu))
    }

    fn build(
        context: Context,
        stack: Option<KernelStack>,
        process: Option<Arc<Process>>,
        cpu: usize,
    ) -> Thread {
        Thread {
            context: UnsafeCell::new(context),
            _stack: stack,
            process,
            cpu,
            sleep: IrqLock::new(Sleep {
                parked: false,
                token: false,
                place: Some(Place::new()),
                reason: Parked::Unparked,
            }),
            wait: WaitCell::new(),
            calls: CallCell::new(),
            events: Events::new(),
            ending: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// For the switch.
    pub fn context(&self) -> *mut Context {
        self.context.get()
    }

    /// The process; the idle thread has none.
    pub fn process(&self) -> Option<&Arc<Process>> {
        self.process.as_ref()
    }

    /// The CPU that it lives on.
    pub fn cpu(&self) -> usize {
        self.cpu
    }

    /// Whether it has to end before it executes another instruction of its program.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Makes it end, once.
    pub fn set_ending(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Says that it executes nothing of its program any more, and tells who waits for that.
    pub fn set_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
        ipc().fire(&self.events, abi::Events::ENDED, 0);
    }

    /// Which events hold for it.
    pub fn level(&self) -> Level {
        match self.ended.load(Ordering::SeqCst) {
            true => Level::of(abi::Events::ENDED),
            false => Level::NONE,
        }
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("cpu", &self.cpu)
            .finish_non_exhaustive()
    }
}
