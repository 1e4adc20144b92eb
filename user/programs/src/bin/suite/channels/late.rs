//! Answers that come when the time of their call has come, and nobody has told the caller yet.

use rt::{FOREVER, Notification, Timer, channel};

use crate::Case;
use crate::halves::{is_answered, punctual};
use crate::threads::{HERE, join, spawn};

pub fn overtaken(_: &Case) {
    const TURNS: u64 = 40;
    /// When an answer begins; how much before that its call ends; and when the caller is woken from its next sleep.
    const ANSWERED_NS: u64 = 20_000;
    const EARLIER_NS: u64 = 2_000;
    const WOKEN_NS: u64 = 20_000;
    let (here, there) = done!(channel(4), "a channel");
    let server = punctual(there);
    let caller = spawn(HERE, move || {
        let notification = done!(Notification::create(), "a notification");
        let timer = done!(Timer::create(&notification, 1), "a timer");
        for _ in 0..TURNS {
            // Then they meet again, and the alarm for the time is armed.
            (0..2).for_each(|_| check!(is_answered(&here, 0, FOREVER), "for ever is over"));
            let answered_ns = rt::now_ns() + ANSWERED_NS;
            let deadline_ns = answered_ns - EARLIER_NS;
            let _ = is_answered(&here, 0, deadline_ns);
            // The server does not leave its program for a caller whose time has come.
            let _ = is_answered(&here, answered_ns, deadline_ns);
            done!(timer.set(rt::now_ns() + WOKEN_NS), "a signal");
            same!(notification.wait(FOREVER), Ok(1), "what waits for ever");
        }
    });
    join(caller);
    join(server);
}
