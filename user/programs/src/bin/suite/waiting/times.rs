//! Times until which a thread waits: what is left of one that has not come, and who goes on meanwhile.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use rt::{ChannelEnd, Error, FOREVER, Message, Thread, Timer, channel, in_ms, now_ns};

use super::notification;
use crate::Case;
use crate::check::SOON_MS;
use crate::threads::{HERE, join, spawn};

/// Answers messages until the caller's end is gone, with something done before each answer; it waits as long as it is
/// told.
fn server(
    end: ChannelEnd,
    deadline: impl Fn() -> u64 + Send + 'static,
    mut before: impl FnMut() + Send + 'static,
) -> Thread<()> {
    spawn(HERE, move || {
        let mut reply = None;
        loop {
            let answer = &mut Message::new(b"there");
            match end.reply_and_receive(&mut reply, answer, deadline()) {
                Ok(mut next) => reply = next.take_reply(),
                Err(Error::PeerClosed) => return,
                Err(error) => check!(false, "serving: {error}"),
            }
            before();
        }
    })
}

/// Waits for an answer, which comes before the time that is so far away; returns that time.
fn woken_before(end: &ChannelEnd, ms: u64) -> u64 {
    loop {
        let deadline = in_ms(ms);
        match end.call(&mut Message::new(b"here"), deadline) {
            Ok(_) => return deadline,
            error => refused!(error, Error::TimedOut, "a call"),
        }
    }
}

pub fn left_over(_: &Case) {
    let (here, there) = done!(channel(4), "a channel");
    let server = server(there, || FOREVER, || ());
    let sleeper = spawn(HERE, move || {
        let notification = notification();
        let timer = done!(Timer::create(&notification, 1), "a timer");
        let until = |time, what| {
            refused!(notification.wait(time), Error::TimedOut, "{what}");
            check!(now_ns() >= time, "{what} ended too early");
        };
        // What never comes is noticed.
        done!(timer.set(in_ms(SOON_MS / 2)), "patience");
        let soon = woken_before(&here, 1);
        until(soon + 1_000_000, "a later time");
        woken_before(&here, 1000 * SOON_MS);
        until(in_ms(1), "an earlier time");
        woken_before(&here, 1);
        done!(timer.set(in_ms(3)), "a signal");
        same!(notification.wait(FOREVER), Ok(1), "no time");
        // One is left when it ends.
        woken_before(&here, 1);
    });
    join(sleeper);
    join(server);
    done!(rt::sleep_until(in_ms(3)), "sleeping");
}

/// Who went on first: who was woken by who went to sleep, or who was ready before.
static FIRST: AtomicU64 = AtomicU64::new(0);
const WOKEN: u64 = 1;
const READY: u64 = 2;

fn goes_on(who: u64) {
    let order = Ordering::Relaxed;
    let _ = FIRST.compare_exchange(0, who, order, order);
}

/// Whether calls and answers, whose senders wait as long as they are told, came to the other side at once, though somebody else
/// was ready: in any of some rounds each.
fn direct(deadline: fn() -> u64) -> [bool; 2] {
    const ROUNDS: u64 = 24;
    let (here, there) = done!(channel(4), "a channel");
    let [ready, gone_on] = [(); 2].map(|()| Arc::new(notification()));
    let begin = {
        let ready = ready.clone();
        move || {
            FIRST.store(0, Ordering::Relaxed);
            done!(ready.signal(1), "a signal");
        }
    };
    let told = gone_on.clone();
    let other = spawn(HERE, move || {
        (0..2 * ROUNDS).for_each(|_| {
            done!(ready.wait(FOREVER), "waiting");
            goes_on(READY);
            done!(gone_on.signal(1), "a signal");
        });
    });
    let (begin_here, mut calls) = (begin.clone(), 0);
    let server = server(there, deadline, move || {
        calls += 1;
        match calls % 2 {
            1 => goes_on(WOKEN),
            _ => begin(),
        }
    });
    let caller = spawn(HERE, move || {
        let ask = || {
            drop(done!(
                here.call(&mut Message::new(b"here"), deadline()),
                "a call"
            ))
        };
        let round = |round| {
            if round % 2 == 0 {
                begin_here();
                ask();
            } else {
                ask();
                goes_on(WOKEN);
            }
            done!(told.wait(FOREVER), "who was ready");
            FIRST.load(Ordering::Relaxed) == WOKEN
        };
        let rounds: Vec<_> = (0..2 * ROUNDS).map(round).collect();
        [0, 1].map(|way| rounds.iter().skip(way).step_by(2).any(|&first| first))
    });
    let seen = join(caller);
    join(server);
    join(other);
    seen
}

pub fn handed_on(_: &Case) {
    same!(direct(|| FOREVER), [true; 2], "without a time");
    same!(direct(|| in_ms(SOON_MS)), [true; 2], "until a time");
}
