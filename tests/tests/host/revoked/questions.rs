//! What is asked of an object, and waited for of it: until the answer is given, it is refused.

use abi::{Error, Events, Handle, Rights};

use super::deed::{Deed, Way};
use crate::common::revoked::{END, HUB, PROCESS, REGION, RESOURCE, Scene, THREAD};

pub const QUESTIONS: &[Deed] = &[
    Deed::question(
        // The kernel asks a process so.
        &[
            "process_info.process",
            "process_fault.process",
            "process_wait.process",
        ],
        Way::Revoked(PROCESS),
        |s| {
            let (process, ipc) = (s.below[PROCESS], s.ipc());
            ipc.ask_process(s.me(), process, Rights::INSPECT, |_| Ok(()))
        },
    ),
    Deed::question(
        // And a thread.
        &["thread_info.thread"],
        Way::Revoked(THREAD),
        |s| {
            let (thread, ipc) = (s.below[THREAD], s.ipc());
            ipc.ask_task(s.me(), thread, Rights::WAIT, |_| Ok(()))
        },
    ),
    Deed::question(&["object_wait.object"], Way::Revoked(END), |s| {
        wait(s, s.below[END], Events::WRITABLE)
    }),
    Deed::question(&["region_info.region"], Way::Revoked(REGION), |s| {
        s.ipc().region_info(s.me(), s.below[REGION]).map(drop)
    }),
    Deed::question(&["resource_info.resource"], Way::Revoked(RESOURCE), |s| {
        let (ipc, resource) = (s.ipc(), s.below[RESOURCE]);
        ipc.ask_resource(s.me(), resource, Rights::INSPECT, |_| Ok(()))
    }),
    Deed::question(&["channel_info.end"], Way::Revoked(END), |s| {
        s.ipc().channel_info(s.me(), s.below[END]).map(drop)
    }),
    Deed::question(&["hub_info.hub"], Way::Revoked(HUB), |s| {
        s.ipc().hub_info(s.me(), s.below[HUB]).map(drop)
    }),
    Deed::question(&["hub_wait.hub"], Way::Revoked(HUB), |s| {
        s.ipc().wait_hub(&s.realm.domains[0], s.own, 0).map(drop)
    }),
    Deed::question(&["ring_info.end"], Way::Reduced(|s| s.ring), |s| {
        s.ipc().ring_info(s.me(), s.ring).map(drop)
    })
    .in_one_hold(),
    Deed::question(&["ring_wait.end"], Way::Reduced(|s| s.ring), |s| {
        s.ipc().wait_ring(s.me(), s.ring, 0, 0)
    })
    .in_one_hold(),
    Deed::question(
        &["sub_info.submission"],
        Way::Reduced(|s| s.submissions),
        |s| s.ipc().submission_info(s.me(), s.submissions).map(drop),
    ),
    // Whether there is anything to be served.
    Deed::question(
        &["sub_enter.submission"],
        Way::Reduced(|s| s.submissions),
        |s| enter(s, 0),
    ),
    Deed::question(&["object_info.handle"], Way::Revoked(REGION), |s| {
        s.ipc().object_info(s.me(), s.below[REGION]).map(drop)
    }),
    // What is locked to be read.
    Deed::question(&["object_info.handle"], Way::Revoked(END), |s| {
        s.ipc().object_info(s.me(), s.below[END]).map(drop)
    }),
    Deed::question(&["cap_info.handle"], Way::Revoked(REGION), |s| {
        s.ipc().capability_info(s.me(), s.below[REGION]).map(drop)
    })
    .in_one_hold(),
    Deed::question(&["cap_same.a"], Way::Revoked(REGION), |s| {
        same(s, s.below[REGION], s.spare)
    }),
    Deed::question(&["cap_same.b"], Way::Revoked(REGION), |s| {
        same(s, s.spare, s.below[REGION])
    }),
];

/// Waits for so many completions, without entries.
pub fn enter(scene: &Scene, wait_for: u32) -> Result<(), Error> {
    let (ipc, ring) = (scene.ipc(), scene.submissions);
    ipc.enter_submissions(scene.me(), ring, 0, wait_for, 0, |_, _| Ok(0))
        .map(drop)
}

fn wait(scene: &Scene, at: Handle, events: Events) -> Result<(), Error> {
    scene.ipc().wait_object(scene.me(), at, events, 0).map(drop)
}

fn same(scene: &Scene, a: Handle, b: Handle) -> Result<(), Error> {
    scene.ipc().same_object(scene.me(), a, b).map(drop)
}
