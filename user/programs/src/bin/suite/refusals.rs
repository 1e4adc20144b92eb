//! What a call that is refused leaves behind: nothing.

use abi::SyscallInfo;
use rt::{Error, Message, Notification, Resources};

use crate::calls::raw;

/// Handles for which there is room before anything is counted.
const ROOM: usize = 200;
/// How long what a refused call had begun may take to be gone.
const SETTLE_MS: u64 = 1000;

/// What a call that is refused has to leave as it is: what exists, and what all accounts are charged with, handles
/// included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    objects: u64,
    processes: u32,
    charged: Resources,
}

impl State {
    fn now() -> State {
        let info = done!(rt::system_info(), "system_info");
        State {
            objects: info.objects,
            processes: info.processes,
            charged: info.charged,
        }
    }

    /// Waits until everything is so again; what it is at last.
    fn settled(self) -> State {
        let deadline = rt::in_ms(SETTLE_MS);
        loop {
            let now = State::now();
            if now == self || rt::now_ns() > deadline {
                return now;
            }
            // A process that was begun ends by itself.
            let _ = rt::sleep_until(rt::now_ns() + 100_000);
        }
    }
}

/// Makes calls, and watches what those that are refused leave.
pub struct Watch {
    before: State,
}

impl Watch {
    /// With room for handles, and the right to reply that a thread makes at its first call: both stay.
    pub fn new() -> Watch {
        let made = (0..ROOM).map(|_| done!(Notification::create(), "a notification"));
        drop(made.collect::<alloc::vec::Vec<_>>());
        let (caller, other) = done!(rt::channel(1), "a channel");
        drop(other);
        let called = caller.call(&mut Message::new(&[]), rt::now_ns());
        check!(called.is_err(), "an answer from nobody");
        drop(caller);
        Watch {
            before: State::now(),
        }
    }

    /// Calls, and looks at the answer and at what it left: an error has to be one that the table documents. A process
    /// that an earlier call began may end on another CPU meanwhile; then the call is tried once more.
    pub fn call(&mut self, info: &SyscallInfo, arguments: [u64; 6]) -> Result<u64, Error> {
        loop {
            let before = self.before;
            let answer = documented(info, arguments);
            self.before = State::now();
            if answer.is_ok() || self.before == before {
                return answer;
            }
            self.before = before.settled();
            if self.before == before {
                return answer;
            }
            check!(
                self.before.processes < before.processes,
                "{}({arguments:x?}) answered {answer:?}, and {before:?} became {:?}",
                info.name,
                self.before
            );
        }
    }
}

/// Calls and looks at the answer: it has to be one that the table documents.
pub fn documented(info: &SyscallInfo, arguments: [u64; 6]) -> Result<u64, Error> {
    let answer = raw(info.number, arguments);
    if let Err(error) = answer {
        let documented =
            info.errors.contains(&error) || error == Error::Invalid || error == Error::Unsupported;
        check!(
            documented,
            "{}({arguments:x?}) answered {error}, which its documentation lacks",
            info.name
        );
    }
    answer
}
