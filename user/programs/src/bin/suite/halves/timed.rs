//! Conversations whose calls have a time each.

use rt::{ChannelEnd, Error, Thread, channel};

use super::{TURNS, are_more, halves, statistics};
use crate::Case;
use crate::check::SOON_MS;
use crate::threads::{HERE, join, spawn};

fn answer_of(words: [u64; 4]) -> [u64; 4] {
    words.map(|word| !word)
}

/// Answers when the time has come that the first word of a call says.
pub fn punctual(end: ChannelEnd) -> Thread<()> {
    spawn(HERE, move || {
        let ended = end.serve_words(|words, _| {
            while rt::now_ns() < words[0] {}
            answer_of(words)
        });
        same!(ended, Error::PeerClosed, "the end of serving");
    })
}

/// Calls, to be answered at a time; whether it was.
pub fn is_answered(end: &ChannelEnd, at_ns: u64, deadline_ns: u64) -> bool {
    let asked = [at_ns, deadline_ns, 5, 7];
    match end.call_words(asked, deadline_ns) {
        Ok(answer) => {
            same!(answer, answer_of(asked), "the answer");
            true
        }
        error => {
            refused!(error, Error::TimedOut, "a call");
            false
        }
    }
}

pub fn in_time(case: &Case) {
    let statistics = statistics(case);
    let (here, there) = done!(channel(4), "a channel");
    let server = punctual(there);
    let caller = spawn(HERE, move || {
        let before = halves(&statistics);
        for turn in 0..TURNS {
            let answered = is_answered(&here, 0, rt::in_ms(SOON_MS));
            check!(answered, "call {turn} came too late");
            if turn % 5 == 4 {
                check!(!is_answered(&here, 0, rt::now_ns()), "a call in the past");
            }
        }
        check!(are_more(before, halves(&statistics)), "no halves");
    });
    join(caller);
    join(server);
}
