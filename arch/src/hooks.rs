//! What the platform asks of the kernel: one table of functions.

use core::sync::atomic::{AtomicPtr, Ordering};

use crate::syscall::SyscallFrame;
use crate::trap::TrapFrame;

/// Where the CPU was when it was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a user program.
    User,
    /// In the kernel.
    Kernel,
}

/// A page fault (SDM 3A 4.7).
#[derive(Clone, Copy, Debug)]
pub struct PageFault {
    /// The address whose access faulted. It may be anything if `origin` is the user; else a user address.
    pub address: u64,
    /// The instruction that faulted.
    pub rip: u64,
    /// The access was a write.
    pub write: bool,
    /// The access was an instruction fetch.
    pub execute: bool,
    /// The page was present: rights were violated, or the TLB was stale.
    pub present: bool,
    /// A user program, or the kernel's copy to or from user memory.
    pub origin: Origin,
}

/// What became of a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The access can be tried again.
    Resolved,
    /// It can't: the program is at fault, or the copy fails.
    Unresolved,
}

/// An exception that a user program caused.
#[derive(Clone, Copy, Debug)]
pub struct UserFault<'a> {
    /// The program's registers.
    pub frame: &'a TrapFrame,
    /// The address of a page fault, else 0.
    pub address: u64,
}

/// The kernel's side. Unless said otherwise a hook runs in the context of the interrupted thread, on its kernel stack.
#[derive(Debug)]
pub struct Hooks {
    /// A system call. Interrupts are on; it may switch contexts.
    pub syscall: extern "C" fn(&mut SyscallFrame),
    /// A page fault in user mode, or in a user copy. Interrupts are on, unless the copy ran with them off; it may
    /// switch contexts if they are.
    pub page_fault: fn(&PageFault) -> Resolution,
    /// A user program did what it may not. Interrupts are on. Never goes back to it.
    pub user_fault: fn(&UserFault) -> !,
    /// The one-shot timer of this CPU went off. Interrupts are off; no context switch.
    pub timer: fn(Origin),
    /// Somebody sent the shootdown IPI. Interrupts are off; no context switch, no access to user memory.
    pub shootdown: fn(),
    /// Work was requested for this CPU and it is about to return to user mode. Interrupts are off; it may turn them
    /// on, and it may switch contexts. The request was cleared before the call; one made meanwhile calls it again.
    pub before_user_return: fn(),
    /// Another CPU panics and this one halts for ever after it. In an NMI, on its stack: no locks, no output.
    pub panic_stop: fn(),
}

static DEFAULT: Hooks = Hooks {
    syscall: no_syscall,
    page_fault: |_| Resolution::Unresolved,
    user_fault: |fault| panic!("user fault without a kernel: {fault:?}"),
    timer: |_| {},
    shootdown: || {},
    before_user_return: || {},
    panic_stop: || {},
};

extern "C" fn no_syscall(frame: &mut SyscallFrame) {
    panic!("system call without a kernel: {frame:?}");
}

static HOOKS: AtomicPtr<Hooks> = AtomicPtr::new((&raw const DEFAULT).cast_mut());

/// The system call hook once more, for the entry stub to call through.
pub(crate) static SYSCALL: AtomicPtr<()> = AtomicPtr::new(no_syscall as *mut ());

/// Installs the kernel's table, before interrupts are on and before there is a user program.
pub fn install(hooks: &'static Hooks) {
    HOOKS.store((&raw const *hooks).cast_mut(), Ordering::Release);
    SYSCALL.store(hooks.syscall as *mut (), Ordering::Release);
}

pub(crate) fn hooks() -> &'static Hooks {
    // SAFETY: only references to static tables are stored, and they are never written through.
    unsafe { &*HOOKS.load(Ordering::Acquire) }
}
