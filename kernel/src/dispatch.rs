//! From the registers of a system call to its handler, generated from the one table. A call
//! without a handler does not compile.

use alloc::sync::Arc;

#[allow(clippy::wildcard_imports)] // The types of the table.
use abi::*;
use abi::{Argument, Error, Syscall, for_each_syscall};
use arch::syscall::SyscallFrame;

use crate::process::Process;
use crate::{calls, heap, sched, stats};

/// The hook of system calls.
pub extern "C" fn syscall(frame: &mut SyscallFrame) {
    stats::count_syscall();
    let result = sched::with_current(|thread| match thread.process() {
        Some(process) => {
            process.count_syscall();
            invoke(process, frame)
        }
        None => abi::encode(Err(Error::Unsupported)),
    });
    frame.set_result(result);
}

macro_rules! invoke {
    (() $(
        $(#[$doc:meta])*
        $number:literal $variant:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty,
        rights [$($right:ident),*], errors [$($error:ident),*];
    )*) => {
        fn invoke(process: &Arc<Process>, frame: &SyscallFrame) -> u64 {
            let Some(call) = Syscall::from_number(frame.number()) else {
                return abi::encode(Err(Error::Unsupported));
            };
            match call {
                $(Syscall::$variant => decode::$name(process, frame),)*
            }
        }

        /// A function for each call, so that each keeps only the registers that it needs.
        mod decode {
            #[allow(clippy::wildcard_imports)]
            use super::*;

            $(#[inline(never)]
            pub fn $name(process: &Arc<Process>, frame: &SyscallFrame) -> u64 {
                let handle = || {
                    if const { allocates(Syscall::$variant) } {
                        heap::ensure().map_err(|_| Error::NoMemory)?;
                    }
                    let [$($arg,)* ..] = frame.arguments();
                    $(let $arg = <$ty as Argument>::from_raw($arg)?;)*
                    calls::$name(process, $($arg),*).map(Argument::into_raw)
                };
                abi::encode(handle())
            })*
        }
    };
}

for_each_syscall!(invoke);

/// Whether a call may take memory from the kernel heap.
const fn allocates(call: Syscall) -> bool {
    matches!(
        call,
        Syscall::ProcessSpawn
            | Syscall::ProcessWait
            | Syscall::RegionCreate
            | Syscall::ImageCreate
            | Syscall::Map
            | Syscall::CapDerive
            | Syscall::Grant
            | Syscall::Accept
            | Syscall::RingCreate
            | Syscall::RingMap
            | Syscall::DebugWrite
    )
}
