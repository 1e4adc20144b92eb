//! What calls need to succeed, besides any object of the kind that they work on.

use abi::{Events, HubGeometry, HubSeat, ObjectKind, SpawnArgs, SpawnFlags};
use rt::{
    CachePolicy, ChannelEnd, Env, FOREVER, GrantFlags, Handle, Mode, Notification, Port, Resources,
    Rights, Thread, sys,
};

use crate::arguments::Good;
use crate::calls::{grant, hub_claim, hub_create, region, small_ring};
use crate::check::{SOON_MS, eventually};
use crate::objects::{channel, object};
use crate::supervision::stopped_by_a_fault;
use crate::sweep::place_of;

/// Something that a call can be made with, and what else the call needs.
pub struct Fit {
    pub whole: Handle,
    more: [u64; 2],
}

impl From<Handle> for Fit {
    fn from(whole: Handle) -> Fit {
        let more = [0; 2];
        Fit { whole, more }
    }
}

pub type Make = fn(&Good<'_>, ObjectKind) -> Fit;
/// Changes arguments of the call, in which the capability for one use is the one given.
pub type Adjust = fn(&Good<'_>, &Fit, Handle, &mut [u64; 6]);

pub const AS_IT_IS: Make = |good, kind| object(good.case, kind).into();
pub const NO_MORE: Adjust = |_, _, _, _| {};

/// Calls that take more to succeed than any object of the kind: the call, the argument, what it is made with, and how.
pub const FITTING: &[(&str, &str, Make, Adjust)] = &[
    ("process_spawn", "args", AS_IT_IS, spawn_stopped),
    (
        "process_resume",
        "process",
        |good, _| stopped(good),
        NO_MORE,
    ),
    ("process_fault", "process", faulted, NO_MORE),
    ("image_create", "region", initrd, |_, fit, _, arguments| {
        arguments[1..3].copy_from_slice(&fit.more);
    }),
    ("region_commit", "region", AS_IT_IS, |_, _, _, a| a[2] = 0),
    ("region_decommit", "region", AS_IT_IS, |_, _, _, a| a[2] = 0),
    ("map", "region", AS_IT_IS, |_, _, _, a| a[3] = 0),
    (
        "region_copy",
        "region",
        |_, _| region(4096).into(),
        |_, _, _, a| {
            a[2] = region(4096).bits();
        },
    ),
    (
        "region_copy",
        "source",
        |_, _| region(4096).into(),
        |_, _, _, a| {
            a[0] = region(4096).bits();
        },
    ),
    ("grant", "handle", without_access, |_, _, _, arguments| {
        arguments[2] = Mode::Move as u64;
        arguments[5] = FOREVER;
    }),
    ("grant", "via", alive, |_, _, _, a| a[5] = FOREVER),
    ("accept", "via", offered, |_, fit, _, arguments| {
        arguments[0] = fit.more[0];
    }),
    ("channel_send", "end", alive, NO_MORE),
    ("channel_receive", "end", |_, _| sent(&[]), NO_MORE),
    ("channel_call", "end", |_, _| served(), late),
    ("channel_call_words", "end", |_, _| served(), late),
    ("channel_serve", "end", |_, _| sent(&[]), no_reply),
    (
        "channel_serve_words",
        "end",
        |_, _| sent(&[0; 32]),
        no_reply,
    ),
    ("notify_wait", "notification", |_, _| signalled(), NO_MORE),
    (
        "object_wait",
        "object",
        eventful,
        |_, _, once, arguments| {
            let event = once.kind().and_then(event_of);
            arguments[1] = event.unwrap_or(Events::SIGNALED).bits().into();
        },
    ),
    ("wait_cancel", "thread", |_, _| asleep(), NO_MORE),
    ("port_unbind", "port", |_, _| told(), NO_MORE),
    ("port_wait", "port", |_, _| told(), NO_MORE),
    (
        "resource_part",
        "resource",
        AS_IT_IS,
        |_, _, _, arguments| {
            arguments[1..3].copy_from_slice(&[crate::devices::WINDOW, 4096]);
        },
    ),
    (
        "region_device",
        "resource",
        AS_IT_IS,
        |_, _, _, arguments| {
            let policy = CachePolicy::Uncached as u64;
            arguments[1..4].copy_from_slice(&[crate::devices::WINDOW, 4096, policy]);
        },
    ),
    ("trace_stop", "resource", traced, NO_MORE),
    ("hub_wait", "hub", |_, _| joined(false), NO_MORE),
    ("hub_connect", "hub", |_, _| joined(false), to_guest),
    ("hub_dismiss", "hub", |_, _| joined(false), to_guest),
    ("hub_recover", "hub", |_, _| joined(true), to_guest),
];

/// A process that waits to be resumed.
fn stopped(good: &Good<'_>) -> Fit {
    let child = good.case.child("nothing").stopped().start();
    done!(child, "a child").into_handle().into()
}

fn faulted(good: &Good<'_>, _: ObjectKind) -> Fit {
    let (port, child) = stopped_by_a_fault(good.case);
    let more = [port.into_handle().bits(), 0];
    let whole = child.into_handle();
    Fit { whole, more }
}

/// The initrd, and where a program is in it.
fn initrd(good: &Good<'_>, _: ObjectKind) -> Fit {
    let initrd = good.case.initrd;
    let whole = done!(rt::derive(initrd, Rights::all()), "the initrd");
    let place = place_of(initrd, "consumer");
    let more = [place.offset, place.len];
    Fit { whole, more }
}

/// What others have no access to, who might have it moved away else.
fn without_access(good: &Good<'_>, kind: ObjectKind) -> Fit {
    let whole = object(good.case, kind);
    done!(rt::reduce(whole, !Rights::ACCESS), "reducing a {kind:?}");
    whole.into()
}

/// A way to somebody who is there.
fn alive(good: &Good<'_>, kind: ObjectKind) -> Fit {
    match kind {
        ObjectKind::Process => stopped(good),
        _ => done!(channel(), "a channel").0.into(),
    }
}

/// A way by which something is offered to this process, and the token.
fn offered(good: &Good<'_>, kind: ObjectKind) -> Fit {
    let (here, there) = done!(channel(), "a channel");
    let (whole, token) = match kind {
        ObjectKind::Process => {
            let (near, far) = small_ring();
            let all = Rights::all();
            let child = good.case.child("offers");
            let child = child.handle(there, Mode::Move, all);
            let child = done!(child.handle(far, Mode::Move, all).start(), "a child");
            // The offer goes over the ring, and is accepted by the process.
            let here = ChannelEnd::from_handle(here);
            let token = done!(here.receive(rt::in_ms(SOON_MS)), "a token");
            // Both stay, as long as this process.
            let _ = (here.into_handle(), near);
            (child.into_handle(), token.words().unwrap_or_default()[0])
        }
        _ => {
            let offer = done!(Notification::create(), "a notification").into_handle();
            let none = GrantFlags::empty();
            let token = grant(offer, here, Mode::Share, Rights::all(), none);
            (there, done!(token, "offering").bits())
        }
    };
    let more = [token, 0];
    Fit { whole, more }
}

/// An end at which a message waits.
fn sent(bytes: &[u8]) -> Fit {
    let (here, there) = done!(rt::channel(1), "a channel");
    let message = &mut rt::Message::new(bytes);
    done!(there.send(message, 0), "sending");
    let _ = there.into_handle();
    here.into_handle().into()
}

/// An end whose other one is served.
fn served() -> Fit {
    let (here, there) = done!(rt::channel(1), "a channel");
    let serve = move || {
        there.serve(|mut request| {
            let words = request.words();
            let Some(mut reply) = request.take_reply() else {
                return;
            };
            // Who has given up by then is not answered.
            let _ = match words {
                Some(words) => reply.send_words(words),
                None => reply.send(&mut rt::Message::new(&[])),
            };
        })
    };
    done!(Thread::spawn(serve), "a thread");
    here.into_handle().into()
}

/// A notification of which a bit is set.
fn signalled() -> Fit {
    let notification = done!(Notification::create(), "a notification");
    done!(notification.signal(1), "signalling");
    notification.into_handle().into()
}

/// An object of which something holds that can be waited for, if it can be of its kind.
fn eventful(good: &Good<'_>, kind: ObjectKind) -> Fit {
    match kind {
        ObjectKind::Notification => signalled(),
        ObjectKind::Hub => joined(false),
        ObjectKind::Thread => {
            let ended = done!(Thread::spawn(|| ()), "a thread");
            let whole = done!(rt::derive(ended.handle(), Rights::all()), "deriving");
            done!(ended.join(), "waiting for a thread");
            whole.into()
        }
        _ => object(good.case, kind).into(),
    }
}

/// What holds of those.
pub fn event_of(kind: ObjectKind) -> Option<Events> {
    match kind {
        ObjectKind::Notification => Some(Events::SIGNALED),
        ObjectKind::Process | ObjectKind::Thread => Some(Events::ENDED),
        ObjectKind::ChannelEnd => Some(Events::PEER_CLOSED),
        ObjectKind::Hub => Some(Events::READABLE),
        _ => None,
    }
}

/// A thread of this process that sleeps until it is cancelled.
fn asleep() -> Fit {
    let gate = done!(Notification::create(), "a notification");
    let sleeper = Thread::spawn(move || {
        let _ = gate.wait(rt::in_ms(SOON_MS));
    });
    let sleeper = done!(sleeper, "a thread");
    let whole = done!(rt::derive(sleeper.handle(), Rights::all()), "deriving");
    // It has the CPU while this one pauses, and sleeps if it makes no more calls.
    let mut seen = 0;
    eventually("a thread to sleep", || {
        let calls = done!(sleeper.info(), "thread_info").syscalls;
        core::mem::replace(&mut seen, calls) == calls && calls > 0
    });
    whole.into()
}

/// A port that has been told of something under the key 0.
fn told() -> Fit {
    let port = done!(Port::create(), "a port");
    let bound = port.bind(signalled().whole, Events::SIGNALED, 0);
    done!(bound, "binding");
    port.into_handle().into()
}

/// A hub with a guest, and who that is.
fn joined(and_left: bool) -> Fit {
    let hub = hub_create(&HubGeometry::slot(2, 64, 8, 8));
    let whole = done!(hub, "a hub").hub;
    let (member, HubSeat { peer, epoch }) = done!(rt::hub::reserve(whole), "a seat");
    done!(hub_claim(member, epoch), "claiming it");
    if and_left {
        // SAFETY: nobody uses the rings.
        done!(unsafe { sys::hub_leave(member) }, "leaving it");
    }
    let more = [peer.into(), epoch.into()];
    Fit { whole, more }
}

const fn to_guest(_: &Good<'_>, fit: &Fit, _: Handle, arguments: &mut [u64; 6]) {
    arguments[1] = fit.more[0];
    arguments[2] = fit.more[1];
}

const fn no_reply(_: &Good<'_>, _: &Fit, _: Handle, arguments: &mut [u64; 6]) {
    arguments[1] = 0;
}

/// Time enough for an answer.
fn late(_: &Good<'_>, _: &Fit, _: Handle, arguments: &mut [u64; 6]) {
    let call = arguments.iter_mut().rfind(|argument| **argument != 0);
    let _ = call.map(|deadline| *deadline = rt::in_ms(SOON_MS));
}

/// A trace is taken of all devices.
fn traced(good: &Good<'_>, kind: ObjectKind) -> Fit {
    // SAFETY: the call touches no memory.
    let trace = unsafe { sys::trace_start(good.case.devices, 64) };
    let more = [done!(trace, "a trace").bits(), 0];
    let whole = object(good.case, kind);
    Fit { whole, more }
}

/// A process that does not run.
fn spawn_stopped(good: &Good<'_>, _: &Fit, image: Handle, arguments: &mut [u64; 6]) {
    const NAME: &[u8; 4] = b"once";
    let args = SpawnArgs {
        image,
        name: good.write(5, *NAME),
        name_len: NAME.len() as u64,
        args: 0,
        args_len: 0,
        handles: 0,
        handles_len: 0,
        cpus: 0,
        quota: Resources::NONE,
        priority: 0,
        flags: SpawnFlags::STOPPED.bits(),
    };
    arguments[0] = good.write(0, args);
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "offers" => {
            let end = ChannelEnd::from_handle(env.handle(0));
            let offer = done!(Notification::create(), "a notification").into_handle();
            let none = GrantFlags::empty();
            let token = grant(offer, env.handle(1), Mode::Share, Rights::all(), none);
            let bits = done!(token, "offering").bits();
            done!(end.send_words([bits; 4], rt::in_ms(SOON_MS)), "telling");
            // The offer is there while its maker is, at least.
            let _ = end.receive(rt::in_ms(SOON_MS));
        }
        _ => return None,
    }
    Some(0)
}
