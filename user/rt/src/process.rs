//! Processes.

use alloc::vec::Vec;

use abi::{
    Error, FaultInfo, Handle, HandleTransfer, Mode, ProcessInfo, ProcessStatus, Resources, Rights,
    SpawnArgs, SpawnFlags, UserPtr,
};

use crate::owned::owned;
use crate::sys;

/// Makes an image of an executable that lies in a region, `len` bytes from `offset` on. The handle
/// is to be given back with [`drop_handle`](crate::drop_handle).
pub fn image_from(region: Handle, offset: u64, len: u64) -> Result<Handle, Error> {
    // SAFETY: the call touches no memory.
    unsafe { sys::image_create(region, offset, len) }
}

/// A process to be started.
#[derive(Debug)]
pub struct Spawn<'a> {
    image: Handle,
    name: &'a str,
    args: Vec<u8>,
    handles: Vec<HandleTransfer>,
    cpus: u64,
    quota: Resources,
    priority: u32,
    flags: SpawnFlags,
}

impl<'a> Spawn<'a> {
    /// A process of an image. The name is for people, and the first argument.
    pub fn new(image: Handle, name: &'a str) -> Spawn<'a> {
        Spawn {
            image,
            name,
            args: Vec::new(),
            handles: Vec::new(),
            cpus: 0,
            quota: Resources::NONE,
            priority: 0,
            flags: SpawnFlags::empty(),
        }
        .arg(name)
    }

    /// One more argument; one that contains a zero byte is several.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Spawn<'a> {
        self.args.extend_from_slice(arg.as_bytes());
        self.args.push(0);
        self
    }

    /// One more handle, handed over by `mode` with at most `rights`.
    #[must_use]
    pub fn handle(mut self, handle: Handle, mode: Mode, rights: Rights) -> Spawn<'a> {
        self.handles.push(HandleTransfer::new(handle, mode, rights));
        self
    }

    /// The CPUs that it may run on, a bit each; 0 for every one.
    #[must_use]
    pub fn cpus(mut self, cpus: u64) -> Spawn<'a> {
        self.cpus = cpus;
        self
    }

    /// What it may have at most, all that it starts included; 0 stands for no limit of its own.
    #[must_use]
    pub fn quota(mut self, quota: Resources) -> Spawn<'a> {
        self.quota = quota;
        self
    }

    /// How urgent its threads may be, 1 to 31; its first one is.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Spawn<'a> {
        self.priority = priority;
        self
    }

    /// Does not let it run before it is resumed.
    #[must_use]
    pub fn stopped(mut self) -> Spawn<'a> {
        self.flags |= SpawnFlags::STOPPED;
        self
    }

    /// Starts it. When it is refused, every handle is still this process's.
    pub fn start(self) -> Result<Process, Error> {
        let name = &self.name.as_bytes()[..self.name.len().min(abi::limits::MAX_NAME as usize)];
        let args = SpawnArgs {
            image: self.image,
            name: name.as_ptr() as u64,
            name_len: name.len() as u64,
            args: self.args.as_ptr() as u64,
            args_len: self.args.len() as u64,
            handles: self.handles.as_ptr() as u64,
            handles_len: self.handles.len() as u64,
            cpus: self.cpus,
            quota: self.quota,
            priority: self.priority,
            flags: self.flags.bits(),
        };
        // SAFETY: the pointers lead to what lives during the call, which only reads.
        let handle = unsafe { sys::process_spawn(UserPtr::new((&raw const args) as u64)) }?;
        Ok(Process { handle })
    }
}

/// A capability of a process. Dropping it does not end the process.
#[derive(Debug)]
pub struct Process {
    handle: Handle,
}

owned!(Process, Process);

impl Process {
    /// Waits until it has ended, or until a time, and tells how.
    pub fn wait(&self, deadline_ns: u64) -> Result<ProcessStatus, Error> {
        let mut status = ProcessStatus::default();
        let pointer = UserPtr::new((&raw mut status) as u64);
        // SAFETY: the pointer leads to `status`, which the kernel fills in during the call.
        unsafe { sys::process_wait(self.handle, deadline_ns, pointer) }?;
        Ok(status)
    }

    /// Ends it.
    pub fn kill(&self) -> Result<(), Error> {
        // SAFETY: the call touches no memory of this process.
        unsafe { sys::process_kill(self.handle) }
    }

    /// Facts about it.
    pub fn info(&self) -> Result<ProcessInfo, Error> {
        let mut info = ProcessInfo::default();
        let pointer = UserPtr::new((&raw mut info) as u64);
        // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
        unsafe { sys::process_info(self.handle, pointer) }?;
        Ok(info)
    }

    /// Lets a thread go on that was stopped, by its number: where it stopped, or at `instruction` if
    /// that is not 0. 0 stands for the first thread that has stopped, also of a process that was spawned so. Needs MANAGE.
    pub fn resume(&self, thread: u64, instruction: u64) -> Result<(), Error> {
        // SAFETY: the call touches no memory of this process.
        unsafe { sys::process_resume(self.handle, thread, instruction) }
    }

    /// Why a thread has stopped at a fault, by its number. `NotFound`: it has not. Needs INSPECT.
    pub fn fault(&self, thread: u64) -> Result<FaultInfo, Error> {
        let mut info = FaultInfo::default();
        let pointer = UserPtr::new((&raw mut info) as u64);
        // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
        unsafe { sys::process_fault(self.handle, thread, pointer) }?;
        Ok(info)
    }

    /// Has it end when its threads have entered the kernel so many times more; 0 takes that back. Needs
    /// DESTROY.
    pub fn set_fuse(&self, entries: u64) -> Result<(), Error> {
        // SAFETY: the call touches no memory of this process.
        unsafe { sys::process_fuse(self.handle, entries) }
    }
}
