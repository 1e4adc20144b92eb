//! Conversations whose server makes each call of the kernel by itself: with times, and by names that it has made up.

use alloc::vec::Vec;

use rt::{ChannelEnd, Error, FOREVER, Handle, Message, ObjectKind, Reply, channel, sys};

use super::{SOON_NS, TURNS, answer_of, are_more, ask, halves, question, statistics};
use crate::Case;
use crate::check::SOON_MS;
use crate::threads::{HERE, join, spawn};

/// Whether an answer comes too late for its caller, and whether a server waits for no longer than a moment for what
/// follows this turn.
fn is_late(turn: u64) -> bool {
    turn % 5 == 4
}

fn waits_shortly(turn: u64) -> bool {
    turn % 11 == 6
}

/// Answers as [`serve`](super::serve) does, sometimes too late, and waits sometimes with a time. How many of these have come.
fn serve_in_time(end: &ChannelEnd) -> u64 {
    let (mut served, mut timed_out, mut shortly) = (0, 0, false);
    let (mut reply, mut words) = (None::<Reply>, [0; 4]);
    loop {
        let next = match shortly {
            true => {
                let bytes = words.map(u64::to_le_bytes);
                let answer = &mut Message::new(bytes.as_flattened());
                let soon = rt::now_ns() + SOON_NS;
                let next = end.reply_and_receive(&mut reply, answer, soon);
                next.map(|mut next| (next.words(), next.take_reply()))
            }
            false => {
                let right = reply.take().map_or(Handle::NONE, Reply::into_handle);
                let [a, b, c, d] = words;
                // SAFETY: the call touches no memory.
                let next = unsafe { sys::channel_serve_words(end.handle(), right, a, b, c, d) };
                next.map(|next| (Some(next.words), Some(Reply::from_handle(next.reply))))
            }
        };
        match next {
            Ok((asked, right)) => {
                let asked = done!(asked.ok_or(Error::Invalid), "words");
                words = answer_of(asked, served);
                (served, reply) = (served + 1, right);
                let turn = asked[0];
                shortly = waits_shortly(turn);
                if is_late(turn) {
                    done!(rt::sleep_until(rt::now_ns() + 2 * SOON_NS), "sleeping");
                }
            }
            Err(Error::TimedOut) => {
                check!(reply.is_none(), "the right is used up");
                (timed_out, shortly) = (timed_out + 1, false);
            }
            Err(error) => {
                same!(error, Error::PeerClosed, "the end of serving");
                return timed_out;
            }
        }
    }
}

pub fn late(case: &Case) {
    let statistics = statistics(case);
    let before = halves(&statistics);
    let (here, there) = done!(channel(4), "a channel");
    let server = spawn(HERE, move || serve_in_time(&there));
    let caller = spawn(HERE, move || {
        for turn in 0..TURNS {
            if turn > 0 && waits_shortly(turn - 1) {
                done!(rt::sleep_until(rt::now_ns() + 4 * SOON_NS), "sleeping");
            }
            if is_late(turn) {
                let answer = here.call_words(question(1, turn), rt::now_ns() + SOON_NS);
                refused!(answer, Error::TimedOut, "call {turn}");
            } else if turn % 5 == 2 {
                ask(&here, 1, turn, rt::in_ms(SOON_MS));
            } else {
                ask(&here, 1, turn, FOREVER);
            }
        }
    });
    join(caller);
    let short = (0..TURNS).filter(|&turn| waits_shortly(turn)).count() as u64;
    same!(join(server), short, "times that came");
    check!(are_more(before, halves(&statistics)), "no halves");
}

/// Answers as [`serve`](super::serve) does, after it has tried to by names that are not that of the call.
fn serve_by_name(end: &ChannelEnd) {
    let (mut names, mut served) = (Vec::new(), 0);
    let (mut reply, mut words) = (Handle::NONE, [0; 4]);
    let answer = |reply, [a, b, c, d]: [u64; 4]| {
        // SAFETY: the call touches no memory.
        unsafe { sys::channel_serve_words(end.handle(), reply, a, b, c, d) }
    };
    loop {
        match answer(reply, words) {
            Ok(next) => {
                (reply, words) = (next.reply, answer_of(next.words, served));
                served += 1;
            }
            Err(error) => {
                same!(error, Error::PeerClosed, "the end of serving");
                return;
            }
        }
        check!(!names.contains(&reply), "{reply:?} names a second call");
        let later = Handle::new(reply.index(), reply.generation() + 1, ObjectKind::Reply);
        if let Some(&last) = names.last() {
            for other in [last, names[0], later] {
                refused!(answer(other, [7; 4]), Error::BadHandle, "another name");
            }
        }
        names.push(reply);
    }
}

pub fn named(case: &Case) {
    let statistics = statistics(case);
    let before = halves(&statistics);
    let (here, there) = done!(channel(4), "a channel");
    let server = spawn(HERE, move || serve_by_name(&there));
    let caller = spawn(HERE, move || {
        (0..TURNS).for_each(|turn| ask(&here, 1, turn, FOREVER));
    });
    join(caller);
    join(server);
    check!(are_more(before, halves(&statistics)), "no halves");
}
