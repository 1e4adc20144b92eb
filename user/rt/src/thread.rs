//! Threads of this process.

use alloc::boxed::Box;
use alloc::sync::Arc;

use abi::limits::PAGE_SIZE;
use abi::{
    Error, Events, FOREVER, Handle, MapFlags, Rights, Syscall, ThreadArgs, ThreadInfo, UserPtr,
};

use crate::{Mapping, Mutex, Region, object_wait, sys};

/// Bytes of a thread's stack, unless it says otherwise. Below it nothing is mapped.
const STACK: u64 = 256 << 10;

/// A thread to be started.
///
/// ```ignore
/// let thread = ThreadSpawn::new().cpus(1 << 1).start(|| compute())?;
/// let result = thread.join()?;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ThreadSpawn {
    stack: u64,
    args: ThreadArgs,
}

impl Default for ThreadSpawn {
    fn default() -> ThreadSpawn {
        ThreadSpawn::new()
    }
}

impl ThreadSpawn {
    /// A thread on any CPU, as urgent as this one.
    pub const fn new() -> ThreadSpawn {
        ThreadSpawn {
            stack: STACK,
            args: ThreadArgs {
                entry: 0,
                stack: 0,
                argument: 0,
                tls: 0,
                cpus: 0,
                priority: 0,
                reserved: 0,
            },
        }
    }

    /// With so many bytes of stack.
    #[must_use]
    pub const fn stack(mut self, bytes: u64) -> ThreadSpawn {
        self.stack = bytes;
        self
    }

    /// On one of these CPUs, a bit each; 0 for every one.
    #[must_use]
    pub const fn cpus(mut self, cpus: u64) -> ThreadSpawn {
        self.args.cpus = cpus;
        self
    }

    /// As urgent as this, 1 to 31, at most what the process may be.
    #[must_use]
    pub const fn priority(mut self, priority: u32) -> ThreadSpawn {
        self.args.priority = priority;
        self
    }

    /// With this base of its FS segment, for code with thread-local variables. Nothing here uses it.
    #[must_use]
    pub const fn tls(mut self, base: u64) -> ThreadSpawn {
        self.args.tls = base;
        self
    }

    /// Starts it. It ends when the function returns, and gives its stack back itself, whether
    /// somebody waits for it or not. When it panics, the process ends.
    pub fn start<T, F>(self, body: F) -> Result<Thread<T>, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let len = (self.stack.max(1))
            .checked_next_multiple_of(PAGE_SIZE)
            .ok_or(Error::TooLarge)?;
        let region = Region::create(len)?;
        // The guard is what a stack that overflows meets.
        let access = Rights::READ | Rights::WRITE;
        let stack = region.map_at(0, access, MapFlags::GUARD)?;
        let top = stack.address() + len;
        let result = Arc::new(Mutex::new(None));
        let start = Box::new(Start {
            stack,
            result: result.clone(),
            body,
        });
        let start = Box::into_raw(start);
        let args = ThreadArgs {
            entry: begin::<T, F> as *const () as u64,
            // As a call would leave it: the place of the return address, of which there is none, is 8
            // bytes below a multiple of 16.
            stack: top - 8,
            argument: start as u64,
            ..self.args
        };
        // SAFETY: the entry, the stack and the argument belong together, and are the thread's alone
        // from now on.
        let spawned = unsafe { sys::thread_spawn(UserPtr::new((&raw const args) as u64)) };
        match spawned {
            Ok(handle) => Ok(Thread { handle, result }),
            Err(error) => {
                // SAFETY: there is no thread that would take it.
                drop(unsafe { Box::from_raw(start) });
                Err(error)
            }
        }
    }
}

/// What a thread finds when it begins.
struct Start<T, F> {
    stack: Mapping,
    result: Arc<Mutex<Option<T>>>,
    body: F,
}

/// The first function of a thread.
extern "C" fn begin<T, F: FnOnce() -> T>(start: *mut Start<T, F>) -> ! {
    // SAFETY: `start` came from a box, for this thread alone.
    let Start {
        stack,
        result,
        body,
    } = *unsafe { Box::from_raw(start) };
    let value = body();
    *result.lock() = Some(value);
    drop(result);
    let base = stack.address();
    core::mem::forget(stack);
    end(base)
}

/// Gives the stack back that it runs on, and ends the thread. From the first of the two calls on there
/// is no stack: nothing may come between them.
fn end(stack: u64) -> ! {
    #[cfg(target_os = "none")]
    // SAFETY: every value on the stack was dropped or is plain, nobody else refers to the stack of
    // this thread, and neither the kernel nor these instructions use it.
    unsafe {
        core::arch::asm!(
            "syscall",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            exit = const Syscall::ThreadExit as u64,
            in("rax") Syscall::Unmap as u64,
            in("rdi") stack,
            options(noreturn),
        )
    }
    #[cfg(not(target_os = "none"))]
    {
        let _ = (stack, Syscall::ThreadExit, Syscall::Unmap);
        unreachable!("no thread begins here")
    }
}

/// A capability of a thread that was started. Dropping it lets the thread go on by itself.
#[derive(Debug)]
pub struct Thread<T = ()> {
    handle: Handle,
    result: Arc<Mutex<Option<T>>>,
}

impl<T: Send + 'static> Thread<T> {
    /// Starts a thread on any CPU. See [`ThreadSpawn`] for more.
    pub fn spawn<F: FnOnce() -> T + Send + 'static>(body: F) -> Result<Thread<T>, Error> {
        ThreadSpawn::new().start(body)
    }

    /// The handle.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Waits until it has ended, and returns its result.
    pub fn join(self) -> Result<T, Error> {
        self.wait(FOREVER)?;
        // Only a thread that returned from its function has ended: all else ends the process.
        let value = self.result.lock().take();
        value.ok_or(Error::NotFound)
    }

    /// Waits until it has ended.
    pub fn wait(&self, deadline_ns: u64) -> Result<(), Error> {
        object_wait(self.handle, Events::ENDED, deadline_ns).map(|_| ())
    }

    /// Ends its wait, if it waits: it gets `Cancelled`. `NotFound`: it does not wait.
    pub fn cancel_wait(&self) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { sys::wait_cancel(self.handle) }
    }

    /// Makes it as urgent as this, 1 to 31, at most what the process may be.
    pub fn set_priority(&self, priority: u32) -> Result<(), Error> {
        // SAFETY: the call touches no memory.
        unsafe { sys::thread_priority(self.handle, priority) }
    }

    /// Facts about it.
    pub fn info(&self) -> Result<ThreadInfo, Error> {
        let mut info = ThreadInfo::default();
        // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
        unsafe { sys::thread_info(self.handle, UserPtr::new((&raw mut info) as u64)) }?;
        Ok(info)
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        let _ = crate::drop_handle(self.handle);
    }
}

/// Makes the calling thread as urgent as this, 1 to 31, at most what the process may be.
pub fn set_priority(priority: u32) -> Result<(), Error> {
    // SAFETY: the call touches no memory.
    unsafe { sys::thread_priority(Handle::NONE, priority) }
}

/// Sets the base of the FS segment of the calling thread.
///
/// # Safety
/// Code with thread-local variables that this thread runs finds them at the new base.
pub unsafe fn set_tls_base(base: u64) -> Result<(), Error> {
    // SAFETY: the caller's.
    unsafe { sys::thread_tls(base) }
}

/// Lets other threads of this CPU run that are at least as urgent.
pub fn yield_now() {
    // SAFETY: the call touches no memory.
    let _ = unsafe { sys::thread_yield() };
}

/// Sleeps until a time.
pub fn sleep_until(deadline_ns: u64) -> Result<(), Error> {
    // Nobody can signal it.
    match crate::Notification::create()?.wait(deadline_ns) {
        Ok(_) | Err(Error::TimedOut | Error::WouldBlock) => Ok(()),
        Err(error) => Err(error),
    }
}
