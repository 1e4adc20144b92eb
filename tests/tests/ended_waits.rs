//! What goes on by a capability while that gets less or its time passes: it ends, and says why.

mod common;

use abi::{DeriveArgs, Error, Events, FOREVER, Handle, Mode, Rights, RingGeometry};
use common::messages::{Ends, asleep};
use common::ports::{EDGE, LEVEL, NOTHING, bind, notification, packet, poll, port, signal, take};
use common::realm::Realm;
use ipc::{Fit, Outgoing};

const ALL: Rights = Rights::all();
/// When what is limited in time ends.
const END: u64 = 1000;

/// A way to wait by a capability of domain 0.
struct Wait {
    name: &'static str,
    object: fn(&Realm) -> Handle,
    needs: Rights,
    wait: fn(&Realm, Handle) -> Result<(), Error>,
}

const WAITS: [Wait; 9] = [
    Wait {
        name: "a notification",
        object: |realm| notification(realm, 0),
        needs: Rights::WAIT,
        wait: |realm, handle| {
            let domain = &realm.domains[0];
            realm
                .ipc
                .wait_notification(domain, handle, FOREVER)
                .map(drop)
        },
    },
    Wait {
        name: "an event",
        object: |realm| notification(realm, 0),
        needs: Rights::WAIT,
        wait: |realm, handle| {
            let domain = &realm.domains[0];
            realm
                .ipc
                .wait_object(domain, handle, Events::SIGNALED, FOREVER)
                .map(drop)
        },
    },
    Wait {
        name: "a port",
        object: |realm| port(realm, 0),
        needs: Rights::WAIT,
        wait: |realm, handle| take(realm, 0, handle, 1, FOREVER).map(drop),
    },
    Wait {
        name: "the end of a process",
        object: |realm| realm.via[0][1],
        needs: Rights::WAIT,
        wait: |realm, handle| {
            let domain = &realm.domains[0];
            realm
                .ipc
                .wait_object(domain, handle, Events::ENDED, FOREVER)
                .map(drop)
        },
    },
    Wait {
        name: "a message",
        object: |realm| Ends::between(realm, 0, 1, 1).here.handle,
        needs: Rights::RECEIVE,
        wait: |realm, handle| {
            let domain = &realm.domains[0];
            realm
                .ipc
                .receive(domain, handle, FOREVER, |_| Ok(()))
                .map(drop)
        },
    },
    Wait {
        name: "words",
        object: |realm| Ends::between(realm, 0, 1, 1).here.handle,
        needs: Rights::RECEIVE,
        wait: |realm, handle| {
            let domain = &realm.domains[0];
            realm
                .ipc
                .serve_words(domain, handle, Handle::NONE, [0; 4])
                .map(drop)
        },
    },
    Wait {
        name: "room",
        object: |realm| {
            let ends = Ends::between(realm, 0, 1, 1);
            ends.here.send(realm, b"full", &[]).unwrap();
            ends.here.handle
        },
        needs: Rights::SEND,
        wait: |realm, handle| realm.ipc.send(&realm.domains[0], handle, HELLO, FOREVER),
    },
    Wait {
        name: "an answer",
        object: |realm| Ends::between(realm, 0, 1, 1).here.handle,
        needs: Rights::SEND,
        wait: |realm, handle| {
            let domain = &realm.domains[0];
            let fit = Fit::Message {
                bytes: 0,
                handles: 0,
            };
            let call = realm
                .ipc
                .call(domain, handle, HELLO, fit, FOREVER, |_| Ok(()));
            call.map(drop)
        },
    },
    Wait {
        name: "an answer in words",
        object: |realm| Ends::between(realm, 0, 1, 1).here.handle,
        needs: Rights::SEND,
        wait: |realm, handle| {
            let domain = &realm.domains[0];
            let call = realm.ipc.call_words(domain, handle, [1; 4], FOREVER);
            call.map(drop)
        },
    },
];

const HELLO: Outgoing<'static> = Outgoing {
    bytes: b"hello",
    transfers: &[],
};

/// Checks that each way to wait ends with `error` when `end` is done, with the capability that is waited by
/// and the one above it.
fn each_ends(error: Error, end: impl Fn(&Realm, &Wait, Handle, Handle)) {
    for way in &WAITS {
        let realm = Realm::new(2);
        let above = (way.object)(&realm);
        let args = DeriveArgs {
            deadline: END,
            ..DeriveArgs::new(ALL)
        };
        let handle = realm.derive_with(0, above, args).unwrap();
        std::thread::scope(|scope| {
            let waiter = asleep(scope, &realm, || (way.wait)(&realm, handle));
            end(&realm, way, handle, above);
            assert_eq!(waiter.join().unwrap(), Err(error), "{}", way.name);
        });
        assert_eq!((way.wait)(&realm, handle), Err(error), "{}", way.name);
        realm.finish();
    }
}

#[test]
fn a_wait_ends_when_its_capability_does_not_allow_it_any_more() {
    each_ends(Error::Denied, |realm, way, handle, _| {
        realm.reduce(0, handle, way.needs).unwrap();
        realm.reduce(0, handle, !way.needs).unwrap();
    });
    // One above it takes the right from it too.
    each_ends(Error::Denied, |realm, way, _, above| {
        realm.reduce(0, above, !way.needs).unwrap();
    });
}

#[test]
fn a_wait_ends_with_the_time_of_its_capability() {
    each_ends(Error::Revoked, |realm, _, _, _| {
        realm.wait_until(END - 1);
        realm.wait_until(END);
    });
}

#[test]
fn who_waits_for_a_ring_is_told_that_it_may_not_any_more() {
    let realm = Realm::new(1);
    let geometry = RingGeometry::slot(64, 4).decode().unwrap();
    let (_, consumer) = realm.ipc.create_ring(&realm.domains[0], geometry).unwrap();
    std::thread::scope(|scope| {
        let waiter = asleep(scope, &realm, || {
            let domain = &realm.domains[0];
            realm.ipc.wait_ring(domain, consumer, 1, FOREVER)
        });
        realm.reduce(0, consumer, !Rights::WAIT).unwrap();
        assert_eq!(waiter.join().unwrap(), Err(Error::Denied));
    });
    realm.finish();
}

#[test]
fn others_who_wait_at_the_same_object_go_on() {
    let realm = Realm::new(1);
    let object = notification(&realm, 0);
    let less = realm.derive(0, object, ALL).unwrap();
    std::thread::scope(|scope| {
        let wait = |handle| {
            let domain = &realm.domains[0];
            realm.ipc.wait_notification(domain, handle, FOREVER)
        };
        let ends = asleep(scope, &realm, move || wait(less));
        let stays = asleep(scope, &realm, move || wait(object));
        realm.reduce(0, less, Rights::SIGNAL).unwrap();
        assert_eq!(ends.join().unwrap(), Err(Error::Denied));
        signal(&realm, 0, less);
        assert_eq!(stays.join().unwrap(), Ok(1));
    });
    realm.finish();
}

#[test]
fn a_binding_ends_with_the_right_to_wait() {
    let realm = Realm::new(1);
    let (port, object) = (port(&realm, 0), notification(&realm, 0));
    let before = realm.counts();
    for flags in [EDGE, LEVEL] {
        let below = realm.derive(0, object, ALL).unwrap();
        bind(&realm, 0, port, below, flags, 7).unwrap();
        signal(&realm, 0, object);
        realm.reduce(0, below, !Rights::WAIT).unwrap();
        // It is gone with its packet, and its key is free.
        assert_eq!(poll(&realm, port), NOTHING);
        common::ports::clear(&realm, 0, object);
        bind(&realm, 0, port, object, EDGE, 7).unwrap();
        signal(&realm, 0, object);
        assert_eq!(poll(&realm, port), Ok(vec![packet(7, 1)]));
        common::ports::clear(&realm, 0, object);
        realm.ipc.unbind_port(&realm.domains[0], port, 7).unwrap();
        realm.drop_handle(0, below).unwrap();
        assert_eq!(realm.counts(), before);
    }
    realm.finish();
}

#[test]
fn a_timer_sets_no_bits_by_a_capability_that_may_not_signal_any_more() {
    let realm = Realm::new(2);
    let object = notification(&realm, 0);
    let below = realm.derive(0, object, ALL).unwrap();
    let theirs = realm.give(0, below, 1, Mode::Share);
    let domain = &realm.domains[1];
    let timer = realm.ipc.create_timer(domain, theirs, 1).unwrap();
    realm.ipc.set_timer(domain, timer, 10, 0).unwrap();
    realm.reduce(0, below, !Rights::SIGNAL).unwrap();
    realm.machine().advance_ns(10);
    fake::on_cpu(1, || realm.ipc.expire_timers(1, usize::MAX));
    fake::on_cpu(0, || realm.ipc.expire_timers(0, usize::MAX));
    let bits = realm.ipc.wait_notification(&realm.domains[0], object, 0);
    assert_eq!(bits, Err(Error::WouldBlock));
    realm.finish();
}
