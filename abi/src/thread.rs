//! Threads.

use static_assertions::const_assert_eq;

/// What `thread_spawn` begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadArgs {
    /// Its first instruction.
    pub entry: u64,
    /// Its first stack pointer.
    pub stack: u64,
    /// What it finds in `rdi`.
    pub argument: u64,
    /// The base of its FS segment.
    pub tls: u64,
    /// The CPUs that it may run on, a bit each; 0 means every CPU.
    pub cpus: u64,
    /// How urgent it is, 1 to 31, at most what its process may have; 0 means as its creator.
    pub priority: u32,
    /// 0.
    pub reserved: u32,
}

const_assert_eq!(size_of::<ThreadArgs>(), 48);

/// Facts about a thread, from `thread_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadInfo {
    /// Its number, never used twice.
    pub koid: u64,
    /// The number of its process.
    pub process: u64,
    /// System calls that it made.
    pub syscalls: u64,
    /// Faults that it took.
    pub faults: u64,
    /// The number of a [`ProcessState`](crate::ProcessState).
    pub state: u32,
    /// The CPU that it runs on.
    pub cpu: u32,
    /// How urgent it is.
    pub priority: u32,
    /// 0.
    pub reserved: u32,
}

const_assert_eq!(size_of::<ThreadInfo>(), 48);

/// Why a thread has stopped, from `process_fault`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FaultInfo {
    /// The number of the thread.
    pub thread: u64,
    /// The address that a page fault was about.
    pub address: u64,
    /// The instruction that faulted.
    pub instruction: u64,
    /// The stack pointer.
    pub stack: u64,
    /// The exception (Intel SDM volume 3, table 6-1).
    pub vector: u32,
    /// The error code of the exception.
    pub error_code: u32,
}

const_assert_eq!(size_of::<FaultInfo>(), 40);
