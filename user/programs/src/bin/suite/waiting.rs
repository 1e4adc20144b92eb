//! Waiting: notifications, events and ports, and what ends a wait.

mod ports;
mod times;

use alloc::vec::Vec;

use rt::{
    BindFlags, Env, Error, Events, FOREVER, Handle, Mode, Notification, Port, Process, Rights,
    Thread, in_ms, now_ns, object_info, object_wait, sys,
};

pub use ports::{many_objects, port_modes, port_refused};
pub use times::{handed_on, left_over};

use crate::Case;
use crate::calls::{cap_drop, cap_revoke, ring_wait, small_ring};
use crate::check::{SOON_MS, eventually, exits, other_cpu, succeeds};

/// Times that two processes wake each other.
const ROUND_TRIPS: u64 = 10_000;

const EVERYTHING: Rights = Rights::all();

fn notification() -> Notification {
    done!(Notification::create(), "a notification")
}

fn port() -> Port {
    done!(Port::create(), "a port")
}

fn derive(handle: Handle) -> Handle {
    done!(rt::derive(handle, EVERYTHING), "a capability below")
}

/// Waits until so many have begun to wait at an object.
fn until_waited(handle: Handle, waits: u64) {
    eventually("somebody waits", || {
        done!(object_info(handle), "facts").waits >= waits
    });
}

/// A child on another CPU that gets some handles.
fn start(case: &Case, role: &str, handles: &[Handle]) -> Process {
    let child = case.child(role).cpus(other_cpu());
    let child = handles.iter().fold(child, |child, handle| {
        child.handle(*handle, Mode::Share, EVERYTHING)
    });
    done!(child.start(), "a child")
}

pub fn round_trips(case: &Case) {
    let (there, back) = (notification(), notification());
    let echo = start(case, "waiting.echo", &[there.handle(), back.handle()]);
    for turn in 0..ROUND_TRIPS {
        let bits = turn % 1000 + 1;
        done!(there.signal(bits), "a signal");
        same!(
            done!(back.wait(in_ms(SOON_MS)), "waiting in turn {turn}"),
            bits,
            "what came back in turn {turn}"
        );
    }
    done!(there.signal(1 << 62), "the last signal");
    succeeds(&echo);
    same!(done!(back.poll(), "polling"), 0, "bits that are left");
}

fn echo(env: &Env) {
    let there = Notification::from_handle(env.handle(0));
    let back = Notification::from_handle(env.handle(1));
    loop {
        let bits = done!(there.wait(FOREVER), "waiting");
        if bits == 1 << 62 {
            return;
        }
        done!(back.signal(bits), "a signal");
    }
}

pub fn deadlines(_: &Case) {
    let notification = notification();
    let port = port();
    let (producer, _consumer) = small_ring();
    let wait = |deadline| {
        [
            notification.wait(deadline).map(|_| ()),
            object_wait(notification.handle(), Events::SIGNALED, deadline).map(|_| ()),
            port.next(deadline).map(|_| ()),
            ring_wait(producer, 1, deadline),
        ]
    };
    same!(wait(0), [Err(Error::WouldBlock); 4], "not waiting");
    for past in [1, now_ns() / 2, now_ns()] {
        same!(wait(past), [Err(Error::TimedOut); 4], "a time in the past");
    }
    let begin = now_ns();
    same!(wait(in_ms(2)), [Err(Error::TimedOut); 4], "a time soon");
    check!(now_ns() >= begin + 2_000_000, "they ended too early");
    // Whatever ended without a signal took none.
    done!(notification.signal(4), "a signal");
    same!(done!(notification.wait(1), "bits are there"), 4, "bits");
}

pub fn refused(_: &Case) {
    let notification = notification();
    refused!(notification.signal(0), Error::Invalid, "no bit");
    refused!(notification.signal(1 << 63), Error::Invalid, "no such bit");
    let handle = notification.handle();
    let only = |right| done!(rt::derive(handle, right), "a capability below");
    let (signals, waits) = (only(Rights::SIGNAL), only(Rights::WAIT));
    let signals = Notification::from_handle(signals);
    let waits = Notification::from_handle(waits);
    refused!(waits.signal(1), Error::Denied, "a signal without the right");
    refused!(signals.wait(0), Error::Denied, "a wait without the right");
    let wait = |events| object_wait(handle, events, 0);
    refused!(wait(Events::empty()), Error::Invalid, "no event");
    refused!(
        wait(Events::ENDED),
        Error::Unsupported,
        "an event that it does not have"
    );
    refused!(
        object_wait(port().handle(), Events::READABLE, 0),
        Error::Unsupported,
        "waiting for an event of a port"
    );
}

pub fn cancel(case: &Case) {
    let notification = notification();
    let handle = notification.handle();
    let thread = done!(
        Thread::spawn(move || {
            let notification = core::mem::ManuallyDrop::new(Notification::from_handle(handle));
            [notification.wait(FOREVER), notification.wait(FOREVER)]
        }),
        "a thread"
    );
    until_waited(handle, 1);
    done!(thread.cancel_wait(), "a cancel");
    until_waited(handle, 2);
    done!(notification.signal(2), "a signal");
    done!(thread.wait(in_ms(SOON_MS)), "the end of the thread");
    refused!(thread.cancel_wait(), Error::NotFound, "it does not wait");
    // Another process may know it, and not end its waits.
    let stranger = start(case, "waiting.cancel", &[thread.handle()]);
    exits(&stranger, 0);
    let answers = done!(thread.join(), "what it got");
    same!(answers, [Err(Error::Cancelled), Ok(2)], "its answers");
    // At a ring, too.
    let (_producer, consumer) = done!(rt::ring(64, 4), "a ring");
    let thread = Thread::spawn(move || {
        let mut receiver = done!(rt::open_receiver(consumer), "opening the ring");
        receiver.receive(&mut [0; 64], FOREVER).map_err(rt::to_abi)
    });
    let thread = done!(thread, "a thread");
    until_waited(consumer, 1);
    done!(thread.cancel_wait(), "a cancel at a ring");
    let answer = done!(thread.join(), "what it got there");
    same!(answer, Err(Error::Cancelled), "its answer");
}

fn stranger(env: &Env) {
    // SAFETY: the call touches no memory.
    let answer = unsafe { sys::wait_cancel(env.handle(0)) };
    refused!(answer, Error::Denied, "a cancel by another process");
}

pub fn revoked(case: &Case) {
    let notification = notification();
    let port = port();
    let bystander = start(case, "waiting.sleep", &[]);
    let objects = [notification.handle(), port.handle(), bystander.handle()];
    for (kind, object) in ["bits", "packets", "end"].into_iter().zip(objects) {
        let top = derive(object);
        let sleeper = case.child("waiting.revoked").arg(kind).cpus(other_cpu());
        let sleeper = sleeper.handle(top, Mode::Share, EVERYTHING);
        let sleeper = done!(sleeper.start(), "a child");
        if kind == "end" {
            eventually("it begins", || done!(sleeper.info(), "facts").syscalls >= 1);
        } else {
            until_waited(object, 1);
        }
        same!(done!(cap_revoke(top), "a revoke"), 1, "what died");
        succeeds(&sleeper);
        done!(cap_drop(top), "dropping it");
    }
    done!(bystander.kill(), "killing");
    done!(bystander.wait(in_ms(SOON_MS)), "the end");
}

fn sleep_until_revoked(env: &Env, kind: &str) {
    let handle = env.handle(0);
    rt::yield_now();
    let answer = match kind {
        "bits" => Notification::from_handle(handle).wait(FOREVER).err(),
        "packets" => Port::from_handle(handle).next(FOREVER).err(),
        _ => Process::from_handle(handle).wait(FOREVER).err(),
    };
    same!(answer, Some(Error::Revoked), "what ended the wait");
}

pub fn dropped(_: &Case) {
    let notification = notification();
    let below = derive(notification.handle());
    let thread = done!(
        Thread::spawn(move || {
            let below = core::mem::ManuallyDrop::new(Notification::from_handle(below));
            below.wait(FOREVER)
        }),
        "a thread"
    );
    until_waited(notification.handle(), 1);
    done!(cap_drop(below), "dropping what it waits by");
    done!(thread.wait(in_ms(SOON_MS)), "the end of the thread");
    same!(
        done!(thread.join(), "what it got"),
        Err(Error::Cancelled),
        "its answer"
    );
}

pub fn crowd(_: &Case) {
    const THREADS: u64 = 60;
    let notification = notification();
    let handle = notification.handle();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            done!(
                Thread::spawn(move || {
                    let notification = Notification::from_handle(handle);
                    core::mem::ManuallyDrop::new(notification).wait(FOREVER)
                }),
                "a thread"
            )
        })
        .collect();
    until_waited(handle, THREADS);
    for bit in 0..THREADS {
        done!(notification.signal(1 << bit), "a signal");
    }
    let taken = threads.into_iter().fold(0, |taken, thread| {
        done!(thread.wait(in_ms(SOON_MS)), "the end of a thread");
        let bits = done!(done!(thread.join(), "what it got"), "its wait");
        check!(bits.is_power_of_two(), "it got {bits:#x}");
        taken | bits
    });
    same!(taken, (1 << THREADS) - 1, "what all got");
}

pub fn killed(case: &Case) {
    for turn in 0..20 {
        let notification = notification();
        let port = port();
        let handles = [notification.handle(), port.handle()];
        let sleeper = start(case, "waiting.killed", &handles);
        if turn % 2 == 0 {
            until_waited(port.handle(), 1);
        }
        done!(notification.signal(1), "a signal");
        done!(sleeper.kill(), "killing");
        done!(sleeper.wait(in_ms(SOON_MS)), "the end");
        // Its bindings ended with it, and its waits.
        done!(notification.signal(1), "a signal");
        same!(done!(notification.poll(), "polling"), 1, "bits");
        refused!(port.next(0), Error::WouldBlock, "a packet");
    }
}

fn be_killed(env: &Env) {
    let port = Port::from_handle(env.handle(1));
    for (key, flags) in [BindFlags::EDGE, BindFlags::ONCE].into_iter().enumerate() {
        done!(
            port.bind_with(env.handle(0), Events::SIGNALED, flags, key as u64),
            "a binding"
        );
    }
    loop {
        let _ = port.next(FOREVER);
    }
}

/// Plays a role in a case of this module.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "waiting.echo" => echo(env),
        "waiting.cancel" => stranger(env),
        "waiting.sleep" => _ = notification().wait(FOREVER),
        "waiting.killed" => be_killed(env),
        "waiting.revoked" => sleep_until_revoked(env, env.args().last().unwrap_or("")),
        _ => return None,
    }
    Some(0)
}
