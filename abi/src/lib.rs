//! The contract between Handover's kernel and its programs.
//!
//! One declarative table, [`for_each_syscall!`], is the only place where a system call is written
//! down. The numbers, the stubs of `rt`, the dispatcher of the kernel, `docs/abi.md` and the C
//! header come from it. Everything else here is a value that crosses the boundary: handles,
//! tokens, rights, errors, and structures of fixed layout.
//!
//! Calling convention: `syscall` with the number in `rax` and up to six arguments in `rdi`, `rsi`,
//! `rdx`, `r10`, `r8`, `r9`. `rax` returns a result (≥ 0) or minus an [`Error`]. `rcx` and `r11`
//! are lost, every other register is kept, but for the calls that return [`Words`]: those use the
//! registers of the arguments for their answer. Deadlines are absolute nanoseconds of the monotonic
//! clock; 0 means "do not wait", `u64::MAX` "for ever".

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "render")]
extern crate alloc;

mod argument;
pub mod cost;
mod device;
mod error;
mod handle;
pub mod hub;
#[doc(hidden)]
pub mod impossible;
pub mod limits;
mod message;
mod process;
#[cfg(feature = "render")]
pub mod render;
mod rights;
pub mod ring;
mod ring_call;
pub mod statistics;
pub mod submission;
mod table;
mod thread;
pub mod trace;
mod types;

pub use argument::{Argument, Outcome, UserPtr};
pub use device::{CachePolicy, InterruptInfo, ResourceInfo};
pub use error::{Blame, Error};
pub use handle::{Handle, ObjectKind, Token};
pub use hub::{HubGeometry, HubGuestEnds, HubHandles, HubInfo, HubPeers, HubSeat, HubSignal};
pub use message::{ChannelEnds, ChannelInfo, Message, Words};
pub use process::{ProcessInfo, ProcessState, ProcessStatus, SpawnArgs, StartInfo};
pub use rights::{
    BindFlags, DeriveFlags, Events, GrantFlags, MapFlags, Mode, RegionFlags, RevokeFlags, Rights,
    SnapshotFlags, SpawnFlags,
};
pub use ring_call::{RingClose, RingEnds, RingGeometry, RingInfo, RingShape};
pub use submission::{SubmissionArgs, SubmissionInfo, SubmissionViews};
pub use table::{ArgumentInfo, SYSCALLS, Syscall, SyscallInfo};
pub use thread::{FaultInfo, ThreadArgs, ThreadInfo};
pub use types::*;

/// The version of this contract; [`abi_info`](Syscall::AbiInfo) returns it. It changes whenever
/// a number, a layout or the meaning of a call changes.
pub const VERSION: u64 = 4;

/// A deadline that never comes.
pub const FOREVER: u64 = u64::MAX;

/// Turns the outcome of a call into the value of `rax`.
pub fn encode(outcome: Result<u64, Error>) -> u64 {
    match outcome {
        Ok(value) => value,
        Err(error) => (error as u64).wrapping_neg(),
    }
}

/// Reads the value of `rax` after a call. A number that this version does not know as an error
/// is [`Error::Unsupported`].
pub fn decode(rax: u64) -> Result<u64, Error> {
    if rax >> 63 == 0 {
        return Ok(rax);
    }
    Err(Error::from_code(rax.wrapping_neg()).unwrap_or(Error::Unsupported))
}
