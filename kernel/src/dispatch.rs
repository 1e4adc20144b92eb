//! From the registers of a system call to its handler, generated from the one table. A call
//! without a handler does not compile.

#![allow(unsafe_code)] // The first step is written in assembler.

mod short;

use alloc::sync::Arc;
use core::arch::naked_asm;

use abi::submission::Operation;
#[allow(clippy::wildcard_imports)] // The types of the table.
use abi::*;
use abi::{Argument, Error, Outcome, Syscall, for_each_syscall};
use arch::cpu;
use arch::syscall::SyscallFrame;

use crate::machine::ipc;
use crate::process::Process;
use crate::thread::Thread;
use crate::{calls, heap, sched, stats};

/// The hook of system calls: counts the call at the thread, and goes on in its handler with the process and
/// the frame. Only threads of processes are in user mode.
#[unsafe(naked)]
pub extern "C" fn syscall(_: u64, frame: &mut SyscallFrame) {
    // A compiler gives each function a frame. The number is in its register still. No number, guessed or not, leads out of the table.
    naked_asm!(
        "mov rdi, gs:[{thread}]",
        "inc qword ptr [rdi + {syscalls}]",
        "add rdi, {process}",
        "cmp rax, {unknown}",
        "cmovae rax, [rip + {last}]",
        "jmp qword ptr [rax * 8 + {handlers}]",
        thread = const cpu::KERNEL_WORD,
        syscalls = const Thread::SYSCALLS,
        process = const Thread::PROCESS,
        unknown = const NUMBERS,
        last = sym LAST,
        handlers = sym HANDLERS,
    )
}

/// The same of what is traced, in which a switch from hand to hand is not left out.
pub fn serve_at_length(frame: &mut SyscallFrame) {
    let number = (frame.number() as usize).min(NUMBERS);
    sched::with_current(|thread| {
        thread.count_syscall();
        if let Some(process) = thread.process() {
            AT_LENGTH[number](process, frame);
        }
    });
}

/// What serves a call. With interrupts off, which it may turn on.
type Handler = extern "C" fn(&Arc<Process>, &mut SyscallFrame);

/// The same that only [`syscall`] may go on in: the process is that in the current thread's own record, and right above
/// on the stack is the address in the entry, then the frame.
type ShortHandler = unsafe extern "C" fn(&Arc<Process>, &mut SyscallFrame);

/// Where the handlers of what is no call are.
static LAST: usize = NUMBERS;

/// Numbers up to that of the last call.
const NUMBERS: usize = match abi::SYSCALLS.last() {
    Some(last) => last.number as usize + 1,
    None => 0,
};

/// No call has this number.
extern "C" fn unknown(_: &Arc<Process>, frame: &mut SyscallFrame) {
    stats::count_unknown_call();
    frame.set_result(abi::encode(Err(Error::Unsupported)));
}

macro_rules! invoke {
    (() $(
        $(#[$doc:meta])*
        $number:literal $variant:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty,
        rights [$($right:ident),*], errors [$($error:ident),*];
    )*) => {
        /// What serves each number in all cases; the last one all that are greater.
        static AT_LENGTH: [Handler; NUMBERS + 1] = {
            let mut handlers = [unknown as Handler; NUMBERS + 1];
            $(handlers[$number] = decode::$name;)*
            handlers
        };

        /// The same with the short ways.
        static HANDLERS: [ShortHandler; NUMBERS + 1] = {
            let mut handlers = [unknown as ShortHandler; NUMBERS + 1];
            $(handlers[$number] = decode::$name;)*
            handlers[Syscall::ChannelCallWords as usize] = short::channel_call_words;
            handlers[Syscall::ChannelServeWords as usize] = short::channel_serve_words;
            handlers
        };

        /// A function for each call, so that each keeps only the registers that it needs.
        mod decode {
            #[allow(clippy::wildcard_imports)]
            use super::*;

            $(#[inline(never)]
            pub extern "C" fn $name(process: &Arc<Process>, frame: &mut SyscallFrame) {
                cpu::enable_interrupts_behind_next();
                const CALL: Syscall = Syscall::$variant;
                const LOOKS_UP: bool = CALL.looks_up();
                const {
                    assert!(!allocates(CALL) || lists(CALL.errors(), Error::NoMemory));
                }
                stats::count_call(CALL as usize);
                let [$($arg,)* ..] = frame.arguments();
                let handle = || {
                    if const { allocates(CALL) } {
                        heap::ensure().map_err(|_| Error::NoMemory)?;
                    }
                    $(let $arg = <$ty as Argument>::from_raw($arg)?;)*
                    let outcome = calls::$name(process, $($arg),*);
                    debug_assert!(
                        outcome.as_ref().err().is_none_or(|error| CALL.may_answer(*error)),
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
                match outcome {
                    Ok(value) => answer::<$ret>(frame, value),
                    Err(error) => {
                        let by_handle =
                            const { begins_with_handle(&[$(<$ty as Argument>::IS_HANDLE),*]) };
                        refuse(by_handle.then_some(process), frame, error);
                    }
                }
            })*
        }
    };
}

for_each_syscall!(invoke);

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

const fn begins_with_handle(arguments: &[bool]) -> bool {
    matches!(arguments, [true, ..])
}

/// Refuses a call, and counts that, at the object that the call was on too if its first argument named one
/// in a process.
#[cold]
#[inline(never)]
fn refuse(process: Option<&Arc<Process>>, frame: &mut SyscallFrame, error: Error) {
    // An entry may be tried again, and is counted by what it comes to.
    if !frame.is_of_call() {
        stats::count_refusal(error);
        if let Some(process) = process {
            let [handle, ..] = frame.arguments();
            ipc().count_refusal(process.domain(), Handle::from_bits(handle), error);
        }
    }
    frame.set_result(abi::encode(Err(error)));
}

/// Makes the call that an entry of a submission ring asks for, by a thread of its process, as the program
/// would have made it: by the same function, and counted as that, but for a refusal. It does not wait: where the
/// call has a deadline, that is 0.
pub fn operate(
    process: &Arc<Process>,
    operation: Operation,
    arguments: [u64; 6],
) -> Result<u64, Error> {
    let mut frame = SyscallFrame::of_call(operation as u64, arguments);
    let handler = AT_LENGTH.get(operation as usize);
    handler.unwrap_or(&(unknown as Handler))(process, &mut frame);
    abi::decode(frame.result())
}

/// Puts the outcome of a call where the program looks for it.
#[inline(always)]
fn answer<T: Outcome>(frame: &mut SyscallFrame, value: T) {
    let (result, further) = value.into_registers();
    if T::IN_REGISTERS {
        frame.set_registers(further);
    }
    frame.set_result(abi::encode(Ok(result)));
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
