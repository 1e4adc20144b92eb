//! What somebody waits at, and what sets it off: notifications, ports, timers, rings, processes and threads.

use std::sync::atomic::Ordering;

use abi::ring::EndState;
use abi::{BindFlags, Error, Rights, RingClose};

use super::deed::{Deed, Way};
use crate::common::ports::{SIGNALED, bind, signal};
use crate::common::revoked::{BITS, BOUND, NEW, PORT, PROCESS, Scene, THREAD, TIMER};

pub const DEEDS: &[Deed] = &[
    Deed::new(
        "signal",
        &["signal.notification"],
        Way::Revoked(BITS),
        |s| s.ipc().signal(s.me(), s.below[BITS], 2),
        |s| s.messages(s.tops[BITS]) == 1,
    )
    .in_one_hold(),
    Deed::new(
        "take bits",
        &["notify_wait.notification"],
        Way::Revoked(BITS),
        |s| {
            let taken = s.ipc().wait_notification(s.me(), s.below[BITS], 0);
            taken.map(drop)
        },
        |s| {
            let (domain, bits) = (&s.realm.domains[0], s.tops[BITS]);
            let set = s.ipc().wait_object(domain, bits, SIGNALED, 0);
            set.is_err()
        },
    )
    .after(signalled)
    .in_one_hold(),
    Deed::new(
        "bind",
        &["port_bind.port"],
        Way::Revoked(PORT),
        bind_new,
        |s| is_bound(s, NEW),
    ),
    Deed::new(
        "bind what is taken away",
        &["port_bind.object"],
        Way::Revoked(BITS),
        bind_new,
        |s| is_bound(s, NEW),
    ),
    Deed::new(
        "unbind",
        &["port_unbind.port"],
        Way::Revoked(PORT),
        |s| s.ipc().unbind_port(s.me(), s.below[PORT], BOUND),
        |s| !is_bound(s, BOUND),
    ),
    Deed::new(
        "take packets",
        &["port_wait.port"],
        Way::Revoked(PORT),
        |s| {
            let taken = s
                .ipc()
                .wait_port(s.me(), s.below[PORT], 1, 0, |_, _| touch(s));
            taken.map(drop)
        },
        was_touched,
    )
    .after(signalled),
    Deed::new(
        "make a timer",
        &["timer_create.notification"],
        Way::Revoked(BITS),
        |s| s.ipc().create_timer(s.me(), s.below[BITS], 1).map(drop),
        |s| s.has_more(1),
    ),
    Deed::new(
        "set a timer",
        &["timer_set.timer"],
        Way::Revoked(TIMER),
        |s| s.ipc().set_timer(s.me(), s.below[TIMER], 0, 0),
        |s| s.messages(s.tops[TIMER]) == 1,
    ),
    Deed::new(
        "map an end of a ring",
        &["ring_map.end"],
        Way::Reduced(|s| s.ring),
        |s| s.ipc().map_ring(s.me(), s.ring).map(drop),
        Scene::is_mapped,
    ),
    Deed::new(
        "wake",
        &["ring_wake.end"],
        Way::Reduced(|s| s.ring),
        |s| s.ipc().wake_ring(s.me(), s.ring),
        is_woken,
    )
    .in_one_hold(),
    Deed::new(
        "wake the host of a hub",
        &["ring_wake.end"],
        Way::Dismissed,
        |s| s.ipc().wake_ring(s.me(), s.attached_ends.producer),
        |s| s.messages(s.guests_ring()) == 1,
    )
    .after(|s| _ = s.guests_ring())
    .in_one_hold(),
    Deed::new(
        "wake and wait",
        &["ring_turn.end", "ring_turn.waiting"],
        Way::Reduced(|s| s.ring),
        |s| s.ipc().turn_ring(s.me(), s.ring, s.ring, 0, 0),
        is_woken,
    )
    .and_more(),
    Deed::new(
        "close an end of a ring",
        &["ring_close.end"],
        Way::Moved(|s| s.ring),
        |s| s.ipc().close_ring(s.me(), s.ring, RingClose::Orderly),
        |s| {
            let info = s.ipc().ring_info(&s.realm.domains[0], s.other_end);
            info.unwrap().consumer_state != EndState::Open as u32
        },
    )
    .in_one_hold(),
    Deed::new(
        "map a submission ring",
        &["sub_map.submission"],
        Way::Reduced(|s| s.submissions),
        |s| {
            let mapped = s.ipc().map_submission_ring(s.me(), s.submissions);
            mapped.map(drop)
        },
        Scene::is_mapped,
    ),
    Deed::new(
        "register",
        &["sub_register.handle"],
        Way::Revoked(BITS),
        |s| s.ipc().register(s.me(), s.below[BITS], Some(0)).map(drop),
        is_registered,
    ),
    Deed::new(
        "do something with a process",
        // The kernel does what changes a process so.
        &[
            "process_kill.process",
            "process_resume.process",
            "process_fuse.process",
        ],
        Way::Revoked(PROCESS),
        |s| {
            let (process, ipc) = (s.below[PROCESS], s.ipc());
            ipc.on_process(s.me(), process, Rights::DESTROY, |_| touch(s))
        },
        was_touched,
    ),
    Deed::new(
        "do something with a thread",
        // Likewise.
        &["wait_cancel.thread", "thread_priority.thread"],
        Way::Revoked(THREAD),
        |s| {
            let (thread, ipc) = (s.below[THREAD], s.ipc());
            ipc.on_task(s.me(), thread, Rights::MANAGE, |_| touch(s))
        },
        was_touched,
    ),
];

pub fn signalled(scene: &Scene) {
    signal(&scene.realm, 0, scene.tops[BITS]);
}

fn bind_new(scene: &Scene) -> Result<(), Error> {
    let (port, bits) = (scene.below[PORT], scene.below[BITS]);
    bind(&scene.realm, 1, port, bits, BindFlags::empty(), NEW)
}

/// Whether a key of the port is taken.
fn is_bound(scene: &Scene, key: u64) -> bool {
    let (realm, port, bits) = (&scene.realm, scene.tops[PORT], scene.tops[BITS]);
    let bound = bind(realm, 0, port, bits, BindFlags::empty(), key);
    if bound.is_ok() {
        realm.ipc.unbind_port(&realm.domains[0], port, key).unwrap();
    }
    bound == Err(Error::Exists)
}

/// Whether the other end was woken.
fn is_woken(scene: &Scene) -> bool {
    scene.messages(scene.other_end) == 1
}

/// Whether the first slot is taken.
fn is_registered(scene: &Scene) -> bool {
    let (ipc, domain) = (scene.ipc(), scene.me());
    let registered = ipc.register(domain, scene.spare, Some(0));
    if let Ok(id) = registered {
        ipc.unregister(domain, id, 0).unwrap();
    }
    registered == Err(Error::Exists)
}

pub fn touch(scene: &Scene) -> Result<(), Error> {
    scene.touched.store(true, Ordering::Relaxed);
    Ok(())
}

pub fn was_touched(scene: &Scene) -> bool {
    scene.touched.load(Ordering::Relaxed)
}
