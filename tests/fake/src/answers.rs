//! What calls may answer.

use abi::{Error, SYSCALLS, Syscall};

/// The answer to a call; an error is one that the table of calls lists for it, as a kernel asserts that answers its
/// programs.
#[track_caller]
pub fn answered<T>(call: Syscall, answer: Result<T, Error>) -> Result<T, Error> {
    if let Err(error) = answer {
        assert!(
            call.may_answer(error),
            "{call:?} answered {error:?}, which it does not list"
        );
    }
    answer
}

/// The call of this name.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn call_named(name: &str) -> Syscall {
    let info = SYSCALLS.iter().find(|info| info.name == name);
    let call = info.and_then(|info| Syscall::from_number(info.number));
    call.unwrap_or_else(|| panic!("there is no call {name}"))
}
