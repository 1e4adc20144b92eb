//! What the platform asks of the kernel: one table of functions.

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::context::Context;
use crate::syscall::SyscallFrame;
use crate::trap_frame::TrapFrame;

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
#[repr(C)]
pub struct PageFault {
    /// The address whose access faulted. It may be anything if the origin is the user; else a user address.
    pub address: u64,
    pub(crate) error_code: u64,
}

impl PageFault {
    /// The page was present: rights were violated, or the TLB was stale.
    #[inline]
    pub fn is_present(self) -> bool {
        self.error_code & 1 != 0
    }

    /// What the CPU says of it (SDM 3A 4.7).
    #[inline]
    pub fn error_code(self) -> u64 {
        self.error_code
    }

    /// The access was a write.
    #[inline]
    pub fn is_write(self) -> bool {
        self.error_code & 2 != 0
    }

    /// The access was an instruction fetch.
    #[inline]
    pub fn is_fetch(self) -> bool {
        self.error_code & 16 != 0
    }

    /// A user program, or the kernel's copy to or from user memory.
    #[inline]
    pub fn origin(self) -> Origin {
        if self.error_code & 4 != 0 {
            Origin::User
        } else {
            Origin::Kernel
        }
    }
}

/// What became of a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Resolution {
    /// The access can be tried again.
    Resolved = 0,
    /// It can't: the program is at fault, or the copy fails.
    Unresolved = 1,
}

/// An exception that a user program caused.
#[derive(Debug)]
pub struct UserFault<'a> {
    /// The program's registers: it goes on with them if the hook returns. Of what the CPU loads from them
    /// only `rip` may be changed, to a user address.
    pub frame: &'a mut TrapFrame,
    /// The address of a page fault, else 0.
    pub address: u64,
}

/// The kernel's side. Unless said otherwise a hook runs in the context of the interrupted thread, on its kernel stack.
#[derive(Debug)]
pub struct Hooks {
    /// A system call: its first argument, and all of its registers; the number is in `rax`, too. Interrupts are off; it
    /// may turn them on, and leave them so, and it may switch contexts.
    pub syscall: extern "C" fn(u64, &mut SyscallFrame),
    /// A page fault in user mode, or in a user copy. Interrupts are on, unless the copy ran with them off; it may
    /// switch contexts if they are.
    pub page_fault: extern "C" fn(PageFault) -> Resolution,
    /// A user program did what it may not. Interrupts are on; it may switch contexts. If it returns, the program
    /// goes on.
    pub user_fault: fn(&mut UserFault<'_>),
    /// The program that runs uses the x87 and SSE registers for the first time. The context that runs, which is one from
    /// now on that [`leave_for`](crate::context::leave_for) does not take; null: there is none. Interrupts are off;
    /// no context switch.
    pub extended_state: fn() -> *mut Context,
    /// The one-shot timer of this CPU went off. Interrupts are off; no context switch.
    pub timer: fn(Origin),
    /// An interrupt came at this vector, which is not the platform's own: of those in
    /// [`apic::device_vectors`](crate::apic::device_vectors) when a device was told so, else for no reason.
    /// Interrupts are off; no context switch, no access to user memory.
    pub device: fn(u8),
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
    page_fault: no_page_fault,
    user_fault: |fault| panic!("user fault without a kernel: {fault:?}"),
    extended_state: ptr::null_mut,
    timer: |_| {},
    device: |_| {},
    shootdown: || {},
    before_user_return: || {},
    panic_stop: || {},
};

extern "C" fn no_syscall(_: u64, frame: &mut SyscallFrame) {
    panic!("system call without a kernel: {frame:?}");
}

extern "C" fn no_page_fault(_: PageFault) -> Resolution {
    Resolution::Unresolved
}

static HOOKS: AtomicPtr<Hooks> = AtomicPtr::new((&raw const DEFAULT).cast_mut());

/// The system call hook once more, for the entry stub to call through.
pub(crate) static SYSCALL: AtomicPtr<()> = AtomicPtr::new(no_syscall as *mut ());

/// The same of page faults.
pub(crate) static PAGE_FAULT: AtomicPtr<()> = AtomicPtr::new(no_page_fault as *mut ());

/// Installs the kernel's table: first before interrupts are on and before there is a user program. Another may take its
/// place at any time; each CPU calls it from its next entry on.
pub fn install(hooks: &'static Hooks) {
    HOOKS.store((&raw const *hooks).cast_mut(), Ordering::Release);
    SYSCALL.store(hooks.syscall as *mut (), Ordering::Release);
    PAGE_FAULT.store(hooks.page_fault as *mut (), Ordering::Release);
}

pub(crate) fn hooks() -> &'static Hooks {
    // SAFETY: only references to static tables are stored, and they are never written through.
    unsafe { &*HOOKS.load(Ordering::Acquire) }
}
