//! From the registers of a system call to its handler, generated from the one table. A call
//! without a handler does not compile.

#[allow(clippy::wildcard_imports)] // The types of the table.
use abi::*;
use abi::{Argument, Error, Syscall, for_each_syscall};
use arch::syscall::SyscallFrame;

use crate::{calls, heap, sched, stats};

/// The hook of system calls.
pub extern "C" fn syscall(frame: &mut SyscallFrame) {
    stats::count_syscall();
    let outcome = invoke(frame.number(), frame.arguments());
    frame.set_result(abi::encode(outcome));
}

macro_rules! invoke {
    (() $(
        $(#[$doc:meta])*
        $number:literal $variant:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty,
        rights [$($right:ident),*], errors [$($error:ident),*];
    )*) => {
        fn invoke(number: u64, registers: [u64; 6]) -> Result<u64, Error> {
            let call = Syscall::from_number(number).ok_or(Error::Unsupported)?;
            if allocates(call) {
                heap::ensure().map_err(|_| Error::NoMemory)?;
            }
            sched::with_current(|thread| {
                let process = thread.process().ok_or(Error::Unsupported)?;
                process.count_syscall();
                #[allow(unused_mut, unused_variables)] // Of calls without arguments.
                let mut registers = registers.into_iter();
                match call {
                    $(Syscall::$variant => {
                        $(let $arg = <$ty as Argument>::from_raw(registers.next().unwrap_or(0))?;)*
                        calls::$name(process, $($arg),*).map(Argument::into_raw)
                    })*
                }
            })
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
            | Syscall::ResourcePart
            | Syscall::RegionDevice
    )
}
