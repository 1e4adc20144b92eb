//! A revoke at every moment of a question at which the CPU holds no lock: nothing is told of what was so after it
//! (I5).

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use abi::{Error, Events, Handle, Rights};
use common::revoked::{
    BITS, Deed, END, HUB, PROCESS, REGION, RESOURCE, Scene, THREAD, Way,
    interrupted_at_every_moment,
};

const QUESTIONS: &[Deed] = &[
    Deed {
        name: "ask a process",
        way: Way::Revoked(PROCESS),
        deed: |s| {
            let (domain, process) = (&s.realm.domains[1], s.below[PROCESS]);
            let ipc = &s.realm.ipc;
            ipc.ask_process(domain, process, Rights::INSPECT, |_| Ok(()))
        },
        done: never,
    },
    Deed {
        name: "ask a thread",
        way: Way::Revoked(THREAD),
        deed: |s| {
            let (domain, thread) = (&s.realm.domains[1], s.below[THREAD]);
            let ipc = &s.realm.ipc;
            ipc.ask_task(domain, thread, Rights::WAIT, |_| Ok(()))
        },
        done: never,
    },
    Deed {
        name: "ask for the level of an event",
        way: Way::Revoked(END),
        deed: |s| {
            let (domain, end) = (&s.realm.domains[1], s.below[END]);
            let told = s.realm.ipc.wait_object(domain, end, Events::WRITABLE, 0);
            told.map(drop)
        },
        done: never,
    },
    Deed {
        name: "region_info",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.region_info(domain, s.below[REGION]).map(drop)
        },
        done: never,
    },
    Deed {
        name: "resource_info",
        way: Way::Revoked(RESOURCE),
        deed: |s| {
            let (domain, resource) = (&s.realm.domains[1], s.below[RESOURCE]);
            let (by, facts) = s.realm.ipc.resource(domain, resource, Rights::INSPECT)?;
            by.tell(facts).map(drop)
        },
        done: never,
    },
    Deed {
        name: "channel_info",
        way: Way::Revoked(END),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.channel_info(domain, s.below[END]).map(drop)
        },
        done: never,
    },
    Deed {
        name: "hub_info",
        way: Way::Revoked(HUB),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.hub_info(domain, s.below[HUB]).map(drop)
        },
        done: never,
    },
    Deed {
        name: "object_info",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.object_info(domain, s.below[REGION]).map(drop)
        },
        done: never,
    },
    Deed {
        name: "object_info, of what is locked to be read",
        way: Way::Revoked(END),
        deed: |s| {
            let domain = &s.realm.domains[1];
            s.realm.ipc.object_info(domain, s.below[END]).map(drop)
        },
        done: never,
    },
    Deed {
        name: "cap_info",
        way: Way::Revoked(REGION),
        deed: |s| {
            let domain = &s.realm.domains[1];
            let told = s.realm.ipc.capability_info(domain, s.below[REGION]);
            told.map(drop)
        },
        done: never,
    },
    Deed {
        name: "cap_same, of the first",
        way: Way::Revoked(REGION),
        deed: |s| same(s, s.below[REGION], s.spare),
        done: never,
    },
    Deed {
        name: "cap_same, of the second",
        way: Way::Revoked(REGION),
        deed: |s| same(s, s.spare, s.below[REGION]),
        done: never,
    },
];

fn same(scene: &Scene, a: Handle, b: Handle) -> Result<(), Error> {
    let domain = &scene.realm.domains[1];
    scene.realm.ipc.same_object(domain, a, b).map(drop)
}

/// Nothing remains of an answer: until it is given, it is refused.
fn never(_: &Scene) -> bool {
    false
}

#[test]
fn nothing_is_told_by_what_was_revoked_meanwhile() {
    QUESTIONS.iter().for_each(interrupted_at_every_moment);
}

/// Domain 1 waits for a signal. It comes at a moment of that, and later the capability is revoked. The answer, and
/// which of both came to pass.
fn wait_while(signal: u32, revoke: u32) -> (Result<Events, Error>, [bool; 2]) {
    let scene = Scene::new();
    let (inside, turns) = (scene.clone(), Arc::new(AtomicU32::new(0)));
    let count = turns.clone();
    let meanwhile = move || {
        let turn = count.fetch_add(1, Ordering::Relaxed);
        let (ipc, domain) = (&inside.realm.ipc, &inside.realm.domains[0]);
        fake::on_cpu(2, || {
            if turn == signal {
                ipc.signal(domain, inside.tops[BITS], 1).unwrap();
            }
            if turn == revoke {
                inside.realm.revoke(0, inside.tops[BITS]).unwrap();
            }
        });
    };
    let (ipc, domain) = (&scene.realm.ipc, &scene.realm.domains[1]);
    let wait = || ipc.wait_object(domain, scene.below[BITS], Events::SIGNALED, 100);
    let answer = fake::before_locks(None, meanwhile, || fake::on_cpu(1, wait));
    let turns = turns.load(Ordering::Relaxed);
    scene.finish();
    (answer, [signal, revoke].map(|turn| turn < turns))
}

#[test]
fn an_event_that_comes_while_somebody_goes_to_sleep_is_not_told_by_what_was_revoked_since() {
    let mut told = 0;
    for signal in 0.. {
        let (answer, [signalled, _]) = wait_while(signal, u32::MAX);
        if !signalled {
            assert_eq!(answer, Err(Error::TimedOut));
            break;
        }
        told += u32::from(answer == Ok(Events::SIGNALED));
        for revoke in signal.. {
            let (answer, [_, revoked]) = wait_while(signal, revoke);
            if !revoked {
                break;
            }
            let refused = matches!(answer, Err(Error::Revoked | Error::TimedOut));
            assert!(refused, "{answer:?} at moments {signal} and {revoke}");
        }
    }
    // Before it is looked up, before either look, and before it is in the list.
    assert!(told >= 4, "{told} moments");
}
