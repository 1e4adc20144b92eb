//! What passes between two processes on one CPU: signals, calls, and capabilities.

use abi::{ChannelEnds, HandleTransfer, Message};
use programs::expect;
use rt::{
    CachePolicy, Env, Error, FOREVER, Handle, Mode, Process, RegionFlags, Rights, Spawn, UserPtr,
    sys,
};

use crate::measure::{figure, now, report, time, watched};
use crate::partner::finish;

/// Round trips of each figure. What is passed stays with the receiver, and so many capabilities may
/// be derived of one.
const ROUNDS: usize = 48;

/// A time that does not come meanwhile.
const DEADLINE_MS: u64 = 60_000;

pub fn measure(image: Handle) {
    let Some(there) = notification() else { return };
    let Some(back) = notification() else { return };
    // SAFETY: the call touches no memory.
    figure("signal", || time(|| unsafe { sys::signal(there, 1) }).0);
    wait(there);

    let both = [(there, Mode::Share), (back, Mode::Share)];
    let partner = start(image, "answer_signals", &both);
    round_trips("notify_round_trip", || {
        signal(there, 1);
        wait(back);
    });
    signal(there, LAST);
    finish(&partner);

    let Some((here, end)) = channel() else { return };
    let partner = start(image, "serve_words", &[(end, Mode::Move)]);
    round_trips("call_reply", || {
        // SAFETY: the call touches no memory.
        let answer = unsafe { sys::channel_call_words(here, 1, 2, 3, 4, FOREVER) };
        expect!(answer, "bench: a call");
    });
    let mut deadline = rt::in_ms(DEADLINE_MS);
    round_trips("call_reply_deadline", || {
        // As of who gives each call the same time.
        deadline += 1;
        // SAFETY: as above.
        let answer = unsafe { sys::channel_call_words(here, 1, 2, 3, 4, deadline) };
        expect!(answer, "bench: a call with a deadline");
    });
    let _ = rt::drop_handle(here);
    finish(&partner);

    let Some((here, end)) = channel() else { return };
    let partner = start(image, "take", &[(end, Mode::Move)]);
    // SAFETY: as above.
    let region =
        unsafe { sys::region_create(4096, RegionFlags::COMMIT, CachePolicy::WriteBack, u64::MAX) };
    let region = expect!(region, "bench: a region");
    let transfer = HandleTransfer::new(region, Mode::Share, Rights::READ);
    let request = Message {
        handles: (&raw const transfer) as u64,
        handles_len: 1,
        ..Message::default()
    };
    round_trips("pass_capability", || pass(here, &request));
    let _ = (rt::drop_handle(here), rt::drop_handle(region));
    finish(&partner);
}

/// Measures one round of what a partner answers, and shows one more to whoever watches.
fn round_trips(key: &str, mut round: impl FnMut()) {
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        let start = now();
        round();
        least = least.min(now() - start);
    }
    report(key, least);
    watched(key, || {
        now();
        round();
        now();
    });
}

/// The bit that tells a partner to end.
const LAST: u64 = 2;

/// `None` from a kernel without notifications.
fn notification() -> Option<Handle> {
    // SAFETY: the call touches no memory.
    match unsafe { sys::notify_create() } {
        Err(Error::Unsupported) => None,
        made => Some(expect!(made, "bench: a notification")),
    }
}

/// `None` from a kernel without channels.
fn channel() -> Option<(Handle, Handle)> {
    let mut ends = ChannelEnds {
        first: Handle::NONE,
        second: Handle::NONE,
    };
    // SAFETY: the pointer leads to `ends`.
    match unsafe { sys::channel_create(4, UserPtr::new((&raw mut ends) as u64)) } {
        Err(Error::Unsupported) => return None,
        made => expect!(made, "bench: a channel"),
    }
    Some((ends.first, ends.second))
}

fn start(image: Handle, role: &str, handles: &[(Handle, Mode)]) -> Process {
    let spawn = Spawn::new(image, "bench").arg("partner").arg(role);
    let give = |spawn: Spawn<'static>, &(handle, mode)| spawn.handle(handle, mode, Rights::all());
    let partner = handles.iter().fold(spawn, give).cpus(1 << 0);
    expect!(partner.start(), "bench: starting a partner")
}

#[inline(always)]
fn signal(notification: Handle, bits: u64) {
    // SAFETY: the call touches no memory.
    let signalled = unsafe { sys::signal(notification, bits) };
    expect!(signalled, "bench: a signal");
}

#[inline(always)]
fn wait(notification: Handle) -> u64 {
    // SAFETY: the call touches no memory.
    let bits = unsafe { sys::notify_wait(notification, FOREVER) };
    expect!(bits, "bench: waiting for a signal")
}

/// Sends a capability along with a call, and waits for the answer that it was taken, of which nothing is
/// to be copied.
#[inline(always)]
fn pass(end: Handle, request: &Message) {
    // SAFETY: the pointers lead to `request`, what it names, and nothing.
    let answered = unsafe {
        sys::channel_call(
            end,
            UserPtr::new((&raw const *request) as u64),
            UserPtr::new(0),
            FOREVER,
        )
    };
    expect!(answered, "bench: a call with a capability");
}

/// The other process, in one of the roles here; `None` in another.
pub fn partner(env: &Env, role: &str) -> Option<u8> {
    match role {
        "answer_signals" => {
            let (there, back) = (env.handle(0), env.handle(1));
            while wait(there) & LAST == 0 {
                signal(back, 1);
            }
        }
        "serve_words" => serve_words(env.handle(0)),
        "take" => take(env.handle(0)),
        _ => return None,
    }
    Some(0)
}

/// Answers calls of four words until the caller's end is gone.
fn serve_words(end: Handle) {
    let mut reply = Handle::NONE;
    // SAFETY: the call touches no memory.
    while let Ok(request) = unsafe { sys::channel_serve_words(end, reply, 5, 6, 7, 8) } {
        reply = request.reply;
    }
}

/// Answers calls that bring a capability, and keeps them all.
fn take(end: Handle) {
    let (mut taken, mut reply) = (Handle::NONE, Handle::NONE);
    loop {
        let mut request = Message {
            handles: (&raw mut taken) as u64,
            handles_len: 1,
            ..Message::default()
        };
        let pointer = UserPtr::new((&raw mut request) as u64);
        // SAFETY: the pointers lead to nothing, to `request`, and from there to `taken`.
        if unsafe { sys::channel_serve(end, reply, UserPtr::new(0), pointer, FOREVER) }.is_err() {
            break;
        }
        reply = request.reply;
    }
}
