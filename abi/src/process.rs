//! Processes: what one is started with, how it stands, and how it ended.

use static_assertions::const_assert_eq;

use crate::{Handle, Resources};

/// What `process_spawn` starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SpawnArgs {
    /// The program: a capability of an image with EXECUTE.
    pub image: Handle,
    /// The address of the name: UTF-8, for people only.
    pub name: u64,
    /// Bytes of the name.
    pub name_len: u64,
    /// The address of the arguments: strings that end with a NUL each.
    pub args: u64,
    /// Bytes of all arguments together.
    pub args_len: u64,
    /// The address of an array of [`HandleTransfer`](crate::HandleTransfer).
    pub handles: u64,
    /// Elements of that array.
    pub handles_len: u64,
    /// The CPUs that it may run on, a bit each, of those that the caller may; 0 means all of them.
    pub cpus: u64,
    /// What its account covers at most, all that it starts included; 0 stands for no limit of its
    /// own. Whatever is charged to it is charged to the account of the caller too.
    pub quota: Resources,
    /// How urgent its threads may be, 1 to 31, at most what the caller's may be; its first thread is.
    /// 0 stands for [`DEFAULT_PRIORITY`](crate::limits::DEFAULT_PRIORITY), or less if the caller may have less.
    pub priority: u32,
    /// [`SpawnFlags`](crate::SpawnFlags).
    pub flags: u32,
}

const_assert_eq!(size_of::<SpawnArgs>(), 96);

/// What a new process finds at the address in `rdi` when it starts. The strings and handles
/// behind it lie in its own stack region; the process may write over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct StartInfo {
    /// [`VERSION`](crate::VERSION) of the kernel.
    pub version: u64,
    /// The address of the arguments: strings that end with a NUL each.
    pub args: u64,
    /// Bytes of all arguments together.
    pub args_len: u64,
    /// The address of an array of [`Handle`], in the order of the spawn.
    pub handles: u64,
    /// Elements of that array.
    pub handles_len: u64,
    /// The lowest address of the image, as it was loaded.
    pub image_base: u64,
}

const_assert_eq!(size_of::<StartInfo>(), 48);

/// How a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProcessState {
    /// It has not ended.
    Running = 0,
    /// It called `exit`.
    Exited = 1,
    /// It did something that the CPU refused.
    Faulted = 2,
    /// Somebody killed it.
    Killed = 3,
}

/// How a process ended, from `process_wait`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessStatus {
    /// The number of a [`ProcessState`].
    pub state: u32,
    /// The status that it passed to `exit`.
    pub status: u32,
    /// The exception that ended it (Intel SDM volume 3, table 6-1).
    pub vector: u32,
    /// The error code of the exception.
    pub error_code: u32,
    /// The address that a page fault was about.
    pub address: u64,
    /// The instruction that faulted.
    pub instruction: u64,
}

const_assert_eq!(size_of::<ProcessStatus>(), 32);

impl ProcessStatus {
    /// The status that it exited with; `None` when it did not exit but was ended.
    pub const fn exited(&self) -> Option<u32> {
        if self.state == ProcessState::Exited as u32 {
            Some(self.status)
        } else {
            None
        }
    }

    /// Whether it exited with status 0.
    pub const fn succeeded(&self) -> bool {
        matches!(self.exited(), Some(0))
    }
}

/// Facts about a process, from `process_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessInfo {
    /// Its number, never used twice.
    pub koid: u64,
    /// System calls that it made.
    pub syscalls: u64,
    /// Faults that it took.
    pub faults: u64,
    /// Live handles.
    pub handles: u64,
    /// Mappings, its image and stack included.
    pub mappings: u64,
    /// The number of a [`ProcessState`].
    pub state: u32,
    /// The CPU that it ran on last.
    pub cpu: u32,
    /// What is charged to its account, with all that was started below it.
    pub used: Resources,
    /// What its account covers at most; 0 stands for no limit of its own.
    pub quota: Resources,
}

const_assert_eq!(size_of::<ProcessInfo>(), 96);
