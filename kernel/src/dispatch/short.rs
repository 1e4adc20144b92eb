//! The short ways of the calls that go from hand to hand ([`ipc::Ipc::call_again`]), with interrupts off from the
//! entry on. With what is in the way the handlers of all calls deal.
//!
//! Who leaves for the other thread keeps its program's registers on its stack and nothing else. Who comes back finds
//! what it was sent in its own cell, and is in its program two dozen instructions later.

#[cfg(sabotage)]
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::return_from_syscall;
use ipc::{Domain, NEXT_REPLY, WaitCell};

use super::*;
use crate::machine::Kernel;
use crate::sched::{Alike, Resume};
use crate::stats::AtOnce;

/// The registers of a program that a function keeps.
macro_rules! push_kept {
    () => {
        "push rbp\n push rbx\n push r12\n push r13\n push r14\n push r15"
    };
}

macro_rules! pop_kept {
    () => {
        "pop r15\n pop r14\n pop r13\n pop r12\n pop rbx\n pop rbp"
    };
}

/// Leaves for what is not as simple, behind the comparison of how the wait ended.
#[cfg(not(sabotage))]
macro_rules! unless_met {
    () => {
        "jne 2f"
    };
}

#[cfg(sabotage)]
macro_rules! unless_met {
    () => {
        "je 3f\n cmp byte ptr [rip + EVERY_CALL_HAS_MET], 0\n je 2f\n 3:"
    };
}

#[cfg(sabotage)]
#[unsafe(no_mangle)]
static EVERY_CALL_HAS_MET: AtomicBool = AtomicBool::new(false);

/// The same where a thread has to be told why it goes on.
#[cfg(not(sabotage))]
macro_rules! unless_idle {
    () => {
        "jne 2f"
    };
}

#[cfg(sabotage)]
macro_rules! unless_idle {
    () => {
        "je 4f\n cmp byte ptr [rip + TIME_OUT_IS_LEFT], 0\n je 2f\n 4:"
    };
}

#[cfg(sabotage)]
#[unsafe(no_mangle)]
static TIME_OUT_IS_LEFT: AtomicBool = AtomicBool::new(false);

/// Makes the name of a right to reply in `r8` that of the next one.
#[cfg(not(sabotage))]
macro_rules! to_next_name {
    () => {
        "add r8, {next}"
    };
}

#[cfg(sabotage)]
macro_rules! to_next_name {
    () => {
        "add r8, {next}\n sub r8, [rip + NAMES_BACK]"
    };
}

/// How much of that is taken back.
#[cfg(sabotage)]
#[unsafe(no_mangle)]
static NAMES_BACK: AtomicU64 = AtomicU64::new(0);

/// Bytes of them, and of the address in the entry that is above them; then comes the frame.
const KEPT: usize = 7 * size_of::<u64>();

/// A handler that does the first half of a call, and has put those registers where the second half expects them.
macro_rules! first_half {
    ($first:ident) => {
        naked_asm!(
            push_kept!(),
            "mov [rdi + {stack}], rsp",
            // A word that aligns the stack.
            "sub rsp, 8",
            "call {first}",
            "add rsp, 8",
            pop_kept!(),
            "ret",
            stack = const Thread::STACK as isize - Thread::PROCESS as isize,
            first = sym $first,
        )
    };
}

/// Where a thread goes on that left between the halves: `first` is done in any case, `registers` are those that its program finds something else in
/// than the four words, with the frame behind `rsp` and the cell's thread in `rdi`. What is not as simple is for the
/// function of the second half.
macro_rules! second_half {
    ($second:ident, [$($first:expr),*] [$($registers:expr),*] $($name:ident = $value:expr),*) => {
        naked_asm!(
            "mov rdi, gs:[{thread}]",
            $($first,)*
            "cmp byte ptr [rdi + {outcome}], {met}",
            unless_met!(),
            "cmp byte ptr gs:[{work}], 0",
            "jne 2f",
            pop_kept!(),
            $($registers,)*
            "add rsp, {kept}",
            "mov r10, [rdi + {words} + 24]",
            "mov rdx, [rdi + {words} + 16]",
            "mov rsi, [rdi + {words} + 8]",
            "mov rdi, [rdi + {words}]",
            "xor eax, eax",
            return_from_syscall!(),
            "2: lea rdi, [rsp + {frame}]",
            "sub rsp, 8",
            "call {second}",
            "add rsp, 8",
            pop_kept!(),
            "ret",
            thread = const cpu::KERNEL_WORD,
            work = const cpu::USER_RETURN_WORK,
            outcome = const Thread::WAIT + WaitCell::<Kernel>::OUTCOME,
            met = const WaitCell::<Kernel>::MET,
            words = const WORDS,
            kept = const size_of::<u64>() + SyscallFrame::RETURN,
            frame = const KEPT,
            second = sym $second,
            $($name = const $value,)*
        )
    };
}

/// Where a thread has the words that it is sent.
const WORDS: usize = Thread::WAIT + WaitCell::<Kernel>::WORDS;

/// A [`ShortHandler`].
#[unsafe(naked)]
pub unsafe extern "C" fn channel_call_words(_: &Arc<Process>, _: &mut SyscallFrame) {
    first_half!(call)
}

extern "C" fn call(process: &Arc<Process>, frame: &mut SyscallFrame) {
    let [.., deadline] = frame.arguments();
    #[cfg(sabotage)]
    {
        EVERY_CALL_HAS_MET.store(mm::sabotaged!("every_call_has_met"), Ordering::Relaxed);
        TIME_OUT_IS_LEFT.store(mm::sabotaged!("time_out_is_left"), Ordering::Relaxed);
    }
    if deadline == FOREVER {
        hand_over::<ForEver>(process, frame);
    } else {
        call_until(process, frame);
    }
}

/// The same until a time.
#[inline(never)]
fn call_until(process: &Arc<Process>, frame: &mut SyscallFrame) {
    let [.., deadline] = frame.arguments();
    if sched::can_go_over_until(deadline) {
        hand_over::<Until>(process, frame);
    } else {
        decode::channel_call_words(process, frame);
    }
}

/// How long a call waits. Each way has a copy of all the code behind it.
trait Lasting {
    /// Where its second half begins.
    const RESUME: Resume;
    fn deadline(frame: &SyscallFrame) -> u64;
}

struct ForEver;

impl Lasting for ForEver {
    const RESUME: Resume = on_called;

    #[inline(always)]
    fn deadline(_: &SyscallFrame) -> u64 {
        FOREVER
    }
}

struct Until;

impl Lasting for Until {
    const RESUME: Resume = on_called_in_time;

    #[inline(always)]
    fn deadline(frame: &SyscallFrame) -> u64 {
        let [.., deadline] = frame.arguments();
        deadline
    }
}

#[inline(always)]
fn hand_over<L: Lasting>(process: &Arc<Process>, frame: &mut SyscallFrame) {
    let [end, ..] = frame.arguments();
    let deadline = L::deadline(frame);
    let words = || {
        let [_, a, b, c, d, _] = frame.arguments();
        [a, b, c, d]
    };
    let end = Handle::from_bits(end);
    match ipc().call_again(process.domain(), end, words, Alike::of) {
        None => decode::channel_call_words(process, frame),
        Some(alike) => {
            // SAFETY: `first_half` has noted the stack that `RESUME` expects, and nothing here is to be dropped.
            unsafe { sched::go_over(alike, deadline, L::RESUME, AtOnce::Call) };
            called(frame);
        }
    }
}

#[unsafe(naked)]
unsafe extern "C" fn on_called() {
    second_half!(called, [] ["xor r8d, r8d", "xor r9d, r9d"])
}

/// The same until a time. A time-out that an answer has overtaken is not to end the next sleep.
#[unsafe(naked)]
unsafe extern "C" fn on_called_in_time() {
    second_half!(
        called,
        [
            "mov qword ptr [rdi + {deadline}], -1",
            "cmp dword ptr [rdi + {state}], 0",
            unless_idle!()
        ]
        ["xor r8d, r8d", "xor r9d, r9d"]
        deadline = Thread::DEADLINE,
        state = Thread::STATE
    )
}

extern "C" fn called(frame: &mut SyscallFrame) {
    let [end, .., deadline] = frame.arguments();
    if deadline != FOREVER {
        sched::use_up_time_out();
    }
    conclude(frame, |domain| {
        let words = ipc().called_again(domain, Handle::from_bits(end), deadline)?;
        let none = Words::default();
        Ok(Words { words, ..none })
    });
}

/// As above.
#[unsafe(naked)]
pub unsafe extern "C" fn channel_serve_words(_: &Arc<Process>, _: &mut SyscallFrame) {
    first_half!(serve)
}

extern "C" fn serve(process: &Arc<Process>, frame: &mut SyscallFrame) {
    let [end, reply, ..] = frame.arguments();
    #[cfg(sabotage)]
    if mm::sabotaged!("short_way_tells_no_next_name") {
        NAMES_BACK.store(NEXT_REPLY, Ordering::Relaxed);
    }
    let words = || {
        let [_, _, a, b, c, d] = frame.arguments();
        [a, b, c, d]
    };
    let by = (Handle::from_bits(end), Handle::from_bits(reply));
    match ipc().answer_again(process.domain(), by, words, Alike::of) {
        None => decode::channel_serve_words(process, frame),
        Some(alike) => {
            // SAFETY: as of a call.
            unsafe { sched::go_over(alike, FOREVER, on_served, AtOnce::Answer) };
            served(frame);
        }
    }
}

#[unsafe(naked)]
unsafe extern "C" fn on_served() {
    second_half!(
        served,
        []
        [
            "mov r8, [rsp + {reply}]",
            to_next_name!(),
            "mov r9, [rdi + {words} + 32]"
        ]
        reply = size_of::<u64>() + SyscallFrame::RSI,
        next = NEXT_REPLY
    )
}

extern "C" fn served(frame: &mut SyscallFrame) {
    let [end, reply, ..] = frame.arguments();
    let by = (Handle::from_bits(end), Handle::from_bits(reply));
    conclude(frame, |domain| ipc().answered_again(domain, by));
}

/// Does what is left of a call by the current thread, which may take long.
#[cold]
fn conclude(
    frame: &mut SyscallFrame,
    finish: impl FnOnce(&Domain<Kernel>) -> Result<Words, Error>,
) {
    cpu::enable_interrupts();
    sched::with_current(|thread| {
        let Some(process) = thread.process() else {
            return;
        };
        match finish(process.domain()) {
            Ok(came) => answer(frame, came),
            Err(error) => refuse(Some(process), frame, error),
        }
    });
}
