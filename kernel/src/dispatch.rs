//! From the registers of a system call to its handler, generated from the one table. A call
//! without a handler does not compile.

use alloc::sync::Arc;

use abi::submission::Operation;
#[allow(clippy::wildcard_imports)] // The types of the table.
use abi::*;
use abi::{Argument, Error, Outcome, Syscall, for_each_syscall};
use arch::syscall::SyscallFrame;

use crate::machine::ipc;
use crate::process::Process;
use crate::{calls, heap, sched, stats};

/// The hook of system calls.
pub extern "C" fn syscall(frame: &mut SyscallFrame) {
    sched::with_current(|thread| {
        // Only threads of processes are in user mode.
        if let Some(process) = thread.process() {
            thread.count_syscall();
            let number = usize::try_from(frame.number()).unwrap_or(usize::MAX);
            let handler = HANDLERS.get(number).unwrap_or(&(unknown as Handler));
            handler(process, frame);
        }
    });
}

/// What serves a call.
type Handler = fn(&Arc<Process>, &mut SyscallFrame);

/// Numbers up to that of the last call.
const NUMBERS: usize = match abi::SYSCALLS.last() {
    Some(last) => last.number as usize + 1,
    None => 0,
};

/// No call has this number.
fn unknown(_: &Arc<Process>, frame: &mut SyscallFrame) {
    stats::count_unknown_call();
    frame.set_result(abi::encode(Err(Error::Unsupported)));
}

macro_rules! invoke {
    (() $(
        $(#[$doc:meta])*
        $number:literal $variant:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty,
        rights [$($right:ident),*], errors [$($error:ident),*];
    )*) => {
        /// What serves each number.
        static HANDLERS: [Handler; NUMBERS] = {
            let mut handlers = [unknown as Handler; NUMBERS];
            $(handlers[$number] = decode::$name;)*
            handlers
        };

        /// A function for each call, so that each keeps only the registers that it needs.
        mod decode {
            #[allow(clippy::wildcard_imports)]
            use super::*;

            $(#[inline(never)]
            pub fn $name(process: &Arc<Process>, frame: &mut SyscallFrame) {
                const ERRORS: &[Error] = &[$(Error::$error),*];
                const LOOKS_UP: bool =
                    looks_up(Syscall::$variant, &[$(<$ty as Argument>::IS_HANDLE),*]);
                const {
                    assert!(!allocates(Syscall::$variant) || lists(ERRORS, Error::NoMemory));
                }
                stats::count_call(Syscall::$variant);
                let [$($arg,)* ..] = frame.arguments();
                let handle = || {
                    if const { allocates(Syscall::$variant) } {
                        heap::ensure().map_err(|_| Error::NoMemory)?;
                    }
                    $(let $arg = <$ty as Argument>::from_raw($arg)?;)*
                    let outcome = calls::$name(process, $($arg),*);
                    debug_assert!(
                        outcome.as_ref().err().is_none_or(|error| {
                            may_answer(ERRORS, LOOKS_UP, *error)
                        }),
                        "{} answered {:?}, which it does not list",
                        stringify!($name),
                        outcome.as_ref().err(),
                    );
                    outcome
                };
                let outcome = handle();
                if LOOKS_UP && process.domain().has_claims()
                {
                    ipc().settle(process.domain(), outcome.is_ok());
                }
                if let Err(error) = &outcome {
                    let by_handle =
                        const { begins_with_handle(&[$(<$ty as Argument>::IS_HANDLE),*]) };
                    count_refusal(by_handle.then_some(process), frame, *error);
                }
                answer::<$ret>(frame, outcome);
            })*
        }
    };
}

for_each_syscall!(invoke);

/// Whether a call looks a handle up, which may be for one use.
const fn looks_up(call: Syscall, arguments: &[bool]) -> bool {
    // These are about capabilities and not about what they stand for.
    if matches!(call, Syscall::CapDerive | Syscall::CapDrop) {
        return false;
    }
    let mut index = 0;
    while index < arguments.len() {
        if arguments[index] {
            return true;
        }
        index += 1;
    }
    matches!(call, Syscall::ProcessSpawn)
}

/// Whether an error is one of those that a call lists.
const fn lists(errors: &[Error], error: Error) -> bool {
    let mut index = 0;
    while index < errors.len() {
        if errors[index] as u16 == error as u16 {
            return true;
        }
        index += 1;
    }
    false
}

/// Whether a call may answer with an error: one that it lists, or one that any may answer with which
/// uses a capability for one use.
fn may_answer(errors: &[Error], looks_up: bool, error: Error) -> bool {
    let of_one_shot = looks_up && matches!(error, Error::Busy | Error::NoMemory);
    of_one_shot || errors.contains(&error)
}

const fn begins_with_handle(arguments: &[bool]) -> bool {
    matches!(arguments, [true, ..])
}

/// Counts a refusal, and at the object that the call was on if its first argument named one in a process.
#[cold]
#[inline(never)]
fn count_refusal(process: Option<&Arc<Process>>, frame: &SyscallFrame, error: Error) {
    stats::count_refusal(error);
    let Some(process) = process else { return };
    let [handle, ..] = frame.arguments();
    ipc().count_refusal(process.domain(), Handle::from_bits(handle), error);
}

/// Makes the call that an entry of a submission ring asks for, by a thread of its process, as the program
/// would have made it: by the same function, and counted as that. It does not wait: where the call has a
/// deadline, that is 0.
pub fn operate(
    process: &Arc<Process>,
    operation: Operation,
    arguments: [u64; 6],
) -> Result<u64, Error> {
    let mut frame = SyscallFrame::of_call(operation as u64, arguments);
    let handler = HANDLERS.get(operation as usize);
    handler.unwrap_or(&(unknown as Handler))(process, &mut frame);
    abi::decode(frame.result())
}

/// Puts the outcome of a call where the program looks for it.
#[inline(always)]
fn answer<T: Outcome>(frame: &mut SyscallFrame, outcome: Result<T, Error>) {
    let (result, further) = match outcome.map(Outcome::into_registers) {
        Ok((result, further)) => (Ok(result), further),
        Err(error) => (Err(error), [0; 6]),
    };
    if T::IN_REGISTERS && result.is_ok() {
        frame.set_registers(further);
    }
    frame.set_result(abi::encode(result));
}

/// Whether a call may take memory from the kernel heap.
const fn allocates(call: Syscall) -> bool {
    matches!(
        call,
        Syscall::ProcessSpawn
            | Syscall::RegionCreate
            | Syscall::RegionSnapshot
            | Syscall::RegionPin
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
            | Syscall::ThreadSpawn
            | Syscall::CapDeriveWith
            | Syscall::ChannelCreate
            | Syscall::ChannelSend
            | Syscall::ChannelReceive
            | Syscall::ChannelCall
            | Syscall::ChannelReply
            | Syscall::ChannelServe
            | Syscall::NotifyCreate
            | Syscall::PortCreate
            | Syscall::PortBind
            | Syscall::InterruptCreate
            | Syscall::TimerCreate
            | Syscall::TraceStart
            | Syscall::HubCreate
            | Syscall::HubReserve
            | Syscall::HubClaim
            | Syscall::HubConnect
            | Syscall::SubCreate
            | Syscall::SubMap
            | Syscall::SubRegister
            | Syscall::SubSlots
    )
}
