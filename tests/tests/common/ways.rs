//! Every way in which a thread can sleep by a capability: what it sleeps at, and what is done before.
//!
//! Domain 0 waits; domain 1 has the other end where there is one.

use std::sync::mpsc;

use abi::{Error, Events, FOREVER, Handle, Rights};
use fake::FakeTask;

use super::calls::{self, ROOMY};
use super::messages::{End, asleep};
use super::ports::take;
use super::scenes::At;
use super::stage::{HELLO, NOTHING, Stage, helper};

/// A way to wait.
pub struct Way {
    pub name: &'static str,
    /// The call that waits so.
    pub call: &'static str,
    /// What its capability has to allow.
    pub needs: Rights,
    pub at: At,
    /// What it comes to when domain 1 ends; nothing where it goes on.
    pub alone: Option<Result<(), Error>>,
    /// Whether it can last until a time and no longer.
    pub ends_in_time: bool,
    /// Waits by the capability of a stage.
    pub wait: fn(&Stage<'_>) -> Result<(), Error>,
}

const GONE: Option<Result<(), Error>> = Some(Err(Error::PeerClosed));

/// All of them.
pub const WAYS: &[Way] = &[
    Way {
        name: "a notification",
        call: "notify_wait",
        needs: Rights::WAIT,
        at: At::Notification,
        alone: None,
        ends_in_time: true,
        wait: |stage| {
            stage.begin();
            let ipc = &stage.realm.ipc;
            let bits = ipc.wait_notification(stage.domain(), stage.handle, stage.deadline);
            bits.map(drop)
        },
    },
    Way {
        name: "an event",
        call: "object_wait",
        needs: Rights::WAIT,
        at: At::Notification,
        alone: None,
        ends_in_time: true,
        wait: |stage| wait_for(stage, Events::SIGNALED),
    },
    Way {
        name: "a port",
        call: "port_wait",
        needs: Rights::WAIT,
        at: At::Port,
        alone: None,
        ends_in_time: true,
        wait: |stage| {
            stage.begin();
            take(stage.realm, 0, stage.handle, 1, stage.deadline).map(drop)
        },
    },
    Way {
        name: "the end of a process",
        call: "process_wait",
        needs: Rights::WAIT,
        at: At::Process,
        alone: None,
        ends_in_time: true,
        wait: |stage| wait_for(stage, Events::ENDED),
    },
    Way {
        name: "a ring",
        call: "ring_wait",
        needs: Rights::WAIT,
        at: At::Ring,
        alone: Some(Ok(())),
        ends_in_time: true,
        wait: |stage| {
            stage.begin();
            let ipc = &stage.realm.ipc;
            ipc.wait_ring(stage.domain(), stage.handle, 1, stage.deadline)
        },
    },
    Way {
        name: "a ring, after a wake",
        call: "ring_turn",
        needs: Rights::WAIT,
        at: At::Ring,
        alone: Some(Ok(())),
        ends_in_time: true,
        wait: |stage| {
            stage.begin();
            let (ipc, domain) = (&stage.realm.ipc, stage.domain());
            ipc.turn_ring(domain, stage.handle, stage.handle, 1, stage.deadline)
        },
    },
    Way {
        name: "a guest",
        call: "hub_wait",
        needs: Rights::WAIT,
        at: At::Hub,
        alone: None,
        ends_in_time: true,
        wait: |stage| {
            stage.begin();
            let ipc = &stage.realm.ipc;
            let peers = ipc.wait_hub(stage.domain(), stage.handle, stage.deadline);
            peers.map(drop)
        },
    },
    Way {
        name: "a completion",
        call: "sub_enter",
        needs: Rights::SEND,
        at: At::Submissions,
        alone: None,
        ends_in_time: true,
        wait: |stage| {
            stage.begin();
            let (ipc, domain) = (&stage.realm.ipc, stage.domain());
            let no_operation = |_, _| Ok(0);
            ipc.enter_submissions(domain, stage.handle, 0, 1, stage.deadline, no_operation)
                .map(drop)
        },
    },
    Way {
        name: "a message",
        call: "channel_receive",
        needs: Rights::RECEIVE,
        at: At::Channel,
        alone: GONE,
        ends_in_time: true,
        wait: |stage| {
            stage.begin();
            let got = stage.here().receive_until(stage.realm, stage.deadline);
            got.map(drop)
        },
    },
    Way {
        name: "a message after an answer",
        call: "channel_serve",
        needs: Rights::RECEIVE,
        at: At::Channel,
        alone: GONE,
        ends_in_time: true,
        wait: |stage| {
            std::thread::scope(|scope| {
                let (realm, there) = (stage.realm, stage.there());
                let caller = helper(scope, realm, move || {
                    calls::call(realm, &there, b"hello", &[], ROOMY).unwrap();
                });
                let call = stage.here().receive_until(realm, FOREVER).unwrap();
                stage.begin();
                let end = stage.handle;
                let show = |_: &ipc::Preview<'_>| Ok(());
                let domain = stage.domain();
                let served = realm
                    .ipc
                    .serve(domain, end, call.reply, &HELLO, stage.deadline, show);
                caller.join().unwrap();
                served.map(drop)
            })
        },
    },
    Way {
        name: "words",
        call: "channel_serve_words",
        needs: Rights::RECEIVE,
        at: At::Channel,
        alone: GONE,
        ends_in_time: false,
        wait: |stage| {
            stage.begin();
            stage.serve_words(&NOTHING).map(drop)
        },
    },
    Way {
        name: "words after an answer",
        call: "channel_serve_words",
        needs: Rights::RECEIVE,
        at: At::Channel,
        alone: GONE,
        ends_in_time: false,
        wait: |stage| {
            std::thread::scope(|scope| {
                let (realm, there) = (stage.realm, stage.there());
                let caller = helper(scope, realm, move || {
                    calls::call_words(realm, &there, [7; 4]).unwrap();
                });
                let call = stage.serve_words(&NOTHING).unwrap();
                stage.begin();
                let served = stage.serve_words(&call);
                caller.join().unwrap();
                served.map(drop)
            })
        },
    },
    Way {
        name: "words behind another who serves",
        call: "channel_serve_words",
        needs: Rights::RECEIVE,
        at: At::Channel,
        alone: GONE,
        ends_in_time: false,
        wait: |stage| {
            std::thread::scope(|scope| {
                let (realm, first) = (stage.realm, End::new(0, stage.scene.object));
                let (name, named) = mpsc::channel();
                let other = asleep(scope, realm, move || {
                    name.send(FakeTask::current()).unwrap();
                    calls::serve(realm, &first, Handle::NONE, [0; 4]).map(drop)
                });
                stage.begin();
                let served = stage.serve_words(&NOTHING);
                let task = named.recv().unwrap();
                while !other.is_finished() {
                    let _ = realm.ipc.cancel_wait(&task);
                    std::thread::yield_now();
                }
                assert!(other.join().unwrap().is_err());
                served.map(drop)
            })
        },
    },
    Way {
        name: "room",
        call: "channel_send",
        needs: Rights::SEND,
        at: At::Channel,
        alone: GONE,
        ends_in_time: true,
        wait: |stage| {
            stage.here().send(stage.realm, b"full", &[]).unwrap();
            stage.begin();
            let here = stage.here();
            here.send_until(stage.realm, b"more", &[], stage.deadline)
        },
    },
    Way {
        name: "the rate of messages",
        call: "channel_send",
        needs: Rights::SEND,
        at: At::Channel,
        alone: GONE,
        // It tries again before.
        ends_in_time: false,
        wait: |stage| {
            let (ipc, first) = (&stage.realm.ipc, stage.scene.object);
            ipc.limit_channel(stage.domain(), first, 1, 0).unwrap();
            stage.here().send(stage.realm, b"all", &[]).unwrap();
            stage.there().receive(stage.realm).unwrap();
            stage.begin();
            let here = stage.here();
            here.send_until(stage.realm, b"more", &[], stage.deadline)
        },
    },
    Way {
        name: "an answer to what nobody has received",
        call: "channel_call",
        needs: Rights::SEND,
        at: At::Channel,
        alone: GONE,
        ends_in_time: true,
        wait: |stage| {
            stage.begin();
            stage.call()
        },
    },
    Way {
        name: "an answer to what was received",
        call: "channel_call",
        needs: Rights::SEND,
        at: At::Channel,
        alone: GONE,
        ends_in_time: true,
        wait: |stage| stage.while_received(false, 1, || stage.call()),
    },
    Way {
        name: "an answer to words that nobody has received",
        call: "channel_call_words",
        needs: Rights::SEND,
        at: At::Channel,
        alone: GONE,
        ends_in_time: true,
        wait: |stage| {
            stage.begin();
            stage.call_words()
        },
    },
    Way {
        name: "an answer to words that were received",
        call: "channel_call_words",
        needs: Rights::SEND,
        at: At::Channel,
        alone: GONE,
        ends_in_time: true,
        wait: |stage| stage.while_received(true, 1, || stage.call_words()),
    },
    Way {
        name: "an answer to words that were handed over",
        call: "channel_call_words",
        needs: Rights::SEND,
        at: At::Channel,
        alone: GONE,
        ends_in_time: true,
        wait: |stage| {
            stage.while_received(true, 2, || {
                stage.call_words().unwrap();
                stage.call_words()
            })
        },
    },
];

fn wait_for(stage: &Stage<'_>, events: Events) -> Result<(), Error> {
    stage.begin();
    let (ipc, deadline) = (&stage.realm.ipc, stage.deadline);
    let held = ipc.wait_object(stage.domain(), stage.handle, events, deadline);
    held.map(drop)
}
