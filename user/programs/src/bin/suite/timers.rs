//! Timers: when they go off, for how long, and what they leave to programs.

mod clocks;

use alloc::vec::Vec;

use abi::limits::MIN_TIMER_PERIOD;
use rt::{
    ChannelEnd, Env, Error, FOREVER, Handle, Mode, Notification, Rights, Timer, in_ms, now_ns,
};

use crate::Case;
use crate::calls::{cap_derive, cap_drop, cap_revoke};
use crate::check::{SOON_MS, succeeds};

pub use clocks::another_clock;

const MS: u64 = 1_000_000;

fn notification() -> Notification {
    done!(Notification::create(), "a notification")
}

fn timer(notification: &Notification, bits: u64) -> Timer {
    done!(Timer::create(notification, bits), "a timer")
}

fn polled(notification: &Notification) -> u64 {
    done!(notification.poll(), "polling")
}

/// Waits for bits that should come soon.
fn waited(notification: &Notification) -> u64 {
    done!(notification.wait(in_ms(SOON_MS)), "waiting for a timer")
}

/// Lets time pass in which nothing is to happen.
fn silence(notification: &Notification, ms: u64) {
    refused!(
        notification.wait(in_ms(ms)),
        Error::TimedOut,
        "waiting for a timer that should be silent"
    );
}

pub fn once(_: &Case) {
    let notification = notification();
    let timer = timer(&notification, 5);
    let time = in_ms(3);
    done!(timer.set(time), "setting it");
    same!(polled(&notification), 0, "bits before the time");
    same!(waited(&notification), 5, "bits at the time");
    check!(now_ns() >= time, "it went off too early");
    silence(&notification, 10);
}

pub fn past(_: &Case) {
    let notification = notification();
    let timer = timer(&notification, 1);
    for past in [0, 1, now_ns()] {
        done!(timer.set(past), "setting it");
        same!(polled(&notification), 1, "bits right after it was set");
    }
    // A period goes on from there.
    let begin = now_ns();
    done!(timer.set_periodic(begin, 2 * MS), "setting it");
    same!(polled(&notification), 1, "bits right after it was set");
    same!(waited(&notification), 1, "bits one period later");
    check!(now_ns() >= begin + 2 * MS, "the period was too short");
}

pub fn periodic(_: &Case) {
    const PERIOD: u64 = MS;
    let notification = notification();
    let timer = timer(&notification, 1);
    let begin = now_ns();
    done!(timer.set_periodic(begin + PERIOD, PERIOD), "setting it");
    for turn in 1..=30 {
        same!(waited(&notification), 1, "bits");
        check!(now_ns() >= begin + turn * PERIOD, "turn {turn} came early");
    }
    // Thirty periods took thirty periods: it did not wait for anybody.
    check!(now_ns() < begin + 60 * PERIOD, "it drifts");
    // Nobody listens for many periods: one bit, and the rhythm goes on.
    while now_ns() < begin + 50 * PERIOD {
        crate::check::spin_a_while();
    }
    same!(polled(&notification), 1, "bits of what was missed");
    let messages = |notification: &Notification| {
        done!(rt::object_info(notification.handle()), "facts").messages
    };
    done!(timer.stop(), "stopping it");
    let told = messages(&notification);
    polled(&notification);
    silence(&notification, 5);
    same!(
        messages(&notification),
        told,
        "signals after it was stopped"
    );
}

pub fn anew(_: &Case) {
    let notification = notification();
    let timer = timer(&notification, 1);
    done!(timer.set(in_ms(2)), "setting it");
    done!(timer.set(in_ms(60_000)), "setting it later");
    silence(&notification, 6);
    done!(timer.set(in_ms(2)), "setting it earlier");
    same!(waited(&notification), 1, "bits");
    done!(timer.set_periodic(in_ms(2), FOREVER), "an endless period");
    same!(waited(&notification), 1, "bits");
    silence(&notification, 5);
}

pub fn dropped(_: &Case) {
    let notification = notification();
    let periodic = timer(&notification, 1);
    done!(periodic.set_periodic(0, MIN_TIMER_PERIOD), "setting it");
    same!(waited(&notification), 1, "bits");
    drop(periodic);
    polled(&notification);
    silence(&notification, 5);
    // The other way round: there is nobody to tell any more.
    let orphan = timer(&notification, 1);
    done!(orphan.set_periodic(0, MIN_TIMER_PERIOD), "setting it");
    drop(notification);
    rt::sleep_until(in_ms(5)).unwrap_or_default();
    done!(orphan.set(0), "setting it without a notification");
}

pub fn authority(_: &Case) {
    let notification = notification();
    let own = notification.handle();
    let timer_of = |handle: Handle| {
        let derived = Notification::from_handle(handle);
        let timer = timer(&derived, 1);
        // The handle is given back by what this case tries.
        derived.into_handle();
        done!(timer.set_periodic(0, MIN_TIMER_PERIOD), "setting it");
        same!(waited(&notification), 1, "bits");
        timer
    };
    let derive = || done!(cap_derive(own, Rights::SIGNAL), "deriving");
    let derived = derive();
    let revoked = timer_of(derived);
    same!(
        done!(cap_revoke(own), "revoking"),
        1,
        "capabilities revoked"
    );
    polled(&notification);
    silence(&notification, 5);
    done!(revoked.set(0), "setting it without authority");
    same!(polled(&notification), 0, "bits without authority");
    done!(cap_drop(derived), "dropping what was revoked");
    let derived = derive();
    let _dropped = timer_of(derived);
    done!(cap_drop(derived), "dropping the capability");
    polled(&notification);
    silence(&notification, 5);
}

pub fn thousand(_: &Case) {
    const TIMERS: u64 = 1000;
    let notification = notification();
    let timers: Vec<Timer> = (0..TIMERS)
        .map(|index| timer(&notification, 1 << (index % 63)))
        .collect();
    let begin = in_ms(5);
    for (index, timer) in (0..).zip(&timers) {
        // Neither in order nor all apart.
        let time = begin + index * 7919 % TIMERS / 2 * 10_000;
        done!(timer.set(time), "setting timer {index}");
    }
    let limit = in_ms(SOON_MS);
    let mut seen = 0;
    let told = loop {
        seen |= notification.wait(in_ms(10)).unwrap_or(0);
        let told = done!(rt::object_info(notification.handle()), "facts").messages;
        if told >= TIMERS || now_ns() > limit {
            break told;
        }
    };
    same!((told, seen), (TIMERS, (1 << 63) - 1), "what went off");
    for timer in &timers {
        done!(timer.set(FOREVER - 1), "setting it for long");
    }
}

pub fn crowd(_: &Case) {
    const TIMERS: usize = 500;
    let notification = notification();
    let timers: Vec<Timer> = (0..TIMERS).map(|_| timer(&notification, 1)).collect();
    let work = || {
        let begin = now_ns();
        for _ in 0..2_000_000 {
            core::hint::black_box(());
        }
        now_ns() - begin
    };
    let alone = work();
    for timer in &timers {
        done!(timer.set_periodic(0, MIN_TIMER_PERIOD), "setting it");
    }
    let crowded = work();
    drop(timers);
    check!(
        crowded < 4 * alone,
        "{TIMERS} timers of 100 us leave too little: {crowded} ns instead of {alone}"
    );
}

pub fn elsewhere(case: &Case) {
    let notification = notification();
    let timer = timer(&notification, 2);
    let cpus = done!(rt::system_info(), "system_info").cpus;
    let child = case
        .child("set-timer")
        .handle(timer.handle(), Mode::Share, Rights::MANAGE)
        .cpus(if cpus > 1 { 1 << 1 } else { 0 });
    let child = done!(child.start(), "a child");
    same!(waited(&notification), 2, "bits of a timer of another CPU");
    // It is armed there, and set anew from here.
    done!(timer.set(in_ms(2)), "setting it here");
    same!(waited(&notification), 2, "bits of a timer of this CPU");
    succeeds(&child);
    silence(&notification, 5);
}

pub fn refused(case: &Case) {
    let notification = notification();
    let only = |rights| {
        let handle = done!(cap_derive(notification.handle(), rights), "deriving");
        Notification::from_handle(handle)
    };
    refused!(
        Timer::create(&only(Rights::WAIT), 1),
        Error::Denied,
        "without SIGNAL"
    );
    for bits in [0, 1 << 63, u64::MAX] {
        refused!(
            Timer::create(&notification, bits),
            Error::Invalid,
            "bits {bits:#x}"
        );
    }
    let timer = timer(&notification, 1);
    for period in [1, MIN_TIMER_PERIOD - 1] {
        refused!(
            timer.set_periodic(0, period),
            Error::Range,
            "a period of {period}"
        );
    }
    let inspect = done!(cap_derive(timer.handle(), Rights::INSPECT), "deriving");
    let inspect = Timer::from_handle(inspect);
    refused!(inspect.set(0), Error::Denied, "without MANAGE");
    let wrong = Notification::from_handle(case.image);
    refused!(
        Timer::create(&wrong, 1),
        Error::WrongKind,
        "a timer of an image"
    );
    wrong.into_handle();
    same!(polled(&notification), 0, "bits after all that");
}

pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "set-timer" => {}
        "look_at_clocks" => {
            clocks::look(env.handle(0), &ChannelEnd::from_handle(env.handle(1)));
            return Some(0);
        }
        _ => return None,
    }
    let timer = Timer::from_handle(env.handle(0));
    done!(timer.set(in_ms(2)), "setting it");
    // For long, so that the parent takes it off this CPU.
    rt::sleep_until(in_ms(6)).unwrap_or_default();
    Some(0)
}
